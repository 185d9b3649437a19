//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//!
//! In: chunks, holes and closes of one connection, seen from either end. Out: one exchange for each request whose head was
//! seen whole; of gRPC-Web and Connect, the call that it is. Bodies are counted, never kept; heads are read where they lie.
//!
//! # What is lost, and when pairing is right again
//!
//! A hole of known length inside a counted body loses nothing. Any other hole costs the exchanges it touches. Then the parser
//! looks for the next message at the starts of chunks (a write nearly always begins a message), and pairs again from the
//! **quiet point**: a request that comes when nothing known is outstanding, directly after bytes (or a hole) of the response
//! direction. See [`pairing`] for what protects this from clients that pipeline. A connection joined in the middle begins as
//! after a loss (the tracker says so with a hole): with its first request, on trial.
//!
//! A chunked body that was captured in part (`Cut`, `Fault`) has no recognisable end: it ends at the last byte before the next
//! request, or with the connection.

mod body;
mod call;
mod head;
mod lines;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod oracle;
mod pairing;
mod score;
#[cfg(test)]
mod tests;

use body::{Body, Framing, Skipped, Taken};
use head::{Method, Parsed, RequestHead, ResponseHead, find, line_ends};
use pairing::Pairing;

use crate::contract::{
    Chunk, Close, Direction, Hole, KernelTime, Lost, MAX_REST, Malformed, Parser, Priors, Protocol, Role, Used, Wants,
};
use crate::exchange::{Incomplete, Next, Output};
use crate::http2::Http2;
use crate::resting::Resting;

/// The table's entry.
pub static PROTOCOL: Protocol = Protocol {
    name: "http1",
    side: Role::Server,
    priors: Priors {
        ports: &[80, 8000, 8080],
        programs: &["apache2", "caddy", "curl", "haproxy", "httpd", "nginx", "wget"],
    },
    score: score::score,
    parser: |role| Box::new(Http1::new(role)),
};

/// Where a direction stands.
enum Phase {
    /// Between messages: a head comes next.
    Start,
    /// In a message's body.
    Body(Body),
    /// Anywhere: the next certain head is looked for.
    Lost,
}

/// One connection's parser.
struct Http1 {
    role: Option<Role>,
    /// The role is known from a head, not only supposed.
    settled: bool,
    requests: Phase,
    responses: Phase,
    pairing: Pairing,
    /// What the connection was upgraded to: its first stream answers the last request (h2c, RFC 7540 section 3.2).
    http2: Option<Box<Resting<Http2>>>,
}

impl Http1 {
    fn new(role: Option<Role>) -> Self {
        Self {
            role,
            settled: false,
            requests: Phase::Start,
            responses: Phase::Start,
            pairing: Pairing::new(),
            http2: None,
        }
    }

    /// Finds the first head, and with it who asks, whatever was supposed. What precedes it is the rest of an older message.
    fn settle(&mut self, chunk: &Chunk<'_>) -> Result<Role, Used> {
        let found = |start, asks: bool| {
            let dir = if asks { chunk.dir } else { chunk.dir.opposite() };
            (start, Role::of_requests(dir))
        };
        let (start, role) = match (find(chunk, 0, head::response), find(chunk, 0, head::request)) {
            (Some((start, Parsed::Whole(..) | Parsed::Cut(_))), _) => found(start, false),
            (_, Some((start, Parsed::Whole(..) | Parsed::Cut(_)))) => found(start, true),
            (response, request) => {
                let growing = [response.map(|(start, _)| start), request.map(|(start, _)| start)];
                return Err(Used(growing.into_iter().flatten().min().unwrap_or(chunk.bytes.len())));
            }
        };
        if start > line_ends(chunk.bytes) {
            (self.requests, self.responses) = (Phase::Lost, Phase::Lost);
        }
        self.settled = true;
        self.role = Some(role);
        Ok(role)
    }

