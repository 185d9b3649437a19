//! Redis: one call for each write, no tracker. The bytes are those of both directions.

use std::hint::black_box;

use sidelight_protocol_parsers::{Direction, Emitted, Output, PROTOCOLS, Parser, Role};

use crate::{Load, feed};

fn parser() -> Box<dyn Parser> {
    let redis = PROTOCOLS.iter().find(|protocol| protocol.name == "redis").expect("in the table");
    (redis.parser)(Some(Role::Server))
}

fn array(words: &[&str]) -> String {
    let arguments: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{arguments}", words.len())
}

fn bulk(value: &str) -> String {
    format!("${}\r\n{value}\r\n", value.len())
}

/// Commands of several shapes, alone and in pipelines.
#[must_use]
pub fn loads() -> Vec<Load> {
    let (short, long) = ("x".repeat(100), "x".repeat(1000));
    let list: String = (0..1000).map(|id| bulk(&format!("member:{id}"))).collect();
    let fields: Vec<String> = (0..20).flat_map(|id| [format!("field:{id}"), short.clone()]).collect();
    let hash: Vec<&str> = ["HSET", "user:1000"].into_iter().chain(fields.iter().map(String::as_str)).collect();
    [
        ("GET of 100 bytes, 16 in a pipeline", 16, array(&["GET", "user:1000"]).repeat(16), bulk(&short).repeat(16)),
        (
            "SET of 100 bytes, 16 in a pipeline",
            16,
            array(&["SET", "user:1000", &short]).repeat(16),
            "+OK\r\n".repeat(16),
        ),
        ("INCR, the shortest there is, 16 in a pipeline", 16, array(&["INCR", "n"]).repeat(16), ":1\r\n".repeat(16)),
        ("GET of 1000 bytes", 1, array(&["GET", "user:1000"]), bulk(&long)),
        ("HSET of 20 fields of 100 bytes", 1, array(&hash), ":20\r\n".to_owned()),
        ("LRANGE of 1000 short elements", 1, array(&["LRANGE", "list", "0", "-1"]), format!("*1000\r\n{list}")),
    ]
    .map(|(name, count, request, reply)| {
        let mut parser = parser();
        let (mut out, mut read, mut written) = (Output::default(), 0, 0);
        Load::new(name, request.len() + reply.len(), move || {
            feed(&mut *parser, Direction::Ingress, &mut read, black_box(request.as_bytes()), &mut out);
            feed(&mut *parser, Direction::Egress, &mut written, black_box(reply.as_bytes()), &mut out);
            let done = out.emitted.iter().filter(|said| matches!(said, Emitted::Done(_))).count();
            assert_eq!((done, out.emitted.len()), (count, 3 * count));
            out.emitted.clear();
        })
    })
    .into()
}
