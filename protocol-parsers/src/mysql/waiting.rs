//! A command from its reading to its answer.
//!
//! In: what was read of it, later what is learnt from answers. Out: its exchange.

use super::command::Reply;
use super::session::{Effect, Session};
use crate::contract::{KernelTime, Role};
use crate::exchange::{
    Db, Details, Emitted, Exchange, ExchangeId, Incomplete, IncompleteSet, Output, Shape, Side, Span, Text,
    TraceContext,
};
use crate::sql::{Dialect, MAX_QUERY, digest};

/// A command as it was read.
pub(super) struct Command {
    pub(super) reply: Reply,
    pub(super) effect: Effect,
    /// What is told of it, if it is an exchange.
    pub(super) asked: Option<Asked>,
}

/// The exchange's part of a command.
pub(super) struct Asked {
    pub(super) db: Db,
    pub(super) text: Text,
    pub(super) context: Option<TraceContext>,
    /// Not all of its text was read.
    pub(super) truncated: bool,
    /// Its text is that of a prepared statement.
    pub(super) statement: Option<u32>,
}

/// One command and what is known of its answer.
pub(super) struct Waiting {
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) reply: Reply,
    pub(super) effect: Effect,
    /// The prepared statement whose text is wanted.
    pub(super) statement: Option<u32>,
    /// Its text is that of a prepared statement.
    pub(super) learnt: bool,
    /// Sequence id of the answer's next packet.
    pub(super) next: u8,
}

impl Asked {
    /// Its exchange; without its text where there is no room for that.
    pub(super) fn begin(self, id: ExchangeId, role: Role, side: Side, room: bool) -> Box<Exchange> {
        let Self { mut db, mut text, context, truncated, .. } = self;
        let mut incomplete = IncompleteSet::default();
        if !room {
            let operation = db.operation.map(|span| text.str(span).to_owned());
            text = Text::default();
            db = Db { operation: operation.map(|name| text.push(name.as_bytes())), ..Db::new(db.system) };
        }
        if truncated || !room {
            incomplete.insert(Incomplete::Truncated);
        }
        Box::new(Exchange {
            id,
            protocol: super::PROTOCOL.name,
            role,
            shape: Shape::RequestReply,
            request: side,
            response: None,
            cut_off: KernelTime::default(),
            outcome: None,
            details: Details::Db(db),
            context: context.map(|context| TraceContext { state: context.state.filter(|_| room), ..context }),
            incomplete,
            text,
        })
    }

    /// Writes the sanitised text of a statement.
    pub(super) fn describe(&mut self, sql: &[u8], session: &Session) {
        let dialect = if session.format.no_backslash { Dialect::MysqlNoBackslash } else { Dialect::Mysql };
        let digest = digest(sql, dialect, !self.truncated, &mut self.text);
        self.truncated |= sql.len() > MAX_QUERY;
        self.db.query = Some(digest.query);
        self.db.summary = digest.summary;
        self.context = self.context.or(digest.context);
    }
}

impl Waiting {
    /// Writes the text of the prepared statement it executes, if that is known by now.
    pub(super) fn name(&mut self, session: &mut Session) {
        let (Some(id), Some(exchange)) = (self.statement, self.exchange.as_deref_mut()) else { return };
        let Some(statement) = session.statements.get(id) else {
            self.effect = Effect::Moves;
            return;
        };
        (self.statement, self.learnt) = (None, true);
        self.effect = if statement.moves { Effect::Moves } else { Effect::Nothing };
        let Exchange { details, text, .. } = exchange;
        if let Details::Db(db) = details {
            db.query = statement.query().map(|query| text.push(query.as_bytes()));
            db.summary = statement.summary().map(|summary| text.push(summary.as_bytes()));
        }
    }
}

/// Decimal digits.
pub(super) fn push_number(text: &mut Text, mut number: u16) -> Span {
    let mut digits = [b'0'; 5];
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    text.push(digits.get(5 - len..).unwrap_or_default())
}

/// Gives an exchange out without the answer, which may be another's, and without what answers told.
pub(super) fn unpaired(mut exchange: Box<Exchange>, learnt: bool, out: &mut Output) {
    exchange.response = None;
    exchange.outcome = None;
    exchange.incomplete.insert(Incomplete::Gap);
    if let Details::Db(db) = &mut exchange.details {
        (db.status, db.rows, db.namespace) = (None, None, None);
        if learnt {
            (db.query, db.summary) = (None, None);
        }
    }
    out.emitted.push(Emitted::Done(exchange));
}
