//! Names, status and attributes of spans, by a table of exchanges.

use std::fmt::Write;

use sidelight_protocol_parsers::{DbSystem, HttpVersion, Incomplete, Outcome, Role, RpcSystem, Shape};

use super::{attributes::AttrValue, db::Databases, rpc};
use crate::{
    model::{Endpoint, Span},
    testing::{Case, DbCase, RpcCase, inet},
};

fn shown(span: &Span) -> String {
    let mut text = String::new();
    span.name(&mut |piece| text.push_str(piece));
    writeln!(text, " ({:?}, error {:?})", span.kind, span.error()).unwrap();
    span.visit_attributes(&mut |key, value| {
        write!(text, "  {key}=").unwrap();
        match value {
            AttrValue::Str(_) | AttrValue::Url(_) | AttrValue::Query(_) => {
                value.text(&mut |piece| text.push_str(piece))
            }
            AttrValue::Int(number) => write!(text, "{number}").unwrap(),
            AttrValue::Double(number) => write!(text, "{number}").unwrap(),
            AttrValue::Reasons(reasons) => write!(text, "{:?}", reasons.iter().collect::<Vec<_>>()).unwrap(),
        }
        text.push('\n');
    });
    text
}

macro_rules! spans {
    ($($name:ident: $case:expr => $expected:literal;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(shown(&$case.span()), @$expected);
        }
    )*};
}

