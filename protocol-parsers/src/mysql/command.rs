//! What a client may ask: the first packet of each message that has sequence id 0.
//!
//! In: a command's code and payload. Out: how it is answered, whether it is an exchange, what it says.
//!
//! An exchange is a command that is answered and does something with a database. What only keeps a session is none, but is
//! followed all the same: PING, STATISTICS, DEBUG, CHANGE_USER, RESET_CONNECTION, SET_OPTION, STMT_RESET, REGISTER_SLAVE. So
//! does the server count: its `Questions` leave these out too (and STMT_PREPARE, which is an exchange here: it takes a round
//! trip and may fail). QUIT, STMT_SEND_LONG_DATA and STMT_CLOSE are not answered.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

use super::wire::Wire;
use crate::exchange::{Text, TraceContext};
use crate::trace_context::traceparent;

/// How a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Rounds of authentication, then OK or ERR.
    Auth,
    /// Rows of a cursor.
    Fetch,
    /// Column definitions.
    Fields,
    /// Not at all.
    Nothing,
    /// A statement's number, its parameters and columns.
    Prepare,
    /// OK, ERR, or any number of result sets.
    Result,
    /// OK, ERR or EOF.
    Single,
    /// The connection is a stream of events from here on.
    Stream,
    /// One packet of text.
    Text,
}

/// One kind of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) reply: Reply,
    /// `db.operation.name`, if it is an exchange.
    pub(super) name: Option<&'static str>,
    /// The lengths a payload may have behind its code.
    shortest: u32,
    longest: u32,
}

pub(super) const QUIT: u8 = 0x01;
pub(super) const INIT_DB: u8 = 0x02;
pub(super) const QUERY: u8 = 0x03;
pub(super) const DROP_DB: u8 = 0x06;
pub(super) const CHANGE_USER: u8 = 0x11;
pub(super) const STMT_PREPARE: u8 = 0x16;
pub(super) const STMT_EXECUTE: u8 = 0x17;
pub(super) const STMT_CLOSE: u8 = 0x19;
pub(super) const STMT_FETCH: u8 = 0x1c;
pub(super) const RESET_CONNECTION: u8 = 0x1f;
pub(super) const STMT_BULK_EXECUTE: u8 = 0xfa;

/// Names are at most this long; the server's own limit is 64 characters.
const NAME: u32 = 1024;
const ANY: u32 = u32::MAX;

/// What a code stands for.
pub(super) fn kind(code: u8) -> Option<Kind> {
    let (reply, name, shortest, longest) = match code {
        QUIT => (Reply::Nothing, None, 0, 0),
        INIT_DB => (Reply::Single, Some("INIT_DB"), 0, NAME),
        QUERY => (Reply::Result, Some("QUERY"), 1, ANY),
        0x04 => (Reply::Fields, Some("FIELD_LIST"), 1, NAME),
        0x05 => (Reply::Single, Some("CREATE_DB"), 1, NAME),
        DROP_DB => (Reply::Single, Some("DROP_DB"), 1, NAME),
        0x07 => (Reply::Single, Some("REFRESH"), 1, 1),
        0x08 => (Reply::Single, Some("SHUTDOWN"), 0, 1),
        0x09 => (Reply::Text, None, 0, 0),
        0x0a => (Reply::Result, Some("PROCESS_INFO"), 0, 0),
        0x0c => (Reply::Single, Some("PROCESS_KILL"), 4, 4),
        0x0d | 0x0e => (Reply::Single, None, 0, 0),
        CHANGE_USER => (Reply::Auth, None, 3, ANY),
        0x12 | 0x13 | 0x1e => (Reply::Stream, None, 2, ANY),
        0x15 => (Reply::Single, None, 4, NAME),
        STMT_PREPARE => (Reply::Prepare, Some("PREPARE"), 1, ANY),
        STMT_EXECUTE => (Reply::Result, Some("EXECUTE"), 9, ANY),
        0x18 => (Reply::Nothing, None, 6, ANY),
        STMT_CLOSE => (Reply::Nothing, None, 4, 4),
        0x1a => (Reply::Single, None, 4, 4),
        0x1b => (Reply::Single, None, 2, 2),
        STMT_FETCH => (Reply::Fetch, Some("FETCH"), 8, 8),
        RESET_CONNECTION => (Reply::Single, None, 0, 0),
        STMT_BULK_EXECUTE => (Reply::Result, Some("BULK_EXECUTE"), 6, ANY),
        _ => return None,
    };
    Some(Kind { reply, name, shortest, longest })
}

/// The most that is read of a statement and the attributes in front of it: more than [`crate::sql::MAX_QUERY`].
const MAX_SQL: u32 = 9 * 1024;

/// How long the front of a command must be.
pub(super) fn want(code: u8, _len: u32) -> u32 {
    match code {
        QUERY | STMT_PREPARE => MAX_SQL,
        // Parameters come first, then attributes.
        STMT_EXECUTE => 4096,
        STMT_CLOSE | STMT_FETCH | STMT_BULK_EXECUTE => 16,
        // The client's first packet begins with capabilities, its last fields are of no interest; names are shorter.
        _ => NAME,
    }
}

