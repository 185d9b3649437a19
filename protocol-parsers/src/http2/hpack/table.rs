//! The tables of indexed fields (RFC 7541 section 2.3), reduced to what is of interest.
//!
//! Dynamic entries are counted from the newest, so those inserted since the connection was joined (or since something was lost)
//! are exact; older ones are unknown. For the same reason it does not matter when an entry leaves the encoder's table: a
//! correct encoder no longer names it. Only whether an entry was inserted at all must be certain.
//!
//! Of fields nobody asks for, cookies and credentials among them, the sizes are kept and no byte.

use std::collections::VecDeque;

use super::field::Field;
use crate::leb128;

/// Bytes of one entry beyond name and value (RFC 7541 section 4.1).
const OVERHEAD: usize = 32;

/// The table's size before an encoder says otherwise (RFC 9113 section 6.5.2).
const INITIAL: usize = 4096;

/// Memory for values and for entries, whatever size the encoder uses: the oldest leave early, and are unknown then.
const MAX_VALUES: usize = 12 * 1024;
const MAX_ENTRIES: usize = 768;

/// While the encoder's size is not known, an entry larger than this may have emptied the table instead of entering it.
const SURELY_FITS: usize = 1024;

/// One field of the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    field: Field,
    /// Its value lies at `at`, `value_len` bytes.
    kept: bool,
    name_len: u32,
    value_len: u32,
    /// Position of the value among all that were ever kept, modulo 2^32.
    at: u32,
}

/// A table in as few bytes as it takes, for a connection that is quiet.
pub(in crate::http2) struct Packed {
    /// Oldest first: [`Field`] (and [`KEPT`]), length of the name, length of the value, the value if it is kept. Lengths as in
    /// [`leb128`].
    entries: Box<[u8]>,
    /// No integer of a header block is longer than 32 bits.
    max: u32,
    certain: bool,
}

const KEPT: u8 = 0x80;

impl Default for Packed {
    /// Of a connection seen from its start.
    fn default() -> Self {
        Table::new().pack()
    }
}

impl Packed {
    /// Bytes of heap.
    pub(in crate::http2) fn heap(&self) -> usize {
        self.entries.len()
    }

    /// The table as it was.
    pub(super) fn unpack(&self) -> Table {
        let Self { entries, max, certain } = self;
        let mut table = Table { max: *max as usize, certain: *certain, ..Table::new() };
        let mut rest = &**entries;
        while let Some(first) = rest.split_off_first()
            && let (Some(name_len), Some(value_len)) = (leb128::take(&mut rest), leb128::take(&mut rest))
        {
            let value = if first & KEPT == 0 { None } else { rest.split_off(..value_len) };
            let field = Field::ALL.get(usize::from(first & !KEPT)).copied().unwrap_or(Field::Unknown);
            table.insert(field, name_len, value, value_len);
        }
        table
    }
}

/// The dynamic table of one direction.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    values: Vec<u8>,
    /// Position of the first byte of `values`.
    base: u32,
    /// Bytes of `values` that belong to no entry any more.
    dead: usize,
    /// Size of the known entries.
    size: usize,
    /// The encoder's limit.
    max: usize,
    /// It is known to be the encoder's.
    certain: bool,
}

