//! What prepared statements and portals stand for.
//!
//! In: names and texts as Parse, Bind and Close give them, and which Parse succeeded. Out: a name's sanitised text. A name
//! that may have come to mean something else is forgotten: a span without text is better than one with the wrong text.

use std::collections::HashMap;
use std::sync::Arc;

use crate::exchange::Text;
use crate::sql::{self, Dialect, Digest};

/// Portals kept: drivers use the unnamed one, or a few for cursors. Beyond, the oldest is forgotten.
const MAX_PORTALS: usize = 16;

/// Longest name kept; the server cuts SQL's own names at 63 bytes.
const MAX_NAME: usize = 256;

/// A statement's text without its literals.
pub(super) struct Statement {
    pub(super) text: Text,
    pub(super) digest: Digest,
    /// The text was seen to its end.
    pub(super) whole: bool,
    pub(super) verb: Option<Verb>,
}

/// First word of a statement, of those that its command tag must repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Begin,
    Delete,
    Insert,
    Select,
    Update,
}

impl Verb {
    /// Of a statement, or of a command tag. A statement with a comment in front has none.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii_start();
        let end = text.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(text.len());
        let word = text.get(..end)?;
        [
            (&b"begin"[..], Self::Begin),
            (b"delete", Self::Delete),
            (b"insert", Self::Insert),
            (b"select", Self::Select),
            (b"update", Self::Update),
        ]
        .into_iter()
        .find_map(|(name, verb)| word.eq_ignore_ascii_case(name).then_some(verb))
    }
}

impl Statement {
    /// Of SQL as sent, or of its beginning.
    pub(super) fn new(sql: &[u8], whole: bool) -> Self {
        let mut text = Text::default();
        let digest = sql::digest(sql, Dialect::Postgresql, whole, &mut text);
        Self { text, digest, whole, verb: Verb::of(sql) }
    }

    /// The sanitised text, and what it is summed up as.
    pub(super) fn texts(&self) -> (&str, Option<&str>) {
        (self.text.str(self.digest.query), self.digest.summary.map(|summary| self.text.str(summary)))
    }

    /// Bytes of heap, itself included.
    pub(super) fn heap(&self) -> usize {
        // The counts of the Arc around it.
        size_of::<Self>() + 2 * size_of::<usize>() + self.text.capacity()
    }
}

pub(super) struct Named {
    pub(super) statement: Arc<Statement>,
    /// The number of its Parse.
    pub(super) parse: u64,
}

impl Named {
    /// Bytes of heap; a hash table has up to twice the room it needs, and a byte more for each.
    fn heap(&self, name: &[u8]) -> usize {
        name.len() + self.statement.heap() + 2 * (size_of::<(Box<[u8]>, Self)>() + 1)
    }
}

struct Portal {
    name: Box<[u8]>,
    statement: Option<Arc<Statement>>,
    bind: u64,
    cycle: u64,
}

/// What a portal stands for.
pub(super) struct Bound {
    pub(super) statement: Option<Arc<Statement>>,
    /// The number of its Bind.
    pub(super) bind: u64,
}

/// The statements and portals of one connection.
#[derive(Default)]
pub(super) struct Statements {
    unnamed: Option<Named>,
    named: HashMap<Box<[u8]>, Named>,
    portals: Vec<Portal>,
    /// Bytes of the named ones.
    bytes: usize,
    parses: u64,
    answered: u64,
    binds: u64,
    /// Cycles begun, each with a ReadyForQuery of its own, and ended.
    cycles: u64,
    ended: u64,
}

