//! Names, status and attributes of spans, by tables of exchanges: some in full, the others by what differs from the plain one of
//! their family and side.

mod db;
mod http;
mod rpc;

use std::fmt::Write;

use sidelight_protocol_parsers::Role;

use super::attributes::AttrValue;
use crate::{
    model::Span,
    testing::{Case, DbCase, Family, RpcCase},
};

/// The name, then the attributes, a line each.
fn shown(span: &Span) -> String {
    let mut text = String::new();
    span.name(&mut |piece| text.push_str(piece));
    writeln!(text, " ({:?}, error {:?})", span.kind, span.error()).unwrap();
    span.visit_attributes(&mut |key, value| {
        write!(text, "  {key}=").unwrap();
        match value {
            AttrValue::Str(_) | AttrValue::Url(_) | AttrValue::Query(_) => {
                value.text(&mut |piece| text.push_str(piece))
            }
            AttrValue::Int(number) => write!(text, "{number}").unwrap(),
            AttrValue::Double(number) => write!(text, "{number}").unwrap(),
            AttrValue::Reasons(reasons) => write!(text, "{:?}", reasons.iter().collect::<Vec<_>>()).unwrap(),
        }
        text.push('\n');
    });
    text
}

/// The name, then the attributes that the plain exchange has not (`+`), and those that only it has (`-`).
fn changed(case: &Case) -> String {
    let plain = match (&case.family, case.role) {
        (Family::Http, Role::Client) => Case::client("GET", "/"),
        (Family::Http, Role::Server) => Case::server("GET", "/"),
        (Family::Rpc(_), role) => Case::rpc(role, RpcCase::default()),
        (Family::Db(query), role) => Case::db(role, DbCase::new(query.system)),
    };
    let (new, old) = (shown(&case.span()), shown(&plain.span()));
    let (name, new) = new.split_once('\n').unwrap();
    let (_, old) = old.split_once('\n').unwrap();
    let mut text = format!("{name}\n");
    for (mark, these, those) in [('-', old, new), ('+', new, old)] {
        for line in these.lines().filter(|line| !those.lines().any(|other| other == *line)) {
            writeln!(text, "  {mark} {}", line.trim_start()).unwrap();
        }
    }
    text
}

macro_rules! spans {
    ($how:ident: $($name:ident: $case:expr => $expected:literal;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!($how(&$case), @$expected);
        }
    )*};
}
use spans;

fn whole(case: &Case) -> String {
    shown(&case.span())
}
