//! PostgreSQL: first word of the query and SQLSTATE, of each simple query and each execution.

use std::collections::BTreeMap;

use super::super::{Dissection, Packet};
use sidelight_integration_tests::peers::postgresql::first_word;

pub(crate) const DISSECTION: Dissection = Dissection {
    captures: &["postgresql"],
    arguments: &["-d", "tcp.port==15432,pgsql"],
    protocols: "pgsql",
    listed,
    line: |span| {
        format!("{} {}", first_word(span.get("db.query.text")), span.get("db.response.status_code"))
            .trim_end()
            .to_owned()
    },
};

/// A message: its type, and its fields by name.
type Message = (String, BTreeMap<String, String>);

fn messages(packets: &[Packet], by_server: bool) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for field in packets.iter().filter(|packet| packet.by_server == by_server).flat_map(|packet| &packet.fields) {
        if field.name == "pgsql.type" {
            messages.push((field.show.clone(), BTreeMap::new()));
        } else if let Some((_, fields)) = messages.last_mut() {
            fields.insert(field.name.clone(), field.show.clone());
        }
    }
    messages
}

fn listed(packets: &[Packet]) -> Vec<String> {
    let mut answers = messages(packets, true).into_iter();
    let (mut statements, mut bound, mut exchanges) = (BTreeMap::new(), String::new(), Vec::new());
    // What the server says up to one of these, and the SQLSTATE in it.
    let mut until = |ends: &[&str]| {
        let mut state = String::new();
        for (kind, fields) in answers.by_ref() {
            if kind == "Error" {
                state = fields.get("pgsql.code").cloned().unwrap_or_default();
            }
            if ends.contains(&kind.as_str()) {
                break;
            }
        }
        state
    };
    for (kind, fields) in messages(packets, false) {
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let (query, state) = match kind.as_str() {
            "Startup message" | "Sync" => {
                until(&["Ready for query"]);
                continue;
            }
            "Parse" => {
                statements.insert(text("pgsql.statement"), text("pgsql.query"));
                continue;
            }
            "Bind" => {
                bound = statements.get(&text("pgsql.statement")).cloned().unwrap_or_default();
                continue;
            }
            "Simple query" => (text("pgsql.query"), until(&["Ready for query"])),
            "Execute" => (bound.clone(), until(&["Command completion", "Error"])),
            _ => continue,
        };
        exchanges.push(format!("{} {state}", first_word(&query)).trim_end().to_owned());
    }
    exchanges
}
