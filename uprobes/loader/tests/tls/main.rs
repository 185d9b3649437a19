//! TLS plaintext of real processes, tied to its connections. Needs root, python3 and openssl.
//!
//! Each test watches only the process it starts.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod rig;

use std::collections::{BTreeMap, HashMap, HashSet};

use rig::{Bytes, Capture, Scene};
use sidelight_events::{ConnKey, direction, flags, layer, mechanism};
use sidelight_loader::{Attach, discover::News, uprobes::How};

/// Plaintext of one direction of one object, put together by offset.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Ranges that were cut.
    missing: usize,
    conns: HashSet<ConnKey>,
}

/// An object (its address, and which of those that had it) and a direction.
type Key = (u64, usize, u8);

/// Puts the TLS data together; offsets must leave no gap and overlap nowhere.
fn streams(capture: &Capture) -> BTreeMap<Key, Stream> {
    let mut parts: BTreeMap<Key, BTreeMap<u64, &Bytes>> = BTreeMap::new();
    for data in capture.data.iter().filter(|data| data.header.layer == layer::TLS) {
        let header = &data.header;
        assert_eq!(header.mechanism, mechanism::OPENSSL);
        assert!(header.begin_ns > 0 && header.begin_ns <= header.end_ns, "{header:?}");
        let old = parts.entry((header.tls, data.life, header.direction)).or_default().insert(header.offset, data);
        assert!(old.is_none(), "two records at one offset: {header:?}");
    }
    parts
        .into_iter()
        .map(|(key, parts)| {
            let mut stream = Stream::default();
            for (offset, data) in parts {
                assert_eq!(offset, stream.bytes.len() as u64, "gap or overlap");
                let (cap, whole) = (data.bytes.len(), data.header.true_len as usize);
                assert_eq!(data.header.flags, if cap < whole { flags::CUT } else { 0 });
                stream.bytes.extend(&data.bytes);
                stream.bytes.resize(offset as usize + whole, 0);
                stream.missing += whole - cap;
                stream.conns.insert(data.header.conn);
            }
            (key, stream)
        })
        .collect()
}

/// The messages of a whole stream: port, numbers. Bodies are checked where they were captured.
fn messages(mut bytes: &[u8], cut: bool) -> (u32, Vec<usize>) {
    let (mut ports, mut numbers) = (HashSet::new(), Vec::new());
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap();
        let head: Vec<usize> =
            std::str::from_utf8(&bytes[..end]).unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
        let [port, number, size] = head[..] else { panic!("{head:?}") };
        let body = &bytes[end + 1..end + 1 + size];
        let checked = if cut { size.min(16_000) } else { size };
        assert!(body[..checked].iter().enumerate().all(|(i, b)| usize::from(*b) == (port + number + i) % 251));
        ports.insert(port as u32);
        numbers.push(number);
        bytes = &bytes[end + 1 + size..];
    }
    assert_eq!(ports.len(), 1, "one object, one connection");
    (ports.into_iter().next().unwrap(), numbers)
}

/// Every connection has four streams (both ends, both directions) with exactly these messages, bound to itself.
fn check_echo(capture: &Capture, connections: &[u32], numbers: &[usize]) {
    let mut all = check_streams(capture);
    all.sort_unstable();
    let mut expected: Vec<_> = connections.iter().flat_map(|port| vec![(*port, numbers.to_vec()); 4]).collect();
    expected.sort_unstable();
    assert_eq!(all, expected);
    // Not a byte of ciphertext was copied: every TLS connection was known as such before its first record.
    let sockets: Vec<_> = capture.data.iter().filter(|data| data.header.layer == layer::SOCKET).collect();
    assert!(sockets.is_empty(), "{:?}", sockets.first().map(|data| data.header));
}

/// Port and messages of every stream; each lies on one connection, the one whose port its messages name.
fn check_streams(capture: &Capture) -> Vec<(u32, Vec<usize>)> {
    assert!(capture.binds.iter().all(|bind| bind.conflict == 0), "{:?}", capture.binds);
    let mut found = Vec::new();
    let streams = streams(capture);
    for ((tls, _, direction), stream) in &streams {
        let cut = stream.missing > 0;
        assert!(!cut || *direction == direction::EGRESS, "a read gives at most one record: never cut");
        let (port, seen) = messages(&stream.bytes, cut);
        assert_eq!(stream.conns.len(), 1, "object {tls:#x}, direction {direction}");
        let conn = stream.conns.iter().next().unwrap();
        let (local, remote) = capture.ports[conn];
        assert!(u32::from(local) == port || u32::from(remote) == port, "{port} is carried by {local}-{remote}");
        found.push((port, seen));
    }
    found
}

fn many(attach: Attach) {
    let mut scene = Scene::start("many", None);
    let mut watch = scene.watch(attach);
    scene.step();
    let ports = scene.connections(16);
    scene.end();
    let capture = watch.finish();
    check_echo(&capture, &ports, &[0, 1, 2, 3, 4, 5]);
    // What a read answers was written before: by its own side's writes up to `other`.
    let mut written: HashMap<(u64, usize), u64> = HashMap::new();
    for Bytes { header, life, .. } in &capture.data {
        let written = written.entry((header.tls, *life)).or_default();
        if header.direction == direction::EGRESS {
            *written += u64::from(header.true_len);
        } else {
            assert_eq!(header.other, *written, "{header:?}");
        }
    }
    assert_eq!(capture.frees.len(), 32, "each object is freed, once");
    assert_eq!(watch.lost(), 0);
}

