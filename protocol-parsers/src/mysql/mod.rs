//! MySQL's and MariaDB's client/server protocol.
//!
//! In: chunks, holes and closes of one connection, seen from either end. Out: one exchange for each command that does
//! something with a database ([`command`] says which do). Rows are counted and never kept, credentials are stepped over, of a
//! statement only its sanitised text is kept.
//!
//! `db.response.status_code` is the error's number; the namespace is the database in use, followed through the handshake,
//! INIT_DB and `USE`. A prepared statement's executions carry its text, on the connection on which its preparation was seen.
//! A connection that goes on in TLS is given up; its plaintext is a connection that begins with the client's response to a
//! greeting nobody saw. The compressed protocol is read frame by frame ([`compressed`]).
//!
//! # What is lost, and when pairing is right again
//!
//! A hole of known length inside a row, a long statement or a file loses nothing but their content. Any other hole costs the
//! exchanges it touches, and what later ones would have learnt from them: the namespace, and the texts of statements prepared
//! before. An answer of which bytes were counted but not captured (`Cut`, `Fault`) ends where the next command begins. Then
//! the parser looks for a command at the starts of chunks, and for its answer where one is expected, and pairs again from the
//! **quiet point**: see [`pairing`]. A connection joined in the middle begins as after a loss; what its handshake would have
//! told stays unknown: the server is called MySQL, the namespace is known from the first `USE` or INIT_DB on, executions of
//! statements prepared before have no text. What was agreed on as to EOF packets and attributes is seen from the packets.
//!
//! # What it does not read
//!
//! Replication (the stream behind BINLOG_DUMP), protocol version 9, the X protocol, COM_MULTI.

mod answer;
mod client;
mod command;
mod compressed;
mod handshake;
mod packets;
mod pairing;
mod resume;
mod score;
mod server;
mod session;
mod sql;
#[cfg(test)]
mod tests;
mod waiting;
mod wire;

use compressed::Frames;
use handshake::{Capabilities, Greeting};
use packets::{Input, Lane, Skipped};
use pairing::Pairing;

use crate::contract::{
    Chunk, Close, Direction, Hole, KernelTime, Lost, Malformed, Mark, Parser, Priors, Protocol, Role, Used, Wants,
};
use crate::exchange::{Incomplete, Output};
use crate::resting::{Resting, Rests};

/// The table's entry.
pub static PROTOCOL: Protocol = Protocol {
    name: "mysql",
    side: Role::Client,
    priors: Priors {
        ports: &[3306],
        programs: &["mariadb", "mariadb-dump", "mariadbd", "mysql", "mysqld", "mysqldump"],
    },
    score: score::score,
    parser: |role| Box::new(Resting::<Mysql>::new(Lasting { role, ..Lasting::default() })),
};

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was said.
    Start,
    /// The server greeted.
    Greeted(Greeting),
    /// The client answered; rounds of authentication follow. What both ends agreed on.
    Authenticating(Capabilities),
    /// Commands and their answers.
    Commands,
}

/// One connection's parser.
struct Mysql {
    role: Option<Role>,
    phase: Phase,
    requests: Lane,
    responses: Lane,
    /// The place in the request direction is lost; and in the other one.
    lost: [bool; 2],
    /// Packets are in frames; `None`: not known.
    compressed: Option<bool>,
    /// The handshake told that.
    told: bool,
    /// [`Pairing::gone`] when something was left unread that may become an answer.
    growing: Option<u32>,
    frames: [Frames; 2],
    /// The connection left the protocol.
    over: bool,
    pairing: Pairing,
}

/// What of it stays while nothing is under way.
struct Lasting {
    role: Option<Role>,
    /// Commands have begun.
    begun: bool,
    lost: [bool; 2],
    compressed: Option<bool>,
    told: bool,
    over: bool,
    pairing: pairing::Lasting,
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            role: None,
            begun: false,
            lost: [false; 2],
            compressed: Some(false),
            told: true,
            over: false,
            pairing: pairing::Lasting::default(),
        }
    }
}

impl Rests for Mysql {
    type Lasting = Lasting;

    fn rest(&mut self) -> Option<Lasting> {
        let Self { role, phase, lost, compressed, told, growing, over, .. } = *self;
        if phase != Phase::Commands || !self.between() || growing.is_some() {
            return None;
        }
        Some(Lasting { role, begun: true, lost, compressed, told, over, pairing: self.pairing.rest()? })
    }

    fn wake(Lasting { role, begun, lost, compressed, told, over, pairing }: Lasting) -> Self {
        Self {
            role,
            phase: if begun { Phase::Commands } else { Phase::Start },
            requests: Lane::new(),
            responses: Lane::new(),
            lost,
            compressed,
            told,
            growing: None,
            frames: Default::default(),
            over,
            pairing: Pairing::new(pairing),
        }
    }

    fn heap_of(lasting: &Lasting) -> usize {
        lasting.pairing.heap()
    }
}

