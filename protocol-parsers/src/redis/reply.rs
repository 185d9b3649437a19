//! How a reply begins: enough of it to know what it is.
//!
//! In: the bytes of the response direction where a reply begins. Out: its kind, the prefix of an error, the first word of an
//! array, and the walk over the rest. Nothing else of it is read.

use memchr::memchr;

use super::resp::{Header, Visitor, Walk, count};
use super::table::{Family, replies};

/// As much of a line as is looked at.
const MAX_LINE: usize = 64;

/// The longest word that says what an array is (`punsubscribe`).
const MAX_NAME: i64 = 16;

/// The prefix of an error: `WRONGTYPE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Code {
    bytes: [u8; 23],
    len: u8,
}

impl Code {
    /// "The first upper-case word after the `-`, up to the first space or newline, represents the kind of error": of a message
    /// without one nothing is known.
    fn new(message: &[u8]) -> Self {
        let len = message
            .iter()
            .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_')
            .count();
        let ends = message.get(len).is_none_or(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
        let mut code = Self::default();
        if let Some(word) = message.get(..len).filter(|word| ends && word.first().is_some_and(u8::is_ascii_uppercase))
            && let Some(room) = code.bytes.get_mut(..len)
        {
            room.copy_from_slice(word);
            code.len = u8::try_from(len).unwrap_or(0);
        }
        code
    }

    /// Empty: not known.
    pub(super) fn str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
    }
}

/// The beginning of a reply.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    /// What it is, of [`replies`].
    pub(super) kind: u8,
    /// Bytes of its beginning, in front of what `walk` goes over.
    pub(super) head: usize,
    /// The rest.
    pub(super) walk: Walk,
    /// It is an error.
    pub(super) error: Option<Code>,
    /// The beginning of a simple string.
    pub(super) simple: Option<&'a [u8]>,
    /// Elements of an array that is not null.
    pub(super) elements: Option<u64>,
    /// The first element of an array or push, where that is a short string.
    pub(super) name: Option<&'a [u8]>,
    /// Out of band.
    pub(super) push: bool,
    /// Only RESP3 has this type.
    pub(super) resp3: bool,
}

/// What begins in the response direction.
#[derive(Debug)]
pub(super) enum Start<'a> {
    Reply(Reply<'a>),
    /// An attribute of the reply that follows: so many bytes, then what the walk goes over.
    Attribute(usize, Walk),
    More,
    Not(&'static str),
}

/// Reads the beginning of a reply.
pub(super) fn start(bytes: &[u8]) -> Start<'_> {
    let Some(&kind) = bytes.first() else { return Start::More };
    let mut reply = Reply {
        kind: replies::ANY,
        head: 1,
        walk: Walk::line(),
        error: None,
        simple: None,
        elements: None,
        name: None,
        push: kind == b'>',
        resp3: matches!(kind, b'>' | b'%' | b'~' | b'_' | b'#' | b',' | b'(' | b'=' | b'!' | b'|'),
    };
    match kind {
        b'+' | b'-' => {
            let Some((line, len)) = line(bytes) else { return Start::More };
            if let Some(len) = len {
                (reply.head, reply.walk) = (len, Walk::default());
            }
            if kind == b'+' {
                (reply.kind, reply.simple) = (replies::SIMPLE, Some(line));
            } else {
                reply.error = Some(Code::new(line));
            }
        }
        b':' => reply.kind = replies::INTEGER,
        b'_' => reply.kind = replies::BULK | replies::ARRAY,
        b'#' | b',' | b'(' => {}
        b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => return counted(bytes, reply),
        _ => return Start::Not("no RESP type"),
    }
    // What is neither number nor text is no line of RESP.
    match bytes.get(1) {
        None => Start::More,
        Some(byte) if *byte >= b' ' || *byte == b'\r' => Start::Reply(reply),
        Some(_) => Start::Not("no RESP line"),
    }
}

/// A line without its type and end, and how long it is with them; or its first bytes.
fn line(bytes: &[u8]) -> Option<(&[u8], Option<usize>)> {
    let seen = bytes.get(1..)?;
    let seen = seen.get(..MAX_LINE).unwrap_or(seen);
    match memchr(b'\n', seen) {
        Some(end) => seen.get(..end).map(|line| (line.strip_suffix(b"\r").unwrap_or(line), Some(end + 2))),
        None => Some((seen, None)).filter(|(seen, _)| seen.len() == MAX_LINE),
    }
}

