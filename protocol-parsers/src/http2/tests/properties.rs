//! What must hold for all traffic: splits do not matter, and what is lost never makes a value wrong.

use super::talk::{CLIENT, SERVER, Talk, message};
use crate::http2::PROTOCOL;
use crate::proof::{Heals, Proof, Random, Session};

/// Requests and calls that name themselves on both sides, several at once.
fn traffic(seed: u64, count: u32) -> Session {
    let mut random = Random(seed);
    let mut talk = Talk::greeted();
    let mut open: Vec<(u32, u32, u8)> = Vec::new();
    let mut next = 0;
    while next < count || !open.is_empty() {
        if next < count && open.len() < 6 && (open.is_empty() || random.chance(50)) {
            let stream = 2 * next + 1;
            let kind = random.below(3) as u8;
            match kind {
                0 => {
                    talk.get(stream, &format!("/{next}"));
                }
                _ => {
                    talk.call(stream, &format!("/s.S/M{next}"));
                    if kind == 2 {
                        talk.data(CLIENT, stream, false, &message(random.below(300)));
                    }
                    talk.data(CLIENT, stream, true, &message(next as usize));
                }
            }
            open.push((stream, next, kind));
            next += 1;
            continue;
        }
        let at = random.below(open.len());
        let (stream, id, kind) = open.remove(at);
        match kind {
            0 => {
                talk.headers(SERVER, stream, false, &[(":status", &(300 + id).to_string()), ("server", "x")]);
                talk.data(SERVER, stream, true, &vec![b'x'; 1 + id as usize * 10]);
            }
            1 if random.chance(30) => {
                talk.headers(
                    SERVER,
                    stream,
                    true,
                    &[
                        (":status", "200"),
                        ("content-type", "application/grpc"),
                        ("grpc-status", &(1 + id % 16).to_string()),
                    ],
                );
            }
            _ => {
                talk.answer(stream).data(SERVER, stream, false, &message(id as usize));
                if kind == 2 {
                    talk.data(SERVER, stream, false, &message(random.below(600)));
                }
                talk.status(stream, &(1 + id % 16).to_string());
            }
        }
    }
    talk.session()
}

/// Real peers: grpcio, grpc-go and tonic, 11 calls of every kind, 4 at a time; nghttp against nginx.
const SESSIONS: [(&str, usize); 4] = [("grpcio", 11), ("grpc-go", 11), ("tonic", 11), ("nginx", 5)];

#[test]
fn recorded_sessions_hold() {
    for (name, count) in SESSIONS {
        let session = Session::load(&format!("http2/{name}"));
        let proof = Proof {
            protocol: &PROTOCOL,
            session: &session,
            joined: Heals::Exchanges(2),
            lost: Heals::Exchanges(2),
            needed: &[],
            secrets: &[],
        };
        let truth = proof.truth();
        assert_eq!(truth.len(), count, "{name}");
        assert!(truth.iter().all(|truth| truth.incomplete.is_empty() && truth.value("status").is_some()), "{name}");
        proof.hold();
    }
}

#[test]
fn the_fuzz_corpus_is_survived_and_so_is_its_every_prefix() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/http2");
    let mut replayed = 0;
    for file in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let bytes = std::fs::read(file.expect("readable").path()).expect("readable");
        (0..=bytes.len()).step_by(7).for_each(|end| crate::fuzzing::script(&PROTOCOL, &bytes[..end]));
        replayed += 1;
    }
    assert!(replayed >= 6, "{replayed} files in {}", folder.display());
}

#[test]
fn splits_joins_and_losses() {
    for (seed, count) in [(0, 16), (1, 8)] {
        let session = traffic(seed, count);
        let proof = Proof {
            protocol: &PROTOCOL,
            session: &session,
            joined: Heals::Unpromised,
            lost: Heals::Unpromised,
            needed: &[],
            secrets: &[],
        };
        assert_eq!(proof.truth().len(), count as usize);
        proof.hold();
    }
}
