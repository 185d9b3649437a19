//! HTTP/2 by the first bytes of a direction: its frames lie anywhere in a call, so long calls are copied whole from the first
//! one on, and not only once user space has recognised the protocol.
//!
//! In: the first call of a direction. Out: whether it begins with the client's preface or a SETTINGS frame (RFC 9113, 3.4).
//! A wrong guess costs copying.

use aya_ebpf::helpers::bpf_probe_read_user;

use crate::copy::Buffers;

/// The first eight bytes of the preface.
const PREFACE: u64 = u64::from_le_bytes(*b"PRI * HT");
/// Those of a SETTINGS frame without flags: length, type 4, flags, stream 0.
const SETTINGS: u64 = u64::from_le_bytes([0, 0, 0, 4, 0, 0, 0, 0]);
/// The low byte of the length; no SETTINGS frame needs more.
const LENGTH: u64 = 0xff << 16;

/// Whether the call of `len` bytes begins an HTTP/2 connection.
#[inline(always)]
pub fn begins(buffers: &Buffers, len: u32) -> bool {
    if len < 9 {
        return false;
    }
    let Some(address) = buffers.first() else { return false };
    // SAFETY: the helper fails on an address that cannot be read.
    let Ok(word) = (unsafe { bpf_probe_read_user(address as *const u64) }) else { return false };
    word == PREFACE || word & !LENGTH == SETTINGS
}
