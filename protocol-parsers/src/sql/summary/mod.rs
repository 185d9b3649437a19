//! The summary of a query: its operations and their targets, in order and as they were written.
//!
//! In: the words, names and punctuation of a query, in order, as ranges. Out: the ranges that make the summary.
//!
//! It knows where names of tables stand (`FROM`, `JOIN`, `INTO`, behind `UPDATE` and so on), by depth of brackets, and that the
//! words `FROM` and `SELECT` may mean something else (`EXTRACT(YEAR FROM ..)`, `IS DISTINCT FROM`). Names of common table
//! expressions are no targets. What a definition (`CREATE VIEW .. AS SELECT ..`) contains is not told. How a statement begins
//! is judged in [`statement`].

mod statement;

use std::ops::Range;

use super::parts::{Depth, Depths, Parts};
use super::words::Word;

/// Common table expressions whose names are known.
const MAX_CTES: usize = 8;

/// Operations and targets of a summary; more than its length allows, but for very short names.
const MAX_PARTS: usize = 32;

/// What the next word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Nothing in particular.
    Any,
    /// An operation: a statement begins here.
    Operation,
    /// An operation, but options may stand before it (`EXPLAIN`, `PREPARE`, `DECLARE`).
    Inner,
    /// The kind of thing that is created, altered or dropped.
    Object,
    /// The name of such a thing.
    Defined,
    /// The name of a table or routine.
    Target,
    /// The name of a common table expression.
    Cte,
    /// The second word of `START TRANSACTION`.
    Started,
}

/// A summary in the making. Ranges are of the query.
pub(super) struct Summary {
    expect: Expect,
    /// Where the word before stands, if nothing stood between, and how long it is; else 0. Which it is is seldom asked.
    last: usize,
    last_len: usize,
    /// The newest operation of the statement.
    operation: Word,
    depth: Depth,
    /// Depths at which a `FROM` would name tables.
    selecting: Depths,
    /// Depths at which a comma separates tables.
    listing: Depths,
    /// Depths at which common table expressions are named.
    with: Depths,
    /// A target follows behind words that are passed over (`LOAD DATA .. INTO TABLE t`).
    late: bool,
    /// The next `SELECT` is the other part of a set operation.
    union: bool,
    /// The rest of the statement is not told.
    quiet: bool,
    /// A routine is defined; its body holds statements of its own.
    routine: bool,
    body: bool,
    /// Names of common table expressions.
    ctes: Parts<MAX_CTES>,
    parts: Parts<MAX_PARTS>,
}

impl Summary {
    pub(super) fn new() -> Self {
        Self {
            expect: Expect::Operation,
            last: 0,
            last_len: 0,
            operation: Word::Other,
            depth: Depth::OUTERMOST,
            selecting: Depths::default(),
            listing: Depths::default(),
            with: Depths::default(),
            late: false,
            union: false,
            quiet: false,
            routine: false,
            body: false,
            ctes: Parts::new(),
            parts: Parts::new(),
        }
    }

