//! Tests as scripts: what client and server say, then the exchanges that must come of it.

use crate::contract::{Close, Direction, Lost, Role};
use crate::exchange::{Details, Exchange};
use crate::fuzzing::Feed;
use crate::postgresql::PROTOCOL;

/// A message.
pub(super) fn message(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

pub(super) fn startup(database: &str) -> Vec<u8> {
    let body = format!("\0\x03\0\0user\0me\0database\0{database}\0\0");
    [&(body.len() as u32 + 4).to_be_bytes(), body.as_bytes()].concat()
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0"))
}

pub(super) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0"))
}

/// With one value.
pub(super) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\x01\0\0\0\x06secret\0\0"))
}

pub(super) fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0"))
}

pub(super) const SYNC: &[u8] = b"S\0\0\0\x04";
pub(super) const PARSED: &[u8] = b"1\0\0\0\x04";
pub(super) const BOUND: &[u8] = b"2\0\0\0\x04";
pub(super) const READY: &[u8] = b"Z\0\0\0\x05I";

pub(super) fn done(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0"))
}

pub(super) fn row() -> Vec<u8> {
    message(b'D', b"\0\x01\0\0\0\x06secret")
}

/// One column.
pub(super) fn description() -> Vec<u8> {
    message(b'T', [b"\0\x01a\0", &[0; 18][..]].concat())
}

pub(super) fn error(severity: &str, code: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C{code}\0Msecret\0\0"))
}

/// A whole answer to a Query for one row.
pub(super) fn one_row() -> Vec<u8> {
    [description(), row(), done("SELECT 1"), READY.to_vec()].concat()
}

/// One connection, seen by its server.
pub(super) struct Script {
    pub(super) feed: Feed,
}

impl Script {
    /// From the beginning, which is over.
    pub(super) fn new() -> Self {
        let mut script = Self::untold();
        script.client(startup("shop")).server([message(b'R', [0; 4]), READY.to_vec()].concat());
        script
    }

    /// From the beginning.
    pub(super) fn untold() -> Self {
        Self { feed: Feed::new(&PROTOCOL, Some(Role::Server)) }
    }

    /// From the middle.
    pub(super) fn joined() -> Self {
        let mut script = Self::untold();
        script.feed.hole(Direction::Ingress, None, Lost::Gap);
        script.feed.hole(Direction::Egress, None, Lost::Gap);
        script
    }

    pub(super) fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed.data(Direction::Ingress, bytes.as_ref());
        self
    }

    pub(super) fn server(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed.data(Direction::Egress, bytes.as_ref());
        self
    }

    pub(super) fn ends(&mut self) -> &mut Self {
        self.feed.close(None, Close::Fin);
        self.feed.assert_all_done();
        self
    }

    /// The exchanges done so far, one line each; nothing refused, and no secret among them.
    pub(super) fn expect(&mut self, exchanges: &[&str]) -> &mut Self {
        let lines: Vec<String> = self.feed.done().map(line).collect();
        assert_eq!(lines, exchanges);
        assert!(!format!("{:?}", self.feed.said).contains("secret"));
        assert_eq!(self.feed.refused, [""; 0]);
        self
    }

    pub(super) fn expect_count(&mut self, exchanges: usize) -> &mut Self {
        assert_eq!(self.feed.done().count(), exchanges);
        self
    }
}

/// `select t where a = ? | ok rows=1 [gap]`; `-`: no text, `?`: no outcome; `(no response)`.
pub(super) fn line(exchange: &Exchange) -> String {
    let Details::Db(db) = exchange.details else { panic!("not a database's") };
    let text = |span| exchange.text.str(span);
    let mut line = db.query.map_or("-", text).to_owned();
    line += exchange.outcome.map_or(" | ?", |outcome| if outcome == crate::Outcome::Ok { " | ok" } else { " | error" });
    db.status.into_iter().for_each(|code| line += &format!(" {}", text(code)));
    db.rows.into_iter().for_each(|rows| line += &format!(" rows={rows}"));
    db.batch.into_iter().for_each(|batch| line += &format!(" batch={batch}"));
    if exchange.response.is_none() {
        line += " (no response)";
    }
    exchange.incomplete.iter().for_each(|why| line += &format!(" [{}]", why.name()));
    line
}
