//! Socket calls of real processes, as records. Needs root and python3.
//!
//! Each test watches only the process it starts, once by each mechanism.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod rig;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use rig::{Call, Capture, Data, Said, Scene, Watch};
use sidelight_events::{
    Open, close_flags, direction, ended, family, flags, how, life,
    maps::{counter, policy},
    mechanism, open_flags, role,
};
use sidelight_loader::{Attach, Selector};

/// Both mechanisms; `SIDELIGHT_TEST_ATTACH=syscall` leaves out the one that kernels before 6.3 lack.
fn both() -> Vec<Attach> {
    match std::env::var("SIDELIGHT_TEST_ATTACH") {
        Ok(only) if only == "syscall" => vec![Attach::Syscall],
        _ => vec![Attach::Socket, Attach::Syscall],
    }
}

/// Plays a scene, watching its process.
fn play(name: &str, attach: Attach) -> (Said, Capture) {
    let mut scene = Scene::new(name, attach);
    let mut watch = Watch::new(attach, vec![Selector::Pid(scene.pid())], vec![]);
    let said = scene.play();
    (said, watch.capture())
}

fn seen(data: &Data) -> Call {
    let header = &data.header;
    let mut letters = String::new();
    for (bit, letter) in [(flags::LENGTH_ONLY, 'L'), (flags::CUT, 'C'), (flags::FAULT, 'F')] {
        if header.flags & bit != 0 {
            letters.push(letter);
        }
    }
    if letters.is_empty() {
        letters.push('-');
    }
    Call { len: header.true_len, flags: letters, bytes: data.bytes.clone() }
}

/// Every call that was made is there, once, whole, at its place; nothing else is.
fn exact(said: &Said, capture: &Capture, attach: Attach) {
    let mut total = 0;
    for (&(port, letter), calls) in &said.calls {
        let open = capture.open(port);
        let (way, mut at) = match letter {
            'w' => (direction::EGRESS, open.egress as u32),
            _ => (direction::INGRESS, open.ingress as u32),
        };
        let stream = capture.stream(open.conn, way);
        let hole = said.holes.get(&(port, letter));
        assert_eq!(stream.iter().map(|data| seen(data)).collect::<Vec<_>>(), *calls, "port {port} {letter}");
        for (i, data) in stream.into_iter().enumerate() {
            let header = &data.header;
            if let Some((_, len)) = hole.filter(|(before, _)| *before == i) {
                at = at.wrapping_add(*len);
                assert_ne!(header.flags & flags::CONTENDED, 0);
            } else {
                assert_eq!(header.flags & flags::CONTENDED, 0, "{header:?}");
            }
            assert_eq!(header.offset, u64::from(at), "port {port} {letter}, call {i}");
            assert_eq!(header.wire_seq, at);
            assert_ne!(header.flags & flags::SEQ32, 0);
            at = at.wrapping_add(header.true_len);
            total += u64::from(header.true_len);
            let expected = if attach == Attach::Syscall { mechanism::SYSCALL } else { mechanism::SOCK_LENGTH };
            assert_eq!(header.mechanism, expected);
            assert_eq!(header.begin_ns != 0, attach == Attach::Syscall);
            assert!(header.begin_ns <= header.end_ns && open.time_ns <= header.end_ns);
        }
    }
    let calls: usize = said.calls.values().map(Vec::len).sum();
    assert_eq!(capture.data.len(), calls);
    assert_eq!(capture.count(counter::CALLS), calls as u64);
    assert_eq!(capture.count(counter::BYTES_PRESENTED), total);
    assert_eq!(capture.count(counter::BYTES_LOST), 0);
    assert_eq!(capture.count(counter::SUBMITTED), capture.records);
}

fn exactly(name: &str) {
    for attach in both() {
        let (said, capture) = play(name, attach);
        assert!(!said.calls.is_empty());
        exact(&said, &capture, attach);
    }
}

#[test]
fn every_call_gives_its_bytes_and_its_place() {
    exactly("variants");
}

#[test]
fn several_messages_and_many_buffers_are_one_run_of_bytes() {
    exactly("several");
}

#[test]
fn looks_and_errors_count_nothing_and_discarded_bytes_count_their_length() {
    exactly("beside");
}

#[test]
fn a_long_write_is_cut_and_keeps_its_true_length() {
    exactly("big");
}

#[test]
fn sendfile_and_splice_are_lengths() {
    exactly("files");
}

#[test]
fn a_socket_passed_to_another_process_stays_the_same_connection() {
    for attach in both() {
        let mut scene = Scene::new("passed", attach);
        let mut watch = Watch::new(attach, vec![Selector::Tree(scene.pid())], vec![]);
        let said = scene.play();
        let capture = watch.capture();
        exact(&said, &capture, attach);
        let server = capture.open(said.pairs[0].1).conn;
        let pids: Vec<u32> = capture.stream(server, direction::INGRESS).iter().map(|data| data.header.tgid).collect();
        assert_eq!(pids[0], scene.pid());
        assert_ne!(pids[1], scene.pid());
    }
}

