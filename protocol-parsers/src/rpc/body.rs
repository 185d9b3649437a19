//! One direction's body of a call: its messages, and what its end says of the status.
//!
//! In: the body's bytes in any division, and holes. Out: how many messages it was, and the status where the system puts it
//! into the body: gRPC-Web in a last frame of trailers, Connect in a last frame of JSON, or, of a failed unary call, as JSON.

use std::{borrow::Cow, io::Read};

use flate2::bufread::GzDecoder;

use super::{Kind, Messages, base64::Base64, json};

/// Bytes of an end that are kept: a code and the beginning of a text.
const MAX_END: usize = 1024;

/// Bytes of what they decompress to.
const MAX_TEXT: u64 = 8 * 1024;

/// How gzip begins (RFC 1952 section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Flags of a last frame: of trailers (gRPC-Web), of JSON (Connect).
const TRAILERS: u8 = 0x80;
const END_STREAM: u8 = 0x02;

/// One direction's body.
#[derive(Debug, Default)]
pub(crate) struct Body {
    messages: Messages,
    text: Option<Base64>,
    /// It is not framed, and its beginning is kept.
    raw: bool,
    end: Vec<u8>,
    /// The end is longer than what is kept, or not at hand.
    cut: bool,
}

impl Body {
    /// Of a call of this kind.
    pub(crate) fn new(kind: Kind, request: bool) -> Self {
        let last = match kind {
            Kind::GrpcWeb | Kind::GrpcWebText => TRAILERS,
            Kind::ConnectStream => END_STREAM,
            Kind::ConnectUnary | Kind::Grpc | Kind::Plain | Kind::Unknown => 0,
        };
        Self {
            messages: Messages::ending_with(last),
            text: (kind == Kind::GrpcWebText).then(Base64::default),
            raw: kind == Kind::ConnectUnary && !request,
            end: Vec::new(),
            cut: false,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let Self { messages, text, raw, end, cut } = self;
        let mut keep = |bytes: &[u8]| {
            let room = MAX_END.saturating_sub(end.len());
            *cut |= bytes.len() > room;
            end.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        };
        match text {
            _ if *raw => keep(bytes),
            None => messages.take(bytes, keep),
            Some(base64) => {
                if base64.decode(bytes, |bytes| messages.take(bytes, &mut keep)).is_err() {
                    messages.lose();
                }
            }
        }
    }

    /// Passes over bytes that are not at hand.
    pub(crate) fn skip(&mut self, len: u64) {
        self.cut |= self.raw && len > 0;
        match self.text {
            Some(_) if len > 0 => self.messages.lose(),
            _ => self.messages.skip(len),
        }
    }

    /// Bytes were lost, nobody knows how many.
    pub(crate) fn lose(&mut self) {
        self.cut = true;
        self.messages.lose();
    }

    /// How many of the next bytes are of no interest.
    pub(crate) fn skippable(&self) -> u64 {
        match (self.raw, &self.text) {
            (true, _) if self.cut => u64::MAX,
            (true, _) => 0,
            (false, Some(_)) if self.messages.whole().is_some() || self.messages.skippable() < u64::MAX => 0,
            (false, _) => self.messages.skippable(),
        }
    }

    /// How many messages there were, if that is certain and none is cut off.
    pub(crate) fn whole(&self) -> Option<u64> {
        self.messages.whole()
    }

    /// How many there were at least.
    pub(crate) fn at_least(&self) -> u64 {
        self.messages.at_least()
    }

    /// Whether a body that ended here is certain not to be messages.
    pub(crate) fn is_foreign(&self) -> bool {
        self.messages.is_foreign()
    }

    /// The status in the body's end, which was seen.
    pub(crate) fn status(&self, kind: Kind) -> Option<u8> {
        if !self.raw && self.messages.whole().is_none() {
            return None;
        }
        let (end, whole) = self.text();
        match kind {
            Kind::GrpcWeb | Kind::GrpcWebText => end
                .split_inclusive(|byte| *byte == b'\n')
                // A line that is not cut off.
                .filter(|line| whole || line.ends_with(b"\n"))
                .find_map(|line| {
                    let (name, value) = line.split_at_checked(12)?;
                    name.eq_ignore_ascii_case(b"grpc-status:").then(|| super::grpc_status(value.trim_ascii()))?
                }),
            Kind::ConnectStream if whole && !end.is_empty() => match json::member(&end, b"error") {
                Some(error) => connect_code(json::member(error, b"code")?),
                // An object without an error, and not something else (compressed, say).
                None => json::is_object(&end).then_some(0),
            },
            Kind::ConnectUnary => connect_code(json::member(&end, b"code")?),
            _ => None,
        }
    }

    /// Whether an unframed body was kept from its first byte to its last, and is text: neither an error in another coding nor a
    /// part of one.
    pub(crate) fn is_text(&self) -> bool {
        let (end, whole) = self.text();
        whole && std::str::from_utf8(&end).is_ok()
    }

    /// What was kept, without gzip's coding, which neither JSON nor trailers begin like; and whether that is all.
    fn text(&self) -> (Cow<'_, [u8]>, bool) {
        if !self.end.starts_with(&GZIP) {
            return (Cow::Borrowed(&self.end), !self.cut);
        }
        let mut text = Vec::new();
        // What was read before an error stays: a text that is cut off.
        let read = GzDecoder::new(&self.end[..]).take(MAX_TEXT).read_to_end(&mut text);
        let whole = !self.cut && read.is_ok_and(|len| (len as u64) < MAX_TEXT);
        (Cow::Owned(text), whole)
    }

    /// Bytes of heap it may come to hold.
    pub(crate) fn most_heap(kind: Kind) -> usize {
        match kind {
            Kind::ConnectStream | Kind::ConnectUnary | Kind::GrpcWeb | Kind::GrpcWebText => MAX_END,
            Kind::Grpc | Kind::Plain | Kind::Unknown => 0,
        }
    }
}

/// The code of a Connect error, by its name in quotes (Connect protocol, Error Codes).
fn connect_code(name: &[u8]) -> Option<u8> {
    let names: [&[u8]; 16] = [
        b"\"canceled\"",
        b"\"unknown\"",
        b"\"invalid_argument\"",
        b"\"deadline_exceeded\"",
        b"\"not_found\"",
        b"\"already_exists\"",
        b"\"permission_denied\"",
        b"\"resource_exhausted\"",
        b"\"failed_precondition\"",
        b"\"aborted\"",
        b"\"out_of_range\"",
        b"\"unimplemented\"",
        b"\"internal\"",
        b"\"unavailable\"",
        b"\"data_loss\"",
        b"\"unauthenticated\"",
    ];
    let index = names.into_iter().position(|known| known == name)?;
    u8::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![flag];
        frame.extend((bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        frame
    }

    /// Messages and status, whatever the division.
    fn read(kind: Kind, bytes: &[u8]) -> (Option<u64>, Option<u8>) {
        let mut results = (0..=bytes.len()).map(|at| {
            let mut body = Body::new(kind, false);
            body.take(&bytes[..at]);
            body.take(&bytes[at..]);
            (body.whole(), body.status(kind))
        });
        let first = results.next().unwrap();
        assert!(results.all(|other| other == first));
        first
    }

    #[test]
    fn grpc_web_ends_with_a_frame_of_trailers() {
        let trailers = frame(0x80, b"grpc-status:5\r\ngrpc-message:no\r\n");
        let body = [frame(0, b"abc"), frame(1, b""), trailers].concat();
        assert_eq!(read(Kind::GrpcWeb, &body), (Some(2), Some(5)));
        assert_eq!(read(Kind::GrpcWeb, &body[..12]), (None, None));
    }

    #[test]
    fn grpc_web_text_is_base64_in_pieces_that_are_padded_by_themselves() {
        // A message `abc`, then trailers.
        let body = b"AAAAAANhYmM=gAAAAA9ncnBjLXN0YXR1czowDQo=";
        assert_eq!(read(Kind::GrpcWebText, body), (Some(1), Some(0)));
        assert_eq!(read(Kind::GrpcWebText, b"AAAA!").0, None);
    }

    #[test]
    fn connect_ends_with_a_frame_of_json() {
        let end = |json: &[u8]| read(Kind::ConnectStream, &[frame(0, b"abc"), frame(2, json)].concat());
        assert_eq!(end(b"{}"), (Some(1), Some(0)));
        assert_eq!(end(b"{\"metadata\":{\"error\":[\"x\"]}}"), (Some(1), Some(0)));
        assert_eq!(end(b"{ \"error\" : { \"code\": \"unavailable\", \"message\": \"}\\\"\" } }"), (Some(1), Some(14)));
        assert_eq!(end(b"\x1f\x8bcompressed"), (Some(1), None));
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        flate2::bufread::GzEncoder::new(text, flate2::Compression::fast()).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn ends_that_are_compressed_are_read() {
        let end = |flag: u8, text: &[u8]| [frame(0, b"abc"), frame(flag | 1, &gzip(text))].concat();
        assert_eq!(read(Kind::ConnectStream, &end(END_STREAM, b"{}")), (Some(1), Some(0)));
        assert_eq!(
            read(Kind::ConnectStream, &end(END_STREAM, b"{\"error\":{\"code\":\"aborted\"}}")),
            (Some(1), Some(10))
        );
        assert_eq!(read(Kind::GrpcWeb, &end(TRAILERS, b"grpc-status: 8\r\n")), (Some(1), Some(8)));
        assert_eq!(read(Kind::ConnectUnary, &gzip(b"{\"code\":\"internal\"}")).1, Some(13));
        // A bomb: what it would become is not made.
        let bomb = gzip(&[b' '; 300_000]);
        assert_eq!(read(Kind::ConnectUnary, &bomb).1, None);
    }

    #[test]
    fn an_error_in_an_unknown_coding_is_no_text() {
        for (bytes, text) in [(&b"404 page not found\n"[..], true), (b"", true), (b"\x28\xb5\x2f\xfd\x20\x0e", false)] {
            let mut body = Body::new(Kind::ConnectUnary, false);
            body.take(bytes);
            assert_eq!(body.is_text(), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_failed_unary_connect_call_is_json() {
        assert_eq!(
            read(Kind::ConnectUnary, b"{\"message\":\"{\\\"code\\\":\\\"no\\\"\",\"code\":\"not_found\"}").1,
            Some(5)
        );
        assert_eq!(read(Kind::ConnectUnary, b"<html>").1, None);
    }

    #[test]
    fn what_was_not_seen_gives_no_status() {
        let body = [frame(0, b"abc"), frame(2, b"{}")].concat();
        for hole in 0..body.len() {
            let mut read = Body::new(Kind::ConnectStream, false);
            read.take(&body[..hole]);
            read.skip(1);
            read.take(&body[hole + 1..]);
            let inside = (5..8).contains(&hole);
            assert_eq!(read.status(Kind::ConnectStream), inside.then_some(0), "{hole}");
        }
    }
}
