//! What parsers give back: exchanges, and what is known of them while they are still open.

pub use crate::text::{Span, Text};

use crate::contract::{Close, Direction, KernelTime, Lost, Mark, Role};

/// Names an exchange within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// W3C trace context found in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id, not all zero.
    pub trace_id: [u8; 16],
    /// Parent span id, not all zero.
    pub span_id: [u8; 8],
    /// Trace flags; bit 0: sampled.
    pub flags: u8,
    /// `tracestate`, unchanged.
    pub state: Option<Span>,
}

/// How request and response relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// No response belongs to it.
    OneWay,
    /// One request, one response.
    RequestReply,
    /// Either side may send many messages until it ends.
    Session,
    /// One side sends many messages.
    Stream,
}

/// What the protocol itself says about success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It failed, as the conventions of its family judge it for this role.
    Error,
    /// It succeeded.
    Ok,
}

/// One direction's part of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// First byte.
    pub first: Mark,
    /// Last byte seen.
    pub last: Mark,
    /// Bytes from first to last, heads and framing included.
    pub bytes: u64,
}

/// Why an exchange is not whole. Bits of [`IncompleteSet`]; also the `reason` of the exchange ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// The connection ended first (the client went away, the server reset).
    Closed,
    /// The parser lost its place.
    Desync,
    /// The tracker gave the connection up (idle, limits).
    Evicted,
    /// Bytes of it are missing.
    Gap,
    /// The daemon stopped.
    Shutdown,
    /// Its head was longer than [`crate::MAX_REST`] or cut: names may be missing.
    Truncated,
}

impl Incomplete {
    /// All, in the order of their bits.
    pub const ALL: [Self; 6] = [Self::Closed, Self::Desync, Self::Evicted, Self::Gap, Self::Shutdown, Self::Truncated];

    /// Lower-case name: value of the attribute and of the ledger's `reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Desync => "desync",
            Self::Evicted => "evicted",
            Self::Gap => "gap",
            Self::Shutdown => "shutdown",
            Self::Truncated => "truncated",
        }
    }
}

/// How a loss is called in the exchanges it touches.
impl From<Lost> for Incomplete {
    fn from(why: Lost) -> Self {
        match why {
            Lost::Malformed => Self::Desync,
            Lost::Contended | Lost::Cut | Lost::Fault | Lost::Gap => Self::Gap,
        }
    }
}

/// How an end is called in the exchanges that it leaves unfinished.
impl From<Close> for Incomplete {
    fn from(how: Close) -> Self {
        match how {
            Close::Fin | Close::FinUnproven | Close::Reset | Close::Unknown => Self::Closed,
            Close::Evicted => Self::Evicted,
            Close::Shutdown => Self::Shutdown,
        }
    }
}

/// A set of [`Incomplete`]; empty: whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncompleteSet(u8);

impl IncompleteSet {
    /// Adds a reason.
    pub fn insert(&mut self, why: Incomplete) {
        self.0 |= 1 << why as u8;
    }

    /// Whether it has a reason.
    #[must_use]
    pub fn contains(self, why: Incomplete) -> bool {
        self.0 & (1 << why as u8) != 0
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its reasons.
    pub fn iter(self) -> impl Iterator<Item = Incomplete> {
        Incomplete::ALL.into_iter().filter(move |why| self.contains(*why))
    }
}

/// HTTP version as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0
    H10,
    /// HTTP/1.1
    H11,
    /// HTTP/2
    H2,
}

impl HttpVersion {
    /// `network.protocol.version`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::H10 => "1.0",
            Self::H11 => "1.1",
            Self::H2 => "2",
        }
    }
}

/// What HTTP says of an exchange. `None`: not seen, or not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Method as sent.
    pub method: Option<Span>,
    /// Request target as sent: origin-form (`/a?b`), absolute-form, authority-form (CONNECT) or `*`.
    pub target: Option<Span>,
    /// Version of the request (of the response where the request's is unknown).
    pub version: Option<HttpVersion>,
    /// `:scheme`, where the protocol carries it.
    pub scheme: Option<Span>,
    /// `Host` or `:authority`.
    pub host: Option<Span>,
    /// `User-Agent`.
    pub user_agent: Option<Span>,
    /// First address of `Forwarded` or `X-Forwarded-For`, as sent.
    pub forwarded_for: Option<Span>,
    /// Status code of the final response.
    pub status: Option<u16>,
    /// Bytes of the request's body as sent (after content coding, without chunk framing), if it was seen to its end.
    pub request_body: Option<u64>,
    /// The same of the response.
    pub response_body: Option<u64>,
}

/// Which RPC system: `rpc.system.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RpcSystem {
    /// Connect RPC.
    Connect,
    /// gRPC, gRPC-Web included.
    Grpc,
}

impl RpcSystem {
    /// `rpc.system.name`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connectrpc",
            Self::Grpc => "grpc",
        }
    }
}

