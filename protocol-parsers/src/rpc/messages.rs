//! Length-prefixed messages, as gRPC, gRPC-Web and streaming Connect frame them: a flag byte, a length of 4 bytes, the message.
//!
//! In: one direction's body bytes, in any division, and holes. Out: how many messages it was, if that is certain.

/// One direction's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    count: u32,
    /// Bytes of the message that is being received which are still to come.
    left: u32,
    /// Bytes of the prefix that is being received.
    have: u8,
    flag: u8,
    /// The flag of a last frame that is no message; 0: there is none.
    last: u8,
    /// Something was missed.
    lost: bool,
    /// The bytes are no such messages.
    foreign: bool,
}

/// Bytes of a prefix.
const PREFIX: u8 = 5;

/// The message is compressed; the only flag gRPC knows.
const COMPRESSED: u8 = 1;

impl Messages {
    /// Such that end with a frame of this flag.
    pub(crate) fn ending_with(last: u8) -> Self {
        Self { last, ..Self::default() }
    }

    fn in_last(&self) -> bool {
        self.flag & self.last != 0
    }

    /// Takes the next bytes; `last` gets those of the last frame.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut last: impl FnMut(&[u8])) {
        while !self.lost && !self.foreign && !bytes.is_empty() {
            if self.have == PREFIX {
                let taken = shorter(self.left, bytes.len());
                let (message, rest) = bytes.split_at_checked(taken as usize).unwrap_or((bytes, &[]));
                bytes = rest;
                if self.in_last() {
                    last(message);
                }
                self.left -= taken;
                self.end();
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if self.have == 0 {
                self.flag = *byte;
                self.left = 0;
                self.foreign = *byte & !(COMPRESSED | self.last) != 0;
            } else {
                self.left = self.left << 8 | u32::from(*byte);
            }
            self.have += 1;
            self.end();
        }
    }

    /// Passes over bytes that are not at hand.
    pub(crate) fn skip(&mut self, len: u64) {
        match u32::try_from(len) {
            Ok(len) if self.have == PREFIX && len <= self.left && !self.in_last() => {
                self.left -= len;
                self.end();
            }
            _ => self.lost |= len > 0,
        }
    }

    /// Counts the message if it is whole.
    fn end(&mut self) {
        if self.have == PREFIX && self.left == 0 {
            self.have = 0;
            self.count = self.count.saturating_add(u32::from(!self.in_last()));
        }
    }

    /// Bytes were lost, nobody knows how many.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    /// How many of the next bytes are of no interest.
    pub(crate) fn skippable(&self) -> u64 {
        match (self.lost || self.foreign, self.have) {
            (true, _) => u64::MAX,
            (false, PREFIX) if !self.in_last() => u64::from(self.left),
            (false, _) => 0,
        }
    }

    /// How many there were, if that is certain and none is cut off.
    pub(crate) fn whole(&self) -> Option<u64> {
        (!self.lost && !self.foreign && self.have == 0).then_some(u64::from(self.count))
    }

    /// Whether a body that ended here is certain not to be such messages.
    pub(crate) fn is_foreign(&self) -> bool {
        !self.lost && (self.foreign || self.have > 0)
    }

    /// How many there were at least.
    pub(crate) fn at_least(&self) -> u64 {
        u64::from(self.count)
    }
}

fn shorter(left: u32, len: usize) -> u32 {
    u32::try_from(len).map_or(left, |len| len.min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        for len in [0_usize, 1, 300, 5] {
            bytes.push(u8::from(len == 300));
            bytes.extend((len as u32).to_be_bytes());
            bytes.extend(vec![0xff; len]);
        }
        bytes
    }

    #[test]
    fn any_division_counts_the_same() {
        let bytes = stream();
        for at in 0..bytes.len() {
            let mut messages = Messages::default();
            messages.take(&bytes[..at], |_| {});
            messages.take(&bytes[at..], |_| {});
            assert_eq!(messages.whole(), Some(4), "divided at {at}");
        }
    }

    #[test]
    fn a_hole_inside_a_message_loses_nothing_and_any_other_everything() {
        let bytes = stream();
        // Prefixes begin at 0, 5, 11 and 316.
        for (start, end, count) in
            [(16, 316, Some(4)), (20, 300, Some(4)), (16, 317, None), (15, 20, None), (4, 6, None), (0, 5, None)]
        {
            let mut messages = Messages::default();
            messages.take(&bytes[..start], |_| {});
            messages.skip((end - start) as u64);
            messages.take(&bytes[end..], |_| {});
            assert_eq!(messages.whole(), count, "{start}..{end}");
        }
    }

    #[test]
    fn what_is_cut_off_or_framed_otherwise_is_not_counted() {
        let mut messages = Messages::default();
        messages.take(&[0, 0, 0, 0, 2, 1], |_| {});
        assert_eq!((messages.whole(), messages.at_least()), (None, 0));
        let mut messages = Messages::default();
        messages.take(b"{\"a\": 1}", |_| {});
        assert_eq!(messages.whole(), None);
        assert_eq!(messages.skippable(), u64::MAX);
    }
}
