//! The proof holds for HTTP/1, and fails for parsers that break the contract's promises.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Heals, Proof, Session, list};
use crate::contract::{Chunk, Close, Hole, KernelTime, Malformed, Parser, Priors, Protocol, Role, Used, Wants};
use crate::detect::Score;
use crate::exchange::{Db, DbSystem, Details, Exchange, ExchangeId, IncompleteSet, Output, Shape, Side, Text};

/// Requests are `Qn\n`, answers `An\n`; pairs them in order, and is blind to holes as far as `BLIND` says: to all of them, or
/// to none, or it sees them and never trusts the connection again.
struct Toy<const BLIND: u8> {
    waiting: std::collections::VecDeque<(ExchangeId, Side, Vec<u8>)>,
    next: u64,
    lost: bool,
}

const ALL: u8 = 0;
const FOREVER: u8 = 1;

fn toy<const BLIND: u8>(_: Option<Role>) -> Box<dyn Parser> {
    Box::new(Toy::<BLIND> { waiting: Default::default(), next: 0, lost: false })
}

static BLIND_TO_HOLES: Protocol =
    Protocol { name: "toy", side: Role::Server, priors: Priors::NONE, score: |_| Score::No, parser: toy::<ALL> };
static NEVER_AGAIN: Protocol =
    Protocol { name: "toy", side: Role::Server, priors: Priors::NONE, score: |_| Score::No, parser: toy::<FOREVER> };

impl<const BLIND: u8> Parser for Toy<BLIND> {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while let Some(len) = chunk.bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = &chunk.bytes[at..at + len];
            let side = Side { first: chunk.mark(at), last: chunk.mark(at + len), bytes: len as u64 + 1 };
            at += len + 1;
            if line.starts_with(b"Q") && !self.lost {
                let id = ExchangeId(self.next);
                self.next += 1;
                out.begun(id, chunk.dir, side.first);
                self.waiting.push_back((id, side, line.to_vec()));
            } else if line.starts_with(b"A")
                && let Some((id, request, asked)) = self.waiting.pop_front()
            {
                out.answered(id, side.first);
                self.done(id, Role::of_requests(chunk.dir.opposite()), request, Some(side), &asked, out);
            }
        }
        Ok(Used(at))
    }

    fn hole(&mut self, _: Hole, _: &mut Output) {
        self.lost |= BLIND == FOREVER;
    }

    fn close(&mut self, _: Option<crate::Direction>, _: Close, _: KernelTime, out: &mut Output) {
        for (id, request, asked) in std::mem::take(&mut self.waiting) {
            self.done(id, Role::Server, request, None, &asked, out);
        }
    }

    fn tick(&mut self, _: KernelTime, _: &mut Output) {}

    fn wants(&self, _: crate::Direction) -> Wants {
        Wants::Bytes
    }

    fn heap(&self) -> usize {
        0
    }
}

impl<const BLIND: u8> Toy<BLIND> {
    fn done(&self, id: ExchangeId, role: Role, request: Side, response: Option<Side>, asked: &[u8], out: &mut Output) {
        let mut text = Text::default();
        let operation = Some(text.push(asked));
        out.done(Exchange {
            id,
            protocol: "toy",
            role,
            shape: Shape::RequestReply,
            request,
            response,
            cut_off: KernelTime::default(),
            outcome: None,
            details: Details::Db(Db { operation, ..Db::new(DbSystem::Redis) }),
            context: None,
            incomplete: IncompleteSet::default(),
            text,
        });
    }
}

fn toys() -> Session {
    let said = (0..6).flat_map(|id| [(true, format!("Q{id}\n")), (false, format!("A{id}\n"))]);
    Session::new(said)
}

fn proof<'a>(protocol: &'static Protocol, session: &'a Session) -> Proof<'a> {
    Proof { protocol, session, joined: Heals::Quiet(2), lost: Heals::Quiet(2), needed: &[], secrets: &[] }
}

fn message(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("nothing was found");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn a_wrong_pairing_is_found() {
    let session = toys();
    let proof = proof(&BLIND_TO_HOLES, &session);
    proof.splits();
    assert!(message(|| proof.losses()).contains("response"));
}

#[test]
fn what_never_heals_is_found() {
    let session = toys();
    let proof = proof(&NEVER_AGAIN, &session);
    assert!(message(|| proof.joins()).contains("not seen: "));
}

#[test]
fn a_secret_is_found() {
    let session = toys();
    let proof = Proof { secrets: &["Q3"], ..proof(&BLIND_TO_HOLES, &session) };
    assert!(message(|| proof.splits()).contains("Q3 is in "));
}

#[test]
fn it_holds_for_http1() {
    let said = (0..6).flat_map(|id| {
        let body = "x".repeat(id * 9);
        let (head, rest) =
            ("POST", format!(" /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let answer = format!("HTTP/1.1 {} R\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400 + id);
        [(true, head.to_owned()), (true, rest), (false, answer)]
    });
    let session = Session::new(said);
    let proof = Proof { needed: &["method", "target", "status"], ..proof(&crate::http1::PROTOCOL, &session) };
    assert_eq!(proof.truth().len(), 6, "{}", list(&proof.truth()));
    proof.hold();
}

#[test]
fn a_session_is_read_from_text() {
    let session = Session::parse("# a comment\n> a\\r\\n\\x00\\\\\n< b\n< c\n");
    assert_eq!(session.calls[0].bytes, b"a\r\n\0\\");
    assert_eq!(session.calls.len(), 3);
    assert_eq!(session.turns().len(), 2);
}
