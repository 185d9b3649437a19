//! What a parser is given and what it must do: the contract between the tracker and every protocol.
//!
//! The tracker delivers each direction strictly in order and holds a read until everything written before it was delivered.
//! Any split of the same bytes into chunks must give the same exchanges.

use crate::exchange::Output;

/// The longest unread rest the tracker keeps for a parser, bytes. Offered a chunk of this size or more, a parser must
/// consume something or return [`Malformed`].
pub const MAX_REST: usize = 16 * 1024;

/// CLOCK_MONOTONIC of the watched machine in nanoseconds; in replay the packet's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelTime(pub u64);

impl KernelTime {
    /// Nanoseconds from `earlier` to `self`; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// As the owner of the socket sees it. Both ends of a connection on one node are two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Bytes it reads.
    Ingress,
    /// Bytes it writes.
    Egress,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }

    /// Index for arrays of two.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Ingress => 0,
            Self::Egress => 1,
        }
    }
}

/// Which side of the protocol the owner of the socket plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends requests.
    Client,
    /// It answers them.
    Server,
}

impl Role {
    /// The direction in which requests travel.
    #[must_use]
    pub fn requests(self) -> Direction {
        match self {
            Self::Client => Direction::Egress,
            Self::Server => Direction::Ingress,
        }
    }

    /// The role of one whose requests travel in `dir`.
    #[must_use]
    pub fn of_requests(dir: Direction) -> Self {
        match dir {
            Direction::Egress => Self::Client,
            Direction::Ingress => Self::Server,
        }
    }
}

/// A point on a connection: one byte's time, owner and place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// When the call that moved the byte counts: [`Chunk::time`].
    pub time: KernelTime,
    /// Process (initial PID namespace); 0 in replay.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Goroutine or asynchronous task, else 0.
    pub task: u64,
    /// Position of the byte in its direction.
    pub offset: u64,
    /// TCP sequence number of the byte on the wire; of TLS plaintext, of the socket at the call.
    pub wire_seq: u32,
}

impl Mark {
    /// The mark of the last of `len` bytes that one call moved, of which `self` is the first.
    #[must_use]
    pub fn last_of(self, len: u64) -> Self {
        let more = len.saturating_sub(1);
        Self {
            offset: self.offset.wrapping_add(more),
            wire_seq: self.wire_seq.wrapping_add(u32::try_from(more & 0xffff_ffff).unwrap_or(0)),
            ..self
        }
    }
}

/// Bytes at the front of a [`Chunk`] that were offered before and not consumed. All of them carry the time and owner of the
/// first: a parser that consumes whatever is complete keeps the front of one unit only, so no unit begins behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many; 0: none.
    pub len: usize,
    /// The mark of the first.
    pub first: Mark,
}

/// Consecutive bytes of one direction: what was kept, then what one call moved. Parts of a call inherit its times.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Direction.
    pub dir: Direction,
    /// The part of `bytes` that older calls moved.
    pub kept: Kept,
    /// Position of the first byte of `bytes`.
    pub offset: u64,
    /// The bytes; valid for this call only.
    pub bytes: &'a [u8],
    /// When the call that moved the bytes behind the kept ones began, if its mechanism has an entry hook.
    pub begin: Option<KernelTime>,
    /// When that call returned.
    pub end: KernelTime,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Task.
    pub task: u64,
    /// Wire sequence of the first byte behind the kept ones.
    pub wire_seq: u32,
}

impl Chunk<'_> {
    /// A write counts from the call's begin, where known, a read at its end.
    #[must_use]
    pub fn time(&self) -> KernelTime {
        match self.dir {
            Direction::Egress => self.begin.unwrap_or(self.end),
            Direction::Ingress => self.end,
        }
    }

    /// The chunk without its first `used` bytes, which were consumed.
    #[must_use]
    pub fn behind(&self, used: usize) -> Self {
        let Self { kept, bytes, .. } = *self;
        let left = kept.len.saturating_sub(used);
        Self {
            kept: Kept { len: left, first: if left > 0 { self.mark(used) } else { Mark::default() } },
            offset: self.offset.wrapping_add(used as u64),
            bytes: bytes.get(used..).unwrap_or_default(),
            wire_seq: self.wire_seq.wrapping_add(u32::try_from(used.saturating_sub(kept.len)).unwrap_or(u32::MAX)),
            ..*self
        }
    }

    /// The mark of the byte at `index` of this chunk.
    #[must_use]
    #[inline(always)]
    pub fn mark(&self, index: usize) -> Mark {
        let (call, wire_from) = match index.checked_sub(self.kept.len) {
            None => (self.kept.first, index),
            Some(behind) => {
                let Self { pid, tid, task, wire_seq, .. } = *self;
                (Mark { time: self.time(), pid, tid, task, offset: 0, wire_seq }, behind)
            }
        };
        Mark {
            offset: self.offset.wrapping_add(index as u64),
            wire_seq: call.wire_seq.wrapping_add(u32::try_from(wire_from).unwrap_or(u32::MAX)),
            ..call
        }
    }
}

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// Only the first bytes of a call were copied, or none on purpose (sendfile, policy): lengths are exact.
    Cut,
    /// User memory could not be read; the length is exact.
    Fault,
    /// Events are missing (ring full, packets not captured, hold limit).
    Gap,
    /// The parser returned [`Malformed`].
    Malformed,
    /// Two threads moved the same direction at once; the order is unknown.
    Contended,
}

