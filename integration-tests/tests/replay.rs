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

/// A capture (raw IPv4) of one connection from its start: so many requests and answers.
fn keep_alive(exchanges: usize) -> Vec<u8> {
    // Magic, version 2.4, no offset, no accuracy, snapshot length, link type RAW.
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 101] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    let (mut client, mut server, mut micros) = (1_u32, 1_u32, 0_u32);
    let mut packet = |by_client: bool, tcp_flags: u8, seq: u32, ack: u32, payload: &[u8]| {
        micros += 10;
        let (from, to): ([u8; 6], [u8; 6]) = ([192, 0, 2, 1, 0xc0, 1], [192, 0, 2, 2, 0, 80]);
        let (from, to) = if by_client { (from, to) } else { (to, from) };
        let len = u16::try_from(40 + payload.len()).unwrap();
        let mut bytes = vec![0x45, 0];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
        bytes.extend_from_slice(&[from[..4].to_vec(), to[..4].to_vec(), from[4..].to_vec(), to[4..].to_vec()].concat());
        bytes.extend_from_slice(&[seq.to_be_bytes(), ack.to_be_bytes()].concat());
        bytes.extend_from_slice(&[0x50, tcp_flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
        for word in [1_700_000_000 + micros / 1_000_000, micros % 1_000_000, u32::from(len), u32::from(len)] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&bytes);
    };
    let (syn, ack, push) = (2, 0x10, 0x18);
    packet(true, syn, 0, 0, b"");
    packet(false, syn | ack, 0, 1, b"");
    packet(true, ack, 1, 1, b"");
    for n in 0..exchanges {
        let request = format!("GET /{n} HTTP/1.1\r\nHost: shop\r\n\r\n");
        packet(true, push, client, server, request.as_bytes());
        client += u32::try_from(request.len()).unwrap();
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        packet(false, push, server, client, answer);
        server += u32::try_from(answer.len()).unwrap();
    }
    file
}

#[test]
fn a_file_of_many_times_what_the_queues_hold_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("small.yaml");
    fs::write(&config, "limits:\n  span_queue: 64KiB\n  export_queue: 256KiB\n").unwrap();
    let config = config.to_str().unwrap();
    let (done, _) = replay(dir.path(), "long.pcap", &keep_alive(5000), &["--side", "both", "--config", config]);
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{stderr}");
    let spans = spans::parse(&String::from_utf8_lossy(&done.stdout));
    assert_eq!(
        (exchanges(&spans, Kind::Server).len(), exchanges(&spans, Kind::Client).len()),
        (5000, 5000),
        "{stderr}"
    );
}
