//! The gRPC peers of `peers/README.md`: servers and clients in four languages, their counts, and spans counted the same way.

use std::collections::BTreeMap;

use crate::{
    peers::{built, free_port, listening},
    scene::{Finished, Running, Scene},
    spans::{Kind, Span},
};

/// The languages of the peers.
pub const LANGUAGES: [&str; 4] = ["go", "python", "rust", "node"];

/// The service of the peers.
pub const SERVICE: &str = "sidelight.test.Echo";

/// How often each `METHOD STATUS` happened.
pub type Counts = BTreeMap<String, u64>;

/// The peer in a language.
pub fn peer(language: &str) -> String {
    built(&format!("grpc-{language}"))
}

/// A running server.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    running: Running,
}

impl Server {
    /// Starts one and waits until it listens.
    pub fn start(scene: &mut Scene, language: &str) -> Self {
        let port = free_port();
        let running = scene.start(&[peer(language), "server".to_owned(), format!("port={port}")]);
        listening(port);
        Self { port, running }
    }

    /// Ends it: what it has answered.
    pub fn stop(self, scene: &mut Scene) -> Counts {
        counts(&scene.stop(&self.running))
    }

    /// Starts a client with more words (`calls=100`).
    pub fn client(&self, scene: &mut Scene, language: &str, words: &str) -> Running {
        let mut argv = vec![peer(language), "client".to_owned(), format!("port={}", self.port)];
        argv.extend(words.split_whitespace().map(str::to_owned));
        scene.start(&argv)
    }

    /// Runs a client to its end: what it was answered.
    pub fn call(&self, scene: &mut Scene, language: &str, words: &str) -> Counts {
        let running = self.client(scene, language, words);
        counts(&scene.wait(&running))
    }
}

/// The counts a peer printed at its end.
pub fn counts(done: &Finished) -> Counts {
    assert_eq!(done.code, 0, "a peer failed:\n{}{}", done.stdout, done.stderr);
    let last = done.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("no counts, {error}: {last:?}\n{}", done.stderr))
}

/// Adds up.
pub fn add(to: &mut Counts, more: Counts) {
    for (call, count) in more {
        *to.entry(call).or_default() += count;
    }
}

/// A span as a peer counts it; "?" for what it does not say.
pub fn call(span: &Span) -> String {
    let or_unknown = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
    format!("{} {}", or_unknown(span.get("rpc.method")), or_unknown(span.get("rpc.response.status_code")))
}

/// All spans of a kind, counted as a peer counts.
pub fn calls(spans: &[Span], kind: Kind) -> Counts {
    let mut all = Counts::new();
    for span in spans.iter().filter(|span| span.kind == kind) {
        *all.entry(call(span)).or_default() += 1;
    }
    all
}

/// The number of the call that a span's trace id names (`trace=1`), if it is one of `..calls`.
pub fn number(span: &Span, calls: usize) -> Option<usize> {
    let id = u128::from_str_radix(&span.trace_id, 16).unwrap();
    let id = usize::try_from(id).ok()?;
    (1..=calls).contains(&id).then(|| id - 1)
}

/// What call number `i` of the work `mix` comes to, by `peers/README.md`.
pub fn mix(i: usize) -> String {
    let turn = i / 10;
    let (method, status) = match i % 10 {
        5 => {
            const STATUSES: [&str; 5] =
                ["NOT_FOUND", "INTERNAL", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNAUTHENTICATED"];
            ("Unary", STATUSES[turn % 5])
        }
        6 => ("ServerStream", "OK"),
        7 => ("ClientStream", "OK"),
        8 => ("BidiStream", if turn.is_multiple_of(3) { "ABORTED" } else { "OK" }),
        9 if turn.is_multiple_of(2) => ("Missing", "UNIMPLEMENTED"),
        9 => ("ServerStream", "RESOURCE_EXHAUSTED"),
        _ => ("Unary", "OK"),
    };
    format!("{SERVICE}/{method} {status}")
}

/// How often each `METHOD STATUS` happens in calls `range` of the work `mix`.
pub fn mixed(range: std::ops::Range<usize>) -> Counts {
    let mut all = Counts::new();
    for i in range {
        *all.entry(mix(i)).or_default() += 1;
    }
    all
}
