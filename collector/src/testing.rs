//! Exchanges and spans for tests, described by what differs.

use std::{collections::BTreeMap, sync::Arc};

use sidelight_events::ConnKey;
use sidelight_protocol_parsers::{
    Db, DbSystem, Details, Direction, Exchange, ExchangeId, Http, HttpVersion, Incomplete, IncompleteSet, KernelTime,
    Mark, Outcome, Role, Rpc, RpcSystem, Shape, Side, Text, TraceContext,
};

use crate::{
    identity::{Host, Identities},
    model::{ClockOffset, Connection, Endpoint, Process, Resource, Span},
    semconv::{db::Databases, rules::HttpRules},
    span::{Built, IdGenerator, SpanBuilder},
};

/// Trace id, span id, flags, state.
type Context = ([u8; 16], [u8; 8], u8, Option<&'static str>);

/// The words of what is no HTTP.
#[derive(Clone, Debug)]
pub(crate) enum Family {
    Http,
    Rpc(RpcCase),
    Db(DbCase),
}

/// A call as its words.
#[derive(Clone, Debug)]
pub(crate) struct RpcCase {
    pub(crate) system: RpcSystem,
    pub(crate) method: Option<&'static str>,
    pub(crate) authority: Option<&'static str>,
    pub(crate) status: Option<u8>,
    pub(crate) messages: [Option<u64>; 2],
    pub(crate) shape: Shape,
}

impl Default for RpcCase {
    fn default() -> Self {
        Self {
            system: RpcSystem::Grpc,
            method: Some("shop.Orders/Place"),
            authority: Some("orders.example:50051"),
            status: Some(0),
            messages: [Some(1); 2],
            shape: Shape::RequestReply,
        }
    }
}

/// A query as its words.
#[derive(Clone, Debug)]
pub(crate) struct DbCase {
    pub(crate) system: DbSystem,
    pub(crate) namespace: Option<&'static str>,
    pub(crate) operation: Option<&'static str>,
    pub(crate) summary: Option<&'static str>,
    pub(crate) query: Option<&'static str>,
    pub(crate) procedure: Option<&'static str>,
    pub(crate) batch: Option<u32>,
    pub(crate) status: Option<&'static str>,
    pub(crate) rows: Option<u64>,
}

impl DbCase {
    pub(crate) fn new(system: DbSystem) -> Self {
        Self {
            system,
            namespace: None,
            operation: None,
            summary: None,
            query: None,
            procedure: None,
            batch: None,
            status: None,
            rows: None,
        }
    }

    pub(crate) fn select() -> Self {
        Self {
            namespace: Some("shop"),
            summary: Some("SELECT users"),
            query: Some("SELECT * FROM users WHERE id = ?"),
            rows: Some(3),
            ..Self::new(DbSystem::Postgresql)
        }
    }
}

/// A request as its words, and what is around it. Times: the request at 1 and 2 ms, the response at 5 and 9 ms.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) role: Role,
    pub(crate) method: Option<&'static str>,
    pub(crate) target: Option<&'static str>,
    pub(crate) host: Option<&'static str>,
    pub(crate) agent: Option<&'static str>,
    pub(crate) forwarded: Option<&'static str>,
    pub(crate) status: Option<u16>,
    pub(crate) version: Option<HttpVersion>,
    pub(crate) bodies: [Option<u64>; 2],
    pub(crate) tls: bool,
    pub(crate) remote: Endpoint,
    pub(crate) incomplete: Vec<Incomplete>,
    pub(crate) context: Option<Context>,
    pub(crate) routes: Vec<&'static str>,
    pub(crate) response: bool,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) scheme: Option<&'static str>,
    pub(crate) databases: Databases,
    pub(crate) family: Family,
}

impl Case {
    fn new(role: Role, method: &'static str, target: &'static str, remote: &str) -> Self {
        Self {
            role,
            method: Some(method),
            target: Some(target),
            host: Some("shop.example:8080"),
            agent: None,
            forwarded: None,
            status: Some(200),
            version: Some(HttpVersion::H11),
            bodies: [None; 2],
            tls: false,
            remote: inet(remote),
            incomplete: Vec::new(),
            context: None,
            routes: Vec::new(),
            response: true,
            outcome: None,
            scheme: None,
            databases: Databases::default(),
            family: Family::Http,
        }
    }

    pub(crate) fn rpc(role: Role, call: RpcCase) -> Self {
        let remote = if role == Role::Server { "192.0.2.7:40000" } else { "198.51.100.9:50051" };
        Self { family: Family::Rpc(call), ..Self::new(role, "", "", remote) }
    }

