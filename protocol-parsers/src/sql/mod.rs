//! SQL as it may leave the machine: the text of a query without its literals, and a short summary of it.
//!
//! In: the bytes of a query and its dialect. Out: [`Digest`], whose strings stand in the exchange's [`Text`].
//!
//! * [`scan`]: one pass over the bytes; masks literals, takes comments out, hands words to the summary.
//! * [`kept`]: what is written.
//! * [`literal`]: where literals, quoted names and comments end.
//! * [`summary`]: operations and their targets (`db.query.summary`).
//! * [`words`]: the words of SQL that matter here.
//! * [`comment`]: trace context in a comment, as sqlcommenter writes it.
//!
//! # What holds
//!
//! No literal is ever copied: strings in every notation, numbers with their signs, hexadecimal and bit strings become `?`.
//! `TRUE`, `FALSE`, `NULL`, placeholders (`$1`, `?`, `:n`, `@v`), names and lists stay as they were written. Where two readings
//! of a text differ in what is a literal (a backslash before a quote that the server may or may not take for an escape, bytes
//! of an East Asian encoding that look like quotes), the rest of the text is masked as one. A text of which only the beginning
//! is known ends in `?`, and the word at which it was cut is masked too. To sanitise what was sanitised changes nothing.
//!
//! # What is lost
//!
//! Queries are read up to [`MAX_QUERY`] bytes. In MySQL a name that begins with a digit is taken for a number, and a name in
//! double quotes (`ANSI_QUOTES`) for a string: both are masked. The summary names what is certain: a target whose notation is
//! not understood is left out.

mod comment;
mod kept;
mod literal;
mod parts;
mod scan;
mod summary;
#[cfg(test)]
mod tests;
mod words;

use crate::exchange::{Span, Text, TraceContext};

/// How much of a query is read, in bytes; what follows is treated as not seen.
pub const MAX_QUERY: usize = 8 * 1024;

/// Whose SQL it is: what is a string, a comment, an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL and MariaDB.
    Mysql,
    /// The same where the server's status says `NO_BACKSLASH_ESCAPES` (0x0200): a backslash is a character like any other.
    MysqlNoBackslash,
    /// PostgreSQL.
    Postgresql,
}

/// What may be told of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The query without literals and comments: `db.query.text`.
    pub query: Span,
    /// Operations and targets in order, at most 255 bytes: `db.query.summary`. `None`: no operation was recognised.
    pub summary: Option<Span>,
    /// Trace context from a comment, if exactly one comment carries it.
    pub context: Option<TraceContext>,
}

/// Sanitises and sums up a query. `whole`: `sql` is all of it, not only its beginning. The strings go to `text`, which grows at
/// most once.
pub fn digest(sql: &[u8], dialect: Dialect, whole: bool, text: &mut Text) -> Digest {
    let (head, rest) = sql.split_at(sql.len().min(MAX_QUERY));
    scan::digest(head, dialect, whole && rest.is_empty(), text)
}
