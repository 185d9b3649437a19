//! Messages of the frontend/backend protocol 3 (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
//!
//! In: bytes at a message's start. Out: its kind and length, its fields, and whether bytes are whole messages at all.
//! Nothing of a password, a parameter or a row is looked at but its length.

use memchr::memchr;

/// Longest body of a message: the server's own limit (`PQ_LARGE_MESSAGE_LIMIT`, 1 GiB).
const MAX_BODY: u32 = 0x3fff_ffff;

/// Longest body of a message that holds no data: a command tag is at most 64 bytes (`COMPLETION_TAG_BUFSIZE`).
const MAX_SHORT: u32 = 256;

/// Longest StartupMessage (`MAX_STARTUP_PACKET_LENGTH`).
const MAX_STARTUP: u32 = 10_000;

/// Bytes of a message's kind and length.
pub(super) const HEADER: usize = 5;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// Kind and length of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    /// Bytes behind the length.
    pub(super) body: u32,
}

/// What bytes are at a place where a message should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed<T> {
    Is(T),
    /// Too few to tell.
    More,
    /// No message of this protocol.
    Not,
}

impl Header {
    pub(super) fn read(bytes: &[u8], sender: Sender) -> Framed<Self> {
        let Some((&[kind, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER>() else {
            let known = bytes.first().is_none_or(|kind| sizes(*kind, sender).is_some());
            return if known { Framed::More } else { Framed::Not };
        };
        let body = u32::from_be_bytes([a, b, c, d]).wrapping_sub(4);
        match sizes(kind, sender) {
            Some((least, most)) if (least..=most).contains(&body) => Framed::Is(Self { kind, body }),
            _ => Framed::Not,
        }
    }

    /// Bytes of the whole message.
    pub(super) fn len(self) -> u64 {
        HEADER as u64 + u64::from(self.body)
    }
}

/// The shortest and the longest body of a kind of message.
fn sizes(kind: u8, sender: Sender) -> Option<(u32, u32)> {
    Some(match (sender, kind) {
        // Bind: two names, three counts. FunctionCall: an id, two counts, a format.
        (Sender::Client, b'B') => (8, MAX_BODY),
        (Sender::Client, b'F') => (10, MAX_BODY),
        (Sender::Client, b'P') => (4, MAX_BODY),
        (Sender::Client, b'C' | b'D') => (2, MAX_STARTUP),
        (Sender::Client, b'E') => (5, MAX_STARTUP),
        (Sender::Client, b'Q' | b'f') => (1, MAX_BODY),
        (Sender::Client, b'H' | b'S' | b'X') => (0, 0),
        (Sender::Client, b'p') => (0, 1 << 16),
        (Sender::Server, b'1' | b'2' | b'3' | b'I' | b'n' | b's') => (0, 0),
        (Sender::Server, b'A') => (6, MAX_BODY),
        (Sender::Server, b'C') => (1, MAX_SHORT),
        (Sender::Server, b'D' | b'T' | b't') => (2, MAX_BODY),
        (Sender::Server, b'E' | b'N') => (1, MAX_BODY),
        (Sender::Server, b'G' | b'H' | b'W') => (3, 1 << 13),
        (Sender::Server, b'K') => (8, MAX_SHORT + 4),
        (Sender::Server, b'R') => (4, 1 << 16),
        (Sender::Server, b'S') => (2, 1 << 20),
        (Sender::Server, b'V') => (4, MAX_BODY),
        (Sender::Server, b'Z') => (1, 1),
        (Sender::Server, b'v') => (8, 1 << 16),
        (_, b'c') => (0, 0),
        (_, b'd') => (0, MAX_BODY),
        _ => return None,
    })
}

/// The fields of a body, read one after the other.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// A string without its NUL.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let end = memchr(0, self.0)?;
        let text = self.take(end)?;
        self.u8()?;
        Some(text)
    }

    /// As many values as a count says, each led by its length; -1 is NULL.
    fn values(&mut self) -> Option<()> {
        for _ in 0..self.u16()? {
            match self.u32()? {
                u32::MAX => {}
                len => drop(self.take(usize::try_from(len).ok()?)?),
            }
        }
        Some(())
    }

    /// As many items of a size as a count says.
    fn items(&mut self, size: usize) -> Option<()> {
        let count = usize::from(self.u16()?);
        self.take(count * size).map(drop)
    }
}

/// What an ErrorResponse says, as far as it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) sqlstate: Option<[u8; 5]>,
    /// FATAL or PANIC: the connection ends with it.
    pub(super) fatal: bool,
}

