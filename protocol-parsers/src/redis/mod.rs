//! Redis, in RESP2 and RESP3 (redis.io/docs/latest/develop/reference/protocol-spec), and what speaks its protocol.
//!
//! In: chunks, holes and closes of one connection, seen from either end. Out: one exchange for each command that was seen to
//! begin. Values are counted, never kept; keys are shown in the query's text (see [`command`]), values are `?`.
//!
//! # What is an exchange
//!
//! * Each command, pipelined or not, with its reply. A blocking command's duration is its wait.
//! * In a transaction too: `MULTI`; each command that is queued (answered `+QUEUED`, its outcome unknown); `EXEC`, which takes
//!   the time of them all, with their number as batch size. It fails if it is refused, or with the first error among the
//!   results. A transaction that `WATCH` prevents (null) has not failed.
//! * `SUBSCRIBE` and the like with all their confirmations. Messages and other pushes are nobody's response: not told.
//! * `MONITOR` is one stream, to its end.
//! * One-way is what is sent while `CLIENT REPLY` is `OFF` or `SKIP`.
//! * `PSYNC`, after which the connection is a replication stream: not read.
//!
//! An error's first word is the status (`WRONGTYPE`, `MOVED`); the rest may hold values. The namespace is the index of the
//! selected database, known from the connection's first byte, or from a `SELECT` on.
//!
//! # What is lost, and when pairing is right again
//!
//! A hole of known length inside a value loses nothing. Any other hole costs the exchanges it touches. Commands are read
//! again from the next call that begins with one (an array, with a word of the table: what is no command must not be taken for one); replies from the next command on: the **quiet point** is a command that
//! comes when nothing is outstanding. See [`pairing`] for what protects this from commands nobody saw. A connection joined in the
//! middle begins in the same way, with its first command; its namespace is known from the next `SELECT` on.

mod command;
mod given;
mod head;
mod lookup;
mod pairing;
mod reply;
mod requests;
mod resp;
mod score;
mod subscriptions;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

use command::ReplyMode;
use pairing::Pairing;
use reply::{Reply, Start, Told, Watch};
use requests::{Requests, Seen};
use resp::{Blind, Walk};
use subscriptions::Subscriptions;
use table::{Effect, replies};
use waiting::Answer;

use crate::contract::{
    Chunk, Close, Direction, Hole, KernelTime, Malformed, Mark, Parser, Priors, Protocol, Role, Used, Wants,
};
use crate::exchange::{Incomplete, Next, Output};
use crate::resting::{Resting, Rests};

/// The table's entry.
pub static PROTOCOL: Protocol = Protocol {
    name: "redis",
    side: Role::Client,
    priors: Priors {
        ports: &[6379, 26379],
        programs: &[
            "redis-benchmark",
            "redis-check-rdb",
            "redis-cli",
            "redis-sentinel",
            "redis-server",
            "valkey-cli",
            "valkey-server",
        ],
    },
    score: score::score,
    parser: |role| Box::new(Resting::<Redis>::new(Lasting { role, ..Lasting::default() })),
};

/// Whose a reply is.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// The oldest command's. `resp3`: of a type that only RESP3 has.
    Front { effect: Effect, resp3: bool },
    /// A confirmation for the oldest command.
    Confirms(Told),
    /// Out of band; of subscriptions that may end.
    Push(Option<Told>),
    /// A line of `MONITOR`.
    Monitor,
    /// A hidden command's.
    Nobody,
}

/// Where the replies stand.
enum Responses {
    /// Between replies, or behind an attribute of the next.
    Start { attribute: Option<(Mark, u64)> },
    /// In an attribute.
    Attribute { first: Mark, bytes: u64, walk: Walk },
    /// In a reply.
    Reply { whose: Whose, walk: Walk, watch: Watch },
    /// Anywhere: the next command is waited for.
    Lost,
}

/// One connection's parser.
struct Redis {
    role: Option<Role>,
    requests: Requests,
    responses: Responses,
    pairing: Pairing,
    mode: ReplyMode,
    resp3: bool,
    subscriptions: Subscriptions,
}

