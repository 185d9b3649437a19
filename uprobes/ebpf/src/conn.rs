//! What the kernel side remembers of a connection, its positions, and its `Open` record.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use sidelight_events::{
    ConnKey, Open, close_flags, direction, ended, family, flags, how, kind,
    maps::{Control, policy},
    open_flags, role,
};

use crate::{
    close, count,
    kernel::{Memory, Probe, offset},
    maps::{CONNS, POLICIES},
    select::{self, Tuple},
    socket::{self, Call, Kind, now},
    tls::Bound,
};

/// Bits of `Conn::flags`.
pub mod bit {
    /// Its `Open` is in the ring.
    pub const ANNOUNCED: u32 = 1;
    /// This side connected: its SYN_SENT was seen.
    pub const CLIENT: u32 = 1 << 1;
    /// Its FIN is part of `write_seq`.
    pub const FIN_SENT: u32 = 1 << 2;
    /// Its `Close` of both directions was sent; only bytes that had arrived are still read.
    pub const CLOSED: u32 = 1 << 3;
    /// One of the daemon's own connections.
    pub const OWN: u32 = 1 << 4;
    /// The other end of one of the daemon's own.
    pub const IGNORED: u32 = 1 << 5;
    /// `egress_next` is set.
    pub const EGRESS_SEEN: u32 = 1 << 6;
    /// `ingress_next` is set.
    pub const INGRESS_SEEN: u32 = 1 << 7;
    /// Positions are TCP sequence numbers.
    pub const TCP: u32 = 1 << 8;
    /// The first bytes of a direction were those of HTTP/2: it is captured deep, whatever user space knows yet.
    pub const HTTP2: u32 = 1 << 9;
}

/// TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_LAST_ACK, TCP_CLOSING: states in which a FIN was sent.
const FIN_SENT_STATES: u32 = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 11;
/// Bit of `sk_flags` that is set exactly when a FIN arrived (`SOCK_DONE`).
pub const SOCK_DONE: u64 = 1 << 1;

/// A connection. Each field has one writer at a time: calls of one direction, or the state hook.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Conn {
    /// Inode of the socket; another one at the same sock address is another connection.
    pub ino: u64,
    /// Bits of [`bit`].
    pub flags: u32,
    /// Where the next write is expected to begin (TCP sequence).
    pub egress_next: u32,
    /// Where the next read is expected to begin (TCP sequence).
    pub ingress_next: u32,
    /// `Control::policies` when `policy` was looked up.
    pub policies: u32,
    /// How much of it is captured.
    pub policy: u32,
    /// A [`Kind`]; 0: not looked at yet.
    pub kind: u32,
    /// Bytes written, where positions are counted.
    pub egress: u64,
    /// Bytes read, where positions are counted.
    pub ingress: u64,
    /// TLS object that writes to it.
    pub egress_tls: Bound,
    /// TLS object that reads from it.
    pub ingress_tls: Bound,
}

impl Conn {
    /// A connection of which nothing is known yet.
    pub const fn new(ino: u64, flags: u32, kind: Option<Kind>) -> Self {
        const NONE: Bound = Bound { tls: 0, tgid: 0, reserved: 0 };
        Self {
            ino,
            flags,
            egress_next: 0,
            ingress_next: 0,
            policies: 0,
            policy: policy::FULL,
            kind: match kind {
                Some(kind) => kind as u32,
                None => 0,
            },
            egress: 0,
            ingress: 0,
            egress_tls: NONE,
            ingress_tls: NONE,
        }
    }
}

impl Conn {
    /// Whether the bit was set; it is afterwards. Written only once, so as not to undo what the state hook writes.
    #[inline(always)]
    fn saw(&mut self, bit: u32) -> bool {
        let seen = self.flags & bit != 0;
        if !seen {
            self.flags |= bit;
        }
        seen
    }
}

