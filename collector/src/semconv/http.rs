//! The HTTP family: stable conventions for server and client spans.
//!
//! In: a [`Span`] of an HTTP exchange. Out: its attributes, and [`Origin`], what the request calls the server.
//!
//! Decisions where the conventions leave room:
//! * `url.scheme` is the target's if it has one (absolute form), else HTTP/2's `:scheme`, else `https` on TLS, else `http`.
//! * `server.address` and `server.port` come from the target's authority, else from `Host`. A server without either has none; a
//!   client falls back to the address it connected to, because the conventions require it. A port that is not written
//!   is the scheme's default for a client, and absent for a server (a proxy may have been asked for another).
//! * `OPTIONS *` has `url.path` `*`, and no path in `url.full`. CONNECT has neither `url.path` nor `url.full`.
//! * `client.address` is the first forwarded address; absent if that one hides itself; without forwarding the peer's.
//! * What is concluded from a header's absence (both fall-backs above) is left out when part of the head was not seen.
//! * `user_agent.original` and `network.local.*`: the former for servers only, the latter not at all (opt-in).

use std::net::IpAddr;

use sidelight_protocol_parsers::{Http, Incomplete, Role};

use super::{
    attributes::{AttrValue, ErrorType, Visit},
    network::{self, Short},
    rules::Method,
    url::{self, Target, Url},
};
use crate::model::{Endpoint, Span};

/// What the request calls the server.
pub(crate) struct Origin<'a> {
    /// Scheme of the URL.
    pub(crate) scheme: &'a str,
    /// Host and port as sent, without userinfo.
    authority: Option<&'a str>,
    userinfo: bool,
    target: Option<Target<'a>>,
    /// What to take for a client's server if nothing names it.
    fallback: Option<(IpAddr, u16)>,
}

impl<'a> Origin<'a> {
    pub(crate) fn new(span: &'a Span, http: &Http) -> Self {
        let text = &span.exchange.text;
        let connect = http.method.is_some_and(|method| text.str(method) == "CONNECT");
        let target = http.target.map(|target| Target::parse(text.str(target), connect));
        let otherwise = match http.scheme {
            Some(scheme) => lower(text.str(scheme)),
            None if span.connection.tls => "https",
            None => "http",
        };
        let (scheme, authority) = match target {
            Some(Target::Absolute { scheme, authority, .. }) => (lower(scheme), Some(authority)),
            Some(Target::Authority(authority)) => (otherwise, Some(authority)),
            Some(Target::Origin { .. } | Target::Asterisk) | None => (otherwise, http.host.map(|host| text.str(host))),
        };
        let (authority, userinfo) = authority.map_or(("", false), url::without_userinfo);
        let authority = (!authority.is_empty()).then_some(authority);
        let fallback = match span.connection.remote {
            Endpoint::Inet(ip, port) if authority.is_none() && head_seen(span) => Some((ip, port)),
            Endpoint::Inet(..) | Endpoint::Unix(_) | Endpoint::Unknown => None,
        };
        Self { scheme, authority, userinfo, target, fallback }
    }

    /// `server.address` and `server.port` of a client.
    pub(crate) fn client(&self, room: &'a mut Short) -> (Option<&'a str>, Option<u16>) {
        if let Some(authority) = self.authority {
            let (host, port) = url::host_port(authority);
            return (Some(host), port.or_else(|| url::default_port(self.scheme)));
        }
        let Some((ip, port)) = self.fallback else { return (None, None) };
        room.address(ip);
        (Some(room.as_str()), Some(port))
    }
}

/// Whether the request's head was seen whole, so that what it does not say was not sent.
pub(super) fn head_seen(span: &Span) -> bool {
    let incomplete = span.exchange.incomplete;
    ![Incomplete::Truncated, Incomplete::Gap, Incomplete::Desync].into_iter().any(|why| incomplete.contains(why))
}

fn lower(scheme: &str) -> &str {
    ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).unwrap_or(scheme)
}

/// Gives the name: `{method} {route}`, else `{method}`, `HTTP` for a method that is not known.
pub(super) fn name(span: &Span, each: &mut impl FnMut(&str)) {
    each(match span.method {
        Method::Known(_) => span.http.method_name(span.method).unwrap_or("HTTP"),
        Method::Other | Method::Missing => "HTTP",
    });
    if let Some(pattern) = span.route.and_then(|route| span.http.pattern(route)) {
        each(" ");
        each(pattern);
    }
}

