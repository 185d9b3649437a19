//! `Data` records: a header, then as many bytes of the call as the smallest fitting size class holds.
//!
//! In: a header and where the bytes lie in the process. Out: a submitted record with `cap_len` and the CUT, FAULT and
//! LENGTH_ONLY flags set. The room is reserved in the ring itself, with a constant size as the verifier demands.

use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use sidelight_events::{DataHeader, MAX_CAPTURE, flags};

use crate::count;

const HEADER: usize = size_of::<DataHeader>();
/// Parts of one call that are copied; the rest is CUT.
const SEGMENTS: u32 = 16;

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
/// The kernel takes no more messages in one call (`UIO_MAXIOV`).
const MESSAGES: u32 = 1024;

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    address: u64,
    len: u64,
}

/// Sum of the lengths the kernel wrote into the first `count` messages of a sendmmsg or recvmmsg.
#[inline(never)]
pub fn messages_len(address: u64, count: u32) -> u32 {
    let mut sum = 0u32;
    let mut i = 0;
    while i < MESSAGES && i < count {
        let place = (address as *const u8).wrapping_add(i as usize * MMSGHDR + MMSGHDR_LEN);
        // SAFETY: the helper fails on an address that cannot be read.
        let Ok(len) = (unsafe { bpf_probe_read_user(place.cast::<u32>()) }) else { break };
        sum = sum.wrapping_add(len);
        i += 1;
    }
    sum
}

/// Submits one `Data` record; false when it was lost (and counted).
#[inline(always)]
pub fn data(mut header: DataHeader, buffers: &Buffers) -> bool {
    let len = header.true_len as usize;
    match buffers.kind {
        layout::FLAT if len <= 256 => flat::<256>(&mut header, buffers.address),
        layout::FLAT if len <= 1024 => flat::<1024>(&mut header, buffers.address),
        layout::FLAT if len <= 4096 => flat::<4096>(&mut header, buffers.address),
        layout::FLAT => flat::<MAX_CAPTURE>(&mut header, buffers.address),
        layout::VECTOR if len <= 256 => vector::<256>(&mut header, buffers),
        layout::VECTOR if len <= 1024 => vector::<1024>(&mut header, buffers),
        layout::VECTOR if len <= 4096 => vector::<4096>(&mut header, buffers),
        layout::VECTOR => vector::<MAX_CAPTURE>(&mut header, buffers),
        layout::MESSAGES => messages(&mut header, buffers),
        _ => {
            header.flags |= flags::LENGTH_ONLY;
            count::send(&header)
        }
    }
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
#[inline(never)]
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
    let len = core::hint::black_box(len);
    if len > C as u32 { C as u32 } else { len }
}

/// The value itself, with all its ways to come about made one to the verifier: else it follows each through the rest of
/// the loop.
#[inline(always)]
fn join<const C: usize>(value: u32) -> u32 {
    core::hint::black_box(value) & (2 * C as u32 - 1)
}

/// The part of a record's room that is filled so far. The room is twice the class: the verifier only knows that
/// position and length are each at most `C`.
struct Room<const C: usize> {
    place: *mut u8,
    filled: u32,
    left: u32,
}

impl<const C: usize> Room<C> {
    #[inline(always)]
    fn new(true_len: u32) -> Option<Self> {
        let place = count::reserve((HEADER + 2 * C) as u64)?;
        Some(Self { place, filled: 0, left: bounded::<C>(true_len) })
    }

    /// Appends at most `len` bytes; false on a fault.
    #[inline(always)]
    fn append(&mut self, address: u64, len: u64) -> bool {
        let len = bounded::<C>(if len > u64::from(self.left) { self.left } else { len as u32 });
        let filled = bounded::<C>(self.filled);
        // SAFETY: both are at most C, and 2 C bytes lie behind the header.
        let failed = unsafe {
            let to = self.place.add(HEADER + filled as usize);
            generated::bpf_probe_read_user(to.cast(), len, address as *const _) != 0
        };
        if failed {
            return false;
        }
        self.filled = join::<C>(filled + len);
        self.left = join::<C>(self.left - len);
        true
    }
}

/// Several buffers.
#[inline(never)]
fn vector<const C: usize>(header: &mut DataHeader, buffers: &Buffers) -> bool {
    let Some(mut room) = Room::<C>::new(header.true_len) else { return false };
    let mut fault = false;
    let mut i = 0;
    while i < SEGMENTS && i < buffers.count && room.left != 0 {
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
    finish(room.place, header, room.filled, fault)
}

/// The first buffers of several messages, one after the other: on a stream they are one run of bytes. It ends with the
/// first message of more than one buffer. Rare, so one class.
#[inline(never)]
fn messages(header: &mut DataHeader, buffers: &Buffers) -> bool {
    let Some(mut room) = Room::<MAX_CAPTURE>::new(header.true_len) else { return false };
    let mut fault = false;
    let mut i = 0;
    while i < SEGMENTS && i < buffers.count && room.left != 0 {
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
    finish(room.place, header, room.filled, fault)
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
