//! The running kernel as a source: the ring's records, and the facts of processes before their first event.
//!
//! In: the ring, and the news of discovery. Out: [`Item`]s. Records of an unknown kind or size are counted and skipped. A
//! process' facts come from discovery, which read them at its exec; where it was late, from /proc at the first event; one that
//! is gone by then keeps its id and the kernel's name.

use std::sync::mpsc::Receiver;

use rustc_hash::{FxHashMap, FxHashSet};
use sidelight_events::{Event, life};
use sidelight_loader::{discover::News, process, ring};
use sidelight_protocol_parsers::KernelTime;

use super::Item;
use crate::model::{ClockOffset, Process};

/// Processes whose facts were given; beyond it all are given anew: 8,192 ids are some 64 KiB.
const MAX_KNOWN: usize = 8192;

/// Processes whose facts wait for their first event; beyond it all are forgotten: at 6 KiB at most, 3 MiB.
const MAX_READ: usize = 512;

/// The ring and what is known of the processes in it.
pub struct Live {
    reader: ring::Reader,
    introductions: Introductions,
    counts: LiveCounts,
}

/// Who was introduced, and the facts of those who were not yet.
struct Introductions {
    facts: process::Proc,
    news: Option<Receiver<News>>,
    read_at_exec: FxHashMap<u32, Box<Process>>,
    known: FxHashSet<u32>,
}

/// The reading side of the event ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// Records taken out of the ring.
    pub read: u64,
    /// Part of them: not a record we know.
    pub malformed: u64,
    /// Part of them: connections announced.
    pub opened: u64,
    /// Bytes of all.
    pub bytes: u64,
}

impl Live {
    /// Reads from this ring; `news` where discovery runs.
    #[must_use]
    pub fn new(reader: ring::Reader, news: Option<Receiver<News>>) -> Self {
        let introductions = Introductions {
            facts: process::Proc::new(),
            news,
            read_at_exec: FxHashMap::default(),
            known: FxHashSet::default(),
        };
        Self { reader, introductions, counts: LiveCounts::default() }
    }

    /// Hands over at most `limit` records, with the process of each before its first, and says how many records there were.
    pub fn poll(&mut self, limit: usize, mut each: impl FnMut(Item<'_>)) -> usize {
        let Self { reader, introductions, counts } = self;
        introductions.listen();
        reader.drain(limit, |record| {
            counts.read += 1;
            counts.bytes += record.len() as u64;
            let Ok(event) = Event::parse(record) else {
                counts.malformed += 1;
                return;
            };
            match event {
                Event::Process(process) => {
                    introductions.known.remove(&process.tgid);
                    each(Item::Event(event));
                    if process.life == life::EXEC {
                        introductions.introduce(process.tgid, &process.comm, &mut each);
                    }
                    return;
                }
                Event::Data(header, _) => introductions.introduce(header.tgid, &[], &mut each),
                Event::Open(_) => counts.opened += 1,
                Event::Close(_) | Event::TlsBind(_) | Event::TlsFree(_) | Event::Mark(_) => {}
            }
            each(Item::Event(event));
        })
    }

    /// What was read so far.
    #[must_use]
    pub fn counts(&self) -> LiveCounts {
        self.counts
    }
}

impl Introductions {
    /// Takes the news that came.
    fn listen(&mut self) {
        let Some(news) = &self.news else { return };
        for one in news.try_iter() {
            let News::Exec { process, .. } = one;
            if self.read_at_exec.len() >= MAX_READ {
                self.read_at_exec.clear();
            }
            self.read_at_exec.insert(process.pid, process);
        }
    }

    fn introduce(&mut self, pid: u32, comm: &[u8], each: &mut impl FnMut(Item<'_>)) {
        if pid == 0 || self.known.contains(&pid) {
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(pid);
        // /proc is newer than the news, where it still has the process.
        let read_at_exec = self.read_at_exec.remove(&pid).map(|process| *process);
        let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let gone =
            || Process { pid, own_pid: pid, comm: String::from_utf8_lossy(name).into_owned(), ..Process::default() };
        let process = self.facts.read(pid).filter(|process| !process.executable.is_empty());
        each(Item::Process(Box::new(process.or(read_at_exec).unwrap_or_else(gone))));
    }
}

/// The two clocks now: kernel time, and the offset that makes it Unix time.
#[must_use]
pub fn clock() -> (KernelTime, ClockOffset) {
    let nanoseconds = |id| {
        let time = rustix::time::clock_gettime(id);
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    };
    let kernel = nanoseconds(rustix::time::ClockId::Monotonic);
    let unix = nanoseconds(rustix::time::ClockId::Realtime);
    (KernelTime(u64::try_from(kernel).unwrap_or_default()), ClockOffset(unix.saturating_sub(kernel)))
}