impl Table {
    /// Of a connection seen from its start.
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), values: Vec::new(), base: 0, dead: 0, size: 0, max: INITIAL, certain: true }
    }

    /// Bytes were lost: how many entries came meanwhile is unknown, and so is the size.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.certain = false;
        self.max = self.max.max(INITIAL);
    }

    /// The encoder sets its size.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.certain = true;
        self.evict();
    }

    /// A field by its index behind the static table, 0 being the newest; `None`: unknown.
    pub(super) fn get(&self, index: usize) -> Option<(Field, usize, Option<&[u8]>)> {
        let newest = self.entries.len().checked_sub(1)?;
        let entry = self.entries.get(newest.checked_sub(index)?)?;
        Some((entry.field, entry.name_len as usize, self.value(entry)))
    }

    fn value(&self, entry: &Entry) -> Option<&[u8]> {
        let start = entry.at.wrapping_sub(self.base) as usize;
        self.values.get(start..start.checked_add(entry.value_len as usize)?).filter(|_| entry.kept)
    }

    /// Inserts a field; `value` if it is to be kept.
    pub(super) fn insert(&mut self, field: Field, name_len: usize, value: Option<&[u8]>, value_len: usize) {
        let size = name_len + value_len + OVERHEAD;
        if size > if self.certain { self.max } else { SURELY_FITS } {
            // "An attempt to add an entry larger than the maximum size causes the table to be emptied": and if it did fit, it
            // is one more that is unknown.
            return self.clear();
        }
        let (Ok(name_len), Ok(value_len)) = (u32::try_from(name_len), u32::try_from(value_len)) else {
            return self.clear();
        };
        let at = self.base.wrapping_add(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        let value = value.filter(|value| value.len() <= MAX_VALUES);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.entries.push_back(Entry { field, kept: value.is_some(), name_len, value_len, at });
        self.size += size;
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.max || self.entries.len() > MAX_ENTRIES || self.values.len() - self.dead > MAX_VALUES {
            let Some(entry) = self.entries.pop_front() else { break };
            self.size -= entry.name_len as usize + entry.value_len as usize + OVERHEAD;
            if entry.kept {
                self.dead += entry.value_len as usize;
            }
        }
        if self.dead > self.values.len() / 2 && self.dead >= 512 || self.entries.is_empty() {
            self.values.drain(..self.dead.min(self.values.len()));
            self.base = self.base.wrapping_add(u32::try_from(self.dead).unwrap_or(0));
            self.dead = 0;
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.values.clear();
        (self.base, self.dead, self.size) = (0, 0, 0);
    }

    /// The table in as few bytes as it takes.
    pub(super) fn pack(&self) -> Packed {
        let mut entries = Vec::new();
        for entry in &self.entries {
            entries.push(entry.field as u8 | if entry.kept { KEPT } else { 0 });
            leb128::push(&mut entries, entry.name_len as usize);
            leb128::push(&mut entries, entry.value_len as usize);
            entries.extend_from_slice(self.value(entry).unwrap_or_default());
        }
        let max = u32::try_from(self.max).unwrap_or(u32::MAX);
        Packed { entries: entries.into(), max, certain: self.certain }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.values.capacity()
    }
}

/// Entries of the static table.
pub(super) const STATIC: usize = 61;

/// An entry of the static table (RFC 7541 appendix A), from 1: field, length of its name, value.
pub(super) fn fixed(index: usize) -> Option<(Field, usize, &'static [u8])> {
    let (field, name_len, value) = FIXED.get(index.checked_sub(1)?)?;
    Some((*field, usize::from(*name_len), value.as_bytes()))
}

static FIXED: [(Field, u8, &str); STATIC] = [
    (Field::Authority, 10, ""),
    (Field::Method, 7, "GET"),
    (Field::Method, 7, "POST"),
    (Field::Path, 5, "/"),
    (Field::Path, 5, "/index.html"),
    (Field::Scheme, 7, "http"),
    (Field::Scheme, 7, "https"),
    (Field::Status, 7, "200"),
    (Field::Status, 7, "204"),
    (Field::Status, 7, "206"),
    (Field::Status, 7, "304"),
    (Field::Status, 7, "400"),
    (Field::Status, 7, "404"),
    (Field::Status, 7, "500"),
    (Field::Other, 14, ""),              // accept-charset
    (Field::Other, 15, "gzip, deflate"), // accept-encoding
    (Field::Other, 15, ""),              // accept-language
    (Field::Other, 13, ""),              // accept-ranges
    (Field::Other, 6, ""),               // accept
    (Field::Other, 27, ""),              // access-control-allow-origin
    (Field::Other, 3, ""),               // age
    (Field::Other, 5, ""),               // allow
    (Field::Other, 13, ""),              // authorization
    (Field::Other, 13, ""),              // cache-control
    (Field::Other, 19, ""),              // content-disposition
    (Field::Other, 16, ""),              // content-encoding
    (Field::Other, 16, ""),              // content-language
    (Field::Other, 14, ""),              // content-length
    (Field::Other, 16, ""),              // content-location
    (Field::Other, 13, ""),              // content-range
    (Field::ContentType, 12, ""),
    (Field::Other, 6, ""), // cookie
    (Field::Other, 4, ""), // date
    (Field::Other, 4, ""), // etag
    (Field::Other, 6, ""), // expect
    (Field::Other, 7, ""), // expires
    (Field::Other, 4, ""), // from
    (Field::Host, 4, ""),
    (Field::Other, 8, ""),  // if-match
    (Field::Other, 17, ""), // if-modified-since
    (Field::Other, 13, ""), // if-none-match
    (Field::Other, 8, ""),  // if-range
    (Field::Other, 19, ""), // if-unmodified-since
    (Field::Other, 13, ""), // last-modified
    (Field::Other, 4, ""),  // link
    (Field::Other, 8, ""),  // location
    (Field::Other, 12, ""), // max-forwards
    (Field::Other, 18, ""), // proxy-authenticate
    (Field::Other, 19, ""), // proxy-authorization
    (Field::Other, 5, ""),  // range
    (Field::Other, 7, ""),  // referer
    (Field::Other, 7, ""),  // refresh
    (Field::Other, 11, ""), // retry-after
    (Field::Other, 6, ""),  // server
    (Field::Other, 10, ""), // set-cookie
    (Field::Other, 25, ""), // strict-transport-security
    (Field::Other, 17, ""), // transfer-encoding
    (Field::UserAgent, 10, ""),
    (Field::Other, 4, ""),  // vary
    (Field::Other, 3, ""),  // via
    (Field::Other, 16, ""), // www-authenticate
];
