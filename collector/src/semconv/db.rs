//! The database family: stable conventions for client spans, and the same for the database's own side.
//!
//! In: a [`Span`] of a database exchange. Out: its name, its error, its attributes.
//!
//! Decisions where the conventions leave room:
//! * The database's own side, for which there is no convention, is a span of kind SERVER with the same attributes.
//! * `server.address` is the address that the client connected to and the server accepted on, a Unix socket's path included;
//!   `server.port` is given if it is not the system's default.
//! * `db.query.text` is always sanitised, parameterised or not, and `db.response.returned_rows` is opt-in ([`Databases`]).
//! * The name's target is the stored procedure, else the namespace; never `server.address`.
//! * `db.collection.name` is not given: the conventions want no parsing of query texts for it, and `db.query.summary` names the targets.

use sidelight_protocol_parsers::{Db, Outcome, Role};

use super::{
    attributes::{ErrorType, Visit},
    network::{self, Short},
};
use crate::model::Span;

/// What the operator wants of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Databases {
    /// `db.query.text`.
    pub query_text: bool,
    /// `db.response.returned_rows`.
    pub returned_rows: bool,
    /// Spans and metrics of the database's own side.
    pub server_side: bool,
}

impl Default for Databases {
    fn default() -> Self {
        Self { query_text: true, returned_rows: false, server_side: true }
    }
}

/// Gives the name: `{summary}`, else `{operation} {target}`, else `{target}`, else `{system}`.
pub(super) fn name(span: &Span, db: &Db, each: &mut impl FnMut(&str)) {
    let text = &span.exchange.text;
    let known = |part: &sidelight_protocol_parsers::Span| !text.str(*part).is_empty();
    if let Some(summary) = db.summary.filter(known) {
        return each(text.str(summary));
    }
    let target = db.procedure.filter(known).or_else(|| db.namespace.filter(known));
    match (db.operation.filter(known), target) {
        (Some(operation), Some(target)) => {
            each(text.str(operation));
            each(" ");
            each(text.str(target));
        }
        (Some(one), None) | (None, Some(one)) => each(text.str(one)),
        (None, None) => each(db.system.name()),
    }
}

/// A status code is an error, unless the protocol says otherwise.
pub(super) fn error<'a>(span: &'a Span, db: &Db) -> Option<ErrorType<'a>> {
    let code = db.status.filter(|_| span.exchange.outcome != Some(Outcome::Ok))?;
    Some(ErrorType::Code(span.exchange.text.str(code)))
}

/// The database's end of the connection: address and port.
pub(crate) fn server<'a>(span: &'a Span, room: &'a mut Short) -> (Option<&'a str>, Option<u16>) {
    let end = match span.exchange.role {
        Role::Client => &span.connection.remote,
        Role::Server => &span.connection.local,
    };
    network::address(end, room)
}

/// Gives the attributes of a database span. Not inlined: HTTP's way through [`Span::attributes`] stays as short as it was alone.
#[inline(never)]
pub(super) fn visit(span: &Span, db: &Db, visit: &mut impl Visit) {
    let Db { system, namespace, operation, summary, query, procedure, batch, status, rows } = *db;
    visit.str("db.system.name", system.name());
    for (key, part) in [
        ("db.namespace", namespace),
        ("db.operation.name", operation),
        ("db.query.summary", summary),
        ("db.query.text", query),
        ("db.stored_procedure.name", procedure),
        ("db.response.status_code", status),
    ] {
        if let Some(part) = part {
            visit.str(key, span.exchange.text.str(part));
        }
    }
    // "Operations are only considered batches when they contain two or more operations"
    if let Some(batch) = batch.filter(|batch| *batch != 1) {
        visit.int("db.operation.batch.size", i64::from(batch));
    }
    if let Some(rows) = rows {
        visit.int("db.response.returned_rows", i64::try_from(rows).unwrap_or(i64::MAX));
    }
    if let Some(error) = span.error() {
        visit.str("error.type", error.text(&mut Short::new()));
    }
    let mut room = Short::new();
    let (address, port) = server(span, &mut room);
    if let Some(address) = address {
        visit.str("server.address", address);
    }
    if let Some(port) = port.filter(|port| *port != system.default_port()) {
        visit.int("server.port", i64::from(port));
    }
    network::visit_peer(span, visit);
}
