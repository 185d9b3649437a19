//! Which protocol does a connection speak? Judged from the first bytes of both directions; ports and names are only priors.
//!
//! The bias: rather late than wrong. A protocol is committed to only on a request and its answer that agree, or on one
//! direction's bytes that nothing else sends (a whole, valid HTTP/1 request head).
//!
//! # Priors
//!
//! A listening port and the name of the program ([`crate::Priors`]) say which protocols are asked first: which of two that are
//! likely is taken, and which three stay candidates. They make no protocol likely that its bytes do not, and none is preferred
//! to one that is certain.
//!
//! What TLS agreed on (ALPN) is not asked for, because it can decide nothing here. It is known to those who see the handshake, and
//! a connection whose handshake was seen is known from its first plaintext byte: HTTP/2 then begins with its preface (RFC 9113
//! section 3.4), HTTP/1 with a request line, and both are certain from that alone. A connection that is joined later made its
//! handshake before anyone looked; from TLS 1.3 on, the server's choice is encrypted on the wire as well.

use crate::contract::{Protocol, Role};

/// What is known of a connection when its protocol is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// First bytes read, at most [`crate::MAX_REST`].
    pub ingress: &'a [u8],
    /// First bytes written.
    pub egress: &'a [u8],
    /// Whether they are the connection's very first bytes (else it was joined in the middle).
    pub from_start: bool,
    /// Who connected, where the kernel knows.
    pub role: Option<Role>,
    /// Plaintext of a TLS library.
    pub tls: bool,
    /// The port of the side that listens, where known: a prior, never a proof.
    pub port: Option<u16>,
    /// Name of the program whose end is watched, empty where it is not known: a prior, never a proof.
    pub program: &'a str,
}

/// One protocol's judgement of a [`Sample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// It is this protocol: a handshake that nothing else sends, or a request and its answer that agree.
    Certain(Option<Role>),
    /// A request and its answer agree, but so might those of another protocol. The first such is taken when no protocol is
    /// certain, or was asked before it and is still possible.
    Likely(Option<Role>),
    /// It may be; more bytes are needed.
    Possible,
    /// It is not, whatever follows.
    No,
}

