//! Recordings: the events of a run in a file, exactly as the ring gave them.
//!
//! In ([`Recorder`]): events, process facts, clock offsets. Out ([`Recording`]): the same, in the same order.
//!
//! A file is `SIDELIGHTREC\0\0\0\0`, the event ABI's version (u32), zero (u32), then frames: kind (u32), length (u32), that many
//! bytes, zeros up to a multiple of 8. Integers are little-endian. Frame kinds: 1 an event record, 2 a process as JSON, 3 a clock
//! offset (i64 ns). It holds what the watched processes sent and received, so it is readable by its owner only.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use sidelight_events::{ABI_VERSION, Event, MAX_CAPTURE};
use zerocopy::IntoBytes;

use super::{Found, Input, Item, Problem};
use crate::model::{ClockOffset, Process};

/// Writes a recording.
pub struct Recorder<W> {
    writer: W,
}

impl Recorder<BufWriter<File>> {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path, offset: ClockOffset) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Self::begin(BufWriter::with_capacity(1 << 16, file), offset)
    }
}

impl<W: Write> Recorder<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn begin(mut writer: W, offset: ClockOffset) -> io::Result<Self> {
        writer.write_all(&MAGIC)?;
        writer.write_all(&ABI_VERSION.to_le_bytes())?;
        writer.write_all(&[0; 4])?;
        let mut recorder = Self { writer };
        recorder.item(&Item::Clock(offset))?;
        Ok(recorder)
    }

    /// Writes one item.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Clock(offset) => self.frame(frame::CLOCK, &offset.0.to_le_bytes(), &[]),
            Item::Event(event) => match event {
                Event::Data(header, bytes) => self.frame(frame::EVENT, header.as_bytes(), bytes),
                Event::Open(record) => self.frame(frame::EVENT, record.as_bytes(), &[]),
                Event::Close(record) => self.frame(frame::EVENT, record.as_bytes(), &[]),
                Event::Process(record) => self.frame(frame::EVENT, record.as_bytes(), &[]),
                Event::TlsBind(record) => self.frame(frame::EVENT, record.as_bytes(), &[]),
                Event::TlsFree(record) => self.frame(frame::EVENT, record.as_bytes(), &[]),
                Event::Mark(record) => self.frame(frame::EVENT, record.as_bytes(), &[]),
            },
            Item::Process(process) => self.frame(frame::PROCESS, &serde_json::to_vec(&Borrowed(process))?, &[]),
        }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn frame(&mut self, kind: u32, head: &[u8], tail: &[u8]) -> io::Result<()> {
        let len = head.len() + tail.len();
        self.writer.write_all(&kind.to_le_bytes())?;
        self.writer.write_all(&u32::try_from(len).map_err(io::Error::other)?.to_le_bytes())?;
        self.writer.write_all(head)?;
        self.writer.write_all(tail)?;
        self.writer.write_all([0; 8].get(..len.next_multiple_of(8) - len).unwrap_or_default())
    }
}

/// Reads a recording.
pub struct Recording<R> {
    input: Input<R>,
    /// The current frame; words, so that records are aligned.
    words: Vec<u64>,
}

impl<R: Read> Recording<R> {
    /// Reads the header; its first four bytes were read already.
    pub(super) fn begin(mut input: Input<R>) -> Result<Self, Problem> {
        let magic = input.array::<12>("the header")?;
        if !MAGIC.ends_with(&magic) {
            let [a, b, c, d] = MAGIC_FRONT;
            return Err(Problem { offset: 0, found: Found::Magic { magic: [a, b, c, d] } });
        }
        let version = input.array::<8>("the header")?;
        let [a, b, c, d, ..] = version;
        let found = u32::from_le_bytes([a, b, c, d]);
        if found != ABI_VERSION {
            return Err(input.problem(Found::Version { found, expected: ABI_VERSION }));
        }
        Ok(Self { input, words: Vec::new() })
    }

