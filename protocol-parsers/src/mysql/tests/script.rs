//! Tests as scripts: what client and server say, then the exchanges that must come of it.

use crate::contract::{Close, Direction, Lost, Role};
use crate::exchange::{Details, Exchange, Outcome};
use crate::fuzzing::Feed;
use crate::mysql::PROTOCOL;

pub(super) const MYSQL: u64 = 1;
pub(super) const COMPRESS: u64 = 1 << 5;
pub(super) const SSL: u64 = 1 << 11;
pub(super) const DEPRECATE_EOF: u64 = 1 << 24;
pub(super) const OPTIONAL_METADATA: u64 = 1 << 25;
pub(super) const QUERY_ATTRIBUTES: u64 = 1 << 27;
pub(super) const CACHE_METADATA: u64 = 1 << 36;
/// What everybody has: a database in the handshake, protocol 4.1, a counted scramble, the method's name.
const COMMON: u64 = 1 << 3 | 1 << 9 | 1 << 15 | 1 << 19;

/// One packet.
pub(super) fn packet(seq: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(seq);
    bytes.extend(payload);
    bytes
}

/// Packets with ascending sequence ids.
pub(super) fn packets(first: u8, payloads: &[&[u8]]) -> Vec<u8> {
    payloads.iter().enumerate().flat_map(|(at, payload)| packet(first.wrapping_add(at as u8), payload)).collect()
}

/// A command's packet.
pub(super) fn command(code: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    packet(0, [&[code], payload.as_ref()].concat())
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    command(0x03, sql)
}

/// Autocommit.
pub(super) const OK: &[u8] = b"\0\x01\0\x02\0\0\0";
pub(super) const EOF: &[u8] = b"\xfe\0\0\x02\0";
/// An OK packet that ends rows.
pub(super) const END: &[u8] = b"\xfe\0\0\x02\0\0\0";
pub(super) const COLUMN: &[u8] = b"\x03def\x04shop\x01t\x01t\x02id\x02id\x0c\x3f\0\x0b\0\0\0\x03\x03\x50\0\0\0";

pub(super) fn error(number: u16) -> Vec<u8> {
    [b"\xff", &number.to_le_bytes()[..], b"#42000what you said"].concat()
}

pub(super) fn greeting(version: &str, capabilities: u64) -> Vec<u8> {
    let capabilities = capabilities | COMMON;
    let mut payload = vec![10];
    payload.extend(version.as_bytes());
    payload.extend(b"\0\x2a\0\0\0scramble\0");
    payload.extend(&capabilities.to_le_bytes()[..2]);
    payload.extend(b"\x2d\x02\0");
    payload.extend(&capabilities.to_le_bytes()[2..4]);
    payload.extend(b"\x15\0\0\0\0\0\0");
    payload.extend(&capabilities.to_le_bytes()[4..8]);
    payload.extend(b"scramble-two\0mysql_native_password\0");
    packet(0, payload)
}

pub(super) fn response(seq: u8, capabilities: u64, database: &str) -> Vec<u8> {
    let capabilities = capabilities | COMMON;
    let mut payload = (capabilities as u32).to_le_bytes().to_vec();
    payload.extend(b"\0\0\0\x01\x2d");
    payload.extend([0; 19]);
    payload.extend(&capabilities.to_le_bytes()[4..8]);
    payload.extend(b"app\0\x14secret-of-20-bytes!!");
    payload.extend(database.as_bytes());
    payload.extend(b"\0mysql_native_password\0");
    packet(seq, payload)
}

/// One connection, seen by its server or its client.
pub(super) struct Script {
    pub(super) feed: Feed,
    side: Role,
}

impl Script {
    pub(super) fn new(side: Role) -> Self {
        Self { feed: Feed::new(&PROTOCOL, Some(side)), side }
    }

    /// Seen by its server, behind a handshake with these capabilities on both sides.
    pub(super) fn with(capabilities: u64) -> Self {
        let mut script = Self::new(Role::Server);
        let version = if capabilities & MYSQL == 0 { "5.5.5-10.11.6-MariaDB" } else { "8.0.44" };
        script.server(greeting(version, capabilities)).client(response(1, capabilities, "shop")).server(packet(2, OK));
        script
    }

    /// Joined in the middle.
    pub(super) fn joined() -> Self {
        let mut script = Self::new(Role::Server);
        script.feed.hole(Direction::Ingress, None, Lost::Gap);
        script.feed.hole(Direction::Egress, None, Lost::Gap);
        script
    }

    pub(super) fn requests(&self) -> Direction {
        self.side.requests()
    }

    pub(super) fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed.data(self.requests(), bytes.as_ref());
        self
    }

    pub(super) fn server(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed.data(self.requests().opposite(), bytes.as_ref());
        self
    }

    /// An answer's packets.
    pub(super) fn answers(&mut self, payloads: &[&[u8]]) -> &mut Self {
        self.server(packets(1, payloads))
    }

    pub(super) fn client_hole(&mut self, len: u64, why: Lost) -> &mut Self {
        self.feed.hole(self.requests(), Some(len), why);
        self
    }

    pub(super) fn server_hole(&mut self, len: u64, why: Lost) -> &mut Self {
        self.feed.hole(self.requests().opposite(), Some(len), why);
        self
    }

    pub(super) fn ends(&mut self, how: Close) -> &mut Self {
        self.feed.close(None, how);
        self
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.feed.done().map(line).collect()
    }

    pub(super) fn expect(&mut self, exchanges: &[&str]) -> &mut Self {
        assert_eq!(self.lines(), exchanges, "refused: {:?}", self.feed.refused);
        self
    }

    /// Everything said, one line each.
    pub(super) fn log(&self) -> Vec<String> {
        self.feed.log(line)
    }
}

/// `[NAMESPACE] OPERATION TEXT -> ok|STATUS|? ROWS [incomplete]`.
pub(super) fn line(exchange: &Exchange) -> String {
    let Details::Db(db) = exchange.details else { panic!("not a database") };
    let text = |span: Option<_>| span.map(|span| exchange.text.str(span).to_owned());
    let outcome = match (exchange.outcome, text(db.status)) {
        (Some(Outcome::Ok), None) => "ok".to_owned(),
        (Some(Outcome::Error), Some(status)) => status,
        (None, None) => "?".to_owned(),
        other => panic!("{other:?}"),
    };
    assert!(exchange.response.is_some() || exchange.outcome.is_none());
    let words = [
        text(db.namespace).map(|name| format!("[{name}]")),
        text(db.operation),
        text(db.query),
        Some(format!("-> {outcome}")),
        db.rows.map(|rows| format!("{rows} rows")),
    ];
    let mut line = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    for why in exchange.incomplete.iter() {
        line += &format!(" ({})", why.name());
    }
    line
}
