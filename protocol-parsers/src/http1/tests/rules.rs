//! One test per rule.

use super::script::Script;
use crate::contract::{Close, Lost, Role, Wants};
use crate::exchange::{Details, Next, Outcome};

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_request_and_its_response_are_one_exchange_for_either_side() {
    for mut c in [Script::server(), Script::client()] {
        c.client_says(GET).server_says(OK);
        assert_eq!(c.log(), ["begun 0 at 1", "answered 0 at 2", "done 0 GET /a 200 >0 <2"]);
    }
}

#[test]
fn the_facts_of_a_head_are_kept_and_no_others() {
    let mut c = Script::server();
    c.client_says(
        "POST /p?q=1 HTTP/1.0\r\nhOST: example.org:80\r\nUser-Agent: curl/8\r\nCookie: secret\r\nAuthorization: Basic c2VjcmV0\r\n\
         X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         tracestate: a=1\r\nTraceState: b=2\r\nContent-Length: 3\r\n\r\nabc",
    );
    c.server_says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let done = c.feed.done().next().expect("an exchange");
    let Details::Http(http) = done.details else { panic!() };
    let text = |span: Option<_>| done.text.str(span.expect("a span"));
    assert_eq!(text(http.method), "POST");
    assert_eq!(text(http.target), "/p?q=1");
    assert_eq!(http.version.map(|version| version.name()), Some("1.0"));
    assert_eq!(text(http.host), "example.org:80");
    assert_eq!(text(http.user_agent), "curl/8");
    assert_eq!(text(http.forwarded_for), "10.0.0.1");
    assert_eq!((http.status, http.request_body, http.response_body), (Some(503), Some(3), Some(0)));
    let context = done.context.expect("context");
    assert_eq!((context.flags, text(context.state)), (1, "a=1,b=2"));
    assert_eq!(done.outcome, Some(Outcome::Error));
    assert!(!format!("{:?}", done.text).to_lowercase().contains("secret"));
    assert!(!format!("{:?}", done.text).contains("c2VjcmV0"));
}

#[test]
fn a_response_until_close_ends_with_the_close() {
    let mut c = Script::server();
    c.client_says(GET).server_says("HTTP/1.0 200 OK\r\n\r\nsome").server_says("thing").expect(&[]);
    c.server_closes().expect(&["GET /a 200 >0 <9"]);
    let response = c.feed.done().next().and_then(|done| done.response).expect("answered");
    assert_eq!((response.first.time.0, response.last.time.0, response.bytes), (2, 4, 28));
    let mut c = Script::server();
    c.client_says(GET).server_says("HTTP/1.0 200 OK\r\n\r\nsome").ends(Close::Reset);
    c.expect(&["GET /a 200 >0 <? [closed]"]);
}

#[test]
fn inside_a_counted_body_only_lengths_are_wanted() {
    let mut c = Script::server();
    c.client_says("PUT /b HTTP/1.1\r\nContent-Length: 100\r\n\r\n0123456789");
    assert_eq!(c.feed.parser().wants(c.requests()), Wants::Skip(90));
    assert_eq!(c.feed.parser().wants(c.responses()), Wants::Bytes);
    c.client_hole(90, Lost::Cut);
    assert_eq!(c.feed.parser().wants(c.requests()), Wants::Bytes);
    c.server_says(OK).expect(&["PUT /b 200 >100 <2"]);
}

#[test]
fn a_switch_ends_the_exchange_and_the_parser() {
    let mut c = Script::of(Role::Client, None);
    c.client_says("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n").client_says("\x16\x03\x01");
    c.server_says("HTTP/1.1 200 Connection established\r\n\r\n\x16\x03");
    c.expect(&["CONNECT x:443 200 >0 <0"]);
    assert_eq!(c.feed.next, Some(Next::Detect));
}

#[test]
fn a_body_sent_by_sendfile_is_whole() {
    let mut c = Script::server();
    c.client_says(GET).server_says("HTTP/1.1 200 OK\r\nContent-Length: 612\r\n\r\n").server_hole(612, Lost::Cut);
    c.expect(&["GET /a 200 >0 <612"]);
    let response = c.feed.done().next().and_then(|done| done.response).expect("answered");
    assert_eq!((response.bytes, response.last.time.0), (40 + 612, 3));
    c.client_says(GET).server_says(OK);
    c.expect(&["GET /a 200 >0 <612", "GET /a 200 >0 <2"]);
}

#[test]
fn a_client_that_half_closes_is_still_answered() {
    let mut c = Script::server();
    c.client_says(GET).client_closes().server_says(OK).expect(&["GET /a 200 >0 <2"]);
}
