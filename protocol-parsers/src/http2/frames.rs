//! Frames, one by one: headers and payloads in, what they say of streams out.

use super::frame::{HEAD, Head, flag, kind};
use super::head::Block;
use super::stream::Place;
use super::{Counted, Data, Gathered, Http2, MAX_BLOCK, Phase, shorter};
use crate::contract::{Chunk, Direction, Malformed};
use crate::exchange::{Incomplete, Output};

impl Http2 {
    /// A frame begins at `at`: how many bytes were taken, `None` if more are needed.
    pub(super) fn frame(&mut self, chunk: &Chunk<'_>, at: usize, out: &mut Output) -> Result<Option<usize>, Malformed> {
        let rest = chunk.bytes.get(at..).unwrap_or_default();
        let Some(head) = Head::read(rest) else { return Ok(None) };
        if !head.is_valid() {
            return Err(Malformed("not a frame"));
        }
        if let Some(block) = &self.way(chunk.dir).block {
            // "A receiver MUST treat the receipt of any other type of frame or a frame on a different stream as a connection
            // error" (section 6.2).
            if head.kind != kind::CONTINUATION || head.stream != block.stream {
                return Err(Malformed("a header block was broken off"));
            }
        }
        let len = head.len as usize;
        let place = |bytes: usize| Place {
            first: chunk.mark(at),
            last: chunk.mark(at + bytes.max(1) - 1),
            bytes: bytes as u64,
        };
        match head.kind {
            kind::DATA => {
                let padded = usize::from(head.has(flag::PADDED));
                let Some(front) = rest.get(..HEAD + padded) else { return Ok(None) };
                let padding = front.get(HEAD).map_or(0, |padding| u32::from(*padding));
                let content = head.len - u32::from(head.has(flag::PADDED));
                let content = content.checked_sub(padding).ok_or(Malformed("more padding than payload"))?;
                let ends = head.has(flag::END_STREAM);
                self.data_begins(
                    chunk.dir,
                    Data { stream: head.stream, ends, content, padding },
                    &place(front.len()),
                    out,
                );
                Ok(Some(front.len()))
            }
            kind::HEADERS | kind::PUSH_PROMISE => {
                let whole = rest.get(HEAD..HEAD + len).filter(|_| head.has(flag::END_HEADERS));
                let Some(payload) = whole else {
                    self.gather(chunk.dir, &head, place(HEAD));
                    if head.len == 0 {
                        self.block_end(chunk, at + HEAD, out)?;
                    }
                    return Ok(Some(HEAD));
                };
                let fragment = fragment(head.kind, head.flags, payload)?;
                let room = self.streams.room();
                let block = Block::read(&mut self.way(chunk.dir).decoder, fragment, room);
                self.block(chunk.dir, head.kind == kind::PUSH_PROMISE, &head, block, &place(HEAD + len), out)?;
                Ok(Some(HEAD + len))
            }
            kind::CONTINUATION => {
                let Some(block) = &mut self.way(chunk.dir).block else {
                    return Err(Malformed("a continuation of nothing"));
                };
                (block.kind, block.flags) = (head.kind, head.flags & flag::END_HEADERS);
                block.place.bytes += HEAD as u64;
                self.way(chunk.dir).phase = Phase::Block(head.len);
                if head.len == 0 {
                    self.block_end(chunk, at + HEAD, out)?;
                }
                Ok(Some(HEAD))
            }
            kind::RST_STREAM => {
                let Some((_, &[a, b, c, d])) = rest.get(..HEAD + 4).and_then(|frame| frame.split_last_chunk::<4>())
                else {
                    return Ok(None);
                };
                self.reset(chunk.dir, head.stream, u32::from_be_bytes([a, b, c, d]), &place(HEAD + 4), out);
                Ok(Some(HEAD + 4))
            }
            kind::GOAWAY => {
                let Some((_, &[a, b, c, d])) = rest.get(..HEAD + 4).and_then(|frame| frame.split_last_chunk::<4>())
                else {
                    return Ok(None);
                };
                self.go_away(chunk.dir, u32::from_be_bytes([a & 0x7f, b, c, d]), chunk.mark(at).time, out);
                self.way(chunk.dir).phase = Phase::Skip(head.len - 4);
                Ok(Some(HEAD + 4))
            }
            _ => {
                if head.len > 0 {
                    self.way(chunk.dir).phase = Phase::Skip(head.len);
                }
                Ok(Some(HEAD))
            }
        }
    }

    /// The header of a DATA frame, and of its padding, belongs to the stream but not to the body.
    fn data_begins(&mut self, dir: Direction, mut data: Data, place: &Place, out: &mut Output) {
        if let (Some(requests), Some(stream)) = (self.asks(dir), self.streams.get(data.stream)) {
            if !requests && stream.exchange.response.is_none() {
                // The head of the answer was lost.
                stream.response.suspect.get_or_insert(Incomplete::Gap);
                stream.answered(place, out);
            }
            stream.place(requests, place);
        }
        let nothing = Place { first: place.last, last: place.last, bytes: 0 };
        self.data_counted(dir, &mut data, Counted { place: nothing, bytes: Some(&[]) }, out);
    }

