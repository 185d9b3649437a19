//! TLS: which thread is inside which TLS object, and which connection that object uses.
//!
//! In: uprobes on TLS libraries, and every socket call of a watched thread ([`on_socket_call`]). Out: `TlsBind` records,
//! and the word that a connection carries ciphertext, whose bytes are then counted and never copied.

use sidelight_events::{
    ConnKey, TlsBind, direction, kind,
    maps::{Control, counter, mode},
};

use crate::{
    conn::Conn,
    count,
    maps::TLS_INSIDE,
    socket::{Call, now},
};

/// A thread is inside a call of a TLS library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Inside {
    /// The library's object.
    pub tls: u64,
    /// Process.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// The TLS object a connection's direction is bound to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bound {
    /// The library's object; 0: none.
    pub tls: u64,
    /// The object's process.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// True when the call moved ciphertext: its bytes are counted and nothing of it is to be copied or submitted.
#[inline(always)]
pub fn on_socket_call(control: &Control, conn: *mut Conn, key: ConnKey, call: &Call) -> bool {
    if control.mode & mode::TLS == 0 {
        return false;
    }
    let pid_tgid = (u64::from(call.tgid) << 32) | u64::from(call.tid);
    // SAFETY: `conn` points to a value of the map CONNS; the place of one direction is written by its own calls.
    let bound =
        unsafe { if call.direction == direction::EGRESS { &mut (*conn).egress_tls } else { &mut (*conn).ingress_tls } };
    // SAFETY: an entry is only written by its own thread.
    if let Some(inside) = unsafe { TLS_INSIDE.get(pid_tgid) } {
        if bound.tls != inside.tls || bound.tgid != inside.tgid {
            let bind = TlsBind {
                kind: kind::TLS_BIND,
                direction: call.direction,
                conflict: 0,
                reserved: 0,
                tgid: inside.tgid,
                tls: inside.tls,
                conn: key,
                time_ns: now(),
            };
            if count::send(&bind) {
                *bound = Bound { tls: inside.tls, tgid: inside.tgid, reserved: 0 };
            }
        }
    } else if bound.tls == 0 {
        return false;
    }
    count::add(counter::BYTES_CIPHERTEXT, u64::from(call.len));
    true
}
