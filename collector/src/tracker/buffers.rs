//! All memory that waiting bytes take, under one budget.
//!
//! In: bytes to keep. Out: pooled `Vec<u8>`s, and the number of bytes in use.

/// The pool.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    used: usize,
    spare: Vec<Vec<u8>>,
}

impl Buffers {
    /// A buffer that holds a copy of `bytes`.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        if bytes.is_empty() {
            return Vec::new();
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        self.used += buffer.capacity();
        self.append(&mut buffer, bytes);
        buffer
    }

    /// Appends to a buffer of this pool.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>, bytes: &[u8]) {
        self.used -= buffer.capacity();
        buffer.extend_from_slice(bytes);
        self.used += buffer.capacity();
    }

    /// Takes a buffer back.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        self.used -= buffer.capacity();
        if (1..=SPARE_CAPACITY).contains(&buffer.capacity()) && self.spare.len() < SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Notes that memory elsewhere (a parser's heap) changed from `before` to `after` bytes.
    pub(super) fn resized(&mut self, before: usize, after: usize) {
        self.used = self.used + after - before;
    }

    /// Bytes in use, spare buffers not included.
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

/// At most this many spare buffers, and none larger than that: 256 KiB in all.
const SPARE: usize = 32;
const SPARE_CAPACITY: usize = 8 * 1024;
