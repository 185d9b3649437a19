//! The RPC family.

use std::fmt::Write;

use sidelight_protocol_parsers::{Incomplete, Outcome, Role, RpcSystem, Shape};

use super::{changed, spans, whole};
use crate::{
    semconv::rpc,
    testing::{Case, RpcCase},
};

spans! { whole:
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
}

spans! { changed:
    a_call_without_authority_falls_back_to_the_clients_peer: Case::rpc(
        Role::Client, RpcCase { authority: None, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          - server.address=orders.example
          + server.address=198.51.100.9
    ";
    a_call_whose_head_was_cut_does_not_fall_back: Case {
        incomplete: vec![Incomplete::Gap],
        ..Case::rpc(Role::Client, RpcCase { authority: None, method: None, status: None, ..RpcCase::default() })
    } => r"
        grpc (Client, error None)
          - rpc.method=shop.Orders/Place
          - rpc.response.status_code=OK
          - server.address=orders.example
          - server.port=50051
          + sidelight.incomplete=[Gap]
    ";
    a_port_that_is_not_written_is_absent: Case::rpc(
        Role::Client, RpcCase { authority: Some("orders.example"), ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          - server.port=50051
    ";
    not_found_is_an_error_of_the_client: Case::rpc(Role::Client, RpcCase { status: Some(5), ..RpcCase::default() }) => r#"
        shop.Orders/Place (Client, error Some(Code("NOT_FOUND")))
          - rpc.response.status_code=OK
          + rpc.response.status_code=NOT_FOUND
          + error.type=NOT_FOUND
    "#;
    not_found_is_no_error_of_the_server: Case {
        outcome: Some(Outcome::Ok), ..Case::rpc(Role::Server, RpcCase { status: Some(5), ..RpcCase::default() })
    } => r"
        shop.Orders/Place (Server, error None)
          - rpc.response.status_code=OK
          + rpc.response.status_code=NOT_FOUND
    ";
    unimplemented_is_an_error_of_the_server_and_keeps_the_method: Case::rpc(
        Role::Server, RpcCase { status: Some(12), ..RpcCase::default() }
    ) => r#"
        shop.Orders/Place (Server, error Some(Code("UNIMPLEMENTED")))
          - rpc.response.status_code=OK
          + rpc.response.status_code=UNIMPLEMENTED
          + error.type=UNIMPLEMENTED
    "#;
    a_call_whose_connection_went_away_is_an_error_without_status: Case {
        response: false,
        incomplete: vec![Incomplete::Closed],
        ..Case::rpc(Role::Client, RpcCase { status: None, ..RpcCase::default() })
    } => r"
        shop.Orders/Place (Client, error Some(Closed))
          - rpc.response.status_code=OK
          - sidelight.time_to_first_byte=0.004
          + error.type=closed
          + sidelight.incomplete=[Closed]
    ";
    a_stream_counts_its_messages: Case::rpc(
        Role::Server, RpcCase { messages: [Some(3), Some(1000)], shape: Shape::Session, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Server, error None)
          + sidelight.rpc.request_messages=3
          + sidelight.rpc.response_messages=1000
    ";
    a_stream_whose_messages_were_not_all_seen_does_not_count_them: Case::rpc(
        Role::Server, RpcCase { messages: [Some(3), None], shape: Shape::Stream, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Server, error None)
          + sidelight.rpc.request_messages=3
    ";
    connects_codes_are_its_own: Case::rpc(
        Role::Client, RpcCase { system: RpcSystem::Connect, status: Some(1), ..RpcCase::default() }
    ) => r#"
        shop.Orders/Place (Client, error Some(Code("canceled")))
          - rpc.system.name=grpc
          - rpc.response.status_code=OK
          + rpc.system.name=connectrpc
          + rpc.response.status_code=canceled
          + error.type=canceled
    "#;
    connect_has_no_code_for_success: Case::rpc(
        Role::Client, RpcCase { system: RpcSystem::Connect, ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          - rpc.system.name=grpc
          - rpc.response.status_code=OK
          + rpc.system.name=connectrpc
    ";
    a_status_beyond_the_canonical_ones_is_absent: Case::rpc(
        Role::Client, RpcCase { status: Some(17), ..RpcCase::default() }
    ) => r"
        shop.Orders/Place (Client, error None)
          - rpc.response.status_code=OK
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
