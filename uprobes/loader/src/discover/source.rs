//! Process events as they happen: one perf ring a CPU, read by one thread that sleeps while nothing happens.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::record::{Record, Records};
use crate::sys::PerfRing;

/// Bytes a CPU. A start of Python makes 18 KiB; what does not fit is counted and found again by a scan.
const RING: usize = 64 << 10;
/// After a wake-up, records are collected this long before the next: a program start makes 200 of them.
const COLLECT: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000 };
/// Records may be lost all the time; scans for what they would have told keep this distance.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Takes what is found, on the source's own thread.
pub(crate) trait Handler: Send {
    /// Finds what runs already. Called once by [`Source::start`], when events are being collected but before the first is
    /// handled, and again after records were lost.
    fn scan(&mut self);
    /// One event, and when it was (CLOCK_MONOTONIC ns).
    fn record(&mut self, time_ns: u64, record: Record<'_>);
}

/// The thread; ends when dropped.
#[derive(Debug)]
pub(crate) struct Source {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Opens the rings, scans, and starts the thread.
    ///
    /// # Errors
    /// What perf_event_open, eventfd or the thread's creation said.
    pub(crate) fn start(mut handler: impl Handler + 'static) -> io::Result<Self> {
        let rings = cpus()?.into_iter().map(|cpu| PerfRing::open(cpu, RING)).collect::<io::Result<Vec<_>>>()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        handler.scan();
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("discover".into()).spawn(move || run(rings, &stopped, handler))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Writing to an eventfd fails only when its count is full: then it is readable already.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn run(mut rings: Vec<PerfRing>, stop: &OwnedFd, mut handler: impl Handler) {
    let mut bytes = Vec::with_capacity(RING);
    let mut scanned = now();
    let mut lost = false;
    loop {
        let timeout = lost.then(|| SCAN_INTERVAL.saturating_sub(now().duration_since(scanned)));
        if !wait(&rings, stop.as_fd(), timeout) {
            return;
        }
        for ring in &mut rings {
            ring.drain(&mut bytes);
        }
        // A process moves from CPU to CPU: what it did is in order only by time. Rings are drained one behind the other and
        // hold whole records, so what one damaged record hides is found again like what was lost.
        let mut records: Vec<_> = Records(&bytes).map(|record| record.unwrap_or((0, Record::Lost(1)))).collect();
        records.sort_by_key(|(time, _)| *time);
        for (time, record) in records {
            lost |= matches!(record, Record::Lost(_));
            handler.record(time, record);
        }
        bytes.clear();
        if lost && now().duration_since(scanned) >= SCAN_INTERVAL {
            handler.scan();
            (scanned, lost) = (now(), false);
        }
    }
}

/// Sleeps until something is to be read or `timeout` is over; false when it is time to stop.
fn wait(rings: &[PerfRing], stop: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    let stop = || PollFd::from_borrowed_fd(stop, PollFlags::IN);
    // Bounds the rate of wake-ups; on an interruption the time is shorter, which is harmless.
    if matches!(poll(&mut [stop()], Some(&COLLECT)), Ok(ready) if ready > 0) {
        return false;
    }
    let mut fds = vec![stop()];
    fds.extend(rings.iter().map(|ring| PollFd::new(ring, PollFlags::IN)));
    let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs().cast_signed(), tv_nsec: t.subsec_nanos().into() });
    loop {
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => return fds.first().is_none_or(|stop| stop.revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread is no part of the core; it paces its own scans")]
fn now() -> Instant {
    Instant::now()
}

/// The CPUs that are online.
fn cpus() -> io::Result<Vec<i32>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpus(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("list of CPUs is `{text}`")))
}

/// A list such as `0-3,8`.
fn parse_cpus(text: &str) -> Option<Vec<i32>> {
    let mut out = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (i32, i32) = (first.parse().ok()?, last.parse().ok()?);
        out.extend(first..=last.min(first.checked_add(8191)?));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, sync::mpsc};

    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_cpus("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cpus("0"), Some(vec![0]));
        assert_eq!(parse_cpus(""), None);
    }

    /// Tells names of programs and of mapped files of one parent's children.
    struct Tell(mpsc::Sender<(u32, String)>);

    impl Handler for Tell {
        fn scan(&mut self) {}
        fn record(&mut self, _: u64, record: Record<'_>) {
            let (pid, what) = match record {
                Record::Exec { pid, comm, .. } => (pid, comm),
                Record::Mapped { pid, mapping } => (pid, mapping.path),
                Record::Exit { pid } => (pid, &b"exit"[..]),
                Record::Fork { .. } | Record::Lost(_) => return,
            };
            self.0.send((pid, String::from_utf8_lossy(what).into_owned())).unwrap();
        }
    }

    /// Needs the privilege to open perf events of all processes.
    #[test]
    fn a_programs_start_mappings_and_end_are_told_as_they_happen() {
        let (sender, told) = mpsc::channel();
        let source = Source::start(Tell(sender)).expect("perf events of all processes (root)");
        let mut child = Command::new("/bin/true").spawn().unwrap();
        child.wait().unwrap();
        let mut expected = vec!["true", "libc.so", "exit"];
        while let Some(next) = expected.first() {
            let (pid, what) = told.recv_timeout(Duration::from_secs(5)).unwrap_or_else(|_| panic!("no {next}"));
            if pid == child.id() && what.contains(next) {
                expected.remove(0);
            }
        }
        drop(source);
    }
}