#[test]
fn a_call_belongs_to_the_socket_its_descriptor_stood_for_when_it_began() {
    exactly("replaced");
}

#[test]
fn a_fin_read_with_the_last_bytes_is_none_of_them() {
    for attach in both() {
        let (said, capture) = play("fin", attach);
        exact(&said, &capture, attach);
        let (client, server) = said.pairs[0];
        for (port, first) in [(client, ended::EGRESS), (server, ended::INGRESS)] {
            let Open { conn, egress, ingress, .. } = *capture.open(port);
            let closes: Vec<_> = capture.closes.iter().filter(|close| close.conn == conn).collect();
            assert_eq!(closes[0].ended, first, "{closes:?}");
            let last = closes.last().unwrap();
            assert_eq!((last.ended, last.how), (ended::BOTH, how::FIN), "{closes:?}");
            assert_eq!(last.flags, close_flags::SEQ32 | close_flags::POSITIONS);
            let (wrote, read) = if port == client { (7, 12) } else { (12, 7) };
            assert_eq!(last.egress as u32, (egress as u32).wrapping_add(wrote), "{closes:?}");
            assert_eq!(last.ingress as u32, (ingress as u32).wrapping_add(read), "{closes:?}");
            // Reads wait for no byte that was never written: the FIN is not one.
            for data in capture.stream(conn, direction::INGRESS) {
                assert!((data.header.other as u32).wrapping_sub(egress as u32) <= wrote, "{:?}", data.header);
            }
        }
    }
}

#[test]
fn a_reset_is_told_as_one() {
    for attach in both() {
        let (said, capture) = play("reset", attach);
        exact(&said, &capture, attach);
        for port in [said.pairs[0].0, said.pairs[0].1] {
            let conn = capture.open(port).conn;
            let last = capture.closes.iter().rfind(|close| close.conn == conn).unwrap();
            assert_eq!((last.ended, last.how), (ended::BOTH, how::RESET));
        }
    }
}

#[test]
fn addresses_ports_and_roles_are_those_of_the_connection() {
    for attach in both() {
        let (said, capture) = play("families", attach);
        exact(&said, &capture, attach);
        let v4 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
        let v6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        // A listener with a backlog of 0 leaves no trace on what it accepts.
        let expected = [
            (family::INET, v4, role::SERVER),
            (family::INET, v4, role::UNKNOWN),
            (family::INET6, v6, role::SERVER),
            (family::INET6, v4, role::SERVER),
        ];
        for (&(client, server), (family, address, accepted)) in said.pairs.iter().zip(expected) {
            for (local, remote, role) in [(client, server, role::CLIENT), (server, client, accepted)] {
                let open = capture.open(local);
                assert_eq!((open.family, open.role, open.protocol), (family, role, 6));
                assert_eq!((open.local_port, open.remote_port), (local, remote));
                assert_eq!((open.local_addr, open.remote_addr), (address, address));
                let known = role != role::UNKNOWN;
                assert_eq!(open.flags, open_flags::SEQ32 | if known { open_flags::FROM_START } else { 0 });
            }
        }
    }
}

#[test]
fn a_connection_older_than_the_hooks_is_announced_at_its_next_call() {
    for attach in both() {
        let (mut said, capture) = play("older", attach);
        // The pair was told before the scene began.
        let ports: Vec<u16> = said.calls.keys().map(|(port, _)| *port).collect();
        said.pairs = vec![(ports[0], ports[1])];
        exact(&said, &capture, attach);
        let mut roles: Vec<(u8, u16)> = capture.opens.iter().map(|open| (open.role, open.flags)).collect();
        roles.sort_unstable();
        let from_start = open_flags::SEQ32 | open_flags::FROM_START;
        assert_eq!(roles, [(role::UNKNOWN, open_flags::SEQ32), (role::SERVER, from_start)]);
    }
}

#[test]
fn unix_sockets_count_from_zero() {
    for attach in both() {
        let (said, capture) = play("unix", attach);
        assert_eq!(capture.opens.len(), 2);
        for (letter, way) in [('w', direction::EGRESS), ('r', direction::INGRESS)] {
            let data: Vec<&Data> = capture.data.iter().filter(|data| data.header.direction == way).collect();
            assert_eq!(data.iter().map(|data| seen(data)).collect::<Vec<_>>(), said.calls[&(0, letter)]);
            assert_eq!(data.iter().map(|data| data.header.offset).collect::<Vec<_>>(), [0, 5, 8]);
            assert!(data.iter().all(|data| data.header.flags & flags::SEQ32 == 0 && data.header.wire_seq == 0));
        }
        let (_, capture) = play("unix_path", attach);
        assert_eq!(capture.opens.len(), 2);
        for open in &capture.opens {
            assert_eq!((open.family, open.protocol, open.flags), (family::UNIX, 0, 0));
            assert_eq!(&open.unix_path[..25], b"\0sidelight test of a path");
        }
    }
}