/// Inode number of the socket; 0 for one that no process holds any more.
#[inline(always)]
pub fn ino<M: Memory>(sk: *const u8) -> u64 {
    let inode = || {
        let socket = non_null(M::read(sk, offset!(sk_socket))?)?;
        let file = non_null(M::read(socket, offset!(socket_file))?)?;
        let inode = non_null(M::read(file, offset!(file_inode))?)?;
        M::read(inode, offset!(inode_ino))
    };
    inode().unwrap_or(0)
}

#[inline(always)]
fn non_null(pointer: *const u8) -> Option<*const u8> {
    if pointer.is_null() { None } else { Some(pointer) }
}

/// Local and remote port, host order.
#[inline(always)]
pub fn ports<M: Memory>(sk: *const u8) -> (u16, u16) {
    let local: u16 = M::read(sk, offset!(sk_num)).unwrap_or(0);
    let remote: u16 = M::read(sk, offset!(sk_dport)).unwrap_or(0);
    (local, u16::from_be(remote))
}

/// Both addresses in IPv6 form, both ports.
#[inline(always)]
pub fn tuple(sk: *const u8) -> Tuple {
    let (local_addr, remote_addr) = addresses(sk);
    let (local_port, remote_port) = ports::<Probe>(sk);
    Tuple { local_addr, remote_addr, local_port: local_port.into(), remote_port: remote_port.into() }
}

/// Local and remote address; an IPv4 one as `::ffff:a.b.c.d`.
#[inline(always)]
fn addresses(sk: *const u8) -> ([u32; 4], [u32; 4]) {
    let family: u16 = Probe::read(sk, offset!(sk_family)).unwrap_or(0);
    if family == u16::from(family::INET6) {
        let read = |offset| Probe::read(sk, offset).unwrap_or([0; 4]);
        (read(offset!(sk_v6_rcv_saddr)), read(offset!(sk_v6_daddr)))
    } else {
        let read = |offset| [0, 0, 0xffff_u32.to_be(), Probe::read(sk, offset).unwrap_or(0)];
        (read(offset!(sk_rcv_saddr)), read(offset!(sk_daddr)))
    }
}

/// Why there is no entry of a connection.
pub enum Missing {
    /// Not a socket that is watched.
    Foreign,
    /// The map is full.
    Full,
}

/// The connection's entry and its kind, if need be looked for in the socket. The entry is made if it is new; a sock that now
/// is another socket ends the old one.
#[inline(always)]
pub fn find<M: Memory>(sk: *const u8, kind: Option<Kind>, key: ConnKey) -> Result<(*mut Conn, Kind), Missing> {
    let classify = || kind.or_else(|| socket::classify::<M>(sk)).ok_or(Missing::Foreign);
    if let Some(conn) = CONNS.get_ptr_mut(key.sock) {
        // SAFETY: `conn` points to a value of the map.
        if unsafe { (*conn).ino } == key.ino {
            // SAFETY: as above.
            let known = kind.or_else(|| Kind::from_code(unsafe { (*conn).kind }));
            if let Some(kind) = known {
                return Ok((conn, kind));
            }
            let kind = classify()?;
            // SAFETY: as above.
            unsafe { (*conn).kind = kind as u32 };
            return Ok((conn, kind));
        }
        let kind = classify()?;
        reused(conn, key.sock);
        return create(sk, kind, key);
    }
    create(sk, classify()?, key)
}

/// Says that the connection known at this address is over, since when nobody knows.
#[inline(always)]
fn reused(conn: *const Conn, sock: u64) {
    // SAFETY: `conn` points to a value of the map.
    let Conn { ino, flags, .. } = unsafe { *conn };
    if flags & (bit::ANNOUNCED | bit::CLOSED) == bit::ANNOUNCED {
        let flags = if flags & bit::TCP != 0 { close_flags::SEQ32 } else { 0 };
        close::send(ConnKey { sock, ino }, ended::BOTH, how::REUSED, flags, 0, 0);
    }
}

