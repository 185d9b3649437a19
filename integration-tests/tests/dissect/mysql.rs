//! MySQL: the command's name and the number of an error. What only keeps a session is no exchange.

use super::super::{Dissection, Packet};

pub(crate) const DISSECTION: Dissection = Dissection {
    captures: &["mysql"],
    arguments: &["-d", "tcp.port==13306,mysql"],
    protocols: "mysql",
    listed,
    line: |span| {
        // A text tells more than the name of the command that carries it.
        let command = match span.get("db.operation.name") {
            "" => "QUERY",
            name => name,
        };
        format!("{command} {}", span.get("db.response.status_code")).trim_end().to_owned()
    },
};

/// Codes as tshark shows them.
fn command(code: &str) -> Option<&'static str> {
    match code {
        "2" => Some("INIT_DB"),
        "3" => Some("QUERY"),
        "22" => Some("PREPARE"),
        "23" => Some("EXECUTE"),
        // QUIT, PING, STMT_CLOSE, STMT_RESET
        "1" | "14" | "25" | "26" => None,
        other => panic!("a command {other} in the capture"),
    }
}

fn listed(packets: &[Packet]) -> Vec<String> {
    let mut exchanges: Vec<String> = Vec::new();
    for packet in packets {
        let mut number = "";
        for field in &packet.fields {
            match field.name.as_str() {
                "mysql.packet_number" => number = &field.show,
                // Bytes of a file look like a command, but do not begin one.
                "mysql.command" if !packet.by_server && number == "0" => {
                    exchanges.extend(command(&field.show).map(str::to_owned));
                }
                "mysql.error_code" => {
                    let last = exchanges.last_mut().expect("an error answers something");
                    last.push(' ');
                    last.push_str(&field.show);
                }
                _ => {}
            }
        }
    }
    exchanges
}
