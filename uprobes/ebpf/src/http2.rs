//! HTTP/2 in the kernel: by the first bytes of a direction it is known, and from there on where each frame begins.
//!
//! In: the first call of a direction; the header of each frame. Out: whether an HTTP/2 connection begins (the client's preface
//! or a SETTINGS frame, RFC 9113 section 3.4), and how much of a frame is copied. Of DATA (section 6.1) only the beginning is,
//! with the prefix of a gRPC message. A wrong guess costs copying or loses payload; nothing is made up, since user space
//! reads frames by itself and sees what was passed over.

use aya_ebpf::helpers::bpf_probe_read_user;

use crate::copy::Buffers;

/// The first eight bytes of the preface, and its length.
const PREFACE: u64 = u64::from_le_bytes(*b"PRI * HT");
const PREFACE_LEN: u32 = 24;
/// Those of a SETTINGS frame without flags: length, type 4, flags, stream 0.
const SETTINGS: u64 = u64::from_le_bytes([0, 0, 0, 4, 0, 0, 0, 0]);
/// The low byte of the length; no SETTINGS frame needs more.
const LENGTH: u64 = 0xff << 16;

/// Length of a frame's header.
pub const HEAD: u32 = 9;
/// Bytes of a DATA frame that are copied: the pad length, a message's prefix, and what is needed to know the rest by.
const KEPT: u32 = 16;
/// Passing over shorter frames costs more than copying them: each time is a record of its own.
const WORTH: u32 = 4096;
/// Types of frames up to this are assigned (RFC 9218: PRIORITY_UPDATE is 16).
const LAST_TYPE: u8 = 16;

/// How a direction begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Not as HTTP/2.
    Other,
    /// With the client's preface.
    Preface,
    /// With a SETTINGS frame.
    Settings,
}

impl Begin {
    /// Bytes before the first frame.
    #[inline(always)]
    pub fn preface(self) -> u32 {
        if self == Self::Preface { PREFACE_LEN } else { 0 }
    }
}

/// How the call of `len` bytes, the first of its direction, begins.
#[inline(always)]
pub fn begins(buffers: &Buffers, len: u32) -> Begin {
    if len < HEAD {
        return Begin::Other;
    }
    let Some(address) = buffers.first() else { return Begin::Other };
    // SAFETY: the helper fails on an address that cannot be read.
    match unsafe { bpf_probe_read_user(address as *const u64) } {
        Ok(PREFACE) => Begin::Preface,
        Ok(word) if word & !LENGTH == SETTINGS => Begin::Settings,
        _ => Begin::Other,
    }
}

/// Where a direction stands within its frames, from one call to the next: `copied` bytes are to be copied, then `passed`
/// to be passed over, then a frame begins, of whose header `have` bytes were seen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    /// Position where the next call must begin; [`Place::NOWHERE`] while one is under way.
    pub next: u64,
    pub copied: u32,
    pub passed: u32,
    pub have: u32,
    pub reserved: u32,
    pub head: [u64; 2],
}

impl Place {
    /// No position is this.
    pub const NOWHERE: u64 = u64::MAX;
    /// Before a frame.
    pub const NEW: Self = Self { next: Self::NOWHERE, copied: 0, passed: 0, have: 0, reserved: 0, head: [0; 2] };
}

/// How many bytes of the payload behind this header are copied and how many then passed over; `None`: this is no frame.
#[inline(always)]
pub fn split(head: [u8; HEAD as usize]) -> Option<(u32, u32)> {
    let [high, middle, low, kind, _flags, s0, s1, s2, s3] = head;
    let len = u32::from_be_bytes([0, high, middle, low]);
    if kind > LAST_TYPE {
        return None;
    }
    if kind != 0 {
        return Some((len, 0));
    }
    if u32::from_be_bytes([s0, s1, s2, s3]) == 0 {
        return None;
    }
    Some(if len >= WORTH { (KEPT, len - KEPT) } else { (len, 0) })
}
