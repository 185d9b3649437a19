//! Processes and libraries as they appear.
//!
//! In: process events of the kernel and a scan of /proc at start, and the map `PROCS`, which says who is watched. Out: probes
//! in TLS libraries, and [`News`] of watched processes for whoever names them. Its own thread does it all: neither the kernel's
//! hooks nor the reader of the ring ever wait for it.

mod record;
mod scan;
mod source;
mod watch;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
};

pub(crate) use record::Inode;

use aya::maps::MapError;
use sidelight_events::maps::mode;

use crate::{
    hooks::{Hooks, lock},
    process::Process,
    uprobes::{self, Libraries, Library, Programs},
};

/// News that wait for their reader; more are dropped, counted, and then read from /proc by whoever misses them.
const NEWS: usize = 1024;

/// What is told of a watched process, in its own PID namespace's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It runs a new program since `time_ns` (CLOCK_MONOTONIC).
    Exec {
        /// When.
        time_ns: u64,
        /// Its facts, as far as they could be read before it ended.
        process: Box<Process>,
    },
}

/// How much was missed; all count up.
#[derive(Debug, Default)]
pub struct Counts {
    /// Process events lost to a full ring; a scan followed.
    pub lost: AtomicU64,
    /// News dropped because nobody took them.
    pub news_dropped: AtomicU64,
    /// Libraries that were probed only after a process had mapped them: its first calls were not seen.
    pub late_library: AtomicU64,
    /// Libraries that could not be probed.
    pub refused: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Why discovery cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A map is out of reach.
    #[error("cannot read what is selected")]
    Selection(#[source] MapError),
    /// No process events.
    #[error("cannot follow processes: no perf events of all processes (CAP_PERFMON is needed)")]
    Events(#[source] io::Error),
}

/// Discovery at work; dropping it ends its thread and detaches the probes (see
/// [`Library::how`]).
#[derive(Debug)]
pub struct Discovery {
    _source: source::Source,
    counts: Arc<Counts>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    tls: Result<(), String>,
}

/// What became of one library; an error says why it is not probed.
pub type Outcome = Result<Library, String>;

impl Discovery {
    /// Probes the default libssl and the libraries that watched processes map, and follows what comes. All that runs already is
    /// dealt with when it returns. Where the kernel has no uprobes, processes are followed all the same ([`Discovery::tls`]).
    ///
    /// # Errors
    /// [`Error`] when the kernel offers no process events.
    pub fn start(hooks: &Hooks) -> Result<(Self, Receiver<News>), Error> {
        let (sender, receiver) = sync_channel(NEWS);
        let counts = Arc::new(Counts::default());
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let libraries =
            hooks.with_programs(Programs::load).ok_or(uprobes::Error::Detached).flatten().map(Libraries::new);
        let (libraries, tls) = match libraries {
            Ok(libraries) => (Some(libraries), Ok(())),
            Err(error) => (None, Err(watch::chain(&error))),
        };
        if libraries.is_some() {
            hooks.add_mode(mode::TLS).map_err(Error::Selection)?;
        }
        let (procs, mode) = hooks.selected().map_err(Error::Selection)?;
        let selection = watch::Selection::new(procs, mode);
        let watch = watch::Watch::new(selection, libraries, sender, Arc::clone(&counts), Arc::clone(&outcomes));
        let source = source::Source::start(watch).map_err(Error::Events)?;
        Ok((Self { _source: source, counts, outcomes, tls }, receiver))
    }

    /// Whether TLS libraries can be probed at all, and if not, why.
    ///
    /// # Errors
    /// The reason, for the start-up table.
    pub fn tls(&self) -> Result<(), &str> {
        self.tls.as_ref().copied().map_err(String::as_str)
    }

    /// How much was missed.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The libraries looked at so far, the default one first.
    #[must_use]
    pub fn libraries(&self) -> Vec<Outcome> {
        lock(&self.outcomes).clone()
    }
}