#[test]
fn a_process_that_is_not_selected_is_not_looked_at() {
    for attach in both() {
        let mut watched = Scene::new("talk", attach);
        let mut other = Scene::new("talk", attach);
        let mut watch = Watch::new(attach, vec![Selector::Tree(watched.pid())], vec![]);
        other.play();
        let capture = watch.read();
        assert_eq!(capture.records, 0);
        assert_eq!(watch.counters(), [0; counter::COUNT as usize]);
        let said = watched.play();
        exact(&said, &watch.capture(), attach);
    }
}

#[test]
fn trees_hold_children_and_their_programs_and_excepted_processes_stay_out() {
    for attach in both() {
        let mut scene = Scene::new("tree", attach);
        let mut watch = Watch::new(attach, vec![Selector::Tree(scene.pid())], vec![]);
        let said = scene.play();
        let capture = watch.capture();
        assert_eq!(said.pairs.len(), 3);
        exact(&said, &capture, attach);
        let lives: Vec<u8> = capture.processes.iter().map(|process| process.life).collect();
        assert_eq!(lives, [life::EXEC, life::EXIT, life::EXIT]);

        // Only the process itself: no child.
        let mut scene = Scene::new("tree", attach);
        let mut watch = Watch::new(attach, vec![Selector::Pid(scene.pid())], vec![]);
        let said = scene.play();
        let capture = watch.capture();
        assert_eq!(capture.opens.len(), 2);
        assert_eq!(capture.open(said.pairs[0].0).tgid, scene.pid());

        // The tree without the process.
        let mut scene = Scene::new("tree", attach);
        let pid = scene.pid();
        let mut watch = Watch::new(attach, vec![Selector::Tree(pid)], vec![Selector::Pid(pid)]);
        let said = scene.play();
        let capture = watch.capture();
        assert_eq!(capture.opens.len(), 4);
        assert!(capture.data.iter().all(|data| data.header.tgid != pid));
        assert_eq!(said.pairs.len(), 3);
    }
}

#[test]
fn executables_are_decided_at_start_and_after_exec() {
    for attach in both() {
        let mut scene = Scene::new("tree", attach);
        let interpreter = std::fs::read_link(format!("/proc/{}/exe", scene.pid())).unwrap();
        let pattern = Selector::Exe(interpreter.to_str().unwrap().to_owned());
        // Whatever else runs this interpreter meanwhile is not looked at.
        let mut watch = Watch::new(attach, vec![pattern.clone()], vec![]);
        let said = scene.play();
        let capture = watch.read();
        for (client, server) in said.pairs {
            assert_eq!(capture.open(client).remote_port, server);
        }

        let mut scene = Scene::new("tree", attach);
        let mut watch = Watch::new(attach, vec![Selector::Tree(scene.pid())], vec![pattern]);
        scene.play();
        let capture = watch.capture();
        assert_eq!((capture.data.len(), capture.opens.len()), (0, 0));
    }
}

#[test]
fn ports_select_connections_whosever_they_are() {
    for attach in both() {
        let mut scene = Scene::new("older", attach);
        let pid = scene.pid();
        // The scene's own sockets: the listener's port is that of the accepted one.
        let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()?.to_str().map(str::to_owned))
            .collect();
        let port = sockets
            .lines()
            .skip(1)
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
            .find(|words| inodes.contains(&format!("socket:[{}]", words[9])))
            .map(|words| u16::from_str_radix(words[1].rsplit_once(':').unwrap().1, 16).unwrap())
            .unwrap();
        let mut watch = Watch::new(attach, vec![Selector::Port(port)], vec![]);
        let said = scene.play();
        // Both ends: one has the port here, the other there.
        exact(&said, &watch.capture(), attach);

        let mut scene = Scene::new("talk", attach);
        let mut watch = Watch::new(attach, vec![Selector::Port(port)], vec![]);
        scene.play();
        assert_eq!(watch.capture().records, 0);

        let mut scene = Scene::new("older", attach);
        let pid = scene.pid();
        let mut watch = Watch::new(attach, vec![Selector::Pid(pid), Selector::Port(1)], vec![Selector::Port(2)]);
        let said = scene.play();
        exact(&said, &watch.capture(), attach);
    }
}