    /// Bytes of a DATA frame.
    pub(super) fn data_bytes(&mut self, mut data: Data, chunk: &Chunk<'_>, at: usize, out: &mut Output) -> usize {
        let rest = chunk.bytes.get(at..).unwrap_or_default();
        let used = shorter(data.content.saturating_add(data.padding), rest.len()) as usize;
        let place = Place { first: chunk.mark(at), last: chunk.mark(at + used.max(1) - 1), bytes: used as u64 };
        self.data_counted(chunk.dir, &mut data, Counted { place, bytes: rest.get(..used) }, out);
        used
    }

    /// How many of the next bytes of a DATA frame are of no interest.
    pub(super) fn skippable(&self, dir: Direction, data: &Data) -> u64 {
        let left = u64::from(data.content) + u64::from(data.padding);
        match (self.asks(dir), self.streams.peek(data.stream)) {
            (Some(true), Some(stream)) if stream.framed() => left.min(stream.request.messages.skippable()),
            (Some(false), Some(stream)) if stream.framed() => left.min(stream.response.messages.skippable()),
            _ => left,
        }
    }

    /// A header block begins that is not whole in this chunk, or in this frame.
    fn gather(&mut self, dir: Direction, head: &Head, place: Place) {
        let way = self.way(dir);
        way.block = Some(Box::new(Gathered {
            stream: head.stream,
            pushed: head.kind == kind::PUSH_PROMISE,
            ends: head.kind == kind::HEADERS && head.has(flag::END_STREAM),
            kind: head.kind,
            flags: head.flags,
            place,
            bytes: Vec::new(),
            too_long: false,
        }));
        way.phase = Phase::Block(head.len);
    }

    /// Bytes of a frame of a header block.
    pub(super) fn block_bytes(
        &mut self,
        left: u32,
        chunk: &Chunk<'_>,
        at: usize,
        out: &mut Output,
    ) -> Result<usize, Malformed> {
        let rest = chunk.bytes.get(at..).unwrap_or_default();
        let used = shorter(left, rest.len());
        let way = self.way(chunk.dir);
        way.phase = Phase::Block(left - used);
        let Some(block) = &mut way.block else { return Err(Malformed("no header block")) };
        let bytes = rest.get(..used as usize).unwrap_or_default();
        block.place.bytes += bytes.len() as u64;
        if block.bytes.len() + bytes.len() > MAX_BLOCK {
            block.too_long = true;
            block.bytes = Vec::new();
        }
        if !block.too_long {
            block.bytes.extend_from_slice(bytes);
        }
        if left == used {
            self.block_end(chunk, at + used as usize, out)?;
        }
        Ok(used as usize)
    }

    /// A block is decoded.
    fn block(
        &mut self,
        dir: Direction,
        pushed: bool,
        head: &Head,
        block: Block,
        place: &Place,
        out: &mut Output,
    ) -> Result<(), Malformed> {
        if block.broken && !block.too_long {
            return Err(Malformed("not a header block"));
        }
        self.way(dir).unproven = false;
        if pushed {
            return Ok(());
        }
        self.headers(dir, head.stream, head.has(flag::END_STREAM), block, place, out)
    }

    /// A frame of a header block ended before `at`; with it the block, perhaps.
    fn block_end(&mut self, chunk: &Chunk<'_>, at: usize, out: &mut Output) -> Result<(), Malformed> {
        let room = self.streams.room();
        let way = self.way(chunk.dir);
        way.phase = Phase::Frame;
        let Some(mut gathered) = way.block.take() else { return Ok(()) };
        if !gathered.too_long && gathered.kind != kind::CONTINUATION {
            let range = fragment_range(gathered.kind, gathered.flags, &gathered.bytes)
                .ok_or(Malformed("more padding than payload"))?;
            gathered.bytes.truncate(range.end);
            gathered.bytes.drain(..range.start);
        }
        if gathered.flags & flag::END_HEADERS == 0 {
            way.block = Some(gathered);
            return Ok(());
        }
        let block = if gathered.too_long {
            way.decoder.forget();
            Block::unread()
        } else {
            Block::read(&mut way.decoder, &gathered.bytes, room)
        };
        let place = Place { last: chunk.mark(at.max(1) - 1), ..gathered.place };
        let flags = if gathered.ends { flag::END_STREAM } else { 0 };
        let head = Head { len: 0, kind: kind::HEADERS, flags, stream: gathered.stream };
        self.block(chunk.dir, gathered.pushed, &head, block, &place, out)
    }
}

/// The part of a payload that belongs to the header block.
fn fragment(kind: u8, flags: u8, payload: &[u8]) -> Result<&[u8], Malformed> {
    fragment_range(kind, flags, payload)
        .and_then(|range| payload.get(range))
        .ok_or(Malformed("more padding than payload"))
}

fn fragment_range(kind: u8, flags: u8, payload: &[u8]) -> Option<std::ops::Range<usize>> {
    let padded = flags & flag::PADDED != 0;
    let padding = if padded { usize::from(*payload.first()?) } else { 0 };
    let fields = match kind {
        // Promised stream.
        kind::PUSH_PROMISE => 4,
        // Exclusive flag, dependency and weight.
        kind::HEADERS if flags & flag::PRIORITY != 0 => 5,
        _ => 0,
    };
    let start = usize::from(padded) + fields;
    let end = payload.len().checked_sub(padding)?;
    (start <= end).then_some(start..end)
}
