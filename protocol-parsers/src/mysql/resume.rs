//! Finding the next message where a direction's place was lost, and at detection.
//!
//! In: bytes as calls moved them. Out: whether a message begins there. A write nearly always begins a message, so only the
//! starts of calls are looked at; a header, a known code and a length that fits are wanted, and the whole of a short packet.

use super::answer::{self, Format};
use super::command::{self, Reply};
use super::handshake;
use super::wire::Wire;
use crate::contract::Chunk;

/// A packet up to this length is judged when it is whole.
const WHOLE: usize = 4 * 1024;

/// As much of a longer one is judged.
const ENOUGH: usize = 64;

/// What begins at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Answer,
    Command,
    /// The client's answer to a greeting.
    Handshake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes(Message),
    /// More bytes are needed.
    More,
    No,
}

pub(super) enum Found {
    At(usize, Message),
    Growing(usize),
    Nowhere,
}

/// Looks where a call's bytes begin: at the start of what was kept (unless that is `stale`), else of what is new.
pub(super) fn find(chunk: &Chunk<'_>, stale: bool, judge: impl Fn(&[u8]) -> Verdict) -> Found {
    let starts = [Some(0).filter(|_| !stale || chunk.kept.len == 0), Some(chunk.kept.len).filter(|len| *len > 0)];
    let mut growing = None;
    for start in starts.into_iter().flatten() {
        match judge(chunk.bytes.get(start..).unwrap_or_default()) {
            Verdict::Yes(message) => return Found::At(start, message),
            Verdict::More if growing.is_none() => growing = Some(start),
            Verdict::More | Verdict::No => {}
        }
    }
    match growing {
        // Nothing that is judged is that long.
        Some(start) if chunk.bytes.len() - start < 2 * WHOLE => Found::Growing(start),
        _ => Found::Nowhere,
    }
}

/// A packet's header, and as much of its payload as is there.
struct Packet<'a> {
    len: u32,
    seq: u8,
    payload: &'a [u8],
    /// What follows it.
    behind: &'a [u8],
}

fn packet(bytes: &[u8]) -> Option<Packet<'_>> {
    let mut wire = Wire(bytes);
    let (len, seq) = (wire.u24()?, wire.u8()?);
    let (payload, behind) = wire.0.split_at_checked(len as usize).unwrap_or((wire.0, b""));
    Some(Packet { len, seq, payload, behind })
}

/// Does a client's message begin here that needs nothing in front of it?
pub(super) fn request(bytes: &[u8]) -> Verdict {
    let Some(Packet { len, seq, payload, behind }) = packet(bytes) else { return Verdict::More };
    let judged = if len as usize <= WHOLE { len as usize } else { ENOUGH };
    match (seq, payload.first()) {
        (_, None) if len > 0 && seq <= 2 => Verdict::More,
        (0, Some(&code)) => {
            let enough = payload.len() >= judged;
            if !(command::plausible(payload, len) || !enough && payload.len() < 16 && command::kind(code).is_some()) {
                return Verdict::No;
            }
            // Another command may follow, nothing else.
            let alone = match behind {
                [] | [_] | [_, _] | [_, _, _] => true,
                &[..] if matches!(packet(behind), Some(next) if next.seq == 0 && next.len > 0) => {
                    behind.get(4).is_none_or(|code| command::kind(*code).is_some())
                }
                _ => false,
            };
            match (enough, alone) {
                (true, true) => Verdict::Yes(Message::Command),
                (false, _) => Verdict::More,
                (true, false) => Verdict::No,
            }
        }
        (1 | 2, Some(_)) if (32..=WHOLE).contains(&(len as usize)) => {
            if payload.len() < len as usize {
                return Verdict::More;
            }
            let answers = handshake::answer(payload, true).is_some();
            if answers && behind.is_empty() { Verdict::Yes(Message::Handshake) } else { Verdict::No }
        }
        _ => Verdict::No,
    }
}

/// Does the answer to a command begin here, with this sequence id?
pub(super) fn response(bytes: &[u8], seq: u8, reply: Reply, format: &Format) -> Verdict {
    let Some(packet) = packet(bytes) else { return Verdict::More };
    let judged = packet.len.min(answer::FRONT) as usize;
    if packet.seq != seq || packet.len == 0 {
        Verdict::No
    } else if packet.payload.len() < judged {
        Verdict::More
    } else if answer::plausible(reply, packet.payload.get(..judged).unwrap_or_default(), packet.len, format) {
        Verdict::Yes(Message::Answer)
    } else {
        Verdict::No
    }
}
