//! Generated traffic in which every exchange names itself on both sides: request `/17` is answered with status 417. A pair that
//! does not belong together shows.

use crate::contract::{Close, Lost, Role};
use crate::exchange::Details;
use crate::fuzzing::Feed;
use crate::http1::PROTOCOL;
use crate::proof::Random;

/// One exchange as it is.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) method: &'static str,
    pub(super) request_body: u64,
    pub(super) response_body: u64,
    pub(super) burst: usize,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Client,
    Server,
}

/// One write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) from: From,
    pub(super) bytes: Vec<u8>,
    pub(super) burst: usize,
}

/// A connection's life: bursts of requests, each answered before the next one begins.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) truth: Vec<Truth>,
    pub(super) writes: Vec<Write>,
}

impl Traffic {
    pub(super) fn generate(random: &mut Random, bursts: usize, depth: usize) -> Self {
        let mut traffic = Self::default();
        for burst in 0..bursts {
            let first = traffic.truth.len();
            let mut responses = Vec::new();
            for id in first..=first + random.below(depth) {
                let (truth, request, response) = exchange(random, id, burst);
                traffic.truth.push(truth);
                traffic.write(random, From::Client, request, burst);
                responses.push(response);
            }
            for response in responses {
                traffic.write(random, From::Server, response, burst);
            }
        }
        traffic
    }

    /// Mostly a write of its own, at times in several, at times together with the one before.
    fn write(&mut self, random: &mut Random, from: From, bytes: Vec<u8>, burst: usize) {
        if let Some(last) = self.writes.last_mut().filter(|last| last.from == from && last.burst == burst)
            && random.chance(20)
        {
            last.bytes.extend(bytes);
            return;
        }
        let mut rest = &bytes[..];
        while rest.len() > 1 && random.chance(25) {
            let (piece, behind) = rest.split_at(1 + random.below(rest.len() - 1));
            self.writes.push(Write { from, bytes: piece.to_vec(), burst });
            rest = behind;
        }
        self.writes.push(Write { from, bytes: rest.to_vec(), burst });
    }

    /// The bytes of one side, in all.
    pub(super) fn len(&self, from: From) -> usize {
        self.writes.iter().filter(|write| write.from == from).map(|write| write.bytes.len()).sum()
    }

    /// Feeds it, without the bytes of `hole`.
    pub(super) fn play(&self, role: Role, told: Option<Role>, hole: &Missing) -> Feed {
        let mut feed = Feed::new(&PROTOCOL, told);
        let mut at = [0, 0];
        let mut unsaid = 0;
        for write in &self.writes {
            let dir = if write.from == From::Client { role.requests() } else { role.requests().opposite() };
            let position = &mut at[usize::from(write.from == From::Server)];
            let (start, end) = (*position, *position + write.bytes.len());
            *position = end;
            let missing = hole.start.clamp(start, end)..hole.end.clamp(start, end);
            if write.from != hole.from || hole.start == hole.end {
                feed.data(dir, &write.bytes);
                continue;
            }
            if start < missing.start || missing.is_empty() && unsaid > 0 {
                // Something of this direction is seen: what is missing before it is noticed at the latest now.
                hole.say(&mut feed, dir, &mut unsaid);
            }
            feed.data(dir, &write.bytes[..missing.start - start]);
            unsaid += missing.len();
            if !hole.late || missing.end < end && !missing.is_empty() {
                hole.say(&mut feed, dir, &mut unsaid);
            }
            feed.data(dir, &write.bytes[missing.end - start..]);
        }
        feed.close(None, Close::Fin);
        feed.assert_all_done();
        feed
    }

    /// Every exchange that names a request and a response names those of one truth. Returns the ids of the whole ones.
    pub(super) fn check(&self, feed: &Feed, what: &str) -> Vec<usize> {
        let mut whole = Vec::new();
        for done in feed.done() {
            let Details::Http(http) = done.details else { panic!("not HTTP") };
            let text = |span: Option<_>| done.text.str(span.expect("seen"));
            let id: usize = text(http.target).trim_start_matches('/').parse().expect("an id");
            let truth = &self.truth[id];
            assert_eq!(text(http.method), truth.method, "of {id} {what}");
            assert!(
                http.request_body.is_none_or(|body| body == truth.request_body),
                "request of {id}: {http:?} {what}"
            );
            assert!(
                http.response_body.is_none_or(|body| body == truth.response_body),
                "response of {id}: {http:?} {what}"
            );
            assert!(
                http.status.is_none_or(|status| usize::from(status) == 400 + id),
                "{id} is paired with {http:?} {what}"
            );
            if done.incomplete.is_empty() {
                // Not so the sizes: a chunked response that was cut ends by the next request, and a server that has answered
                // may not have read all.
                assert!(http.status.is_some(), "{id}: {http:?}");
                whole.push(id);
            }
        }
        whole
    }
}

/// A range of one side's bytes that nobody sees.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) from: From,
    pub(super) start: usize,
    pub(super) end: usize,
    /// It is noticed only when something behind it is seen.
    pub(super) late: bool,
    pub(super) why: Lost,
    /// Its length is not known.
    pub(super) unmeasured: bool,
}

impl Missing {
    pub(super) fn nothing() -> Self {
        Self { from: From::Client, start: 0, end: 0, late: false, why: Lost::Gap, unmeasured: false }
    }

    fn say(&self, feed: &mut Feed, dir: crate::contract::Direction, unsaid: &mut usize) {
        if *unsaid > 0 {
            feed.hole(dir, (!self.unmeasured).then_some(*unsaid as u64), self.why);
            *unsaid = 0;
        }
    }
}

fn exchange(random: &mut Random, id: usize, burst: usize) -> (Truth, Vec<u8>, Vec<u8>) {
    let method = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE"][random.below(6)];
    let mut request = format!("{method} /{id} HTTP/1.1\r\nHost: example.org\r\n").into_bytes();
    let request_body = if matches!(method, "POST" | "PUT") {
        body(random, &mut request, true)
    } else {
        request.extend(b"\r\n");
        0
    };
    let mut response = Vec::new();
    if random.chance(10) {
        response.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    response.extend(format!("HTTP/1.1 {} Reason\r\nServer: x\r\n", 400 + id).bytes());
    let response_body = body(random, &mut response, method != "HEAD");
    (Truth { method, request_body, response_body, burst }, request, response)
}

/// Appends framing headers and, if `sent`, a body; gives the size.
fn body(random: &mut Random, message: &mut Vec<u8>, sent: bool) -> u64 {
    let letters = |random: &mut Random, len| (0..len).map(|_| b"abc \r\n0123"[random.below(10)]).collect::<Vec<u8>>();
    if random.chance(50) {
        let len = if random.chance(20) { 0 } else { random.below(300) };
        message.extend(format!("Content-Length: {len}\r\n\r\n").bytes());
        if !sent {
            return 0;
        }
        message.extend(letters(random, len));
        return len as u64;
    }
    message.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    let mut total = 0;
    while sent && random.chance(60) {
        let len = 1 + random.below(100);
        message.extend(format!("{len:x}{}\r\n", ["", ";a=b", "  "][random.below(3)]).bytes());
        message.extend(letters(random, len));
        message.extend(b"\r\n");
        total += len as u64;
    }
    if sent {
        message.extend(["0\r\n\r\n", "00\r\nTrailer: x\r\n\r\n"][random.below(2)].bytes());
    }
    total
}
