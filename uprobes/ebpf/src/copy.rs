//! `Data` records: a header, then as many bytes of the call as the smallest fitting size class holds.
//!
//! In: a header and where the bytes lie in the process. Out: a submitted record with `cap_len` and the CUT, FAULT and
//! LENGTH_ONLY flags set; of a long call of a connection that is captured deep, several, each as if it were a call. The
//! room is reserved in the ring itself, with a constant size as the verifier demands.

use core::{arch::asm, hint::black_box};

use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use sidelight_events::{DataHeader, MAX_CAPTURE, MAX_DEEP, flags};

use crate::count;

const HEADER: usize = size_of::<DataHeader>();
/// Parts of one call that are copied; the rest is CUT.
const SEGMENTS: u32 = 16;
/// Records of one long buffer of a call that is captured deep; what is left then is CUT.
const PIECES: u32 = (MAX_DEEP / MAX_CAPTURE) as u32;

/// Values of `Buffers::kind`.
pub mod layout {
    /// No bytes to copy (sendfile, splice, in-kernel callers): length only.
    pub const NONE: u32 = 0;
    /// `address` is the buffer.
    pub const FLAT: u32 = 1;
    /// `address` is an array of `count` iovecs.
    pub const VECTOR: u32 = 2;
    /// `address` is an array of mmsghdr, of which the call completed `count`.
    pub const MESSAGES: u32 = 3;
    /// As FLAT, in several records if need be.
    pub const DEEP_FLAT: u32 = 4;
}

/// Where the bytes of a call lie in the calling process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffers {
    /// [`layout`].
    pub kind: u32,
    /// See [`layout`].
    pub count: u32,
    /// User address.
    pub address: u64,
}

impl Buffers {
    /// Length only.
    pub const NONE: Self = Self { kind: layout::NONE, count: 0, address: 0 };

    /// One buffer.
    #[inline(always)]
    pub fn flat(address: u64) -> Self {
        Self { kind: layout::FLAT, count: 1, address }
    }

    /// An array of iovecs.
    #[inline(always)]
    pub fn vector(address: u64, count: u64) -> Self {
        Self { kind: layout::VECTOR, count: count as u32, address }
    }

    /// One buffer, to be copied deep.
    #[inline(always)]
    pub fn deep(address: u64) -> Self {
        Self { kind: layout::DEEP_FLAT, count: 1, address }
    }

    /// Whether not all is copied into one record of a call that moved `len` bytes.
    #[inline(always)]
    pub fn are_long(&self, len: u32) -> bool {
        match self.kind {
            layout::FLAT => len > MAX_CAPTURE as u32,
            layout::VECTOR => len > MAX_CAPTURE as u32 || self.count > SEGMENTS,
            _ => false,
        }
    }

    /// Where the first byte lies, if eight bytes lie there.
    #[inline(always)]
    pub fn first(self) -> Option<u64> {
        match self.kind {
            layout::FLAT => Some(self.address),
            layout::VECTOR => {
                // SAFETY: the helper fails on an address that cannot be read.
                let Segment { address, len } = unsafe { bpf_probe_read_user(self.address as *const Segment) }.ok()?;
                if len < 8 { None } else { Some(address) }
            }
            _ => None,
        }
    }

    /// The iovecs of a `struct user_msghdr` (in the process).
    #[inline(always)]
    pub fn message(address: u64) -> Self {
        // SAFETY: the helper fails on an address that cannot be read.
        match unsafe { bpf_probe_read_user((address as *const u8).wrapping_add(MSGHDR_IOV).cast::<Segment>()) } {
            Ok(Segment { address, len }) => Self::vector(address, len),
            // Found again as a FAULT when the bytes are to be read.
            Err(_) => Self::vector(0, 1),
        }
    }
}

/// Offset of `msg_iov`, which `msg_iovlen` follows, in `struct user_msghdr`.
const MSGHDR_IOV: usize = 16;
/// Size of `struct mmsghdr`, and the offset of `msg_len` in it.
const MMSGHDR: usize = 64;
const MMSGHDR_LEN: usize = 56;
/// Messages of one call whose lengths are added up.
const MESSAGES: u32 = 128;

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Segment {
    pub address: u64,
    pub len: u64,
}

/// Sum of the lengths the kernel wrote into the `count` messages of a sendmmsg or recvmmsg; `None` if there are too many
/// or one cannot be read.
#[inline(always)]
pub fn messages_len(address: u64, count: u32) -> Option<u32> {
    let mut sum = 0u32;
    let mut i = 0;
    while i < count {
        if i == MESSAGES {
            return None;
        }
        let place = (address as *const u8).wrapping_add(i as usize * MMSGHDR + MMSGHDR_LEN);
        // SAFETY: the helper fails on an address that cannot be read.
        sum = sum.wrapping_add(unsafe { bpf_probe_read_user(place.cast::<u32>()) }.ok()?);
        i += 1;
    }
    Some(sum)
}