    fn requests(&mut self, role: Role, chunk: &Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.requests {
                Phase::Body(body) => {
                    let taken = body.take(rest, self.pairing.request_body());
                    let used = if let Taken::End(used) = taken { used } else { rest.len() };
                    at += used;
                    self.pairing.request_bytes(used as u64, chunk.mark(at - 1));
                    match taken {
                        Taken::All => {}
                        Taken::End(_) => {
                            let size = body.payload();
                            self.requests = Phase::Start;
                            self.pairing.request_ended(size, out);
                        }
                        Taken::Broken => return Err(Malformed("invalid chunk in a request's body")),
                    }
                }
                Phase::Start => {
                    at += line_ends(rest);
                    let rest = chunk.bytes.get(at..).unwrap_or_default();
                    if rest.is_empty() {
                        break;
                    }
                    if self.pairing.awaits_tunnel() {
                        return if rest.len() < MAX_REST {
                            Ok(Used(at))
                        } else {
                            Err(Malformed("bytes behind a CONNECT"))
                        };
                    }
                    match head::request(rest, chunk.kept.len.saturating_sub(at)) {
                        Parsed::Whole(head, len) => {
                            self.request(role, head, chunk, at, len, false, out);
                            at += len;
                        }
                        Parsed::Cut(head) => {
                            self.request(role, head, chunk, at, rest.len(), true, out);
                            at += rest.len();
                        }
                        Parsed::More => return Ok(Used(at)),
                        Parsed::Not(why) => return Err(Malformed(why)),
                    }
                }
                Phase::Lost => {
                    let (start, head, len) = match find(chunk, at, head::certain_request) {
                        Some((start, Parsed::Whole(head, len))) => (start, head, len),
                        Some((start, Parsed::More)) => return Ok(Used(start)),
                        Some((_, Parsed::Cut(_) | Parsed::Not(_))) | None => break,
                    };
                    self.requests = Phase::Start;
                    self.request(role, head, chunk, start, len, false, out);
                    at = start + len;
                }
            }
        }
        Ok(Used(chunk.bytes.len()))
    }

    /// A request's head, `len` bytes from `at`.
    #[expect(clippy::too_many_arguments, reason = "the two callers would build a struct that is taken apart here")]
    fn request(
        &mut self,
        role: Role,
        head: RequestHead,
        chunk: &Chunk<'_>,
        at: usize,
        len: usize,
        cut: bool,
        out: &mut Output,
    ) {
        if matches!(&self.responses, Phase::Body(body) if body.adrift()) {
            self.responses = Phase::Lost;
            self.pairing.response_ended(None, out);
        }
        let framing = head.framing;
        self.pairing.request(head, role, chunk.mark(at), chunk.mark(at + len - 1), len as u64, out);
        self.disown();
        self.requests = match Body::new(framing) {
            _ if cut => {
                self.pairing.request_flawed(Incomplete::Truncated);
                self.request_lost(Incomplete::Truncated, out)
            }
            None if framing == Framing::Contradiction => self.request_lost(Incomplete::Desync, out),
            Some(body) => Phase::Body(body),
            None => {
                self.pairing.request_ended(Some(0), out);
                Phase::Start
            }
        };
    }

    fn request_lost(&mut self, why: Incomplete, out: &mut Output) -> Phase {
        self.pairing.request_lost(why, out);
        self.disown();
        Phase::Lost
    }

    /// If pairing gave up the request that was being answered, the response belongs to nobody.
    fn disown(&mut self) {
        if matches!(self.responses, Phase::Body(_)) && !self.pairing.answering() {
            self.responses = Phase::Lost;
        }
    }

    fn responses(&mut self, chunk: &Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.responses {
                Phase::Body(body) if self.pairing.on_trial() && body.untouched() && rest.starts_with(b"HTTP/1.") => {
                    // What was taken for the head of a body answered a HEAD: it is paired with the wrong request.
                    return Err(Malformed("a response where a body was to begin"));
                }
                Phase::Body(body) => {
                    let taken = body.take(rest, self.pairing.response_body());
                    let used = if let Taken::End(used) = taken { used } else { rest.len() };
                    at += used;
                    self.pairing.response_bytes(used as u64, chunk.mark(at - 1));
                    match taken {
                        Taken::All => {}
                        Taken::End(_) => {
                            let size = body.payload();
                            self.responses = Phase::Start;
                            self.pairing.response_ended(size, out);
                        }
                        Taken::Broken => return Err(Malformed("invalid chunk in a response's body")),
                    }
                }
                Phase::Start => {
                    let blank = line_ends(rest);
                    if blank > 0 && self.pairing.on_trial() {
                        // More likely the end of something that was taken for another thing's body.
                        return Err(Malformed("a line end where a response was to begin"));
                    }
                    at += blank;
                    let rest = chunk.bytes.get(at..).unwrap_or_default();
                    if rest.is_empty() {
                        break;
                    }
                    match head::response(rest, chunk.kept.len.saturating_sub(at)) {
                        Parsed::Whole(head, len) => {
                            let switched = self.response(&head, chunk, at, len, out);
                            at += len;
                            if switched {
                                return Ok(Used(at));
                            }
                        }
                        Parsed::Cut(head) => {
                            let len = rest.len();
                            self.response(&head, chunk, at, len, out);
                            at += len;
                            self.pairing.response_flawed(Incomplete::Truncated);
                            self.pairing.response_lost(Incomplete::Truncated, out);
                            self.responses = Phase::Lost;
                        }
                        Parsed::More => return Ok(Used(at)),
                        Parsed::Not(why) => return Err(Malformed(why)),
                    }
                }
                Phase::Lost => {
                    let (start, head, len) = match find(chunk, at, head::response) {
                        Some((start, Parsed::Whole(head, len))) => (start, head, len),
                        Some((start, Parsed::More)) => return Ok(Used(start)),
                        Some((_, Parsed::Cut(_) | Parsed::Not(_))) | None => break,
                    };
                    self.responses = Phase::Start;
                    let switched = self.response(&head, chunk, start, len, out);
                    at = start + len;
                    if switched {
                        return Ok(Used(at));
                    }
                }
            }
        }
        Ok(Used(chunk.bytes.len()))
    }

    /// A response's head, `len` bytes from `at`. Whether the connection leaves HTTP/1.
    fn response(&mut self, head: &ResponseHead, chunk: &Chunk<'_>, at: usize, len: usize, out: &mut Output) -> bool {
        // "A client MUST be able to parse one or more 1xx responses": they announce, the final one answers.
        if matches!(head.status, 100..=199) && head.status != 101 {
            return false;
        }
        if head.status == 101
            && head.upgrade == "h2c"
            && let Some((request, next)) = self.pairing.upgrade()
        {
            self.http2 = Some(Box::new(Resting::awake(Http2::upgraded(request, next))));
            return true;
        }
        let answered = self.pairing.response(head, chunk.mark(at), chunk.mark(at + len - 1), len as u64, out);
        let next = match (head.status, answered) {
            (101, _) => Some(upgraded(head.upgrade)),
            (200..=299, Some(Method::Connect)) => Some(Next::Detect),
            _ => None,
        };
        let Some(method) = answered else {
            // Nobody's: whether it has a body (HEAD?) is not known.
            self.responses = Phase::Lost;
            return self.switch(next, out);
        };
        let framing = head.framing(method);
        self.responses = match Body::new(framing) {
            Some(body) => Phase::Body(body),
            None if framing == Framing::Contradiction => {
                self.pairing.response_lost(Incomplete::Desync, out);
                Phase::Lost
            }
            None => {
                self.pairing.response_ended(Some(0), out);
                Phase::Start
            }
        };
        self.switch(next, out)
    }

    fn switch(&mut self, next: Option<Next>, out: &mut Output) -> bool {
        if let Some(next) = next {
            // No request follows one that leaves HTTP, so that no response is hidden behind its own.
            self.pairing.end(Incomplete::Desync, true, out);
            out.switch(next);
        }
        next.is_some()
    }
}

