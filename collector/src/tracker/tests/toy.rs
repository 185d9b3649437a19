//! A protocol for tests: requests `Q<id>` and answers `A<id>`, one a line, `+<n>` before the line's end: n bytes of body follow.
//! Requests and answers are paired by order alone, so that an answer with another id shows a wrong pairing.

use std::collections::VecDeque;

use sidelight_protocol_parsers::{
    Chunk, Close, Details, Direction, Exchange, ExchangeId, Hole, Incomplete, IncompleteSet, KernelTime, Malformed,
    Next, Output, Parser, Priors, Protocol, Role, Shape, Side, Text, Used, Wants,
    detect::{Candidates, Detection, Sample, Score},
};

pub(super) static TOY: Protocol = Protocol {
    name: "toy",
    side: Role::Server,
    priors: Priors::NONE,
    score: |_| Score::Possible,
    parser: |role| Box::new(Toy::new(role)),
};

/// `Q` at the front of a direction is the toy, `X` is opaque, anything else unknown; two bytes are needed.
pub(super) fn detect(sample: &Sample<'_>, _: &mut Candidates) -> Detection {
    for (bytes, role) in [(sample.ingress, Role::Server), (sample.egress, Role::Client)] {
        match bytes {
            [b'Q', _, ..] => return Detection::Is(&TOY, Some(role)),
            [b'X', ..] => return Detection::Opaque("x"),
            [] | [b'Q' | b'A', ..] => {}
            _ => return Detection::Unknown,
        }
    }
    Detection::Undecided
}

struct Toy {
    role: Role,
    sides: [Counted; 2],
    pending: VecDeque<Exchange>,
    next: u64,
    /// After a hole: pairing starts again with a request behind an answer.
    unsure: Option<bool>,
}

#[derive(Default)]
struct Counted {
    body: u64,
    /// Bytes of a line follow a hole: skip to its end.
    torn: bool,
}

impl Toy {
    fn new(role: Option<Role>) -> Self {
        let role = role.expect("detection knows it");
        Self { role, sides: Default::default(), pending: VecDeque::new(), next: 0, unsure: None }
    }

    fn line(&mut self, chunk: &Chunk<'_>, from: usize, len: usize, out: &mut Output) -> Result<(), Malformed> {
        let line = std::str::from_utf8(&chunk.bytes[from..from + len]).map_err(|_| Malformed("not text"))?;
        let (head, body) = line.split_once('+').unwrap_or((line, "0"));
        let body: u64 = body.trim().parse().map_err(|_| Malformed("no length"))?;
        let request = chunk.dir == self.role.requests();
        if !head.starts_with(if request { 'Q' } else { 'A' }) {
            return Err(Malformed("no line of the toy"));
        }
        self.sides[chunk.dir.index()].body = body;
        let side = Side { first: chunk.mark(from), last: chunk.mark(from + len - 1), bytes: len as u64 + body };
        match (request, self.unsure) {
            (true, Some(true)) => self.unsure = None,
            (true, Some(false)) => return Ok(()),
            (false, Some(_)) => {
                self.unsure = Some(true);
                return Ok(());
            }
            (_, None) => {}
        }
        if request {
            let id = ExchangeId(self.next);
            self.next += 1;
            let mut text = Text::default();
            text.push(head.trim().as_bytes());
            out.begun(id, chunk.dir, side.first);
            self.pending.push_back(Exchange {
                id,
                protocol: "toy",
                role: self.role,
                shape: Shape::RequestReply,
                request: side,
                response: None,
                cut_off: KernelTime::default(),
                outcome: None,
                details: Details::Generic,
                context: None,
                incomplete: IncompleteSet::default(),
                text,
            });
        } else if let Some(mut exchange) = self.pending.pop_front() {
            out.answered(exchange.id, side.first);
            exchange.response = Some(side);
            exchange.text.push(head.trim().as_bytes());
            out.done(exchange);
        }
        match head.trim() {
            "A-detect" => out.switch(Next::Detect),
            "A-opaque" => out.switch(Next::Opaque("tunnel")),
            _ => {}
        }
        Ok(())
    }

    fn drop_pending(&mut self, why: Incomplete, out: &mut Output) {
        for mut exchange in self.pending.drain(..) {
            exchange.incomplete.insert(why);
            out.done(exchange);
        }
    }
}

impl Parser for Toy {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut used = 0;
        while used < chunk.bytes.len() {
            let rest = &chunk.bytes[used..];
            let side = &mut self.sides[chunk.dir.index()];
            if side.body > 0 {
                let skip = side.body.min(rest.len() as u64);
                side.body -= skip;
                used += skip as usize;
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
            if !std::mem::take(&mut side.torn) {
                self.line(&chunk, used, end + 1, out)?;
            }
            used += end + 1;
            if matches!(out.emitted.last(), Some(sidelight_protocol_parsers::Emitted::Switch(_))) {
                break;
            }
        }
        Ok(Used(used))
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        let side = &mut self.sides[hole.dir.index()];
        match hole.len {
            Some(len) if len <= side.body => side.body -= len,
            _ => {
                side.body = 0;
                // Writes begin with a line, so what follows a hole does too, unless it cut a call short.
                side.torn = false;
                let why = match hole.why {
                    sidelight_protocol_parsers::Lost::Malformed => Incomplete::Desync,
                    _ => Incomplete::Gap,
                };
                self.unsure = Some(false);
                self.drop_pending(why, out);
            }
        }
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, _at: KernelTime, out: &mut Output) {
        if dir.is_none() {
            let why = match how {
                Close::Evicted => Incomplete::Evicted,
                Close::Shutdown => Incomplete::Shutdown,
                Close::Fin | Close::FinUnproven | Close::Reset | Close::Unknown => Incomplete::Closed,
            };
            self.drop_pending(why, out);
        }
    }

    fn tick(&mut self, _now: KernelTime, _out: &mut Output) {}

    fn wants(&self, dir: Direction) -> Wants {
        match self.sides[dir.index()].body {
            0 => Wants::Bytes,
            bytes => Wants::Skip(bytes),
        }
    }

    fn heap(&self) -> usize {
        self.pending.capacity() * size_of::<Exchange>()
    }
}
