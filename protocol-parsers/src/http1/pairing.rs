//! Which response answers which request, and how sure that is.
//!
//! In: heads, body ends and losses, already told apart by direction. Out: `Begun`, `Answered` and `Done`.
//!
//! HTTP/1 answers in the order of the requests, so a queue pairs them; after a loss as [`crate::trial`] says, with finished
//! exchanges held while on trial.

use std::collections::VecDeque;

use super::call::Call;
use super::head::{Method, RequestHead, ResponseHead};
use crate::contract::{KernelTime, Mark, Role};
use crate::exchange::{
    Details, Emitted, Exchange, ExchangeId, Http, Incomplete, IncompleteSet, Outcome, Output, Shape, Side,
};
use crate::rpc;
use crate::trial::{Trial, Verdict};

/// Requests that may wait for their response: deeper pipelines than clients build (h2load and wrk: 1 to 64). Beyond, all are
/// given up as `desync`.
const MAX_WAITING: usize = 256;

/// Exchanges that may be held on trial. Beyond, they are given up.
const MAX_HELD: usize = 32;

/// One request and what is known of its response.
struct Waiting {
    exchange: Box<Exchange>,
    method: Method,
    request_ended: bool,
    response_ended: bool,
    call: Option<Box<Call>>,
}

/// The queue of one connection.
pub(super) struct Pairing {
    waiting: VecDeque<Waiting>,
    held: Vec<Waiting>,
    trial: Trial,
    next: u64,
    /// The newest request in the queue is still being received.
    receiving: bool,
    /// The oldest request in the queue is being answered.
    answering: bool,
    /// A request was a call.
    calls: bool,
}

