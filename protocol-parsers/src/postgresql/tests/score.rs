//! By what the protocol is recognised.

use super::script::*;
use crate::contract::Role;
use crate::detect::{Candidates, Detection, Sample, Score, detect};
use crate::postgresql::PROTOCOL;
use crate::proof::{Random, Session};

fn verdict(asks: &[u8], answers: &[u8], from_start: bool) -> String {
    let sample = Sample { ingress: asks, egress: answers, from_start, role: None, tls: false, port: None, program: "" };
    match detect(&sample, &mut Candidates::default()) {
        Detection::Is(protocol, role) => format!("{} {role:?}", protocol.name),
        Detection::Opaque(name) => name.to_owned(),
        Detection::Undecided => "undecided".to_owned(),
        Detection::Unknown => "unknown".to_owned(),
    }
}

const SERVER: &str = "postgresql Some(Server)";

#[test]
fn a_start_and_its_answer_are_certain_and_nothing_less() {
    let (start, answer) = (startup("shop"), message(b'R', [0; 4]));
    for len in 1..=start.len() {
        assert_eq!(verdict(&start[..len], b"", true), "undecided", "{len} bytes");
    }
    for len in 1..answer.len() {
        assert_eq!(verdict(&start, &answer[..len], true), "undecided", "{len} bytes of the answer");
    }
    for answer in [answer, error("FATAL", "28P01")] {
        assert_eq!(verdict(&start, &answer, true), SERVER);
        assert_eq!(verdict(&answer, &start, false), "postgresql Some(Client)");
    }
    let egress = &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..];
    let sample = Sample { ingress: &start, egress, from_start: true, role: None, tls: false, port: None, program: "" };
    assert_eq!((PROTOCOL.score)(&sample), Score::No);
    for request in [b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30"] {
        assert_eq!(verdict(request, b"", true), "undecided");
        assert_eq!(verdict(request, b"N", true), SERVER);
        let sample = Sample { ingress: request, egress: b"X", ..sample };
        assert_eq!((PROTOCOL.score)(&sample), Score::No);
    }
}

#[test]
fn in_the_middle_a_request_and_its_whole_answer_are_certain() {
    assert_eq!(verdict(&query("select 1"), b"", false), "undecided");
    assert_eq!(verdict(&query("select 1"), &one_row(), false), SERVER);
    assert_eq!(verdict(&one_row(), &query("select 1"), false), "postgresql Some(Client)");
    // The end of an older answer in front.
    let older = [&b"the rest of a row"[..], &done("SELECT 9"), READY, &one_row()].concat();
    assert_eq!(verdict(&query("select 1"), &older, false), SERVER);
    assert_eq!(verdict(&query("select 1"), &row(), false), "undecided");
    assert_eq!(verdict(SYNC, READY, false), "undecided", "asks for nothing");
}

/// As the tracker does: what is not recognised is dropped, but for the newest call.
fn calls_until_recognised(session: &Session, from: usize) -> Option<usize> {
    let (mut sample, mut candidates) = ([Vec::new(), Vec::new()], Candidates::default());
    for (index, call) in session.calls[from..].iter().enumerate() {
        for alone in [false, true] {
            if alone {
                (sample, candidates) = ([Vec::new(), Vec::new()], Candidates::default());
            }
            sample[call.dir.index()].extend(&call.bytes);
            let [ingress, egress] = &sample;
            let sample = Sample { ingress, egress, from_start: false, role: None, tls: false, port: None, program: "" };
            match detect(&sample, &mut candidates) {
                Detection::Is(protocol, role) => {
                    assert_eq!((protocol.name, role), ("postgresql", Some(Role::Server)), "from {from}");
                    return Some(index + 1);
                }
                Detection::Undecided => break,
                Detection::Opaque(_) | Detection::Unknown => {}
            }
        }
    }
    None
}

#[test]
fn recorded_sessions_are_recognised_wherever_they_are_joined() {
    for name in ["prepared", "simple", "tpcb"] {
        let session = Session::load(&format!("postgresql/{name}.session"));
        for from in 0..session.calls.len() - 6 {
            let calls = calls_until_recognised(&session, from);
            assert!(calls.is_some_and(|calls| calls <= 6), "{name} from {from}: {calls:?}");
        }
    }
}

#[test]
fn foreign_bytes_are_never_taken_for_it() {
    let mut random = Random(3);
    let kinds = b"QPBEDSCHZ12TRNKIXdc";
    let (mut buffer, mut wrong) = (Vec::new(), 0);
    for round in 0..1_000_000_u32 {
        buffer.clear();
        let len = 4 + random.below(60);
        while buffer.len() < len {
            let bits = random.number();
            match round % 5 {
                0 => buffer.extend(bits.to_le_bytes()),
                1 => buffer.extend([(bits & 1 & bits >> 9) as u8 * (bits >> 16) as u8, 0]),
                2 => buffer.extend([0, 0, 0, (bits % 32) as u8, (bits >> 8) as u8 % 4]),
                3 => buffer.extend([32 + (bits % 95) as u8, 32 + (bits >> 8 & 63) as u8]),
                // Heads of its own messages, without what they promise.
                _ => buffer.extend([kinds[bits as usize % kinds.len()], 0, 0, 0, 4 + (bits >> 32) as u8 % 40, 1, 2]),
            }
        }
        let (asks, answers) = buffer.split_at(random.below(buffer.len()));
        wrong += usize::from(verdict(asks, answers, round & 1 == 0).starts_with("postgresql"));
    }
    assert_eq!(wrong, 0);
}
