//! The committed captures, dissected by two programs that share no code: `sidelight replay` and tshark must list the same
//! exchanges. And what replay says of each is what was reviewed: the golden file beside the capture.
//!
//! A protocol is one entry of [`DISSECTIONS`]: how tshark is told to dissect, and one function that makes exchanges of what
//! it shows. `GOLDEN=write` writes the golden files anew.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod dissect {
    pub(crate) mod http1;
    pub(crate) mod mysql;
    pub(crate) mod postgresql;
    pub(crate) mod redis;
    pub(crate) mod tshark;
}

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use dissect::tshark::{Packet, packets};
use sidelight_integration_tests::{
    daemon::binary,
    spans::{self, Kind, Span},
};

/// How the captures of one protocol are compared.
struct Dissection {
    /// Captures: files, or folders of them, below `collector/tests/captures`.
    captures: &'static [&'static str],
    /// Arguments to tshark: what to dissect as what.
    arguments: &'static [&'static str],
    /// The protocols of interest in its answer: `http`.
    protocols: &'static str,
    /// Exchanges in the packets of one TCP stream, in the order of their requests.
    listed: fn(&[Packet]) -> Vec<String>,
    /// The same line of a span.
    line: fn(&Span) -> String,
}

const DISSECTIONS: &[(&str, Dissection)] = &[
    ("http1", dissect::http1::DISSECTION),
    ("mysql", dissect::mysql::DISSECTION),
    ("postgresql", dissect::postgresql::DISSECTION),
    ("redis", dissect::redis::DISSECTION),
];

fn files(dissection: &Dissection) -> Vec<PathBuf> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../collector/tests/captures");
    let mut files = Vec::new();
    for name in dissection.captures {
        let path = captures.join(name);
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()));
        } else {
            files.push(path);
        }
    }
    files.retain(|file| file.extension().is_some_and(|end| end == "pcap" || end == "pcapng"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The server's spans of a capture, by their beginning: they name the client's port.
fn replay(file: &Path) -> Vec<Span> {
    let done = Command::new(binary())
        .arg("replay")
        .arg(file)
        .args(["--output", "otlp-json", "--side", "server"])
        .output()
        .expect("sidelight runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut spans = spans::parse(&String::from_utf8_lossy(&done.stdout));
    spans.sort_by_key(|span| span.start);
    spans
}

/// The connection a span went over: the client's port.
fn port(span: &Span) -> String {
    span.get("network.peer.port").to_owned()
}

#[test]
fn tshark_lists_the_same_exchanges() {
    for (name, dissection) in DISSECTIONS {
        for file in files(dissection) {
            let mut expected = Vec::new();
            for stream in packets(&file, dissection.arguments, dissection.protocols) {
                expected.push((dissection.listed)(&stream));
            }
            expected.retain(|stream| !stream.is_empty());
            let mut seen: Vec<(String, Vec<String>)> = Vec::new();
            for span in replay(&file) {
                let (port, line) = (port(&span), (dissection.line)(&span));
                match seen.iter_mut().find(|(one, _)| *one == port) {
                    Some((_, lines)) => lines.push(line),
                    None => seen.push((port, vec![line])),
                }
            }
            let mut seen: Vec<_> = seen.into_iter().map(|(_, lines)| lines).collect();
            expected.sort();
            seen.sort();
            assert_eq!(seen, expected, "{name}: {}", file.display());
            let count: usize = expected.iter().map(Vec::len).sum();
            assert!(count > 0, "{name}: nothing in {}", file.display());
        }
    }
}

/// A span in one line, but for what a replay is free to choose: its ids.
fn golden_line(span: &Span) -> String {
    let kind = if span.kind == Kind::Client { "client" } else { "server" };
    let mut line =
        format!("{kind} {} {} {} ns", span.name, ["unset", "ok", "error"][span.status as usize], span.end - span.start);
    for (key, value) in &span.attributes {
        line += &format!(" {key}={value:?}");
    }
    line
}

#[test]
fn replay_says_what_was_reviewed() {
    for (name, dissection) in DISSECTIONS {
        for file in files(dissection) {
            let text: String = replay(&file).iter().map(|span| golden_line(span) + "\n").collect();
            let golden = PathBuf::from(format!("{}.spans", file.display()));
            if std::env::var_os("GOLDEN").is_some_and(|what| what == "write") {
                fs::write(&golden, &text).unwrap();
            }
            let reviewed = fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(text, reviewed, "{name}: {}", golden.display());
        }
    }
}