/// Bytes that were moved but are not at hand.
#[derive(Clone, Copy, Debug)]
pub struct Hole {
    /// Direction.
    pub dir: Direction,
    /// Position of the first missing byte.
    pub offset: u64,
    /// How many; `None`: unknown (at least the rest of what was going on).
    pub len: Option<u64>,
    /// Why.
    pub why: Lost,
    /// Time, thread and place: of the call where its length is known, else of what was seen next.
    pub mark: Mark,
}

impl Hole {
    /// The mark of the last of its first `len` bytes.
    #[must_use]
    pub fn last_of(&self, len: u64) -> Mark {
        Mark { offset: self.offset, ..self.mark }.last_of(len)
    }
}

/// How a direction, or the connection, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// In order (FIN), and every byte before it was given, or is in a hole.
    Fin,
    /// In order, but the last bytes may be missing untold: no position says where the stream ended (TLS plaintext).
    FinUnproven,
    /// RST or an error.
    Reset,
    /// Not known; the socket was gone.
    Unknown,
    /// The tracker gives the connection up: idle for too long, or a limit was reached.
    Evicted,
    /// The daemon stops.
    Shutdown,
}

/// How many bytes of a chunk were consumed; the tracker keeps the rest and offers it again in front of the next bytes, with
/// the mark of its first byte unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used(pub usize);

/// The bytes are not of this protocol, or not understood. The tracker calls `hole(len: None, why: Malformed)`, and gives the
/// connection up after three in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// What a parser wants of a direction next; becomes the kernel's capture policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Bytes.
    Bytes,
    /// Nothing but the length of the next n bytes.
    Skip(u64),
    /// The first bytes after each change of direction.
    Turn,
}

/// One connection's parser.
pub trait Parser: Send {
    /// Takes the next bytes of a direction.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not of this protocol; state stays usable.
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed>;

    /// Bytes are missing. A known length wholly inside a counted body loses nothing; else the parser resynchronises.
    /// Any rest kept by the tracker for this direction was dropped (it precedes the hole and counts as part of it).
    fn hole(&mut self, hole: Hole, out: &mut Output);

    /// A direction (`Some`), or the whole connection (`None`), ended.
    fn close(&mut self, dir: Option<Direction>, how: Close, at: KernelTime, out: &mut Output);

    /// Time passes (about once a second, and before the connection is dropped for being idle).
    fn tick(&mut self, now: KernelTime, out: &mut Output);

    /// What it wants of a direction.
    fn wants(&self, dir: Direction) -> Wants;

    /// Whether messages may begin anywhere in a call, so that long calls are worth copying whole: the kernel's policy `DEEP`. A
    /// parser to which only the first bytes of a call matter says no.
    fn deep(&self) -> bool {
        true
    }

    /// Bytes of heap it holds, for the global budget.
    fn heap(&self) -> usize;
}

/// One entry of the table of protocols.
pub struct Protocol {
    /// Lower-case name, as in configuration and health metrics: `http1`.
    pub name: &'static str,
    /// The side whose span is shown where each exchange is to be seen once (replay): for databases the client's.
    pub side: Role,
    /// What speaks for it besides the bytes.
    pub priors: Priors,
    /// Judges the first bytes of both directions: see [`crate::detect`].
    pub score: fn(&crate::detect::Sample<'_>) -> crate::detect::Score,
    /// A parser in its initial state; `role` where detection or the kernel knows it.
    pub parser: fn(role: Option<Role>) -> Box<dyn Parser>,
}

/// What speaks for a protocol besides the bytes of a connection. It says which protocol is asked first, never what a connection
/// speaks: see [`crate::detect`].
#[derive(Clone, Copy, Debug)]
pub struct Priors {
    /// Ports that servers listen on.
    pub ports: &'static [u16],
    /// Programs, of servers and clients, that speak it more than anything else: names as in `process.executable.name`.
    pub programs: &'static [&'static str],
}

impl Priors {
    /// Nothing but the bytes.
    pub const NONE: Self = Self { ports: &[], programs: &[] };

    /// How much speaks for the protocol.
    pub(crate) fn votes(&self, port: Option<u16>, program: &str) -> u8 {
        u8::from(port.is_some_and(|port| self.ports.contains(&port))) + u8::from(self.programs.contains(&program))
    }
}
