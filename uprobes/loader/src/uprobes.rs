//! Probes in libraries: finds their places and attaches programs, once for each file and so for every process at once.
//!
//! In: the programs of the object, files that processes map. Out: attached probes, held by descriptor, and what to say of
//! them in the start-up table.

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::programs::{ProgramError, UProbe};
use sidelight_events::maps::tls_call;
use sidelight_symbols::openssl::{self, Hook, Probe};

use crate::{discover::Inode, hooks::Loaded, load::OBJECT, multi, sys};

/// Names of libraries that are probed: the file name begins with one of these.
const LIBRARIES: [&str; 1] = ["libssl.so.3"];
/// Directories in which the dynamic linker finds the machine's own libssl, in the order of its search.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"];
/// The largest library that is read; OpenSSL's has less than 1 MiB.
const MAX_FILE: u64 = 64 << 20;
/// Files probed at a time; further ones are counted by [`Counts::refused`](crate::discover::Counts::refused).
pub(crate) const MAX_LIBRARIES: usize = 256;

/// Why a library is not probed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It is larger than any such library.
    #[error("it has {0} bytes, more than {MAX_FILE}")]
    Size(u64),
    /// It has no places for probes.
    #[error("no place for probes")]
    Plan(#[source] sidelight_symbols::Error),
    /// The hooks are gone.
    #[error("the programs were unloaded")]
    Detached,
    /// A program was refused.
    #[error("the kernel refuses the program {name}")]
    Program {
        /// Its name in the object.
        name: &'static str,
        /// What the kernel said.
        #[source]
        source: ProgramError,
    },
    /// The kernel has no uprobes.
    #[error("the kernel offers no uprobes (/sys/bus/event_source/devices/uprobe)")]
    NoUprobes(#[source] io::Error),
    /// The kernel refused a probe.
    #[error("cannot attach to {function} at {offset:#x}")]
    Attach {
        /// The library's function.
        function: &'static str,
        /// The place in the file.
        offset: u64,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a link.
    #[error("cannot attach to its functions")]
    AttachAll(#[source] io::Error),
    /// As many are probed as is allowed.
    #[error("{MAX_LIBRARIES} libraries are probed already")]
    TooMany,
}

/// The programs; loaded, not attached.
#[derive(Debug)]
pub(crate) enum Programs {
    /// For one link a library and kind of probe.
    Multi(multi::Programs),
    /// For one perf event a probe: kernels before 6.6.
    Single {
        /// Type of the uprobe event source.
        pmu: u32,
        /// By name in the object.
        programs: HashMap<&'static str, OwnedFd>,
    },
}

/// Runs at the return of every function that has a return probe.
const RETURNED: &str = "tls_return";
const ENTRIES: [&str; 6] = ["tls_read", "tls_read_ex", "tls_write", "tls_write_ex", "tls_handshake", "tls_free"];

fn call(hook: Hook) -> u64 {
    match hook {
        Hook::ReadCount => tls_call::READ,
        Hook::ReadOut => tls_call::READ_EX,
        Hook::WriteCount => tls_call::WRITE,
        Hook::WriteOut => tls_call::WRITE_EX,
        Hook::Handshake => tls_call::HANDSHAKE,
        Hook::Free | Hook::Clear => tls_call::FREE,
    }
}

fn entry(hook: Hook) -> &'static str {
    match hook {
        Hook::ReadCount => "tls_read",
        Hook::ReadOut => "tls_read_ex",
        Hook::WriteCount => "tls_write",
        Hook::WriteOut => "tls_write_ex",
        Hook::Handshake => "tls_handshake",
        Hook::Free | Hook::Clear => "tls_free",
    }
}

impl Programs {
    /// Loads them into the kernel.
    pub(crate) fn load(loaded: &mut Loaded) -> Result<Self, Error> {
        match multi::Programs::load(OBJECT, &loaded.maps) {
            Ok(programs) => return Ok(Self::Multi(programs)),
            Err(error) => tracing::debug!(%error, "TLS libraries are probed place by place"),
        }
        let text = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").map_err(Error::NoUprobes)?;
        let pmu = text.trim().parse().map_err(|e| Error::NoUprobes(io::Error::new(io::ErrorKind::InvalidData, e)))?;
        let ebpf = &mut loaded.ebpf;
        let mut load = |name| {
            let missing = || ProgramError::InvalidName { name: String::from(name) };
            let program: &mut UProbe = ebpf.program_mut(name).ok_or_else(missing)?.try_into()?;
            program.load()?;
            let fd = program.fd()?.as_fd().try_clone_to_owned().map_err(ProgramError::IOError)?;
            Ok((name, fd))
        };
        let names = ENTRIES.into_iter().chain([RETURNED]);
        let programs =
            names.map(|name| load(name).map_err(|source| Error::Program { name, source })).collect::<Result<_, _>>()?;
        Ok(Self::Single { pmu, programs })
    }

    /// Attaches to the places of one library in the file `target`.
    fn attach(&self, target: &CStr, probes: &[Probe]) -> Result<Vec<OwnedFd>, Error> {
        // The returns first: an entry without its return would leave its thread inside the call.
        match self {
            Self::Multi(programs) => {
                let places =
                    |probes: &[&Probe]| -> Vec<u64> { probes.iter().map(|probe| probe.spot.offset()).collect() };
                let all: Vec<&Probe> = probes.iter().collect();
                let returning: Vec<&Probe> = probes.iter().filter(|probe| returns(probe.hook)).collect();
                let cookies: Vec<u64> = probes.iter().map(|probe| call(probe.hook)).collect();
                let returned = sys::attach_uprobe_multi(programs.returned(), target, &places(&returning), &[], true);
                let returned = returned.map_err(Error::AttachAll)?;
                let entered = sys::attach_uprobe_multi(programs.enter(), target, &places(&all), &cookies, false);
                Ok(vec![entered.map_err(Error::AttachAll)?, returned])
            }
            Self::Single { pmu, programs } => {
                let mut events = Vec::new();
                for probe in probes {
                    let offset = probe.spot.offset();
                    let mut add = |name: &'static str, returning| {
                        let missing = || ProgramError::InvalidName { name: name.to_owned() };
                        let program =
                            programs.get(name).ok_or_else(|| Error::Program { name, source: missing() })?.as_fd();
                        let event = sys::attach_uprobe(*pmu, target, offset, returning, program);
                        events.push(event.map_err(|source| Error::Attach {
                            function: probe.function,
                            offset,
                            source,
                        })?);
                        Ok(())
                    };
                    if returns(probe.hook) {
                        add(RETURNED, true)?;
                    }
                    add(entry(probe.hook), false)?;
                }
                Ok(events)
            }
        }
    }

    fn how(&self) -> How {
        match self {
            Self::Multi(_) => How::Links,
            Self::Single { .. } => How::Events,
        }
    }
}

/// Whether the end of the call is of interest.
fn returns(hook: Hook) -> bool {
    !matches!(hook, Hook::Free | Hook::Clear)
}

/// What holds the probes of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Two multi links (6.6).
    Links,
    /// A perf event for each probe; removing one takes about 0.1 s.
    Events,
}

