//! TLS: the plaintext that goes through a library's calls, and the connection that carries it.
//!
//! In: uprobes on the functions of a TLS library ([`enter`], [`leave`], [`free`]) and every socket call of a watched thread
//! ([`on_socket_call`]). Out: `Data` records of layer TLS, `TlsBind`, `TlsFree`, and the word that a connection carries
//! ciphertext, whose bytes are then counted and never copied.
//!
//! Offsets count the plaintext bytes of an object and direction. While a thread is inside a call of an object, each socket
//! call it makes binds the object to that connection, for the direction of the socket call.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_probe_read_user, generated::bpf_get_attach_cookie},
    programs::ProbeContext,
};
use sidelight_events::{
    ConnKey, DataHeader, MAX_CAPTURE, TlsBind, TlsFree, direction, kind, layer,
    maps::{Control, counter, mode, policy, tls_call},
    mechanism,
};

use crate::{
    conn::{self, Conn},
    copy::{self, Buffers},
    count,
    maps::{POLICIES, TLS_INSIDE, TLS_OBJECTS},
    select::{self, Verdict},
    socket::{Call, now},
};

/// Values of `Inside::role`. That of reads and writes is their direction.
pub mod role {
    /// Plaintext comes in.
    pub const READ: u32 = 0;
    /// Plaintext goes out.
    pub const WRITE: u32 = 1;
    /// No plaintext moves.
    pub const HANDSHAKE: u32 = 2;
}

/// How the result of a call tells how many bytes it moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The result is the number.
    Result,
    /// The fourth argument points to a `size_t`.
    Pointer,
}

/// A thread is inside a call of a TLS library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Inside {
    /// The library's object.
    pub tls: u64,
    /// Stack pointer at the call's first instruction: tells its return from that of a call inside it.
    pub sp: u64,
    /// Address of the plaintext.
    pub buffer: u64,
    /// Address of the length; 0: the result is the length.
    pub length: u64,
    /// When it began.
    pub begin_ns: u64,
    /// [`role`].
    pub role: u32,
    /// TCP sequence of the first byte its first socket call in its own direction moved.
    pub wire_seq: u32,
    /// There was such a socket call.
    pub moved: u32,
    /// Zero.
    pub reserved: u32,
}

/// Key of the map `TLS_OBJECTS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ObjectKey {
    /// The library's object.
    pub tls: u64,
    /// Process.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// One direction of an object. Its calls are serial: libraries demand that.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Half {
    /// The connection it is bound to; zero: none yet.
    pub conn: ConnKey,
    /// Plaintext bytes so far.
    pub count: u64,
    /// TCP sequence where its last call began.
    pub wire_seq: u32,
    /// It was seen on another connection as well; said once.
    pub conflict: u32,
}

/// What is known of an object, by [`direction`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Object {
    /// What it reads.
    pub ingress: Half,
    /// What it writes.
    pub egress: Half,
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

/// Registers of the probed thread: `struct pt_regs` of x86-64.
#[derive(Clone, Copy)]
pub struct Registers(pub *const u8);

impl Registers {
    const CX: usize = 88;
    const SI: usize = 104;
    const DI: usize = 112;
    const AX: usize = 80;
    const SP: usize = 152;

    #[inline(always)]
    fn read<const OFFSET: usize>(self) -> u64 {
        // SAFETY: the context of a uprobe is a `struct pt_regs`, and the verifier checks the offset.
        unsafe { self.0.add(OFFSET).cast::<u64>().read_volatile() }
    }
}

/// Any call of the library begins; the cookie says which.
#[inline(always)]
pub fn called(ctx: &ProbeContext) -> u32 {
    let registers = Registers(ctx.as_ptr().cast());
    // SAFETY: the context is that of a uprobe.
    let (role, length) = match unsafe { bpf_get_attach_cookie(ctx.as_ptr()) } {
        tls_call::READ => (role::READ, Length::Result),
        tls_call::READ_EX => (role::READ, Length::Pointer),
        tls_call::WRITE => (role::WRITE, Length::Result),
        tls_call::WRITE_EX => (role::WRITE, Length::Pointer),
        tls_call::HANDSHAKE => (role::HANDSHAKE, Length::Result),
        tls_call::FREE => return free(registers),
        _ => return 0,
    };
    enter(registers, role, length)
}

