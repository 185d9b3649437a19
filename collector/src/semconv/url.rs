//! Request targets, authorities and URLs, with what must not be exported taken out.
//!
//! In: the target and `Host` as sent. Out: their parts as slices of the same text; [`Url`] and queries are written in pieces, so that
//! nothing is copied to redact it.

use memchr::{memchr, memrchr};

/// What replaces a secret.
const REDACTED: &str = "REDACTED";

/// Query keys whose values are secrets (conventions 1.44 and those added since), case-sensitive, compared after percent-decoding.
const SECRET_KEYS: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
];

/// A request target's form (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`
    Origin {
        /// Path as sent.
        path: &'a str,
        /// Query as sent, without `?`.
        query: Option<&'a str>,
    },
    /// `http://authority/path?query`
    Absolute {
        /// Scheme as sent.
        scheme: &'a str,
        /// Authority, userinfo included.
        authority: &'a str,
        /// Path as sent, may be empty.
        path: &'a str,
        /// Query as sent, without `?`.
        query: Option<&'a str>,
    },
    /// `host:port`, CONNECT only.
    Authority(&'a str),
    /// `*`
    Asterisk,
}

impl<'a> Target<'a> {
    /// Splits a target; `connect`: the method is CONNECT.
    #[must_use]
    pub fn parse(target: &'a str, connect: bool) -> Self {
        if target.starts_with('/') {
            let (path, query) = split_query(target);
            return Self::Origin { path, query };
        }
        if connect {
            return Self::Authority(target);
        }
        if target == "*" {
            return Self::Asterisk;
        }
        if let Some((scheme, rest)) = target.split_once("://")
            && !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let (path, query) = split_query(rest);
            return Self::Absolute { scheme, authority, path, query };
        }
        let (path, query) = split_query(target);
        Self::Origin { path, query }
    }
}

/// `str::split_once` at a byte, by `memchr`: four times cheaper on texts this short.
fn split_once(text: &str, at: Option<usize>) -> Option<(&str, &str)> {
    let (before, rest) = text.split_at_checked(at?)?;
    Some((before, rest.get(1..)?))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match split_once(text, memchr(b'?', text.as_bytes())) {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// The authority without userinfo, and whether it had any.
#[must_use]
pub fn without_userinfo(authority: &str) -> (&str, bool) {
    match split_once(authority, memrchr(b'@', authority.as_bytes())) {
        Some((_, host)) => (host, true),
        None => (authority, false),
    }
}

/// Host (IPv6 without brackets) and port of `host[:port]`. A port that is no number is none.
#[must_use]
pub fn host_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match split_once(authority, memrchr(b':', authority.as_bytes())) {
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, None),
    }
}

/// The default port of a scheme.
#[must_use]
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// `url.full`, credentials redacted when written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// Scheme.
    pub scheme: &'a str,
    /// Whether userinfo stood before the host.
    pub userinfo: bool,
    /// Host and port as sent.
    pub host: &'a str,
    /// Path as sent.
    pub path: &'a str,
    /// Query as sent.
    pub query: Option<&'a str>,
}

impl Url<'_> {
    /// Gives the text in pieces.
    pub fn pieces(&self, each: &mut impl FnMut(&str)) {
        each(self.scheme);
        each("://");
        if self.userinfo {
            each("REDACTED:REDACTED@");
        }
        each(self.host);
        each(self.path);
        if let Some(query) = self.query {
            each("?");
            redact(query, each);
        }
    }
}

/// Gives a query in pieces, with the values of [`SECRET_KEYS`] replaced.
pub fn redact(query: &str, each: &mut impl FnMut(&str)) {
    let mut rest = query;
    let mut from = 0;
    let mut at = 0;
    // `from..at` is clean text not given yet.
    loop {
        let (parameter, more) = match split_once(rest, memchr(b'&', rest.as_bytes())) {
            Some((parameter, more)) => (parameter, Some(more)),
            None => (rest, None),
        };
        if let Some(key) = secret(parameter) {
            each(query.get(from..at + key.len() + 1).unwrap_or_default());
            each(REDACTED);
            from = at + parameter.len();
        }
        at += parameter.len() + 1;
        match more {
            Some(more) => rest = more,
            None => break,
        }
    }
    if from < query.len() {
        each(query.get(from..).unwrap_or_default());
    }
}

/// Whether [`redact`] changes anything.
#[must_use]
pub fn has_secret(query: &str) -> bool {
    query.split('&').any(|parameter| secret(parameter).is_some())
}

