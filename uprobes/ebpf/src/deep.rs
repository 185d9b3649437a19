//! Calls of connections whose messages may begin anywhere in a call: programs of their own, reached by tail calls.
//!
//! In: [`hand_over`] notes header and buffers of a call in `DEEP` and jumps to the hook's `*_deep` program; so the verifier
//! looks at it apart from the ways that lead there. Out: `Data` records, each up to [`WINDOW`] copied bytes and a number of
//! bytes behind them that were passed over (CUT, or LENGTH_ONLY).
//!
//! A direction that began as HTTP/2 is followed frame by frame from its first byte ([`http2`]), its place kept in `PLACES`:
//! all is copied but the payload of long DATA frames. When the place is lost (a call that was not seen, a fault, no frame where
//! one should be), and with other protocols, the first [`MAX_DEEP`] bytes of each call are copied.
//!
//! What is known of a call lies in a map: of what it reads there the verifier remembers nothing, so that all turns of the
//! loop look alike to it.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_probe_read_user, generated},
    programs::BtfTracePointContext,
};
use sidelight_events::{ConnKey, DataHeader, MAX_DEEP, flags, maps::counter};

use crate::{
    copy::{self, Buffers, Segment, layout},
    count,
    http2::{self, Begin, HEAD, Place},
    maps::{DEEP, EXIT_DEEP, PLACES, RECV_DEEP, SEND_DEEP},
};

const HEADER: usize = size_of::<DataHeader>();
/// Bytes copied into one record, and at a time. A call of no more than the latter is copied without looking at what comes, unless
/// it begins in a payload that is passed over.
const WINDOW: u32 = 8192;
const FILL: u32 = 4096;
/// Bytes of a longer call that are copied to see what frames they are.
const CHUNK: u32 = 64;
/// Steps of one program; it calls itself again for more, up to 33 times.
const TURNS: u32 = 128;

/// Whose element of `DEEP` and whose program. The kernel never runs a hook's program twice at a time on one CPU.
#[derive(Clone, Copy)]
pub enum Hook {
    Send,
    Recv,
    Exit,
}

/// How many there are.
pub const HOOKS: u32 = 3;

/// Values of `Work::mode`.
mod mode {
    /// Nothing was looked at yet.
    pub const NEW: u32 = 0;
    /// The first bytes of the call are copied, the rest is passed over.
    pub const FRONT: u32 = 1;
    /// Frame by frame.
    pub const FRAMES: u32 = 2;
    /// The same, and the place was lost.
    pub const LOST: u32 = 3;
}

/// Key of the map `PLACES`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PlaceKey {
    conn: ConnKey,
    direction: u64,
}

impl PlaceKey {
    #[inline(always)]
    fn of(record: *const DataHeader) -> Self {
        // SAFETY: of an element of the map DEEP, or on the stack.
        let (conn, direction) = unsafe { ((*record).conn, (*record).direction) };
        Self { conn, direction: direction.into() }
    }
}

/// A call under way.
#[repr(C)]
pub struct Work {
    /// The next of the call's iovecs, and how many are left.
    segments: u64,
    count: u64,
    /// Where those bytes of this one lie that were not looked at yet, and how many they are.
    address: u64,
    room: u64,
    /// Bytes of the call that were not looked at yet.
    left: u32,
    /// [`mode`].
    mode: u32,
    place: Place,
    /// Bytes in `out`.
    filled: u32,
    /// How many of those were followed.
    at: u32,
    /// Bytes passed over behind those in `out`.
    passed: u32,
    /// How many bytes are copied at a time when it is not known what they are.
    chunk: u32,
    reserved: u32,
    /// The header of a frame: twice its room, as the verifier only knows that position and length are each at most that.
    head: [u64; 3],
    record: DataHeader,
    /// The same.
    out: [u8; (WINDOW + FILL) as usize],
}