fn counted<'a>(bytes: &'a [u8], mut reply: Reply<'a>) -> Start<'a> {
    let (number, len) = match count(bytes) {
        Header::Number(number, len) => (number, len),
        Header::More => return Start::More,
        Header::Not => return Start::Not("no RESP length"),
    };
    reply.head = len;
    let kind = bytes.first().copied().unwrap_or_default();
    let rest = bytes.get(len..).unwrap_or_default();
    let Ok(number) = u64::try_from(number) else {
        (reply.kind, reply.walk) = (replies::BULK | replies::ARRAY, Walk::default());
        return Start::Reply(reply);
    };
    match kind {
        b'|' => return Start::Attribute(len, Walk::over(2 * number)),
        b'!' => {
            let seen = usize::try_from(number).unwrap_or(MAX_LINE).min(MAX_LINE);
            let Some(message) = rest.get(..seen) else { return Start::More };
            reply.error = Some(Code::new(message));
            reply.walk = Walk::bytes(number + 2);
        }
        b'$' | b'=' => (reply.kind, reply.walk) = (replies::BULK, Walk::bytes(number + 2)),
        _ => {
            let elements = if kind == b'%' { 2 * number } else { number };
            (reply.kind, reply.walk, reply.elements) = (replies::ARRAY, Walk::over(elements), Some(elements));
            if matches!(kind, b'*' | b'>') && number > 0 {
                match name(rest) {
                    Ok(name) => reply.name = name,
                    Err(()) => return Start::More,
                }
            }
        }
    }
    Start::Reply(reply)
}

/// A short string; `Err`: more bytes are needed.
fn name(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    match bytes.first() {
        None => return Err(()),
        Some(b'$') => {}
        Some(_) => return Ok(None),
    }
    match count(bytes) {
        Header::More => Err(()),
        Header::Number(len @ 1..=MAX_NAME, start) => {
            bytes.get(start..start + usize::try_from(len).unwrap_or(0)).map(Some).ok_or(())
        }
        Header::Number(..) | Header::Not => Ok(None),
    }
}

/// What an array or push tells of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// That it began.
    Subscribed(Family),
    /// That it ended.
    Unsubscribed(Family),
    /// A message.
    Message,
}

/// By its first word.
pub(super) fn told(name: &[u8]) -> Option<Told> {
    Some(match name {
        b"subscribe" => Told::Subscribed(Family::Channel),
        b"psubscribe" => Told::Subscribed(Family::Pattern),
        b"ssubscribe" => Told::Subscribed(Family::Shard),
        b"unsubscribe" => Told::Unsubscribed(Family::Channel),
        b"punsubscribe" => Told::Unsubscribed(Family::Pattern),
        b"sunsubscribe" => Told::Unsubscribed(Family::Shard),
        b"message" | b"pmessage" | b"smessage" => Told::Message,
        _ => return None,
    })
}

/// What is looked for while a reply's elements pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Watch {
    #[default]
    Nothing,
    /// `EXEC`: the first error among them.
    Errors(Option<Code>),
    /// A confirmation: how many subscriptions there are now, its third element.
    Subscriptions { passed: u8, count: Option<u32> },
}

impl Visitor for Watch {
    fn element(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing | Self::Errors(Some(_)) => true,
            Self::Errors(error) => match bytes.first() {
                Some(b'-' | b'!') => match start(bytes) {
                    Start::Reply(reply) => {
                        *error = reply.error;
                        true
                    }
                    Start::More => false,
                    Start::Attribute(..) | Start::Not(_) => true,
                },
                _ => true,
            },
            Self::Subscriptions { passed, count: total } => {
                if *passed == 2 {
                    match count(bytes) {
                        Header::Number(number, _) => *total = u32::try_from(number).ok(),
                        Header::More => return false,
                        Header::Not => {}
                    }
                }
                *passed = passed.saturating_add(1);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: &[u8]) -> Reply<'_> {
        match start(bytes) {
            Start::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_errors_prefix_is_its_code_and_nothing_else_is() {
        for (line, code) in [
            ("-WRONGTYPE Operation against a key\r\n", "WRONGTYPE"),
            ("-ERR unknown command 'secret'\r\n", "ERR"),
            ("-MOVED 3999 127.0.0.1:6381\r\n", "MOVED"),
            ("-secret value\r\n", ""),
            ("-SECRET=1\r\n", ""),
            ("!21\r\nSYNTAX invalid syntax\r\n", "SYNTAX"),
            ("-NOSCRIPT\r\n", "NOSCRIPT"),
        ] {
            assert_eq!(reply(line.as_bytes()).error.expect("an error").str(), code, "{line}");
        }
    }

    #[test]
    fn every_prefix_of_a_beginning_waits() {
        for whole in [
            "+OK\r\n",
            "-ERR x\r\n",
            "$3\r\n",
            "*3\r\n$7\r\nmessage",
            ">2\r\n$10\r\ninvalidate",
            "!5\r\nERR x",
            "*-1\r\n",
            ":1",
        ] {
            (0..whole.len()).for_each(|end| {
                assert!(matches!(start(&whole.as_bytes()[..end]), Start::More), "{whole:?} {end}");
            });
            assert!(matches!(start(whole.as_bytes()), Start::Reply(_)), "{whole:?}");
        }
    }

    #[test]
    fn what_no_server_says_is_no_reply() {
        for bytes in [&b"GET /"[..], b"\0", b"$x\r\n", b"*1.0\r\n", b":\0", b"{}"] {
            assert!(matches!(start(bytes), Start::Not(_)), "{bytes:?}");
        }
    }
}