#[inline(always)]
fn create(sk: *const u8, kind: Kind, key: ConnKey) -> Result<(*mut Conn, Kind), Missing> {
    let mut flags = 0;
    if kind != Kind::Unix {
        let tuple = tuple(sk);
        if select::is_other_end_of_own(&tuple) {
            flags |= bit::IGNORED;
        }
    }
    if kind == Kind::Tcp {
        flags |= bit::TCP;
        let state: u8 = Probe::read(sk, offset!(sk_state)).unwrap_or(0);
        if FIN_SENT_STATES >> (state & 15) & 1 != 0 {
            flags |= bit::FIN_SENT;
        }
    }
    CONNS.insert(key.sock, Conn::new(key.ino, flags, Some(kind)), 0).map_err(|_| Missing::Full)?;
    CONNS.get_ptr_mut(key.sock).map(|conn| (conn, kind)).ok_or(Missing::Full)
}

/// The other end is the daemon itself, or this one is.
#[inline(always)]
pub fn is_ignored(conn: *const Conn) -> bool {
    // SAFETY: `conn` points to a value of the map.
    unsafe { (*conn).flags & (bit::IGNORED | bit::OWN) != 0 }
}

/// How much of the connection is captured; looked up anew after user space changed any policy.
#[inline(always)]
pub fn policy(control: &Control, conn: *mut Conn, key: ConnKey) -> u32 {
    // SAFETY: `conn` points to a value of the map.
    let conn = unsafe { &mut *conn };
    let now = control.policies;
    if conn.policies != now {
        // SAFETY: a u32 is read whole.
        conn.policy = unsafe { POLICIES.get(key) }.copied().unwrap_or(policy::FULL);
        conn.policies = now;
    }
    conn.policy
}

/// Whether one of its directions began as HTTP/2; `begins`: it does now.
#[inline(always)]
pub fn is_http2(conn: *mut Conn, begins: bool) -> bool {
    // SAFETY: `conn` points to a value of the map.
    let conn = unsafe { &mut *conn };
    if begins {
        conn.saw(bit::HTTP2);
    }
    conn.flags & bit::HTTP2 != 0
}

/// Where both directions stand.
pub struct Positions {
    /// Of a write: its first byte; of a read: the position now.
    pub egress: u64,
    /// Of a read: its first byte; of a write: the position now, if it is to be announced.
    pub ingress: u64,
    /// No earlier call of this direction is known.
    pub first: bool,
    /// `flags::CONTENDED` or nothing.
    pub flags: u16,
    /// Positions say nothing of the bytes: a protocol above TCP (kernel TLS) changes them on the way.
    pub unusable: bool,
}

impl Positions {
    /// Positions after a call that moved `call.len` bytes, and the connection's memory brought up to date with it.
    #[inline(always)]
    pub fn after<M: Memory>(sk: *const u8, kind: Kind, conn: *mut Conn, call: &Call) -> Option<Self> {
        if kind == Kind::Tcp { Self::tcp::<M>(sk, conn, call) } else { Some(Self::counted(conn, call)) }
    }

    #[inline(always)]
    fn tcp<M: Memory>(sk: *const u8, conn: *mut Conn, call: &Call) -> Option<Self> {
        let tcp = M::tcp(sk)?;
        let mut egress: u32 = M::read(tcp, offset!(tcp_write_seq))?;
        let ulp: u64 = M::read(tcp, offset!(icsk_ulp_ops))?;
        // SAFETY: `conn` points to a value of the map.
        let conn = unsafe { &mut *conn };
        if conn.flags & bit::FIN_SENT != 0 {
            egress = egress.wrapping_sub(1);
        }
        let announced = conn.flags & bit::ANNOUNCED != 0;
        let mut ingress = if call.direction == direction::EGRESS && announced { 0 } else { consumed::<M>(sk, tcp)? };
        let (seen, contended);
        if call.direction == direction::EGRESS {
            let next = egress;
            egress = egress.wrapping_sub(call.len);
            seen = conn.saw(bit::EGRESS_SEEN);
            contended = seen && conn.egress_next != egress;
            conn.egress_next = next;
        } else {
            let next = ingress;
            ingress = ingress.wrapping_sub(call.len);
            seen = conn.saw(bit::INGRESS_SEEN);
            contended = seen && conn.ingress_next != ingress;
            conn.ingress_next = next;
        }
        Some(Self {
            egress: u64::from(egress),
            ingress: u64::from(ingress),
            first: !seen,
            flags: if contended { flags::CONTENDED } else { 0 },
            unusable: ulp != 0,
        })
    }