/// What RPC says of an exchange. `None`: not seen, or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// System.
    pub system: RpcSystem,
    /// `package.Service/Method`.
    pub method: Option<Span>,
    /// `:authority` or `Host`.
    pub authority: Option<Span>,
    /// Canonical status code, 0 (OK) to 16 (UNAUTHENTICATED); Connect's error codes are the same 16.
    pub status: Option<u8>,
    /// Messages sent by the client, if all were seen.
    pub requests: Option<u64>,
    /// Messages sent by the server, if all were seen.
    pub responses: Option<u64>,
}

/// Which database: `db.system.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DbSystem {
    /// MariaDB.
    Mariadb,
    /// MySQL, or one of its protocol whose server was not told apart.
    Mysql,
    /// PostgreSQL.
    Postgresql,
    /// Redis.
    Redis,
}

impl DbSystem {
    /// `db.system.name`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mariadb => "mariadb",
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
        }
    }

    /// The port that is not written: `server.port` is given if it is another.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Mariadb | Self::Mysql => 3306,
            Self::Postgresql => 5432,
            Self::Redis => 6379,
        }
    }
}

/// What a database's protocol says of an exchange. No literal and no value is among the texts. `None`: not seen, or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Db {
    /// System.
    pub system: DbSystem,
    /// Database, schema or index in use: `db.namespace`.
    pub namespace: Option<Span>,
    /// Command, where it is not part of a query text: `db.operation.name`.
    pub operation: Option<Span>,
    /// Operations and their targets in order: `db.query.summary`.
    pub summary: Option<Span>,
    /// Sanitised query: `db.query.text`.
    pub query: Option<Span>,
    /// `db.stored_procedure.name`.
    pub procedure: Option<Span>,
    /// Operations in a batch, if not one: `db.operation.batch.size`.
    pub batch: Option<u32>,
    /// Code of an error as the conventions of the system have it: `db.response.status_code`, and `error.type`.
    pub status: Option<Span>,
    /// Rows returned: `db.response.returned_rows`.
    pub rows: Option<u64>,
}

impl Db {
    /// Of which nothing but the system is known.
    #[must_use]
    pub fn new(system: DbSystem) -> Self {
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
}

/// What a family of the semantic conventions says of an exchange; one variant per family, never per protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details {
    /// Databases.
    Db(Db),
    /// A protocol without a family: name and duration only.
    Generic,
    /// HTTP in any version.
    Http(Http),
    /// Remote procedure calls.
    Rpc(Rpc),
}

/// One finished exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// As in its `Begun`.
    pub id: ExchangeId,
    /// `Protocol::name`.
    pub protocol: &'static str,
    /// The watched side.
    pub role: Role,
    /// How request and response relate.
    pub shape: Shape,
    /// The request.
    pub request: Side,
    /// The response, if any of it was seen.
    pub response: Option<Side>,
    /// When something other than its own bytes ended it: a reset, the end of the connection. 0: nothing did, or it is not known.
    pub cut_off: KernelTime,
    /// What the protocol says; `None`: unknown.
    pub outcome: Option<Outcome>,
    /// The family's part.
    pub details: Details,
    /// Trace context of the request.
    pub context: Option<TraceContext>,
    /// What is missing.
    pub incomplete: IncompleteSet,
    /// The strings.
    pub text: Text,
}

/// What a connection turns into after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Unknown: detect anew from the next bytes on (CONNECT tunnel).
    Detect,
    /// Not to be read: counted only (WebSocket). The name goes to the health metrics.
    Opaque(&'static str),
    /// A protocol of the table, by name (h2c).
    Protocol(&'static str),
}

/// One thing a parser says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emitted {
    /// The response's first byte was recognised.
    Answered {
        /// Which exchange.
        id: ExchangeId,
        /// Its first byte.
        first: Mark,
    },
    /// A request's first byte was recognised.
    Begun {
        /// Which exchange.
        id: ExchangeId,
        /// The direction it travels.
        dir: Direction,
        /// Its first byte.
        first: Mark,
    },
    /// An exchange ended. Every `Begun` is followed by exactly one.
    Done(Box<Exchange>),
    /// The connection speaks something else from here on (in both directions); the tracker drops the parser.
    Switch(Next),
}

/// Where parsers put what they say; owned and emptied by the tracker.
#[derive(Debug, Default)]
pub struct Output {
    /// In the order in which it was said.
    pub emitted: Vec<Emitted>,
}

impl Output {
    /// Says that a request began.
    #[inline(always)]
    pub fn begun(&mut self, id: ExchangeId, dir: Direction, first: Mark) {
        self.emitted.push(Emitted::Begun { id, dir, first });
    }

    /// Says that a response began.
    #[inline(always)]
    pub fn answered(&mut self, id: ExchangeId, first: Mark) {
        self.emitted.push(Emitted::Answered { id, first });
    }

    /// Says that an exchange ended.
    pub fn done(&mut self, exchange: Exchange) {
        self.emitted.push(Emitted::Done(Box::new(exchange)));
    }

    /// Says that the connection changes its protocol.
    pub fn switch(&mut self, next: Next) {
        self.emitted.push(Emitted::Switch(next));
    }
}