/// What of it stays while nothing is under way.
#[derive(Default)]
struct Lasting {
    role: Option<Role>,
    /// The places in the directions.
    lost: [bool; 2],
    mode: ReplyMode,
    resp3: bool,
    subscriptions: Subscriptions,
    pairing: pairing::Lasting,
}

impl Rests for Redis {
    type Lasting = Lasting;

    fn rest(&mut self) -> Option<Lasting> {
        let Self { role, mode, resp3, subscriptions, .. } = *self;
        let lost = match (&self.requests, &self.responses) {
            (Requests::Reading(_), _) | (_, Responses::Attribute { .. } | Responses::Reply { .. }) => return None,
            (_, Responses::Start { attribute: Some(_) }) => return None,
            (requests, responses) => [matches!(requests, Requests::Lost), matches!(responses, Responses::Lost)],
        };
        let pairing = self.pairing.rest()?;
        Some(Lasting { role, lost, mode, resp3, subscriptions, pairing })
    }

    fn wake(Lasting { role, lost: [asked, answered], mode, resp3, subscriptions, pairing }: Lasting) -> Self {
        Self {
            role,
            requests: if asked { Requests::Lost } else { Requests::Start },
            responses: if answered { Responses::Lost } else { Responses::Start { attribute: None } },
            pairing: Pairing::new(pairing),
            mode,
            resp3,
            subscriptions,
        }
    }

    fn heap_of(_: &Lasting) -> usize {
        0
    }
}

