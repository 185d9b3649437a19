//! Capture files as a source: packets become `Data` records of the chosen side, as if a hook had seen them there.
//!
//! In: pcap and pcapng; Ethernet with VLAN tags, Linux cooked v1 and v2, raw IP, loopback; IPv4 and IPv6 with fragments; TCP.
//! Out: [`Item`]s. Order, retransmissions and gaps are left to the tracker: a packet's `offset` is its sequence number, `other`
//! its acknowledgement. Both ends of a connection are connections of their own, with one `sock` and the `ino`s 1 and 2.
//!
//! Who is the client is told by the SYN. Without one, or where the side depends on the protocol, both ends are given, and the
//! tracker (told by [`crate::tracker::Tracker::looking_at`]) keeps the one that is asked for once the bytes told the protocol.

mod file;
mod flows;
mod fragments;
mod packet;
#[cfg(test)]
mod tests;

use std::io::Read;

use file::Frames;
use flows::Flows;
use fragments::Fragments;

use super::{Input, Item, Problem, Side};
use crate::model::ClockOffset;

/// A capture file being read.
pub struct Capture<R> {
    frames: Frames<R>,
    fragments: Fragments,
    datagram: Vec<u8>,
    flows: Flows,
    begun: bool,
    skipped: u64,
}

impl<R: Read> Capture<R> {
    /// Reads the header; its first four bytes were read already.
    pub(super) fn begin(input: Input<R>, magic: [u8; 4], side: Side) -> Result<Self, Problem> {
        Ok(Self {
            frames: Frames::begin(input, magic)?,
            fragments: Fragments::default(),
            datagram: Vec::new(),
            flows: Flows::new(side),
            begun: false,
            skipped: 0,
        })
    }

    /// Reads the next frame; false at the end.
    pub(super) fn read(&mut self, each: &mut impl FnMut(Item<'_>)) -> Result<bool, Problem> {
        if !std::mem::replace(&mut self.begun, true) {
            // Times are Unix times already.
            each(Item::Clock(ClockOffset(0)));
        }
        let Some(frame) = self.frames.next()? else { return Ok(false) };
        match packet::segment(frame.link, self.frames.bytes(), &mut self.fragments, &mut self.datagram) {
            Some(segment) => self.flows.segment(&segment, frame.time_ns, each),
            None => self.skipped += 1,
        }
        Ok(true)
    }

    /// Frames that held no TCP segment: other protocols, unknown link types, malformed or cut headers, parts of datagrams.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}
