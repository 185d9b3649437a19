//! What the server has said to one request, and the exchange that comes of both.

use std::sync::Arc;

use super::message::Failure;
use super::statements::Statement;
use super::unit::{Gives, Unit};
use crate::contract::{KernelTime, Mark, Role};
use crate::exchange::{Db, DbSystem, Details, Exchange, Incomplete, IncompleteSet, Outcome, Shape, Side, Span, Text};
use crate::sql::Digest;

/// An answer, as far as it was seen.
pub(super) struct Answer {
    pub(super) first: Mark,
    pub(super) last: Mark,
    /// DataRow messages.
    pub(super) rows: u64,
    /// It has a result of rows, if only of none.
    pub(super) returns_rows: bool,
    /// RowDescription came: rows may.
    pub(super) described: bool,
    /// Commands completed.
    pub(super) results: u32,
    /// What comes next is ReadyForQuery, or another result.
    pub(super) ended: bool,
    pub(super) failure: Option<Failure>,
    /// It was seen to its end.
    pub(super) complete: bool,
}

impl Answer {
    pub(super) fn new(first: Mark) -> Self {
        Self {
            first,
            last: first,
            rows: 0,
            returns_rows: false,
            described: false,
            results: 0,
            ended: false,
            failure: None,
            complete: false,
        }
    }

    /// One more message of it.
    pub(super) fn take(&mut self, kind: u8, tag: &[u8]) {
        match kind {
            b'C' => {
                self.results = self.results.saturating_add(1);
                self.described = false;
                self.ended = true;
                self.returns_rows |= tag.starts_with(b"SELECT ") || tag.starts_with(b"FETCH ");
            }
            b'D' => {
                self.rows += 1;
                self.returns_rows = true;
            }
            b'I' | b'V' => self.ended = true,
            b'T' => (self.described, self.returns_rows) = (true, true),
            _ => {}
        }
    }
}

/// The exchange of a unit, which gives nothing more then.
pub(super) fn exchange(unit: &mut Unit, answer: Option<Answer>, role: Role, database: &[u8]) -> Box<Exchange> {
    let mut db = Db::new(DbSystem::Postgresql);
    let mut incomplete = IncompleteSet::default();
    unit.gives = Gives::Nothing;
    let statement = if unit.repeats() { unit.statement.clone() } else { unit.statement.take() };
    let (mut text, context) = match statement {
        Some(statement) => {
            if unit.own && !statement.whole {
                incomplete.insert(Incomplete::Truncated);
            }
            let room = database.len() + 5;
            let (text, digest) = own_text(statement, room);
            (db.query, db.summary) = (Some(digest.query), digest.summary);
            (text, digest.context.filter(|_| unit.own))
        }
        None => {
            if unit.textless {
                incomplete.insert(Incomplete::Truncated);
            }
            (Text::with_capacity(if database.is_empty() { 0 } else { database.len() + 5 }), None)
        }
    };
    db.namespace = (!database.is_empty()).then(|| text.push(database));
    let mut outcome = None;
    if let Some(answer) = &answer {
        if let Some(failure) = answer.failure {
            outcome = Some(Outcome::Error);
            db.status = failure.sqlstate.map(|code| text.push(&code));
        } else if answer.complete {
            outcome = Some(Outcome::Ok);
            db.rows = answer.returns_rows.then_some(answer.rows);
            db.batch = Some(answer.results).filter(|results| *results > 1);
        }
    }
    let side = |first: Mark, last: Mark| Side { first, last, bytes: last.offset.wrapping_sub(first.offset) + 1 };
    Box::new(Exchange {
        id: unit.id,
        protocol: super::PROTOCOL.name,
        role,
        shape: Shape::RequestReply,
        request: side(unit.first, unit.last()),
        response: answer.map(|answer| side(answer.first, answer.last)),
        cut_off: KernelTime::default(),
        outcome,
        details: Details::Db(db),
        context,
        incomplete,
        text,
    })
}

/// The statement's strings in a buffer of their own, with room for more.
fn own_text(statement: Arc<Statement>, room: usize) -> (Text, Digest) {
    let mut strings = statement.digest;
    match Arc::try_unwrap(statement) {
        Ok(statement) => (statement.text, strings),
        Err(shared) => {
            let source = &shared.text;
            let mut text = Text::with_capacity(source.capacity() + room);
            let mut copy = |span: Span| text.push(source.str(span).as_bytes());
            strings = Digest { query: copy(strings.query), summary: strings.summary.map(&mut copy), ..strings };
            if let Some(context) = &mut strings.context {
                context.state = context.state.map(&mut copy);
            }
            (text, strings)
        }
    }
}