impl Redis {
    fn responses(&mut self, role: Role, chunk: &Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        self.pairing.turned();
        let mut at = 0;
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.responses {
                Responses::Lost => return Ok(Used(chunk.bytes.len())),
                Responses::Attribute { first, bytes, walk } => {
                    let used = walk.run(rest, &mut Blind)?;
                    at += used;
                    *bytes += used as u64;
                    if !walk.is_over() {
                        break;
                    }
                    self.responses = Responses::Start { attribute: Some((*first, *bytes)) };
                }
                Responses::Reply { whose, walk, watch } => {
                    let used = walk.run(rest, watch)?;
                    at += used;
                    let (whose, over) = (*whose, walk.is_over());
                    if used > 0 {
                        self.reply_bytes(&whose, used as u64, chunk.mark(at - 1));
                    }
                    if !over {
                        break;
                    }
                    if self.reply_ends(role, out) {
                        return Ok(Used(at));
                    }
                }
                // "\n" keeps a replica's connection alive before its master answers.
                Responses::Start { .. }
                    if rest.first() == Some(&b'\n') && self.pairing.front() == Some(Effect::Sync) =>
                {
                    at += 1;
                }
                Responses::Start { attribute } => {
                    let reply = match reply::start(rest) {
                        Start::Reply(reply) => reply,
                        Start::Attribute(len, walk) => {
                            let (first, bytes) = attribute.unwrap_or((chunk.mark(at), 0));
                            self.responses = Responses::Attribute { first, bytes: bytes + len as u64, walk };
                            at += len;
                            continue;
                        }
                        Start::More => break,
                        Start::Not(why) => return Err(Malformed(why)),
                    };
                    let (first, before) = attribute.take().unwrap_or_else(|| (chunk.mark(at), 0));
                    let whose = self.whose(role, &reply, first, out);
                    let mut walk = reply.walk;
                    let mut watch = match whose {
                        // A snapshot without a line end follows.
                        Whose::Front { effect: Effect::Sync, .. }
                            if reply.error.is_none() && reply.simple.is_none() =>
                        {
                            walk = Walk::default();
                            Watch::Nothing
                        }
                        Whose::Front { effect: Effect::Exec, .. } => Watch::Errors(None),
                        Whose::Confirms(_) | Whose::Push(Some(Told::Unsubscribed(_))) => {
                            Watch::Subscriptions { passed: 0, count: None }
                        }
                        Whose::Front { .. } | Whose::Monitor | Whose::Push(_) | Whose::Nobody => Watch::Nothing,
                    };
                    // Most come whole.
                    let ran = walk.run(rest.get(reply.head..).unwrap_or_default(), &mut watch);
                    let len = reply.head + *ran.as_ref().unwrap_or(&0);
                    at += len;
                    self.reply_bytes(&whose, before + len as u64, chunk.mark(at - 1));
                    if ran.is_err() || !walk.is_over() {
                        self.responses = Responses::Reply { whose, walk, watch };
                        ran?;
                        break;
                    }
                    if self.replied(role, whose, watch, out) {
                        return Ok(Used(at));
                    }
                }
            }
        }
        Ok(Used(at))
    }

    /// More bytes of a reply.
    fn reply_bytes(&mut self, whose: &Whose, len: u64, last: Mark) {
        match whose {
            Whose::Front { .. } | Whose::Confirms(_) => self.pairing.answer_bytes(len, last),
            Whose::Monitor => self.pairing.monitored(len, last),
            Whose::Push(_) | Whose::Nobody => {}
        }
    }

    /// Whose reply begins.
    fn whose(&mut self, role: Role, reply: &Reply<'_>, first: Mark, out: &mut Output) -> Whose {
        self.resp3 |= reply.resp3;
        let told = reply.name.and_then(reply::told);
        let answer = Answer { error: reply.error, queued: reply.simple == Some(b"QUEUED"), batch: None };
        // RESP2 sends messages as arrays: to one that has subscribed, or that may just do so.
        let subscriber = |front: Option<Effect>| match front {
            None => true,
            Some(Effect::Subscribe(_) | Effect::Unsubscribe(_) | Effect::Ping | Effect::Quit | Effect::Reset) => true,
            Some(_) => self.subscriptions.any(),
        };
        if self.pairing.answers() == 0 && self.pairing.is_answering() {
            let more = match (told, self.pairing.front()) {
                (Some(Told::Unsubscribed(family)), Some(Effect::Unsubscribe(asked))) => family == asked,
                (Some(Told::Message), _) => true,
                _ => reply.push && told.is_none(),
            };
            if !more {
                // The confirmations whose number was not known are over.
                self.pairing.answer_ends(role, None, false, out);
            }
        }
        let front = self.pairing.front();
        if reply.push || told.is_some() && !self.resp3 && subscriber(front) {
            match (told, front) {
                (Some(said @ Told::Subscribed(family)), Some(Effect::Subscribe(asked)))
                | (Some(said @ Told::Unsubscribed(family)), Some(Effect::Unsubscribe(asked)))
                    if family == asked =>
                {
                    self.pairing.answer_begins(first, answer, out);
                    return Whose::Confirms(said);
                }
                (Some(Told::Subscribed(_)), _) => {
                    self.pairing.surplus(out);
                    self.subscriptions.unknown = true;
                    return Whose::Nobody;
                }
                // A server may end subscriptions by itself.
                _ => return Whose::Push(told),
            }
        }
        let line = reply.simple.is_some_and(|line| line.first().is_some_and(u8::is_ascii_digit));
        if line && (self.pairing.is_monitored() || front.is_none()) {
            return Whose::Monitor;
        }
        if self.pairing.front().is_none() && matches!(self.requests, Requests::Reading(_)) {
            // Answered before it ended: its end was not seen, as will be told.
            self.requests_lost(role, Incomplete::Gap, out);
        }
        let Some(effect) = self
            .pairing
            .front()
            .filter(|_| answer.error.is_some() || answer.queued || self.pairing.may_be_answered_with(reply.kind))
        else {
            self.pairing.surplus(out);
            self.mode = ReplyMode::On;
            return Whose::Nobody;
        };
        if self.pairing.is_monitored() {
            self.pairing.monitor_ends(None, out);
        }
        let answer = Answer { batch: reply.elements.filter(|_| effect == Effect::Exec), ..answer };
        self.pairing.answer_begins(first, answer, out);
        Whose::Front { effect, resp3: reply.resp3 }
    }

    /// The reply that is being read ended. Whether the connection leaves Redis.
    fn reply_ends(&mut self, role: Role, out: &mut Output) -> bool {
        match std::mem::replace(&mut self.responses, Responses::Start { attribute: None }) {
            Responses::Reply { whose, watch, .. } => self.replied(role, whose, watch, out),
            Responses::Start { .. } | Responses::Attribute { .. } | Responses::Lost => false,
        }
    }

    fn replied(&mut self, role: Role, whose: Whose, watch: Watch, out: &mut Output) -> bool {
        let count = if let Watch::Subscriptions { count, .. } = watch { count } else { None };
        match whose {
            Whose::Front { effect, resp3 } => {
                let failed = if let Watch::Errors(error) = watch { error } else { None };
                let done = self.pairing.answer_ends(role, failed, false, out);
                match effect {
                    _ if !done => {}
                    Effect::Hello => self.resp3 = resp3,
                    Effect::Reset => {
                        self.resp3 = false;
                        self.subscriptions = Subscriptions::default();
                        self.mode = ReplyMode::On;
                    }
                    Effect::Sync => {
                        self.pairing.end(role, Incomplete::Desync, true, out);
                        out.switch(Next::Opaque("redis-replication"));
                        return true;
                    }
                    _ => {}
                }
            }
            Whose::Confirms(told) => {
                self.subscriptions.told(told, count);
                let left = match (self.pairing.answers(), told) {
                    // Without arguments: from all of a kind.
                    (0, Told::Unsubscribed(family)) => count != Some(0) && self.subscriptions.of(family) != Some(0),
                    (left, _) => left > 1,
                };
                self.pairing.answer_ends(role, None, left, out);
            }
            Whose::Push(Some(told)) => self.subscriptions.told(told, count),
            Whose::Push(None) | Whose::Monitor | Whose::Nobody => {}
        }
        false
    }
}

