//! One command's answer, packet by packet.
//!
//! In: the fronts of packets. Out: whether the answer goes on, wants a file, or ends, and how. Whether EOF packets stand
//! behind definitions is seen where it is not known: a packet of five bytes that begins with 0xfe is one and nothing else.

use super::command::Reply;
use super::handshake::Capabilities;
use super::packets::{Front, MAX_PACKET};
use super::wire::Wire;
use crate::contract::Malformed;
use crate::exchange::Outcome;

/// Bytes wanted of each packet of an answer: more than the longest fixed part.
pub(super) const FRONT: u32 = 48;

/// How long a packet's front must be: of a row, one byte tells that it is one.
pub(super) fn want(first: u8, len: u32, rows: bool) -> u32 {
    if rows && (first < EOF || len == MAX_PACKET) { 1 } else { FRONT }
}

const OK: u8 = 0x00;
const INFILE: u8 = 0xfb;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;

/// Two lengths, two flags' bytes, two of warnings.
const SHORTEST_OK: u32 = 7;

const MORE_RESULTS: u16 = 0x0008;
const CURSOR_EXISTS: u16 = 0x0040;
const NO_BACKSLASH_ESCAPES: u16 = 0x0200;

/// Where an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// At its first packet, or the first of a further result.
    First,
    /// So many column definitions to come.
    Columns(u64),
    /// Behind them.
    ColumnsEnd,
    /// Among rows, which an EOF packet ends, or else an OK packet that looks like one.
    Rows { eof: bool },
    /// Parameters to come, then columns.
    Prepared { parameters: u16, columns: u16 },
    /// Behind the parameters.
    ParametersEnd { columns: u16 },
    /// Behind the columns, or the parameters if there are none.
    PreparedEnd,
    /// The end cannot be recognised: it ends at the next command.
    Open,
}

/// What a packet does to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More packets.
    On,
    /// It asks for a file of the client's.
    Upload,
    /// It ended well.
    Ok,
    /// A statement was prepared, and gets this number.
    Prepared { id: u32, ended: bool },
    /// It is an error with this number.
    Err(u16),
}

/// What both ends agreed on as to answers; `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// No EOF packets: DEPRECATE_EOF.
    pub(super) no_eof: Option<bool>,
    pub(super) metadata: Metadata,
    /// The session's mode is NO_BACKSLASH_ESCAPES, by the newest status.
    pub(super) no_backslash: bool,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Ok,
    Err(u16),
    /// Its end was not recognised.
    Unknown,
}

impl Ending {
    pub(super) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Ok => Some(Outcome::Ok),
            Self::Err(_) => Some(Outcome::Error),
            Self::Unknown => None,
        }
    }
}

/// Whether column counts have a companion that says if definitions follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Metadata {
    #[default]
    Unknown,
    Always,
    /// MySQL's: a byte in front.
    OptionalBefore,
    /// MariaDB's: a byte behind.
    OptionalBehind,
}

impl Format {
    pub(super) fn new(agreed: Capabilities) -> Self {
        let metadata = if agreed.has(Capabilities::CACHE_METADATA) {
            Metadata::OptionalBehind
        } else if agreed.has(Capabilities::OPTIONAL_METADATA) {
            Metadata::OptionalBefore
        } else {
            Metadata::Always
        };
        Self { no_eof: Some(agreed.has(Capabilities::DEPRECATE_EOF)), metadata, no_backslash: false }
    }

    /// The status flags of an OK packet, or of an EOF packet.
    fn status(&mut self, bytes: &[u8], len: u32) -> Result<u16, Malformed> {
        let mut wire = Wire(bytes.get(1..).unwrap_or_default());
        if len == 5 {
            wire.u16();
        } else {
            wire.lenenc();
            wire.lenenc();
        }
        let status = wire.u16().ok_or(Malformed("a short OK packet"))?;
        self.no_backslash = status & NO_BACKSLASH_ESCAPES != 0;
        Ok(status)
    }
}

