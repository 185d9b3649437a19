//! The database family.

use sidelight_protocol_parsers::{DbSystem, Outcome, Role};

use super::{changed, spans, whole};
use crate::{
    model::Endpoint,
    semconv::db::Databases,
    testing::{Case, DbCase, inet},
};

spans! { whole:
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
    a_database_behind_a_unix_socket: Case {
        remote: Endpoint::Unix("/run/redis.sock".into()),
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
}

spans! { changed:
    query_texts_can_be_turned_off: Case {
        databases: Databases { query_text: false, ..Databases::default() }, ..Case::db(Role::Client, DbCase::select())
    } => r"
        SELECT users (Client, error None)
          + db.namespace=shop
          + db.query.summary=SELECT users
    ";
    a_code_of_the_database_is_its_error: Case {
        outcome: Some(Outcome::Error), ..Case::db(Role::Client, DbCase { status: Some("42P01"), ..DbCase::select() })
    } => r#"
        SELECT users (Client, error Some(Code("42P01")))
          + db.namespace=shop
          + db.query.summary=SELECT users
          + db.query.text=SELECT * FROM users WHERE id = ?
          + db.response.status_code=42P01
          + error.type=42P01
    "#;
    a_failure_without_code_is_other: Case {
        outcome: Some(Outcome::Error), ..Case::db(Role::Client, DbCase::new(DbSystem::Mysql))
    } => r"
        mysql (Client, error Some(Other))
          + error.type=_OTHER
    ";
    a_code_of_success_is_no_error: Case {
        outcome: Some(Outcome::Ok), ..Case::db(Role::Client, DbCase { status: Some("01000"), ..DbCase::select() })
    } => r"
        SELECT users (Client, error None)
          + db.namespace=shop
          + db.query.summary=SELECT users
          + db.query.text=SELECT * FROM users WHERE id = ?
          + db.response.status_code=01000
    ";
    a_port_of_its_own_is_told: Case {
        remote: inet("198.51.100.9:3307"), ..Case::db(Role::Client, DbCase::new(DbSystem::Mariadb))
    } => r"
        mariadb (Client, error None)
          - network.peer.port=3306
          + server.port=3307
          + network.peer.port=3307
    ";
    a_stored_procedure_is_the_target: Case::db(
        Role::Client,
        DbCase { operation: Some("FCALL"), procedure: Some("f"), namespace: Some("0"), ..DbCase::new(DbSystem::Redis) }
    ) => r"
        FCALL f (Client, error None)
          + db.namespace=0
          + db.operation.name=FCALL
          + db.stored_procedure.name=f
    ";
    a_batch_has_its_size: Case::db(
        Role::Client, DbCase { operation: Some("BATCH"), batch: Some(3), ..DbCase::new(DbSystem::Redis) }
    ) => r"
        BATCH (Client, error None)
          + db.operation.name=BATCH
          + db.operation.batch.size=3
    ";
    a_batch_of_one_is_none: Case::db(
        Role::Client, DbCase { summary: Some("INSERT t"), batch: Some(1), ..DbCase::new(DbSystem::Mysql) }
    ) => r"
        INSERT t (Client, error None)
          + db.query.summary=INSERT t
    ";
    an_unknown_query_is_named_by_its_namespace: Case::db(
        Role::Client, DbCase { namespace: Some("shop"), ..DbCase::new(DbSystem::Postgresql) }
    ) => r"
        shop (Client, error None)
          + db.namespace=shop
    ";
}