impl Pairing {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            held: Vec::new(),
            trial: Trial::default(),
            next: 0,
            receiving: false,
            answering: false,
            calls: false,
        }
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        (self.waiting.capacity() + self.held.capacity()) * size_of::<Waiting>()
            + self.waiting.iter().chain(&self.held).map(Waiting::heap).sum::<usize>()
    }

    /// Bodies of this connection are looked into.
    pub(super) fn calls(&self) -> bool {
        self.calls
    }

    /// The oldest request is being answered.
    pub(super) fn answering(&self) -> bool {
        self.answering
    }

    /// What is paired now is paired on a supposition.
    pub(super) fn on_trial(&self) -> bool {
        self.trial.is_on()
    }

    /// Requests wait behind the one that is being answered.
    pub(super) fn overlapping(&self) -> bool {
        self.waiting.len() > 1
    }

    /// The newest request asks for a tunnel and has no answer yet: what follows it is not HTTP.
    pub(super) fn awaits_tunnel(&self) -> bool {
        self.waiting.back().is_some_and(|last| last.method == Method::Connect && !last.response_ended)
    }

    /// A request's head came. It is being received until [`Self::request_ended`].
    pub(super) fn request(
        &mut self,
        head: RequestHead,
        role: Role,
        first: Mark,
        last: Mark,
        len: u64,
        out: &mut Output,
    ) {
        let id = ExchangeId(self.next);
        self.next += 1;
        match self.trial.asks(!self.waiting.is_empty()) {
            Verdict::Stands => {}
            Verdict::Passed => self.release(out),
            Verdict::Failed => {
                self.distrust(Incomplete::Gap, out);
                self.trial.begin(true);
            }
        }
        out.begun(id, role.requests(), first);
        let exchange = Box::new(Exchange {
            id,
            protocol: super::PROTOCOL.name,
            role,
            shape: Shape::RequestReply,
            request: Side { first, last, bytes: len },
            response: None,
            cut_off: KernelTime::default(),
            outcome: None,
            details: Details::Http(head.http),
            context: head.context,
            incomplete: IncompleteSet::default(),
            text: head.text,
        });
        let (method, call) = (head.method, Call::of(head.kind));
        self.calls |= call.is_some();
        let mut waiting = Waiting { exchange, method, request_ended: false, response_ended: false, call };
        self.receiving = !self.trial.is_unsure() && self.waiting.len() < MAX_WAITING;
        if self.receiving {
            self.waiting.push_back(waiting);
        } else if self.trial.is_unsure() {
            waiting.exchange.incomplete.insert(Incomplete::Gap);
            waiting.done(out);
        } else {
            waiting.exchange.incomplete.insert(Incomplete::Desync);
            self.distrust(Incomplete::Desync, out);
            waiting.done(out);
        }
    }

    /// More bytes of the request that is being received.
    pub(super) fn request_bytes(&mut self, len: u64, last: Mark) {
        self.trial.moved();
        if let Some(waiting) = self.waiting.back_mut().filter(|_| self.receiving) {
            waiting.exchange.request.bytes += len;
            waiting.exchange.request.last = last;
        }
    }

    /// What reads the body of the request that is being received, if it is a call.
    pub(super) fn request_body(&mut self) -> Option<&mut rpc::Body> {
        let newest = self.waiting.back_mut().filter(|_| self.receiving)?;
        Some(newest.call.as_mut()?.body(true))
    }

    /// The same of the response.
    pub(super) fn response_body(&mut self) -> Option<&mut rpc::Body> {
        let oldest = self.waiting.front_mut().filter(|_| self.answering)?;
        Some(oldest.call.as_mut()?.body(false))
    }

    /// Bytes of the response's body may be missing, nobody knows how many.
    pub(super) fn response_unread(&mut self) {
        if let Some(body) = self.response_body() {
            body.lose();
        }
    }

    /// How many of the next bytes of a body are of no interest.
    pub(super) fn skippable(&self, request: bool) -> u64 {
        let waiting = match request {
            true => self.waiting.back().filter(|_| self.receiving),
            false => self.waiting.front().filter(|_| self.answering),
        };
        waiting.and_then(|waiting| waiting.call.as_ref()).map_or(u64::MAX, |call| call.skippable(request))
    }

    /// Not all of the request's head could be read.
    pub(super) fn request_flawed(&mut self, why: Incomplete) {
        if let Some(waiting) = self.waiting.back_mut().filter(|_| self.receiving) {
            waiting.exchange.incomplete.insert(why);
        }
    }

    /// The request was received to its end; `body`: its size, if known.
    pub(super) fn request_ended(&mut self, body: Option<u64>, out: &mut Output) {
        if let Some(waiting) = self.waiting.back_mut().filter(|_| self.receiving) {
            waiting.request_ended = true;
            if let Some(call) = &mut waiting.call {
                call.ended(true, body.is_some());
            }
            if let Some(http) = waiting.http() {
                http.request_body = body;
            }
        }
        self.receiving = false;
        self.finish(out);
    }

    /// The request direction lost its place; requests may be hidden from here on.
    pub(super) fn request_lost(&mut self, why: Incomplete, out: &mut Output) {
        self.trial.moved();
        self.request_flawed(why);
        self.request_ended(None, out);
        if self.on_trial() {
            return self.distrust(why, out);
        }
        // Requests from before the loss are still answered first, in their order.
        self.trial.lost();
    }

    /// Bytes of the response direction came.
    pub(super) fn turn(&mut self) {
        self.trial.turned();
    }

    /// A final response's head came: gives what it answers, or `None` if no known request can be meant.
    pub(super) fn response(
        &mut self,
        head: &ResponseHead,
        first: Mark,
        last: Mark,
        len: u64,
        out: &mut Output,
    ) -> Option<Method> {
        let free = self.waiting.front_mut().filter(|waiting| waiting.exchange.response.is_none());
        let Some(waiting) = free else {
            self.distrust(Incomplete::Gap, out);
            return None;
        };
        let exchange = &mut waiting.exchange;
        exchange.response = Some(Side { first, last, bytes: len });
        exchange.outcome = Some(match (exchange.role, head.status) {
            (Role::Server, 500..) | (Role::Client, 400..) => Outcome::Error,
            (Role::Server | Role::Client, _) => Outcome::Ok,
        });
        if let Details::Http(http) = &mut exchange.details {
            http.status = Some(head.status);
            http.version = http.version.or(Some(head.version));
        }
        if let Some(call) = &mut waiting.call {
            call.answer(head);
        }
        out.answered(exchange.id, first);
        self.answering = true;
        Some(waiting.method)
    }

    /// The only request that waits goes on in another protocol, which answers it. With it, the id of the next one.
    pub(super) fn upgrade(&mut self) -> Option<(Box<Exchange>, u64)> {
        if !self.trial.is_sure() || self.waiting.len() != 1 {
            return None;
        }
        let only = self.waiting.pop_front_if(|only| only.request_ended && only.exchange.response.is_none())?;
        Some((only.exchange, self.next))
    }

    /// More bytes of the response.
    pub(super) fn response_bytes(&mut self, len: u64, last: Mark) {
        if let Some(side) = self.answered_side() {
            side.bytes += len;
            side.last = last;
        }
    }

    /// The connection's end, at `at`, is the response's.
    pub(super) fn response_until(&mut self, at: KernelTime) {
        if let Some(side) = self.answered_side() {
            side.last.time = side.last.time.max(at);
        }
    }

    fn answered_side(&mut self) -> Option<&mut Side> {
        self.waiting.front_mut().filter(|_| self.answering).and_then(|waiting| waiting.exchange.response.as_mut())
    }

    /// Not all of the response could be read.
    pub(super) fn response_flawed(&mut self, why: Incomplete) {
        if let Some(waiting) = self.waiting.front_mut().filter(|_| self.answering) {
            waiting.exchange.incomplete.insert(why);
        }
    }

    /// The response ended; `body`: its size, if known.
    pub(super) fn response_ended(&mut self, body: Option<u64>, out: &mut Output) {
        if let Some(waiting) = self.waiting.front_mut().filter(|_| self.answering) {
            waiting.response_ended = true;
            if let Some(call) = &mut waiting.call {
                call.ended(false, body.is_some());
            }
            if let Some(http) = waiting.http() {
                http.response_body = body;
            }
        }
        self.answering = false;
        self.finish(out);
    }

    /// The response direction lost its place: ends and beginnings of responses may be hidden.
    pub(super) fn response_lost(&mut self, why: Incomplete, out: &mut Output) {
        self.turn();
        if self.on_trial() {
            return self.distrust(why, out);
        }
        if self.answering {
            self.response_flawed(why);
            self.response_ended(None, out);
        } else {
            // The loss began where a response was to begin.
            self.give_up_first(why, out);
        }
        if self.trial.is_unsure() {
            self.give_up_all(why, out);
        } else {
            // A loss is noticed late: these came while responses were lost, each when the one before was answered.
            while self.waiting.len() > 1 {
                self.give_up_first(why, out);
            }
            self.trial.begin(false);
        }
    }

    /// The connection ended, or its response direction: nothing will be answered any more. `proven`: nor was anything that is
    /// not known of.
    pub(super) fn end(&mut self, why: Incomplete, proven: bool, out: &mut Output) {
        if self.trial.has_asked() && proven && !self.answering {
            self.release(out);
        } else if self.trial.is_on() {
            // A response that does not end may be another request's, with other framing.
            self.distrust(why, out);
        }
        self.give_up_all(why, out);
    }

    /// About a second passed.
    pub(super) fn tick(&mut self, out: &mut Output) {
        if !self.trial.idle() || !self.waiting.is_empty() {
            return;
        }
        if self.trial.has_asked() {
            self.release(out);
        }
        self.waiting.shrink_to_fit();
        self.held.shrink_to_fit();
    }

    /// Gives out the oldest request if nothing is missing of it any more.
    fn finish(&mut self, out: &mut Output) {
        // A server has done its part when it has answered; the client may yet send, or never.
        let Some(waiting) = self
            .waiting
            .pop_front_if(|first| first.response_ended && (first.request_ended || first.exchange.role == Role::Server))
        else {
            return;
        };
        self.receiving &= !self.waiting.is_empty();
        if !self.on_trial() {
            waiting.done(out);
        } else if self.held.len() < MAX_HELD {
            self.held.push(waiting);
        } else {
            waiting.unpaired(out);
        }
    }

    /// The trial ended well.
    fn release(&mut self, out: &mut Output) {
        self.held.drain(..).for_each(|held| held.done(out));
        self.trial.passed();
    }

    /// The trial ended badly: the held responses may belong to other requests.
    fn retract(&mut self, out: &mut Output) {
        self.held.drain(..).for_each(|held| held.unpaired(out));
    }

    /// Nothing known is known to belong together.
    fn distrust(&mut self, why: Incomplete, out: &mut Output) {
        self.retract(out);
        self.give_up_all(why, out);
        self.trial.lost();
    }

    fn give_up_first(&mut self, why: Incomplete, out: &mut Output) {
        let Some(mut first) = self.waiting.pop_front() else { return };
        self.answering = false;
        self.receiving &= !self.waiting.is_empty();
        if self.on_trial() && first.exchange.response.is_some() {
            return first.unpaired(out);
        }
        // Answered in full, it only waited for the rest of a request whose client saw no use in it any more.
        if !first.response_ended {
            first.exchange.incomplete.insert(why);
        }
        first.done(out);
    }

    fn give_up_all(&mut self, why: Incomplete, out: &mut Output) {
        while !self.waiting.is_empty() {
            self.give_up_first(why, out);
        }
    }
}

impl Waiting {
    fn http(&mut self) -> Option<&mut Http> {
        match &mut self.exchange.details {
            Details::Http(http) => Some(http),
            Details::Db(_) | Details::Generic | Details::Rpc(_) => None,
        }
    }

    fn heap(&self) -> usize {
        let call = self.call.as_ref().map_or(0, |call| call.heap());
        size_of::<Exchange>() + self.exchange.text.capacity() + call
    }

    /// Gives the exchange out.
    fn done(mut self, out: &mut Output) {
        if let Some(call) = &self.call {
            call.finish(&mut self.exchange);
        }
        out.emitted.push(Emitted::Done(self.exchange));
    }

    /// Gives the exchange out without the response, which may be another's.
    fn unpaired(mut self, out: &mut Output) {
        self.exchange.response = None;
        self.exchange.outcome = None;
        self.exchange.incomplete.insert(Incomplete::Gap);
        if let Some(http) = self.http() {
            http.status = None;
            http.response_body = None;
        }
        if let Some(call) = &mut self.call {
            call.disown();
        }
        self.done(out);
    }
}