/// A place in a map for what [`data`] is told, of one thread at a time.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Scratch {
    header: DataHeader,
    buffers: Buffers,
}

/// Submits `Data`; gives how many bytes of the call were lost with a record that was (the record is counted).
///
/// The header goes through `scratch` if there is one: the verifier forgets there by which way each value came about, and
/// looks at the copying once instead of once for every way (a million instructions on 6.1).
#[inline(always)]
pub fn data(mut header: DataHeader, buffers: Buffers, scratch: Option<*mut Scratch>) -> u32 {
    let Some(scratch) = scratch else { return submit::<true>(&mut header, &buffers) };
    // SAFETY: the caller vouches that `scratch` points to a map's value which nobody else uses now.
    let scratch = unsafe { &mut *scratch };
    *scratch = Scratch { header, buffers };
    // SAFETY: no instruction at all; what lies in memory is to be read again behind it.
    unsafe { asm!("", options(nostack)) };
    submit::<false>(&mut scratch.header, &scratch.buffers)
}

/// `DEEP`: there may be [`layout::DEEP_FLAT`].
#[inline(always)]
fn submit<const DEEP: bool>(header: &mut DataHeader, buffers: &Buffers) -> u32 {
    let len = header.true_len;
    let submitted = match buffers.kind {
        layout::FLAT if len <= 256 => flat::<256>(header, buffers.address),
        layout::FLAT if len <= 1024 => flat::<1024>(header, buffers.address),
        layout::FLAT if len <= 4096 => flat::<4096>(header, buffers.address),
        layout::FLAT => flat::<MAX_CAPTURE>(header, buffers.address),
        layout::VECTOR if len <= 256 => vector::<256>(header, buffers),
        layout::VECTOR if len <= 1024 => vector::<1024>(header, buffers),
        layout::VECTOR if len <= 4096 => vector::<4096>(header, buffers),
        layout::VECTOR => vector::<MAX_CAPTURE>(header, buffers),
        layout::DEEP_FLAT if DEEP => return deep_flat(header, buffers.address),
        layout::MESSAGES => messages(header, buffers),
        _ => {
            header.flags |= flags::LENGTH_ONLY;
            count::send(header)
        }
    };
    if submitted { 0 } else { len }
}

/// One long buffer.
#[inline(always)]
fn deep_flat(header: &mut DataHeader, address: u64) -> u32 {
    let (mut left, mut address, mut lost, mut piece) = (header.true_len, address, 0, 0);
    while piece < PIECES && left != 0 {
        piece += 1;
        let len = if left > MAX_CAPTURE as u32 { MAX_CAPTURE as u32 } else { left };
        header.true_len = if piece == PIECES { left } else { len };
        let submitted = if len <= 1024 { flat::<1024>(header, address) } else { flat::<MAX_CAPTURE>(header, address) };
        if !submitted {
            lost += header.true_len;
        }
        left -= header.true_len;
        address = address.wrapping_add(u64::from(len));
        go_on(header, len);
    }
    lost
}

/// The header of the next record of the same call, behind one of `len` bytes.
#[inline(always)]
pub fn go_on(header: &mut DataHeader, len: u32) {
    if header.flags & flags::SEQ32 != 0 {
        header.wire_seq = header.wire_seq.wrapping_add(len);
        header.offset = u64::from((header.offset as u32).wrapping_add(len));
    } else {
        header.offset = header.offset.wrapping_add(u64::from(len));
    }
    header.flags &= flags::SEQ32;
}

/// Writes the header and submits.
#[inline(always)]
fn finish(place: *mut u8, header: &mut DataHeader, copied: u32, fault: bool) -> bool {
    header.cap_len = copied;
    if copied < header.true_len {
        header.flags |= flags::CUT;
    }
    if fault {
        header.flags |= flags::FAULT;
    }
    // SAFETY: every place reserved here is at least HEADER long and aligned to 8.
    unsafe { place.cast::<DataHeader>().write(*header) };
    count::submit(place);
    true
}

/// One buffer; `C` is the class.
#[inline(always)]
fn flat<const C: usize>(header: &mut DataHeader, address: u64) -> bool {
    let Some(place) = count::reserve((HEADER + C) as u64) else { return false };
    let len = bounded::<C>(header.true_len);
    // SAFETY: `len` is at most C, and C bytes lie behind the header.
    let failed = unsafe { generated::bpf_probe_read_user(place.add(HEADER).cast(), len, address as *const _) } != 0;
    finish(place, header, if failed { 0 } else { len }, failed)
}

