//! Programs for multi links (6.6): all places of a library in one link, which is removed in a few hundredths of a second where
//! single probes take a tenth each.
//!
//! In: the object, and the maps that aya made of it. Out: its two programs for TLS calls, loaded with the attach type that such
//! links demand and aya does not know.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya::{Ebpf, maps::Map};
use aya_obj::{Object, ParseError, relocation::EbpfRelocationError};

use crate::sys;

/// Why there are no multi links.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The object.
    #[error("cannot read the eBPF object")]
    Parse(#[from] ParseError),
    /// Its references.
    #[error("cannot relocate the eBPF object")]
    Relocation(#[from] EbpfRelocationError),
    /// Another object.
    #[error("the eBPF object has no program {0}; rebuild it with make ebpf")]
    NoProgram(&'static str),
    /// The verifier, or no such attach type.
    #[error("the kernel refuses the program {name}")]
    Program {
        /// Its name in the object.
        name: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Older than 6.6.
    #[error("the kernel has no multi links")]
    NoLinks,
}

/// The object's maps in the kernel, by name.
#[derive(Debug)]
pub(crate) struct Maps(HashMap<String, OwnedFd>);

impl Maps {
    /// Of a loaded object none of whose maps was taken yet.
    pub(crate) fn of(ebpf: &Ebpf) -> io::Result<Self> {
        let fds = ebpf.maps().filter_map(|(name, map)| match map {
            Map::Array(data)
            | Map::PerCpuArray(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::ProgramArray(data)
            | Map::RingBuf(data) => Some(data.fd().as_fd().try_clone_to_owned().map(|fd| (name.to_owned(), fd))),
            _ => None,
        });
        fds.collect::<Result<_, _>>().map(Self)
    }
}

/// The two programs, loaded.
#[derive(Debug)]
pub(crate) struct Programs {
    enter: OwnedFd,
    returned: OwnedFd,
}

impl Programs {
    /// Loads them, if the kernel makes such links.
    pub(crate) fn load(object: &[u8], maps: &Maps) -> Result<Self, Error> {
        let mut object = Object::parse(object)?;
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let known = object.maps.clone();
        let found = |(name, map)| {
            let name: &String = name;
            Some((name.as_str(), maps.0.get(name)?.as_raw_fd(), map))
        };
        object.relocate_maps(known.iter().filter_map(found), &text)?;
        object.relocate_calls(&text)?;
        let load = |name| {
            let program = object.programs.get(name).ok_or(Error::NoProgram(name))?;
            let function = object.functions.get(&program.function_key()).ok_or(Error::NoProgram(name))?;
            sys::load_uprobe_multi(&function.instructions).map_err(|source| Error::Program { name, source })
        };
        let programs = Self { enter: load("tls_enter")?, returned: load("tls_return")? };
        // A directory has no code: a kernel that gets so far as to say so makes such links.
        match sys::attach_uprobe_multi(programs.enter.as_fd(), c"/", &[0], &[], false) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(programs),
            _ => Err(Error::NoLinks),
        }
    }

    /// Runs at the beginning of every probed function, told apart by cookies.
    pub(crate) fn enter(&self) -> BorrowedFd<'_> {
        self.enter.as_fd()
    }

    /// Runs at the return of every function that has a return probe.
    pub(crate) fn returned(&self) -> BorrowedFd<'_> {
        self.returned.as_fd()
    }
}