impl Mysql {
    /// No message is being received.
    fn between(&self) -> bool {
        self.requests.between() && self.responses.between() && self.frames.iter().all(Frames::between)
    }

    /// The place in a direction is lost.
    fn lose(&mut self, direction: usize) {
        if let (Some(lost), Some(frames)) = (self.lost.get_mut(direction), self.frames.get_mut(direction)) {
            *lost = true;
            *frames = Frames::default();
        }
        if direction == REQUESTS { self.requests = Lane::new() } else { self.responses = Lane::new() }
    }

    /// The places in both are.
    fn lose_all(&mut self, why: Incomplete, out: &mut Output) {
        if let Phase::Authenticating(agreed) = self.phase {
            // No command comes before that is so.
            self.compressed = Some(agreed.compressed());
        } else if self.phase != Phase::Commands {
            (self.compressed, self.told) = (None, false);
        }
        self.phase = Phase::Commands;
        self.lose(REQUESTS);
        self.lose(RESPONSES);
        self.pairing.request_lost(why, out);
        self.pairing.response_lost(why, false, out);
    }

    /// Looks for the next message in a direction whose place is lost: where it begins; else how much can be used up.
    fn resume(&mut self, direction: usize, chunk: &Chunk<'_>) -> Result<usize, Used> {
        let expected = self.pairing.expects();
        if direction == RESPONSES && expected.is_none() {
            return Err(self.passed_over(chunk));
        }
        let judge = |bytes: &[u8]| match expected {
            Some((seq, reply)) if direction == RESPONSES => {
                resume::response(bytes, seq, reply, &self.pairing.session.format)
            }
            _ => resume::request(bytes),
        };
        // What was left unread when another command was outstanding is not this one's answer.
        let stale = direction == RESPONSES && self.growing.take().is_some_and(|gone| gone != self.pairing.gone);
        let plain = || resume::find(chunk, stale, judge);
        let framed = || resume::find(chunk, stale, |bytes| self.frame(direction, bytes, judge));
        let (found, compressed) = match self.compressed {
            Some(true) => (framed(), Some(true)),
            Some(false) => (plain(), Some(false)),
            None => match (plain(), framed()) {
                (found @ resume::Found::At(..), _) => (found, Some(false)),
                (_, found @ resume::Found::At(..)) => (found, Some(true)),
                (resume::Found::Nowhere, found) => (found, None),
                (growing, _) => (growing, None),
            },
        };
        self.compressed = compressed;
        match found {
            resume::Found::At(at, message) => {
                self.lost = self.lost.map(|lost| lost && message != resume::Message::Handshake);
                if let Some(lost) = self.lost.get_mut(direction) {
                    *lost = false;
                }
                if message == resume::Message::Handshake {
                    self.phase = Phase::Start;
                    self.pairing.begins();
                }
                Ok(at)
            }
            resume::Found::Growing(at) => {
                if direction == RESPONSES {
                    self.growing = Some(self.pairing.gone);
                }
                Err(Used(at))
            }
            resume::Found::Nowhere if direction == RESPONSES => Err(self.passed_over(chunk)),
            resume::Found::Nowhere => Err(Used(chunk.bytes.len())),
        }
    }

    /// Bytes of the server's are no answer that is known; or of one whose end is not.
    fn passed_over(&mut self, chunk: &Chunk<'_>) -> Used {
        let len = chunk.bytes.len();
        if self.pairing.adrift() {
            self.pairing.response_bytes(len as u64, chunk.mark(len.saturating_sub(1)));
        }
        Used(len)
    }

    /// Reads packets.
    fn feed(&mut self, role: Role, direction: usize, input: &mut Input<'_>, out: &mut Output) -> Result<(), Malformed> {
        match direction {
            _ if self.over || self.lost.get(direction) == Some(&true) => Ok(()),
            REQUESTS => self.requests(role, input, out),
            _ => self.responses(input, out),
        }
    }

    /// Counts missing bytes that lie inside one message, of which the last has this mark. False: they do not.
    fn count(&mut self, direction: usize, len: u64, last: Mark, out: &mut Output) -> bool {
        let lane = if direction == REQUESTS { &mut self.requests } else { &mut self.responses };
        let skipped = if len == 0 { Some(Skipped::Inside) } else { lane.skip(len) };
        let (Some(skipped), seq) = (skipped, lane.seq()) else { return false };
        if self.phase != Phase::Commands {
            return true;
        }
        if direction == REQUESTS {
            self.pairing.request_bytes(len, last);
            if skipped == Skipped::End {
                self.pairing.request_ended(seq);
            }
        } else {
            self.pairing.response_bytes(len, last);
            if skipped == Skipped::End {
                self.pairing.response_packet_ended(seq, out);
            }
        }
        true
    }

    /// The rest of a client's message is missing: takes what is there of it. False: that is nothing.
    fn cut(&mut self, out: &mut Output) -> bool {
        let (Some(front), Some(role)) = (self.requests.cut(), self.role) else { return false };
        self.request(role, &front, front.first.last_of(front.taken), out).is_ok()
    }

