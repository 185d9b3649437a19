//! Finding a frame where it is not known where frames begin (RFC 9113 knows no marks for it).
//!
//! In: bytes, and whether a call began there. Out: a place where frames begin, or might. A chain of plausible headers is what
//! tells: each names the place of the next.

use super::frame::{HEAD, Head, PREFACE, kind};

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Frames begin here, or the client's preface does.
    Frames,
    /// One frame may, whose end is not among the bytes.
    One(Head),
    /// Too few to tell.
    More,
    /// No frame.
    Not,
}

/// How a chain of frames goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its last frame ends where the bytes end.
    Exact,
    /// Its last frame is longer than the bytes.
    Open,
    /// A header is cut off.
    Partial,
    /// What follows is no frame.
    Broken,
}

/// Judges bytes at the start of a call, or behind a frame that was taken on trial.
pub(super) fn at_start(bytes: &[u8]) -> Found {
    let preface = PREFACE.iter().zip(bytes).all(|(a, b)| a == b);
    if preface {
        return if bytes.len() >= PREFACE.len() { Found::Frames } else { Found::More };
    }
    match chain(bytes) {
        (_, End::Broken) => Found::Not,
        (0, End::Exact | End::Partial) => Found::More,
        (1.., End::Exact) | (2.., End::Open | End::Partial) => Found::Frames,
        (1, End::Partial) => Found::More,
        (_, End::Open) => Head::read(bytes).map_or(Found::Not, Found::One),
    }
}

/// Judges bytes where no call began: only a longer chain convinces.
pub(super) fn inside(bytes: &[u8]) -> bool {
    matches!(chain(bytes), (2.., End::Exact) | (3.., End::Open | End::Partial))
}

/// Whether a frame may begin with these bytes: the types and lengths most places fail on.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, 0..=9, 0 | 1 | 4 | 5 | 8 | 9 | 0x20..=0x2d, 0..=0x7f, ..])
}

/// Follows frames: how many have a whole, plausible header, and what stands at the end.
fn chain(bytes: &[u8]) -> (usize, End) {
    let (mut rest, mut count) = (bytes, 0);
    // A block that is not finished: its stream.
    let mut block = None;
    loop {
        if rest.is_empty() {
            return (count, End::Exact);
        }
        let Some(head) = Head::read(rest) else {
            return (count, if may_grow(rest) { End::Partial } else { End::Broken });
        };
        let in_place = match block {
            Some(stream) => head.kind == kind::CONTINUATION && head.stream == stream,
            None => head.kind != kind::CONTINUATION,
        };
        if !in_place || !head.is_plausible(rest) {
            return (count, End::Broken);
        }
        let opens = matches!(head.kind, kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE);
        block = (opens && !head.has(super::frame::flag::END_HEADERS)).then_some(head.stream);
        count += 1;
        match rest.get(HEAD + head.len as usize..) {
            Some(behind) => rest = behind,
            None => return (count, End::Open),
        }
    }
}

/// Whether the first bytes of a header may become one.
fn may_grow(bytes: &[u8]) -> bool {
    bytes.get(3).is_none_or(|kind| *kind <= kind::CONTINUATION)
}