    /// Reads the next frame; false at the end.
    pub(super) fn read(&mut self, each: &mut impl FnMut(Item<'_>)) -> Result<bool, Problem> {
        let mut head = [0; 8];
        if !self.input.fill_or_end(&mut head, "a frame")? {
            return Ok(false);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (kind, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if len > MAX_FRAME {
            return Err(self.input.problem(Found::Long { what: "a frame", len: len.into(), limit: MAX_FRAME.into() }));
        }
        let start = self.input.offset;
        self.words.clear();
        self.words.resize((len as usize).div_ceil(8), 0);
        self.input.fill(self.words.as_mut_bytes(), "a frame")?;
        let bytes = self.words.as_bytes().get(..len as usize).unwrap_or_default();
        let problem = |found| Problem { offset: start, found };
        each(match kind {
            frame::CLOCK => {
                let short = Found::Short { what: "a clock offset", len: bytes.len(), needed: 8 };
                let offset = bytes.try_into().map_err(|_| problem(short))?;
                Item::Clock(ClockOffset(i64::from_le_bytes(offset)))
            }
            frame::EVENT => Item::Event(Event::parse(bytes).map_err(|error| problem(Found::Event(error)))?),
            frame::PROCESS => {
                let Owned(process) = serde_json::from_slice(bytes).map_err(|e| problem(Found::Process(e)))?;
                Item::Process(Box::new(process))
            }
            kind => return Err(problem(Found::Value { what: "a frame of kind", value: kind.into() })),
        });
        Ok(true)
    }
}

/// The JSON form of a process: every field, by name.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Process", deny_unknown_fields)]
struct ProcessJson {
    pid: u32,
    own_pid: u32,
    parent_pid: u32,
    executable: String,
    #[serde(default)]
    called: String,
    args: Vec<String>,
    comm: String,
    container_id: Option<String>,
    unit: Option<String>,
    otel_service_name: Option<String>,
    otel_resource: Vec<(String, String)>,
    created: u64,
    owner: String,
}

#[derive(Serialize)]
struct Borrowed<'a>(#[serde(with = "ProcessJson")] &'a Process);

#[derive(Deserialize)]
struct Owned(#[serde(with = "ProcessJson")] Process);

mod frame {
    pub(super) const EVENT: u32 = 1;
    pub(super) const PROCESS: u32 = 2;
    pub(super) const CLOCK: u32 = 3;
}

const MAGIC: [u8; 16] = *b"SIDELIGHTREC\0\0\0\0";

/// The first bytes of every recording.
pub(super) const MAGIC_FRONT: [u8; 4] = *b"SIDE";

/// The longest event; process facts are bounded by the kernel's limits on arguments, and far below in practice.
const MAX_FRAME: u32 = 4 << 20;
const _: () = assert!(MAX_CAPTURE < MAX_FRAME as usize);

#[cfg(test)]
mod tests {
    use sidelight_events::{DataHeader, Open, kind};

    use super::*;
    use crate::source::Found;

    fn items(bytes: &[u8]) -> Result<Vec<String>, Problem> {
        let mut input = Input::new(bytes);
        let magic = input.array::<4>("the header")?;
        assert_eq!(magic, MAGIC_FRONT);
        let mut recording = Recording::begin(input)?;
        let mut seen = Vec::new();
        while recording.read(&mut |item| seen.push(format!("{item:?}")))? {}
        Ok(seen)
    }

    fn recorded() -> (Vec<u8>, Vec<String>) {
        let header = DataHeader { kind: kind::DATA, cap_len: 3, true_len: 5, ..DataHeader::default() };
        let open = Open { kind: kind::OPEN, local_port: 80, ..Open::default() };
        let process = Process {
            pid: 7,
            args: vec!["a".into(), "\u{fffd}".into()],
            unit: Some("x.service".into()),
            ..Process::default()
        };
        let items = [
            Item::Event(Event::Data(&header, b"abc")),
            Item::Process(Box::new(process)),
            Item::Event(Event::Open(&open)),
        ];
        let mut recorder = Recorder::begin(Vec::new(), ClockOffset(-5)).unwrap();
        items.iter().for_each(|item| recorder.item(item).unwrap());
        let shown =
            std::iter::once(Item::Clock(ClockOffset(-5))).chain(items).map(|item| format!("{item:?}")).collect();
        (recorder.writer, shown)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (bytes, shown) = recorded();
        assert_eq!(items(&bytes).unwrap(), shown);
    }

    #[test]
    fn a_recording_cut_anywhere_ends_with_an_error_or_at_a_frame() {
        let (bytes, shown) = recorded();
        let mut whole = 0;
        for len in 24..bytes.len() {
            match items(&bytes[..len]) {
                Ok(seen) => {
                    assert_eq!(seen[..], shown[..seen.len()]);
                    whole += 1;
                }
                Err(problem) => assert!(matches!(problem.found, Found::End { .. }), "{problem}"),
            }
        }
        assert_eq!(whole, shown.len());
    }

    #[test]
    fn another_version_and_unknown_frames_are_named() {
        let (mut bytes, _) = recorded();
        bytes[16] = 99;
        let message = items(&bytes).unwrap_err().to_string();
        assert!(message.contains("event version 99; this build reads version 1"), "{message}");
        bytes[16] = 1;
        bytes[24] = 77;
        let message = items(&bytes).unwrap_err().to_string();
        assert!(message.contains("a frame of kind 0x4d, which is not known"), "{message}");
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let (bytes, _) = recorded();
        for index in 4..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[index] ^= 0xff;
            let _ = items(&bytes);
        }
    }
}
