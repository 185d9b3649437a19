//! Is it PostgreSQL? In: the first bytes of both directions. Out: a [`Score`].
//!
//! From a connection's start: a whole StartupMessage, SSLRequest or GSSENCRequest, and the answer to it. In the middle: one
//! direction is made of well-formed messages of a client, the other, from its start or from behind a ReadyForQuery on, of a
//! server's that end with ReadyForQuery.

use memchr::memmem;

use super::message::{Framed, Opening, Sender, Walk, opening, walk};
use crate::contract::{Direction, Role};
use crate::detect::{Sample, Score};

/// Places at which messages are looked for, in a direction that does not begin with one.
const TRIED: usize = 4;

pub(super) fn score(sample: &Sample<'_>) -> Score {
    let judge = |asks, answers| judge(asks, answers, sample.from_start);
    match (judge(sample.ingress, sample.egress), judge(sample.egress, sample.ingress)) {
        (Score::Certain(_), _) => Score::Certain(Some(Role::of_requests(Direction::Ingress))),
        (_, Score::Certain(_)) => Score::Certain(Some(Role::of_requests(Direction::Egress))),
        (Score::No, Score::No) => Score::No,
        _ => Score::Possible,
    }
}

fn judge(asks: &[u8], answers: &[u8], from_start: bool) -> Score {
    match (opening(asks), answers.first()) {
        (Framed::Is(_), None) => Score::Possible,
        (Framed::Is((Opening::Cancel, _)), Some(_)) => Score::No,
        (Framed::Is((Opening::GssEncryption | Opening::Tls, _)), Some(b'G' | b'N' | b'S')) => Score::Certain(None),
        (Framed::Is(_), Some(_)) => match walk(answers, Sender::Server) {
            Framed::Is(Walk { first: Some(b'E' | b'R' | b'v'), .. }) => Score::Certain(None),
            Framed::More => Score::Possible,
            Framed::Is(_) | Framed::Not => Score::No,
        },
        (Framed::More, None) => Score::Possible,
        (Framed::More, Some(_)) if from_start => Score::No,
        (Framed::Not, _) if from_start => Score::No,
        (Framed::More | Framed::Not, _) => middle(asks, answers),
    }
}

fn middle(asks: &[u8], answers: &[u8]) -> Score {
    match (walk(asks, Sender::Client), answered(answers)) {
        (Framed::Is(Walk { counts: true, .. }), Framed::Is(())) => Score::Certain(None),
        (Framed::Not, _) | (_, Framed::Not) => Score::No,
        _ => Score::Possible,
    }
}

/// Whether bytes end with a whole answer.
fn answered(bytes: &[u8]) -> Framed<()> {
    let behind = memmem::find_iter(bytes, b"Z\0\0\0\x05").filter_map(|at| bytes.get(at + 6..));
    let mut more = bytes.is_empty();
    for bytes in std::iter::once(bytes).chain(behind.take(TRIED)) {
        match walk(bytes, Sender::Server) {
            Framed::Is(Walk { last: Some(b'Z'), counts: true, .. }) => return Framed::Is(()),
            // Nothing came yet behind it, or something that is not an answer.
            Framed::Is(_) | Framed::More => more = true,
            Framed::Not => {}
        }
    }
    if more { Framed::More } else { Framed::Not }
}