/// One probed library, for the start-up table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Path, as the process that maps it names it.
    pub path: PathBuf,
    /// What holds its probes.
    pub how: How,
    /// Functions whose only place for a probe is one that the kernel must single-step: ten times slower.
    pub slow: Vec<&'static str>,
    /// Functions that are not there, and why.
    pub missing: Vec<(&'static str, String)>,
}

/// What is probed. Dropping it detaches everything (see [`How`]).
#[derive(Debug)]
pub(crate) struct Libraries {
    programs: Programs,
    probed: HashMap<Inode, Vec<OwnedFd>>,
}

impl Libraries {
    pub(crate) fn new(programs: Programs) -> Self {
        Self { programs, probed: HashMap::new() }
    }

    /// Whether a file of this path is one to probe.
    pub(crate) fn wants(path: &[u8]) -> bool {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        LIBRARIES.iter().any(|library| name.starts_with(library.as_bytes()))
    }

    /// Whether this file was looked at before; nothing more needs to be done for it then.
    pub(crate) fn knows(&self, inode: Inode) -> bool {
        self.probed.contains_key(&inode)
    }

    /// Probes `file`. A file that fails is remembered as well: it is not tried again.
    ///
    /// # Errors
    /// [`Error`]: what was attached before it is detached again.
    pub(crate) fn probe(&mut self, inode: Inode, path: &Path, file: io::Result<File>) -> Result<Library, Error> {
        if self.probed.len() >= MAX_LIBRARIES {
            return Err(Error::TooMany);
        }
        let file = file.map_err(Error::Read)?;
        let attached = self.attach(path, &file);
        let (library, events) = match attached {
            Ok((library, events)) => (Ok(library), events),
            Err(error) => (Err(error), Vec::new()),
        };
        self.probed.insert(inode, events);
        library
    }

    fn attach(&self, path: &Path, file: &File) -> Result<(Library, Vec<OwnedFd>), Error> {
        let size = file.metadata().map_err(Error::Read)?.len();
        if size > MAX_FILE {
            return Err(Error::Size(size));
        }
        let mut data = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut data).map_err(Error::Read)?;
        let plan = openssl::plan(&data).map_err(Error::Plan)?;
        // Through the descriptor: the process and its mount namespace may be gone before the last probe stands.
        let target = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
        let events = self.programs.attach(&target, &plan.probes)?;
        let slow = plan.probes.iter().filter(|probe| !probe.spot.cheap()).map(|probe| probe.function).collect();
        let missing = plan.missing.into_iter().map(|(function, why)| (function, why.to_string())).collect();
        Ok((Library { path: path.to_owned(), how: self.programs.how(), slow, missing }, events))
    }
}

/// The machine's own libssl: that of the host when the daemon runs in a container and sees the host's processes.
pub(crate) fn default_library() -> Option<PathBuf> {
    ["/proc/1/root", ""].iter().find_map(|root| {
        let paths = DIRECTORIES.iter().flat_map(|dir| LIBRARIES.map(|name| format!("{root}{dir}/{name}")));
        paths.map(PathBuf::from).find(|path| path.is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_file_name() {
        for (path, wanted) in [
            ("/usr/lib/x86_64-linux-gnu/libssl.so.3", true),
            ("/snap/x/libssl.so.3.0.13", true),
            ("libssl.so.3", true),
            ("/usr/lib/libssl.so.1.1", false),
            ("/usr/lib/libssl3.so", false),
            ("/libssl.so.3/other", false),
            ("", false),
        ] {
            assert_eq!(Libraries::wants(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn this_machine_has_a_default_libssl() {
        assert!(default_library().is_some());
    }
}
