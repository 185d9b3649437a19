//! Tests as scripts: what client and server say, then the exchanges that must come of it.

use crate::contract::{Close, Direction, Lost, Role};
use crate::exchange::{Details, Exchange};
use crate::fuzzing::Feed;
use crate::http1::PROTOCOL;

/// One connection, seen by its server or its client.
pub(super) struct Script {
    pub(super) feed: Feed,
    side: Role,
}

impl Script {
    pub(super) fn server() -> Self {
        Self::of(Role::Server, Some(Role::Server))
    }

    pub(super) fn client() -> Self {
        Self::of(Role::Client, Some(Role::Client))
    }

    /// Seen by `side`; the parser is told `told`.
    pub(super) fn of(side: Role, told: Option<Role>) -> Self {
        Self { feed: Feed::new(&PROTOCOL, told), side }
    }

    pub(super) fn requests(&self) -> Direction {
        self.side.requests()
    }

    pub(super) fn responses(&self) -> Direction {
        self.side.requests().opposite()
    }

    pub(super) fn client_says(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed.data(self.requests(), bytes.as_ref());
        self
    }

    pub(super) fn server_says(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed.data(self.responses(), bytes.as_ref());
        self
    }

    pub(super) fn client_hole(&mut self, len: u64, why: Lost) -> &mut Self {
        self.feed.hole(self.requests(), Some(len), why);
        self
    }

    pub(super) fn server_hole(&mut self, len: u64, why: Lost) -> &mut Self {
        self.feed.hole(self.responses(), Some(len), why);
        self
    }

    pub(super) fn client_closes(&mut self) -> &mut Self {
        self.feed.close(Some(self.requests()), Close::Fin);
        self
    }

    pub(super) fn server_closes(&mut self) -> &mut Self {
        self.feed.close(Some(self.responses()), Close::Fin);
        self
    }

    pub(super) fn ends(&mut self, how: Close) -> &mut Self {
        self.feed.close(None, how);
        self
    }

    /// The exchanges done so far, one line each: `GET /a 200 >0 <12 [gap]`.
    pub(super) fn exchanges(&self) -> Vec<String> {
        self.feed.done().map(line).collect()
    }

    pub(super) fn expect(&mut self, exchanges: &[&str]) -> &mut Self {
        assert_eq!(self.exchanges(), exchanges);
        self
    }

    /// Everything said, one line each.
    pub(super) fn log(&self) -> Vec<String> {
        self.feed.log(line)
    }
}

pub(super) fn line(exchange: &Exchange) -> String {
    let text = |span: Option<_>| span.map_or("-", |span| exchange.text.str(span)).to_owned();
    let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let status = |status: Option<u16>| status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let (mut line, sent) = match exchange.details {
        Details::Http(http) => (
            format!(
                "{} {} {} >{}",
                text(http.method),
                text(http.target),
                status(http.status),
                number(http.request_body)
            ),
            http.response_body,
        ),
        Details::Rpc(rpc) => (
            format!(
                "{} {} {} >{}",
                rpc.system.name(),
                text(rpc.method),
                status(rpc.status.map(u16::from)),
                number(rpc.requests)
            ),
            rpc.responses,
        ),
        Details::Db(_) | Details::Generic => panic!("neither HTTP nor RPC"),
    };
    if exchange.response.is_some() {
        line += &format!(" <{}", number(sent));
    }
    for why in exchange.incomplete.iter() {
        line += &format!(" [{}]", why.name());
    }
    line
}
