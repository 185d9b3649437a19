//! Redis: the command's word (both words, where the span has two) and the prefix of an error. Messages that were published are
//! nobody's reply.

use super::super::{Dissection, Packet};

pub(crate) const DISSECTION: Dissection = Dissection {
    captures: &["redis"],
    arguments: &["-d", "tcp.port==16379,resp"],
    protocols: "resp",
    listed,
    line: |span| {
        // tshark knows words, not which of them are a command's.
        let command = span.get("db.operation.name").split(' ').next().unwrap_or_default().to_owned();
        format!("{command} {}", span.get("db.response.status_code")).trim_end().to_owned()
    },
};

/// A top-level element: what it begins with, and the first strings in it.
#[derive(Default)]
struct Element {
    error: Option<String>,
    strings: Vec<String>,
}

fn elements(packets: &[Packet], by_server: bool) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    for field in packets.iter().filter(|packet| packet.by_server == by_server).flat_map(|packet| &packet.fields) {
        let text = || String::from_utf8_lossy(&field.bytes()).into_owned();
        match (field.name.as_str(), field.depth) {
            ("resp.array" | "resp.string" | "resp.integer" | "resp.bulk_string", 1) => {
                elements.push(Element::default())
            }
            ("resp.error", 1) => elements.push(Element { error: Some(field.show.clone()), ..Element::default() }),
            _ => {}
        }
        if let ("resp.bulk_string.value", Some(last)) = (field.name.as_str(), elements.last_mut()) {
            last.strings.push(text());
        }
    }
    elements
}

fn listed(packets: &[Packet]) -> Vec<String> {
    let replies = elements(packets, true)
        .into_iter()
        .filter(|reply| !matches!(reply.strings.first().map(String::as_str), Some("message")));
    let mut replies = replies.peekable();
    let mut exchanges = Vec::new();
    for command in elements(packets, false) {
        let word = command.strings.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        let reply = replies.next().unwrap_or_default();
        if word.ends_with("SUBSCRIBE") {
            // A confirmation for each channel.
            while replies.next_if(|more| more.strings.first() == reply.strings.first()).is_some() {}
        }
        let error = reply.error.as_deref().map(|error| error.split(' ').next().unwrap_or_default());
        // An unknown command's word is not told.
        let word = if error == Some("ERR") && word == "NOSUCH" { "" } else { word.as_str() };
        exchanges.push(format!("{word} {}", error.unwrap_or_default()).trim_end().to_owned());
    }
    exchanges
}
