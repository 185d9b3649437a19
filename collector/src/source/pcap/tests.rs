//! Files built here: every link type, tag, version and fragmentation, and every way to break a file.

use std::{fs, net::SocketAddr, path::Path};

use sidelight_events::{Event, ended, flags, role};
use sidelight_protocol_parsers::Role;

use super::Capture;
use crate::source::{Found, Input, Item, Problem, Side};

/// A packet of `payload` as an Ethernet frame would carry it, from the link header's end on.
fn tcp(from: &str, to: &str, seq: u32, ack: u32, bits: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, bits, 0, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

fn ipv4(offset: u16, more: bool, protocol: u8, contents: &[u8]) -> Vec<u8> {
    let total = (20 + contents.len()) as u16;
    let fragment = (offset / 8) | if more { 0x2000 } else { 0 };
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
    packet.extend(contents);
    packet
}

fn ipv6(next: u8, contents: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((contents.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0; 15]);
    packet.push(1);
    packet.extend([0; 15]);
    packet.push(2);
    packet.extend(contents);
    packet
}

/// A pcap file of packets with the given link type.
fn pcap(link: u16, packets: &[Vec<u8>], big_endian: bool) -> Vec<u8> {
    let number = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = [0xa1b2_c3d4, 0, 0, 0, 65_535, u32::from(link)].map(number).concat();
    for packet in packets {
        let len = packet.len() as u32;
        file.extend([1_700_000_000, 5, len, len].map(number).concat());
        file.extend(packet);
    }
    file
}

/// What a file gives, a line an item.
fn lines(file: &[u8], side: Side) -> Result<Vec<String>, Problem> {
    let mut input = Input::new(file);
    let magic = input.array::<4>("the header")?;
    let mut capture = Capture::begin(input, magic, side)?;
    let mut lines = Vec::new();
    let mut show = |item: Item<'_>| match item {
        Item::Event(Event::Data(header, bytes)) => {
            let cut = if header.flags & flags::CUT != 0 { "cut " } else { "" };
            let text = String::from_utf8_lossy(bytes);
            lines.push(format!("{} {} {} {cut}{text}", header.conn.ino, header.direction, header.offset));
        }
        Item::Event(Event::Open(open)) => lines.push(format!("{} open {}", open.conn.ino, open.role)),
        Item::Event(Event::Close(close)) => {
            lines.push(format!("{} close {} {}", close.conn.ino, close.ended, close.how))
        }
        Item::Event(_) | Item::Clock(_) | Item::Process(_) => {}
    };
    while capture.read(&mut show)? {}
    Ok(lines)
}

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const A: &str = "127.0.0.1:50";
const B: &str = "127.0.0.2:80";

fn wrap(front: &[u8], packet: &[u8]) -> Vec<u8> {
    [front, packet].concat()
}

#[test]
fn every_link_type_gives_the_same_segment() {
    let packet = ipv4(0, false, 6, &tcp(A, B, 10, 20, ACK, b"hello"));
    let ethernet: [u8; 12] = [0; 12];
    let tagged = [&ethernet[..], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0]].concat();
    let sll = [&[0; 14][..], &[8, 0]].concat();
    let sll2 = [&[8, 0][..], &[0; 18]].concat();
    for (link, front) in [
        (1, [&ethernet[..], &[8, 0]].concat()),
        (1, tagged),
        (113, sll),
        (276, sll2),
        (101, vec![]),
        (228, vec![]),
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
    ] {
        for big_endian in [false, true] {
            let file = pcap(link, &[wrap(&front, &packet)], big_endian);
            let seen = lines(&file, Side::Only(Role::Server)).unwrap();
            assert_eq!(seen, ["1 open 0", "2 open 0", "1 1 10 hello", "2 0 10 hello"], "link type {link}");
        }
    }
}

#[test]
fn fragments_are_put_together_in_any_order() {
    let segment = tcp(A, B, 10, 20, ACK, b"0123456789abcdef0123456789");
    let (first, rest) = segment.split_at(24);
    let parts = [ipv4(0, true, 6, first), ipv4(24, false, 6, rest)];
    let six = |at: u16, more: u16, contents: &[u8]| {
        let field = (at | more).to_be_bytes();
        ipv6(44, &[&[6, 0, field[0], field[1], 0, 0, 0, 9][..], contents].concat())
    };
    let sixes = [six(0, 1, first), six(24, 0, rest)];
    for [a, b] in [parts, sixes] {
        for packets in [[a.clone(), b.clone()], [b, a]] {
            let seen = lines(&pcap(101, &packets, false), Side::Only(Role::Client)).unwrap();
            assert_eq!(seen[2], "1 1 10 0123456789abcdef0123456789");
        }
    }
}

