//! A scene (a Python process with TLS traffic) and what the hooks see of it.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{OnceLock, atomic::Ordering, mpsc::Receiver},
    thread,
    time::{Duration, Instant},
};

use sidelight_events::{ConnKey, DataHeader, Event, TlsBind, TlsFree, maps::counter};
use sidelight_loader::{
    Attach, Hooks, Options, Selection, Selector,
    discover::{Discovery, News},
    ring, start,
};

/// Nothing here takes longer unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A certificate of `localhost` and its key, made once.
fn certificate() -> &'static (tempfile::TempDir, String, String) {
    static MADE: OnceLock<(tempfile::TempDir, String, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (path("cert"), path("key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-keyout", &key, "-out", &cert])
            .output()
            .expect("openssl is needed by this test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (dir, cert, key)
    })
}

/// A directory with another file of the same library.
pub(crate) fn copy_of_libssl() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy("/usr/lib/x86_64-linux-gnu/libssl.so.3", dir.path().join("libssl.so.3")).unwrap();
    dir
}

/// The running kernel's version.
pub(crate) fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The process; killed when dropped.
pub(crate) struct Scene {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Scene {
    pub(crate) fn start(name: &str, libraries: Option<&Path>) -> Self {
        let (_, cert, key) = certificate();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/scene.py");
        let mut command = Command::new("python3");
        command.args([script, name, cert, key]).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut child = command.spawn().expect("python3 is needed by this test");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn step(&mut self) {
        writeln!(self.input).unwrap();
    }

    /// Ports of `count` connections the scene tells.
    pub(crate) fn connections(&mut self, count: usize) -> Vec<u32> {
        let port = |line: String| line.strip_prefix("conn ")?.split(' ').next()?.parse().ok();
        (0..count).map(|_| port(self.line()).expect("a connection")).collect()
    }

    pub(crate) fn end(&mut self) {
        assert_eq!(self.line(), "end");
        assert!(self.child.wait().unwrap().success());
    }

    /// Watches this process alone.
    pub(crate) fn watch(&self, attach: Attach) -> Watch {
        let only = vec![Selector::Tree(self.child.id())];
        let options = Options { attach, ring_bytes: 16 << 20, selection: Selection { only, except: Vec::new() } };
        let started = start(options).expect("root");
        let (discovery, news) = Discovery::start(&started.hooks).unwrap();
        discovery.tls().unwrap();
        started.hooks.enable().unwrap();
        Watch { hooks: started.hooks, reader: started.reader, discovery, news }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Watch {
    hooks: Hooks,
    reader: ring::Reader,
    pub(crate) discovery: Discovery,
    pub(crate) news: Receiver<News>,
}

/// A data record, owned.
pub(crate) struct Bytes {
    pub(crate) header: DataHeader,
    /// How many objects had this address before.
    pub(crate) life: usize,
    pub(crate) bytes: Vec<u8>,
}

/// All records of one scene.
#[derive(Default)]
pub(crate) struct Capture {
    pub(crate) data: Vec<Bytes>,
    pub(crate) binds: Vec<TlsBind>,
    pub(crate) frees: Vec<TlsFree>,
    /// Local and remote.
    pub(crate) ports: HashMap<ConnKey, (u16, u16)>,
    others: usize,
}

impl Capture {
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
            && self.binds.is_empty()
            && self.frees.is_empty()
            && self.ports.is_empty()
            && self.others == 0
    }

    fn add(&mut self, record: &[u8]) {
        match Event::parse(record).unwrap() {
            Event::Data(header, bytes) => {
                let life = self.frees.iter().filter(|free| free.tls == header.tls).count();
                self.data.push(Bytes { header: *header, life, bytes: bytes.to_vec() });
            }
            Event::TlsBind(bind) => self.binds.push(*bind),
            Event::TlsFree(free) => self.frees.push(*free),
            Event::Open(open) => {
                self.ports.insert(open.conn, (open.local_port, open.remote_port));
            }
            Event::Close(_) | Event::Process(_) | Event::Mark(_) => self.others += 1,
        }
    }
}

impl Watch {
    /// Ends capture and reads what is in the ring.
    pub(crate) fn finish(&mut self) -> Capture {
        self.hooks.disable().unwrap();
        let mut capture = Capture::default();
        while self.reader.drain(1000, |record| capture.add(record)) > 0 {}
        capture
    }

    pub(crate) fn counters(&self) -> [u64; counter::COUNT as usize] {
        self.hooks.counters().unwrap()
    }

    pub(crate) fn lost(&self) -> u64 {
        let counters = self.counters();
        [counter::RING_FULL, counter::FAULT, counter::MAP_FULL, counter::BYTES_LOST]
            .map(|i| counters[i as usize])
            .iter()
            .sum()
    }

    pub(crate) fn late_libraries(&self) -> u64 {
        self.discovery.counts().late_library.load(Ordering::Relaxed)
    }

    pub(crate) fn wait_for_libraries(&self, count: usize) {
        wait(|| self.discovery.libraries().len() >= count);
    }
}

/// Waits for a condition another process or thread will bring about.
#[expect(clippy::disallowed_methods, reason = "a deadline, and nothing to be woken by")]
fn wait(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}
