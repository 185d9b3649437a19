//! What the server sends.

use super::message::{Failure, Framed, HEADER, Header, Sender};
use super::{Postgresql, Requests, Responses, place};
use crate::contract::{Chunk, Malformed, Used};
use crate::exchange::{Next, Output};

/// Bytes of an ErrorResponse that are looked at: severity and code stand in front.
const ERROR_HEAD: usize = 1024;

/// ReadyForQuery without its status.
const READY: &[u8; HEADER] = b"Z\0\0\0\x05";

impl Postgresql {
    pub(super) fn responses(&mut self, chunk: &Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.responses {
                Responses::Body(left, failure) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        let failure = failure.take();
                        self.responses = Responses::Message;
                        failure.into_iter().for_each(|failure| self.pairing.failed(failure, chunk.mark(at - 1), out));
                    }
                }
                Responses::Lost => {
                    // All that matters is whether it ends with ReadyForQuery; of its beginning, the rest is waited for.
                    let ready =
                        rest.split_last().is_some_and(|(status, front)| is_status(*status) && front.ends_with(READY));
                    self.pairing.tail(ready);
                    let begun =
                        (1..=READY.len()).rev().find(|len| READY.get(..*len).is_some_and(|head| rest.ends_with(head)));
                    return Ok(Used(chunk.bytes.len() - begun.unwrap_or(0)));
                }
                Responses::Negotiation => match rest.first() {
                    Some(b'S' | b'G') => {
                        out.switch(Next::Opaque(if rest.first() == Some(&b'S') { "tls" } else { "gssapi" }));
                        return Ok(Used(at + 1));
                    }
                    Some(b'N') => {
                        self.responses = Responses::Message;
                        at += 1;
                    }
                    _ => self.responses = Responses::Message,
                },
                Responses::Message => {
                    let header = match Header::read(rest, Sender::Server) {
                        Framed::Is(header) => header,
                        Framed::More => break,
                        Framed::Not => return Err(Malformed("no message of a server")),
                    };
                    if matches!(self.requests, Requests::Opening) && self.fresh {
                        // No server speaks first.
                        self.joined(out);
                        continue;
                    }
                    let len = usize::try_from(header.len()).unwrap_or(usize::MAX);
                    let needed = match header.kind {
                        b'C' | b'W' | b'Z' => len,
                        b'E' => len.min(ERROR_HEAD),
                        _ => HEADER,
                    };
                    let Some(body) = rest.get(HEADER..needed) else { break };
                    let taken = len.min(rest.len());
                    let failure = self.response(header.kind, body, taken < len, chunk, at, taken, out)?;
                    at += taken;
                    match header.kind {
                        b'D' => at += self.more_rows(chunk.bytes.get(at..).unwrap_or_default()),
                        b'W' => {
                            self.pairing.streams(chunk.mark(at - 1), out);
                            out.switch(Next::Opaque("postgresql-replication"));
                            return Ok(Used(at));
                        }
                        _ => {}
                    }
                    if taken < len {
                        self.responses = Responses::Body((len - taken) as u64, failure);
                    }
                }
            }
        }
        if let Some(last) = at.checked_sub(1).filter(|_| self.pairing.is_answering()) {
            self.pairing.answer_bytes(chunk.mark(last));
        }
        Ok(Used(at))
    }

    /// One message, or its beginning; gives what an ErrorResponse that goes on says.
    #[expect(clippy::too_many_arguments, reason = "the only caller would build a struct that is taken apart here")]
    fn response(
        &mut self,
        kind: u8,
        body: &[u8],
        goes_on: bool,
        chunk: &Chunk<'_>,
        at: usize,
        taken: usize,
        out: &mut Output,
    ) -> Result<Option<Failure>, Malformed> {
        match kind {
            // NotificationResponse, NoticeResponse, ParameterStatus come at any time and belong to nothing.
            b'A' | b'N' | b'S' => {}
            b'C' => {
                let Some((0, tag)) = body.split_last() else { return Err(Malformed("a command tag without an end")) };
                self.pairing.message(kind, tag, &place(chunk, at, taken), out);
            }
            b'E' => {
                let failure = Failure::read(body);
                self.pairing.fails(chunk.mark(at), out);
                if goes_on {
                    return Ok(Some(failure));
                }
                self.pairing.failed(failure, chunk.mark(at + taken - 1), out);
            }
            b'Z' => {
                let Some(status) = body.first().filter(|status| is_status(**status)) else {
                    return Err(Malformed("a ReadyForQuery without a status"));
                };
                self.pairing.ready(*status == b'I', &place(chunk, at, taken), out);
            }
            _ => self.pairing.message(kind, &[], &place(chunk, at, taken), out),
        }
        Ok(None)
    }

    /// Counts the whole rows in front; gives their bytes.
    fn more_rows(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut rows) = (0, 0);
        while let Some(rest) = bytes.get(at..)
            && let Framed::Is(header @ Header { kind: b'D', .. }) = Header::read(rest, Sender::Server)
            && let Some(len) = usize::try_from(header.len()).ok().filter(|len| *len <= rest.len())
        {
            at += len;
            rows += 1;
        }
        self.pairing.more_rows(rows);
        at
    }
}

fn is_status(status: u8) -> bool {
    matches!(status, b'E' | b'I' | b'T')
}