/// Reads and writes that the compiler neither keeps nor moves.
macro_rules! get {
    ($work:ident.$($field:ident).+) => {
        // SAFETY: a field of an element of the map DEEP, which only this call of the hook uses.
        unsafe { (&raw const (*$work).$($field).+).read_volatile() }
    };
}
macro_rules! set {
    ($work:ident.$($field:ident).+ = $value:expr) => {{
        let value = $value;
        // SAFETY: as above.
        unsafe { (&raw mut (*$work).$($field).+).write_volatile(value) }
    }};
}

/// Gives a call to the hook's program for long calls; returns only if there is none.
#[inline(always)]
pub fn hand_over(ctx: *mut c_void, hook: Hook, header: &DataHeader, buffers: &Buffers, begin: Begin) {
    let Some(work) = DEEP.get_ptr_mut(hook as u32) else { return };
    let (count, address, room) = match buffers.kind {
        layout::VECTOR => (u64::from(buffers.count), 0, 0),
        layout::FLAT => (0, buffers.address, u64::MAX),
        // Only to be passed over.
        _ => (0, 0, u64::MAX),
    };
    set!(work.segments = buffers.address);
    set!(work.count = count);
    set!(work.address = address);
    set!(work.room = room);
    set!(work.left = header.true_len);
    set!(work.mode = mode::NEW);
    set!(work.filled = 0);
    set!(work.at = 0);
    set!(work.passed = 0);
    set!(work.chunk = if header.true_len <= FILL { FILL } else { CHUNK });
    set!(work.record = *header);
    let front = match buffers.kind {
        layout::VECTOR | layout::FLAT => MAX_DEEP as u32,
        _ => 0,
    };
    set!(work.place.copied = front);
    if begin != Begin::Other {
        let place = Place { next: header.offset, copied: begin.preface(), ..Place::NEW };
        // When it is full the call is copied like that of another protocol.
        let _ = PLACES.insert(PlaceKey::of(header), place, 0);
    }
    call(ctx, hook);
}

#[inline(always)]
fn call(ctx: *mut c_void, hook: Hook) {
    let programs = match hook {
        Hook::Send => &SEND_DEEP,
        Hook::Recv => &RECV_DEEP,
        Hook::Exit => &EXIT_DEEP,
    };
    // SAFETY: nothing is held that would have to be given back.
    unsafe { programs.tail_call(&BtfTracePointContext::new(ctx), 0) };
}

/// The program for long calls.
#[inline(always)]
pub fn run(ctx: &BtfTracePointContext, hook: Hook) -> i32 {
    let Some(work) = DEEP.get_ptr_mut(hook as u32) else { return 0 };
    if get!(work.mode) == mode::NEW {
        begin(work);
    }
    let mut i = 0;
    while i < TURNS {
        if !turn(work) {
            finish(work);
            return 0;
        }
        i += 1;
    }
    call(ctx.as_ptr(), hook);
    // It called itself too often.
    give_up(work, 0);
    finish(work);
    0
}

/// Finds out whether the call begins where its direction's frames are known to stand.
#[inline(always)]
fn begin(work: *mut Work) {
    // SAFETY: see `get`.
    let key = PlaceKey::of(unsafe { &raw const (*work).record });
    if let Some(known) = PLACES.get_ptr_mut(key) {
        // SAFETY: a value of the map; calls of one direction are serial, and if they are not the position is another one.
        let place = unsafe { known.read_volatile() };
        // SAFETY: as above.
        unsafe { (&raw mut (*known).next).write_volatile(Place::NOWHERE) };
        if place.next == get!(work.record.offset) {
            set!(work.place = place);
            // SAFETY: see `get`; there is room for three words.
            unsafe { (&raw mut (*work).head).cast::<[u64; 2]>().write_volatile(place.head) };
            return set!(work.mode = mode::FRAMES);
        }
    }
    front(work, get!(work.left), get!(work.place.copied));
    set!(work.mode = mode::FRONT);
}