/// A call of the library begins: its first three arguments are object, buffer, length.
#[inline(always)]
pub fn enter(registers: Registers, role: u32, length: Length) -> u32 {
    let Some(control) = select::enabled() else { return 0 };
    let (tgid, tid) = conn::ids();
    if matches!(select::process(control, tgid), Verdict::Leave | Verdict::Undecided) {
        return 0;
    }
    let sp = registers.read::<{ Registers::SP }>();
    let thread = thread(tgid, tid);
    if let Some(outer) = TLS_INSIDE.get_ptr(thread) {
        // SAFETY: an entry is only written by its own thread. Stacks grow down: the other call is still going on, and
        // what moves inside it (a handshake, the layers of another object) is its own.
        if unsafe { (*outer).sp } > sp {
            return 0;
        }
    }
    let inside = Inside {
        tls: registers.read::<{ Registers::DI }>(),
        sp,
        buffer: registers.read::<{ Registers::SI }>(),
        length: if length == Length::Pointer { registers.read::<{ Registers::CX }>() } else { 0 },
        begin_ns: now(),
        role,
        wire_seq: 0,
        moved: 0,
        reserved: 0,
    };
    if TLS_INSIDE.insert(thread, inside, 0).is_err() {
        count::add(counter::MAP_FULL, 1);
    }
    0
}

/// A call of the library returned.
#[inline(always)]
pub fn leave(registers: Registers) -> u32 {
    let (tgid, tid) = conn::ids();
    let thread = thread(tgid, tid);
    let Some(place) = TLS_INSIDE.get_ptr(thread) else { return 0 };
    // SAFETY: an entry is only written by its own thread.
    let inside = unsafe { *place };
    // The return address is off the stack now.
    if inside.sp.wrapping_add(8) != registers.read::<{ Registers::SP }>() {
        return 0;
    }
    // Its presence was just seen, and only its own thread removes it.
    let _ = TLS_INSIDE.remove(thread);
    let result = registers.read::<{ Registers::AX }>() as i32;
    if inside.role == role::HANDSHAKE || result <= 0 {
        return 0;
    }
    let Some(control) = select::enabled() else { return 0 };
    let len = if inside.length == 0 {
        result as u32
    } else {
        // SAFETY: the helper fails on an address that cannot be read.
        match unsafe { bpf_probe_read_user(inside.length as *const u64) } {
            Ok(len) => len as u32,
            Err(_) => {
                count::add(counter::ATTEMPTED, 1);
                count::add(counter::FAULT, 1);
                return 0;
            }
        }
    };
    if len != 0 {
        plaintext(control, tgid, tid, &inside, len);
    }
    0
}

/// `len` bytes of plaintext were read or written.
#[inline(always)]
fn plaintext(control: &Control, tgid: u32, tid: u32, inside: &Inside, len: u32) {
    let Some(object) = object(inside.tls, tgid) else {
        count::add(counter::BYTES_PRESENTED, u64::from(len));
        return count::add(counter::BYTES_LOST, u64::from(len));
    };
    // SAFETY: `object` points to a value of the map, whose halves are each written by serial calls.
    let Object { ingress, egress } = unsafe { &mut *object };
    let written = egress.count;
    let (half, other) = if inside.role == role::READ { (ingress, written) } else { (egress, 0) };
    let offset = half.count;
    half.count = offset.wrapping_add(u64::from(len));
    if inside.moved != 0 {
        half.wire_seq = inside.wire_seq;
    }
    let conn = half.conn;
    if conn.sock == 0 && control.mode & mode::PORTS != 0 {
        // Whether it is watched depends on the ports of a connection that nobody knows.
        return;
    }
    count::add(counter::CALLS, 1);
    count::add(counter::BYTES_PRESENTED, u64::from(len));
    // What `POLICIES` forbids speaks of what the socket carries: a connection whose ciphertext was looked at before it was
    // bound has been given up, its plaintext has not.
    let header = DataHeader {
        kind: kind::DATA,
        direction: if inside.role == role::READ { direction::INGRESS } else { direction::EGRESS },
        layer: layer::TLS,
        mechanism: mechanism::OPENSSL,
        flags: 0,
        reserved: 0,
        cap_len: 0,
        true_len: len,
        conn,
        tgid,
        tid,
        task: 0,
        tls: inside.tls,
        begin_ns: inside.begin_ns,
        end_ns: now(),
        offset,
        other,
        wire_seq: half.wire_seq,
        reserved2: 0,
    };
    // SAFETY: a u32 is read whole.
    let deep = len > MAX_CAPTURE as u32 && unsafe { POLICIES.get(conn) }.copied() == Some(policy::DEEP);
    let buffers = if deep { Buffers::deep(inside.buffer) } else { Buffers::flat(inside.buffer) };
    let lost = copy::data(header, buffers, None);
    if lost != 0 {
        count::add(counter::BYTES_LOST, u64::from(lost));
    }
}

