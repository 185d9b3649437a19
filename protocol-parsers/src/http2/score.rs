//! Is it HTTP/2? In: the first bytes of both directions. Out: a [`Score`].

use super::frame::{HEAD, Head, PREFACE, flag, kind};
use super::head::Block;
use super::hpack::Decoder;
use super::resync;
use crate::contract::{Direction, Role};
use crate::detect::{Sample, Score};

/// The client's preface with the SETTINGS that must follow is certain. In a connection joined in the middle, both directions
/// must be chains of frames, and one of them must hold a header block that makes sense.
pub(super) fn score(sample: &Sample<'_>) -> Score {
    let directions = [(Direction::Ingress, sample.ingress), (Direction::Egress, sample.egress)];
    let mut possible = false;
    for (dir, bytes) in directions {
        match preface(bytes) {
            Some(true) => return Score::Certain(Some(Role::of_requests(dir))),
            Some(false) => possible = true,
            None => {}
        }
    }
    let [ingress, egress] = directions.map(|(_, bytes)| frames(bytes));
    if sample.from_start {
        // The server may speak first: SETTINGS.
        let settings = |bytes: &[u8], frames: &Frames| {
            bytes.is_empty() || frames.plausible && bytes.get(3).is_none_or(|first| *first == kind::SETTINGS)
        };
        let waits = possible || settings(sample.ingress, &ingress) && settings(sample.egress, &egress);
        return if waits { Score::Possible } else { Score::No };
    }
    match (ingress.asks || egress.answers, egress.asks || ingress.answers) {
        (true, false) if ingress.count > 0 && egress.count > 0 => Score::Certain(Some(Role::Server)),
        (false, true) if ingress.count > 0 && egress.count > 0 => Score::Certain(Some(Role::Client)),
        (true, true) => Score::No,
        _ if possible || ingress.plausible && egress.plausible => Score::Possible,
        _ => Score::No,
    }
}

/// Whether bytes begin with the preface and a SETTINGS frame's header; `None`: they do not.
fn preface(bytes: &[u8]) -> Option<bool> {
    if bytes.is_empty() || !PREFACE.iter().zip(bytes).all(|(a, b)| a == b) {
        return None;
    }
    match bytes.get(PREFACE.len()..).and_then(Head::read) {
        None => Some(false),
        Some(head) => (head.kind == kind::SETTINGS && head.is_valid()).then_some(true),
    }
}

/// What a direction's bytes look like as frames.
#[derive(Default)]
struct Frames {
    /// Frames, or the beginning of one, or nothing.
    plausible: bool,
    /// How many frame headers.
    count: u32,
    /// A header block of a request is among them; of a response.
    asks: bool,
    answers: bool,
}

fn frames(bytes: &[u8]) -> Frames {
    let mut frames = Frames { plausible: true, ..Frames::default() };
    if !matches!(resync::at_start(bytes), resync::Found::Frames) {
        frames.plausible = bytes.is_empty() || !matches!(resync::at_start(bytes), resync::Found::Not);
        return frames;
    }
    let (mut rest, mut decoder) = (bytes, Decoder::new());
    decoder.forget();
    while let Some(head) = Head::read(rest) {
        frames.count += 1;
        let end = HEAD + head.len as usize;
        if head.kind == kind::HEADERS
            && head.flags & (flag::PADDED | flag::PRIORITY | flag::END_HEADERS) == flag::END_HEADERS
            && let Some(block) = rest.get(HEAD..end)
        {
            let block = Block::read(&mut decoder, block, 0);
            if block.broken {
                return Frames::default();
            }
            frames.asks |= block.asks;
            frames.answers |= block.http.status.is_some();
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    frames
}
