//! One readable line a span.
//!
//! In: a [`Span`]. Out: a line for a person:
//!
//! ```text
//! 12:00:01.234 -> 200   1.23ms nginx            GET /users/{id} http://h/users/7?x=1 10.0.0.1:5000
//! 12:00:01.234 <- ---    102us curl             GET http://h/ 10.0.0.2:80 error=closed incomplete=closed
//! 12:00:01.240 <- err   1.20ms shop             shop.Orders/Place 10.0.0.3:50051 error=NOT_FOUND
//! 12:00:01.241 <- ok     320us shop             SELECT users: SELECT * FROM users WHERE id = ? 10.0.0.4:5432 postgresql/shop
//! ```
//! Time (UTC), arrow (`->` into a server, `<-` by a client), status, duration, service, name, path or URL or the begin of the query text,
//! peer, database, marks. The status is HTTP's, or for others `ok`, `err` and `---` for unknown. What comes from the wire or from a process
//! is escaped: no byte of it reaches the terminal as a control character.

use std::fmt::Write;

use sidelight_protocol_parsers::{Details, Outcome};

use crate::{
    model::{Endpoint, Span, SpanKind},
    semconv::{
        attributes::AttrValue,
        network::Short,
        rpc::{REQUEST_MESSAGES, RESPONSE_MESSAGES},
    },
    time::Utc,
};

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";

/// Width of the service's column.
const SERVICE: usize = 16;

/// Characters of a query text that are shown.
const QUERY: usize = 100;

/// Writes spans as lines.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    color: bool,
}

impl Console {
    /// `color`: only if the output is a terminal.
    #[must_use]
    pub fn new(color: bool) -> Self {
        Self { color }
    }

    /// Appends one span's line.
    pub fn line(&self, span: &Span, out: &mut String) {
        let (hour, minute, second, milli) = Utc(span.start).clock();
        let time = format_args!("{hour:02}:{minute:02}:{second:02}.{milli:03}");
        let arrow = match span.kind {
            SpanKind::Client => "<-",
            SpanKind::Server => "->",
        };
        let mut text = Line { out, color: self.color };
        text.painted(DIM, time);
        text.plain(format_args!(" {arrow} "));
        text.status(span);
        text.plain(format_args!(" {:>8} ", Short3(span.duration)));
        let service = Escaped(&span.resource.instance.service_name).to_string();
        text.painted(BOLD, format_args!("{service:<SERVICE$}"));
        text.plain(format_args!(" "));
        span.name(&mut |piece| text.escaped(piece));
        text.place(span);
        text.peer(span);
        text.database(span);
        text.marks(span);
        out.push('\n');
    }
}

struct Line<'a> {
    out: &'a mut String,
    color: bool,
}