/// One step; false: there is none left.
#[inline(always)]
fn turn(work: *mut Work) -> bool {
    let (at, filled) = (get!(work.at), get!(work.filled));
    if at < filled {
        look(work, at, filled);
        return true;
    }
    let (left, room) = (get!(work.left), get!(work.room));
    if left == 0 {
        return false;
    }
    if room == 0 {
        return segment(work);
    }
    let most = if room < u64::from(left) { room as u32 } else { left };
    let (copied, passed) = (get!(work.place.copied), get!(work.place.passed));
    if copied == 0 && passed != 0 {
        let n = if most < passed { most } else { passed };
        set!(work.place.passed = passed.wrapping_sub(n));
        set!(work.passed = get!(work.passed).wrapping_add(n));
        advance(work, n);
        return true;
    }
    if get!(work.passed) != 0 || filled >= WINDOW {
        flush(work);
        return true;
    }
    let want = if passed != 0 {
        copied
    } else {
        let (all, chunk) = (copied.wrapping_add(HEAD), get!(work.chunk));
        if all < chunk { chunk } else { all }
    };
    let room = if WINDOW - filled < FILL { WINDOW - filled } else { FILL };
    let n = if most < want { most } else { want };
    fill(work, filled, if n < room { n } else { room })
}

/// Follows the frames through what was copied, one frame at most.
#[inline(always)]
fn look(work: *mut Work, at: u32, filled: u32) {
    let mut at = at;
    if get!(work.place.copied) | get!(work.place.passed) == 0 {
        let (have, here) = (get!(work.place.have), filled.wrapping_sub(at));
        let want = HEAD.wrapping_sub(have);
        let n = if here < want { here } else { want };
        // SAFETY: `at` is at most WINDOW, and there is room for more than a header behind that.
        let from = unsafe { (&raw const (*work).out).cast::<u8>().add(bounded(at, WINDOW) as usize) };
        at = at.wrapping_add(n);
        if n == HEAD {
            // SAFETY: as above.
            unsafe {
                (&raw mut (*work).head)
                    .cast::<[u8; HEAD as usize]>()
                    .write_volatile(from.cast::<[u8; HEAD as usize]>().read_volatile())
            };
        } else {
            let (to, len) = (bounded(have, HEAD), bounded(n, HEAD));
            // SAFETY: both are at most HEAD, and there is room for two headers.
            let copied = unsafe {
                let to = (&raw mut (*work).head).cast::<u8>().add(to as usize);
                generated::bpf_probe_read_kernel(to.cast(), len, from.cast()) == 0
            };
            // Memory of a map can always be read.
            if !copied || n < want {
                set!(work.place.have = have.wrapping_add(n));
                return set!(work.at = at);
            }
        }
        set!(work.place.have = 0);
        // SAFETY: see `get`; there is room for more.
        let head = unsafe { (&raw const (*work).head).cast::<[u8; HEAD as usize]>().read_volatile() };
        match http2::split(head) {
            Some((copied, passed)) => {
                set!(work.place.copied = copied);
                set!(work.place.passed = passed);
            }
            None => {
                set!(work.mode = mode::LOST);
                front(work, get!(work.left).wrapping_add(filled).wrapping_sub(at), MAX_DEEP as u32);
            }
        }
    }
    let (copied, passed, here) = (get!(work.place.copied), get!(work.place.passed), filled.wrapping_sub(at));
    let n = if copied < here { copied } else { here };
    let m = if passed < here.wrapping_sub(n) { passed } else { here.wrapping_sub(n) };
    set!(work.place.copied = copied.wrapping_sub(n));
    set!(work.place.passed = passed.wrapping_sub(m));
    set!(work.at = at.wrapping_add(n).wrapping_add(m));
}

/// Of the `left` bytes that are to come at most `most` are to be copied.
#[inline(always)]
fn front(work: *mut Work, left: u32, most: u32) {
    let copied = if left < most { left } else { most };
    set!(work.place.copied = copied);
    set!(work.place.passed = left.wrapping_sub(copied));
}