    pub(crate) fn db(role: Role, query: DbCase) -> Self {
        let remote = match role {
            Role::Server => "192.0.2.7:40000".to_owned(),
            Role::Client => format!("198.51.100.9:{}", query.system.default_port()),
        };
        Self { family: Family::Db(query), ..Self::new(role, "", "", &remote) }
    }

    pub(crate) fn server(method: &'static str, target: &'static str) -> Self {
        Self::new(Role::Server, method, target, "192.0.2.7:40000")
    }

    pub(crate) fn client(method: &'static str, target: &'static str) -> Self {
        Self::new(Role::Client, method, target, "198.51.100.9:8080")
    }

    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::new(Connection {
            key: ConnKey { sock: 1, ino: 2 },
            local: inet("203.0.113.1:8080"),
            remote: self.remote.clone(),
            tls: self.tls,
            role: Some(self.role),
        })
    }

    pub(crate) fn exchange(&self, id: u64) -> Box<Exchange> {
        let mut text = Text::default();
        let mut push = |part: Option<&str>| part.map(|part| text.push(part.as_bytes()));
        let (protocol, shape, details) = match &self.family {
            Family::Http => {
                let http = Http {
                    method: push(self.method),
                    target: push(self.target),
                    version: self.version,
                    scheme: push(self.scheme),
                    host: push(self.host),
                    user_agent: push(self.agent),
                    forwarded_for: push(self.forwarded),
                    status: self.status,
                    request_body: self.bodies[0],
                    response_body: self.bodies[1],
                };
                ("http1", Shape::RequestReply, Details::Http(http))
            }
            Family::Rpc(RpcCase { system, method, authority, status, messages, shape }) => {
                let rpc = Rpc {
                    system: *system,
                    method: push(*method),
                    authority: push(*authority),
                    status: *status,
                    requests: messages[0],
                    responses: messages[1],
                };
                ("http2", *shape, Details::Rpc(rpc))
            }
            Family::Db(case) => {
                let db = Db {
                    system: case.system,
                    namespace: push(case.namespace),
                    operation: push(case.operation),
                    summary: push(case.summary),
                    query: push(case.query),
                    procedure: push(case.procedure),
                    batch: case.batch,
                    status: push(case.status),
                    rows: case.rows,
                };
                (case.system.name(), Shape::RequestReply, Details::Db(db))
            }
        };
        let context = self.context.map(|(trace_id, span_id, flags, state)| TraceContext {
            trace_id,
            span_id,
            flags,
            state: push(state),
        });
        let mut incomplete = IncompleteSet::default();
        self.incomplete.iter().for_each(|why| incomplete.insert(*why));
        let side = |first, last| Side { first: at(first), last: at(last), bytes: 100 };
        Box::new(Exchange {
            id: ExchangeId(id),
            protocol,
            role: self.role,
            shape,
            request: side(1, 2),
            response: self.response.then(|| side(5, 9)),
            cut_off: KernelTime::default(),
            outcome: self.outcome,
            details,
            context,
            incomplete,
            text,
        })
    }

    pub(crate) fn built(&self) -> Built {
        let routes: Vec<String> = self.routes.iter().map(|&route| route.to_owned()).collect();
        let rules = Arc::new(HttpRules::new(&routes, None));
        let mut builder = SpanBuilder::new(IdGenerator::new([1; 32]), rules, self.databases);
        let connection = self.connection();
        builder.begun(&connection, ExchangeId(1), Direction::Ingress, at(1));
        builder.done(&connection, &nginx(), self.exchange(1), ClockOffset(1_000_000_000))
    }

    pub(crate) fn span(&self) -> Span {
        match self.built() {
            Built::Sampled(span) | Built::Unsampled(span) => span,
        }
    }
}

/// A mark at a millisecond.
pub(crate) fn at(millisecond: u64) -> Mark {
    Mark { time: KernelTime(millisecond * 1_000_000), ..Mark::default() }
}

pub(crate) fn inet(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().unwrap();
    Endpoint::Inet(address.ip(), address.port())
}

pub(crate) fn host() -> Host {
    Host { name: "node1".to_owned(), id: Some("0123456789abcdef0123456789abcdef".to_owned()) }
}

pub(crate) fn process(pid: u32, executable: &str) -> Process {
    Process { pid, own_pid: pid, executable: executable.to_owned(), ..Process::default() }
}

pub(crate) fn nginx() -> Arc<Resource> {
    Identities::new(host(), BTreeMap::new()).learn(&process(4321, "/usr/sbin/nginx"))
}
