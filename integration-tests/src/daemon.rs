//! The daemon under test: the `sidelight` binary built by this workspace.
//!
//! In: arguments. Out: a running daemon that said `ready`; after its stop its spans, ledgers and messages.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    scene::Scene,
    spans::{self, Span},
    wait_for,
};

/// How long a start may take: libraries are probed one by one.
const START: Duration = Duration::from_secs(60);

/// The path of the `sidelight` binary: `SIDELIGHT_BIN`, else the one cargo built beside the test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SIDELIGHT_BIN") {
        return path.into();
    }
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join("sidelight");
    assert!(path.exists(), "{} is missing: run `cargo build -p sidelight` first", path.display());
    path
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
}

/// What a stopped daemon left.
#[derive(Debug)]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// Spans of `otlp-json`, in the order written.
    pub spans: Vec<Span>,
    /// Its messages.
    pub stderr: String,
    /// `ledger` lines by ledger and entry.
    pub ledgers: BTreeMap<String, BTreeMap<String, u64>>,
}

#[expect(clippy::disallowed_methods, reason = "waiting for another process, with a deadline")]
impl Daemon {
    /// `sidelight run --output otlp-json` on the scene's processes, and waits for `ready`.
    pub fn watch(scene: &Scene, more: &[&str]) -> Self {
        let selector = scene.selector();
        let mut args = vec!["run", "--only", &selector, "--output", "otlp-json"];
        args.extend_from_slice(more);
        Self::start(&args, &[])
    }

    /// Any command line and environment; waits for `ready`.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut daemon = Self::spawn(args, env);
        wait_for("the daemon's `ready`", START, || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended before it was ready: {status}\n{}", daemon.stderr());
            }
            daemon.stderr().lines().any(|line| line == "ready").then_some(())
        });
        daemon
    }

    /// Starts it without waiting for anything. The environment's own `OTEL_*` are not passed on.
    pub fn spawn(args: &[&str], env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let create = |name: &str| fs::File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(binary());
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(key);
            }
        }
        let child = command
            .args(args.iter().map(OsStr::new))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .expect("the daemon starts");
        Self { child, dir }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its messages so far.
    pub fn stderr(&self) -> String {
        read(self.dir.path(), "stderr")
    }

    /// Spans written so far.
    pub fn spans(&self) -> Vec<Span> {
        spans::parse(&read(self.dir.path(), "stdout"))
    }

    /// Waits until it has written `count` spans (or more). In vain, it stops the daemon and shows what it counted.
    pub fn wait_for_spans(&self, count: usize, limit: Duration) {
        let end = Instant::now() + limit;
        let mut output = fs::File::open(self.dir.path().join("stdout")).unwrap();
        let (mut found, mut new) = (0, Vec::new());
        while found < count {
            // Only what is new is read, up to the last whole line.
            new.clear();
            let from = output.stream_position().unwrap();
            output.read_to_end(&mut new).unwrap();
            let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            output.seek(SeekFrom::Start(from + whole as u64)).unwrap();
            found += String::from_utf8_lossy(&new[..whole]).matches("\"spanId\":").count();
            if found >= count {
                return;
            }
            if Instant::now() >= end {
                signal(self.pid(), Signal::TERM);
                wait_for("the closing ledgers", Duration::from_secs(20), || {
                    self.stderr().contains("ledger calls").then_some(())
                });
                panic!("waited {limit:?} in vain for {count} spans, there are {found}:\n{}", self.stderr());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and waits for its end; it must end with 0 and its ledgers must balance.
    pub fn stop(self) -> Stopped {
        let stopped = self.signal_and_wait(Signal::TERM);
        assert!(stopped.status.success(), "the daemon ended with {}:\n{}", stopped.status, stopped.stderr);
        stopped.assert_balanced();
        stopped
    }

    /// SIGTERM, whatever it is doing.
    pub fn terminate(self) -> Stopped {
        self.signal_and_wait(Signal::TERM)
    }

    /// SIGKILL.
    pub fn kill(self) -> Stopped {
        self.signal_and_wait(Signal::KILL)
    }

    /// Waits for its own end (`-- COMMAND`).
    pub fn wait(mut self) -> Stopped {
        let status = self.child.wait().unwrap();
        self.left(status)
    }

    fn signal_and_wait(mut self, with: Signal) -> Stopped {
        signal(self.pid(), with);
        let status = wait_for("the daemon's end", Duration::from_secs(30), || self.child.try_wait().unwrap());
        self.left(status)
    }

    fn left(&self, status: ExitStatus) -> Stopped {
        let stderr = self.stderr();
        Stopped { status, spans: self.spans(), ledgers: ledgers(&stderr), stderr }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stopped {
    /// One entry of a ledger; panics if the daemon did not print it.
    pub fn ledger(&self, ledger: &str, entry: &str) -> u64 {
        *self
            .ledgers
            .get(ledger)
            .and_then(|entries| entries.get(entry))
            .unwrap_or_else(|| panic!("no ledger entry {ledger} {entry} in:\n{}", self.stderr))
    }

    /// The four ledgers balance, and nothing was lost.
    pub fn assert_nothing_lost(&self) {
        self.assert_balanced();
        for (ledger, entry) in [("events", "ring_full"), ("events", "fault"), ("bytes", "gap"), ("calls", "skipped")] {
            assert_eq!(self.ledger(ledger, entry), 0, "{ledger} {entry}:\n{}", self.stderr);
        }
        assert_eq!(self.ledger("spans", "built"), self.ledger("spans", "exported"), "spans dropped:\n{}", self.stderr);
    }

    /// The four ledgers balance: each total is the sum of what became of it (docs: README, "Ledgers").
    pub fn assert_balanced(&self) {
        for (ledger, total, parts) in [
            ("events", "attempted", &["submitted", "ring_full", "fault"][..]),
            ("events", "submitted", &["read"]),
            ("exchanges", "begun", &["done", "incomplete", "open"]),
            ("spans", "built", &["exported", "dropped", "queued"]),
        ] {
            let sum: u64 = parts.iter().map(|part| self.ledger(ledger, part)).sum();
            assert_eq!(self.ledger(ledger, total), sum, "{ledger}: {total} is not {parts:?}:\n{}", self.stderr);
        }
        let presented = self.ledger("bytes", "presented");
        let bytes: u64 = self.ledgers["bytes"].iter().filter(|(entry, _)| *entry != "presented").map(|(_, n)| n).sum();
        assert_eq!(presented, bytes, "bytes presented:\n{}", self.stderr);
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Lines `ledger NAME entry=N entry=N ...` of the closing report.
fn ledgers(stderr: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for line in stderr.lines() {
        let Some(rest) = line.strip_prefix("ledger ") else { continue };
        let mut words = rest.split_whitespace();
        let Some(name) = words.next() else { continue };
        let entries =
            words.filter_map(|word| word.split_once('=')).map(|(key, value)| (key.to_owned(), value.parse().unwrap()));
        all.insert(name.to_owned(), entries.collect());
    }
    all
}

fn read(dir: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(dir.join(name)).unwrap_or_default()).into_owned()
}