/// At most `C`, in a way the compiler does not take away: the verifier wants to see it.
#[inline(always)]
fn bounded<const C: usize>(len: u32) -> u32 {
    let len = black_box(len);
    if len > C as u32 { C as u32 } else { len }
}

/// The room of a record that is filled bit by bit. It is twice the class: the verifier only knows that position and length
/// are each at most `C`.
///
/// How much is filled and how much is left stands in the record itself (`cap_len`, `reserved2`) and not in variables:
/// of what it reads there the verifier remembers nothing, so that all turns of a loop look alike to it. It would follow
/// each possible value through all further turns otherwise, and give up.
struct Room<const C: usize> {
    place: *mut u8,
}

impl<const C: usize> Room<C> {
    #[inline(always)]
    fn new(true_len: u32) -> Option<Self> {
        let room = Self { place: count::reserve((HEADER + 2 * C) as u64)? };
        room.set(0, if true_len > C as u32 { C as u32 } else { true_len });
        Some(room)
    }

    #[inline(always)]
    fn set(&self, filled: u32, left: u32) {
        let header = self.place.cast::<DataHeader>();
        // SAFETY: the room begins with a header.
        unsafe {
            (&raw mut (*header).cap_len).write_volatile(filled);
            (&raw mut (*header).reserved2).write_volatile(left);
        }
    }

    #[inline(always)]
    fn filled(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.place.cast::<DataHeader>()).cap_len).read_volatile() }
    }

    #[inline(always)]
    fn left(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.place.cast::<DataHeader>()).reserved2).read_volatile() }
    }

    /// Appends at most `len` bytes; false on a fault.
    #[inline(always)]
    fn append(&self, address: u64, len: u64) -> bool {
        let (filled, left) = (self.filled(), self.left());
        let len = if len > u64::from(left) { left } else { len as u32 };
        let (at, len) = (bounded::<C>(filled), bounded::<C>(len));
        // SAFETY: both are at most C, and 2 C bytes lie behind the header.
        let failed = unsafe {
            let to = self.place.add(HEADER + at as usize);
            generated::bpf_probe_read_user(to.cast(), len, address as *const _) != 0
        };
        if !failed {
            self.set(at + len, left.wrapping_sub(len));
        }
        !failed
    }
}

/// Several buffers.
#[inline(always)]
fn vector<const C: usize>(header: &mut DataHeader, buffers: &Buffers) -> bool {
    let Some(room) = Room::<C>::new(header.true_len) else { return false };
    let mut fault = false;
    let mut i = 0;
    while i < SEGMENTS && i < buffers.count && room.left() != 0 {
        let place = (buffers.address as *const Segment).wrapping_add(i as usize);
        // SAFETY: the helper fails on an address that cannot be read.
        let Ok(segment) = (unsafe { bpf_probe_read_user(place) }) else {
            fault = true;
            break;
        };
        if !room.append(segment.address, segment.len) {
            fault = true;
            break;
        }
        i += 1;
    }
    finish(room.place, header, room.filled(), fault)
}

/// The first buffers of several messages, one after the other: on a stream they are one run of bytes. It ends with the
/// first message of more than one buffer. Rare, so one class.
#[inline(always)]
fn messages(header: &mut DataHeader, buffers: &Buffers) -> bool {
    let Some(room) = Room::<MAX_CAPTURE>::new(header.true_len) else { return false };
    let mut fault = false;
    let mut i = 0;
    while i < SEGMENTS && i < buffers.count && room.left() != 0 {
        let place = (buffers.address as *const u8).wrapping_add(i as usize * MMSGHDR);
        let Some((address, len, whole)) = first_buffer(place) else {
            fault = true;
            break;
        };
        if !room.append(address, len) {
            fault = true;
            break;
        }
        if !whole {
            break;
        }
        i += 1;
    }
    finish(room.place, header, room.filled(), fault)
}

/// Address and filled length of a message's first buffer, and whether that is the whole message.
#[inline(always)]
fn first_buffer(message: *const u8) -> Option<(u64, u64, bool)> {
    // SAFETY: the helpers fail on an address that cannot be read.
    unsafe {
        let vector: u64 = bpf_probe_read_user(message.wrapping_add(MSGHDR_IOV).cast()).ok()?;
        let len: u32 = bpf_probe_read_user(message.wrapping_add(MMSGHDR_LEN).cast()).ok()?;
        let Segment { address, len: room } = bpf_probe_read_user(vector as *const Segment).ok()?;
        let len = u64::from(len);
        Some((address, if len > room { room } else { len }, len <= room))
    }
}