/// An object is freed, or made ready for another connection.
#[inline(always)]
pub fn free(registers: Registers) -> u32 {
    let Some(control) = select::enabled() else { return 0 };
    let (tgid, _) = conn::ids();
    if select::process(control, tgid) == Verdict::Leave {
        return 0;
    }
    let key = ObjectKey { tls: registers.read::<{ Registers::DI }>(), tgid, reserved: 0 };
    if TLS_OBJECTS.remove(key).is_ok() {
        count::send(&TlsFree { kind: kind::TLS_FREE, reserved: [0; 3], tgid, tls: key.tls, time_ns: now() });
    }
    0
}

/// A thread ended, perhaps in the middle of a call: whoever gets its id begins anew.
#[inline(always)]
pub fn thread_ended(control: &Control, tgid: u32, tid: u32) {
    if control.mode & mode::TLS != 0 {
        // Most threads are not there.
        let _ = TLS_INSIDE.remove(thread(tgid, tid));
    }
}

/// True when the call moved ciphertext: its bytes are counted and nothing of it is to be copied or submitted. `wire_seq` is the
/// TCP sequence of its first byte.
#[inline(always)]
pub fn on_socket_call(control: &Control, conn: *mut Conn, key: ConnKey, call: &Call, wire_seq: u32) -> bool {
    if control.mode & mode::TLS == 0 {
        return false;
    }
    // SAFETY: `conn` points to a value of the map CONNS; the place of one direction is written by its own calls.
    let bound =
        unsafe { if call.direction == direction::EGRESS { &mut (*conn).egress_tls } else { &mut (*conn).ingress_tls } };
    if let Some(inside) = TLS_INSIDE.get_ptr_mut(thread(call.tgid, call.tid)) {
        // SAFETY: an entry is only written by its own thread.
        let inside = unsafe { &mut *inside };
        if inside.role == u32::from(call.direction) && inside.moved == 0 {
            (inside.wire_seq, inside.moved) = (wire_seq, 1);
        }
        bind(inside.tls, call, key);
        *bound = Bound { tls: inside.tls, tgid: call.tgid, reserved: 0 };
    } else if bound.tls == 0 {
        return false;
    }
    true
}

/// Binds the object to the connection, for the direction of the call, unless it is already.
#[inline(always)]
fn bind(tls: u64, call: &Call, key: ConnKey) {
    let Some(object) = object(tls, call.tgid) else { return };
    // SAFETY: `object` points to a value of the map.
    let Object { ingress, egress } = unsafe { &mut *object };
    let half = if call.direction == direction::EGRESS { egress } else { ingress };
    let conflict = half.conn.sock != 0;
    if half.conn == key || half.conflict != 0 {
        return;
    }
    let sent = count::send(&TlsBind {
        kind: kind::TLS_BIND,
        direction: call.direction,
        conflict: u8::from(conflict),
        reserved: 0,
        tgid: call.tgid,
        tls,
        conn: key,
        time_ns: now(),
    });
    // What was not told is told by the next call.
    if sent && conflict {
        half.conflict = 1;
    } else if sent {
        half.conn = key;
    }
}

/// The entry of an object, made if it is new; `None` (counted): map full.
#[inline(always)]
fn object(tls: u64, tgid: u32) -> Option<*mut Object> {
    let key = ObjectKey { tls, tgid, reserved: 0 };
    if let Some(object) = TLS_OBJECTS.get_ptr_mut(key) {
        return Some(object);
    }
    create(&key)
}

#[inline(always)]
fn create(key: &ObjectKey) -> Option<*mut Object> {
    const HALF: Half = Half { conn: ConnKey { sock: 0, ino: 0 }, count: 0, wire_seq: 0, conflict: 0 };
    if TLS_OBJECTS.insert(key, Object { ingress: HALF, egress: HALF }, 0).is_err() {
        count::add(counter::MAP_FULL, 1);
        return None;
    }
    TLS_OBJECTS.get_ptr_mut(key)
}

#[inline(always)]
fn thread(tgid: u32, tid: u32) -> u64 {
    (u64::from(tgid) << 32) | u64::from(tid)
}