/// Whether a payload of `len` bytes that begins with `front` may be a command: asked where a direction's place was lost.
pub(super) fn plausible(front: &[u8], len: u32) -> bool {
    let Some((&code, payload)) = front.split_first() else { return false };
    let Some(kind) = kind(code) else { return false };
    let len = len.saturating_sub(1);
    if len < kind.shortest || len > kind.longest {
        return false;
    }
    match code {
        QUERY => {
            // An attributes' header is binary and short; a statement begins with text.
            let attributes = matches!(payload, [0..=0xfa, 1, ..]);
            attributes || statement(payload)
        }
        STMT_PREPARE => statement(payload),
        INIT_DB | 0x04 | 0x05 | DROP_DB => payload.iter().all(|byte| !matches!(byte, 0..=0x1f) || code == 0x04),
        // "iteration_count: always 1"
        STMT_EXECUTE => matches!(payload, [_, _, _, _, 0..=0x1f, 1, 0, 0, 0, ..]),
        CHANGE_USER => payload.first().is_some_and(u8::is_ascii_graphic),
        _ => true,
    }
}

/// Whether bytes begin as a statement does: no control characters but white space.
fn statement(payload: &[u8]) -> bool {
    payload.iter().take(16).all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..=0xff))
        && payload.first().is_some_and(u8::is_ascii)
}

/// What stands in front of a statement or behind its parameters: `query attributes`.
#[derive(Default)]
pub(super) struct Attributes {
    /// `traceparent`, with `tracestate`.
    pub(super) context: Option<TraceContext>,
}

/// Splits `COM_QUERY`'s payload. `attributes`: whether the capability was agreed on, if that is known. `None`: the statement
/// begins somewhere behind these bytes.
pub(super) fn query<'a>(
    payload: &'a [u8],
    attributes: Option<bool>,
    text: &mut Text,
) -> Option<(&'a [u8], Attributes)> {
    // Without attributes they are `00 01`; no statement has a control character at its second place.
    let attributes = attributes.unwrap_or(matches!(payload, [0..=0xfa, 1, ..]));
    if !attributes {
        return Some((payload, Attributes::default()));
    }
    let mut wire = Wire(payload);
    let count = wire.lenenc()?;
    let _sets = wire.lenenc()?;
    let found = if count > 0 { parameters(&mut wire, count, true, text)? } else { Attributes::default() };
    Some((wire.0, found))
}

/// The attributes of `COM_STMT_EXECUTE`, behind its code.
pub(super) fn execute(payload: &[u8], attributes: Option<bool>, text: &mut Text) -> Attributes {
    let mut read = || {
        let mut wire = Wire(payload);
        let _statement = wire.u32()?;
        let flags = wire.u8()?;
        let _iterations = wire.u32()?;
        // PARAMETER_COUNT_AVAILABLE
        if attributes != Some(true) || flags & 8 == 0 {
            return None;
        }
        let count = wire.lenenc()?;
        if count == 0 { None } else { parameters(&mut wire, count, true, text) }
    };
    read().unwrap_or_default()
}

/// At most this many parameters are looked through.
const MAX_PARAMETERS: usize = 512;

/// A bitmap of NULLs, types with names, values.
fn parameters(wire: &mut Wire<'_>, count: u64, named: bool, text: &mut Text) -> Option<Attributes> {
    let count = usize::try_from(count).ok().filter(|count| *count <= MAX_PARAMETERS)?;
    let nulls = wire.bytes(count.div_ceil(8))?;
    let null = |index: usize| nulls.get(index / 8).is_some_and(|byte| byte & 1 << (index % 8) != 0);
    if wire.u8()? != 1 {
        // Types as sent before, which nobody remembers.
        return None;
    }
    // Names and types again when the values are reached, so that none has to be kept.
    let mut types = *wire;
    for _ in 0..count {
        wire.u16()?;
        if named {
            wire.text()?;
        }
    }
    let (mut parent, mut state) = (None, None);
    for index in 0..count {
        let kind = types.u16()?;
        let name = if named { types.text()? } else { b"" };
        if null(index) {
            continue;
        }
        let value = value(wire, kind)?;
        match name {
            b"traceparent" => parent = traceparent(value),
            b"tracestate" => state = Some(value),
            _ => {}
        }
    }
    let context = parent.map(|parent| TraceContext { state: state.map(|state| text.push(state)), ..parent });
    Some(Attributes { context })
}

/// A value of the binary protocol, by its type.
fn value<'a>(wire: &mut Wire<'a>, kind: u16) -> Option<&'a [u8]> {
    match kind & 0xff {
        // NULL
        0x06 => wire.bytes(0),
        // TINY
        0x01 => wire.bytes(1),
        // SHORT, YEAR
        0x02 | 0x0d => wire.bytes(2),
        // LONG, FLOAT, INT24
        0x03 | 0x04 | 0x09 => wire.bytes(4),
        // DOUBLE, LONGLONG
        0x05 | 0x08 => wire.bytes(8),
        // TIMESTAMP, DATE, TIME, DATETIME
        0x07 | 0x0a..=0x0c => {
            let len = wire.u8()?;
            wire.bytes(len.into())
        }
        // DECIMAL, VARCHAR, BIT, JSON, NEWDECIMAL, ENUM, SET, BLOBs, strings, GEOMETRY
        0x00 | 0x0f | 0x10 | 0xf5..=0xff => wire.text(),
        _ => None,
    }
}
