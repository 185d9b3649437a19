//! The HTTP family.

use sidelight_protocol_parsers::{HttpVersion, Incomplete};

use super::{changed, spans, whole};
use crate::{
    model::Endpoint,
    testing::{Case, inet},
};

spans! { whole:
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
}

spans! { changed:
    tls_makes_the_scheme_https_and_a_clients_port_443: Case {
        tls: true, host: Some("shop.example"), ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          - server.port=8080
          - url.full=http://shop.example:8080/
          + server.port=443
          + url.full=https://shop.example/
    ";
    a_servers_port_is_absent_where_the_host_has_none: Case {
        tls: true, host: Some("shop.example"), ..Case::server("GET", "/")
    } => r"
        GET (Server, error None)
          - url.scheme=http
          - server.port=8080
          + url.scheme=https
    ";
    an_unknown_method_is_other_and_its_span_is_http: Case::server("get", "/") => r"
        HTTP (Server, error None)
          - http.request.method=GET
          + http.request.method=_OTHER
          + http.request.method_original=get
    ";
    an_unknown_method_keeps_the_route_in_its_name: Case { routes: vec!["/*"], ..Case::server("PURGE", "/x") } => r"
        HTTP /* (Server, error None)
          - http.request.method=GET
          - url.path=/
          + http.request.method=_OTHER
          + http.request.method_original=PURGE
          + url.path=/x
          + http.route=/*
    ";
    a_lost_head_leaves_names_out: Case {
        method: None, target: None, host: None, version: None,
        incomplete: vec![Incomplete::Truncated], ..Case::server("GET", "/")
    } => r"
        HTTP (Server, error None)
          - http.request.method=GET
          - url.path=/
          - server.address=shop.example
          - server.port=8080
          - client.address=192.0.2.7
          - network.protocol.version=1.1
          + sidelight.incomplete=[Truncated]
    ";
    an_absolute_target_beats_host_connection_and_hides_credentials: Case {
        host: Some("ignored:1"), ..Case::client("GET", "HTTPS://me:pw@api.example/v1?X-Amz-Signature=1")
    } => r"
        GET (Client, error None)
          - server.address=shop.example
          - server.port=8080
          - url.full=http://shop.example:8080/
          + server.address=api.example
          + server.port=443
          + url.full=https://REDACTED:REDACTED@api.example/v1?X-Amz-Signature=REDACTED
    ";
    an_absolute_target_of_a_server: Case {
        routes: vec!["/"], ..Case::server("GET", "http://shop.example:81?q")
    } => r"
        GET / (Server, error None)
          - server.port=8080
          + url.query=q
          + http.route=/
          + server.port=81
    ";
    a_client_whose_head_was_cut_does_not_fall_back: Case {
        host: None, incomplete: vec![Incomplete::Truncated], ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          - server.address=shop.example
          - server.port=8080
          - url.full=http://shop.example:8080/
          + sidelight.incomplete=[Truncated]
    ";
    connect_names_its_target_but_no_url: Case::client("CONNECT", "api.example:443") => r"
        CONNECT (Client, error None)
          - http.request.method=GET
          - server.address=shop.example
          - server.port=8080
          - url.full=http://shop.example:8080/
          + http.request.method=CONNECT
          + server.address=api.example
          + server.port=443
    ";
    asterisk_is_the_path_of_a_server: Case::server("OPTIONS", "*") => r"
        OPTIONS (Server, error None)
          - http.request.method=GET
          - url.path=/
          + http.request.method=OPTIONS
          + url.path=*
    ";
    asterisk_is_no_path_in_a_clients_url: Case::client("OPTIONS", "*") => r"
        OPTIONS (Client, error None)
          - http.request.method=GET
          - url.full=http://shop.example:8080/
          + http.request.method=OPTIONS
          + url.full=http://shop.example:8080
    ";
    a_client_without_host_falls_back_to_its_peer: Case {
        host: None, version: Some(HttpVersion::H10), remote: inet("[2001:db8::1]:81"), ..Case::client("GET", "/x")
    } => r"
        GET (Client, error None)
          - server.address=shop.example
          - server.port=8080
          - url.full=http://shop.example:8080/
          - network.peer.address=198.51.100.9
          - network.peer.port=8080
          - network.protocol.version=1.1
          + server.address=2001:db8::1
          + server.port=81
          + url.full=http://[2001:db8::1]:81/x
          + network.peer.address=2001:db8::1
          + network.peer.port=81
          + network.protocol.version=1.0
    ";
    a_server_without_host_has_no_address: Case { host: None, ..Case::server("GET", "/x") } => r"
        GET (Server, error None)
          - url.path=/
          - server.address=shop.example
          - server.port=8080
          + url.path=/x
    ";
    a_forwarded_address_is_the_clients: Case {
        forwarded: Some("\"[2001:db8::5]:77\""), ..Case::server("GET", "/")
    } => r"
        GET (Server, error None)
          - client.address=192.0.2.7
          + client.address=2001:db8::5
    ";
    a_hidden_forwarded_address_is_absent: Case { forwarded: Some("unknown"), ..Case::server("GET", "/") } => r"
        GET (Server, error None)
          - client.address=192.0.2.7
    ";
    a_404_is_an_error_of_the_client: Case { status: Some(404), ..Case::client("GET", "/") } => r"
        GET (Client, error Some(Status(404)))
          - http.response.status_code=200
          + http.response.status_code=404
          + error.type=404
    ";
    a_404_is_no_error_of_the_server: Case { status: Some(404), ..Case::server("GET", "/") } => r"
        GET (Server, error None)
          - http.response.status_code=200
          + http.response.status_code=404
    ";
    a_503_is_an_error_of_the_server: Case { status: Some(503), ..Case::server("GET", "/") } => r"
        GET (Server, error Some(Status(503)))
          - http.response.status_code=200
          + http.response.status_code=503
          + error.type=503
    ";
    an_aborted_request_has_no_status: Case {
        status: None, response: false, incomplete: vec![Incomplete::Closed], ..Case::server("GET", "/")
    } => r"
        GET (Server, error Some(Closed))
          - http.response.status_code=200
          - sidelight.time_to_first_byte=0.004
          + error.type=closed
          + sidelight.incomplete=[Closed]
    ";
    a_body_cut_off_is_an_error_despite_its_status: Case {
        incomplete: vec![Incomplete::Closed], ..Case::client("GET", "/")
    } => r"
        GET (Client, error Some(Closed))
          + error.type=closed
          + sidelight.incomplete=[Closed]
    ";
    what_we_missed_is_no_error: Case {
        status: None, response: false, incomplete: vec![Incomplete::Gap, Incomplete::Evicted], ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          - http.response.status_code=200
          - sidelight.time_to_first_byte=0.004
          + sidelight.incomplete=[Evicted, Gap]
    ";
    unix_sockets_have_a_name_and_no_port: Case {
        remote: Endpoint::Unix("/run/app.sock".into()), host: Some("localhost"), ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          - server.address=shop.example
          - server.port=8080
          - url.full=http://shop.example:8080/
          - network.peer.address=198.51.100.9
          - network.peer.port=8080
          + server.address=localhost
          + server.port=80
          + url.full=http://localhost/
          + network.peer.address=/run/app.sock
    ";
    an_unnamed_unix_peer_is_absent: Case { remote: Endpoint::Unix(Box::default()), ..Case::server("GET", "/") } => r"
        GET (Server, error None)
          - client.address=192.0.2.7
          - network.peer.address=192.0.2.7
          - network.peer.port=40000
    ";
    an_unknown_peer_is_absent: Case { remote: Endpoint::Unknown, host: None, ..Case::client("GET", "/") } => r"
        GET (Client, error None)
          - server.address=shop.example
          - server.port=8080
          - url.full=http://shop.example:8080/
          - network.peer.address=198.51.100.9
          - network.peer.port=8080
    ";
    http2s_scheme_decides_whatever_the_connection_looks_like: Case {
        scheme: Some("https"), host: Some("shop.example"), version: Some(HttpVersion::H2), ..Case::client("GET", "/")
    } => r"
        GET (Client, error None)
          - server.port=8080
          - url.full=http://shop.example:8080/
          - network.protocol.version=1.1
          + server.port=443
          + url.full=https://shop.example/
          + network.protocol.version=2
    ";
}
