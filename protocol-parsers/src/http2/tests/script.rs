//! Runs what two peers said, and lists the exchanges, a line each.

use super::talk::Talk;
use crate::contract::{Close, Role};
use crate::exchange::{Details, Exchange};
use crate::fuzzing::Feed;
use crate::http2::PROTOCOL;

/// Feeds all of it to the parser of one side, without an end.
pub(super) fn feed(talk: &Talk, side: Role) -> Feed {
    let mut feed = Feed::new(&PROTOCOL, Some(side));
    say(&mut feed, talk, side);
    feed
}

pub(super) fn say(feed: &mut Feed, talk: &Talk, side: Role) {
    for (client, bytes) in &talk.said {
        feed.data(if *client { side.requests() } else { side.requests().opposite() }, bytes);
    }
}

/// The exchanges, seen from the server and from the client; the connection ends in order.
pub(super) fn expect(talk: &Talk, exchanges: &[&str]) {
    for side in [Role::Server, Role::Client] {
        let mut feed = feed(talk, side);
        feed.close(None, Close::Fin);
        feed.assert_all_done();
        assert_eq!(feed.refused, [""; 0], "{side:?}");
        assert_eq!(lines(&feed), exchanges, "{side:?}");
    }
}

pub(super) fn lines(feed: &Feed) -> Vec<String> {
    feed.done().map(line).collect()
}

/// `GET /a shop.example 200 >0 <12 [gap]`, `grpc pkg.Svc/Method shop.example 0 >1 <1 stream`.
pub(super) fn line(exchange: &Exchange) -> String {
    let text = |span: Option<_>| span.map_or("-", |span| exchange.text.str(span)).to_owned();
    let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let mut line = match exchange.details {
        Details::Http(http) => {
            let status = http.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            let (method, target, host) = (text(http.method), text(http.target), text(http.host));
            let mut line = format!("{method} {target} {host} {status} >{}", number(http.request_body));
            if exchange.response.is_some() {
                line += &format!(" <{}", number(http.response_body));
            }
            line
        }
        Details::Rpc(rpc) => {
            let status = rpc.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            let (system, method, host) = (rpc.system.name(), text(rpc.method), text(rpc.authority));
            format!("{system} {method} {host} {status} >{} <{}", number(rpc.requests), number(rpc.responses))
        }
        Details::Generic => "generic".to_owned(),
        Details::Db(db) => panic!("{db:?}"),
    };
    if exchange.shape == crate::Shape::Stream {
        line += " stream";
    }
    for why in exchange.incomplete.iter() {
        line += &format!(" [{}]", why.name());
    }
    line
}
