//! What is done about what was found: the only place where process events, selection and probes meet.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io,
    os::{linux::fs::MetadataExt, unix::ffi::OsStrExt},
    path::Path,
    sync::{Arc, Mutex, mpsc::SyncSender},
};

use sidelight_events::maps::{mode, select};

use super::{
    Counts, News, Outcome, add,
    record::{Inode, Mapping, Record},
    scan,
    source::Handler,
};
use crate::{
    decide::Procs,
    hooks::lock,
    process::{Proc, Process},
    uprobes::{self, Libraries},
};

const ONLY: u32 = select::ONLY | select::ONLY_TREE | select::ONLY_EXE;
const EXCEPT: u32 = select::EXCEPT | select::EXCEPT_TREE | select::EXCEPT_EXE;

const TREE: u32 = select::ONLY_TREE | select::EXCEPT_TREE;
/// Children remembered until they end. Of further ones that end at once it is not told what they were.
const MAX_CHILDREN: usize = 4096;

/// Who is watched, as the hooks see it.
pub(crate) struct Selection {
    procs: Procs,
    /// Bits of `maps::mode`.
    mode: u32,
    /// What processes inherited. The kernel side forgets a process when it ends, which may be before its start is read here.
    inherited: HashMap<u32, u32>,
}

impl Selection {
    pub(crate) fn new(procs: Procs, mode: u32) -> Self {
        Self { procs, mode, inherited: HashMap::new() }
    }

    fn bits(&self, pid: u32) -> u32 {
        let known = lock(&self.procs).get(&pid, 0).ok();
        known.or_else(|| self.inherited.get(&pid).copied()).unwrap_or(0)
    }

    fn forked(&mut self, pid: u32, parent: u32) {
        let bits = self.bits(parent) & TREE;
        if bits != 0 && self.inherited.len() < MAX_CHILDREN {
            self.inherited.insert(pid, bits);
        }
    }

    /// Whether anything of this process may be watched: now, by one of its ports, or once it is decided on.
    fn wants(&self, pid: u32) -> bool {
        let bits = self.bits(pid);
        let all = self.mode & (mode::DEFAULT_ALL | mode::PORTS) != 0;
        bits & EXCEPT == 0 && (all || bits & (ONLY | select::UNDECIDED) != 0)
    }
}

/// Processes that ended before they could be read and whose first mapping may still tell their executable.
const MAX_NAMELESS: usize = 256;

pub(crate) struct Watch {
    proc: Proc,
    selection: Selection,
    libraries: Option<Libraries>,
    nameless: HashMap<u32, (u64, Box<Process>)>,
    news: SyncSender<News>,
    counts: Arc<Counts>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

impl Watch {
    /// `outcomes` says what became of each library.
    pub(crate) fn new(
        selection: Selection,
        libraries: Option<Libraries>,
        news: SyncSender<News>,
        counts: Arc<Counts>,
        outcomes: Arc<Mutex<Vec<Outcome>>>,
    ) -> Self {
        Self { proc: Proc::new(), selection, libraries, nameless: HashMap::new(), news, counts, outcomes }
    }

    /// So that the first process to map it loses nothing.
    fn probe_default(&mut self) {
        let Some(path) = uprobes::default_library() else { return };
        let inode = std::fs::metadata(&path).map(|meta| {
            let device = meta.st_dev();
            Inode { major: libc::major(device), minor: libc::minor(device), number: meta.st_ino() }
        });
        if let Ok(inode) = inode
            && self.libraries.as_ref().is_some_and(|libraries| !libraries.knows(inode))
        {
            self.probe(inode, &path, File::open(&path));
        }
    }

    fn probe(&mut self, inode: Inode, path: &Path, file: io::Result<File>) {
        let Some(libraries) = &mut self.libraries else { return };
        let outcome = libraries.probe(inode, path, file).map_err(|error| {
            add(&self.counts.refused, 1);
            let message = format!("cannot probe {}: {}", path.display(), chain(&error));
            tracing::warn!("{message}");
            message
        });
        let mut outcomes = lock(&self.outcomes);
        if outcomes.len() < uprobes::MAX_LIBRARIES {
            outcomes.push(outcome);
        }
    }

    /// A watched process maps a library not seen before: true when it was probed.
    fn mapped(&mut self, pid: u32, mapping: &Mapping<'_>) -> bool {
        let new = self.libraries.as_ref().is_some_and(|libraries| !libraries.knows(mapping.inode));
        if !new || !Libraries::wants(mapping.path) || !self.selection.wants(pid) {
            return false;
        }
        let path = Path::new(OsStr::from_bytes(mapping.path));
        let (start, end) = (mapping.start, mapping.start.saturating_add(mapping.len));
        // The mapping itself leads to the file, whatever happened to its path or its mount namespace.
        let file = File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}")).or_else(|_| {
            let inside = path.strip_prefix("/").unwrap_or(path);
            File::open(Path::new(&format!("/proc/{pid}/root")).join(inside))
        });
        self.probe(mapping.inode, path, file);
        true
    }

    fn executed(&mut self, pid: u32, time_ns: u64, comm: &[u8]) {
        if !self.selection.wants(pid) {
            return;
        }
        let process = self.proc.read(pid).unwrap_or_else(|| Process {
            pid,
            own_pid: pid,
            comm: String::from_utf8_lossy(comm).into_owned(),
            ..Process::default()
        });
        let process = Box::new(process);
        if process.executable.is_empty() && self.nameless.len() < MAX_NAMELESS {
            self.nameless.insert(pid, (time_ns, process));
        } else {
            self.tell(News::Exec { time_ns, process });
        }
    }

    /// The first executable mapping of a program is the program itself.
    fn name(&mut self, pid: u32, path: &[u8]) {
        if let Some((time_ns, mut process)) = self.nameless.remove(&pid) {
            process.executable = String::from_utf8_lossy(path).into_owned();
            self.tell(News::Exec { time_ns, process });
        }
    }

    fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            add(&self.counts.news_dropped, 1);
        }
    }
}

impl Handler for Watch {
    fn scan(&mut self) {
        if self.libraries.is_none() {
            return;
        }
        self.probe_default();
        for pid in scan::processes() {
            if self.selection.wants(pid) {
                scan::mappings(pid, |mapping| {
                    self.mapped(pid, &mapping);
                });
            }
        }
    }

    fn record(&mut self, time_ns: u64, record: Record<'_>) {
        match record {
            Record::Fork { pid, parent } => self.selection.forked(pid, parent),
            Record::Exec { pid, comm } => self.executed(pid, time_ns, comm),
            Record::Exit { pid } => {
                self.selection.inherited.remove(&pid);
                if let Some((time_ns, process)) = self.nameless.remove(&pid) {
                    self.tell(News::Exec { time_ns, process });
                }
            }
            Record::Mapped { pid, mapping } => {
                self.name(pid, mapping.path);
                if self.mapped(pid, &mapping) {
                    add(&self.counts.late_library, 1);
                }
            }
            Record::Lost(n) => add(&self.counts.lost, n),
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
