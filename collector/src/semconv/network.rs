//! Addresses as the attributes want them, written to the stack.
//!
//! In: an [`Endpoint`], a `Forwarded` element. Out: text without allocation, ports.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use super::attributes::Visit;
use crate::model::{Endpoint, Span};

/// Room for the longest text: `[` IPv6 with embedded IPv4 (45) `]:65535`.
const ROOM: usize = 56;

/// A short text on the stack.
#[derive(Clone, Copy)]
pub struct Short {
    bytes: [u8; ROOM],
    len: u8,
}

impl Short {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Appends a number in decimal. Division by constants only: a hardware division a digit was a tenth of a span's cost.
    pub fn number(&mut self, number: u16) {
        let digits = [number / 10_000, number / 1_000 % 10, number / 100 % 10, number / 10 % 10, number % 10]
            .map(|digit| digit as u8);
        let zeros = digits.iter().take(4).take_while(|digit| **digit == 0).count();
        digits.iter().skip(zeros).for_each(|digit| self.push(b'0' + digit));
    }

    /// Appends an address.
    pub fn address(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.v4(ip),
            IpAddr::V6(ip) => write!(self, "{ip}").unwrap_or_default(),
        }
    }

    fn v4(&mut self, ip: Ipv4Addr) {
        let (text, len) = v4(ip);
        text.into_iter().take(len).for_each(|byte| self.push(byte));
    }

    /// Appends `address:port`, IPv6 in brackets; without the port if there is none.
    pub fn authority(&mut self, ip: IpAddr, port: Option<u16>) {
        match ip {
            IpAddr::V4(ip) => self.v4(ip),
            IpAddr::V6(ip) => write!(self, "[{ip}]").unwrap_or_default(),
        }
        if let Some(port) = port {
            self.push(b':');
            self.number(port);
        }
    }
}

impl Default for Short {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// An IPv4 address as text and its length; by hand, because two stand in nearly every span and `fmt` costs five times more.
#[must_use]
pub fn v4(ip: Ipv4Addr) -> ([u8; 15], usize) {
    let mut text = [0; 15];
    let mut places = text.iter_mut();
    let mut len = 0;
    let mut push = |byte| {
        if let Some(place) = places.next() {
            *place = byte;
            len += 1;
        }
    };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    (text, len)
}

/// Address and port of `network.peer.*`; a Unix socket's address is its name.
#[must_use]
pub fn address<'a>(end: &'a Endpoint, room: &'a mut Short) -> (Option<&'a str>, Option<u16>) {
    match end {
        Endpoint::Inet(ip, port) => {
            room.address(*ip);
            (Some(room.as_str()), Some(*port))
        }
        Endpoint::Unix(name) if !name.is_empty() => (Some(name), None),
        Endpoint::Unix(_) | Endpoint::Unknown => (None, None),
    }
}

/// Gives `network.peer.*`.
#[inline]
pub(super) fn visit_peer(span: &Span, visit: &mut impl Visit) {
    visit_address("network.peer.address", &span.connection.remote, visit);
    if let Endpoint::Inet(_, port) = span.connection.remote {
        visit.int("network.peer.port", i64::from(port));
    }
}

/// Gives an end's address, where it has one.
#[inline]
pub(super) fn visit_address(key: &'static str, end: &Endpoint, visit: &mut impl Visit) {
    match end {
        Endpoint::Inet(ip, _) => visit.address(key, *ip),
        Endpoint::Unix(name) if !name.is_empty() => visit.str(key, name),
        Endpoint::Unix(_) | Endpoint::Unknown => {}
    }
}

/// The IP address in a `Forwarded: for=` or `X-Forwarded-For` element: quotes, brackets and port are taken off. `None` for
/// what hides the address (`unknown`, `_gazonk`).
#[must_use]
pub fn forwarded(element: &str) -> Option<IpAddr> {
    let element = element.trim().trim_matches('"');
    if let Ok(ip) = element.parse() {
        return Some(ip);
    }
    if let Some(rest) = element.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    element.rsplit_once(':')?.0.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.30.255", "::1", "2001:db8::8:800:200c:417a"] {
            let mut short = Short::new();
            short.address(text.parse().unwrap());
            assert_eq!(short.as_str(), text);
        }
        for port in [0, 7, 80, 443, 8080, 10_000, 65_535] {
            let mut short = Short::new();
            short.number(port);
            assert_eq!(short.as_str(), port.to_string());
        }
        let mut short = Short::new();
        short.authority("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(), Some(65_535));
        assert_eq!(short.as_str(), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    }

    #[test]
    fn forwarded_elements_give_an_address_or_nothing() {
        for (element, expected) in [
            ("192.0.2.60", Some("192.0.2.60")),
            (" 192.0.2.60 ", Some("192.0.2.60")),
            ("192.0.2.43:47011", Some("192.0.2.43")),
            ("\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("2001:db8:cafe::17", Some("2001:db8:cafe::17")),
            ("[::1]", Some("::1")),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("example.com:80", None),
        ] {
            assert_eq!(forwarded(element), expected.map(|ip| ip.parse().unwrap()), "{element}");
        }
    }
}
