//! PostgreSQL: the frontend/backend protocol 3.0 and later (<https://www.postgresql.org/docs/current/protocol.html>).
//!
//! In: chunks, holes and closes of one connection, seen from either end. Out: one exchange for each Query message (which may
//! hold several statements) and one for each Execute, FunctionCall included. An exchange begins with its Parse or Bind where
//! that directly precedes it, and ends with CommandComplete, EmptyQueryResponse, PortalSuspended or ErrorResponse; that of a
//! Query with ReadyForQuery. What only prepares (Parse, Describe, Close, Sync) gives none, unless a Parse or Bind fails that
//! no Execute follows. After an error, the requests that the server passes over up to the next Sync are exchanges without a
//! response that failed. Sessions, authentication, CancelRequest, LISTEN's notifications and other asynchronous messages are
//! read over. Values, rows, COPY data and passwords are counted by their lengths, never looked at.
//!
//! # Encryption and replication
//!
//! SSLRequest and GSSENCRequest that are granted make the connection opaque; of TLS, the plaintext is a stream of its own,
//! which begins with the StartupMessage. Where COPY in both directions begins (replication), reading ends.
//!
//! # What is lost, and when pairing is right again
//!
//! A hole of known length inside a row, a value or COPY data loses nothing. Any other hole costs the exchanges it touches. Of
//! the client, reading goes on with a call that is made of whole messages; of the server, at the next quiet point. Exchanges
//! are paired again from the **quiet point**: a request that comes when nothing known is outstanding and the last thing the
//! server said is ReadyForQuery. See [`pairing`] for what protects this from clients that pipeline. A connection joined in the
//! middle begins as after a loss: the second exchange is right again.
//!
//! What a connection joined in the middle does not allow: its database is not known, nor are the texts of statements that were
//! prepared before; their exchanges have none. A loss in the client's direction forgets all prepared statements as well. The
//! database is the one that was asked for; a schema (`search_path`) is not told.

mod answer;
mod client;
mod message;
mod packed;
mod pairing;
mod score;
mod server;
mod statements;
#[cfg(test)]
mod tests;
mod unit;

use message::{Failure, Framed, Sender, opening, walk};
use pairing::{Pairing, Place};

use crate::contract::{
    Chunk, Close, Direction, Hole, KernelTime, MAX_REST, Malformed, Parser, Priors, Protocol, Role, Used, Wants,
};
use crate::exchange::{Incomplete, Output};
use crate::resting::{Resting, Rests};

/// The table's entry.
pub static PROTOCOL: Protocol = Protocol {
    name: "postgresql",
    side: Role::Client,
    priors: Priors { ports: &[5432, 6432], programs: &["pg_dump", "pgbench", "pgbouncer", "postgres", "psql"] },
    score: score::score,
    parser: |role| Box::new(Resting::<Postgresql>::new(Lasting { role, ..Lasting::default() })),
};

/// Where the client's direction stands.
#[derive(Clone, Copy)]
enum Requests {
    /// In a message, of which so many bytes are left.
    Body(u64, Within),
    /// Anywhere: a call that is made of whole messages is looked for.
    Lost,
    /// Between messages.
    Message,
    /// At a packet that has no kind.
    Opening,
}

/// What a message of the client belongs to.
#[derive(Clone, Copy)]
enum Within {
    Copy,
    Nothing,
    Request,
}

/// Where the server's direction stands.
enum Responses {
    /// In a message, of which so many bytes are left; behind an ErrorResponse, what it says.
    Body(u64, Option<Failure>),
    /// Anywhere, up to the next quiet point.
    Lost,
    Message,
    /// At the single byte that grants or refuses encryption.
    Negotiation,
}

/// One connection's parser.
struct Postgresql {
    role: Option<Role>,
    requests: Requests,
    responses: Responses,
    pairing: Pairing,
    /// Nothing of the client was read yet.
    fresh: bool,
}

/// What of it stays while nothing is under way.
struct Lasting {
    role: Option<Role>,
    requests: Requests,
    /// The place in the server's direction is lost.
    lost: bool,
    fresh: bool,
    pairing: pairing::Lasting,
}

impl Default for Lasting {
    fn default() -> Self {
        Self { role: None, requests: Requests::Opening, lost: false, fresh: true, pairing: pairing::Lasting::default() }
    }
}

impl Rests for Postgresql {
    type Lasting = Lasting;

    fn rest(&mut self) -> Option<Lasting> {
        let Self { role, requests, fresh, .. } = *self;
        let lost = match &self.responses {
            Responses::Message => false,
            Responses::Lost => true,
            Responses::Body(..) | Responses::Negotiation => return None,
        };
        if let Requests::Body(..) = requests {
            return None;
        }
        Some(Lasting { role, requests, lost, fresh, pairing: self.pairing.rest()? })
    }

