//! TCP connections of a capture: which packets belong together, who began, when they end.
//!
//! In: segments in the file's order. Out: `Open`, `Data` and `Close` records of the ends that are looked at.

use std::net::{IpAddr, SocketAddr};

use rustc_hash::FxHashMap;
use sidelight_events::{
    Close, ConnKey, DataHeader, Event, MAX_CAPTURE, Open, close_flags, direction, ended, family, flags, how, kind,
    layer, mechanism, open_flags, role,
};
use sidelight_protocol_parsers::Role;

use super::packet::Segment;
use crate::source::{Item, Side};

/// The connections.
pub(super) struct Flows {
    side: Side,
    /// By both ends, the smaller address first.
    open: FxHashMap<(SocketAddr, SocketAddr), Flow>,
    /// Names of connections.
    count: u64,
}

struct Flow {
    number: u64,
    /// Last packet.
    seen: u64,
    /// The two ends, in the order of the key.
    ends: [End; 2],
    /// Which of them sent the SYN.
    client: Option<usize>,
    announced: bool,
    closed: bool,
}

#[derive(Clone, Copy, Default)]
struct End {
    /// Sequence number of its first byte, if its SYN was seen.
    first: Option<u32>,
    /// Sequence number behind its last, once it sent a FIN.
    last: Option<u32>,
}

impl Flows {
    pub(super) fn new(side: Side) -> Self {
        Self { side, open: FxHashMap::default(), count: 0 }
    }

    /// Takes a segment.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, time_ns: u64, each: &mut impl FnMut(Item<'_>)) {
        let key = (segment.from.min(segment.to), segment.from.max(segment.to));
        let sender = usize::from(segment.from != key.0);
        let first = segment.seq.wrapping_add(1);
        let known = self.open.get(&key);
        // A SYN with another sequence number is the next connection of the same ports.
        let anew = known.is_none_or(|flow| {
            let [a, b] = flow.ends;
            let end = if sender == 0 { a } else { b };
            segment.syn && (flow.closed || segment.ack.is_none()) && end.first != Some(first)
        });
        if anew {
            if known.is_none() && self.open.len() >= FLOWS {
                self.make_room();
            }
            self.count += 1;
            let flow = Flow {
                number: self.count,
                seen: 0,
                ends: [End::default(); 2],
                client: None,
                announced: false,
                closed: false,
            };
            self.open.insert(key, flow);
        }
        let Some(flow) = self.open.get_mut(&key) else { return };
        flow.seen = time_ns;
        flow.segment(self.side, key, sender, segment, time_ns, each);
    }

    /// Drops half of the connections, those quiet for longest.
    fn make_room(&mut self) {
        let mut seen: Vec<u64> = self.open.values().map(|flow| flow.seen).collect();
        let middle = seen.len() / 2;
        let (_, limit, _) = seen.select_nth_unstable(middle);
        let limit = *limit;
        self.open.retain(|_, flow| flow.seen > limit);
    }
}