/// The answer that is being received.
pub(super) struct Walk {
    pub(super) at: Answer,
    /// Rows so far, if they are counted.
    pub(super) rows: Option<u64>,
    /// More than one result.
    pub(super) several: bool,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { at: Answer::First, rows: None, several: false }
    }

    /// Takes the front of the next packet.
    pub(super) fn step(&mut self, reply: Reply, front: &Front<'_>, format: &mut Format) -> Result<Then, Malformed> {
        let bytes = &*front.bytes;
        let Some(&first) = bytes.first() else { return Err(Malformed("an empty packet in an answer")) };
        if first == ERR && !matches!(self.at, Answer::Open) {
            let mut wire = Wire(bytes.get(1..).unwrap_or_default());
            return match wire.u16() {
                None => Err(Malformed("an error without a number")),
                // MariaDB's progress report; the answer is yet to come.
                Some(u16::MAX) => Ok(Then::On),
                Some(number) => Ok(Then::Err(number)),
            };
        }
        let short_eof = first == EOF && front.len < 9;
        match self.at {
            Answer::Open => Ok(Then::On),
            Answer::Rows { eof } => {
                let ends = if eof { short_eof } else { first == EOF && front.len < MAX_PACKET };
                if ends {
                    return self.ended(format.status(bytes, front.len)?);
                }
                self.row();
                Ok(Then::On)
            }
            Answer::Columns(left) => {
                definition(bytes)?;
                self.at = if left > 1 { Answer::Columns(left - 1) } else { Answer::ColumnsEnd };
                Ok(Then::On)
            }
            Answer::ColumnsEnd => {
                if short_eof && front.len == 5 {
                    format.no_eof = Some(false);
                    let status = format.status(bytes, front.len)?;
                    self.at = Answer::Rows { eof: true };
                    return if status & CURSOR_EXISTS != 0 { self.ended(status) } else { Ok(Then::On) };
                }
                self.at = Answer::Rows { eof: false };
                if first == EOF && front.len < MAX_PACKET {
                    return self.ended(format.status(bytes, front.len)?);
                }
                self.row();
                Ok(Then::On)
            }
            Answer::First => self.first(reply, front, first, format),
            Answer::Prepared { parameters, columns } if parameters > 0 => {
                definition(bytes)?;
                self.at = match (parameters - 1, columns) {
                    (0, _) => Answer::ParametersEnd { columns },
                    (parameters, columns) => Answer::Prepared { parameters, columns },
                };
                Ok(self.prepared_end(format))
            }
            Answer::Prepared { columns, .. } => {
                definition(bytes)?;
                self.at = match columns.saturating_sub(1) {
                    0 => Answer::PreparedEnd,
                    columns => Answer::Prepared { parameters: 0, columns },
                };
                Ok(self.prepared_end(format))
            }
            Answer::ParametersEnd { columns } if short_eof => {
                format.no_eof = Some(false);
                self.at = if columns == 0 { return Ok(Then::Ok) } else { Answer::Prepared { parameters: 0, columns } };
                Ok(Then::On)
            }
            Answer::ParametersEnd { columns } if columns > 0 => {
                // A column without an EOF packet in front.
                format.no_eof = Some(true);
                self.at = Answer::Prepared { parameters: 0, columns };
                self.step(reply, front, format)
            }
            Answer::PreparedEnd | Answer::ParametersEnd { .. } if short_eof => {
                format.no_eof = Some(false);
                Ok(Then::Ok)
            }
            Answer::PreparedEnd | Answer::ParametersEnd { .. } => {
                Err(Malformed("a packet behind a prepared statement"))
            }
        }
    }

    fn first(&mut self, reply: Reply, front: &Front<'_>, first: u8, format: &mut Format) -> Result<Then, Malformed> {
        let bytes = &*front.bytes;
        match (reply, first) {
            (Reply::Text, _) => Ok(Then::Ok),
            (Reply::Auth, OK) => Ok(Then::Ok),
            (Reply::Auth, _) => Ok(Then::On),
            (Reply::Single, OK) => format.status(bytes, front.len).map(|_| Then::Ok),
            (Reply::Single, EOF) if front.len < 9 => Ok(Then::Ok),
            (Reply::Result, OK) if format.metadata != Metadata::OptionalBefore || front.len >= SHORTEST_OK => {
                let status = format.status(bytes, front.len)?;
                self.ended(status)
            }
            (Reply::Result, INFILE) => Ok(Then::Upload),
            (Reply::Result, _) => {
                let (columns, defined) = columns(bytes, front.len, format).ok_or(Malformed("no column count"))?;
                self.rows.get_or_insert(0);
                self.at = if defined { Answer::Columns(columns) } else { Answer::ColumnsEnd };
                Ok(Then::On)
            }
            (Reply::Fetch, EOF) if front.len < MAX_PACKET => {
                self.rows.get_or_insert(0);
                self.at = Answer::Rows { eof: false };
                let status = format.status(bytes, front.len)?;
                self.ended(status & !MORE_RESULTS)
            }
            (Reply::Fetch, OK) => {
                // Rows of the binary protocol begin with 0: whatever begins with 0xfe ends them.
                self.at = Answer::Rows { eof: false };
                self.row();
                Ok(Then::On)
            }
            (Reply::Fields, EOF) if front.len < MAX_PACKET => Ok(Then::Ok),
            (Reply::Fields, _) => definition(bytes).map(|()| Then::On),
            (Reply::Prepare, OK) => {
                let mut wire = Wire(bytes.get(1..).unwrap_or_default());
                let (Some(id), Some(columns), Some(parameters)) = (wire.u32(), wire.u16(), wire.u16()) else {
                    return Err(Malformed("a short answer to a prepare"));
                };
                self.at = Answer::Prepared { parameters, columns };
                let undefined = format.metadata == Metadata::OptionalBefore && bytes.get(12) == Some(&0);
                Ok(Then::Prepared { id, ended: undefined || (parameters, columns) == (0, 0) })
            }
            (Reply::Fetch | Reply::Nothing | Reply::Prepare | Reply::Single | Reply::Stream, _) => {
                Err(Malformed("not an answer to its command"))
            }
        }
    }

    /// A prepared statement's definitions: whether the last one was the end.
    fn prepared_end(&mut self, format: &Format) -> Then {
        match (self.at, format.no_eof) {
            (Answer::PreparedEnd | Answer::ParametersEnd { columns: 0 }, Some(true)) => Then::Ok,
            (Answer::ParametersEnd { columns }, Some(true)) => {
                self.at = Answer::Prepared { parameters: 0, columns };
                Then::On
            }
            // An EOF packet follows, or nothing: seen at the next packet of either direction.
            _ => Then::On,
        }
    }

    /// Whether it may have ended with its last packet.
    pub(super) fn may_have_ended(&self, format: &Format) -> bool {
        match self.at {
            Answer::Open => true,
            Answer::PreparedEnd | Answer::ParametersEnd { columns: 0 } => format.no_eof.is_none(),
            _ => false,
        }
    }

    /// One result ended.
    fn ended(&mut self, status: u16) -> Result<Then, Malformed> {
        if status & MORE_RESULTS == 0 {
            return Ok(Then::Ok);
        }
        self.several = true;
        self.at = Answer::First;
        Ok(Then::On)
    }

    fn row(&mut self) {
        *self.rows.get_or_insert(0) += 1;
    }
}