#[test]
fn both_ends_of_many_connections_are_read_whole_and_tied_to_their_sockets() {
    many(Attach::Socket);
}

#[test]
fn system_call_hooks_tie_plaintext_as_well() {
    many(Attach::Syscall);
}

#[test]
fn a_connection_older_than_the_hooks_is_read_from_its_next_byte_on() {
    let mut scene = Scene::start("old", None);
    assert_eq!(scene.line(), "ready");
    let mut watch = scene.watch(Attach::Auto);
    scene.step();
    let ports = scene.connections(1);
    scene.step();
    scene.end();
    let mut found = check_streams(&watch.finish());
    found.sort_unstable();
    // The server's thread was inside a read when the hooks came: what that one returns is not seen, all others are.
    let all = (ports[0], vec![3, 4, 5]);
    assert_eq!(found, [all.clone(), all.clone(), all, (ports[0], vec![4, 5])]);
}

#[test]
fn a_library_mapped_long_after_exec_is_probed_and_counted_late() {
    let directory = rig::copy_of_libssl();
    let mut scene = Scene::start("late", Some(directory.path()));
    let mut watch = scene.watch(Attach::Auto);
    assert_eq!(watch.discovery.libraries().len(), 1, "the default one");
    scene.step();
    assert_eq!(scene.line(), "imported");
    watch.wait_for_libraries(2);
    scene.step();
    let ports = scene.connections(1);
    scene.end();
    check_echo(&watch.finish(), &ports, &[0, 1, 2]);
    assert_eq!(watch.late_libraries(), 1);
    for library in watch.discovery.libraries() {
        let library = library.unwrap();
        assert!(library.slow.is_empty() && library.missing.is_empty(), "{library:?}");
        assert_eq!(library.how, if rig::kernel() >= (6, 6) { How::Links } else { How::Events });
    }
}

#[test]
fn a_process_that_is_not_selected_gives_no_event_at_all() {
    let mut selected = Scene::start("old", None);
    assert_eq!(selected.line(), "ready");
    let mut watch = selected.watch(Attach::Auto);
    let mut other = Scene::start("many", None);
    other.step();
    other.connections(16);
    other.end();
    let capture = watch.finish();
    assert!(capture.is_empty());
    assert_eq!(watch.counters(), [0; sidelight_events::maps::counter::COUNT as usize]);
    selected.step();
    selected.connections(1);
    selected.step();
    selected.end();
}

#[test]
fn plaintext_through_memory_bios_stays_unbound() {
    let mut scene = Scene::start("memory", None);
    let mut watch = scene.watch(Attach::Auto);
    scene.step();
    assert_eq!(scene.line(), "done");
    scene.end();
    let capture = watch.finish();
    assert!(capture.binds.is_empty(), "{:?}", capture.binds);
    let streams = streams(&capture);
    assert_eq!(streams.len(), 4);
    for stream in streams.values() {
        assert_eq!(stream.conns, HashSet::from([ConnKey::default()]));
        assert_eq!(messages(&stream.bytes, false), (1, vec![0, 1, 2]));
    }
}

#[test]
fn every_form_of_call_counts_once_looks_count_never_and_a_reused_object_begins_anew() {
    let mut scene = Scene::start("library", None);
    let mut watch = scene.watch(Attach::Auto);
    scene.step();
    let mut objects = Vec::new();
    for _ in 0..2 {
        let line = scene.line();
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|n| n.parse().unwrap()).collect();
        objects.push((numbers[0], numbers[1]));
    }
    scene.end();
    let capture = watch.finish();
    let tls = objects[0].0;
    assert_eq!(objects[1].0, tls, "one object");
    let calls: Vec<_> = capture
        .data
        .iter()
        .filter(|data| data.header.tls == tls)
        .map(|data| {
            let (local, _) = capture.ports[&data.header.conn];
            (u64::from(local), data.header.direction, data.header.offset, data.bytes.as_slice())
        })
        .collect();
    let of = |port: u64| -> [(u64, u8, u64, &[u8]); 5] {
        [
            (port, direction::EGRESS, 0, b"write"),
            (port, direction::INGRESS, 0, b"wr"),
            (port, direction::INGRESS, 2, b"ite"),
            (port, direction::EGRESS, 5, b"write_ex"),
            (port, direction::INGRESS, 5, b"write_ex"),
        ]
    };
    assert_eq!(calls, [of(objects[0].1), of(objects[1].1)].concat());
    assert_eq!(
        capture.frees.iter().filter(|free| free.tls == tls).count(),
        2,
        "cleared twice, the second time for good"
    );
    assert!(capture.binds.iter().all(|bind| bind.conflict == 0));
}

#[test]
fn programs_that_live_a_millisecond_are_told_with_their_executable() {
    let mut scene = Scene::start("programs", None);
    let watch = scene.watch(Attach::Auto);
    scene.step();
    assert_eq!(scene.line(), "done");
    scene.end();
    let mut executables = Vec::new();
    while executables.len() < 20 {
        let News::Exec { process, .. } = watch.news.recv_timeout(rig::DEADLINE).expect("news of 20 programs");
        executables.push(process.executable);
    }
    assert!(executables.iter().all(|path| path.ends_with("/true")), "{executables:?}");
}
