//! One claim each.

use super::script::{expect, feed, lines};
use super::talk::{CLIENT, SERVER, Talk, frame, message};
use crate::contract::{KernelTime, Role};
use crate::http2::frame::{flag, kind};
use crate::proof::{Heals, Proof};

#[test]
fn a_request_and_its_answer_are_an_exchange() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a").headers(SERVER, 1, false, &[(":status", "200"), ("server", "x")]).data(SERVER, 1, true, b"hello");
    talk.get(3, "/b").headers(SERVER, 3, true, &[(":status", "404")]);
    expect(&talk, &["GET /a shop.example 200 >0 <5", "GET /b shop.example 404 >0 <0"]);
}

#[test]
fn streams_are_answered_in_any_order() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a").get(3, "/b").get(5, "/c");
    talk.headers(SERVER, 5, true, &[(":status", "205")]);
    talk.headers(SERVER, 1, false, &[(":status", "201")]).headers(SERVER, 3, true, &[(":status", "203")]);
    talk.data(SERVER, 1, true, b"x");
    expect(&talk, &["GET /c shop.example 205 >0 <0", "GET /b shop.example 203 >0 <0", "GET /a shop.example 201 >0 <1"]);
}

#[test]
fn a_unary_call_has_method_and_status() {
    let mut talk = Talk::greeted();
    talk.unary(1, "/shop.v1.Cart/Add", 10, 0, "0").unary(3, "/shop.v1.Cart/Get", 0, 300, "5");
    expect(
        &talk,
        &["grpc shop.v1.Cart/Add shop.example:50051 0 >1 <1", "grpc shop.v1.Cart/Get shop.example:50051 5 >1 <1"],
    );
}

#[test]
fn messages_of_a_stream_are_counted_over_frames() {
    let mut talk = Talk::greeted();
    let three = [message(5), message(70), message(0)].concat();
    talk.call(1, "/s.S/Chat").data(CLIENT, 1, false, &three[..7]).data(CLIENT, 1, false, &three[7..20]);
    talk.answer(1).data(SERVER, 1, false, &message(1)).data(CLIENT, 1, true, &three[20..]).status(1, "0");
    expect(&talk, &["grpc s.S/Chat shop.example:50051 0 >3 <1 stream"]);
}

#[test]
fn trailers_only_is_an_answer() {
    let mut talk = Talk::greeted();
    talk.call(1, "/s.S/No").data(CLIENT, 1, true, &message(1));
    talk.headers(SERVER, 1, true, &[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]);
    expect(&talk, &["grpc s.S/No shop.example:50051 12 >1 <0"]);
}

#[test]
fn an_answer_without_a_status_means_what_its_http_status_says() {
    let mut talk = Talk::greeted();
    for (id, http) in [(1, "503"), (3, "401"), (5, "200"), (7, "404")] {
        talk.call(id, "/s.S/M").data(CLIENT, id, true, &message(1));
        talk.headers(SERVER, id, true, &[(":status", http), ("content-type", "text/html")]);
    }
    expect(
        &talk,
        &[
            "grpc s.S/M shop.example:50051 14 >1 <0",
            "grpc s.S/M shop.example:50051 16 >1 <0",
            "grpc s.S/M shop.example:50051 2 >1 <0",
            "grpc s.S/M shop.example:50051 12 >1 <0",
        ],
    );
}

#[test]
fn a_reset_ends_a_stream() {
    let mut talk = Talk::greeted();
    talk.call(1, "/s.S/M").data(CLIENT, 1, true, &message(1)).reset(CLIENT, 1, 8);
    talk.call(3, "/s.S/M").data(CLIENT, 3, true, &message(1)).reset(SERVER, 3, 7);
    talk.get(5, "/a").reset(SERVER, 5, 2);
    talk.get(7, "/b").headers(SERVER, 7, false, &[(":status", "200")]).reset(CLIENT, 7, 8);
    expect(
        &talk,
        &[
            "grpc s.S/M shop.example:50051 1 >1 <?",
            "grpc s.S/M shop.example:50051 14 >1 <0",
            "GET /a shop.example - >0 <0 [closed]",
            "GET /b shop.example 200 >0 <? [closed]",
        ],
    );
}

#[test]
fn a_reset_by_either_side_is_when_a_call_ended() {
    for who in [CLIENT, SERVER] {
        let mut talk = Talk::greeted();
        talk.call(1, "/s.S/M").data(CLIENT, 1, true, &message(1)).get(3, "/meanwhile").reset(who, 1, 8);
        let feed = feed(&talk, Role::Server);
        let call = feed.done().next().expect("the call");
        let side = call.response.unwrap_or(call.request);
        assert_eq!((side.last.time, call.response.is_some()), (KernelTime(feed.now), who == SERVER));
        assert_eq!(call.cut_off, KernelTime(feed.now));
    }
}

