//! Where events come from: a recording, a capture file, or the kernel.
//!
//! In: a file. Out: [`Item`]s in the file's order, one call of [`FileSource::read`] at a time, with no privileges.

pub mod live;
pub mod pcap;
pub mod recorded;

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use sidelight_events::Event;

pub use crate::model::Side;
use crate::model::{ClockOffset, Process};

/// One thing a source gives.
#[derive(Debug)]
pub enum Item<'a> {
    /// Kernel time counts from here on by this offset.
    Clock(ClockOffset),
    /// A record of the event ABI.
    Event(Event<'a>),
    /// Facts of a process whose events follow.
    Process(Box<Process>),
}

/// A file of events, recognised by its first bytes.
pub enum FileSource {
    /// pcap or pcapng.
    Capture(Box<pcap::Capture<BufReader<File>>>),
    /// Made by `--record`.
    Recording(Box<recorded::Recording<BufReader<File>>>),
}

/// Why a file cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its contents are not understood.
    #[error("cannot read {path} at byte {offset}: {found}", path = path.display())]
    Contents {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is there.
        found: Found,
    },
}

/// What was found instead of the next record.
#[derive(Debug, thiserror::Error)]
pub enum Found {
    /// A record with too little in it.
    #[error("{what} has {len} bytes, {needed} needed")]
    Short {
        /// Which record.
        what: &'static str,
        /// Bytes it has.
        len: usize,
        /// Bytes it needs.
        needed: usize,
    },
    /// The file ends inside a record.
    #[error("the file ends inside {what}; it was cut, or is still being written")]
    End {
        /// Which record.
        what: &'static str,
    },
    /// Not our file.
    #[error("{magic:02x?}, which begins neither a recording nor a pcap or pcapng file")]
    Magic {
        /// First bytes.
        magic: [u8; 4],
    },
    /// A recording of another version.
    #[error("a recording of event version {found}; this build reads version {expected}, use the release that made it")]
    Version {
        /// In the file.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// A length above every sensible one.
    #[error("{what} of {len} bytes, at most {limit} are allowed")]
    Long {
        /// Which record.
        what: &'static str,
        /// In the file.
        len: u64,
        /// Ours.
        limit: u64,
    },
    /// A value that has no meaning here.
    #[error("{what} {value:#x}, which is not known")]
    Value {
        /// Of what.
        what: &'static str,
        /// In the file.
        value: u64,
    },
    /// An event that contradicts itself.
    #[error("an event that is not valid: {0}")]
    Event(sidelight_events::Malformed),
    /// A process record that is no JSON, or lacks something.
    #[error("a process record that is not valid: {0}")]
    Process(serde_json::Error),
    /// Reading failed.
    #[error("an error of the system: {0}")]
    Io(io::Error),
}

impl FileSource {
    /// Opens a recording or a capture file; `side` says what of a capture file is looked at.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be opened, or its header is not understood.
    pub fn open(path: &Path, side: Side) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Open { path: path.to_owned(), source })?;
        let mut input = Input::new(BufReader::new(file));
        let opened = input.array::<4>("the header").and_then(|magic| match magic {
            recorded::MAGIC_FRONT => recorded::Recording::begin(input).map(|r| Self::Recording(Box::new(r))),
            _ => pcap::Capture::begin(input, magic, side).map(|c| Self::Capture(Box::new(c))),
        });
        opened.map_err(|problem| problem.in_file(path))
    }

    /// Reads the next record or packet and gives `each` what it holds: nothing, one item, or several. Returns false at the end.
    ///
    /// # Errors
    /// [`Problem`] when the file's contents are not understood; nothing can be read after it.
    pub fn read(&mut self, mut each: impl FnMut(Item<'_>)) -> Result<bool, Problem> {
        match self {
            Self::Capture(capture) => capture.read(&mut each),
            Self::Recording(recording) => recording.read(&mut each),
        }
    }
}

/// A place in a file and what is wrong there.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}: {found}")]
pub struct Problem {
    /// Where.
    pub offset: u64,
    /// What is there.
    pub found: Found,
}

impl Problem {
    /// Adds the file's name.
    #[must_use]
    pub fn in_file(self, path: &Path) -> SourceError {
        SourceError::Contents { path: path.to_owned(), offset: self.offset, found: self.found }
    }
}

/// A reader that knows where it is.
struct Input<R> {
    reader: R,
    offset: u64,
}

impl<R: io::Read> Input<R> {
    fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// Fills `bytes` whole.
    fn fill(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), Problem> {
        match self.fill_or_end(bytes, what)? {
            true => Ok(()),
            false => Err(self.problem(Found::End { what })),
        }
    }

    /// The same; false if the file ends before the first byte.
    fn fill_or_end(&mut self, bytes: &mut [u8], what: &'static str) -> Result<bool, Problem> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.problem(Found::End { what })),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.problem(Found::Io(error))),
            }
        }
        self.offset += filled as u64;
        Ok(true)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// A problem with what begins here.
    fn problem(&self, found: Found) -> Problem {
        Problem { offset: self.offset, found }
    }
}
