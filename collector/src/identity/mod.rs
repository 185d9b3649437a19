//! Identity: which resource a process, or an end of a captured connection, stands for.
//!
//! In: facts of processes as the loader reads them, exec and exit, time. Out: `Arc<Resource>`, the same for all spans of a process, on an
//! `Arc<Instance>`, the same for all processes of an instance.

mod host;
mod program;
mod resource;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use rustc_hash::FxHashMap;
use sidelight_protocol_parsers::KernelTime;

pub use self::host::Host;
use self::program::Program;
use crate::model::{Endpoint, Instance, Process, Resource};

/// Processes and ends of connections kept: 8,192 of about 1 KiB each at most, 8 MiB. When full, those that ended go, longest ago first, then
/// any; a live process that went is read again.
pub const MAX_PROCESSES: usize = 8192;

/// How long a process that ended is kept: its last spans are still being built (the tracker's idle limits are shorter).
const KEEP_NS: u64 = 60_000_000_000;

#[derive(Debug)]
struct Entry {
    resource: Arc<Resource>,
    program: Box<str>,
    ended: Option<KernelTime>,
}

/// The identities in use; belongs to one shard.
#[derive(Debug)]
pub struct Identities {
    host: Host,
    configured: BTreeMap<String, String>,
    processes: FxHashMap<u32, Entry>,
    ends: std::collections::HashMap<(Endpoint, bool), Arc<Resource>>,
    /// Equal instances share one `Arc`.
    instances: FxHashMap<u128, Weak<Instance>>,
}

impl Identities {
    /// With the machine's facts and the configured resource attributes.
    #[must_use]
    pub fn new(host: Host, configured: BTreeMap<String, String>) -> Self {
        Self {
            host,
            configured,
            processes: FxHashMap::default(),
            ends: std::collections::HashMap::default(),
            instances: FxHashMap::default(),
        }
    }

    /// The resource of a process, by its id in events. `None`: its facts must be read first ([`Identities::learn`]).
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Arc<Resource>> {
        self.processes.get(&pid).map(|entry| &entry.resource)
    }

    /// Short name of the program a process runs; empty where its facts are not known.
    #[must_use]
    pub fn program(&self, pid: u32) -> &str {
        self.processes.get(&pid).map_or("", |entry| &entry.program)
    }

    /// Takes the facts of a process seen for the first time, or anew after exec.
    pub fn learn(&mut self, process: &Process) -> Arc<Resource> {
        let instance = self.share(resource::instance(process, &self.host, &self.configured));
        let resource = Arc::new(resource::resource(instance, Some(process)));
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&process.pid) {
            self.make_room();
        }
        let program = Program::of(process).name.into();
        self.processes.insert(process.pid, Entry { resource: Arc::clone(&resource), program, ended: None });
        resource
    }

    /// A process began under this id, or replaced its program: what was known of the id holds no longer.
    pub fn replaced(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A process ended; it is kept for a while.
    pub fn ended(&mut self, pid: u32, at: KernelTime) {
        if let Some(entry) = self.processes.get_mut(&pid) {
            entry.ended = Some(at);
        }
    }

    /// The resource of the watched end of a captured connection: `service.name` as configured, else `address:port` (clients: `address`).
    pub fn end(&mut self, end: &Endpoint, client: bool) -> Arc<Resource> {
        let key = (end.clone(), client);
        if let Some(resource) = self.ends.get(&key) {
            return Arc::clone(resource);
        }
        let instance = self.share(resource::replayed(end, client, &self.configured));
        let resource = Arc::new(resource::resource(instance, None));
        if self.ends.len() >= MAX_PROCESSES {
            self.ends.clear();
        }
        self.ends.insert(key, Arc::clone(&resource));
        resource
    }

    /// Forgets what ended long ago (about once a second).
    pub fn tick(&mut self, now: KernelTime) {
        self.processes.retain(|_, entry| entry.ended.is_none_or(|ended| now.since(ended) < KEEP_NS));
        self.instances.retain(|_, instance| instance.strong_count() > 0);
    }

    fn share(&mut self, instance: Instance) -> Arc<Instance> {
        let place = self.instances.entry(instance.key).or_default();
        if let Some(same) = place.upgrade() {
            return same;
        }
        let instance = Arc::new(instance);
        *place = Arc::downgrade(&instance);
        instance
    }

    fn make_room(&mut self) {
        let oldest =
            self.processes.iter().min_by_key(|(_, entry)| entry.ended.map_or((1, KernelTime(0)), |at| (0, at)));
        if let Some(pid) = oldest.map(|(pid, _)| *pid) {
            self.processes.remove(&pid);
        }
    }
}