impl Flow {
    fn segment(
        &mut self,
        side: Side,
        (a, b): (SocketAddr, SocketAddr),
        sender: usize,
        segment: &Segment<'_>,
        time_ns: u64,
        each: &mut impl FnMut(Item<'_>),
    ) {
        let receiver = 1 - sender;
        let mut seq = segment.seq;
        if segment.syn {
            seq = seq.wrapping_add(1);
            self.end(sender).first = Some(seq);
            self.client = Some(if segment.ack.is_none() { sender } else { receiver });
            if let Some(ack) = segment.ack {
                self.end(receiver).first.get_or_insert(ack);
            }
        }
        if self.closed {
            return;
        }
        // Without an acknowledgement (the SYN, some RST) the other direction's position is not known.
        if let Some(ack) = segment.ack {
            if !self.announced {
                self.announced = true;
                let begins =
                    [(sender, seq), (receiver, ack)].map(|(end, seen)| (end, self.end(end).first.unwrap_or(seen)));
                for end in self.watched(side) {
                    each(Item::Event(Event::Open(&self.open(end, (a, b), begins, time_ns))));
                }
            }
            if segment.len > 0 {
                for end in self.watched(side) {
                    self.data(end, sender, segment, seq, ack, time_ns, each);
                }
            }
        }
        if segment.fin {
            self.end(sender).last = Some(seq.wrapping_add(segment.len));
        }
        if segment.rst || segment.fin {
            let lasts = self.ends.map(|end| end.last);
            self.closed = segment.rst || lasts.iter().all(Option::is_some);
            for end in self.watched(side) {
                each(Item::Event(Event::Close(&self.close(end, sender, segment.rst, lasts, time_ns))));
            }
        }
    }

    /// The ends whose view is given.
    fn watched(&self, side: Side) -> impl Iterator<Item = usize> + use<> {
        let client = self.client;
        [0, 1].into_iter().filter(move |end| match (side, client) {
            (Side::Both | Side::Usual, _) | (_, None) => true,
            (Side::Only(Role::Client), Some(client)) => client == *end,
            (Side::Only(Role::Server), Some(client)) => client != *end,
        })
    }

    fn key(&self, end: usize) -> ConnKey {
        ConnKey { sock: self.number, ino: end as u64 + 1 }
    }

    fn open(&self, end: usize, (a, b): (SocketAddr, SocketAddr), begins: [(usize, u32); 2], time_ns: u64) -> Open {
        let (local, remote) = if end == 0 { (a, b) } else { (b, a) };
        let position = |of: usize| begins.iter().find(|(end, _)| *end == of).map_or(0, |(_, seq)| u64::from(*seq));
        let from_start = self.ends.iter().all(|end| end.first.is_some());
        Open {
            kind: kind::OPEN,
            family: if local.is_ipv4() { family::INET } else { family::INET6 },
            role: match self.client {
                None => role::UNKNOWN,
                Some(client) if client == end => role::CLIENT,
                Some(_) => role::SERVER,
            },
            protocol: 6,
            flags: open_flags::SEQ32 | if from_start { open_flags::FROM_START } else { 0 },
            local_port: local.port(),
            remote_port: remote.port(),
            conn: self.key(end),
            time_ns,
            egress: position(end),
            ingress: position(1 - end),
            local_addr: mapped(local.ip()),
            remote_addr: mapped(remote.ip()),
            ..Open::default()
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one packet")]
    fn data(
        &self,
        end: usize,
        sender: usize,
        segment: &Segment<'_>,
        seq: u32,
        ack: u32,
        time_ns: u64,
        each: &mut impl FnMut(Item<'_>),
    ) {
        let captured = segment.payload.get(..segment.len as usize).unwrap_or(segment.payload);
        let mut header = DataHeader {
            kind: kind::DATA,
            direction: if end == sender { direction::EGRESS } else { direction::INGRESS },
            layer: layer::PACKET,
            mechanism: mechanism::PCAP,
            flags: flags::SEQ32,
            conn: self.key(end),
            end_ns: time_ns,
            other: u64::from(ack),
            ..DataHeader::default()
        };
        // Offloading makes packets longer than one record may be; the last record takes what was not captured.
        let mut moved = 0;
        let pieces = captured.chunks(MAX_CAPTURE).chain(captured.is_empty().then_some(captured));
        let count = captured.len().div_ceil(MAX_CAPTURE).max(1);
        for (index, bytes) in pieces.enumerate() {
            header.cap_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            header.true_len = if index + 1 == count { segment.len - moved } else { header.cap_len };
            header.flags = flags::SEQ32 | if header.cap_len < header.true_len { flags::CUT } else { 0 };
            header.wire_seq = seq.wrapping_add(moved);
            header.offset = u64::from(header.wire_seq);
            moved += header.cap_len;
            each(Item::Event(Event::Data(&header, bytes)));
        }
    }

    fn close(&self, end: usize, sender: usize, reset: bool, lasts: [Option<u32>; 2], time_ns: u64) -> Close {
        let [a, b] = lasts.map(|last| last.map_or(0, u64::from));
        let (egress, ingress) = if end == 0 { (a, b) } else { (b, a) };
        let half = if end == sender { ended::EGRESS } else { ended::INGRESS };
        Close {
            kind: kind::CLOSE,
            ended: if self.closed { ended::BOTH } else { half },
            how: if reset { how::RESET } else { how::FIN },
            flags: close_flags::SEQ32 | if !reset { close_flags::POSITIONS } else { 0 },
            conn: self.key(end),
            time_ns,
            egress,
            ingress,
            ..Close::default()
        }
    }

    fn end(&mut self, index: usize) -> &mut End {
        let [a, b] = &mut self.ends;
        if index == 0 { a } else { b }
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Connections remembered at once; closed ones stay until then, so that late packets find theirs.
const FLOWS: usize = 65_536;
