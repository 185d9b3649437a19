//! Checked decoding of records: bytes in, [`Event`] out, nothing copied.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{Close, DataHeader, Mark, Open, Process, TlsBind, TlsFree, kind};

/// One record of the ring or of a recording. Borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Bytes moved; the slice has `cap_len` bytes.
    Data(&'a DataHeader, &'a [u8]),
    /// A connection is announced.
    Open(&'a Open),
    /// A connection, or half of it, ended.
    Close(&'a Close),
    /// A process began, exec'ed or ended.
    Process(&'a Process),
    /// A TLS object belongs to a connection.
    TlsBind(&'a TlsBind),
    /// A TLS object was freed.
    TlsFree(&'a TlsFree),
    /// A mark of a task.
    Mark(&'a Mark),
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No byte at all.
    #[error("empty record")]
    Empty,
    /// `kind` is unknown.
    #[error("unknown record kind {0:#04x}")]
    Kind(u8),
    /// Too short, or not aligned to 8 bytes.
    #[error("record of kind {kind} has {found} bytes (or is not aligned to 8), {expected} expected")]
    Size {
        /// The record's kind.
        kind: u8,
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// `cap_len` is more than `true_len` or [`crate::MAX_DEEP`].
    #[error("data record captured {cap_len} of {true_len} bytes")]
    Length {
        /// As in the record.
        cap_len: u32,
        /// As in the record.
        true_len: u32,
    },
}

impl<'a> Event<'a> {
    /// Reads the record at the start of `bytes`, which must be aligned to 8; trailing bytes (size classes, padding) are
    /// ignored.
    ///
    /// # Errors
    /// [`Malformed`] when the kind is unknown, the bytes are too few, or the lengths contradict each other.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let kind = *bytes.first().ok_or(Malformed::Empty)?;
        Ok(match kind {
            kind::DATA => {
                let (header, rest) = view::<DataHeader>(kind, bytes)?;
                let cap_len = header.cap_len as usize;
                if header.cap_len > header.true_len || cap_len > crate::MAX_DEEP {
                    return Err(Malformed::Length { cap_len: header.cap_len, true_len: header.true_len });
                }
                let expected = size_of::<DataHeader>() + cap_len;
                let size = Malformed::Size { kind, found: bytes.len(), expected };
                Event::Data(header, rest.get(..cap_len).ok_or(size)?)
            }
            kind::OPEN => Event::Open(view(kind, bytes)?.0),
            kind::CLOSE => Event::Close(view(kind, bytes)?.0),
            kind::PROCESS => Event::Process(view(kind, bytes)?.0),
            kind::TLS_BIND => Event::TlsBind(view(kind, bytes)?.0),
            kind::TLS_FREE => Event::TlsFree(view(kind, bytes)?.0),
            kind::MARK => Event::Mark(view(kind, bytes)?.0),
            other => return Err(Malformed::Kind(other)),
        })
    }

    /// Bytes the record takes, without padding.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Event::Data(header, bytes) => size_of_val(*header) + bytes.len(),
            Event::Open(e) => size_of_val(*e),
            Event::Close(e) => size_of_val(*e),
            Event::Process(e) => size_of_val(*e),
            Event::TlsBind(e) => size_of_val(*e),
            Event::TlsFree(e) => size_of_val(*e),
            Event::Mark(e) => size_of_val(*e),
        }
    }

    /// Never: a record has at least its kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// CLOCK_MONOTONIC ns of the record (of a call: when it returned).
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        match self {
            Event::Data(e, _) => e.end_ns,
            Event::Open(e) => e.time_ns,
            Event::Close(e) => e.time_ns,
            Event::Process(e) => e.time_ns,
            Event::TlsBind(e) => e.time_ns,
            Event::TlsFree(e) => e.time_ns,
            Event::Mark(e) => e.time_ns,
        }
    }
}

fn view<T: FromBytes + Immutable + KnownLayout>(kind: u8, bytes: &[u8]) -> Result<(&T, &[u8]), Malformed> {
    let size = Malformed::Size { kind, found: bytes.len(), expected: size_of::<T>() };
    T::ref_from_prefix(bytes).map_err(|_| size)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[repr(align(8))]
    struct Aligned([u8; 256]);

    fn data(cap_len: u32, true_len: u32) -> Aligned {
        let header = DataHeader { kind: kind::DATA, cap_len, true_len, ..DataHeader::default() };
        let mut out = Aligned([0; 256]);
        out.0[..size_of::<DataHeader>()].copy_from_slice(header.as_bytes());
        out
    }

    #[test]
    fn data_gives_header_and_captured_bytes() {
        let bytes = data(5, 9);
        let Ok(Event::Data(header, payload)) = Event::parse(&bytes.0) else { panic!("not data") };
        assert_eq!((header.true_len, payload.len()), (9, 5));
    }

    #[test]
    fn every_cut_and_every_contradiction_is_refused() {
        let bytes = data(5, 9);
        let whole = size_of::<DataHeader>() + 5;
        for len in 0..whole {
            assert!(Event::parse(&bytes.0[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(Event::parse(&data(10, 9).0).unwrap_err(), Malformed::Length { cap_len: 10, true_len: 9 });
        assert_eq!(Event::parse(&[99; 8]).unwrap_err(), Malformed::Kind(99));
        assert!(Event::parse(&bytes.0[1..]).is_err());
    }
}
