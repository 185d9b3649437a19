//! A scene (a Python process that makes socket calls) and what the hooks see of it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use sidelight_events::{Close, ConnKey, DataHeader, Event, Open, Process, maps::counter};
use sidelight_loader::{Attach, Hooks, Options, Selection, Selector, Started, ring, start};

/// The process; killed when dropped.
pub(crate) struct Scene {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What the scene said it did, by local port and direction.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) calls: BTreeMap<(u16, char), Vec<Call>>,
    /// Client's and server's port of each pair, in order.
    pub(crate) pairs: Vec<(u16, u16)>,
    /// Bytes that moved unseen, by port and direction, and before which call.
    pub(crate) holes: BTreeMap<(u16, char), (usize, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) len: u32,
    pub(crate) flags: String,
    pub(crate) bytes: Vec<u8>,
}

impl Scene {
    pub(crate) fn new(name: &str, attach: Attach) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/socket/scene.py");
        let mechanism = if attach == Attach::Syscall { "syscall" } else { "socket" };
        let mut command = Command::new("python3");
        command.args([script, name, mechanism]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is needed by this test");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut scene = Self { child, input, output };
        while scene.line() != "ready" {}
        scene
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the scene ended early");
        line.trim_end().to_owned()
    }

    pub(crate) fn step(&mut self) {
        writeln!(self.input).unwrap();
    }

    /// Lets it run to its end.
    pub(crate) fn play(&mut self) -> Said {
        self.step();
        let mut said = Said::default();
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["end"] => break,
                ["pair", client, server] => said.pairs.push((client.parse().unwrap(), server.parse().unwrap())),
                ["call", port, direction, len, flags, hex] => {
                    let key = (port.parse().unwrap(), direction.chars().next().unwrap());
                    let call = Call { len: len.parse().unwrap(), flags: (*flags).to_owned(), bytes: unhex(hex) };
                    said.calls.entry(key).or_default().push(call);
                }
                ["hole", port, direction, len] => {
                    let key = (port.parse().unwrap(), direction.chars().next().unwrap());
                    let at = said.calls.get(&key).map_or(0, Vec::len);
                    said.holes.insert(key, (at, len.parse().unwrap()));
                }
                other => panic!("the scene says {other:?}"),
            }
        }
        assert!(self.child.wait().unwrap().success());
        said
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

/// Loaded hooks.
pub(crate) struct Watch {
    pub(crate) hooks: Hooks,
    reader: ring::Reader,
}

impl Watch {
    pub(crate) fn new(attach: Attach, only: Vec<Selector>, except: Vec<Selector>) -> Self {
        Self::with_ring(attach, only, except, 4 << 20)
    }

    pub(crate) fn with_ring(attach: Attach, only: Vec<Selector>, except: Vec<Selector>, ring_bytes: u32) -> Self {
        let options = Options { attach, ring_bytes, selection: Selection { only, except } };
        let Started { hooks, reader, .. } = start(options).expect("root and a kernel with BTF are needed by this test");
        hooks.enable().unwrap();
        Self { hooks, reader }
    }

    pub(crate) fn counters(&self) -> [u64; counter::COUNT as usize] {
        self.hooks.counters().unwrap()
    }

    /// Everything so far; the ledger must balance.
    pub(crate) fn capture(&mut self) -> Capture {
        self.hooks.disable().unwrap();
        let mut capture = self.read();
        capture.counters = self.counters();
        let count = |index: u32| capture.counters[index as usize];
        assert_eq!(
            count(counter::ATTEMPTED),
            count(counter::SUBMITTED) + count(counter::RING_FULL) + count(counter::FAULT)
        );
        assert_eq!(count(counter::FAULT), 0);
        assert_eq!(count(counter::UNRESOLVED), 0);
        assert_eq!(count(counter::MAP_FULL), 0);
        capture
    }

    pub(crate) fn read(&mut self) -> Capture {
        let mut capture = Capture::default();
        capture.records = self.reader.drain(usize::MAX, |bytes| match Event::parse(bytes).unwrap() {
            Event::Data(header, payload) => capture.data.push(Data { header: *header, bytes: payload.to_vec() }),
            Event::Open(open) => capture.opens.push(*open),
            Event::Close(close) => capture.closes.push(*close),
            Event::Process(process) => capture.processes.push(*process),
            other => panic!("unexpected {other:?}"),
        }) as u64;
        capture
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) header: DataHeader,
    pub(crate) bytes: Vec<u8>,
}

/// Records, by kind.
#[derive(Default)]
pub(crate) struct Capture {
    pub(crate) data: Vec<Data>,
    pub(crate) opens: Vec<Open>,
    pub(crate) closes: Vec<Close>,
    pub(crate) processes: Vec<Process>,
    pub(crate) records: u64,
    pub(crate) counters: [u64; counter::COUNT as usize],
}

impl Capture {
    pub(crate) fn count(&self, index: u32) -> u64 {
        self.counters[index as usize]
    }

    /// The connection with this local port; it must have been announced once.
    pub(crate) fn open(&self, port: u16) -> &Open {
        let mut found = self.opens.iter().filter(|open| open.local_port == port);
        let open = found.next().unwrap_or_else(|| panic!("no connection at port {port}: {:?}", self.opens));
        assert!(found.next().is_none(), "port {port} was announced twice");
        open
    }

    /// Data of one direction of a connection, in the order of its positions.
    pub(crate) fn stream(&self, conn: ConnKey, direction: u8) -> Vec<&Data> {
        let mut data: Vec<_> =
            self.data.iter().filter(|data| data.header.conn == conn && data.header.direction == direction).collect();
        data.sort_by_key(|data| data.header.end_ns);
        data
    }
}
