//! No exchange comes of bytes that are of no protocol of the table, in a million connections: the whole way from detection
//! through the parser to what it says.
//!
//! Both directions are filled: with random bytes, mostly zeros, records led by their length in the notations that binary
//! protocols use, lines of text, and with what the clients and servers of other protocols say to each other, as it is and
//! damaged. What speaks for a protocol besides the bytes is made up as well.

use crate::PROTOCOLS;
use crate::contract::{Close, Direction, Lost, Priors};
use crate::detect::{Candidates, Detection, Sample, detect};
use crate::fuzzing::Feed;

/// Request and answer of protocols that are not in the table.
const FOREIGN: [(&str, &[u8], &[u8]); 16] = [
    (
        "kafka",
        b"\0\0\0\x23\0\x12\0\x03\0\0\0\x01\0\x0brdkafka-1.0\0\x0blibrdkafka\x062.3.0\0",
        b"\0\0\0\x14\0\0\0\x01\0\0\x02\0\0\0\0\0\x0c\0\0\0\0\0\0\0",
    ),
    (
        "mongodb",
        b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x25\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0",
        b"\x2c\0\0\0\x02\0\0\0\x01\0\0\0\xdd\x07\0\0\0\0\0\0\0\x17\0\0\0\x08ok\0\x01\x10x\0\x15\0\0\0\0\0\0",
    ),
    ("amqp", b"AMQP\0\0\x09\x01", b"\x01\0\0\0\0\0\x12\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\xce"),
    ("cql", b"\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0", b"\x84\0\0\0\x02\0\0\0\0"),
    ("memcached", b"set key 0 60 5\r\nhello\r\nget key\r\n", b"STORED\r\nVALUE key 0 5\r\nhello\r\nEND\r\n"),
    ("memcached binary", b"\x80\x00\0\x03\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0key", b"\x81\0\0\0\x04\0\0\0\0\0\0\x05\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0a"),
    ("tds", b"\x12\x01\0\x2f\0\0\x01\0\0\0\x1a\0\x06\x01\0\x20\0\x01\x02\0\x21\0\x01\x03\0\x22\0\x04\x04\0\x26\0\x01\xff\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\x04\x01\0\x1a\0\0\x01\0\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x10\0\x03\xe8\0\0\x02"),
    ("smtp", b"EHLO example.org\r\nMAIL FROM:<a@example.org>\r\n", b"220 mail ESMTP\r\n250-mail\r\n250 SIZE\r\n250 2.1.0 Ok\r\n"),
    ("ftp", b"USER anonymous\r\nPASS x\r\nQUIT\r\n", b"220 ready\r\n331 password\r\n230 in\r\n221 bye\r\n"),
    ("dns", b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01", b"\0\x1d\x12\x34\x81\x83\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01"),
    ("mqtt", b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd\x30\x07\0\x03a/bxy\xc0\0", b"\x20\x02\0\0\xd0\0"),
    ("nats", b"CONNECT {\"verbose\":true}\r\nPUB a 2\r\nhi\r\nPING\r\n", b"INFO {\"server_id\":\"x\"}\r\n+OK\r\n+OK\r\nPONG\r\n"),
    ("zookeeper", b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\0\0\0\x25\0\0\0\0\0\0\x75\x30\x01\0\0\0\0\0\0\x01\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("ldap", b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"),
    ("rtsp", b"OPTIONS rtsp://example.org/a RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"),
    ("websocket", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", b"\x81\x05Hello\x88\x02\x03\xe8"),
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One direction's bytes, of the given kind.
    fn fill(&mut self, kind: usize, into: &mut Vec<u8>) {
        into.clear();
        let len = 5 + self.below(75);
        while into.len() < len {
            let bits = self.next();
            let small = (bits >> 32) as u8 % 24;
            match kind {
                0 => into.extend(bits.to_le_bytes()),
                1 => into.extend([(bits & 1 & bits >> 9) as u8 * (bits >> 16) as u8, 0]),
                2 => into.extend([0, 0, 0, small]),
                3 => into.extend([small, 0, 0, bits as u8 % 3]),
                4 => into.extend([(bits >> 8) as u8, 0, 0, 0, small]),
                5 => into.extend([b'A' + (bits as u8 % 58), 0, 0, 0, 4 + small]),
                6 => into.extend([0, small]),
                7 => into.extend([32 + (bits % 95) as u8, 32 + (bits >> 8 & 63) as u8]),
                _ if bits & 7 == 0 => into.extend(b"\r\n"),
                _ => into.extend([b'a' + (bits >> 8) as u8 % 26, b' ' + (bits >> 16) as u8 % 2 * 16]),
            }
            // What a length announces.
            if (2..7).contains(&kind) {
                let filler = self.next();
                into.extend((0..small).map(|at| if filler & 1 == 0 { at } else { (filler >> (at % 7 * 8)) as u8 }));
            }
        }
    }
}

/// Port and program.
type Prior = (Option<u16>, &'static str);

/// What speaks for one protocol after the other, then for none: most are wrong.
fn prior(round: usize) -> Prior {
    let priors = PROTOCOLS.get(round % (PROTOCOLS.len() + 1)).map(|protocol| protocol.priors);
    let first = |priors: Priors| (priors.ports.first().copied(), priors.programs.first().copied().unwrap_or_default());
    priors.map_or((None, ""), first)
}

/// How many exchanges are told of a connection, and of which protocol.
fn told(ingress: &[u8], egress: &[u8], from_start: bool, prior: Prior) -> Option<(&'static str, usize)> {
    let (port, program) = prior;
    let sample = Sample { ingress, egress, from_start, role: None, tls: false, port, program };
    let Detection::Is(protocol, role) = detect(&sample, &mut Candidates::default()) else { return None };
    let mut feed = Feed::new(protocol, role);
    if !from_start {
        feed.hole(Direction::Ingress, None, Lost::Gap);
        feed.hole(Direction::Egress, None, Lost::Gap);
    }
    feed.data(Direction::Ingress, ingress);
    feed.data(Direction::Egress, egress);
    feed.close(None, Close::Fin);
    Some((protocol.name, feed.done().count()))
}

/// Half of the connections each, so that the two run side by side.
fn none_in_half_a_million(seed: u64) {
    let mut random = Random(seed);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut phantoms = Vec::new();
    for round in 0..500_000_usize {
        let kind = match round % 10 {
            kind @ 0..=8 => {
                random.fill(kind, &mut a);
                let other = if round % 3 == 0 { random.below(9) } else { kind };
                random.fill(other, &mut b);
                kind
            }
            _ => {
                let (_, request, response) = FOREIGN[round / 10 % FOREIGN.len()];
                (a, b) = (request.to_vec(), response.to_vec());
                for bytes in [&mut a, &mut b] {
                    let cut = if random.next() & 3 == 0 { random.below(bytes.len()) } else { 0 };
                    bytes.drain(..cut);
                    for _ in 0..random.below(4) {
                        let at = random.below(bytes.len());
                        bytes[at] = random.next() as u8;
                    }
                }
                9
            }
        };
        let (ingress, egress) = if round & 16 == 0 { (&a, &b) } else { (&b, &a) };
        match told(ingress, egress, round & 1 == 0, prior(round / 2)) {
            Some((protocol, exchanges)) if exchanges > 0 => phantoms.push((protocol, kind, a.clone(), b.clone())),
            _ => {}
        }
    }
    let shown = phantoms.iter().take(5).map(|(protocol, kind, a, b)| {
        format!("{protocol} of kind {kind}: {} | {}", a.escape_ascii(), b.escape_ascii())
    });
    let shown: Vec<_> = shown.collect();
    assert!(phantoms.is_empty(), "{} phantoms\n{}", phantoms.len(), shown.join("\n"));
}

#[test]
fn no_exchange_comes_of_foreign_bytes() {
    none_in_half_a_million(7);
}

#[test]
fn no_exchange_comes_of_other_foreign_bytes() {
    none_in_half_a_million(4711);
}

#[test]
fn other_protocols_are_not_taken_for_one_of_the_table() {
    for (name, request, response) in FOREIGN {
        for from_start in [false, true] {
            for (ingress, egress) in [(request, response), (response, request), (request, &[][..]), (&[][..], request)]
            {
                for round in 0..=PROTOCOLS.len() {
                    assert_eq!(told(ingress, egress, from_start, prior(round)), None, "{name}");
                }
            }
        }
    }
}