/// What `101 Switching Protocols` leads to.
fn upgraded(name: &'static str) -> Next {
    match crate::PROTOCOLS.iter().find(|protocol| name == "h2c" && protocol.name == "http2") {
        Some(http2) => Next::Protocol(http2.name),
        None => Next::Opaque(name),
    }
}

impl Parser for Http1 {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        if let Some(http2) = &mut self.http2 {
            return http2.data(chunk, out);
        }
        let role = match self.role.filter(|_| self.settled) {
            Some(role) => role,
            None => match self.settle(&chunk) {
                Ok(role) => role,
                Err(used) => return Ok(used),
            },
        };
        if chunk.dir == role.requests() {
            self.requests(role, &chunk, out)
        } else {
            self.pairing.turn();
            let used = self.responses(&chunk, out)?;
            match &mut self.http2 {
                Some(http2) => Ok(Used(used.0 + http2.data(chunk.behind(used.0), out)?.0)),
                None => Ok(used),
            }
        }
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        if let Some(http2) = &mut self.http2 {
            return http2.hole(hole, out);
        }
        let why = Incomplete::from(hole.why);
        let Some(role) = self.role else { return self.pairing.request_lost(why, out) };
        if hole.dir == role.requests() {
            let skipped = match (&mut self.requests, hole.len) {
                (Phase::Body(body), Some(len)) => body.skip(len, self.pairing.request_body()),
                (Phase::Body(_) | Phase::Lost | Phase::Start, _) => Skipped::Lost,
            };
            match (skipped, &self.requests, hole.len) {
                (Skipped::Inside | Skipped::End, Phase::Body(body), Some(len)) => {
                    let size = body.payload();
                    self.pairing.request_bytes(len, hole.last_of(len));
                    if skipped == Skipped::End {
                        self.requests = Phase::Start;
                        self.pairing.request_ended(size, out);
                    }
                }
                _ => self.requests = self.request_lost(why, out),
            }
            return;
        }
        self.pairing.turn();
        let overlapping = self.pairing.overlapping();
        let (skipped, size) = match (&mut self.responses, hole.len) {
            (Phase::Body(body), Some(len)) => match body.skip(len, self.pairing.response_body()) {
                Skipped::Lost if !overlapping && matches!(hole.why, Lost::Cut | Lost::Fault) && body.set_adrift() => {
                    (Skipped::Inside, None)
                }
                skipped => (skipped, body.payload()),
            },
            (Phase::Body(body), None) if body.until_close() => {
                body.uncount();
                self.pairing.response_unread();
                (Skipped::Inside, None)
            }
            (Phase::Body(_) | Phase::Lost | Phase::Start, _) => (Skipped::Lost, None),
        };
        match (skipped, hole.len) {
            (Skipped::Inside, None) => self.pairing.response_flawed(why),
            (Skipped::Inside, Some(len)) => self.pairing.response_bytes(len, hole.last_of(len)),
            (Skipped::End, len) => {
                let len = len.unwrap_or_default();
                self.pairing.response_bytes(len, hole.last_of(len));
                self.responses = Phase::Start;
                self.pairing.response_ended(size, out);
            }
            (Skipped::Lost, _) => {
                self.pairing.response_lost(why, out);
                self.responses = Phase::Lost;
            }
        }
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, at: KernelTime, out: &mut Output) {
        if let Some(http2) = &mut self.http2 {
            return http2.close(dir, how, at, out);
        }
        let why = Incomplete::from(how);
        if let (Some(role), Some(dir)) = (self.role, dir)
            && dir == role.requests()
        {
            // Half closed: what was asked may still be answered.
            if matches!(self.requests, Phase::Body(_)) {
                self.pairing.request_flawed(why);
                self.pairing.request_ended(None, out);
            }
            self.requests = Phase::Lost;
            return;
        }
        if let Phase::Body(body) = &self.responses
            && matches!(how, Close::Fin | Close::FinUnproven)
            && (body.until_close() || body.adrift())
        {
            if body.until_close() {
                self.pairing.response_until(at);
                if how == Close::FinUnproven {
                    self.pairing.response_unread();
                }
            }
            let size = body.payload();
            self.pairing.response_ended(size, out);
        }
        self.responses = Phase::Lost;
        self.pairing.end(why, how == Close::Fin, out);
    }

    fn tick(&mut self, now: KernelTime, out: &mut Output) {
        match &mut self.http2 {
            Some(http2) => http2.tick(now, out),
            None => self.pairing.tick(out),
        }
    }

    fn wants(&self, dir: Direction) -> Wants {
        if let Some(http2) = &self.http2 {
            return http2.wants(dir);
        }
        let (phase, request) = match self.role {
            Some(role) if role.requests() == dir => (&self.requests, true),
            Some(_) => (&self.responses, false),
            None => return Wants::Bytes,
        };
        let Phase::Body(body) = phase else { return Wants::Bytes };
        match body.skippable().min(self.pairing.skippable(request)) {
            0 => Wants::Bytes,
            len => Wants::Skip(len),
        }
    }

    fn deep(&self) -> bool {
        // Where a message of a call ends, and the status behind the last, lies anywhere in a body.
        self.http2.is_some() || self.pairing.calls()
    }

    fn heap(&self) -> usize {
        size_of::<Self>() + self.pairing.heap() + self.http2.as_ref().map_or(0, |http2| http2.heap())
    }
}
