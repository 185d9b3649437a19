//! IP datagrams that came in fragments.
//!
//! In: fragments, in any order. Out: the datagram's contents, once all of it is there. Overlapping fragments are dropped with
//! their datagram (RFC 5722); at most [`DATAGRAMS`] are open, the oldest is dropped first.

use std::{collections::VecDeque, net::IpAddr};

/// An IP packet's contents, and where they lie in its datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) id: u32,
    pub(super) protocol: u8,
    /// Offset in the datagram; 0 and not `more`: it is whole.
    pub(super) at: usize,
    pub(super) more: bool,
    /// True length.
    pub(super) len: usize,
    /// What was captured of it.
    pub(super) bytes: &'a [u8],
}

/// Open datagrams.
#[derive(Default)]
pub(super) struct Fragments {
    open: VecDeque<Datagram>,
    /// Datagrams dropped because a part was cut, overlapped, or did not come in time.
    pub(super) dropped: u64,
}

struct Datagram {
    from: IpAddr,
    to: IpAddr,
    id: u32,
    /// Known from the first fragment.
    protocol: Option<u8>,
    /// Known from the last.
    len: Option<usize>,
    /// Sorted, not overlapping.
    parts: Vec<(usize, Vec<u8>)>,
}

impl Fragments {
    /// Takes a fragment. If it completes its datagram, gives the protocol, and the contents in `whole`.
    pub(super) fn add(&mut self, from: IpAddr, to: IpAddr, fragment: &Fragment<'_>, whole: &mut Vec<u8>) -> Option<u8> {
        let same = |open: &Datagram| open.from == from && open.to == to && open.id == fragment.id;
        let mut datagram = match self.open.iter().position(same).and_then(|index| self.open.remove(index)) {
            Some(datagram) => datagram,
            None => Datagram { from, to, id: fragment.id, protocol: None, len: None, parts: Vec::new() },
        };
        if !datagram.add(fragment) {
            self.dropped += 1;
            return None;
        }
        if let Some(protocol) = datagram.complete(whole) {
            return Some(protocol);
        }
        if self.open.len() >= DATAGRAMS {
            self.open.pop_front();
            self.dropped += 1;
        }
        self.open.push_back(datagram);
        None
    }
}

impl Datagram {
    /// False if it cannot be put together any more.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let end = fragment.at + fragment.len;
        if fragment.bytes.len() < fragment.len || end > MAX_DATAGRAM {
            return false;
        }
        if fragment.at == 0 {
            self.protocol = Some(fragment.protocol);
        }
        if !fragment.more {
            self.len = Some(end);
        }
        let index = self.parts.partition_point(|(at, _)| *at < fragment.at);
        if let Some((at, bytes)) = self.parts.get(index)
            && *at == fragment.at
            && bytes == fragment.bytes
        {
            // The same frame, captured twice.
            return true;
        }
        let overlaps_next = self.parts.get(index).is_some_and(|(at, _)| *at < end);
        let before = index.checked_sub(1).and_then(|index| self.parts.get(index));
        if overlaps_next || before.is_some_and(|(at, bytes)| at + bytes.len() > fragment.at) {
            return false;
        }
        self.parts.insert(index, (fragment.at, fragment.bytes.to_vec()));
        true
    }

    fn complete(&self, whole: &mut Vec<u8>) -> Option<u8> {
        let (protocol, len) = (self.protocol?, self.len?);
        let end = self.parts.last().map(|(at, bytes)| at + bytes.len());
        if end != Some(len) || self.parts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() != len {
            return None;
        }
        whole.clear();
        self.parts.iter().for_each(|(_, bytes)| whole.extend_from_slice(bytes));
        Some(protocol)
    }
}

/// Datagrams open at once: 4 MiB if all are as long as can be.
const DATAGRAMS: usize = 64;

/// The longest datagram.
const MAX_DATAGRAM: usize = 65_535;