/// The key of a parameter whose value is a secret.
fn secret(parameter: &str) -> Option<&str> {
    let (key, _) = split_once(parameter, memchr(b'=', parameter.as_bytes()))?;
    let found = match memchr(b'%', key.as_bytes()) {
        None => SECRET_KEYS.contains(&key),
        Some(_) => SECRET_KEYS.iter().any(|secret| decoded(key.as_bytes()).eq(secret.bytes())),
    };
    found.then_some(key)
}

/// Percent-decodes; what is not two hex digits stays as it is.
fn decoded(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || match bytes {
        [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            bytes = rest;
            Some(hex(*high) << 4 | hex(*low))
        }
        [byte, rest @ ..] => {
            bytes = rest;
            Some(*byte)
        }
        [] => None,
    })
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_by_their_form() {
        let origin = |path, query| Target::Origin { path, query };
        let absolute = |scheme, authority, path, query| Target::Absolute { scheme, authority, path, query };
        for (target, connect, expected) in [
            ("/a/b?c=d?e", false, origin("/a/b", Some("c=d?e"))),
            ("/", false, origin("/", None)),
            ("/?", false, origin("/", Some(""))),
            ("/r?u=http://x/", false, origin("/r", Some("u=http://x/"))),
            ("http://a.b:81/c?d", false, absolute("http", "a.b:81", "/c", Some("d"))),
            ("HTTP://a", false, absolute("HTTP", "a", "", None)),
            ("http://a?b", false, absolute("http", "a", "", Some("b"))),
            ("http://u:p@a/", false, absolute("http", "u:p@a", "/", None)),
            ("a.b:443", true, Target::Authority("a.b:443")),
            ("*", false, Target::Asterisk),
            ("nonsense?q", false, origin("nonsense", Some("q"))),
            ("", false, origin("", None)),
        ] {
            assert_eq!(Target::parse(target, connect), expected, "{target}");
        }
    }

    #[test]
    fn authorities_are_split_into_host_and_port() {
        for (authority, expected) in [
            ("a.b", ("a.b", None)),
            ("a.b:81", ("a.b", Some(81))),
            ("[::1]:8080", ("::1", Some(8080))),
            ("[::1]", ("::1", None)),
            ("a.b:", ("a.b", None)),
            ("a.b:99999", ("a.b", None)),
        ] {
            assert_eq!(host_port(authority), expected, "{authority}");
        }
        assert_eq!(without_userinfo("u:p@ss@h:1"), ("h:1", true));
        assert_eq!(without_userinfo("h:1"), ("h:1", false));
    }

    #[test]
    fn secret_query_values_are_redacted_and_nothing_else_changes() {
        for (query, expected) in [
            ("", ""),
            ("a=b", "a=b"),
            ("sig=abc", "sig=REDACTED"),
            ("a=1&sig=abc&b=2", "a=1&sig=REDACTED&b=2"),
            ("sig=a&sig=b", "sig=REDACTED&sig=REDACTED"),
            ("sig=", "sig=REDACTED"),
            ("sig", "sig"),
            ("SIG=abc", "SIG=abc"),
            ("signature=x", "signature=x"),
            ("Signature=x", "Signature=REDACTED"),
            ("AWSAccessKeyId=x&x=y", "AWSAccessKeyId=REDACTED&x=y"),
            (
                "X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3",
                "X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED",
            ),
            ("X-Goog-Signature=x&", "X-Goog-Signature=REDACTED&"),
            ("%73ig=abc", "%73ig=REDACTED"),
            ("X%2dAmz%2DSignature=1", "X%2dAmz%2DSignature=REDACTED"),
            ("s%69%67=a=b", "s%69%67=REDACTED"),
            ("%7=1&%zz=2&%", "%7=1&%zz=2&%"),
            ("&&a&=x&", "&&a&=x&"),
            ("x=sig=1", "x=sig=1"),
        ] {
            let mut text = String::new();
            redact(query, &mut |piece| text.push_str(piece));
            assert_eq!(text, expected, "{query}");
            assert_eq!(has_secret(query), query != expected, "{query}");
        }
    }

    #[test]
    fn full_urls_hide_user_and_password() {
        let mut text = String::new();
        Url { scheme: "https", userinfo: true, host: "h:1", path: "/p", query: Some("sig=x") }
            .pieces(&mut |piece| text.push_str(piece));
        assert_eq!(text, "https://REDACTED:REDACTED@h:1/p?sig=REDACTED");
    }
}