/// Which statuses are errors: 5xx, and what is no valid status, on both sides, 4xx only for clients.
#[inline]
pub(super) fn error(role: Role, http: &Http) -> Option<ErrorType<'static>> {
    match (http.status?, role) {
        (status @ (0..100 | 500..), _) | (status @ 400..500, Role::Client) => Some(ErrorType::Status(status)),
        _ => None,
    }
}

/// Gives the attributes of an HTTP span.
pub(crate) fn visit(span: &Span, http: &Http, visit: &mut impl Visit) {
    let text = &span.exchange.text;
    let origin = Origin::new(span, http);
    if let Some(method) = span.http.method_name(span.method) {
        visit.str("http.request.method", method);
    }
    if let (Method::Other, Some(sent)) = (span.method, http.method) {
        visit.str("http.request.method_original", text.str(sent));
    }
    match span.exchange.role {
        Role::Server => visit_server(span, http, &origin, visit),
        Role::Client => visit_client(&origin, visit),
    }
    if let Some(status) = http.status {
        visit.int("http.response.status_code", i64::from(status));
    }
    if let Some(error) = span.error() {
        visit.str("error.type", error.text(&mut Short::new()));
    }
    network::visit_peer(span, visit);
    if let Some(version) = http.version {
        visit.str("network.protocol.version", version.name());
    }
    for (key, size) in [("http.request.body.size", http.request_body), ("http.response.body.size", http.response_body)]
    {
        if let Some(size) = size {
            visit.int(key, i64::try_from(size).unwrap_or(i64::MAX));
        }
    }
}

fn visit_server(span: &Span, http: &Http, origin: &Origin<'_>, visit: &mut impl Visit) {
    let text = &span.exchange.text;
    visit.str("url.scheme", origin.scheme);
    match origin.target {
        Some(Target::Origin { path, query } | Target::Absolute { path, query, .. }) => {
            visit.str("url.path", if path.is_empty() { "/" } else { path });
            if let Some(query) = query.filter(|query| !query.is_empty()) {
                match url::has_secret(query) {
                    true => visit.value("url.query", AttrValue::Query(query)),
                    false => visit.str("url.query", query),
                }
            }
        }
        Some(Target::Asterisk) => visit.str("url.path", "*"),
        Some(Target::Authority(_)) | None => {}
    }
    if let Some(pattern) = span.route.and_then(|route| span.http.pattern(route)) {
        visit.str("http.route", pattern);
    }
    if let Some(authority) = origin.authority {
        let (host, port) = url::host_port(authority);
        visit.str("server.address", host);
        if let Some(port) = port {
            visit.int("server.port", i64::from(port));
        }
    }
    match http.forwarded_for {
        Some(forwarded) => {
            if let Some(ip) = network::forwarded(text.str(forwarded)) {
                visit.address("client.address", ip);
            }
        }
        None if head_seen(span) => network::visit_address("client.address", &span.connection.remote, visit),
        None => {}
    }
    if let Some(agent) = http.user_agent {
        visit.str("user_agent.original", text.str(agent));
    }
}

fn visit_client(origin: &Origin<'_>, visit: &mut impl Visit) {
    let mut room = Short::new();
    let (host, port) = origin.client(&mut room);
    if let Some(host) = host {
        visit.str("server.address", host);
    }
    if let Some(port) = port {
        visit.int("server.port", i64::from(port));
    }
    let (path, query) = match origin.target {
        Some(Target::Origin { path, query } | Target::Absolute { path, query, .. }) => (path, query),
        Some(Target::Asterisk) => ("", None),
        Some(Target::Authority(_)) | None => return,
    };
    let mut room = Short::new();
    let host = match (origin.authority, origin.fallback) {
        (Some(authority), _) => authority,
        (None, Some((ip, port))) => {
            room.authority(ip, Some(port).filter(|port| url::default_port(origin.scheme) != Some(*port)));
            room.as_str()
        }
        (None, None) => return,
    };
    visit
        .value("url.full", AttrValue::Url(Url { scheme: origin.scheme, userinfo: origin.userinfo, host, path, query }));
}