impl Failure {
    /// Reads the body of an ErrorResponse, or its beginning: severity and code come first.
    pub(super) fn read(body: &[u8]) -> Self {
        let (mut fields, mut failure) = (Fields(body), Self::default());
        while let Some(field) = fields.u8().filter(|field| *field != 0) {
            let Some(value) = fields.string() else { break };
            match field {
                b'C' => failure.sqlstate = value.try_into().ok().filter(|code: &[u8; 5]| is_sqlstate(code)),
                // "V": the severity, never localized (since 9.6).
                b'V' => failure.fatal = matches!(value, b"FATAL" | b"PANIC"),
                b'M' => break,
                _ => {}
            }
        }
        failure
    }
}

fn is_sqlstate(code: &[u8]) -> bool {
    code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// The parameters of a StartupMessage that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Startup<'a> {
    /// "The database to connect to. Defaults to the user name."
    pub(super) database: &'a [u8],
}

/// The first packet of a client, which has no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening<'a> {
    /// Asks to end what another connection does; this one then ends.
    Cancel,
    GssEncryption,
    Startup(Startup<'a>),
    Tls,
}

/// Reads it; gives its length as well. Strict: this is what the protocol is recognised by.
pub(super) fn opening(bytes: &[u8]) -> Framed<(Opening<'_>, usize)> {
    let mut fields = Fields(bytes);
    let Some(len) = fields.u32() else {
        return if bytes.first().is_none_or(|byte| *byte == 0) { Framed::More } else { Framed::Not };
    };
    if !(8..=MAX_STARTUP).contains(&len) {
        return Framed::Not;
    }
    let Some(code) = fields.u32() else { return Framed::More };
    let len = len as usize;
    let opening = match (code, len) {
        (80_877_102, 16..=268) => Opening::Cancel,
        (80_877_103, 8) => Opening::Tls,
        (80_877_104, 8) => Opening::GssEncryption,
        // Version 3 and any minor number: the server may answer that it knows only an older one.
        (0x0003_0000..=0x0003_ffff, 9..) => {
            let Some(body) = bytes.get(8..len) else { return Framed::More };
            match startup(body) {
                Some(startup) => Opening::Startup(startup),
                None => return Framed::Not,
            }
        }
        _ => return Framed::Not,
    };
    if bytes.len() < len { Framed::More } else { Framed::Is((opening, len)) }
}

fn startup(body: &[u8]) -> Option<Startup<'_>> {
    let (mut fields, mut user, mut database) = (Fields(body), None, None);
    loop {
        let key = fields.string()?;
        if key.is_empty() {
            break;
        }
        let value = fields.string()?;
        match key {
            b"user" => user = Some(value),
            b"database" => database = Some(value),
            _ if key.iter().all(|byte| byte.is_ascii_graphic()) => {}
            _ => return None,
        }
    }
    let user = user.filter(|user| !user.is_empty() && fields.0.is_empty())?;
    Some(Startup { database: database.filter(|name| !name.is_empty()).unwrap_or(user) })
}

/// What a row of bytes that begins with a message is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) first: Option<u8>,
    pub(super) last: Option<u8>,
    /// Some message asks for something (client) or answers it (server).
    pub(super) counts: bool,
}