/// Whether these bytes of a packet `len` long may begin an answer: asked where a direction's place was lost.
pub(super) fn plausible(reply: Reply, bytes: &[u8], len: u32, format: &Format) -> bool {
    match (reply, bytes.first()) {
        (_, None) | (Reply::Nothing | Reply::Stream, _) => false,
        (_, Some(&ERR)) => error(bytes, len),
        (Reply::Auth | Reply::Result | Reply::Single, Some(&OK)) => ok(bytes, len),
        // A method's name follows.
        (Reply::Auth, Some(&EOF)) => bytes.get(1).is_some_and(u8::is_ascii_graphic),
        (Reply::Auth, Some(_)) => false,
        (Reply::Single | Reply::Fields | Reply::Fetch, Some(&EOF)) => len == 5 || ok(bytes, len),
        (Reply::Result, Some(&INFILE)) => len > 1,
        (Reply::Result, Some(_)) => columns(bytes, len, format).is_some(),
        (Reply::Prepare, Some(&OK)) => matches!(len, 12 | 13),
        (Reply::Fields, Some(_)) => definition(bytes).is_ok(),
        (Reply::Fetch, Some(&OK)) => len > 1,
        (Reply::Text, Some(_)) => bytes.iter().all(|byte| matches!(byte, b' '..=b'~')),
        (Reply::Fetch | Reply::Prepare | Reply::Single, Some(_)) => false,
    }
}

/// An ERR packet: a number that a server can give, then `#` and an SQLSTATE.
fn error(bytes: &[u8], len: u32) -> bool {
    match bytes.get(1..) {
        Some([low, high, b'#', state @ ..]) => {
            len >= 9
                && u16::from_le_bytes([*low, *high]) >= 1000
                && state.len() >= 5
                && state.iter().take(5).all(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

/// An OK packet whose fields fit: affected rows, last id, status, warnings. One of these states is always told: a transaction,
/// or autocommit.
fn ok(bytes: &[u8], len: u32) -> bool {
    let mut wire = Wire(bytes.get(1..).unwrap_or_default());
    let fields = (wire.lenenc(), wire.lenenc(), wire.u16(), wire.u16());
    let (Some(_), Some(_), Some(status), Some(_)) = fields else { return false };
    let behind = wire.0.len();
    status & 3 != 0 && (behind > 0 || len as usize == bytes.len())
}

/// The number of columns, and whether their definitions follow.
fn columns(bytes: &[u8], len: u32, format: &Format) -> Option<(u64, bool)> {
    let mut wire = Wire(bytes);
    let before = match format.metadata {
        Metadata::OptionalBefore => Some(wire.u8()?),
        _ => None,
    };
    let count = wire.lenenc()?;
    let behind = match (format.metadata, wire.0) {
        (Metadata::OptionalBehind, &[flag]) => Some(flag),
        // Not known to be agreed on, but nothing else has this form.
        (Metadata::Unknown, &[flag @ (0 | 1)]) if bytes.len() == 2 => Some(flag),
        (_, []) => None,
        _ => return None,
    };
    let flag = before.or(behind);
    // 4096 columns are MySQL's limit, so that three bytes hold every count.
    let fits = len as usize == bytes.len() && count > 0 && count <= 4096 && flag.is_none_or(|flag| flag < 2);
    fits.then_some((count, flag != Some(0)))
}

/// A column definition begins with its catalog, which is always `def`.
fn definition(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.starts_with(b"\x03def") { Ok(()) } else { Err(Malformed("no column definition")) }
}
