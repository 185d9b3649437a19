//! Perf records: bytes of a ring in, [`Record`]s out. Unknown kinds are passed over; damage ends the buffer, counted.

/// One thing that happened to a process. Ids are those of the daemon's own PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A process (not a thread) was created.
    Fork {
        /// The new process.
        pid: u32,
        /// Who made it.
        parent: u32,
    },
    /// A process replaced its program.
    Exec {
        /// The process.
        pid: u32,
        /// Its new name.
        comm: &'a [u8],
    },
    /// The last thread of a process may have ended: the leader did.
    Exit {
        /// The process.
        pid: u32,
    },
    /// A file was mapped executable.
    Mapped {
        /// By this process.
        pid: u32,
        /// The mapping.
        mapping: Mapping<'a>,
    },
    /// This many records did not fit the ring.
    Lost(u64),
}

/// An executable mapping of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping<'a> {
    /// First address.
    pub(crate) start: u64,
    /// Length in bytes.
    pub(crate) len: u64,
    /// The file.
    pub(crate) inode: Inode,
    /// Its path in the mount namespace of the process.
    pub(crate) path: &'a [u8],
}

/// A file of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    /// Device, major number.
    pub(crate) major: u32,
    /// Device, minor number.
    pub(crate) minor: u32,
    /// Number on it.
    pub(crate) number: u64,
}

/// `enum perf_event_type`.
mod kind {
    pub(super) const LOST: u32 = 2;
    pub(super) const COMM: u32 = 3;
    pub(super) const EXIT: u32 = 4;
    pub(super) const FORK: u32 = 7;
    pub(super) const MMAP2: u32 = 10;
}

/// `PERF_RECORD_MISC_COMM_EXEC`.
const COMM_EXEC: u16 = 1 << 13;
/// Each record ends with its time: `sample_id_all` with `PERF_SAMPLE_TIME`.
const TRAILER: usize = 8;

/// The records of a buffer, in order, with their times (CLOCK_MONOTONIC ns).
#[derive(Debug)]
pub(crate) struct Records<'a>(pub(crate) &'a [u8]);

/// The header of a record does not fit its buffer: the rest of the buffer is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u64, Record<'a>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let Some((kind, misc, body)) = self.split() else {
                self.0 = &[];
                return Some(Err(Damaged));
            };
            if let Some(record) = parse(kind, misc, body) {
                return Some(Ok(record));
            }
        }
        None
    }
}

impl<'a> Records<'a> {
    /// `struct perf_event_header`: kind u32, misc u16, size u16 of the whole record.
    fn split(&mut self) -> Option<(u32, u16, &'a [u8])> {
        let mut header = Words(self.0);
        let (kind, misc, size) = (header.u32()?, header.u16()?, header.u16()?);
        let (record, rest) = self.0.split_at_checked(usize::from(size))?;
        let body = record.get(8..)?;
        self.0 = rest;
        Some((kind, misc, body))
    }
}

fn parse(kind: u32, misc: u16, body: &[u8]) -> Option<(u64, Record<'_>)> {
    let (fields, trailer) = body.split_at_checked(body.len().checked_sub(TRAILER)?)?;
    Some((Words(trailer).u64()?, body_of(kind, misc, Words(fields))?))
}

fn body_of(kind: u32, misc: u16, mut fields: Words<'_>) -> Option<Record<'_>> {
    match kind {
        kind::LOST => {
            let _id = fields.u64()?;
            Some(Record::Lost(fields.u64()?))
        }
        kind::COMM if misc & COMM_EXEC != 0 => {
            let (pid, _tid) = (fields.u32()?, fields.u32()?);
            Some(Record::Exec { pid, comm: until_nul(fields.0) })
        }
        kind::FORK | kind::EXIT => {
            let (pid, parent, tid) = (fields.u32()?, fields.u32()?, fields.u32()?);
            match kind {
                _ if pid != tid => None,
                kind::FORK => Some(Record::Fork { pid, parent }),
                _ => Some(Record::Exit { pid }),
            }
        }
        kind::MMAP2 => {
            let (pid, _tid) = (fields.u32()?, fields.u32()?);
            let (start, len, _file_offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let inode = Inode { major: fields.u32()?, minor: fields.u32()?, number: fields.u64()? };
            let (_generation, _protection, _flags) = (fields.u64()?, fields.u32()?, fields.u32()?);
            Some(Record::Mapped { pid, mapping: Mapping { start, len, inode, path: until_nul(fields.0) } })
        }
        _ => None,
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// Little-endian numbers, one after the other.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, misc: u16, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let mut out = kind.to_le_bytes().to_vec();
        out.extend(misc.to_le_bytes());
        out.extend((8 + body.len() as u16 + 8).to_le_bytes());
        out.extend(body);
        out.extend(77u64.to_le_bytes());
        out
    }

    fn words(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn all() -> Vec<u8> {
        [
            record(kind::FORK, 0, &[&words(&[5, 1, 5, 1, 0, 0])]),
            record(kind::FORK, 0, &[&words(&[5, 5, 6, 5, 0, 0])]),
            record(kind::COMM, 0, &[&words(&[5, 5]), b"renamed\0"]),
            record(kind::COMM, COMM_EXEC, &[&words(&[5, 5]), b"curl\0\0\0\0"]),
            record(99, 0, &[&[0; 40]]),
            record(
                kind::MMAP2,
                0,
                &[&words(&[5, 5, 0x1000, 0, 0x2000, 0, 0, 0, 8, 1, 4242, 0, 0, 0, 5, 2]), b"/lib/a.so\0"],
            ),
            record(kind::LOST, 0, &[&words(&[1, 0, 12, 0])]),
            record(kind::EXIT, 0, &[&words(&[5, 1, 6, 1, 0, 0])]),
            record(kind::EXIT, 0, &[&words(&[5, 1, 5, 1, 0, 0])]),
        ]
        .concat()
    }

    #[test]
    fn processes_mappings_and_losses_are_read_and_threads_and_renames_are_not() {
        let bytes = all();
        let inode = Inode { major: 8, minor: 1, number: 4242 };
        let mapping = Mapping { start: 0x1000, len: 0x2000, inode, path: b"/lib/a.so" };
        let expected = [
            Record::Fork { pid: 5, parent: 1 },
            Record::Exec { pid: 5, comm: b"curl" },
            Record::Mapped { pid: 5, mapping },
            Record::Lost(12),
            Record::Exit { pid: 5 },
        ];
        assert_eq!(Records(&bytes).collect::<Result<Vec<_>, _>>(), Ok(expected.map(|record| (77, record)).to_vec()));
    }

    #[test]
    fn any_cut_and_any_changed_byte_ends_in_bounds() {
        let bytes = all();
        for cut in 0..bytes.len() {
            assert!(Records(&bytes[..cut]).count() <= 6);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 7, 8, 255] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                assert!(Records(&bytes).count() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_size_of_zero_is_damage_and_no_endless_loop() {
        assert_eq!(Records(&[0; 64]).collect::<Vec<_>>(), [Err(Damaged)]);
    }
}
