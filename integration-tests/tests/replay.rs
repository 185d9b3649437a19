//! `sidelight replay` as it is typed: by a user without privileges, on files that are whole, cut, or something else.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use sidelight_integration_tests::{
    daemon::binary,
    spans::{self, Kind, exchanges},
};

const CAPTURE: &[u8] = include_bytes!("../../collector/tests/captures/ethernet.pcap");
const GOLDEN: &str = include_str!("../../collector/tests/captures/ethernet.pcap.golden");

/// Replays this content as user 65534.
fn replay(dir: &Path, name: &str, content: &[u8], more: &[&str]) -> (Output, String) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary())
        .arg("replay")
        .arg(&path)
        .args(["--output", "otlp-json"])
        .args(more)
        .output()
        .expect("setpriv runs");
    (done, path.display().to_string())
}

/// Requests of the list: `METHOD PATH  PORT PORT`; the other lines are answers.
fn golden() -> Vec<String> {
    let words = GOLDEN.lines().filter(|line| line.starts_with(char::is_alphabetic)).map(|line| line.split(' '));
    let mut all: Vec<_> =
        words.map(|mut words| format!("{} {}", words.next().unwrap(), words.next().unwrap())).collect();
    all.sort();
    all
}

#[test]
fn an_unprivileged_user_gets_both_sides_of_every_exchange() {
    let dir = tempfile::tempdir().unwrap();
    let (done, _) = replay(dir.path(), "whole.pcap", CAPTURE, &["--side", "both"]);
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{stderr}");
    let spans = spans::parse(&String::from_utf8_lossy(&done.stdout));
    assert_eq!(exchanges(&spans, Kind::Server), exchanges(&spans, Kind::Client));
    let without_query = |line: &String| line.split('?').next().unwrap_or_default().to_owned();
    let expected: Vec<_> = golden().iter().map(without_query).collect();
    let found = exchanges(&spans, Kind::Server);
    let found: Vec<_> = found.iter().filter_map(|line| line.rsplit_once(' ')).map(|(request, _)| request).collect();
    assert_eq!(found, expected, "{stderr}");
}

#[test]
fn a_cut_file_gives_what_is_in_it_and_ends_with_1_and_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let cut = CAPTURE.len() - 100;
    let (done, path) = replay(dir.path(), "cut.pcap", &CAPTURE[..cut], &[]);
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{stderr}");
    assert!(!spans::parse(&String::from_utf8_lossy(&done.stdout)).is_empty(), "{stderr}");
    let message = stderr.lines().last().unwrap();
    assert!(message.contains(&format!("cannot read {path} at byte ")), "{message}");
    assert!(message.contains("it was cut, or is still being written"), "{message}");
    let offset = message.split_once("at byte ").and_then(|(_, rest)| rest.split(':').next());
    let offset: usize = offset.unwrap().parse().unwrap();
    assert!((1..=cut).contains(&offset) && cut - offset < 70_000, "{message}");
}

#[test]
fn a_file_that_is_no_capture_ends_with_1_and_says_what_it_found() {
    let dir = tempfile::tempdir().unwrap();
    let (done, path) = replay(dir.path(), "notes.txt", b"hello, this is no capture", &[]);
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.contains(&format!("cannot read {path} at byte 0: [68, 65, 6c, 6c]")), "{stderr}");
    assert!(stderr.contains("neither a recording nor a pcap or pcapng file"), "{stderr}");
}
