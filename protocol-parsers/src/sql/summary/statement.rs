//! How a statement begins: its operation, and the kind of thing it defines.
//!
//! In: the words where one of these is expected. Out: what the next word is, and the first parts of the summary. A word that is
//! neither is passed over.

use std::ops::Range;

use super::super::words::Word;
use super::{Expect, Summary};

impl Summary {
    /// The first word of a statement. Whether it is an operation.
    pub(super) fn begins(&mut self, word: Word, at: Range<usize>) -> bool {
        let depth = self.depth;
        match word {
            Word::With => {
                self.with.set(depth, true);
                self.expect = Expect::Cte;
                return true;
            }
            // Wherever it stands.
            Word::Select => {
                self.operation = word;
                return false;
            }
            // The rows of a common table expression.
            Word::Values if !depth.is_outermost() => return false,
            Word::Insert
            | Word::Replace
            | Word::Merge
            | Word::Call
            | Word::Exec
            | Word::Use
            | Word::Describe
            | Word::Desc
            | Word::Copy => self.expect = Expect::Target,
            Word::Update => {
                self.expect = Expect::Target;
                self.listing.set(depth, true);
                self.selecting.set(depth, true);
            }
            Word::Delete => self.selecting.set(depth, true),
            Word::Analyze
            | Word::Check
            | Word::Checksum
            | Word::Cluster
            | Word::Comment
            | Word::Load
            | Word::Lock
            | Word::Optimize
            | Word::Refresh
            | Word::Reindex
            | Word::Rename
            | Word::Repair
            | Word::Table
            | Word::Truncate
            | Word::Vacuum => self.late = true,
            Word::Create | Word::Alter | Word::Drop => self.expect = Expect::Object,
            Word::Explain | Word::Prepare | Word::Declare => self.expect = Expect::Inner,
            Word::Start => self.expect = Expect::Started,
            Word::Set | Word::Values => {}
            Word::Abort
            | Word::Begin
            | Word::Binlog
            | Word::Change
            | Word::Checkpoint
            | Word::Close
            | Word::Commit
            | Word::Deallocate
            | Word::Discard
            | Word::Do
            | Word::End
            | Word::Execute
            | Word::Fetch
            | Word::Flush
            | Word::Grant
            | Word::Install
            | Word::Kill
            | Word::Listen
            | Word::Move
            | Word::Notify
            | Word::Purge
            | Word::Reassign
            | Word::Release
            | Word::Reset
            | Word::Revoke
            | Word::Rollback
            | Word::Savepoint
            | Word::Show
            | Word::Uninstall
            | Word::Unlisten
            | Word::Unlock
            | Word::Xa => self.quiet = true,
            _ => return false,
        }
        self.operation = word;
        self.with.set(depth, false);
        self.union = false;
        self.push(at);
        true
    }

    /// The kind of thing that is created, altered or dropped, or a word before it.
    pub(super) fn object(&mut self, word: Word, at: Range<usize>) {
        match word {
            Word::Aggregate
            | Word::Collation
            | Word::Database
            | Word::Domain
            | Word::Event
            | Word::Extension
            | Word::Function
            | Word::Index
            | Word::Language
            | Word::Operator
            | Word::Package
            | Word::Policy
            | Word::Procedure
            | Word::Publication
            | Word::Role
            | Word::Rule
            | Word::Schema
            | Word::Sequence
            | Word::Server
            | Word::Statistics
            | Word::Subscription
            | Word::Table
            | Word::Tablespace
            | Word::Trigger
            | Word::Type
            | Word::User
            | Word::View => {
                let routine =
                    matches!(word, Word::Event | Word::Function | Word::Package | Word::Procedure | Word::Trigger);
                self.routine = routine && self.operation != Word::Drop;
                self.expect = Expect::Defined;
                self.push(at);
            }
            Word::System => self.quiet = true,
            _ => self.expect = Expect::Object,
        }
    }
}
