//! What is given out: exchanges made of commands, and what is taken back when a reply was another's.

use super::lookup;
use super::waiting::Asked;
use crate::contract::{KernelTime, Role};
use crate::exchange::{
    Db, DbSystem, Details, Emitted, Exchange, ExchangeId, Incomplete, IncompleteSet, Output, Shape, Side, Text,
};

/// Gives an exchange out without the reply, which may be another's, and what was concluded from it.
pub(super) fn unpaired(mut exchange: Box<Exchange>, out: &mut Output) {
    exchange.response = None;
    exchange.outcome = None;
    exchange.incomplete.insert(Incomplete::Gap);
    if let Details::Db(db) = &mut exchange.details {
        (db.namespace, db.batch, db.status) = (None, None, None);
        if db.operation.is_some_and(|word| lookup::find(exchange.text.str(word).as_bytes()).is_none()) {
            (db.operation, db.query) = (None, None);
        }
    }
    out.emitted.push(Emitted::Done(exchange));
}

/// A command and what is shown of it. `code`: of an error; empty: none.
pub(super) fn exchange(
    id: ExchangeId,
    role: Role,
    asked: &Asked,
    shown: &str,
    code: &str,
    database: Option<u32>,
) -> Box<Exchange> {
    let mut db = Db::new(DbSystem::Redis);
    let procedure = asked.procedure.and_then(|(start, end)| shown.get(usize::from(start)..usize::from(end)));
    let digits;
    let index = match database {
        Some(index @ 0..=9) => "0123456789".get(index as usize..=index as usize).unwrap_or_default(),
        Some(index) => {
            digits = index.to_string();
            &digits
        }
        None => "",
    };
    let query = if asked.operation > 0 { shown } else { "" };
    let (text, [query, procedure_at, code_at, index_at]) =
        Text::joined([query, procedure.unwrap_or_default(), code, index]);
    if asked.operation > 0 {
        db.operation = Some(query.first(u32::from(asked.operation)));
        // Arguments that were not seen are not known to be none.
        db.query = Some(query).filter(|_| asked.flaw.is_none());
    }
    db.procedure = procedure.map(|_| procedure_at);
    db.status = Some(code_at).filter(|_| !code.is_empty());
    db.namespace = database.map(|_| index_at);
    let mut incomplete = IncompleteSet::default();
    if let Some(flaw) = asked.flaw {
        incomplete.insert(flaw);
    }
    Box::new(Exchange {
        id,
        protocol: super::PROTOCOL.name,
        role,
        shape: Shape::RequestReply,
        request: Side { first: asked.first, last: asked.last, bytes: asked.bytes },
        response: None,
        cut_off: KernelTime::default(),
        outcome: None,
        details: Details::Db(db),
        context: None,
        incomplete,
        text,
    })
}
