//! How a command begins: as an array of bulk strings, or as an inline line.
//!
//! In: the bytes of the request direction. Out: a [`Head`].

use memchr::memchr;

use super::lookup::find;
use super::resp::{Header, count};
use super::table::MAX_WORD;
use crate::contract::MAX_REST;

/// Arguments of a command: the server's limit is 2^31.
const MAX_ARGUMENTS: i64 = 1 << 31;

/// What begins a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// An array of so many arguments behind the word, which ends at `len`.
    Array { arguments: u32, word: &'a [u8], len: usize },
    /// A line, without its line end.
    Inline { line: &'a [u8], len: usize },
    /// An empty line or array: the server does not answer it.
    Nothing(usize),
    /// More bytes are needed.
    More,
    /// No command begins here.
    Not(&'static str),
}

/// Reads the beginning of a command, up to its word.
pub(super) fn head(bytes: &[u8]) -> Head<'_> {
    match bytes.first() {
        None => Head::More,
        Some(b'*') => array(bytes),
        Some(_) => inline(bytes),
    }
}

/// Whether it is a command of the table.
pub(super) fn is_known(head: &Head<'_>) -> bool {
    let word = match head {
        Head::Array { word, .. } => Some(*word),
        Head::Inline { line, .. } => words(line).next().flatten(),
        Head::Nothing(_) | Head::More | Head::Not(_) => None,
    };
    word.is_some_and(|word| find(word).is_some())
}

fn array(bytes: &[u8]) -> Head<'_> {
    let (arguments, at) = match count(bytes) {
        Header::Number(arguments, at) if arguments <= MAX_ARGUMENTS => (arguments, at),
        Header::More => return Head::More,
        Header::Number(..) | Header::Not => return Head::Not("no count of arguments"),
    };
    let Ok(arguments @ 1..) = u32::try_from(arguments) else { return Head::Nothing(at) };
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.first().is_some_and(|kind| *kind != b'$') {
        return Head::Not("an argument that is no bulk string");
    }
    let (len, start) = match count(rest) {
        Header::Number(len @ 1.., start) => (usize::try_from(len).unwrap_or(usize::MAX), at + start),
        Header::More => return Head::More,
        Header::Number(..) | Header::Not => return Head::Not("no length of a command"),
    };
    if len > MAX_WORD {
        return Head::Not("a command longer than any");
    }
    match bytes.get(start..start + len + 2).map(|word| word.split_at(len)) {
        None => Head::More,
        Some((word, b"\r\n")) if word.iter().all(u8::is_ascii_graphic) => {
            Head::Array { arguments: arguments - 1, word, len: start + len + 2 }
        }
        Some(_) => Head::Not("a command's word that is none"),
    }
}

fn inline(bytes: &[u8]) -> Head<'_> {
    let Some(end) = memchr(b'\n', bytes) else {
        let readable = bytes.iter().all(|byte| readable(*byte) || *byte == b'\r');
        return if readable && bytes.len() < MAX_REST { Head::More } else { Head::Not("no inline command") };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Head::Nothing(end + 1);
    }
    // "Commands ... start with a letter": what is no text was never a command.
    if line.first().is_some_and(u8::is_ascii_alphabetic) && line.iter().all(|byte| readable(*byte)) {
        Head::Inline { line, len: end + 1 }
    } else {
        Head::Not("no inline command")
    }
}

fn readable(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// The words of a line; `None`: a quoted one, which is not looked into.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let quote = *rest.first()?;
        if !matches!(quote, b'"' | b'\'') {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind;
            // A quote inside ends it nowhere that we could tell.
            return Some(Some(word).filter(|word| !word.contains(&b'"') && !word.contains(&b'\'')));
        }
        let mut escaped = false;
        let end = rest.iter().skip(1).position(|byte| {
            let ends = *byte == quote && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        });
        rest = end.and_then(|end| rest.get(end + 2..)).unwrap_or_default();
        Some(None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_from_other_bytes() {
        assert_eq!(head(b"*2\r\n$3\r\nGET\r\n$1\r\n"), Head::Array { arguments: 1, word: b"GET", len: 13 });
        assert_eq!(head(b"PING\r\nX"), Head::Inline { line: b"PING", len: 6 });
        assert_eq!(head(b"\r\n"), Head::Nothing(2));
        assert_eq!(head(b"*0\r\n"), Head::Nothing(4));
        assert_eq!(head(b"*-1\r\n"), Head::Nothing(5));
        let whole = b"*2\r\n$3\r\nGET\r\n";
        (0..whole.len()).for_each(|end| assert_eq!(head(&whole[..end]), Head::More, "{end}"));
        for not in [
            &b"*2\r\n:1\r\n"[..],
            b"*x",
            b"*1\r\n$0\r\n\r\n",
            b"*1\r\n$3\r\nGETXY",
            b"*1\r\n$40\r\n",
            b"\0\n",
            b"-ERR\n",
        ] {
            assert!(matches!(head(not), Head::Not(_)), "{not:?}");
        }
    }
}