#[test]
fn a_full_ring_loses_records_and_counts_each() {
    for attach in both() {
        let mut scene = Scene::new("flood", attach);
        let mut watch = Watch::with_ring(attach, vec![Selector::Pid(scene.pid())], vec![], 64 * 1024);
        scene.play();
        let capture = watch.capture();
        assert_eq!(capture.count(counter::CALLS), 400);
        assert_eq!(capture.count(counter::SUBMITTED), capture.records);
        // 400 data, 2 opens, 2 closes or more, and the end of the process.
        assert!(capture.count(counter::ATTEMPTED) > 404);
        assert!(capture.count(counter::RING_FULL) > 300);
        let read: u64 = capture.data.iter().map(|data| u64::from(data.header.true_len)).sum();
        assert_eq!(capture.count(counter::BYTES_PRESENTED), 400 * 900);
        assert_eq!(capture.count(counter::BYTES_PRESENTED), read + capture.count(counter::BYTES_LOST));
    }
}

#[test]
fn policies_hold_from_the_next_call_on() {
    for attach in both() {
        let mut scene = Scene::new("policies", attach);
        let mut watch = Watch::new(attach, vec![Selector::Pid(scene.pid())], vec![]);
        scene.step();
        while !scene.line().starts_with("call") {}
        for _ in 0..3 {
            scene.line();
        }
        let capture = watch.read();
        assert!(capture.data.iter().all(|data| !data.bytes.is_empty()));
        for (policy, records) in [(policy::LENGTHS, 2), (policy::IGNORE, 0)] {
            watch.hooks.set_policies(capture.opens.iter().map(|open| (open.conn, policy))).unwrap();
            scene.step();
            assert_eq!(scene.line(), "round");
            let capture = watch.read();
            assert_eq!(capture.data.len(), records);
            assert!(capture.data.iter().all(|data| data.header.flags & flags::LENGTH_ONLY != 0));
        }
        assert_eq!(scene.line(), "end");
        assert_eq!(watch.counters()[counter::BYTES_IGNORED as usize], 8);
        assert_eq!(watch.counters()[counter::BYTES_PRESENTED as usize], 2 * (8 + 6 + 4 + 4));
    }
}

#[test]
fn long_calls_of_a_deep_connection_are_copied_whole() {
    for attach in both() {
        let mut scene = Scene::new("deep", attach);
        let mut watch = Watch::new(attach, vec![Selector::Pid(scene.pid())], vec![]);
        scene.step();
        while !scene.line().starts_with("call") {}
        for _ in 0..3 {
            scene.line();
        }
        let before = watch.read();
        watch.hooks.set_policies(before.opens.iter().map(|open| (open.conn, policy::DEEP))).unwrap();
        let said = scene.play();
        let capture = watch.capture();
        let ((port, _), calls) = said.calls.iter().next().unwrap();
        let open = before.open(*port);
        let mut stream = capture.stream(open.conn, direction::EGRESS).into_iter();
        for call in calls {
            // A long call is several records, one behind the other.
            let mut whole = seen(stream.next().unwrap());
            let mut offset = 0;
            while whole.len < call.len {
                let next = stream.next().unwrap();
                assert!(next.header.offset > offset, "records in order");
                offset = next.header.offset;
                let next = seen(next);
                whole =
                    Call { len: whole.len + next.len, flags: next.flags, bytes: [whole.bytes, next.bytes].concat() };
            }
            assert_eq!(whole, *call);
        }
        assert!(stream.next().is_none());
        assert_eq!(calls.len(), 5);
        assert_eq!(capture.count(counter::BYTES_LOST), 0);
    }
}

#[test]
fn the_other_end_of_the_daemons_own_connections_is_ignored() {
    for attach in both() {
        let mut scene = Scene::new("connect_out", attach);
        let mut watch = Watch::new(attach, vec![Selector::Tree(scene.pid())], vec![]);
        scene.step();
        let line = scene.line();
        let port: u16 = line.strip_prefix("listening ").unwrap().parse().unwrap();
        let mut own = TcpStream::connect(("127.0.0.1", port)).unwrap();
        own.write_all(b"ping").unwrap();
        own.read_exact(&mut [0; 4]).unwrap();
        scene.step();
        assert_eq!(scene.line(), "end");
        let capture = watch.capture();
        assert_eq!((capture.data.len(), capture.opens.len(), capture.count(counter::CALLS)), (0, 0, 0));
    }
}

#[test]
fn nothing_is_captured_before_it_is_enabled_or_after_the_end() {
    let mut scene = Scene::new("talk", Attach::Auto);
    let mut watch = Watch::new(Attach::Auto, vec![Selector::Pid(scene.pid())], vec![]);
    watch.hooks.disable().unwrap();
    scene.play();
    assert_eq!(watch.capture().records, 0);
    let mut scene = Scene::new("talk", Attach::Auto);
    let mut watch = Watch::new(Attach::Auto, vec![Selector::Pid(scene.pid())], vec![]);
    watch.hooks.detach();
    scene.play();
    assert_eq!(watch.capture().records, 0);
}
