//! HTTP/1: method, target and status.

use super::super::{Dissection, Packet};

pub(crate) const DISSECTION: Dissection = Dissection {
    captures: &["ethernet.pcap", "nanoseconds.pcap", "cooked-any.pcap", "cooked2-any.pcap"],
    arguments: &["-d", "tcp.port==18081,http"],
    protocols: "http",
    listed,
    line: |span| {
        let (method, status) = (span.get("http.request.method"), span.get("http.response.status_code"));
        format!("{method} {} {status}", span.path())
    },
};

fn listed(packets: &[Packet]) -> Vec<String> {
    let (mut requests, mut statuses, mut method) = (Vec::new(), Vec::new(), String::new());
    for field in packets.iter().flat_map(|packet| &packet.fields) {
        match field.name.as_str() {
            "http.request.method" => method = field.show.clone(),
            "http.request.uri" => {
                let path = field.show.split('?').next().unwrap_or_default();
                requests.push(format!("{method} {path}"));
            }
            "http.response.code" => statuses.push(field.show.clone()),
            _ => {}
        }
    }
    requests.iter().zip(&statuses).map(|(request, status)| format!("{request} {status}")).collect()
}