impl Line<'_> {
    fn plain(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        self.out.write_fmt(text).unwrap_or_default();
    }

    fn painted(&mut self, color: &str, text: std::fmt::Arguments<'_>) {
        match self.color {
            true => self.plain(format_args!("{color}{text}{RESET}")),
            false => self.plain(text),
        }
    }

    fn escaped(&mut self, text: &str) {
        self.plain(format_args!("{}", Escaped(text)));
    }

    fn status(&mut self, span: &Span) {
        let failed = span.error().is_some();
        let color = if failed { RED } else { GREEN };
        let fine = match &span.exchange.details {
            Details::Http(http) => {
                return match http.status {
                    Some(status @ 400..500) if !failed => self.painted(YELLOW, format_args!("{status}")),
                    Some(status) => self.painted(color, format_args!("{status:03}")),
                    None => self.painted(YELLOW, format_args!("---")),
                };
            }
            Details::Rpc(rpc) => rpc.status.is_some(),
            Details::Db(_) | Details::Generic => span.exchange.outcome == Some(Outcome::Ok),
        };
        match (failed, fine) {
            (true, _) => self.painted(color, format_args!("err")),
            (false, true) => self.painted(color, format_args!("ok ")),
            (false, false) => self.painted(YELLOW, format_args!("---")),
        }
    }

    /// Path, URL or query text.
    fn place(&mut self, span: &Span) {
        span.visit_attributes(&mut |key, value| match key {
            "url.path" | "url.full" => {
                self.plain(format_args!(" "));
                value.text(&mut |piece| self.escaped(piece));
            }
            "url.query" => {
                self.plain(format_args!("?"));
                value.text(&mut |piece| self.escaped(piece));
            }
            "db.query.text" => {
                self.plain(format_args!(": "));
                value.text(&mut |piece| self.query(piece));
            }
            _ => {}
        });
    }

    /// The begin of a query text, on one line.
    fn query(&mut self, text: &str) {
        let mut left = QUERY;
        for (index, word) in text.split_whitespace().enumerate() {
            let Some(rest) = left.checked_sub(word.chars().count()) else {
                let end = word.char_indices().nth(left).map_or(word.len(), |(at, _)| at);
                let begin = word.split_at_checked(end).map_or("", |(begin, _)| begin);
                self.plain(format_args!("{}{}...", if index > 0 { " " } else { "" }, Escaped(begin)));
                return;
            };
            self.plain(format_args!("{}{}", if index > 0 { " " } else { "" }, Escaped(word)));
            left = rest.saturating_sub(1);
        }
    }

    /// A database's system and namespace.
    fn database(&mut self, span: &Span) {
        let Details::Db(db) = &span.exchange.details else { return };
        self.painted(DIM, format_args!(" {}", db.system.name()));
        if let Some(namespace) = db.namespace {
            self.painted(DIM, format_args!("/{}", Escaped(span.exchange.text.str(namespace))));
        }
    }

    fn peer(&mut self, span: &Span) {
        match &span.connection.remote {
            Endpoint::Inet(ip, port) => {
                let mut room = Short::new();
                room.authority(*ip, Some(*port));
                self.painted(DIM, format_args!(" {}", room.as_str()));
            }
            Endpoint::Unix(name) if !name.is_empty() => self.painted(DIM, format_args!(" {}", Escaped(name))),
            Endpoint::Unix(_) => self.painted(DIM, format_args!(" unix")),
            Endpoint::Unknown => {}
        }
    }

    fn marks(&mut self, span: &Span) {
        let color = self.color;
        let http = matches!(span.exchange.details, Details::Http(_));
        // the server's view of a call that failed by the client's fault
        let coded = span.error().is_some();
        span.visit_attributes(&mut |key, value| match (key, value) {
            // HTTP's stands in front
            ("error.type", AttrValue::Str(text)) if !http || !text.starts_with(|c: char| c.is_ascii_digit()) => {
                self.painted(RED, format_args!(" error={}", Escaped(text)));
            }
            ("rpc.response.status_code", AttrValue::Str(text)) if !coded && text != "OK" => {
                self.painted(YELLOW, format_args!(" status={text}"));
            }
            (REQUEST_MESSAGES, AttrValue::Int(count)) => self.plain(format_args!(" requests={count}")),
            (RESPONSE_MESSAGES, AttrValue::Int(count)) => self.plain(format_args!(" responses={count}")),
            ("db.operation.batch.size", AttrValue::Int(count)) => self.plain(format_args!(" batch={count}")),
            ("db.response.returned_rows", AttrValue::Int(count)) => self.plain(format_args!(" rows={count}")),
            (_, AttrValue::Reasons(reasons)) => {
                let mut line = Line { out: self.out, color };
                for (index, why) in reasons.iter().enumerate() {
                    let begin = if index == 0 { " incomplete=" } else { "," };
                    line.painted(YELLOW, format_args!("{begin}{}", why.name()));
                }
            }
            _ => {}
        });
    }
}

/// Text without control characters, and without what turns the direction of writing.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |c: char| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        };
        let mut rest = self.0;
        while let Some(at) = rest.find(hidden) {
            let (clean, more) = rest.split_at(at);
            f.write_str(clean)?;
            let mut more = more.chars();
            if let Some(c) = more.next() {
                write!(f, "{}", c.escape_unicode())?;
            }
            rest = more.as_str();
        }
        f.write_str(rest)
    }
}

/// Nanoseconds to three digits with a unit.
struct Short3(u64);

