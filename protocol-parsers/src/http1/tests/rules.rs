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

#[test]
fn a_pipeline_is_answered_in_its_order() {
    for mut c in [Script::server(), Script::client()] {
        c.client_says("GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n");
        c.server_says(OK).server_says("HTTP/1.1 404 No\r\nContent-Length: 7\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        c.expect(&["GET /1 200 >0 <2", "HEAD /2 404 >0 <0", "GET /3 204 >0 <0"]);
    }
}

#[test]
fn a_pipeline_too_deep_is_given_up_and_the_connection_goes_on() {
    let mut c = Script::server();
    (0..257).for_each(|_| _ = c.client_says(GET));
    assert_eq!(c.exchanges()[..256], vec!["GET /a - >0 [desync]"; 256]);
    assert_eq!(c.exchanges()[256..], ["GET /a - >? [desync]"]);
    c.server_says(OK).client_says(GET).server_says(OK).client_says(GET).server_says(OK).ends(Close::Fin);
    assert_eq!(c.exchanges().split_off(257), ["GET /a 200 >0 <2", "GET /a 200 >0 <2"]);
}

#[test]
fn interim_responses_announce_and_the_final_one_answers() {
    let mut c = Script::client();
    c.client_says("PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    c.server_says("HTTP/1.1 100 Continue\r\n\r\n").client_says("body");
    c.server_says("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        .server_says("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(c.log(), ["begun 0 at 1", "answered 0 at 5", "done 0 PUT /e 201 >4 <0"]);
}

#[test]
fn an_early_response_ends_the_exchange_for_the_server_at_once_and_for_the_client_with_its_request() {
    let request = "POST /big HTTP/1.1\r\nContent-Length: 8\r\n\r\n1234";
    let early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    let mut server = Script::server();
    server.client_says(request).server_says(early).expect(&["POST /big 413 >? <0"]);
    server.client_says("5678").client_says(GET).server_says(OK).expect(&["POST /big 413 >? <0", "GET /a 200 >0 <2"]);

    let mut client = Script::client();
    client.client_says(request).server_says(early).expect(&[]);
    client.client_says("5678").expect(&["POST /big 413 >8 <0"]);
    let done = client.feed.done().next().expect("an exchange");
    assert_eq!((done.request.last.time.0, done.response.map(|side| side.last.time.0)), (3, Some(2)));
    client.client_says(GET).server_says(OK).expect(&["POST /big 413 >8 <0", "GET /a 200 >0 <2"]);

    let mut client = Script::client();
    client.client_says(request).server_says(early).ends(Close::Fin).expect(&["POST /big 413 >? <0"]);
}

#[test]
fn some_responses_have_no_body_whatever_their_headers_say() {
    for (method, status) in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")] {
        let mut c = Script::server();
        c.client_says(format!("{method} /n HTTP/1.1\r\n\r\n"));
        c.server_says(format!("HTTP/1.1 {status}\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"));
        c.client_says(GET).server_says(OK);
        c.expect(&[&format!("{method} /n {} >0 <0", &status[..3]), "GET /a 200 >0 <2"]);
    }
}

#[test]
fn chunked_as_the_last_coding_beats_a_length() {
    let mut c = Script::server();
    c.client_says(
        "POST /c HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    );
    c.server_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n");
    c.expect(&["POST /c 200 >5 <1"]);
    let mut c = Script::server();
    c.client_says(GET)
        .server_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: 1\r\n\r\nabc");
    c.expect(&[]).server_closes().expect(&["GET /a 200 >0 <3"]);
}

#[test]
fn equal_lengths_are_one_and_different_ones_a_contradiction() {
    let mut c = Script::server();
    c.client_says(GET).server_says("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi");
    c.expect(&["GET /a 200 >0 <2"]);
    for lengths in
        ["Content-Length: 2\r\nContent-Length: 3", "Content-Length: 2, 3", "Content-Length: -1", "Content-Length: "]
    {
        let mut c = Script::server();
        c.client_says(GET).server_says(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nhi"));
        c.expect(&["GET /a 200 >0 <? [desync]"]);
        let mut c = Script::server();
        c.client_says(format!("POST /b HTTP/1.1\r\n{lengths}\r\n\r\nhi")).server_says(OK);
        c.expect(&["POST /b 200 >? <2 [desync]"]);
        c.client_says(GET).server_says(OK).client_says(GET).server_says(OK).ends(Close::Fin);
        assert_eq!(c.exchanges()[1..], ["GET /a 200 >0 <2", "GET /a 200 >0 <2"]);
    }
}

#[test]
fn odd_heads_are_read() {
    for (request, target) in [
        ("\r\n\r\nGET /crlf HTTP/1.1\r\n\r\n", "/crlf"),
        ("GET /lf HTTP/1.1\nHost: x\n\n", "/lf"),
        ("GET http://x/abs HTTP/1.1\r\nHost: x\r\n\r\n", "http://x/abs"),
        ("GET /\u{fc} HTTP/1.1\r\nX: \u{fc}\r\n\r\n", "/\u{fc}"),
        ("GET /fold HTTP/1.1\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", "/fold"),
        ("GET /space HTTP/1.1\r\nbad name: a\r\nHost: x\r\n\r\n", "/space"),
    ] {
        let mut c = Script::server();
        c.client_says(request).server_says("HTTP/1.1 200\r\nX: a\r\n\tb\r\nContent-Length: 1\r\n\r\n1");
        c.expect(&[&format!("GET {target} 200 >0 <1")]);
    }
}

#[test]
fn the_address_of_the_first_client_is_kept_as_sent() {
    for (header, address) in [
        ("Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
        ("Forwarded: proto=http; For=\"[2001:db8::1]:4711\", for=x", Some("[2001:db8::1]:4711")),
        ("Forwarded: for=unknown", None),
        ("Forwarded: for=_hidden", None),
        ("X-Forwarded-For: 10.0.0.1 , 10.0.0.2", Some("10.0.0.1")),
        ("X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.9", Some("10.0.0.9")),
        ("X-Forwarded-For: ", None),
    ] {
        let mut c = Script::server();
        c.client_says(format!("GET / HTTP/1.1\r\n{header}\r\n\r\n")).server_says(OK);
        let done = c.feed.done().next().expect("an exchange");
        let Details::Http(http) = done.details else { panic!("not HTTP") };
        assert_eq!(http.forwarded_for.map(|span| done.text.str(span)), address, "{header}");
    }
}

#[test]
fn two_traceparents_are_none() {
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    for (headers, known) in
        [(parent.to_owned(), true), (parent.repeat(2), false), ("tracestate: a=b\r\n".to_owned(), false)]
    {
        let mut c = Script::server();
        c.client_says(format!("GET / HTTP/1.1\r\n{headers}\r\n")).server_says(OK);
        assert_eq!(c.feed.done().next().expect("an exchange").context.is_some(), known);
    }
}

#[test]
fn what_is_an_error_depends_on_the_side() {
    for (status, server, client) in
        [(302, Outcome::Ok, Outcome::Ok), (404, Outcome::Ok, Outcome::Error), (500, Outcome::Error, Outcome::Error)]
    {
        for (mut c, outcome) in [(Script::server(), server), (Script::client(), client)] {
            c.client_says(GET).server_says(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!(c.feed.done().next().expect("an exchange").outcome, Some(outcome), "{status}");
        }
    }
}

#[test]
fn an_aborted_request_is_an_exchange_without_status() {
    let mut c = Script::server();
    c.client_says("POST /up HTTP/1.1\r\nContent-Length: 10\r\n\r\n123").client_closes().expect(&[]);
    c.ends(Close::Fin).expect(&["POST /up - >? [closed]"]);
    assert_eq!(c.feed.done().next().expect("an exchange").outcome, None);

    let mut c = Script::client();
    c.client_says(GET).ends(Close::Reset).expect(&["GET /a - >0 [closed]"]);
    let mut c = Script::server();
    c.client_says("GET /never HTTP/1.1\r\nHost").ends(Close::Fin).expect(&[]);
    let mut c = Script::server();
    c.client_says(GET).server_says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").ends(Close::Reset);
    c.expect(&["GET /a 200 >0 <? [closed]"]);
}

#[test]
fn who_ends_a_connection_names_the_reason() {
    for (how, reason) in [(Close::Evicted, "evicted"), (Close::Shutdown, "shutdown"), (Close::Unknown, "closed")] {
        let mut c = Script::server();
        c.client_says(GET).ends(how).expect(&[&format!("GET /a - >0 [{reason}]")]);
    }
}

#[test]
fn an_upgrade_leads_to_what_it_names() {
    for (name, next) in [("websocket", "websocket"), ("WebSocket", "websocket"), ("other/1", "upgrade")] {
        let mut c = Script::client();
        c.client_says(format!("GET /w HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {name}\r\n\r\n"));
        c.server_says(format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {name}\r\n\r\n\x01\x02"));
        assert_eq!(c.feed.next, Some(Next::Opaque(next)));
        c.expect(&["GET /w 101 >0 <0"]);
    }
}

#[test]
fn a_refused_tunnel_is_an_exchange_like_any_other() {
    let mut c = Script::client();
    let connect = "CONNECT x:443 HTTP/1.1\r\n\r\n";
    c.client_says(connect).server_says("HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nno").client_says(connect);
    c.server_says("HTTP/1.1 200 OK\r\n\r\n").expect(&["CONNECT x:443 407 >0 <2", "CONNECT x:443 200 >0 <0"]);
    assert_eq!(c.feed.next, Some(Next::Detect));
}

#[test]
fn the_role_is_found_from_who_asks_and_a_wrong_one_turned_round() {
    for side in [Role::Client, Role::Server] {
        for told in [None, Some(Role::Client), Some(Role::Server)] {
            let mut c = Script::of(side, told);
            c.client_says(&GET[..9]).client_says(&GET[9..]).server_says(OK).client_says(GET).server_says(OK);
            c.expect(&["GET /a 200 >0 <2"; 2]);
            assert!(c.feed.done().all(|done| done.role == side));
        }
    }
}

#[test]
fn joined_in_the_middle_it_begins_with_the_next_request() {
    for told in [None, Some(Role::Server)] {
        let mut c = Script::of(Role::Server, told);
        c.server_says("the rest of a body")
            .client_says(GET)
            .server_says(OK)
            .client_says(GET)
            .server_says(OK)
            .ends(Close::Fin);
        c.expect(&["GET /a 200 >0 <2"; 2]);
        let mut c = Script::of(Role::Server, told);
        c.server_says(OK).client_says(GET).server_says(OK).client_says(GET).server_says(OK).ends(Close::Fin);
        c.expect(&["GET /a 200 >0 <2"; 2]);
        let mut c = Script::of(Role::Server, told);
        c.client_says("the rest of an upload").server_says(OK).client_says(GET).server_says(OK).ends(Close::Fin);
        c.expect(&["GET /a 200 >0 <2"]);
    }
}

#[test]
fn a_response_to_nobody_is_no_exchange() {
    let mut c = Script::server();
    c.client_says(GET).server_says(OK).server_says("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
    c.ends(Close::Fin).expect(&["GET /a 200 >0 <2"]);
}

#[test]
fn a_lost_response_costs_its_exchange_alone() {
    let mut c = Script::server();
    c.client_says(GET).client_says("GET /b HTTP/1.1\r\n\r\n").server_hole(40, Lost::Gap).server_says(OK);
    c.client_says("GET /c HTTP/1.1\r\n\r\n")
        .server_says(OK)
        .client_says("GET /d HTTP/1.1\r\n\r\n")
        .server_says(OK)
        .ends(Close::Fin);
    c.expect(&["GET /a - >0 [gap]", "GET /b 200 >0 <2", "GET /c 200 >0 <2", "GET /d 200 >0 <2"]);
}

#[test]
fn a_lost_request_leaves_a_response_to_nobody() {
    let mut c = Script::server();
    c.client_says(GET)
        .server_says(OK)
        .server_says(OK)
        .client_hole(29, Lost::Gap)
        .client_says("GET /c HTTP/1.1\r\n\r\n");
    c.server_says(OK).ends(Close::Fin).expect(&["GET /a 200 >0 <2", "GET /c 200 >0 <2"]);
}

#[test]
fn after_a_loss_exchanges_wait_for_the_second_next_request_or_an_idle_second() {
    let lost = |c: &mut Script| {
        c.client_hole(29, Lost::Gap).server_says(OK).client_says(GET).server_says(OK).expect(&[]);
    };
    let mut c = Script::server();
    lost(&mut c);
    c.client_says(GET).server_says(OK).expect(&[]).client_says(GET).expect(&["GET /a 200 >0 <2"; 2]);
    let mut c = Script::server();
    lost(&mut c);
    c.feed.tick();
    c.expect(&[]);
    c.feed.tick();
    c.expect(&["GET /a 200 >0 <2"]);
}

#[test]
fn a_response_too_many_takes_back_what_was_on_trial() {
    // /1 and /2 came together and /1 was lost: what answers it must not be given to /2 or /3.
    let mut c = Script::server();
    c.client_hole(18, Lost::Gap).client_says("GET /2 HTTP/1.1\r\n\r\n").server_says(OK);
    c.client_says("GET /3 HTTP/1.1\r\n\r\n").server_says(OK).server_says(OK).ends(Close::Fin);
    assert!(c.exchanges().iter().all(|line| line.ends_with("- >0 [gap]")), "{:?}", c.exchanges());
}

#[test]
fn a_chunked_response_that_was_cut_ends_at_the_next_request() {
    let mut c = Script::server();
    c.client_says(GET)
        .server_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5000\r\nxxx")
        .server_hole(30_000, Lost::Cut);
    c.server_says("more").expect(&[]);
    c.client_says("GET /b HTTP/1.1\r\n\r\n").server_says(OK).expect(&["GET /a 200 >0 <?", "GET /b 200 >0 <2"]);
    let first = c.feed.done().next().and_then(|done| done.response).expect("answered");
    assert_eq!((first.last.time.0, first.bytes), (4, 56 + 30_000 + 4));
}

#[test]
fn a_head_longer_than_may_be_kept_is_truncated() {
    let mut c = Script::server();
    c.client_says(format!("GET /long HTTP/1.1\r\nHost: x\r\nCookie: {}", "c".repeat(16 * 1024)));
    c.client_hole(5000, Lost::Cut).server_says(OK).expect(&["GET /long 200 >? <2 [truncated]"]);
    c.client_says(GET).server_says(OK).ends(Close::Fin);
    assert_eq!(c.exchanges()[1..], ["GET /a 200 >0 <2"]);
}

#[test]
fn what_is_not_http_is_refused() {
    let mut c = Script::server();
    c.client_says(GET).server_says(OK).client_says("nonsense that is no request\r\n\r\n");
    c.client_says(GET).server_says(OK).ends(Close::Fin);
    assert_eq!(c.feed.refused, ["not HTTP/1"]);
    c.expect(&["GET /a 200 >0 <2"; 2]);
}
