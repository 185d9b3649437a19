//! Link, network and transport headers: from a frame to a TCP segment.
//!
//! In: a frame and its link type. Out: a [`Segment`], or nothing: other protocols, cut or malformed headers, parts of a datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::fragments::{Fragment, Fragments};

/// One TCP segment; `payload` may have been cut by the capture, `len` is its true length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) len: u32,
    pub(super) payload: &'a [u8],
}

/// Finds the TCP segment of a frame; `whole` lends room for a datagram put together from fragments.
pub(super) fn segment<'a>(
    link: u16,
    frame: &'a [u8],
    fragments: &mut Fragments,
    whole: &'a mut Vec<u8>,
) -> Option<Segment<'a>> {
    let (ethertype, packet) = network(link, frame)?;
    let (fragment, from, to) = match ethertype {
        IPV4 => ipv4(packet)?,
        IPV6 => ipv6(packet)?,
        _ => return None,
    };
    let (protocol, len, bytes) = if fragment.more || fragment.at > 0 {
        let protocol = fragments.add(from, to, &fragment, whole)?;
        (protocol, whole.len(), whole.as_slice())
    } else {
        (fragment.protocol, fragment.len, fragment.bytes)
    };
    if protocol == TCP { tcp(from, to, len, bytes) } else { None }
}

/// The EtherType and the packet behind the link header.
fn network(link: u16, frame: &[u8]) -> Option<(u16, &[u8])> {
    let (ethertype, packet) = match link {
        link::ETHERNET => {
            let (head, rest) = frame.split_first_chunk::<14>()?;
            let [.., a, b] = *head;
            (u16::from_be_bytes([a, b]), rest)
        }
        link::LINUX_SLL => {
            let (head, rest) = frame.split_first_chunk::<16>()?;
            let [.., a, b] = *head;
            (u16::from_be_bytes([a, b]), rest)
        }
        link::LINUX_SLL2 => {
            let (head, rest) = frame.split_first_chunk::<20>()?;
            let [a, b, ..] = *head;
            (u16::from_be_bytes([a, b]), rest)
        }
        link::RAW | link::RAW_BSD | link::RAW_OPENBSD | link::IPV4 | link::IPV6 => (by_version(frame)?, frame),
        // The address family in the byte order of the machine that captured: the version tells as much.
        link::NULL | link::LOOP => {
            let (_, rest) = frame.split_first_chunk::<4>()?;
            (by_version(rest)?, rest)
        }
        _ => return None,
    };
    vlan(ethertype, packet)
}

/// Removes IEEE 802.1Q and 802.1ad tags, stacked at most [`MAX_TAGS`] high.
fn vlan(mut ethertype: u16, mut packet: &[u8]) -> Option<(u16, &[u8])> {
    for _ in 0..MAX_TAGS {
        if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        let ([_, _, a, b], rest) = packet.split_first_chunk::<4>()?;
        (ethertype, packet) = (u16::from_be_bytes([*a, *b]), rest);
    }
    Some((ethertype, packet))
}

fn by_version(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// RFC 791.
fn ipv4(packet: &[u8]) -> Option<(Fragment<'_>, IpAddr, IpAddr)> {
    let head = packet.first_chunk::<20>()?;
    let [version, _, l0, l1, i0, i1, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *head;
    let header = usize::from(version & 0x0f) * 4;
    if version >> 4 != 4 || header < 20 {
        return None;
    }
    let total = match u16::from_be_bytes([l0, l1]) {
        // Segmentation offload: the length was not filled in yet when the packet was captured.
        0 => packet.len(),
        total => usize::from(total),
    };
    let flags = u16::from_be_bytes([f0, f1]);
    let fragment = Fragment {
        id: u32::from(u16::from_be_bytes([i0, i1])),
        protocol,
        at: usize::from(flags & 0x1fff) * 8,
        more: flags & 0x2000 != 0,
        len: total.checked_sub(header)?,
        bytes: packet.get(header..total.min(packet.len()))?,
    };
    Some((fragment, Ipv4Addr::new(s0, s1, s2, s3).into(), Ipv4Addr::new(d0, d1, d2, d3).into()))
}

/// RFC 8200, with its extension headers.
fn ipv6(packet: &[u8]) -> Option<(Fragment<'_>, IpAddr, IpAddr)> {
    let (head, rest) = packet.split_first_chunk::<40>()?;
    let [version, _, _, _, l0, l1, next, _, addresses @ ..] = *head;
    if version >> 4 != 6 {
        return None;
    }
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let destination = destination.first_chunk::<16>()?;
    let mut len = match u16::from_be_bytes([l0, l1]) {
        0 => rest.len(),
        len => usize::from(len),
    };
    let mut fragment =
        Fragment { id: 0, protocol: next, at: 0, more: false, len, bytes: rest.get(..len.min(rest.len()))? };
    for _ in 0..MAX_EXTENSIONS {
        let size = match (fragment.protocol, fragment.bytes) {
            (FRAGMENT, [_, _, o0, o1, i0, i1, i2, i3, ..]) => {
                let offset = u16::from_be_bytes([*o0, *o1]);
                fragment.at = usize::from(offset & 0xfff8);
                fragment.more = offset & 1 != 0;
                fragment.id = u32::from_be_bytes([*i0, *i1, *i2, *i3]);
                8
            }
            (HOP_BY_HOP | ROUTING | DESTINATION, [_, size, ..]) => (usize::from(*size) + 1) * 8,
            _ => break,
        };
        fragment.protocol = *fragment.bytes.first()?;
        fragment.bytes = fragment.bytes.get(size..)?;
        len = len.checked_sub(size)?;
        fragment.len = len;
        if fragment.at > 0 || fragment.more {
            // What follows is a part of the datagram's contents.
            break;
        }
    }
    Some((fragment, Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into()))
}

/// RFC 9293.
fn tcp(from: IpAddr, to: IpAddr, len: usize, bytes: &[u8]) -> Option<Segment<'_>> {
    let head = bytes.first_chunk::<20>()?;
    let [p0, p1, p2, p3, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, ..] = *head;
    let header = usize::from(offset >> 4) * 4;
    if header < 20 {
        return None;
    }
    Some(Segment {
        from: SocketAddr::new(from, u16::from_be_bytes([p0, p1])),
        to: SocketAddr::new(to, u16::from_be_bytes([p2, p3])),
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
        ack: (flags & 0x10 != 0).then_some(u32::from_be_bytes([a0, a1, a2, a3])),
        syn: flags & 0x02 != 0,
        fin: flags & 0x01 != 0,
        rst: flags & 0x04 != 0,
        len: u32::try_from(len.checked_sub(header)?).ok()?,
        payload: bytes.get(header..).unwrap_or_default(),
    })
}

/// LINKTYPE_ values (tcpdump.org/linktypes.html).
mod link {
    pub(super) const NULL: u16 = 0;
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const RAW_BSD: u16 = 12;
    pub(super) const RAW_OPENBSD: u16 = 14;
    pub(super) const RAW: u16 = 101;
    pub(super) const LOOP: u16 = 108;
    pub(super) const LINUX_SLL: u16 = 113;
    pub(super) const IPV4: u16 = 228;
    pub(super) const IPV6: u16 = 229;
    pub(super) const LINUX_SLL2: u16 = 276;
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MAX_TAGS: usize = 4;
const MAX_EXTENSIONS: usize = 8;