    /// The ranges that make the summary, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        self.parts.iter()
    }

    /// Whether a name that comes now may be a target: it is worth finding its end.
    pub(super) fn wants_name(&self) -> bool {
        self.late || matches!(self.expect, Expect::Target | Expect::Defined)
    }

    /// Whether a word, or a name with dots, means nothing here but to what follows it; else it is to be given to [`Self::word`].
    #[inline(always)]
    pub(super) fn passes_over(&mut self, first: u8, at: Range<usize>) -> bool {
        let len = at.end - at.start;
        let nothing = self.expect == Expect::Any && !self.late && !Word::may_be_clause(first, len);
        if nothing {
            (self.last, self.last_len) = (at.start, len);
        }
        nothing
    }

    /// The word before, if nothing stood between.
    fn last(&self, sql: &[u8]) -> Word {
        Word::of(sql, self.last, self.last_len)
    }

    pub(super) fn word(&mut self, sql: &[u8], at: Range<usize>, word: Word) {
        self.told(sql, at.clone(), word);
        (self.last, self.last_len) = (at.start, at.len());
    }

    fn told(&mut self, sql: &[u8], at: Range<usize>, word: Word) {
        if self.quiet {
            self.body |= self.routine && word == Word::Begin;
            return;
        }
        let expect = std::mem::replace(&mut self.expect, Expect::Any);
        match expect {
            Expect::Operation if self.begins(word, at.clone()) => return,
            // What stands between a common table expression and the statement.
            Expect::Operation if self.with.has(self.depth) => self.expect = Expect::Operation,
            Expect::Inner => {
                let begins = matches!(
                    word,
                    Word::Create
                        | Word::Delete
                        | Word::Execute
                        | Word::Insert
                        | Word::Merge
                        | Word::Replace
                        | Word::Update
                        | Word::Values
                        | Word::With
                );
                if begins && self.begins(word, at.clone()) {
                    return;
                }
                self.expect = Expect::Inner;
            }
            Expect::Object => return self.object(word, at),
            Expect::Defined => return self.defined(sql, at, word),
            Expect::Target => match word {
                Word::Only
                | Word::Lateral
                | Word::Into
                | Word::Ignore
                | Word::Low_Priority
                | Word::High_Priority
                | Word::Delayed
                | Word::Quick => return self.expect = Expect::Target,
                Word::Select
                | Word::From
                | Word::Where
                | Word::Set
                | Word::On
                | Word::Values
                | Word::Join
                | Word::Union
                | Word::With
                | Word::As => {}
                _ => return self.target(sql, at),
            },
            Expect::Cte => match word {
                Word::Other if !sql.get(at.clone()).is_some_and(|name| name.eq_ignore_ascii_case(b"recursive")) => {
                    return self.ctes.push(at);
                }
                _ => return self.expect = Expect::Cte,
            },
            Expect::Started => {
                self.quiet = true;
                if word == Word::Transaction {
                    self.push(at);
                }
                return;
            }
            Expect::Any | Expect::Operation => {}
        }
        if self.late && self.depth.is_outermost() {
            return self.late_target(sql, at, word);
        }
        self.clause(sql, word, at);
    }

    /// A word that means something wherever it stands.
    fn clause(&mut self, sql: &[u8], word: Word, at: Range<usize>) {
        let depth = self.depth;
        match word {
            Word::Select => {
                self.with.set(depth, false);
                self.selecting.set(depth, true);
                self.listing.set(depth, false);
                self.expect = Expect::Any;
                if !std::mem::take(&mut self.union) {
                    self.push(at);
                }
            }
            Word::From if self.selecting.has(depth) && self.last(sql) != Word::Distinct => {
                self.selecting.set(depth, false);
                self.listing.set(depth, true);
                self.expect = Expect::Target;
            }
            // Not of `USE INDEX FOR JOIN`.
            Word::Join | Word::Straight_Join if self.operation != Word::Other && self.last(sql) != Word::For => {
                self.listing.set(depth, true);
                self.expect = Expect::Target;
            }
            Word::Using if depth.is_outermost() && matches!(self.operation, Word::Delete | Word::Merge) => {
                self.expect = Expect::Target;
            }
            Word::Union | Word::Intersect | Word::Except => {
                self.listing.set(depth, false);
                self.union = true;
            }
            Word::For
            | Word::Group
            | Word::Having
            | Word::Into
            | Word::Limit
            | Word::Offset
            | Word::Order
            | Word::Returning
            | Word::Set
            | Word::Where
            | Word::Window => self.listing.set(depth, false),
            _ => {}
        }
    }

    fn defined(&mut self, sql: &[u8], at: Range<usize>, word: Word) {
        match word {
            Word::If | Word::Not | Word::Exists | Word::Concurrently | Word::Only => self.expect = Expect::Defined,
            Word::Trigger if self.last(sql) == Word::Event => {
                self.expect = Expect::Defined;
                self.push(at);
            }
            // An index without a name.
            Word::On => self.quiet = true,
            _ => self.target(sql, at),
        }
    }

    fn late_target(&mut self, sql: &[u8], at: Range<usize>, word: Word) {
        match word {
            Word::Analyze
            | Word::Column
            | Word::Concurrent
            | Word::Concurrently
            | Word::Data
            | Word::Database
            | Word::Freeze
            | Word::Full
            | Word::Function
            | Word::Ignore
            | Word::Index
            | Word::Infile
            | Word::Into
            | Word::Local
            | Word::Low_Priority
            | Word::Materialized
            | Word::On
            | Word::Only
            | Word::Procedure
            | Word::Replace
            | Word::Schema
            | Word::System
            | Word::Table
            | Word::Tables
            | Word::Verbose
            | Word::View => {}
            _ => self.target(sql, at),
        }
    }

    fn target(&mut self, sql: &[u8], at: Range<usize>) {
        self.expect = Expect::Any;
        let name = sql.get(at.clone()).unwrap_or_default();
        let known = self.ctes.iter().any(|cte| sql.get(cte).is_some_and(|cte| cte.eq_ignore_ascii_case(name)));
        if !known {
            self.push(at);
        }
        match self.operation {
            Word::Create | Word::Alter => self.quiet = true,
            Word::Drop | Word::Truncate => self.listing.set(self.depth, true),
            _ => {}
        }
        self.late = false;
    }

    /// A name in quotes, whole.
    pub(super) fn quoted(&mut self, sql: &[u8], at: Range<usize>) {
        if self.quiet {
            return;
        }
        match self.expect {
            Expect::Target | Expect::Defined => self.target(sql, at),
            Expect::Cte => {
                self.expect = Expect::Any;
                self.ctes.push(at);
            }
            _ if self.late && self.depth.is_outermost() => self.target(sql, at),
            _ => {}
        }
        self.last_len = 0;
    }

    /// A literal or a placeholder.
    #[inline(always)]
    pub(super) fn literal(&mut self) {
        match self.expect {
            Expect::Target => self.expect = Expect::Any,
            Expect::Defined if self.operation == Word::Drop => self.expect = Expect::Any,
            Expect::Defined => self.quiet = true,
            _ => {}
        }
        self.last_len = 0;
    }

    /// Any other character but white space and those below.
    #[inline]
    pub(super) fn symbol(&mut self) {
        if self.expect == Expect::Target {
            self.expect = Expect::Any;
        }
        self.last_len = 0;
    }

    pub(super) fn open(&mut self, sql: &[u8]) {
        let inner = match self.expect {
            Expect::Any if self.with.has(self.depth) && matches!(self.last(sql), Word::As | Word::Materialized) => {
                Expect::Operation
            }
            // A bracket behind a name is a list of columns or arguments.
            Expect::Operation if self.with.has(self.depth) => Expect::Operation,
            Expect::Defined => Expect::Any,
            // `DELETE FROM a USING b`, but `JOIN b USING (column)`.
            Expect::Target if self.last(sql) == Word::Using => Expect::Any,
            expect => expect,
        };
        self.depth = self.depth.deeper();
        self.selecting.set(self.depth, false);
        self.with.set(self.depth, false);
        self.listing.set(self.depth, inner == Expect::Target);
        self.expect = inner;
        self.last_len = 0;
    }

    pub(super) fn close(&mut self) {
        self.depth = self.depth.shallower();
        self.expect = match self.expect {
            Expect::Inner => Expect::Inner,
            _ if self.with.has(self.depth) => Expect::Operation,
            _ => Expect::Any,
        };
        self.last_len = 0;
    }

    #[inline(always)]
    pub(super) fn comma(&mut self) {
        if self.with.has(self.depth) {
            self.expect = Expect::Cte;
        } else if self.listing.has(self.depth) && !self.quiet {
            self.expect = Expect::Target;
        }
        self.last_len = 0;
    }

    pub(super) fn semicolon(&mut self) {
        if self.body {
            return;
        }
        let parts = std::mem::replace(&mut self.parts, Parts::new());
        *self = Self { parts, ..Self::new() };
    }

    fn push(&mut self, at: Range<usize>) {
        self.parts.push(at);
    }
}
