//! `tp_btf/inet_sock_set_state`: connections begin (SYN_SENT) and end.
//!
//! In: a socket and its old and new state; often in an interrupt, so that the current process means nothing except while
//! it connects. Out: `Close` records of announced connections, and the set of the daemon's own connections.

use aya_ebpf::programs::BtfTracePointContext;
use sidelight_events::{Close, ConnKey, close_flags, ended, how, kind};

use crate::{
    conn::{self, Conn, SOCK_DONE, bit},
    count,
    kernel::{Memory, Probe, offset},
    maps::{CONNS, OWN_TUPLES, POLICIES},
    select::{self, Tuple, Verdict},
    socket::now,
};

const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
const TCP_FIN_WAIT1: i32 = 4;
const TCP_CLOSE: i32 = 7;
const TCP_CLOSE_WAIT: i32 = 8;
const TCP_LAST_ACK: i32 = 9;
const TCP_CLOSING: i32 = 11;

const IPPROTO_TCP: u16 = 6;

/// The hook.
#[inline(always)]
pub fn state_changed(ctx: &BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    if new == TCP_SYN_SENT {
        connecting(sk);
        return 0;
    }
    if new == old {
        return 0;
    }
    let Some(conn) = CONNS.get_ptr_mut(sk as u64) else { return 0 };
    // SAFETY: `conn` points to a value of the map.
    let flags = unsafe { (*conn).flags };
    if flags & bit::OWN != 0 {
        own(sk, old, new);
    } else if flags & bit::TCP != 0 {
        ending(sk, conn, old, new);
    }
    0
}

/// Remembers who connects; runs in the connecting thread.
#[inline(always)]
fn connecting(sk: *const u8) {
    let Some(control) = select::control() else { return };
    if Probe::read::<u16>(sk, offset!(sk_protocol)) != Some(IPPROTO_TCP) {
        return;
    }
    let (tgid, _) = conn::ids();
    let role = if tgid == control.own_tgid {
        bit::OWN
    } else if select::process(control, tgid) != Verdict::Leave {
        bit::CLIENT
    } else {
        return;
    };
    if CONNS.insert(sk as u64, Conn::new(conn::ino::<Probe>(sk), role | bit::TCP, None), 0).is_err() {
        count::add(sidelight_events::maps::counter::MAP_FULL, 1);
    }
}

/// Enters and takes out a connection of the daemon's own as its other end sees it. An entry is made when the connection
/// is established: before its first byte.
#[inline(always)]
fn own(sk: *const u8, old: i32, new: i32) {
    let own = conn::tuple(sk);
    let other = Tuple {
        local_addr: own.remote_addr,
        remote_addr: own.local_addr,
        local_port: own.remote_port,
        remote_port: own.local_port,
    };
    if old == TCP_SYN_SENT && new == TCP_ESTABLISHED {
        if OWN_TUPLES.insert(other, 1, 0).is_err() {
            count::add(sidelight_events::maps::counter::MAP_FULL, 1);
        }
    } else if new == TCP_CLOSE {
        let _ = OWN_TUPLES.remove(other);
        let _ = CONNS.remove(sk as u64);
    }
}

#[inline(always)]
fn ending(sk: *const u8, conn: *mut Conn, old: i32, new: i32) {
    let ended = match new {
        TCP_FIN_WAIT1 | TCP_LAST_ACK => ended::EGRESS,
        TCP_CLOSE_WAIT | TCP_CLOSING => ended::INGRESS,
        TCP_CLOSE => ended::BOTH,
        _ => return,
    };
    // SAFETY: `conn` points to a value of the map.
    let Conn { ino, mut flags, .. } = unsafe { *conn };
    let sequence = |offset| Probe::read::<u32>(sk, offset).unwrap_or(0);
    let (mut egress, mut ingress) = (sequence(offset!(tcp_write_seq)), sequence(offset!(tcp_rcv_nxt)));
    // FIN_WAIT1 and LAST_ACK are entered before the FIN is counted.
    if flags & bit::FIN_SENT != 0 {
        egress = egress.wrapping_sub(1);
    }
    // `tcp_fin` sets SOCK_DONE before it changes the state, and rcv_nxt counts the FIN.
    let done = Probe::read::<u64>(sk, offset!(sk_flags)).unwrap_or(0) & SOCK_DONE != 0;
    if done {
        ingress = ingress.wrapping_sub(1);
    }
    let aborted = matches!(old, TCP_ESTABLISHED | TCP_SYN_SENT | TCP_SYN_RECV | TCP_CLOSE_WAIT);
    let error = Probe::read::<i32>(sk, offset!(sk_err)).unwrap_or(0) != 0;
    let reset = new == TCP_CLOSE && (aborted || error);
    let key = ConnKey { sock: sk as u64, ino };
    if flags & (bit::ANNOUNCED | bit::CLOSED) == bit::ANNOUNCED {
        let how = if reset { how::RESET } else { how::FIN };
        let flags = close_flags::SEQ32 | close_flags::POSITIONS;
        send(key, ended, how, flags, u64::from(egress), u64::from(ingress));
    }
    match new {
        TCP_FIN_WAIT1 | TCP_LAST_ACK => flags |= bit::FIN_SENT,
        // What had arrived may still be read: such a connection stays until its place is needed.
        TCP_CLOSE if sequence(offset!(tcp_copied_seq)) == ingress.wrapping_add(u32::from(done)) => {
            let _ = POLICIES.remove(key);
            let _ = CONNS.remove(key.sock);
            return;
        }
        TCP_CLOSE => flags |= bit::CLOSED,
        _ => return,
    }
    // SAFETY: as above.
    unsafe { (*conn).flags = flags };
}

/// Says of a connection announced just now that its other side has sent all it will: the change of state was before.
#[inline(always)]
pub fn ended_before(sk: *const u8, key: ConnKey) {
    if Probe::read::<u64>(sk, offset!(sk_flags)).unwrap_or(0) & SOCK_DONE == 0 {
        return;
    }
    let sequence = |offset| Probe::read::<u32>(sk, offset).unwrap_or(0);
    let (egress, received) = (sequence(offset!(tcp_write_seq)), sequence(offset!(tcp_rcv_nxt)));
    let flags = close_flags::SEQ32 | close_flags::POSITIONS;
    send(key, ended::INGRESS, how::FIN, flags, egress.into(), received.wrapping_sub(1).into());
}

/// Sends one `Close`.
#[inline(always)]
pub fn send(conn: ConnKey, ended: u8, how: u8, flags: u8, egress: u64, ingress: u64) {
    count::send(&Close { kind: kind::CLOSE, ended, how, flags, reserved: 0, conn, time_ns: now(), egress, ingress });
}
