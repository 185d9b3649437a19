//! Decides on processes that run a new program, where selection looks at executables.
//!
//! In: the ring `UNDECIDED`, whose writer wakes this thread. Out: bits in `PROCS`. Until then the hooks capture nothing
//! of the process and count its calls. A question that finds the ring full leaves its process undecided until its next
//! exec, counted `map_full`.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
};

use aya::maps::{HashMap, MapData, MapError, RingBuf};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use sidelight_events::maps::{Undecided, select as bits};
use zerocopy::FromBytes;

use crate::{
    hooks::{Shared, lock},
    select::{self, Selection},
};

/// `BPF_EXIST`: a process that ended meanwhile gets no entry.
const EXIST: u64 = 2;

/// The processes' bits.
pub(crate) type Procs = Shared<HashMap<MapData, u32, u32>>;

/// The thread; ends when dropped.
pub(crate) struct Decider {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Decider {
    pub(crate) fn start(selection: Selection, procs: Procs, ring: RingBuf<MapData>) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("decide".to_owned()).spawn(move || run(&selection, &procs, ring, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        // An eventfd takes eight bytes, always.
        if rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("thread that decides on processes panicked");
        }
    }
}

fn run(selection: &Selection, procs: &Procs, mut ring: RingBuf<MapData>, stop: &OwnedFd) {
    loop {
        while let Some(record) = ring.next() {
            if let Ok((question, _)) = Undecided::read_from_prefix(&record)
                && let Err(error) = decide(selection, procs, question.tgid)
            {
                tracing::debug!(pid = question.tgid, %error, "Cannot decide on a process");
            }
        }
        let mut wait = [PollFd::new(&ring, PollFlags::IN), PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
        match poll(&mut wait, None) {
            Ok(_) if wait.last().is_some_and(|stop| !stop.revents().is_empty()) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "Waiting for new processes failed; processes started from now on stay undecided");
                return;
            }
        }
    }
}

/// Replaces what an earlier program meant by what this one does.
fn decide(selection: &Selection, procs: &Procs, pid: u32) -> Result<(), MapError> {
    let executable = select::executable(pid).map_or(0, |path| selection.executable(&path));
    let mut procs = lock(procs);
    let old = match procs.get(&pid, 0) {
        Err(MapError::KeyNotFound) => return Ok(()),
        other => other?,
    };
    let new = old & !(bits::UNDECIDED | bits::ONLY_EXE | bits::EXCEPT_EXE) | executable;
    if new == 0 { procs.remove(&pid) } else { procs.insert(pid, new, EXIST) }
}
