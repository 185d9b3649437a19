//! A direction that has lost its place looks for frames, by the rules of [`resync`].
//!
//! In: chunks of that direction. Out: how much of them is passed over, and the phase the direction is in then.

use super::frame::{self, PREFACE};
use super::resync::{self, Found};
use super::stream::Place;
use super::{Data, Http2, Phase, Way, shorter};
use crate::contract::{Chunk, Direction, MAX_REST};
use crate::exchange::Output;

impl Http2 {
    /// Looks for frames: where the kept bytes and the call's begin, then everywhere.
    pub(super) fn search(&mut self, chunk: &Chunk<'_>, at: usize) -> Option<usize> {
        let starts = || [0, chunk.kept.len].into_iter().filter(|start| *start >= at);
        let judge = |start| {
            let bytes = chunk.bytes.get(start..).unwrap_or_default();
            (start, bytes, resync::at_start(bytes))
        };
        if let Some((start, bytes, _)) = starts().map(judge).find(|(.., found)| *found == Found::Frames) {
            self.found(chunk.dir, bytes);
            return Some(start - at);
        }
        for (start, bytes, found) in starts().map(judge) {
            match found {
                Found::One(head) if head.kind == frame::kind::DATA && !head.has(frame::flag::PADDED) => {
                    let (stream, ends) = (head.stream, head.has(frame::flag::END_STREAM));
                    let way = self.way(chunk.dir);
                    way.phase = Phase::Trial(Data { stream, ends, content: head.len, padding: 0 });
                    way.unproven = true;
                    return Some(start - at + frame::HEAD);
                }
                // What precedes is passed over.
                Found::More | Found::One(_) if bytes.len() < MAX_REST => {
                    return Some(start - at).filter(|passed| *passed > 0);
                }
                Found::Frames | Found::More | Found::Not | Found::One(_) => {}
            }
        }
        let bytes = chunk.bytes.get(at..).unwrap_or_default();
        let mut places = bytes.windows(frame::HEAD).enumerate().filter(|(_, window)| resync::may_begin(window));
        let found = places.find_map(|(index, _)| bytes.get(index..).filter(|bytes| resync::inside(bytes)));
        Some(match found {
            Some(frames) => {
                self.found(chunk.dir, frames);
                bytes.len() - frames.len()
            }
            None => bytes.len(),
        })
    }

    /// A call begins. If it begins with frames, that is more convincing than the few headers that led here, should it be in
    /// the middle of a frame by them.
    pub(super) fn doubt(&mut self, dir: Direction, bytes: &[u8]) {
        let inside = matches!(self.way(dir).phase, Phase::Data(_) | Phase::Skip(_) | Phase::Trial(_));
        if inside && resync::at_start(bytes) == Found::Frames {
            self.found(dir, bytes);
        }
    }

    /// Frames begin with these bytes.
    fn found(&mut self, dir: Direction, bytes: &[u8]) {
        if bytes.starts_with(PREFACE) {
            *self.way(dir) = Way::new();
        } else {
            let way = self.way(dir);
            (way.phase, way.unproven) = (Phase::Frame, true);
        }
    }

    /// Passes over what seems to be a DATA frame, and judges what follows.
    pub(super) fn trial(&mut self, mut data: Data, chunk: &Chunk<'_>, at: usize, out: &mut Output) -> Option<usize> {
        let rest = chunk.bytes.get(at..).unwrap_or_default();
        if data.content > 0 {
            let used = shorter(data.content, rest.len());
            data.content -= used;
            self.way(chunk.dir).phase = Phase::Trial(data);
            return Some(used as usize);
        }
        match resync::at_start(rest) {
            Found::More => return None,
            Found::Not => self.way(chunk.dir).phase = Phase::Lost,
            Found::Frames | Found::One(_) => {
                self.way(chunk.dir).phase = Phase::Frame;
                // It was one. Its stream is marked already; that it ended is worth knowing.
                if data.ends {
                    let place = Place { first: chunk.mark(at), last: chunk.mark(at), bytes: 0 };
                    self.end_stream(chunk.dir, data.stream, &place, out);
                }
            }
        }
        Some(0)
    }
}