#[test]
fn a_cancel_in_the_middle_of_an_answer_is_when_it_ended() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a").headers(SERVER, 1, false, &[(":status", "200")]).data(SERVER, 1, false, b"a part");
    talk.get(3, "/meanwhile").reset(CLIENT, 1, 8);
    let feed = feed(&talk, Role::Server);
    let cancelled = feed.done().next().expect("the request");
    assert!(cancelled.response.expect("a part").last.time < cancelled.cut_off);
    assert_eq!(cancelled.cut_off, KernelTime(feed.now));
}

#[test]
fn a_cancel_at_the_deadline_is_a_deadline_exceeded() {
    for (timeout, status) in [("3n", "4"), ("1S", "1")] {
        let mut talk = Talk::greeted();
        talk.headers(
            CLIENT,
            1,
            false,
            &[
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/s.S/Slow"),
                (":authority", "h"),
                ("content-type", "application/grpc"),
                ("grpc-timeout", timeout),
            ],
        );
        talk.data(CLIENT, 1, true, &message(1)).data(SERVER, 0, false, b"").said.pop();
        talk.say(SERVER, frame(kind::PING, 0, 0, &[0; 8])).say(CLIENT, frame(kind::PING, flag::ACK, 0, &[0; 8]));
        talk.reset(CLIENT, 1, 8);
        expect(&talk, &[&format!("grpc s.S/Slow h {status} >1 <?")]);
    }
}

#[test]
fn a_goaway_ends_the_streams_it_does_not_name() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a").call(3, "/s.S/M").get(5, "/b").go_away(SERVER, 1);
    talk.headers(SERVER, 1, true, &[(":status", "200")]);
    expect(
        &talk,
        &[
            "grpc s.S/M shop.example:50051 14 >? <?",
            "GET /b shop.example - >0 [closed]",
            "GET /a shop.example 200 >0 <0",
        ],
    );
}

#[test]
fn a_header_block_may_come_in_pieces_with_padding_and_priority() {
    let mut talk = Talk::greeted();
    let block = talk.client.block(&[(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "h")]);
    let (start, rest) = block.split_at(3);
    let mut first = vec![4, 0x80, 0, 0, 0, 16];
    first.extend(start);
    first.extend([0; 4]);
    let mut bytes = frame(kind::HEADERS, flag::END_STREAM | flag::PADDED | flag::PRIORITY, 1, &first);
    bytes.extend(frame(kind::CONTINUATION, 0, 1, &[]));
    bytes.extend(frame(kind::CONTINUATION, flag::END_HEADERS, 1, rest));
    talk.say(CLIENT, bytes);
    talk.headers(SERVER, 1, false, &[(":status", "103"), ("link", "x")]).headers(
        SERVER,
        1,
        false,
        &[(":status", "200")],
    );
    talk.say(SERVER, frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &[3, b'a', b'b', 0, 0, 0]));
    expect(&talk, &["GET /a h 200 >0 <2"]);
}

#[test]
fn a_pushed_stream_is_no_request_but_feeds_the_table() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a");
    let mut promise = 2_u32.to_be_bytes().to_vec();
    promise.extend(talk.server.block(&[(":method", "GET"), (":path", "/style.css"), ("x-pushed", "1")]));
    talk.say(SERVER, frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &promise));
    talk.headers(SERVER, 1, true, &[(":status", "201"), ("x-pushed", "1")]);
    talk.headers(SERVER, 2, true, &[(":status", "201"), ("x-pushed", "1")]);
    talk.get(3, "/b").headers(SERVER, 3, true, &[(":status", "201")]);
    expect(&talk, &["GET /a shop.example 201 >0 <0", "GET /b shop.example 201 >0 <0"]);
}

#[test]
fn a_thousand_streams_may_be_open_and_one_more_is_counted() {
    let mut talk = Talk::greeted();
    for id in 0..1025 {
        talk.get(2 * id + 1, &format!("/{id}"));
    }
    for id in (0..1025).rev() {
        talk.headers(SERVER, 2 * id + 1, true, &[(":status", "200")]);
    }
    let feed = feed(&talk, Role::Server);
    let lines = lines(&feed);
    assert_eq!(lines.len(), 1025);
    assert_eq!(lines[0], "GET /0 shop.example - >0 [evicted]");
    assert_eq!(lines[1], "GET /1024 shop.example 200 >0 <0");
    assert_eq!(lines[1024], "GET /1 shop.example 200 >0 <0");
}

#[test]
fn a_quiet_connection_holds_little() {
    let mut talk = Talk::greeted();
    for id in 0..200 {
        talk.unary(2 * id + 1, &format!("/s.S/M{id}"), 10, 10, "0");
    }
    let mut feed = feed(&talk, Role::Server);
    assert_eq!(feed.done().count(), 200);
    feed.tick();
    feed.tick();
    // A table of 4096 bytes by the RFC's count holds 80 paths of 10 bytes; each takes 3 bytes more.
    assert!(feed.parser().heap() <= 1280, "{}", feed.parser().heap());
}

