//! Is it MySQL's protocol? In: the first bytes of both directions. Out: a [`Score`].
//!
//! At its start: a greeting and the client's answer to it, each to the byte. In the plaintext of TLS: the client's answer and
//! the server's packet behind it. In the middle: a command and an answer that fits it, with the sequence ids that belong to
//! them; a length that ends where the bytes end. The same in frames.

use super::answer::Format;
use super::command::{self, Reply};
use super::compressed;
use super::handshake;
use super::resume::{self, Message, Verdict};
use super::wire::Wire;
use crate::contract::{Direction, Role};
use crate::detect::{Sample, Score};

pub(super) fn score(sample: &Sample<'_>) -> Score {
    let mut possible = false;
    for requests in [Direction::Ingress, Direction::Egress] {
        let role = Role::of_requests(requests);
        let (asked, said) = match requests {
            Direction::Ingress => (sample.ingress, sample.egress),
            Direction::Egress => (sample.egress, sample.ingress),
        };
        let verdicts = [
            if sample.tls { Verdict::No } else { greeted(asked, said) },
            if sample.tls || !sample.from_start { authenticated(asked, said) } else { Verdict::No },
            if sample.from_start { Verdict::No } else { commanded(asked, said) },
            if sample.from_start { Verdict::No } else { framed(asked, said) },
        ];
        for verdict in verdicts {
            match verdict {
                Verdict::Yes(_) => return Score::Certain(Some(role)),
                Verdict::More => possible = true,
                Verdict::No => {}
            }
        }
    }
    if possible { Score::Possible } else { Score::No }
}

/// One packet of which every byte is there, and what follows it. `Err`: more bytes are needed, or none help.
fn packet(bytes: &[u8], seqs: std::ops::RangeInclusive<u8>, longest: u32) -> Result<(&[u8], &[u8]), Verdict> {
    let mut wire = Wire(bytes);
    let (Some(len), Some(seq)) = (wire.u24(), wire.u8()) else { return Err(Verdict::More) };
    if !seqs.contains(&seq) || len == 0 || len > longest {
        return Err(Verdict::No);
    }
    match wire.bytes(len as usize) {
        Some(payload) => Ok((payload, wire.0)),
        None => Err(Verdict::More),
    }
}

/// Longer than any greeting, and any answer to one with its attributes.
const GREETING: u32 = 512;
const ANSWER: u32 = 8 * 1024;

fn greeted(asked: &[u8], said: &[u8]) -> Verdict {
    let greeting = match packet(said, 0..=0, GREETING) {
        Ok((payload, _)) => handshake::greeting(payload).is_some(),
        Err(verdict) => {
            // Its first bytes tell.
            let begins = said.get(4..).is_none_or(|rest| rest.first().is_none_or(|version| *version == 10));
            return if begins && asked.is_empty() { verdict } else { Verdict::No };
        }
    };
    match packet(asked, 1..=1, ANSWER) {
        _ if !greeting => Verdict::No,
        Ok((payload, _)) if handshake::answer(payload, true).is_some() => Verdict::Yes(Message::Handshake),
        Ok(_) => Verdict::No,
        Err(verdict) => verdict,
    }
}

fn authenticated(asked: &[u8], said: &[u8]) -> Verdict {
    let (answer, seq) = match packet(asked, 1..=2, ANSWER) {
        Ok((payload, _)) => (handshake::answer(payload, true), asked.get(3).copied().unwrap_or(0)),
        Err(verdict) => return verdict,
    };
    if !matches!(answer, Some(handshake::Answer::Response(_))) {
        return Verdict::No;
    }
    // OK, ERR, a switch of the method, or more of its data.
    match packet(said, seq + 1..=seq + 1, ANSWER) {
        Ok(([0 | 1 | 0xfe | 0xff, ..], _)) => Verdict::Yes(Message::Handshake),
        Ok(_) => Verdict::No,
        Err(verdict) => verdict,
    }
}

fn commanded(asked: &[u8], said: &[u8]) -> Verdict {
    let verdict = resume::request(asked);
    if verdict != Verdict::Yes(Message::Command) {
        // A handshake is judged elsewhere.
        return if verdict == Verdict::More { Verdict::More } else { Verdict::No };
    }
    let Some((seq, reply)) = first_answered(asked) else { return Verdict::More };
    match resume::response(said, seq, reply, &Format::default()) {
        Verdict::Yes(_) if told(said) => Verdict::Yes(Message::Command),
        Verdict::Yes(_) | Verdict::No => Verdict::No,
        Verdict::More => Verdict::More,
    }
}

/// The same in frames.
fn framed(asked: &[u8], said: &[u8]) -> Verdict {
    match (compressed::first(asked, 0), compressed::first(said, 1)) {
        (Some(asked), Some(said)) if commanded(&asked, &said) == Verdict::Yes(Message::Command) => {
            Verdict::Yes(Message::Command)
        }
        (Some(asked), None) if said.len() < 7 && resume::request(&asked) == Verdict::Yes(Message::Command) => {
            Verdict::More
        }
        _ => Verdict::No,
    }
}

/// The sequence id of the answer to the first command that is answered.
fn first_answered(mut asked: &[u8]) -> Option<(u8, Reply)> {
    loop {
        let mut wire = Wire(asked);
        let (len, _) = (wire.u24()?, wire.u8()?);
        let reply = command::kind(*wire.0.first()?)?.reply;
        if reply != Reply::Nothing {
            return Some((1, reply));
        }
        asked = wire.0.get(len as usize..)?;
    }
}

/// Whether an answer's first packet says enough to be taken for one: an error with its state, an OK packet to its last field,
/// a column count with the first definition behind it, a prepared statement's fixed length.
fn told(said: &[u8]) -> bool {
    let mut wire = Wire(said);
    let (Some(len), Some(_)) = (wire.u24(), wire.u8()) else { return false };
    let Some((payload, behind)) = wire.0.split_at_checked(len as usize) else { return false };
    match payload.first() {
        Some(0xff) => true,
        Some(0) => len >= 7,
        Some(0xfb | 0xfe) | None => false,
        Some(_) => behind.get(3..).is_some_and(|next| next.starts_with(b"\x02\x03def")),
    }
}