    #[inline(always)]
    fn counted(conn: *mut Conn, call: &Call) -> Self {
        // SAFETY: `conn` points to a value of the map.
        let (egress, ingress) = unsafe { (&raw mut (*conn).egress, &raw mut (*conn).ingress) };
        // SAFETY: as above; each is read whole.
        let (egress_now, ingress_now) = unsafe { (egress.read_volatile(), ingress.read_volatile()) };
        let (counter, now) =
            if call.direction == direction::EGRESS { (egress, egress_now) } else { (ingress, ingress_now) };
        // SAFETY: as above.
        unsafe { count::atomic_add(counter, u64::from(call.len)) };
        Self { egress: egress_now, ingress: ingress_now, first: now == 0, flags: 0, unusable: false }
    }
}

/// Where reading stands: `copied_seq` without the FIN, which counts one in it. The FIN has been read when it arrived
/// (`SOCK_DONE`, set by `tcp_fin` alone) and nothing before it is unread.
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L4563>
#[inline(always)]
fn consumed<M: Memory>(sk: *const u8, tcp: *const u8) -> Option<u32> {
    let copied: u32 = M::read(tcp, offset!(tcp_copied_seq))?;
    let received: u32 = M::read(tcp, offset!(tcp_rcv_nxt))?;
    if received != copied {
        return Some(copied);
    }
    let sk_flags: u64 = M::read(sk, offset!(sk_flags))?;
    Some(if sk_flags & SOCK_DONE != 0 { copied.wrapping_sub(1) } else { copied })
}

/// Sends `Open` unless that was done. Positions are those before the call.
#[inline(always)]
pub fn announce<M: Memory>(
    sk: *const u8,
    kind: Kind,
    conn: *mut Conn,
    key: ConnKey,
    call: &Call,
    positions: &Positions,
) {
    // SAFETY: `conn` points to a value of the map.
    let flags = unsafe { (*conn).flags };
    if flags & bit::ANNOUNCED != 0 {
        return;
    }
    let (egress, ingress) = (positions.egress, positions.ingress);
    let opening = Opening { kind, flags, key, tgid: call.tgid, egress, ingress };
    if open(sk, &opening) {
        // SAFETY: as above. Bits set meanwhile by the other direction are set again by its next call.
        unsafe { (*conn).flags |= bit::ANNOUNCED };
        if kind == Kind::Tcp {
            close::ended_before(sk, key);
        }
    }
}

/// What [`open`] needs to know.
struct Opening {
    kind: Kind,
    flags: u32,
    key: ConnKey,
    tgid: u32,
    egress: u64,
    ingress: u64,
}

#[inline(always)]
fn open(sk: *const u8, opening: &Opening) -> bool {
    let Opening { kind, flags, key, tgid, egress, ingress } = *opening;
    let Some(place) = count::reserve(size_of::<Open>() as u64) else { return false };
    let record = place.cast::<Open>();
    // SAFETY: there is room for an `Open`, aligned to 8 bytes.
    let open = unsafe {
        record.write(Open { kind: kind::OPEN, conn: key, tgid, time_ns: now(), egress, ingress, ..EMPTY });
        &mut *record
    };
    open.family = Probe::read::<u16>(sk, offset!(sk_family)).unwrap_or(0) as u8;
    if kind == Kind::Unix {
        unix_path(sk, &mut open.unix_path);
    } else {
        (open.local_port, open.remote_port) = ports::<Probe>(sk);
        let (local, remote) = addresses(sk);
        // SAFETY: an address has 16 bytes, in the record's order already; the fields lie at multiples of 8.
        unsafe {
            (&raw mut open.local_addr).cast::<[u32; 4]>().write(local);
            (&raw mut open.remote_addr).cast::<[u32; 4]>().write(remote);
        }
        open.protocol = 6;
        open.role = who_began(sk, flags);
        let from_start = kind == Kind::Tcp && from_start(sk, open.role, egress as u32, ingress as u32).unwrap_or(false);
        open.flags = if kind == Kind::Mptcp { open_flags::MPTCP } else { open_flags::SEQ32 }
            | if from_start { open_flags::FROM_START } else { 0 };
    }
    count::submit(place);
    true
}