    fn wake(Lasting { role, requests, lost, fresh, pairing }: Lasting) -> Self {
        let responses = if lost { Responses::Lost } else { Responses::Message };
        let pairing = Pairing::wake(role.unwrap_or(Role::Client), pairing);
        Self { role, requests, responses, pairing, fresh }
    }

    fn heap_of(lasting: &Lasting) -> usize {
        lasting.pairing.heap()
    }
}

impl Postgresql {
    /// Finds out who asks.
    fn settle(&mut self, chunk: &Chunk<'_>) -> Result<Role, Used> {
        let bytes = chunk.bytes;
        let counts = |sender| match walk(bytes, sender) {
            Framed::Is(walk) if walk.counts => Framed::Is(()),
            Framed::Is(_) | Framed::Not => Framed::Not,
            Framed::More => Framed::More,
        };
        let asks = match (opening(bytes), counts(Sender::Client), counts(Sender::Server)) {
            (Framed::Is(_), ..) | (_, Framed::Is(()), Framed::Not) => true,
            (_, Framed::Not, Framed::Is(())) => false,
            (Framed::More, ..) | (_, Framed::More, _) | (.., Framed::More) if bytes.len() < MAX_REST => {
                return Err(Used(0));
            }
            _ => return Err(Used(bytes.len())),
        };
        let role = Role::of_requests(if asks { chunk.dir } else { chunk.dir.opposite() });
        (self.role, self.pairing.role) = (Some(role), role);
        Ok(role)
    }

    /// The connection is not known from its beginning on, after all.
    fn joined(&mut self, out: &mut Output) {
        self.requests = Requests::Lost;
        if !matches!(self.responses, Responses::Negotiation) {
            self.responses = Responses::Lost;
        }
        self.pairing.request_lost(Incomplete::Gap, out);
    }
}

/// First and last byte of `len` bytes at `at` of a chunk.
fn place(chunk: &Chunk<'_>, at: usize, len: usize) -> Place {
    Place { first: chunk.mark(at), last: chunk.mark(at + len - 1) }
}

impl Parser for Postgresql {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let role = match self.role {
            Some(role) => role,
            None => match self.settle(&chunk) {
                Ok(role) => role,
                Err(used) => return Ok(used),
            },
        };
        if chunk.dir == role.requests() { self.requests(&chunk, out) } else { self.responses(&chunk, out) }
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        let why = Incomplete::from(hole.why);
        if self.role.is_none_or(|role| role.requests() == hole.dir) {
            match (&mut self.requests, hole.len) {
                (Requests::Body(left, within), Some(len)) if len <= *left => {
                    *left -= len;
                    match within {
                        Within::Copy => self.pairing.request_bytes(hole.last_of(len), true),
                        Within::Nothing => {}
                        Within::Request => self.pairing.request_bytes(hole.last_of(len), false),
                    }
                    if *left == 0 {
                        self.requests = Requests::Message;
                    }
                }
                _ => {
                    self.requests = Requests::Lost;
                    self.pairing.request_lost(why, out);
                }
            }
        }
        if self.role.is_none_or(|role| role.requests() != hole.dir) {
            match (&mut self.responses, hole.len) {
                (Responses::Body(left, failure), Some(len)) if len <= *left => {
                    *left -= len;
                    let (ends, failure) = (*left == 0, *failure);
                    self.pairing.answer_bytes(hole.last_of(len));
                    if ends {
                        self.responses = Responses::Message;
                        failure.into_iter().for_each(|failure| self.pairing.failed(failure, hole.last_of(len), out));
                    }
                }
                _ => {
                    self.responses = Responses::Lost;
                    self.pairing.answer_lost(why, out);
                }
            }
        }
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, _at: KernelTime, out: &mut Output) {
        let why = Incomplete::from(how);
        if dir.is_some() && dir == self.role.map(Role::requests) {
            // Half closed: what was asked may still be answered.
            self.requests = Requests::Lost;
            return;
        }
        self.responses = Responses::Lost;
        self.pairing.end(why, how == Close::Fin, out);
    }

    fn tick(&mut self, _now: KernelTime, out: &mut Output) {
        self.pairing.tick(out);
    }

    fn wants(&self, dir: Direction) -> Wants {
        let left = match (self.role, &self.requests, &self.responses) {
            (Some(role), Requests::Body(left, _), _) if role.requests() == dir => *left,
            (Some(role), _, Responses::Body(left, _)) if role.requests() != dir => *left,
            _ => 0,
        };
        if left > 0 { Wants::Skip(left) } else { Wants::Bytes }
    }

    fn heap(&self) -> usize {
        size_of::<Self>() + self.pairing.heap()
    }
}
