//! The running kernel as a source: the ring's records, and the facts of processes before their first event.
//!
//! In: the ring. Out: [`Item`]s. Records of an unknown kind or size are counted and skipped. A process' facts are read from
//! /proc when its first event comes, and anew after exec; one that is gone by then keeps its id and the kernel's name.

use rustc_hash::FxHashSet;
use sidelight_events::{Event, life};
use sidelight_loader::{process, ring};
use sidelight_protocol_parsers::KernelTime;

use super::Item;
use crate::model::{ClockOffset, Process};

/// Processes whose facts were given; beyond it all are given anew: 8,192 ids are some 64 KiB.
const MAX_KNOWN: usize = 8192;

/// The ring and what is known of the processes in it.
pub struct Live {
    reader: ring::Reader,
    facts: process::Proc,
    known: FxHashSet<u32>,
    counts: LiveCounts,
}

/// The reading side of the event ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// Records taken out of the ring.
    pub read: u64,
    /// Part of them: not a record we know.
    pub malformed: u64,
}

impl Live {
    /// Reads from this ring.
    #[must_use]
    pub fn new(reader: ring::Reader) -> Self {
        Self { reader, facts: process::Proc::new(), known: FxHashSet::default(), counts: LiveCounts::default() }
    }

    /// Hands over at most `limit` records, with the process of each before its first, and says how many records there were.
    pub fn poll(&mut self, limit: usize, mut each: impl FnMut(Item<'_>)) -> usize {
        let Self { reader, facts, known, counts } = self;
        reader.drain(limit, |record| {
            counts.read += 1;
            let Ok(event) = Event::parse(record) else {
                counts.malformed += 1;
                return;
            };
            match event {
                Event::Process(process) => {
                    known.remove(&process.tgid);
                    each(Item::Event(event));
                    if process.life == life::EXEC {
                        introduce(facts, known, process.tgid, &process.comm, &mut each);
                    }
                    return;
                }
                Event::Data(header, _) => introduce(facts, known, header.tgid, &[], &mut each),
                Event::Open(_) | Event::Close(_) | Event::TlsBind(_) | Event::TlsFree(_) | Event::Mark(_) => {}
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

fn introduce(
    facts: &process::Proc,
    known: &mut FxHashSet<u32>,
    pid: u32,
    comm: &[u8],
    each: &mut impl FnMut(Item<'_>),
) {
    if pid == 0 || known.contains(&pid) {
        return;
    }
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(pid);
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let gone = || Process { pid, own_pid: pid, comm: String::from_utf8_lossy(name).into_owned(), ..Process::default() };
    each(Item::Process(facts.read(pid).unwrap_or_else(gone)));
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