impl Parser for Redis {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let role = match self.role {
            Some(role) => role,
            None => match self.settle(&chunk) {
                Ok(role) => role,
                Err(used) => return Ok(used),
            },
        };
        if chunk.dir == role.requests() { self.requests(role, &chunk, out) } else { self.responses(role, &chunk, out) }
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        let why = Incomplete::from(hole.why);
        let len = hole.len.unwrap_or_default();
        let end = hole.last_of(len);
        let Some(role) = self.role else {
            (self.requests, self.responses) = (Requests::Lost, Responses::Lost);
            return self.pairing.requests_lost();
        };
        if hole.dir == role.requests() {
            if let Requests::Reading(Seen { last, bytes, reading, .. }) = &mut self.requests
                && reading.skip(len)
            {
                *bytes += len;
                *last = end;
                if reading.is_over() {
                    self.read(role, None, out);
                }
            } else {
                self.requests_lost(role, why, out);
            }
            return;
        }
        if let Responses::Reply { whose, walk, .. } = &mut self.responses
            && len > 0
            && walk.skip(len)
        {
            let (whose, over) = (*whose, walk.is_over());
            if matches!(whose, Whose::Front { .. } | Whose::Confirms(_)) {
                self.pairing.answer_bytes(len, end);
            }
            if over {
                self.reply_ends(role, out);
            }
            return;
        }
        self.pairing.responses_lost(role, why, out);
        self.responses = Responses::Lost;
        self.subscriptions.unknown = true;
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, _at: KernelTime, out: &mut Output) {
        let why = Incomplete::from(how);
        let Some(role) = self.role else { return };
        self.read(role, Some(why), out);
        self.requests = Requests::Lost;
        // Half closed: what was asked may still be answered.
        if dir != Some(role.requests()) {
            self.responses = Responses::Lost;
            self.pairing.end(role, why, how == Close::Fin, out);
        }
    }

    fn tick(&mut self, _now: KernelTime, out: &mut Output) {
        self.pairing.tick(matches!(self.requests, Requests::Reading(_)), out);
    }

    fn wants(&self, dir: Direction) -> Wants {
        let skippable = match self.role {
            None => 0,
            Some(role) if role.requests() == dir => match &self.requests {
                Requests::Reading(command) => command.reading.skippable(),
                Requests::Start | Requests::Lost => 0,
            },
            Some(_) => match &self.responses {
                Responses::Reply { walk, .. } => walk.skippable(),
                Responses::Start { .. } | Responses::Attribute { .. } | Responses::Lost => 0,
            },
        };
        if skippable > 0 { Wants::Skip(skippable) } else { Wants::Bytes }
    }

    fn heap(&self) -> usize {
        size_of::<Self>() + self.pairing.heap()
    }
}