impl std::fmt::Display for Short3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (value, unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{}ns", self.0)),
            1_000..1_000_000 => (self.0 as f64 / 1e3, "us"),
            1_000_000..1_000_000_000 => (self.0 as f64 / 1e6, "ms"),
            _ => (self.0 as f64 / 1e9, "s"),
        };
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        f.pad(&format!("{value:.digits$}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use sidelight_protocol_parsers::{DbSystem, Incomplete, Role, Shape};

    use super::*;
    use crate::{
        semconv::db::Databases,
        testing::{Case, DbCase, RpcCase},
    };

    fn lines(cases: &[Case], color: bool) -> String {
        let mut text = String::new();
        for case in cases {
            Console::new(color).line(&case.span(), &mut text);
        }
        text
    }

    #[test]
    fn lines_are_aligned_and_readable() {
        let cases = [
            Case { routes: vec!["/users/{id}"], ..Case::server("GET", "/users/7?x=1&sig=y") },
            Case { status: Some(404), ..Case::server("PROPFIND", "/") },
            Case { status: Some(503), ..Case::client("POST", "/a") },
            Case {
                status: None,
                response: false,
                incomplete: vec![Incomplete::Closed, Incomplete::Truncated],
                ..Case::client("GET", "/")
            },
            Case { remote: Endpoint::Unix(Box::default()), ..Case::server("GET", "/unix") },
        ];
        insta::assert_snapshot!(lines(&cases, false), @r"
            00:00:01.001 -> 200   8.00ms nginx            GET /users/{id} /users/7?x=1&sig=REDACTED 192.0.2.7:40000
            00:00:01.001 -> 404   8.00ms nginx            HTTP / 192.0.2.7:40000
            00:00:01.001 <- 503   8.00ms nginx            POST http://shop.example:8080/a 198.51.100.9:8080
            00:00:01.001 <- ---   1.00ms nginx            GET http://shop.example:8080/ 198.51.100.9:8080 error=closed incomplete=closed,truncated
            00:00:01.001 -> 200   8.00ms nginx            GET /unix unix
        ");
    }

    #[test]
    fn calls_and_queries_have_a_line_each() {
        let call = RpcCase::default();
        let fine = Some(Outcome::Ok);
        let long = "SELECT   a,\n  b FROM t WHERE x IN (?) AND y = ? OR z LIKE ? ORDER BY a, b, c, d, e, f LIMIT ? OFFSET ? FOR UPDATE";
        let cases = [
            Case::rpc(Role::Server, call.clone()),
            Case::rpc(Role::Server, RpcCase { status: Some(5), ..call.clone() }),
            Case::rpc(Role::Client, RpcCase { status: Some(5), ..call.clone() }),
            Case::rpc(Role::Client, RpcCase { method: None, status: None, ..call.clone() }),
            Case::rpc(Role::Client, RpcCase { messages: [Some(3), Some(7)], shape: Shape::Session, ..call }),
            Case {
                outcome: fine,
                databases: Databases { returned_rows: true, ..Databases::default() },
                ..Case::db(Role::Client, DbCase::select())
            },
            Case { outcome: fine, ..Case::db(Role::Server, DbCase { query: Some(long), ..DbCase::select() }) },
            Case {
                outcome: Some(Outcome::Error),
                ..Case::db(Role::Client, DbCase { status: Some("42P01"), query: None, ..DbCase::select() })
            },
            Case::db(
                Role::Client,
                DbCase {
                    operation: Some("BATCH"),
                    batch: Some(16),
                    namespace: Some("0"),
                    ..DbCase::new(DbSystem::Redis)
                },
            ),
        ];
        insta::assert_snapshot!(lines(&cases, false), @r"
            00:00:01.001 -> ok    8.00ms nginx            shop.Orders/Place 192.0.2.7:40000
            00:00:01.001 -> ok    8.00ms nginx            shop.Orders/Place 192.0.2.7:40000 status=NOT_FOUND
            00:00:01.001 <- err   8.00ms nginx            shop.Orders/Place 198.51.100.9:50051 error=NOT_FOUND
            00:00:01.001 <- ---   8.00ms nginx            grpc 198.51.100.9:50051
            00:00:01.001 <- ok    8.00ms nginx            shop.Orders/Place 198.51.100.9:50051 requests=3 responses=7
            00:00:01.001 <- ok    8.00ms nginx            SELECT users: SELECT * FROM users WHERE id = ? 198.51.100.9:5432 postgresql/shop rows=3
            00:00:01.001 -> ok    8.00ms nginx            SELECT users: SELECT a, b FROM t WHERE x IN (?) AND y = ? OR z LIKE ? ORDER BY a, b, c, d, e, f LIMIT ? OFFSET ? F... 192.0.2.7:40000 postgresql/shop
            00:00:01.001 <- err   8.00ms nginx            SELECT users 198.51.100.9:5432 postgresql/shop error=42P01
            00:00:01.001 <- ---   8.00ms nginx            BATCH 0 198.51.100.9:6379 redis/0 batch=16
        ");
    }

    #[test]
    fn a_query_text_is_cut_between_characters() {
        for text in ["é", "é ", "日本 "] {
            let query: &'static str = text.repeat(300).leak();
            let line = lines(&[Case::db(Role::Client, DbCase { query: Some(query), ..DbCase::select() })], false);
            let shown = line.split(": ").nth(1).unwrap().split("...").next().unwrap();
            assert!((QUERY - 2..=QUERY).contains(&shown.chars().count()), "{line}");
        }
    }

    #[test]
    fn nothing_from_the_wire_controls_the_terminal() {
        let case = Case::server("GET\x1b[2J", "/a\r\nb\u{9b}31m\u{202e}x\x07?q=\x1b]0;t\x07");
        let line = lines(&[case], false);
        assert!(line.ends_with('\n'));
        assert!(!line.trim_end_matches('\n').contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.contains("/a\\u{d}\\u{a}b\\u{9b}31m\\u{202e}x\\u{7}?q=\\u{1b}]0;t\\u{7}"), "{line}");
    }

    #[test]
    fn color_stands_only_on_terminals() {
        let case = [Case::server("GET", "/")];
        assert!(!lines(&case, false).contains('\x1b'));
        let painted = lines(&case, true);
        let mut plain = painted.clone();
        for code in [RESET, DIM, RED, GREEN, YELLOW, BOLD] {
            plain = plain.replace(code, "");
        }
        assert!(painted.contains(GREEN));
        assert_eq!(plain, lines(&case, false));
    }

    #[test]
    fn durations_have_three_digits() {
        for (nanoseconds, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (12_340, "12.3us"),
            (123_400, "123us"),
            (1_234_000, "1.23ms"),
            (59_990_000_000, "60.0s"),
        ] {
            assert_eq!(Short3(nanoseconds).to_string(), text);
        }
    }
}