spans! {
    a_server_has_all_its_attributes: Case {
        agent: Some("curl/8.14"),
        routes: vec!["/users/{id}"],
        bodies: [Some(10), Some(20)],
        ..Case::server("POST", "/users/7?a=1&sig=secret")
    } => r"
        POST /users/{id} (Server, error None)
          http.request.method=POST
          url.scheme=http
          url.path=/users/7
          url.query=a=1&sig=REDACTED
          http.route=/users/{id}
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          user_agent.original=curl/8.14
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          http.request.body.size=10
          http.response.body.size=20
          sidelight.time_to_first_byte=0.004
    ";
    a_client_has_all_its_attributes: Case {
        agent: Some("curl/8.14"),
        routes: vec!["/users/{id}"],
        bodies: [None, Some(20)],
        ..Case::client("GET", "/users/7?a=1&sig=secret")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=shop.example
          server.port=8080
          url.full=http://shop.example:8080/users/7?a=1&sig=REDACTED
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          http.response.body.size=20
          sidelight.time_to_first_byte=0.004
    ";
    tls_makes_the_scheme_https_and_a_clients_port_443: Case {
        tls: true, host: Some("shop.example"), ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=shop.example
          server.port=443
          url.full=https://shop.example/
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_servers_port_is_absent_where_the_host_has_none: Case {
        tls: true, host: Some("shop.example"), ..Case::server("GET", "/")
    } => r"
        GET (Server, error None)
          http.request.method=GET
          url.scheme=https
          url.path=/
          server.address=shop.example
          client.address=192.0.2.7
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    an_unknown_method_is_other_and_its_span_is_http: Case::server("get", "/") => r"
        HTTP (Server, error None)
          http.request.method=_OTHER
          http.request.method_original=get
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    an_unknown_method_keeps_the_route_in_its_name: Case { routes: vec!["/*"], ..Case::server("PURGE", "/x") } => r"
        HTTP /* (Server, error None)
          http.request.method=_OTHER
          http.request.method_original=PURGE
          url.scheme=http
          url.path=/x
          http.route=/*
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_lost_head_leaves_names_out: Case {
        method: None, target: None, host: None, version: None,
        incomplete: vec![Incomplete::Truncated], ..Case::server("GET", "/")
    } => r"
        HTTP (Server, error None)
          url.scheme=http
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.time_to_first_byte=0.004
          sidelight.incomplete=[Truncated]
    ";
    an_absolute_target_beats_host_connection_and_hides_credentials: Case {
        host: Some("ignored:1"), ..Case::client("GET", "HTTPS://me:pw@api.example/v1?X-Amz-Signature=1")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=api.example
          server.port=443
          url.full=https://REDACTED:REDACTED@api.example/v1?X-Amz-Signature=REDACTED
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    an_absolute_target_of_a_server: Case {
        routes: vec!["/"], ..Case::server("GET", "http://shop.example:81?q")
    } => r"
        GET / (Server, error None)
          http.request.method=GET
          url.scheme=http
          url.path=/
          url.query=q
          http.route=/
          server.address=shop.example
          server.port=81
          client.address=192.0.2.7
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_client_whose_head_was_cut_does_not_fall_back: Case {
        host: None, incomplete: vec![Incomplete::Truncated], ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
          sidelight.incomplete=[Truncated]
    ";
    connect_names_its_target_but_no_url: Case::client("CONNECT", "api.example:443") => r"
        CONNECT (Client, error None)
          http.request.method=CONNECT
          server.address=api.example
          server.port=443
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    asterisk_is_the_path_of_a_server: Case::server("OPTIONS", "*") => r"
        OPTIONS (Server, error None)
          http.request.method=OPTIONS
          url.scheme=http
          url.path=*
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    asterisk_is_no_path_in_a_clients_url: Case::client("OPTIONS", "*") => r"
        OPTIONS (Client, error None)
          http.request.method=OPTIONS
          server.address=shop.example
          server.port=8080
          url.full=http://shop.example:8080
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_client_without_host_falls_back_to_its_peer: Case {
        host: None, version: Some(HttpVersion::H10), remote: inet("[2001:db8::1]:81"), ..Case::client("GET", "/x")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=2001:db8::1
          server.port=81
          url.full=http://[2001:db8::1]:81/x
          http.response.status_code=200
          network.peer.address=2001:db8::1
          network.peer.port=81
          network.protocol.version=1.0
          sidelight.time_to_first_byte=0.004
    ";
    a_server_without_host_has_no_address: Case { host: None, ..Case::server("GET", "/x") } => r"
        GET (Server, error None)
          http.request.method=GET
          url.scheme=http
          url.path=/x
          client.address=192.0.2.7
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_forwarded_address_is_the_clients: Case {
        forwarded: Some("\"[2001:db8::5]:77\""), ..Case::server("GET", "/")
    } => r"
        GET (Server, error None)
          http.request.method=GET
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          client.address=2001:db8::5
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_hidden_forwarded_address_is_absent: Case { forwarded: Some("unknown"), ..Case::server("GET", "/") } => r"
        GET (Server, error None)
          http.request.method=GET
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          http.response.status_code=200
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_404_is_an_error_of_the_client: Case { status: Some(404), ..Case::client("GET", "/") } => r"
        GET (Client, error Some(Status(404)))
          http.request.method=GET
          server.address=shop.example
          server.port=8080
          url.full=http://shop.example:8080/
          http.response.status_code=404
          error.type=404
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_404_is_no_error_of_the_server: Case { status: Some(404), ..Case::server("GET", "/") } => r"
        GET (Server, error None)
          http.request.method=GET
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          http.response.status_code=404
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    a_503_is_an_error_of_the_server: Case { status: Some(503), ..Case::server("GET", "/") } => r"
        GET (Server, error Some(Status(503)))
          http.request.method=GET
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          http.response.status_code=503
          error.type=503
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    an_aborted_request_has_no_status: Case {
        status: None, response: false, incomplete: vec![Incomplete::Closed], ..Case::server("GET", "/")
    } => r"
        GET (Server, error Some(Closed))
          http.request.method=GET
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          client.address=192.0.2.7
          error.type=closed
          network.peer.address=192.0.2.7
          network.peer.port=40000
          network.protocol.version=1.1
          sidelight.incomplete=[Closed]
    ";
    a_body_cut_off_is_an_error_despite_its_status: Case {
        incomplete: vec![Incomplete::Closed], ..Case::client("GET", "/")
    } => r"
        GET (Client, error Some(Closed))
          http.request.method=GET
          server.address=shop.example
          server.port=8080
          url.full=http://shop.example:8080/
          http.response.status_code=200
          error.type=closed
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
          sidelight.incomplete=[Closed]
    ";
    what_we_missed_is_no_error: Case {
        status: None, response: false, incomplete: vec![Incomplete::Gap, Incomplete::Evicted], ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=shop.example
          server.port=8080
          url.full=http://shop.example:8080/
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=1.1
          sidelight.incomplete=[Evicted, Gap]
    ";
    unix_sockets_have_a_name_and_no_port: Case {
        remote: Endpoint::Unix("/run/app.sock".to_owned()), host: Some("localhost"), ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=localhost
          server.port=80
          url.full=http://localhost/
          http.response.status_code=200
          network.peer.address=/run/app.sock
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    an_unnamed_unix_peer_is_absent: Case { remote: Endpoint::Unix(String::new()), ..Case::server("GET", "/") } => r"
        GET (Server, error None)
          http.request.method=GET
          url.scheme=http
          url.path=/
          server.address=shop.example
          server.port=8080
          http.response.status_code=200
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    an_unknown_peer_is_absent: Case { remote: Endpoint::Unknown, host: None, ..Case::client("GET", "/") } => r"
        GET (Client, error None)
          http.request.method=GET
          http.response.status_code=200
          network.protocol.version=1.1
          sidelight.time_to_first_byte=0.004
    ";
    http2s_scheme_decides_whatever_the_connection_looks_like: Case {
        scheme: Some("https"), host: Some("shop.example"), version: Some(HttpVersion::H2), ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          http.request.method=GET
          server.address=shop.example
          server.port=443
          url.full=https://shop.example/
          http.response.status_code=200
          network.peer.address=198.51.100.9
          network.peer.port=8080
          network.protocol.version=2
          sidelight.time_to_first_byte=0.004
    ";
    a_call_of_a_server_has_all_its_attributes: Case::rpc(Role::Server, RpcCase::default()) => r"
        shop.Orders/Place (Server, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=OK
          server.address=orders.example
          server.port=50051
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.time_to_first_byte=0.004
    ";
    a_call_of_a_client_has_all_its_attributes: Case::rpc(Role::Client, RpcCase::default()) => r"
        shop.Orders/Place (Client, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=OK
          server.address=orders.example
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    ";
    a_call_without_authority_falls_back_to_the_clients_peer: Case::rpc(
        Role::Client, RpcCase { authority: None, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=OK
          server.address=198.51.100.9
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    ";
    a_call_whose_head_was_cut_does_not_fall_back: Case {
        incomplete: vec![Incomplete::Gap],
        ..Case::rpc(Role::Client, RpcCase { authority: None, method: None, status: None, ..RpcCase::default() })
    } => r"
        grpc (Client, error None)
          rpc.system.name=grpc
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
          sidelight.incomplete=[Gap]
    ";
    a_port_that_is_not_written_is_absent: Case::rpc(
        Role::Client, RpcCase { authority: Some("orders.example"), ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=OK
          server.address=orders.example
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    ";
    not_found_is_an_error_of_the_client: Case::rpc(Role::Client, RpcCase { status: Some(5), ..RpcCase::default() }) => r#"
        shop.Orders/Place (Client, error Some(Code("NOT_FOUND")))
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=NOT_FOUND
          error.type=NOT_FOUND
          server.address=orders.example
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    "#;
    not_found_is_no_error_of_the_server: Case {
        outcome: Some(Outcome::Ok), ..Case::rpc(Role::Server, RpcCase { status: Some(5), ..RpcCase::default() })
    } => r"
        shop.Orders/Place (Server, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=NOT_FOUND
          server.address=orders.example
          server.port=50051
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.time_to_first_byte=0.004
    ";
    unimplemented_is_an_error_of_the_server_and_keeps_the_method: Case::rpc(
        Role::Server, RpcCase { status: Some(12), ..RpcCase::default() }
    ) => r#"
        shop.Orders/Place (Server, error Some(Code("UNIMPLEMENTED")))
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=UNIMPLEMENTED
          error.type=UNIMPLEMENTED
          server.address=orders.example
          server.port=50051
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.time_to_first_byte=0.004
    "#;
    a_call_whose_connection_went_away_is_an_error_without_status: Case {
        response: false,
        incomplete: vec![Incomplete::Closed],
        ..Case::rpc(Role::Client, RpcCase { status: None, ..RpcCase::default() })
    } => r"
        shop.Orders/Place (Client, error Some(Closed))
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          error.type=closed
          server.address=orders.example
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.incomplete=[Closed]
    ";
    a_stream_counts_its_messages: Case::rpc(
        Role::Server, RpcCase { messages: [Some(3), Some(1000)], shape: Shape::Session, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Server, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=OK
          server.address=orders.example
          server.port=50051
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.rpc.request_messages=3
          sidelight.rpc.response_messages=1000
          sidelight.time_to_first_byte=0.004
    ";
    a_stream_whose_messages_were_not_all_seen_does_not_count_them: Case::rpc(
        Role::Server, RpcCase { messages: [Some(3), None], shape: Shape::Stream, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Server, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=OK
          server.address=orders.example
          server.port=50051
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.rpc.request_messages=3
          sidelight.time_to_first_byte=0.004
    ";
    connects_codes_are_its_own: Case::rpc(
        Role::Client, RpcCase { system: RpcSystem::Connect, status: Some(1), ..RpcCase::default() }
    ) => r#"
        shop.Orders/Place (Client, error Some(Code("canceled")))
          rpc.system.name=connectrpc
          rpc.method=shop.Orders/Place
          rpc.response.status_code=canceled
          error.type=canceled
          server.address=orders.example
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    "#;
    connect_has_no_code_for_success: Case::rpc(
        Role::Client, RpcCase { system: RpcSystem::Connect, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          rpc.system.name=connectrpc
          rpc.method=shop.Orders/Place
          server.address=orders.example
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    ";
    a_status_beyond_the_canonical_ones_is_absent: Case::rpc(
        Role::Client, RpcCase { status: Some(17), ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          rpc.system.name=grpc
          rpc.method=shop.Orders/Place
          server.address=orders.example
          server.port=50051
          network.peer.address=198.51.100.9
          network.peer.port=50051
          sidelight.time_to_first_byte=0.004
    ";
    a_query_of_a_client_has_all_its_attributes: Case {
        databases: Databases { returned_rows: true, ..Databases::default() },
        outcome: Some(Outcome::Ok),
        ..Case::db(Role::Client, DbCase::select())
    } => r"
        SELECT users (Client, error None)
          db.system.name=postgresql
          db.namespace=shop
          db.query.summary=SELECT users
          db.query.text=SELECT * FROM users WHERE id = ?
          db.response.returned_rows=3
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=5432
          sidelight.time_to_first_byte=0.004
    ";
    a_query_as_the_database_saw_it: Case::db(Role::Server, DbCase::select()) => r"
        SELECT users (Server, error None)
          db.system.name=postgresql
          db.namespace=shop
          db.query.summary=SELECT users
          db.query.text=SELECT * FROM users WHERE id = ?
          server.address=203.0.113.1
          server.port=8080
          network.peer.address=192.0.2.7
          network.peer.port=40000
          sidelight.time_to_first_byte=0.004
    ";
    query_texts_can_be_turned_off: Case {
        databases: Databases { query_text: false, ..Databases::default() }, ..Case::db(Role::Client, DbCase::select())
    } => r"
        SELECT users (Client, error None)
          db.system.name=postgresql
          db.namespace=shop
          db.query.summary=SELECT users
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=5432
          sidelight.time_to_first_byte=0.004
    ";
    a_code_of_the_database_is_its_error: Case {
        outcome: Some(Outcome::Error), ..Case::db(Role::Client, DbCase { status: Some("42P01"), ..DbCase::select() })
    } => r#"
        SELECT users (Client, error Some(Code("42P01")))
          db.system.name=postgresql
          db.namespace=shop
          db.query.summary=SELECT users
          db.query.text=SELECT * FROM users WHERE id = ?
          db.response.status_code=42P01
          error.type=42P01
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=5432
          sidelight.time_to_first_byte=0.004
    "#;
    a_failure_without_code_is_other: Case {
        outcome: Some(Outcome::Error), ..Case::db(Role::Client, DbCase::new(DbSystem::Mysql))
    } => r"
        mysql (Client, error Some(Other))
          db.system.name=mysql
          error.type=_OTHER
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=3306
          sidelight.time_to_first_byte=0.004
    ";
    a_code_of_success_is_no_error: Case {
        outcome: Some(Outcome::Ok), ..Case::db(Role::Client, DbCase { status: Some("01000"), ..DbCase::select() })
    } => r"
        SELECT users (Client, error None)
          db.system.name=postgresql
          db.namespace=shop
          db.query.summary=SELECT users
          db.query.text=SELECT * FROM users WHERE id = ?
          db.response.status_code=01000
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=5432
          sidelight.time_to_first_byte=0.004
    ";
    a_port_of_its_own_is_told: Case {
        remote: inet("198.51.100.9:3307"), ..Case::db(Role::Client, DbCase::new(DbSystem::Mariadb))
    } => r"
        mariadb (Client, error None)
          db.system.name=mariadb
          server.address=198.51.100.9
          server.port=3307
          network.peer.address=198.51.100.9
          network.peer.port=3307
          sidelight.time_to_first_byte=0.004
    ";
    a_database_behind_a_unix_socket: Case {
        remote: Endpoint::Unix("/run/redis.sock".to_owned()),
        ..Case::db(Role::Client, DbCase {
            operation: Some("HMSET"),
            namespace: Some("15"),
            query: Some("HMSET myhash field1 ? field2 ?"),
            ..DbCase::new(DbSystem::Redis)
        })
    } => r"
        HMSET 15 (Client, error None)
          db.system.name=redis
          db.namespace=15
          db.operation.name=HMSET
          db.query.text=HMSET myhash field1 ? field2 ?
          server.address=/run/redis.sock
          network.peer.address=/run/redis.sock
          sidelight.time_to_first_byte=0.004
    ";
    a_stored_procedure_is_the_target: Case::db(
        Role::Client,
        DbCase { operation: Some("FCALL"), procedure: Some("f"), namespace: Some("0"), ..DbCase::new(DbSystem::Redis) }
    ) => r"
        FCALL f (Client, error None)
          db.system.name=redis
          db.namespace=0
          db.operation.name=FCALL
          db.stored_procedure.name=f
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=6379
          sidelight.time_to_first_byte=0.004
    ";
    a_batch_has_its_size: Case::db(
        Role::Client, DbCase { operation: Some("BATCH"), batch: Some(3), ..DbCase::new(DbSystem::Redis) }
    ) => r"
        BATCH (Client, error None)
          db.system.name=redis
          db.operation.name=BATCH
          db.operation.batch.size=3
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=6379
          sidelight.time_to_first_byte=0.004
    ";
    a_batch_of_one_is_none: Case::db(
        Role::Client, DbCase { summary: Some("INSERT t"), batch: Some(1), ..DbCase::new(DbSystem::Mysql) }
    ) => r"
        INSERT t (Client, error None)
          db.system.name=mysql
          db.query.summary=INSERT t
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=3306
          sidelight.time_to_first_byte=0.004
    ";
    an_unknown_query_is_named_by_its_namespace: Case::db(
        Role::Client, DbCase { namespace: Some("shop"), ..DbCase::new(DbSystem::Postgresql) }
    ) => r"
        shop (Client, error None)
          db.system.name=postgresql
          db.namespace=shop
          server.address=198.51.100.9
          network.peer.address=198.51.100.9
          network.peer.port=5432
          sidelight.time_to_first_byte=0.004
    ";
}

#[test]
fn every_canonical_code_has_its_names_and_its_judgement() {
    let mut shown = String::new();
    for status in 0..=17 {
        let error = |role| {
            let span = Case::rpc(role, RpcCase { status: Some(status), ..RpcCase::default() }).span();
            span.error().is_some()
        };
        let [grpc, connect] = [RpcSystem::Grpc, RpcSystem::Connect].map(|system| rpc::code(system, status));
        let [client, server] = [Role::Client, Role::Server].map(error);
        writeln!(shown, "{status} {grpc:?} {connect:?} client {client} server {server}").unwrap();
    }
    insta::assert_snapshot!(shown, @r#"
        0 Some("OK") None client false server false
        1 Some("CANCELLED") Some("canceled") client true server false
        2 Some("UNKNOWN") Some("unknown") client true server true
        3 Some("INVALID_ARGUMENT") Some("invalid_argument") client true server false
        4 Some("DEADLINE_EXCEEDED") Some("deadline_exceeded") client true server true
        5 Some("NOT_FOUND") Some("not_found") client true server false
        6 Some("ALREADY_EXISTS") Some("already_exists") client true server false
        7 Some("PERMISSION_DENIED") Some("permission_denied") client true server false
        8 Some("RESOURCE_EXHAUSTED") Some("resource_exhausted") client true server false
        9 Some("FAILED_PRECONDITION") Some("failed_precondition") client true server false
        10 Some("ABORTED") Some("aborted") client true server false
        11 Some("OUT_OF_RANGE") Some("out_of_range") client true server false
        12 Some("UNIMPLEMENTED") Some("unimplemented") client true server true
        13 Some("INTERNAL") Some("internal") client true server true
        14 Some("UNAVAILABLE") Some("unavailable") client true server true
        15 Some("DATA_LOSS") Some("data_loss") client true server true
        16 Some("UNAUTHENTICATED") Some("unauthenticated") client true server false
        17 None None client false server false
    "#);
}
