//! What tshark makes of a capture. In: its PDML, one element a line, indented by depth. Out: the packets of each TCP stream, with
//! the fields of the protocols asked for, in their order.

use std::{collections::BTreeMap, path::Path, process::Command};

/// One field as tshark shows it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// How deep it lies below its protocol: 1 is the protocol's own.
    pub(crate) depth: usize,
    /// `http.request.method`; a protocol itself has its name, depth 0.
    pub(crate) name: String,
    /// Its value as text.
    pub(crate) show: String,
    /// Its bytes in hex, where it is of bytes.
    pub(crate) value: String,
}

impl Field {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let pairs = self.value.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }
}

/// One packet that has something of these protocols.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// The side that was connected to sent it, or the one that listens on the lower port.
    pub(crate) by_server: bool,
    /// In their order.
    pub(crate) fields: Vec<Field>,
}

/// The packets of each TCP stream.
pub(crate) fn packets(file: &Path, arguments: &[&str], protocols: &str) -> Vec<Vec<Packet>> {
    let done = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args(["-2", "-T", "pdml", "-J", &format!("tcp {protocols}")])
        .args(arguments)
        .output()
        .expect("tshark runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let wanted: Vec<&str> = protocols.split(' ').collect();
    let mut streams: BTreeMap<u32, Vec<Packet>> = BTreeMap::new();
    let (mut tcp, mut fields, mut inside) = (BTreeMap::new(), Vec::new(), None);
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let element = line.trim_start();
        let name = attribute(element, "name");
        if element.starts_with("<packet>") {
            (tcp, fields) = (BTreeMap::new(), Vec::new());
        } else if element.starts_with("<proto ") {
            inside = wanted.contains(&name.as_str()).then_some(depth);
        } else if element.starts_with("</packet>") && !fields.is_empty() {
            let ports: [u16; 2] = ["tcp.srcport", "tcp.dstport"].map(|port| number(&tcp, port) as u16);
            let packet = Packet { by_server: ports[0] < ports[1], fields: std::mem::take(&mut fields) };
            streams.entry(number(&tcp, "tcp.stream")).or_default().push(packet);
        } else if element.starts_with("<field ") && name.starts_with("tcp.") {
            tcp.entry(name.clone()).or_insert_with(|| attribute(element, "show"));
        }
        if let Some(top) = inside.filter(|_| element.starts_with("<field ") || element.starts_with("<proto ")) {
            let (show, value) = (attribute(element, "show"), attribute(element, "value"));
            fields.push(Field { depth: depth - top, name, show, value });
        }
    }
    streams.into_values().collect()
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u32 {
    fields.get(name).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// An attribute of an XML element, or "".
fn attribute(element: &str, name: &str) -> String {
    let start = element.find(&format!(" {name}=\"")).map(|at| at + name.len() + 3);
    let value = start.and_then(|start| element[start..].split('"').next()).unwrap_or_default();
    let mut text = value.to_owned();
    for (escaped, plain) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
        text = text.replace(escaped, plain);
    }
    text
}