    /// The server speaks. What it answers was said to its end: if its end was not seen, it is lost.
    fn answered(&mut self, out: &mut Output) {
        if self.phase == Phase::Commands
            && self.pairing.expects().is_none()
            && !self.pairing.answering
            && self.requests.pending()
        {
            self.cut(out);
            self.lose(REQUESTS);
            self.pairing.request_lost(Incomplete::Gap, out);
        }
    }

    /// Which side the owner of the socket plays, by what it says or hears first.
    fn settle(&mut self, chunk: &Chunk<'_>) -> Option<Role> {
        let asks = match chunk.bytes {
            // A greeting, which is no PROCESS_INFO; a command; an answer to a greeting.
            [len, _, _, 0, 10, ..] if *len > 1 => false,
            [_, _, _, 0..=2, ..] if !matches!(resume::request(chunk.bytes), resume::Verdict::No) => true,
            _ => return None,
        };
        Some(Role::of_requests(if asks { chunk.dir } else { chunk.dir.opposite() }))
    }
}

const REQUESTS: usize = 0;
const RESPONSES: usize = 1;

impl Parser for Mysql {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let role = match self.role {
            Some(role) => role,
            None if chunk.bytes.len() < 5 => return Ok(Used(0)),
            None => self.settle(&chunk).ok_or(Malformed("neither a greeting nor a command"))?,
        };
        self.role = Some(role);
        let direction = if chunk.dir == role.requests() { REQUESTS } else { RESPONSES };
        if direction == RESPONSES {
            self.answered(out);
            self.pairing.turn();
        }
        let at = match self.lost.get(direction) {
            Some(true) => match self.resume(direction, &chunk) {
                Ok(at) => at,
                Err(used) => return Ok(used),
            },
            _ => 0,
        };
        if self.compressed == Some(true) {
            return self.frames(role, direction, &chunk, at, out);
        }
        self.feed(role, direction, &mut Input::part(&chunk, at, chunk.bytes.len()), out)?;
        Ok(Used(chunk.bytes.len()))
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        let why = Incomplete::from(hole.why);
        if hole.why == Lost::Malformed && !self.told {
            // It was told by what followed a join, which may have misled.
            self.compressed = None;
        }
        let direction = match self.role {
            Some(role) if hole.dir == role.requests() => REQUESTS,
            Some(_) => RESPONSES,
            None => {
                self.lose_all(why, out);
                return;
            }
        };
        let mut len = hole.len;
        if let Some(frames) = self.frames.get_mut(direction).filter(|_| self.compressed == Some(true)) {
            len = frames.skip(len);
        }
        let end = hole.last_of(len.unwrap_or_default());
        if direction == RESPONSES {
            self.pairing.turn();
        }
        if len.is_some_and(|len| self.count(direction, len, end, out)) {
            return;
        }
        if direction == REQUESTS && self.cut(out) && len.is_some_and(|len| self.count(direction, len, end, out)) {
            return;
        }
        match direction {
            // Whether the authentication ended, and what was agreed on, is hidden.
            _ if self.phase != Phase::Commands => self.lose_all(why, out),
            REQUESTS => {
                self.lose(REQUESTS);
                self.pairing.request_lost(why, out);
            }
            _ => {
                let counted = len.is_some() && matches!(hole.why, Lost::Cut | Lost::Fault);
                if !(self.pairing.adrift() && counted) {
                    self.pairing.response_lost(why, counted, out);
                }
                self.lose(RESPONSES);
                if self.pairing.adrift() {
                    self.pairing.response_bytes(len.unwrap_or_default(), end);
                }
            }
        }
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, _at: KernelTime, out: &mut Output) {
        let why = Incomplete::from(how);
        if let (Some(role), Some(dir)) = (self.role, dir)
            && dir == role.requests()
        {
            // Half closed: what was asked may still be answered.
            return self.lose(REQUESTS);
        }
        self.lose(RESPONSES);
        self.pairing.end(why, how == Close::Fin, out);
    }

    fn tick(&mut self, _now: KernelTime, out: &mut Output) {
        self.pairing.tick(self.between(), out);
    }

    fn wants(&self, dir: Direction) -> Wants {
        let (direction, mut bytes) = match self.role {
            Some(role) if role.requests() == dir => (REQUESTS, self.requests.skippable()),
            Some(_) => (RESPONSES, self.responses.skippable()),
            None => return Wants::Bytes,
        };
        if let Some(frames) = self.frames.get(direction).filter(|_| self.compressed == Some(true)) {
            bytes = frames.skippable(bytes);
        }
        match bytes {
            0 => Wants::Bytes,
            bytes => Wants::Skip(bytes),
        }
    }

    fn heap(&self) -> usize {
        size_of::<Self>() + self.requests.heap() + self.responses.heap() + self.pairing.heap()
    }
}
