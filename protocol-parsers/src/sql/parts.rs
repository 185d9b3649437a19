//! Small sets of fixed size that the summary is made with.

use std::ops::Range;

/// "SHOULD truncate the summary to 255 characters (ensuring truncation does not occur within an operation name or target)."
const MAX_LEN: usize = 255;

/// Ranges of a query, in order: up to `N`, and no longer than [`MAX_LEN`] with a space between each two. What comes behind one
/// that does not fit is left out.
pub(super) struct Parts<const N: usize> {
    ranges: [(u16, u16); N],
    count: usize,
    len: usize,
    full: bool,
}

impl<const N: usize> Parts<N> {
    pub(super) fn new() -> Self {
        Self { ranges: [(0, 0); N], count: 0, len: 0, full: false }
    }

    pub(super) fn push(&mut self, at: Range<usize>) {
        let len = self.len + usize::from(self.count > 0) + at.len();
        // Queries are shorter than [`super::MAX_QUERY`].
        let range = u16::try_from(at.start).and_then(|start| Ok((start, u16::try_from(at.end)?)));
        match (self.ranges.get_mut(self.count), range) {
            (Some(slot), Ok(range)) if !self.full && len <= MAX_LEN => {
                *slot = range;
                self.count += 1;
                self.len = len;
            }
            _ => self.full = true,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        self.ranges.iter().take(self.count).map(|(start, end)| usize::from(*start)..usize::from(*end))
    }
}

/// How many brackets are open.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    open: u32,
    /// Its bit in [`Depths`].
    bit: u64,
}

impl Depth {
    pub(super) const OUTERMOST: Self = Self { open: 0, bit: 1 };

    pub(super) fn is_outermost(self) -> bool {
        self.open == 0
    }

    pub(super) fn deeper(self) -> Self {
        Self { open: self.open + 1, bit: self.bit << 1 }
    }

    pub(super) fn shallower(self) -> Self {
        let open = self.open.saturating_sub(1);
        Self { open, bit: 1_u64.checked_shl(open).unwrap_or(0) }
    }
}

/// Sets of bracket depths below 64, as bits.
#[derive(Default)]
pub(super) struct Depths(u64);

impl Depths {
    pub(super) fn set(&mut self, depth: Depth, on: bool) {
        self.0 = if on { self.0 | depth.bit } else { self.0 & !depth.bit };
    }

    pub(super) fn has(&self, depth: Depth) -> bool {
        self.0 & depth.bit != 0
    }
}