const EMPTY: Open = Open {
    kind: 0,
    family: 0,
    role: 0,
    protocol: 0,
    flags: 0,
    local_port: 0,
    remote_port: 0,
    reserved: 0,
    tgid: 0,
    conn: ConnKey { sock: 0, ino: 0 },
    time_ns: 0,
    egress: 0,
    ingress: 0,
    local_addr: [0; 16],
    remote_addr: [0; 16],
    unix_path: [0; 32],
};

/// An accepted socket is a copy of its listener and keeps the listener's backlog; a connected one never had any.
/// A listener with a backlog of 0 leaves no trace: UNKNOWN.
#[inline(always)]
fn who_began(sk: *const u8, conn_flags: u32) -> u8 {
    if conn_flags & bit::CLIENT != 0 {
        role::CLIENT
    } else if Probe::read::<u32>(sk, offset!(sk_max_ack_backlog)).unwrap_or(0) != 0 {
        role::SERVER
    } else {
        role::UNKNOWN
    }
}

/// No byte was moved before: the positions are those the connection began with, which TCP's own byte counts tell.
/// `bytes_acked` of the side that connected counts its SYN.
#[inline(always)]
fn from_start(sk: *const u8, role: u8, egress: u32, ingress: u32) -> Option<bool> {
    let syn = match role {
        role::CLIENT => 1,
        role::SERVER => 0,
        _ => return Some(false),
    };
    let received: u32 = Probe::read(sk, offset!(tcp_rcv_nxt))?;
    let received_bytes: u64 = Probe::read(sk, offset!(tcp_bytes_received))?;
    let acked: u32 = Probe::read(sk, offset!(tcp_snd_una))?;
    let acked_bytes: u64 = Probe::read(sk, offset!(tcp_bytes_acked))?;
    let ingress_start = received.wrapping_sub(received_bytes as u32);
    let egress_start = acked.wrapping_sub(acked_bytes as u32).wrapping_add(syn);
    Some(ingress == ingress_start && egress == egress_start)
}

/// The path a Unix socket is bound to, or else its peer.
#[inline(always)]
fn unix_path(sk: *const u8, path: &mut [u8; 32]) {
    let bound = |sk: *const u8| non_null(Probe::read(sk, offset!(unix_addr))?);
    let peer = || bound(non_null(Probe::read(sk, offset!(unix_peer))?)?);
    let Some(address) = bound(sk).or_else(peer) else { return };
    let len: u32 = Probe::read(address, offset!(unix_address_len)).unwrap_or(0);
    // `len` counts the two bytes of the family in front of the path.
    let Some(len) = len.checked_sub(2) else { return };
    let len = if len > 32 { 32 } else { len };
    let len = core::hint::black_box(len) & 63;
    let from = address.wrapping_add(offset!(unix_address_name) + 2);
    if len <= 32 {
        // SAFETY: at most 32 bytes go to an array of 32; a fault leaves zeros.
        let _ = unsafe { generated::bpf_probe_read_kernel(path.as_mut_ptr().cast(), len, from.cast()) };
    }
}

/// Ids of the current process and thread, in the initial PID namespace.
#[inline(always)]
pub fn ids() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}
