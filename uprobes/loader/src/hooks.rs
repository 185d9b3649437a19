//! The handle on everything that is attached.
//!
//! In: commands of the daemon. Out: words in the maps the hooks read, and the counters they write. Dropping the last
//! handle, or [`Hooks::detach`], removes every hook; so does the kernel when the process dies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, ProgramArray},
};
use sidelight_events::{
    ConnKey,
    maps::{Control, counter, mode, policy, select},
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    decide::{Decider, Procs},
    multi, skipped,
};

/// A map that user space writes, one writer at a time.
pub(crate) type Shared<T> = Arc<Mutex<T>>;

/// Commands to the hooks. Cheap to clone, usable from every thread.
#[derive(Clone)]
pub struct Hooks {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) control: Mutex<Array<MapData, [u32; 4]>>,
    pub(crate) counters: PerCpuArray<MapData, [u64; counter::COUNT as usize]>,
    pub(crate) policies: Mutex<HashMap<MapData, [u64; 2], u32>>,
    /// Programs and links; `None` once detached.
    pub(crate) loaded: Mutex<Option<Loaded>>,
    /// Who is selected.
    pub(crate) procs: Procs,
    pub(crate) decider: Mutex<Option<Decider>>,
}

/// The object in the kernel.
pub(crate) struct Loaded {
    pub(crate) ebpf: Ebpf,
    /// Tail calls; the kernel forgets them when nobody has these open.
    pub(crate) _tails: Vec<ProgramArray<MapData>>,
    pub(crate) maps: multi::Maps,
}

impl Hooks {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Capture begins.
    ///
    /// # Errors
    /// The kernel refuses to write the map: nothing is captured.
    pub fn enable(&self) -> Result<(), MapError> {
        self.change(|control| control.enabled = 1)
    }

    /// Capture ends; what is in the ring can still be read.
    ///
    /// # Errors
    /// The kernel refuses to write the map: drop the handle instead.
    pub fn disable(&self) -> Result<(), MapError> {
        self.change(|control| control.enabled = 0)
    }

    /// Sets bits of `maps::mode`.
    pub(crate) fn add_mode(&self, bits: u32) -> Result<(), MapError> {
        self.change(|control| control.mode |= bits)
    }

    /// The map `PROCS` and the bits of `maps::mode`: what is watched.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub(crate) fn selected(&self) -> Result<(Procs, u32), MapError> {
        let control = lock(&self.inner.control).get(&0, 0)?;
        let mode = Control::ref_from_bytes(control.as_bytes()).map_or(0, |control| control.mode);
        Ok((Procs::clone(&self.inner.procs), mode))
    }

    /// The processes that selectors name now, by id in the initial PID namespace. Where everything is watched they are not
    /// listed: `None`.
    ///
    /// # Errors
    /// The kernel refuses to read a map.
    pub fn watched(&self) -> Result<Option<Vec<u32>>, MapError> {
        const ONLY: u32 = select::ONLY | select::ONLY_TREE | select::ONLY_EXE;
        const EXCEPT: u32 = select::EXCEPT | select::EXCEPT_TREE | select::EXCEPT_EXE;
        let (procs, mode) = self.selected()?;
        if mode & mode::DEFAULT_ALL != 0 {
            return Ok(None);
        }
        let mut watched = Vec::new();
        for entry in lock(&procs).iter() {
            let (pid, bits) = entry?;
            if bits & ONLY != 0 && bits & EXCEPT == 0 {
                watched.push(pid);
            }
        }
        watched.sort_unstable();
        Ok(Some(watched))
    }

    fn change(&self, change: impl FnOnce(&mut Control)) -> Result<(), MapError> {
        let mut map = lock(&self.inner.control);
        let mut control = map.get(&0, 0)?;
        if let Ok(control) = Control::mut_from_bytes(control.as_mut_bytes()) {
            change(control);
        }
        map.set(0, control, 0)
    }

    /// The counters, by index in `maps::counter`, summed over all CPUs.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn counters(&self) -> Result<[u64; counter::COUNT as usize], MapError> {
        let mut sums = [0; counter::COUNT as usize];
        for cpu in self.inner.counters.get(&0, 0)?.iter() {
            for (sum, count) in sums.iter_mut().zip(cpu) {
                *sum += count;
            }
        }
        Ok(sums)
    }

    /// Runs of the programs that the kernel skipped ([`skipped`]); `None` once detached.
    #[must_use]
    pub fn skipped_runs(&self) -> Option<u64> {
        self.with_programs(|loaded| skipped::runs(&loaded.ebpf))
    }

    /// How much of connections is captured from their next call on: values of `maps::policy`.
    ///
    /// # Errors
    /// The kernel refuses to write the map: the connection it was about, and those behind it, keep the policy they have.
    pub fn set_policies(&self, changes: impl Iterator<Item = (ConnKey, u32)>) -> Result<(), MapError> {
        {
            let mut policies = lock(&self.inner.policies);
            for (ConnKey { sock, ino }, policy) in changes {
                let key = [sock, ino];
                if policy == policy::FULL {
                    forgiving(policies.remove(&key))
                } else {
                    policies.insert(key, policy, 0)
                }?;
            }
        }
        self.change(|control| control.policies = control.policies.wrapping_add(1))
    }

    /// Removes every hook now, whoever else holds a handle.
    pub fn detach(&self) {
        lock(&self.inner.decider).take();
        lock(&self.inner.loaded).take();
    }

    /// Does something with the programs; `None` once detached.
    pub(crate) fn with_programs<T>(&self, job: impl FnOnce(&mut Loaded) -> T) -> Option<T> {
        lock(&self.inner.loaded).as_mut().map(job)
    }
}

/// What is not there need not be removed.
fn forgiving(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// A panic while a map is held leaves nothing half-done: each access is one system call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