#[test]
fn the_syn_tells_the_sides_and_the_next_one_on_the_same_ports_is_another_connection() {
    let packet = |from, to, seq, ack, bits, payload: &[u8]| {
        let mut packet = ipv4(0, false, 6, &tcp(from, to, seq, ack, bits, payload));
        if from == B {
            packet[12..20].rotate_left(4);
        }
        packet
    };
    let packets = [
        packet(A, B, 9, 0, SYN, b""),
        packet(B, A, 19, 10, SYN | ACK, b""),
        packet(A, B, 10, 20, ACK, b"ask"),
        packet(B, A, 20, 13, ACK | FIN, b"say"),
        packet(A, B, 13, 24, ACK | FIN, b""),
        packet(A, B, 900, 0, SYN, b""),
        packet(A, B, 901, 20, ACK, b"more"),
    ];
    let seen = lines(&pcap(101, &packets, false), Side::Only(Role::Server)).unwrap();
    let (half, whole, server) = (ended::EGRESS, ended::BOTH, role::SERVER);
    let (close_half, close) = (format!("2 close {half} 1"), format!("2 close {whole} 1"));
    let open = format!("2 open {server}");
    assert_eq!(seen, [&open, "2 0 10 ask", "2 1 20 say", &close_half, &close, &open, "2 0 901 more"]);
    let client = lines(&pcap(101, &packets, false), Side::Only(Role::Client)).unwrap();
    assert!(client.iter().all(|line| line.starts_with("1 ")), "{client:?}");
}

#[test]
fn what_the_capture_cut_keeps_its_true_length() {
    let packet = ipv4(0, false, 6, &tcp(A, B, 10, 20, ACK, b"hello world"));
    let file = pcap(101, &[packet[..packet.len() - 6].to_vec()], false);
    assert_eq!(lines(&file, Side::Both).unwrap()[2], "1 1 10 cut hello");
}

#[test]
fn long_segments_become_several_records() {
    let mut packet = ipv4(0, false, 6, &tcp(A, B, 10, 20, ACK, &[b'x'; 40_000]));
    // Offloaded: no length yet.
    packet[2..4].copy_from_slice(&[0, 0]);
    let seen = lines(&pcap(101, &[packet], false), Side::Both).unwrap();
    let offsets: Vec<_> = seen.iter().filter_map(|line| line.strip_prefix("1 1 ")).map(|l| l.len()).collect();
    assert_eq!(offsets, [16_384 + 3, 16_384 + 6, 40_000 - 2 * 16_384 + 6]);
}

fn committed(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name)).unwrap()
}

#[test]
fn a_file_cut_anywhere_ends_with_an_error_that_says_so_or_at_a_packet() {
    for name in ["cut.pcap", "ethernet.pcapng"] {
        let file = committed(name);
        let whole = lines(&file, Side::Both).unwrap();
        for len in (4..file.len()).take(2500) {
            match lines(&file[..len], Side::Both) {
                Ok(seen) => assert_eq!(seen[..], whole[..seen.len()], "{name} cut to {len} bytes"),
                Err(problem) => {
                    assert!(matches!(problem.found, Found::End { .. }), "{name} cut to {len} bytes: {problem}");
                    assert!(problem.offset <= len as u64);
                }
            }
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for name in ["cut.pcap", "ethernet.pcapng"] {
        let file = committed(name);
        let file = &file[..file.len().min(1200)];
        for index in 4..file.len() {
            for flip in [0xff, 0x01, 0x80] {
                let mut file = file.to_vec();
                file[index] ^= flip;
                let _ = lines(&file, Side::Both);
            }
        }
    }
}

#[test]
fn other_files_and_lengths_beyond_reason_are_refused_by_name() {
    let message = |file: &[u8]| lines(file, Side::Both).unwrap_err().to_string();
    assert_eq!(
        message(b"GET / HTTP/1.1"),
        "at byte 0: [47, 45, 54, 20], which begins neither a recording nor a pcap or pcapng file"
    );
    let mut file = pcap(101, &[vec![0; 4]], false);
    file[32..36].copy_from_slice(&[0xff; 4]);
    assert_eq!(message(&file), "at byte 40: a packet of 4294967295 bytes, at most 16777216 are allowed");
}
