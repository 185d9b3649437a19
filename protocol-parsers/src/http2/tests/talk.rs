//! Two peers that talk HTTP/2: frames into a [`Session`], a call each.

use crate::http2::frame::{PREFACE, flag, kind};
use crate::http2::hpack::encoding::Encoder;
use crate::proof::Session;

/// What both sides said.
pub(super) struct Talk {
    pub(super) client: Encoder,
    pub(super) server: Encoder,
    pub(super) said: Vec<(bool, Vec<u8>)>,
}

pub(super) const CLIENT: bool = true;
pub(super) const SERVER: bool = false;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A length-prefixed message of `len` bytes.
pub(super) fn message(len: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend((len as u32).to_be_bytes());
    message.extend((0..len).map(|at| (at * 7) as u8));
    message
}

impl Talk {
    pub(super) fn new() -> Self {
        Self { client: Encoder::new(true, true), server: Encoder::new(true, false), said: Vec::new() }
    }

    /// Both prefaces.
    pub(super) fn greeted() -> Self {
        let mut talk = Self::new();
        let mut preface = PREFACE.to_vec();
        preface.extend(frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]));
        preface.extend(frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 255, 255]));
        talk.say(CLIENT, preface);
        talk.say(SERVER, frame(kind::SETTINGS, 0, 0, &[]));
        talk.say(SERVER, frame(kind::SETTINGS, flag::ACK, 0, &[]));
        talk.say(CLIENT, frame(kind::SETTINGS, flag::ACK, 0, &[]));
        talk
    }

    pub(super) fn say(&mut self, who: bool, bytes: Vec<u8>) -> &mut Self {
        self.said.push((who, bytes));
        self
    }

    fn encoder(&mut self, who: bool) -> &mut Encoder {
        if who == CLIENT { &mut self.client } else { &mut self.server }
    }

    /// A header block in one frame.
    pub(super) fn headers(&mut self, who: bool, stream: u32, ends: bool, fields: &[(&str, &str)]) -> &mut Self {
        let block = self.encoder(who).block(fields);
        let flags = flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 };
        self.say(who, frame(kind::HEADERS, flags, stream, &block))
    }

    pub(super) fn data(&mut self, who: bool, stream: u32, ends: bool, bytes: &[u8]) -> &mut Self {
        self.say(who, frame(kind::DATA, u8::from(ends), stream, bytes))
    }

    pub(super) fn reset(&mut self, who: bool, stream: u32, error: u32) -> &mut Self {
        self.say(who, frame(kind::RST_STREAM, 0, stream, &error.to_be_bytes()))
    }

    pub(super) fn go_away(&mut self, who: bool, last: u32) -> &mut Self {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(0_u32.to_be_bytes());
        self.say(who, frame(kind::GOAWAY, 0, 0, &payload))
    }

    /// A request without a body.
    pub(super) fn get(&mut self, stream: u32, path: &str) -> &mut Self {
        self.headers(
            CLIENT,
            stream,
            true,
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "shop.example"),
                ("user-agent", "test/1"),
            ],
        )
    }

    /// The head of a call.
    pub(super) fn call(&mut self, stream: u32, method: &str) -> &mut Self {
        self.headers(
            CLIENT,
            stream,
            false,
            &[
                (":method", "POST"),
                (":scheme", "http"),
                (":path", method),
                (":authority", "shop.example:50051"),
                ("content-type", "application/grpc+proto"),
                ("user-agent", "grpc-test/1"),
                ("te", "trailers"),
            ],
        )
    }

    /// The head of a call's answer.
    pub(super) fn answer(&mut self, stream: u32) -> &mut Self {
        self.headers(SERVER, stream, false, &[(":status", "200"), ("content-type", "application/grpc+proto")])
    }

    /// The trailers of a call.
    pub(super) fn status(&mut self, stream: u32, status: &str) -> &mut Self {
        self.headers(SERVER, stream, true, &[("grpc-status", status), ("grpc-message", "")])
    }

    /// A unary call, whole.
    pub(super) fn unary(
        &mut self,
        stream: u32,
        method: &str,
        asked: usize,
        answered: usize,
        status: &str,
    ) -> &mut Self {
        self.call(stream, method).data(CLIENT, stream, true, &message(asked));
        self.answer(stream).data(SERVER, stream, false, &message(answered)).status(stream, status)
    }

    pub(super) fn session(&self) -> Session {
        Session::new(self.said.iter().map(|(who, bytes)| (*who, bytes)))
    }
}