impl Statements {
    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.bytes
            + self.portals.capacity() * size_of::<Portal>()
            + self.portals.iter().map(|portal| portal.name.len()).sum::<usize>()
            + self.unnamed.as_ref().map_or(0, |unnamed| unnamed.statement.heap())
    }

    /// All there are, with their names, that of the unnamed one empty.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &Named)> {
        let named = self.named.iter().map(|(name, named)| (&**name, named));
        self.unnamed.iter().map(|unnamed| (&b""[..], unnamed)).chain(named)
    }

    /// There is a portal, or something sent is yet to be answered.
    pub(super) fn is_under_way(&self) -> bool {
        !self.portals.is_empty() || self.parses != self.answered || self.cycles != self.ended
    }

    /// A Parse was sent. Until it succeeds, what else is sent by its name is meant for it.
    pub(super) fn parse(&mut self, name: &[u8], statement: &Arc<Statement>) {
        let parse = self.parses;
        self.parses += 1;
        if name.is_empty() {
            self.unnamed = Some(Named { statement: statement.clone(), parse });
            return;
        }
        self.close(name);
        if name.len() <= MAX_NAME {
            let named = Named { statement: statement.clone(), parse };
            self.bytes += named.heap(name);
            self.named.insert(name.into(), named);
        }
    }

    /// An unnamed statement, unless it has a name.
    pub(super) fn unnamed(&mut self, name: &[u8], statement: Arc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(Named { statement, parse: u64::MAX });
        }
    }

    /// The oldest Parse without an answer succeeded.
    pub(super) fn parsed(&mut self) {
        self.answered = (self.answered + 1).min(self.parses);
    }

    /// The oldest Parse without an answer failed, or was not looked at: its name may mean an older statement.
    pub(super) fn not_parsed(&mut self) {
        let parse = self.answered;
        self.parsed();
        self.unnamed.take_if(|unnamed| unnamed.parse == parse);
        self.retain(|named| named.parse != parse);
    }

    /// Whether the Parses without an answer succeed will not be known.
    pub(super) fn lose_answers(&mut self) {
        let answered = self.answered;
        self.retain(|named| named.parse < answered);
        self.answered = self.parses;
        self.ended = self.cycles;
        self.portals.clear();
    }

    /// Anything may have been prepared and closed.
    pub(super) fn forget(&mut self) {
        *self = Self { parses: self.parses, answered: self.parses, binds: self.binds, ..Self::default() };
    }

    /// All statements were deallocated, by an answered command.
    pub(super) fn deallocated(&mut self) {
        let answered = self.answered;
        self.retain(|named| named.parse >= answered);
    }

    /// A name is given up.
    pub(super) fn close(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else if let Some((name, named)) = self.named.remove_entry(name) {
            self.bytes -= named.heap(&name);
        }
    }

    /// A Bind was sent; gives what the portal stands for.
    pub(super) fn bind(&mut self, portal: &[u8], statement: &[u8]) -> Bound {
        let statement = match statement {
            b"" => self.unnamed.as_ref(),
            name => self.named.get(name),
        };
        let statement = statement.map(|named| named.statement.clone());
        let bind = self.binds;
        self.binds += 1;
        let bound = Bound { statement: statement.clone(), bind };
        let cycle = self.cycles;
        if let Some(old) = self.portals.iter_mut().find(|old| *old.name == *portal) {
            (old.statement, old.bind, old.cycle) = (statement, bind, cycle);
        } else if portal.len() <= MAX_NAME {
            if self.portals.len() >= MAX_PORTALS {
                self.portals.remove(0);
            }
            // Nearly always the unnamed one is the only one.
            self.portals.reserve_exact(1);
            self.portals.push(Portal { name: portal.into(), statement, bind, cycle });
        }
        bound
    }

    /// What an Execute is about.
    pub(super) fn bound(&self, portal: &[u8]) -> Option<Bound> {
        let portal = self.portals.iter().find(|known| *known.name == *portal)?;
        Some(Bound { statement: portal.statement.clone(), bind: portal.bind })
    }

    /// A portal is closed.
    pub(super) fn close_portal(&mut self, name: &[u8]) {
        self.portals.retain(|portal| *portal.name != *name);
    }

    /// A message was sent that ReadyForQuery answers. "A simple Query message also destroys the unnamed statement" and portal.
    pub(super) fn cycle(&mut self, query: bool) {
        self.cycles += 1;
        if query {
            self.unnamed = None;
            self.close_portal(b"");
        }
    }

    /// ReadyForQuery came; outside a transaction, no portal outlives it.
    pub(super) fn cycle_ended(&mut self, idle: bool) {
        let cycle = self.ended;
        self.ended = (self.ended + 1).min(self.cycles);
        if idle && !self.portals.is_empty() {
            self.portals.retain(|portal| portal.cycle > cycle);
        }
    }

    /// Forgets the oldest statements until no more than so many bytes are held.
    pub(super) fn limit(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(oldest) = self.named.values().map(|named| named.parse).min() else { break };
            self.retain(|named| named.parse != oldest);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Named) -> bool) {
        let bytes = &mut self.bytes;
        self.named.retain(|name, named| {
            let kept = keep(named);
            *bytes -= if kept { 0 } else { named.heap(name) };
            kept
        });
        if self.named.len() < self.named.capacity() / 2 {
            self.named.shrink_to_fit();
        }
    }
}

/// The statement that a `DEALLOCATE [PREPARE] name` gives up, if the text is nothing else.
pub(super) fn deallocates(sql: &[u8]) -> Option<Vec<u8>> {
    let rest = keyword(sql, b"deallocate")?;
    let rest = keyword(rest, b"prepare").unwrap_or(rest);
    let (quoted, name, rest) = match rest.split_first()? {
        (b'"', rest) => {
            let end = memchr::memchr(b'"', rest)?;
            let (name, rest) = rest.split_at_checked(end)?;
            (true, name, rest.get(1..)?)
        }
        _ => {
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
            let (name, rest) = rest.split_at_checked(rest.iter().take_while(|byte| word(byte)).count())?;
            (false, name, rest)
        }
    };
    let rest = rest.trim_ascii();
    let all = !quoted && name.eq_ignore_ascii_case(b"all");
    let is_name = !name.is_empty() && !all && matches!(rest, b"" | b";");
    is_name.then(|| if quoted { name.to_vec() } else { name.to_ascii_lowercase() })
}

/// What stands behind a keyword and white space.
fn keyword<'a>(sql: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (first, rest) = sql.trim_ascii_start().split_at_checked(word.len())?;
    let ends = rest.first().is_some_and(u8::is_ascii_whitespace);
    (first.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_ascii_start())
}