/// Goes on to the call's next buffer.
#[inline(always)]
fn segment(work: *mut Work) -> bool {
    let (place, count) = (get!(work.segments), get!(work.count));
    if count == 0 {
        return give_up(work, 0);
    }
    // SAFETY: the helper fails on an address that cannot be read.
    let Ok(segment) = (unsafe { bpf_probe_read_user(place as *const Segment) }) else {
        return give_up(work, flags::FAULT);
    };
    set!(work.segments = place.wrapping_add(size_of::<Segment>() as u64));
    set!(work.count = count.wrapping_sub(1));
    set!(work.address = segment.address);
    set!(work.room = segment.len);
    true
}

/// Copies the next `n` bytes.
#[inline(always)]
fn fill(work: *mut Work, filled: u32, n: u32) -> bool {
    let (at, len) = (bounded(filled, WINDOW), bounded(n, FILL));
    let address = get!(work.address) as *const c_void;
    // SAFETY: they are at most WINDOW and FILL, and there is room for both.
    let failed = unsafe {
        let to = (&raw mut (*work).out).cast::<u8>().add(at as usize);
        generated::bpf_probe_read_user(to.cast(), len, address) != 0
    };
    if failed {
        return give_up(work, flags::FAULT);
    }
    set!(work.filled = at + len);
    advance(work, n);
    true
}

/// `n` bytes of the call were copied or passed over.
#[inline(always)]
fn advance(work: *mut Work, n: u32) {
    set!(work.address = get!(work.address).wrapping_add(n.into()));
    set!(work.room = get!(work.room).wrapping_sub(n.into()));
    set!(work.left = get!(work.left).wrapping_sub(n));
}

/// Passes over the rest of the call, not knowing what it is.
#[inline(always)]
fn give_up(work: *mut Work, flags: u16) -> bool {
    let left = get!(work.left);
    set!(work.passed = get!(work.passed).wrapping_add(left));
    set!(work.left = 0);
    set!(work.mode = mode::LOST);
    set!(work.record.flags = get!(work.record.flags) | flags);
    false
}

/// Submits what there is, and remembers where the direction stands.
#[inline(always)]
fn finish(work: *mut Work) {
    flush(work);
    if get!(work.mode) != mode::FRAMES {
        return;
    }
    // SAFETY: see `get`.
    let key = PlaceKey::of(unsafe { &raw const (*work).record });
    let Some(known) = PLACES.get_ptr_mut(key) else { return };
    let mut place = get!(work.place);
    place.next = get!(work.record.offset);
    // SAFETY: see `get` and `begin`.
    unsafe {
        place.head = (&raw const (*work).head).cast::<[u64; 2]>().read_volatile();
        known.write_volatile(place);
    }
}

/// Submits a record of what was copied and passed over, unless that is nothing.
#[inline(always)]
fn flush(work: *mut Work) {
    let (filled, passed) = (bounded(get!(work.filled), WINDOW), get!(work.passed));
    let len = filled.wrapping_add(passed);
    if len == 0 {
        return;
    }
    let more = match (filled, passed) {
        (_, 0) => 0,
        (0, _) => flags::LENGTH_ONLY,
        _ => flags::CUT,
    };
    set!(work.record.flags = get!(work.record.flags) | more);
    set!(work.record.cap_len = filled);
    set!(work.record.true_len = len);
    // SAFETY: see `get`; behind the header lie WINDOW bytes and more.
    let sent = unsafe { count::output((&raw const (*work).record).cast(), HEADER as u32 + filled) };
    if !sent {
        count::add(counter::BYTES_LOST, len.into());
    }
    set!(work.filled = 0);
    set!(work.at = 0);
    set!(work.passed = 0);
    // SAFETY: see `get`.
    copy::go_on(unsafe { &mut (*work).record }, len);
}

/// At most `most`, in a way the compiler does not take away: the verifier wants to see it. Through a register: verifiers before
/// 6.5 forget what bounds a word on the stack has.
#[inline(always)]
fn bounded(len: u32, most: u32) -> u32 {
    let mut len = u64::from(len);
    // SAFETY: one instruction on a register, which changes nothing.
    unsafe { asm!("{len} += 0", len = inout(reg) len, options(nostack, nomem)) };
    if len > u64::from(most) { most } else { len as u32 }
}
