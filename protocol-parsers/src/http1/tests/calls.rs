//! gRPC-Web and Connect: a request of theirs makes the exchange a call.

use super::script::Script;
use crate::contract::{Close, Lost};
use crate::http1::PROTOCOL;
use crate::proof::{Heals, Proof, Session};

fn frame(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[flag], &len[..], bytes].concat()
}

fn message(start: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{start}\r\nHost: shop.example\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn post(method: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    message(&format!("POST /{method} HTTP/1.1"), headers, body)
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    message(&format!("HTTP/1.1 {status} Reason"), headers, body)
}

fn chunked(headers: &str, body: &[u8], each: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(each) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

const WEB: &str = "Content-Type: application/grpc-web+proto\r\n";
const TEXT: &str = "Content-Type: application/grpc-web-text\r\n";
const STREAM: &str = "Content-Type: application/connect+proto\r\n";
const UNARY: &str = "Content-Type: application/json\r\nConnect-Protocol-Version: 1\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

/// A request, its answer, and what they are.
fn scenes() -> Vec<(Vec<u8>, Vec<u8>, &'static str)> {
    let hi = frame(0, b"hi");
    let web = |status: &str| [frame(0, b"one"), frame(0, b"two"), frame(0x80, status.as_bytes())].concat();
    let end = |json: &str| [frame(0, b"one"), frame(2, json.as_bytes())].concat();
    vec![
        (post("s.S/A", WEB, &hi), answer(200, WEB, &web("grpc-status: 0\r\n")), "grpc s.S/A 0 >1 <2"),
        (post("s.S/B", WEB, &hi), chunked(WEB, &web("grpc-status:5\r\ngrpc-message:no\r\n"), 7), "grpc s.S/B 5 >1 <2"),
        // Trailers-Only: the status is among the headers.
        (
            post("s.S/C", WEB, &hi),
            answer(200, "content-type: application/grpc-web\r\nGrpc-Status: 7\r\n", b""),
            "grpc s.S/C 7 >1 <0",
        ),
        (
            post("s.S/D", TEXT, b"AAAAAAJoaQ=="),
            answer(200, TEXT, b"AAAAAANhYmM=gAAAAA9ncnBjLXN0YXR1czowDQo="),
            "grpc s.S/D 0 >1 <1",
        ),
        // Asked in one encoding, answered in the other.
        (post("s.S/E", WEB, &hi), answer(200, TEXT, b"AAAAAANhYmM=gAAAAA9ncnBjLXN0YXR1czowDQo="), "grpc s.S/E 0 >1 <1"),
        (post("s.S/F", WEB, &hi), answer(503, "Content-Type: text/html\r\n", b"<p>"), "grpc s.S/F 14 >1 <?"),
        (post("s.S/G", STREAM, &hi), answer(200, STREAM, &end("{}")), "connectrpc s.S/G 0 >1 <1"),
        (
            post("s.S/H", STREAM, &[hi.clone(), hi.clone()].concat()),
            chunked(STREAM, &end("{\"error\":{\"code\":\"aborted\"}}"), 3),
            "connectrpc s.S/H 10 >2 <1",
        ),
        (post("s.S/I", UNARY, b"{}"), answer(200, JSON, b"{\"a\":1}"), "connectrpc s.S/I 0 >1 <1"),
        (post("s.S/J", UNARY, b"{}"), answer(404, JSON, b"{\"code\":\"not_found\"}"), "connectrpc s.S/J 5 >1 <?"),
        (post("s.S/K", UNARY, b"{}"), answer(404, "", b"no such page"), "connectrpc s.S/K 12 >1 <?"),
        (
            b"GET /s.S/L?encoding=json&message=%7b%7d&connect=v1 HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec(),
            answer(200, JSON, b"{}"),
            "connectrpc s.S/L 0 >1 <1",
        ),
        (post("a", JSON, b"{}"), answer(200, JSON, b"{}"), "POST /a 200 >2 <2"),
        // gRPC itself is not defined over HTTP/1.
        (post("s.S/M", "Content-Type: application/grpc\r\n", &hi), answer(415, "", b""), "POST /s.S/M 415 >7 <0"),
    ]
}

#[test]
fn every_call_has_method_status_and_messages() {
    for mut script in [Script::server(), Script::client()] {
        for (asked, answered, _) in scenes() {
            script.client_says(asked).server_says(answered);
        }
        let expected: Vec<_> = scenes().into_iter().map(|(_, _, line)| line).collect();
        script.expect(&expected);
    }
}

#[test]
fn splits_joins_and_losses() {
    let session =
        Session::new(scenes().into_iter().flat_map(|(asked, answered, _)| [(true, asked), (false, answered)]));
    hold(&session, scenes().len());
}

/// connect-go's client and server: calls of every kind, compressed answers, one after the other.
#[test]
fn recorded_sessions_hold() {
    let expected = ["0 1 1", "0 1 1", "0 1 1", "0 1 1", "0 1 1", "5 1", "0 1 0", "0 1 1", "10 1", "12 1"];
    for (name, system) in [("connect", "connectrpc"), ("grpcweb", "grpc")] {
        let truth = hold(&Session::load(&format!("http1/{name}")), expected.len());
        for (call, expected) in truth.iter().zip(expected) {
            let value = |name| call.value(name).unwrap_or("?");
            let seen = format!("{} {} {}", value("status"), value("requests"), value("responses"));
            assert!(seen.starts_with(expected), "{expected}, {name}: {call}");
            assert_eq!(value("system"), system, "{call}");
        }
    }
}

fn hold(session: &Session, count: usize) -> Vec<crate::proof::Facts> {
    let proof = Proof {
        protocol: &PROTOCOL,
        session,
        joined: Heals::Quiet(4),
        lost: Heals::Quiet(4),
        needed: &[],
        secrets: &[],
    };
    let truth = proof.truth();
    assert_eq!(truth.len(), count);
    assert!(truth.iter().all(|truth| truth.incomplete.is_empty() && truth.value("status").is_some()));
    proof.hold();
    truth
}

#[test]
fn what_is_not_seen_of_a_body_takes_what_it_may_have_said() {
    let asked = post("s.S/A", WEB, &frame(0, &[7; 40]));
    let body = [frame(0, &[7; 40]), frame(0x80, b"grpc-status: 5\r\n")].concat();
    let answered = answer(200, WEB, &body);
    let head = answered.len() - body.len();
    let with_hole = |at: usize, len: usize, why: Lost| {
        let mut script = Script::server();
        script.client_says(&asked).server_says(&answered[..at]).server_hole(len as u64, why);
        script.server_says(&answered[at + len..]).ends(Close::Fin);
        script.exchanges()
    };
    for why in [Lost::Cut, Lost::Fault] {
        // Inside the message: its length was seen.
        assert_eq!(with_hole(head + 5, 40, why), ["grpc s.S/A 5 >1 <1"]);
        assert_eq!(with_hole(head + 10, 20, why), ["grpc s.S/A 5 >1 <1"]);
        // Over a prefix, or in the trailers.
        assert_eq!(with_hole(head + 10, 36, why), ["grpc s.S/A - >1 <?"]);
        assert_eq!(with_hole(head + 55, 4, why), ["grpc s.S/A - >1 <?"]);
        assert_eq!(with_hole(head + 50, answered.len() - head - 50, why), ["grpc s.S/A - >1 <?"]);
    }
}

#[test]
fn a_chunked_body_that_was_captured_in_part_has_no_status() {
    let mut script = Script::client();
    let body = [frame(0, &[7; 400]), frame(2, b"{}")].concat();
    let answered = chunked(STREAM, &body, 100);
    script.client_says(post("s.S/A", STREAM, &frame(0, b"hi"))).server_says(&answered[..200]);
    script.server_hole((answered.len() - 200) as u64, Lost::Cut);
    script.client_says(post("s.S/B", STREAM, &frame(0, b"hi"))).server_says(chunked(STREAM, &body, 1000));
    script.ends(Close::Fin);
    script.expect(&["connectrpc s.S/A - >1 <?", "connectrpc s.S/B 0 >1 <1"]);
}

#[test]
fn an_answer_until_the_end_of_the_connection_is_whole_only_if_its_end_is_proven() {
    for (how, line) in [(Close::Fin, "grpc s.S/A 0 >1 <1"), (Close::FinUnproven, "grpc s.S/A - >1 <?")] {
        let mut script = Script::server();
        let body = [frame(0, b"one"), frame(0x80, b"grpc-status: 0\r\n")].concat();
        let head = format!("HTTP/1.1 200 OK\r\n{WEB}\r\n");
        script.client_says(post("s.S/A", WEB, &frame(0, b"hi"))).server_says([head.as_bytes(), &body].concat());
        script.ends(how).expect(&[line]);
    }
}

#[test]
fn an_answer_that_no_handler_gave_tells_by_its_head() {
    for (content, line) in [
        ("text/plain", "connectrpc s.S/A 12 >1 <? [closed]"),
        ("application/json", "connectrpc s.S/A - >1 <? [closed]"),
    ] {
        let mut script = Script::client();
        let answered = answer(404, &format!("Content-Type: {content}\r\n"), b"no such page");
        script.client_says(post("s.S/A", UNARY, b"{}")).server_says(&answered[..answered.len() - 4]);
        script.ends(Close::Reset).expect(&[line]);
    }
}

#[test]
fn a_call_without_an_answer_has_no_status() {
    let mut script = Script::server();
    script.client_says(post("s.S/A", WEB, &frame(0, b"hi"))).ends(Close::Fin);
    script.expect(&["grpc s.S/A - >1 [closed]"]);
}

#[test]
fn bodies_are_wanted_of_calls_alone() {
    let mut script = Script::server();
    script.client_says(post("a", JSON, b"{}")).server_says(answer(200, JSON, b"{}"));
    assert!(!script.feed.parser().deep());
    script.client_says(post("s.S/A", WEB, &frame(0, b"hi")));
    assert!(script.feed.parser().deep());
}