#[test]
fn a_thousand_open_streams_hold_less_than_700_bytes_each() {
    let mut talk = Talk::greeted();
    for id in 0..1000 {
        let fields =
            [(":method", "POST"), (":scheme", "http"), (":path", "/shop.Cart/AddItem"), (":authority", "cart:8080")];
        let more = [("content-type", "application/grpc"), ("user-agent", "grpc-go/1.76.0"), ("te", "trailers")];
        talk.headers(CLIENT, 2 * id + 1, true, &[&fields[..], &more].concat());
    }
    let feed = feed(&talk, Role::Server);
    assert!(feed.parser().heap() <= 1000 * 700, "{}", feed.parser().heap());
}

#[test]
fn trace_context_is_read_from_the_request() {
    let mut talk = Talk::greeted();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    talk.headers(
        CLIENT,
        1,
        true,
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            (":authority", "h"),
            ("traceparent", parent),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ],
    );
    talk.headers(SERVER, 1, true, &[(":status", "200")]);
    let feed = feed(&talk, Role::Server);
    let done = feed.done().next().unwrap();
    let context = done.context.unwrap();
    assert_eq!(context.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(done.text.str(context.state.unwrap()), "a=1,b=2");
}

#[test]
fn the_preface_tells_the_roles_apart_whatever_was_supposed() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a").headers(SERVER, 1, true, &[(":status", "200")]);
    let mut feed = crate::fuzzing::Feed::new(&crate::http2::PROTOCOL, Some(Role::Client));
    super::script::say(&mut feed, &talk, Role::Server);
    assert_eq!(lines(&feed), ["GET /a shop.example 200 >0 <0"]);
    assert_eq!(feed.done().next().unwrap().role, Role::Server);
}

#[test]
fn an_upgraded_request_is_answered_on_stream_1() {
    let mut talk = Talk::new();
    let upgrade = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n";
    talk.say(CLIENT, upgrade.into());
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut first = switch.as_bytes().to_vec();
    first.extend(frame(kind::SETTINGS, 0, 0, &[]));
    talk.say(SERVER, first);
    talk.headers(SERVER, 1, false, &[(":status", "200")]).data(SERVER, 1, true, b"hello");
    talk.said.append(&mut Talk::greeted().said.drain(..1).collect());
    talk.unary(3, "/s.S/M", 1, 1, "0");
    let proof = Proof {
        protocol: &crate::http1::PROTOCOL,
        session: &talk.session(),
        joined: Heals::Unpromised,
        lost: Heals::Unpromised,
        needed: &[],
        secrets: &[],
    };
    let truth = proof.truth();
    assert_eq!(truth.len(), 2);
    let value = |at: usize, name| truth[at].value(name).unwrap_or_default();
    assert_eq!([value(0, "target"), value(0, "status"), value(0, "response_body")], ["/a", "200", "5"]);
    assert_eq!([value(1, "method"), value(1, "status")], ["s.S/M", "0"]);
    proof.hold();
}

#[test]
fn grpc_web_and_connect_end_in_their_bodies() {
    let framed = |flag: u8, bytes: &[u8]| [&[flag], &(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let call = |kind: &str, answer: &[u8], http: &str| {
        let mut talk = Talk::greeted();
        let version = [("connect-protocol-version", "1")];
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/s.S/M"),
            (":authority", "h"),
            ("content-type", kind),
        ];
        fields.extend(&version[..usize::from(!kind.contains("grpc"))]);
        talk.headers(CLIENT, 1, false, &fields).data(CLIENT, 1, true, &message(3));
        talk.headers(SERVER, 1, false, &[(":status", http), ("content-type", kind)]).data(SERVER, 1, true, answer);
        talk
    };
    let web = [message(2), framed(0x80, b"grpc-status: 7\r\n")].concat();
    expect(&call("application/grpc-web+proto", &web, "200"), &["grpc s.S/M h 7 >1 <1"]);
    let stream = [message(2), message(2), framed(2, b"{\"error\":{\"code\":\"aborted\"}}")].concat();
    expect(&call("application/connect+json", &stream, "200"), &["connectrpc s.S/M h 10 >1 <2 stream"]);
    expect(&call("application/json", b"{}", "200"), &["connectrpc s.S/M h 0 >1 <1"]);
    expect(&call("application/json", b"{\"code\":\"not_found\"}", "404"), &["connectrpc s.S/M h 5 >1 <?"]);
    expect(&call("application/proto", b"<html>", "502"), &["connectrpc s.S/M h 14 >1 <?"]);
}