/// Whether bytes are well-formed messages of one side; `More`: they are so far, but the last one is not whole.
pub(super) fn walk(mut bytes: &[u8], sender: Sender) -> Framed<Walk> {
    let mut walk = Walk::default();
    while !bytes.is_empty() {
        let header = match Header::read(bytes, sender) {
            Framed::Is(header) => header,
            Framed::More => return Framed::More,
            Framed::Not => return Framed::Not,
        };
        let whole = usize::try_from(header.len()).ok().and_then(|len| bytes.split_at_checked(len));
        let Some((message, rest)) = whole else { return Framed::More };
        let body = message.get(HEADER..).unwrap_or_default();
        if well_formed(header.kind, body, sender) != Some(()) {
            return Framed::Not;
        }
        walk.first = walk.first.or(Some(header.kind));
        walk.last = Some(header.kind);
        walk.counts |= match sender {
            Sender::Client => matches!(header.kind, b'B' | b'E' | b'F' | b'P' | b'Q'),
            Sender::Server => matches!(header.kind, b'1' | b'2' | b'3' | b'C' | b'E' | b'I' | b'V' | b's'),
        };
        bytes = rest;
    }
    Framed::Is(walk)
}

/// Whether a body is what its kind wants.
fn well_formed(kind: u8, body: &[u8], sender: Sender) -> Option<()> {
    let mut fields = Fields(body);
    match (sender, kind) {
        (Sender::Client, b'B') => {
            fields.string()?;
            fields.string()?;
            fields.items(2)?;
            fields.values()?;
            fields.items(2)?;
        }
        (Sender::Client, b'C' | b'D') => {
            matches!(fields.u8()?, b'P' | b'S').then_some(())?;
            fields.string()?;
        }
        (Sender::Client, b'E') => {
            fields.string()?;
            fields.u32()?;
        }
        (Sender::Client, b'F') => {
            fields.u32()?;
            fields.items(2)?;
            fields.values()?;
            fields.u16()?;
        }
        (Sender::Client, b'P') => {
            fields.string()?;
            text(fields.string()?)?;
            fields.items(4)?;
        }
        (Sender::Client, b'Q') => text(fields.string()?)?,
        (Sender::Client, b'f') => drop(fields.string()?),
        (Sender::Server, b'A') => {
            fields.u32()?;
            fields.string()?;
            fields.string()?;
        }
        (Sender::Server, b'C') => {
            let tag = fields.string()?;
            tag.first()?.is_ascii_uppercase().then_some(())?;
            text(tag)?;
        }
        (Sender::Server, b'D') => fields.values()?,
        (Sender::Server, b'E' | b'N') => {
            while fields.u8()? != 0 {
                fields.string()?;
            }
        }
        (Sender::Server, b'G' | b'H' | b'W') => {
            (fields.u8()? <= 1).then_some(())?;
            fields.items(2)?;
        }
        (Sender::Server, b'R') => {
            // AuthenticationOk to SASLFinal.
            (fields.u32()? <= 12).then_some(())?;
            return Some(());
        }
        (Sender::Server, b'S') => {
            text(fields.string()?)?;
            text(fields.string()?)?;
        }
        (Sender::Server, b'T') => {
            for _ in 0..fields.u16()? {
                fields.string()?;
                fields.take(18)?;
            }
        }
        (Sender::Server, b'V') => match fields.u32()? {
            u32::MAX => {}
            len => drop(fields.take(usize::try_from(len).ok()?)?),
        },
        (Sender::Server, b'Z') => matches!(fields.u8()?, b'E' | b'I' | b'T').then_some(())?,
        (Sender::Server, b't') => fields.items(4)?,
        // Without a form of their own, or without a body.
        _ => return Some(()),
    }
    fields.0.is_empty().then_some(())
}

/// Whether it can be text: no control characters but white space.
fn text(bytes: &[u8]) -> Option<()> {
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace() && *byte != 0x0b;
    (!bytes.iter().any(control)).then_some(())
}
