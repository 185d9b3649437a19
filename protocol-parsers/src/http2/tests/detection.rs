//! Which bytes are HTTP/2.

use super::talk::{CLIENT, SERVER, Talk};
use crate::contract::Role;
use crate::detect::{Sample, Score};
use crate::http2::score::score;

fn judge(ingress: &[u8], egress: &[u8], from_start: bool) -> Score {
    score(&Sample { ingress, egress, from_start, role: None, tls: false, port: None, program: "" })
}

#[test]
fn the_preface_is_certain_with_its_settings_and_possible_before() {
    let talk = Talk::greeted();
    let preface = &talk.said[0].1;
    for len in 0..preface.len() {
        let certain = len >= 24 + 9;
        let score = if certain { Score::Certain(Some(Role::Server)) } else { Score::Possible };
        assert_eq!(judge(&preface[..len], b"", true), score, "{len} bytes");
    }
    assert_eq!(judge(b"", preface, true), Score::Certain(Some(Role::Client)));
    // A server may speak first.
    assert_eq!(judge(b"", &talk.said[1].1, true), Score::Possible);
    assert_eq!(judge(&talk.said[1].1, preface, true), Score::Certain(Some(Role::Client)));
    assert_eq!(judge(b"", &[0; 40], true), Score::No);
}

#[test]
fn in_the_middle_both_directions_must_be_frames_and_one_hold_headers() {
    let mut talk = Talk::greeted();
    talk.get(1, "/a").headers(SERVER, 1, true, &[(":status", "404")]).data(CLIENT, 3, true, b"rest");
    let [request, answer, data] = &talk.said[4..] else { panic!("three frames") };
    let (request, answer, data) = (&request.1, &answer.1, &data.1);
    assert_eq!(judge(request, answer, false), Score::Certain(Some(Role::Server)));
    assert_eq!(judge(answer, request, false), Score::Certain(Some(Role::Client)));
    assert_eq!(judge(data, answer, false), Score::Certain(Some(Role::Server)));
    assert_eq!(judge(data, data, false), Score::Possible);
    assert_eq!(judge(request, b"", false), Score::Possible);
    assert_eq!(judge(request, request, false), Score::No);
    assert_eq!(judge(request, b"HTTP/1.1 200 OK\r\n\r\n", false), Score::No);
}

/// Buffers as binary protocols fill them: zero-heavy, with small lengths and types, both directions.
#[test]
fn foreign_frames_are_not_taken_for_http2() {
    let mut random = crate::proof::Random(5);
    let (mut buffers, mut certain) = ([Vec::new(), Vec::new()], 0);
    for _ in 0..200_000 {
        for buffer in &mut buffers {
            buffer.clear();
            while buffer.len() < 60 {
                let bits = random.number();
                match bits % 3 {
                    0 => buffer.extend([0, 0, (bits >> 8) as u8 % 12, (bits >> 16) as u8 % 4, 0]),
                    1 => buffer.extend([0, 0, 0, (bits >> 8) as u8 % 8]),
                    _ => buffer.push((bits >> 8) as u8),
                }
            }
        }
        let [a, b] = &buffers;
        certain += u32::from(matches!(judge(a, b, false), Score::Certain(_) | Score::Likely(_)));
    }
    assert_eq!(certain, 0);
}