/// The answer of [`detect`].
#[derive(Clone, Copy)]
pub enum Detection {
    /// This protocol, with the watched side's role where the bytes tell.
    Is(&'static Protocol, Option<Role>),
    /// None of ours, and recognised as something else: `tls`, `ssh`.
    Opaque(&'static str),
    /// More bytes are needed.
    Undecided,
    /// Nothing we know.
    Unknown,
}

/// The protocols that a connection may still speak: bit i for entry i of [`crate::PROTOCOLS`]. What was excluded once is not
/// asked again, until the sample begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates(u32);

impl Default for Candidates {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Candidates {
    fn contains(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }

    fn remove(&mut self, index: usize) {
        self.0 &= !(1 << index);
    }
}

/// Candidates that stay once [`ENOUGH`] bytes of a direction are known: those asked first.
pub const MAX_CANDIDATES: usize = 3;

/// Bytes of one direction after which only [`MAX_CANDIDATES`] protocols stay.
pub const ENOUGH: usize = 64;

// One bit each.
const _: () = assert!(crate::PROTOCOLS.len() <= 32);

/// Asks the candidates among [`crate::PROTOCOLS`]: first those for which most priors speak, else in the order of the table.
#[must_use]
pub fn detect(sample: &Sample<'_>, candidates: &mut Candidates) -> Detection {
    among(crate::PROTOCOLS, sample, candidates)
}

fn among(table: &[&'static Protocol], sample: &Sample<'_>, candidates: &mut Candidates) -> Detection {
    let (mut possible, mut likely) = (0, None);
    let enough = sample.ingress.len().max(sample.egress.len()) >= ENOUGH;
    for (index, protocol) in in_order(table, sample) {
        if !candidates.contains(index) {
            continue;
        }
        if enough && possible >= MAX_CANDIDATES {
            candidates.remove(index);
            continue;
        }
        match (protocol.score)(sample) {
            Score::Certain(role) => {
                // Among the certain ones the table decides, not the priors.
                let before = table.get(..index).unwrap_or_default();
                let (protocol, role) = certain(before, sample, *candidates).unwrap_or((protocol, role));
                return Detection::Is(protocol, role.or(sample.role));
            }
            Score::Likely(role) => {
                if possible == 0 {
                    likely = Some(Detection::Is(protocol, role.or(sample.role)));
                }
                possible += 1;
            }
            Score::Possible => possible += 1,
            Score::No => candidates.remove(index),
        }
    }
    if let Some(likely) = likely {
        return likely;
    }
    match foreign(sample) {
        Some(name) => Detection::Opaque(name),
        None if possible > 0 => Detection::Undecided,
        None => Detection::Unknown,
    }
}

/// The protocols in the order in which they are asked, with their places in the table.
fn in_order<'a>(
    table: &'a [&'static Protocol],
    sample: &'a Sample<'_>,
) -> impl Iterator<Item = (usize, &'static Protocol)> {
    let most = u8::from(sample.port.is_some()) + u8::from(!sample.program.is_empty());
    (0..=most).rev().flat_map(move |votes| {
        let protocols = table.iter().copied().enumerate();
        protocols.filter(move |(_, protocol)| most == 0 || protocol.priors.votes(sample.port, sample.program) == votes)
    })
}

/// The first of these that is certain.
fn certain(
    table: &[&'static Protocol],
    sample: &Sample<'_>,
    candidates: Candidates,
) -> Option<(&'static Protocol, Option<Role>)> {
    // Without priors they were asked.
    let asked = sample.port.is_none() && sample.program.is_empty();
    let mut left = table.iter().enumerate().filter(|(index, _)| !asked && candidates.contains(*index));
    left.find_map(|(_, protocol)| match (protocol.score)(sample) {
        Score::Certain(role) => Some((*protocol, role)),
        Score::Likely(_) | Score::Possible | Score::No => None,
    })
}

/// What is not ours, but known: not worth another look.
fn foreign(sample: &Sample<'_>) -> Option<&'static str> {
    let Sample { ingress, egress, tls, .. } = *sample;
    if !tls && (tls_records(ingress) || tls_records(egress)) {
        return Some("tls");
    }
    if ingress.starts_with(b"SSH-2.0-") || egress.starts_with(b"SSH-2.0-") {
        return Some("ssh");
    }
    None
}

/// Whether bytes begin with a TLS record (RFC 8446 section 5.1) and go on with another, if they reach that far. A single header
/// must belong to a handshake or be met on its own by its whole record: five bytes prove little.
fn tls_records(bytes: &[u8]) -> bool {
    let Some((&[kind, major, minor, high, low], rest)) = bytes.split_first_chunk::<5>() else { return false };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // "The length MUST NOT exceed 2^14 + 256 bytes"; TLS 1.2 allowed 2^14 + 2048.
    if major != 3 || minor > 4 || len == 0 || len > (1 << 14) + 2048 {
        return false;
    }
    let plausible = match kind {
        // ChangeCipherSpec is one byte, an alert two (more under a cipher).
        20 => len == 1 && rest.first().is_none_or(|byte| *byte == 1),
        21 => (2..=64).contains(&len),
        // ClientHello or ServerHello, whose length is the record's, or an encrypted message.
        22 => match rest {
            &[1 | 2, 0, high, low, ..] => usize::from(u16::from_be_bytes([high, low])) + 4 <= len,
            _ => minor == 3,
        },
        23 => minor == 3 && len > 16,
        _ => false,
    };
    plausible
        && match rest.get(len..).filter(|next| !next.is_empty()) {
            Some(&[20..=23, 3, ..] | &[20..=23]) => true,
            Some(_) => false,
            // Application data mid-stream: the record fills the sample, or is longer.
            None => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Parser, Priors};

    fn sample<'a>(ingress: &'a [u8], egress: &'a [u8]) -> Sample<'a> {
        Sample { ingress, egress, from_start: true, role: None, tls: false, port: None, program: "" }
    }

    fn verdict(ingress: &[u8], egress: &[u8]) -> String {
        shown(detect(&sample(ingress, egress), &mut Candidates::default()))
    }

    fn shown(detection: Detection) -> String {
        match detection {
            Detection::Is(protocol, role) => format!("{} {role:?}", protocol.name),
            Detection::Opaque(name) => name.to_owned(),
            Detection::Undecided => "undecided".to_owned(),
            Detection::Unknown => "unknown".to_owned(),
        }
    }

    fn toy(name: &'static str, priors: Priors, score: fn(&Sample<'_>) -> Score) -> &'static Protocol {
        let parser = |_| -> Box<dyn Parser> { unreachable!("nothing is parsed") };
        Box::leak(Box::new(Protocol { name, side: Role::Server, priors, score, parser }))
    }

    fn possible(name: &'static str) -> &'static Protocol {
        toy(name, Priors::NONE, |_| Score::Possible)
    }

    const PRIORS: Priors = Priors { ports: &[1], programs: &["one"] };

    /// Nothing, and what may speak for [`PRIORS`].
    const SPEAKING: [(Option<u16>, &str, bool); 6] = [
        (None, "", false),
        (Some(2), "", false),
        (Some(2), "other", false),
        (Some(1), "", true),
        (None, "one", true),
        (Some(1), "one", true),
    ];

    #[test]
    fn of_two_that_are_likely_or_possible_the_priors_choose_which_is_asked_first() {
        let favoured = toy("favoured", PRIORS, |_| Score::Likely(None));
        for (port, program, speaks) in SPEAKING {
            let sample = Sample { port, program, ..sample(b"a", b"b") };
            let likely = [toy("first", Priors::NONE, |_| Score::Likely(None)), favoured];
            let (expected, undecided) =
                if speaks { ("favoured None", "favoured None") } else { ("first None", "undecided") };
            assert_eq!(shown(among(&likely, &sample, &mut Candidates::default())), expected, "{port:?} {program}");
            let possible = [possible("first"), favoured];
            assert_eq!(shown(among(&possible, &sample, &mut Candidates::default())), undecided, "{port:?} {program}");
        }
    }

    #[test]
    fn port_and_program_together_speak_louder_than_one_of_them() {
        let by_port = toy("port", Priors { ports: &[1], programs: &[] }, |_| Score::Likely(None));
        let by_both = toy("both", PRIORS, |_| Score::Likely(None));
        let sample = Sample { port: Some(1), program: "one", ..sample(b"a", b"b") };
        assert_eq!(shown(among(&[by_port, by_both], &sample, &mut Candidates::default())), "both None");
    }

    #[test]
    fn what_priors_speak_for_stays_a_candidate() {
        let table = [possible("a"), possible("b"), possible("c"), toy("d", PRIORS, |_| Score::Possible)];
        for (port, program, speaks) in SPEAKING {
            let mut candidates = Candidates::default();
            let sample = Sample { port, program, ..sample(&[b'x'; ENOUGH], b"") };
            assert_eq!(shown(among(&table, &sample, &mut candidates)), "undecided");
            assert_eq!(candidates.contains(3), speaks, "{port:?} {program}");
            assert_eq!((0..4).filter(|index| candidates.contains(*index)).count(), MAX_CANDIDATES);
        }
    }

    #[test]
    fn priors_make_nothing_likely_and_overrule_nothing_that_is_certain() {
        let certain = |name| toy(name, Priors::NONE, |_| Score::Certain(None));
        let sure = toy("sure", PRIORS, |_| Score::Certain(None));
        for (port, program, _) in SPEAKING {
            let sample = Sample { port, program, ..sample(b"a", b"b") };
            let told = |table: &[&'static Protocol]| shown(among(table, &sample, &mut Candidates::default()));
            assert_eq!(told(&[toy("no", PRIORS, |_| Score::No)]), "unknown");
            assert_eq!(told(&[toy("maybe", PRIORS, |_| Score::Possible)]), "undecided");
            for score in [|_: &Sample<'_>| Score::Possible, |_: &Sample<'_>| Score::Likely(None)] {
                assert_eq!(told(&[certain("certain"), toy("favoured", PRIORS, score)]), "certain None");
                assert_eq!(told(&[toy("favoured", PRIORS, score), certain("certain")]), "certain None");
            }
            assert_eq!(told(&[possible("maybe"), certain("first"), sure]), "first None", "{port:?} {program}");
        }
    }

    #[test]
    fn no_two_protocols_share_a_prior() {
        let ports: Vec<u16> = crate::PROTOCOLS.iter().flat_map(|protocol| protocol.priors.ports).copied().collect();
        let programs: Vec<&str> =
            crate::PROTOCOLS.iter().flat_map(|protocol| protocol.priors.programs).copied().collect();
        assert!(ports.iter().all(|port| ports.iter().filter(|other| *other == port).count() == 1), "{ports:?}");
        assert!(
            programs.iter().all(|name| programs.iter().filter(|other| *other == name).count() == 1),
            "{programs:?}"
        );
    }

    #[test]
    fn a_request_head_tells_protocol_and_role() {
        let head = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(verdict(head, b""), "http1 Some(Server)");
        assert_eq!(verdict(b"", head), "http1 Some(Client)");
        assert_eq!(verdict(b"GET / HTTP/1.0\r\n\r\n", b""), "http1 Some(Server)");
    }

    #[test]
    fn every_prefix_of_a_request_is_undecided() {
        let head = b"POST /a/long/path?x=1 HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n\r\n";
        for len in 0..head.len() {
            assert_eq!(verdict(&head[..len], b""), "undecided", "{len} bytes");
        }
    }

    #[test]
    fn a_response_seen_first_waits_for_a_request() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(verdict(b"", response), "undecided");
        assert_eq!(verdict(b"GET / HTTP/1.1\r\n\r\n", response), "http1 Some(Server)");
    }

    #[test]
    fn what_looks_like_http_is_not() {
        for other in [
            &b"INVITE sip:bob@example.org SIP/2.0\r\nVia: x\r\n\r\n"[..],
            b"OPTIONS rtsp://example.org/media RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            b"220 mail.example.org ESMTP\r\n",
            b"EHLO example.org\r\n",
        ] {
            assert_eq!(verdict(other, b""), "unknown", "{:?}", String::from_utf8_lossy(other));
        }
        // A line of Redis begins in the same way.
        for other in [&b"*1\r\n$4\r\nPING\r\n"[..], b"PING\r\n", b"get key\r\n", b"GET / HTTP/3.0\r\n\r\n"] {
            assert_eq!(verdict(other, b""), "undecided", "{:?}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn ciphertext_and_ssh_are_recognised_so_that_nobody_looks_again() {
        let mut hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec();
        assert_eq!(verdict(&hello, b""), "tls");
        hello.resize(5 + 512, 7);
        assert_eq!(verdict(b"", &hello), "tls");
        let mut data = b"\x17\x03\x03\x00\x30".to_vec();
        data.resize(5 + 0x30, 9);
        assert_eq!(verdict(&data, b""), "tls");
        data.extend(b"\x17\x03\x03\x40\x11 and the start of a long one");
        assert_eq!(verdict(&data, b""), "tls");
        data[5 + 0x30] = b'G';
        assert_eq!(verdict(&data, b""), "unknown");
        assert_eq!(verdict(b"SSH-2.0-OpenSSH_9.2\r\n", b""), "ssh");
    }

    /// A million buffers as binary protocols fill them: random, mostly zero, of small numbers, of text that is not HTTP.
    #[test]
    fn foreign_bytes_are_never_taken_for_http() {
        let mut state = 7_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let words =
            [&b"GET "[..], b" HTTP/1.1", b"\r\n", b"HTTP/1.1 200", b": ", b"/", b" ", b"POST", b"Host", b"\n\n", b"\0"];
        let (mut buffer, mut wrong, mut opaque) = (Vec::new(), 0, 0);
        for round in 0..1_000_000_u32 {
            buffer.clear();
            let len = 4 + (random() % 60) as usize;
            while buffer.len() < len {
                let bits = random();
                match round % 5 {
                    0 => buffer.extend(bits.to_le_bytes()),
                    1 => buffer.extend([(bits & 1 & bits >> 9) as u8 * (bits >> 16) as u8, 0]),
                    2 => buffer.extend([0, 0, 0, (bits % 32) as u8, (bits >> 8) as u8 % 4]),
                    3 => buffer.extend([32 + (bits % 95) as u8, 32 + (bits >> 8 & 63) as u8]),
                    // HTTP's own words in an order that makes no request.
                    _ => buffer.extend(words[(bits % words.len() as u64) as usize]),
                }
            }
            let at = (random() % buffer.len() as u64) as usize;
            let (a, b) = buffer.split_at(at);
            let from_start = round & 1 == 0;
            match detect(&Sample { from_start, ..sample(a, b) }, &mut Candidates::default()) {
                Detection::Is(..) if !is_a_request(a) && !is_a_request(b) => wrong += 1,
                Detection::Opaque(_) => opaque += 1,
                _ => {}
            }
        }
        assert_eq!(wrong, 0);
        assert!(opaque < 100, "{opaque} of a million are called TLS or SSH");
    }

    /// The words made one after all.
    fn is_a_request(bytes: &[u8]) -> bool {
        String::from_utf8_lossy(bytes).split('\n').any(|line| line.trim_end().ends_with(" HTTP/1.1"))
    }
}
