//! Every map of the object, with its bound and what happens when it is full.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use sidelight_events::{
    ConnKey,
    maps::{Control, counter},
};

use crate::{
    conn::Conn,
    deep::{HOOKS, PlaceKey, Work},
    http2::Place,
    select::Tuple,
    syscall::{InFlight, Working},
    tls::{Inside, Object, ObjectKey},
};

/// Connections of watched processes at a time. When full the least used is forgotten: its `Open` is sent again, and
/// counted positions (not TCP's own) begin anew.
const CONNECTIONS: u32 = 32 * 1024;
/// Threads inside a socket call or a TLS call at a time. When full the least used is forgotten and its call not seen.
const THREADS: u32 = 8 * 1024;

/// Element 0: what user space tells all hooks.
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);
/// Element 0: the counters, by [`counter`].
#[map]
pub static COUNTERS: PerCpuArray<[u64; counter::COUNT as usize]> = PerCpuArray::with_max_entries(1, 0);
/// tgid → bits of `maps::select`. When full a process cannot be selected, counted `MAP_FULL`.
#[map]
pub static PROCS: HashMap<u32, u32> = HashMap::with_max_entries(16 * 1024, 0);
/// Port → bits of `maps::select`, written by user space at start.
#[map]
pub static PORTS: HashMap<u16, u32> = HashMap::with_max_entries(1024, 0);
/// How much of a connection is captured; absent is `policy::FULL`.
#[map]
pub static POLICIES: LruHashMap<ConnKey, u32> = LruHashMap::with_max_entries(CONNECTIONS, 0);
/// Sock address → what is known of the connection.
#[map]
pub static CONNS: LruHashMap<u64, Conn> = LruHashMap::with_max_entries(CONNECTIONS, 0);
/// pid_tgid → the socket call this thread is in (mechanism `SYSCALL`). An entry stays for the thread's next call.
#[map]
pub static CALLS: LruHashMap<u64, InFlight> = LruHashMap::with_max_entries(2 * THREADS, 0);
/// Element 0: working memory of `sys_exit`, which the kernel never runs twice at a time on one CPU.
#[map]
pub static WORKING: PerCpuArray<Working> = PerCpuArray::with_max_entries(1, 0);
/// Where the directions of HTTP/2 connections stand. When full the least used is forgotten: its calls are copied like those of
/// other protocols.
#[map]
pub static PLACES: LruHashMap<PlaceKey, Place> = LruHashMap::with_max_entries(CONNECTIONS / 2, 0);
/// By [`crate::deep::Hook`]: the call that is being copied by a program of [`crate::deep`].
#[map]
pub static DEEP: PerCpuArray<Work> = PerCpuArray::with_max_entries(HOOKS, 0);
/// Element 0: the hook's program of [`crate::deep`]. One map each: programs of different hooks do not go together (6.12).
#[map]
pub static SEND_DEEP: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static RECV_DEEP: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static EXIT_DEEP: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// pid_tgid → the TLS call this thread is in.
#[map]
pub static TLS_INSIDE: LruHashMap<u64, Inside> = LruHashMap::with_max_entries(THREADS, 0);
/// Objects of TLS libraries. When full the least used is forgotten: it is bound and counted anew.
#[map]
pub static TLS_OBJECTS: LruHashMap<ObjectKey, Object> = LruHashMap::with_max_entries(CONNECTIONS, 0);
/// The daemon's own connections as their other ends see them: ignored there.
#[map]
pub static OWN_TUPLES: LruHashMap<Tuple, u32> = LruHashMap::with_max_entries(256, 0);
/// The records. User space sets the size.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(4096, 0);
/// Processes that wait for user space to decide on their executable (`maps::Undecided`).
#[map]
pub static UNDECIDED: RingBuf = RingBuf::with_byte_size(16 * 1024, 0);
