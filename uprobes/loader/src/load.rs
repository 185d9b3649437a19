//! Loads the object, attaches the hooks in an order without races, and says what is on and what is off.
//!
//! In: [`Options`]. Out: [`Started`], or why nothing can be captured. Nothing is captured before [`Hooks::enable`].

use std::{fs, io, process};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, ProgramArray, RingBuf},
    programs::{BtfTracePoint, ProgramError},
};
use sidelight_events::maps::{Control, mode};
use zerocopy::IntoBytes;

use crate::{
    btf::{self, BtfError},
    decide::{Decider, Procs},
    hooks::{Hooks, Inner, Loaded, lock},
    multi, privilege, ring,
    select::{self, Selection},
    sys,
};

/// What [`start`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which socket hooks.
    pub attach: Attach,
    /// Size of the ring: a power of two, at least a page.
    pub ring_bytes: u32,
    /// What is watched.
    pub selection: Selection,
}

/// Which socket hooks are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// The cheapest the kernel has.
    #[default]
    Auto,
    /// `sock_send_length` and `sock_recv_length` (6.3).
    Socket,
    /// `sys_enter` and `sys_exit`.
    Syscall,
}

/// What is attached.
pub struct Started {
    /// Commands.
    pub hooks: Hooks,
    /// Records.
    pub reader: ring::Reader,
    /// The start-up table.
    pub rows: Vec<Row>,
}

/// A line of the start-up table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it provides.
    pub name: &'static str,
    /// Whether it does.
    pub state: State,
    /// By which hook, and what is wrong.
    pub why: String,
}

/// Whether a hook works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should.
    On,
    /// Not at all.
    Off,
    /// At a price, or in part.
    Degraded,
}

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A capability is missing.
    #[error("capability {0} is missing; run as root or grant it")]
    Privilege(&'static str),
    /// The daemon's own process ids are not the kernel's.
    #[error(
        "the daemon runs in the PID namespace {0}, whose ids are not those of the node; share the host's (hostPID: true, --pid=host)"
    )]
    PidNamespace(String),
    /// The size of the ring.
    #[error("ring of {found} bytes; it must be a power of two of at least {page} bytes")]
    RingSize {
        /// As configured.
        found: u32,
        /// A page.
        page: u32,
    },
    /// No type information.
    #[error(
        "cannot read the kernel's type information {BTF_PATH}; a kernel built with CONFIG_DEBUG_INFO_BTF is needed"
    )]
    NoBtf(#[source] io::Error),
    /// Type information lacks something.
    #[error("this kernel's type information cannot be used")]
    Btf(#[from] BtfError),
    /// The object was refused.
    #[error("the kernel refuses the eBPF object")]
    Object(#[source] Box<EbpfError>),
    /// A map was refused.
    #[error("the kernel refuses the map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// The object has no such map.
    #[error("the eBPF object has no map {0}; rebuild it with make ebpf")]
    NoMap(&'static str),
    /// No socket hook is left.
    #[error("no socket hook can be attached: {0}")]
    NoSocketHook(String),
    /// No descriptor is left.
    #[error("cannot keep the maps of the eBPF object open")]
    Descriptor(#[source] io::Error),
    /// A thread or descriptor cannot be had.
    #[error("cannot start the thread that decides on processes")]
    Thread(#[source] io::Error),
}

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
const PAGE: u32 = 4096;
/// Scans for descendants until none is new; each finds children of those that forked during the one before.
const SCANS: u32 = 16;

pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/sidelight.bpf.o");

/// Loads, attaches, applies the selection. Hooks of process life come first, so that nothing escapes the scan.
///
/// # Errors
/// [`LoadError`] when nothing can be captured; a hook that costs only itself is a [`Row`] instead.
pub fn start(options: Options) -> Result<Started, LoadError> {
    if let Some(capability) = privilege::missing() {
        return Err(LoadError::Privilege(capability));
    }
    if let Some(namespace) = privilege::foreign_pid_namespace() {
        return Err(LoadError::PidNamespace(namespace));
    }
    if !options.ring_bytes.is_power_of_two() || options.ring_bytes < PAGE {
        return Err(LoadError::RingSize { found: options.ring_bytes, page: PAGE });
    }
    let started = load(options);
    // The parsed type information was some 20 MiB in small pieces.
    sys::return_freed_memory();
    started
}

fn load(options: Options) -> Result<Started, LoadError> {
    let Options { attach, ring_bytes, selection } = options;
    let (mut ebpf, btf) = object(ring_bytes)?;
    let maps = multi::Maps::of(&ebpf).map_err(LoadError::Descriptor)?;
    let mut control: Array<_, [u32; 4]> = map(&mut ebpf, "CONTROL")?;
    let word =
        Control { enabled: 0, mode: selection.mode() | mode::PROCESS_RECORDS, own_tgid: process::id(), policies: 0 };
    let named = |name| move |source| LoadError::Map { name, source };
    let word: [u32; 4] = zerocopy::transmute!(word);
    control.set(0, word, 0).map_err(named("CONTROL"))?;
    let mut ports: HashMap<_, u16, u32> = map(&mut ebpf, "PORTS")?;
    for (port, bits) in selection.ports() {
        ports.insert(port, bits, 0).map_err(named("PORTS"))?;
    }
    let procs = Procs::new(map::<HashMap<_, u32, u32>>(&mut ebpf, "PROCS")?.into());

    let mut rows = vec![
        one(&mut ebpf, &btf, "children of watched processes", "fork", "sched_process_fork"),
        one(&mut ebpf, &btf, "programs started", "exec", "sched_process_exec"),
        one(&mut ebpf, &btf, "end of processes", "exit", "sched_process_exit"),
        one(&mut ebpf, &btf, "begin and end of connections", "state", "inet_sock_set_state"),
    ];
    let (sockets, deep) = sockets(&mut ebpf, &btf, attach)?;
    let (row, tails) = long_calls(&mut ebpf, &btf, deep);
    rows.splice(0..0, [sockets, row]);
    drop(btf);
    scan(&selection, &procs).map_err(named("PROCS"))?;
    let undecided: RingBuf<_> = map(&mut ebpf, "UNDECIDED")?;
    let decider = if selection.decides_by_executable() {
        Some(Decider::start(selection, Procs::clone(&procs), undecided).map_err(LoadError::Thread)?)
    } else {
        None
    };
    let counters: PerCpuArray<_, _> = map(&mut ebpf, "COUNTERS")?;
    let policies: HashMap<_, [u64; 2], u32> = map(&mut ebpf, "POLICIES")?;
    let reader = ring::Reader::new(map(&mut ebpf, "RING")?);
    let inner = Inner {
        control: control.into(),
        counters,
        policies: policies.into(),
        loaded: Some(Loaded { ebpf, _tails: tails, maps }).into(),
        procs,
        decider: decider.into(),
    };
    Ok(Started { hooks: Hooks::new(inner), reader, rows })
}

/// The object with this kernel's offsets in it, its maps made, no program loaded yet.
fn object(ring_bytes: u32) -> Result<(Ebpf, Btf), LoadError> {
    let raw = fs::read(BTF_PATH).map_err(LoadError::NoBtf)?;
    let offsets = btf::offsets(&raw)?;
    let object = |error: EbpfError| match permission(&error) {
        true => LoadError::Privilege("CAP_BPF"),
        false => LoadError::Object(Box::new(error)),
    };
    let btf = Btf::parse(&raw, aya::Endianness::default()).map_err(|error| object(error.into()))?;
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .override_global("OFFSETS", offsets.as_bytes(), true)
        .map_max_entries("RING", ring_bytes)
        .load(OBJECT)
        .map_err(object)?;
    Ok((ebpf, btf))
}

/// Some error below is EPERM: capabilities that do not count here (another user namespace), or a security module.
fn permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = error.source();
    }
    false
}

fn map<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::NoMap(name))?;
    T::try_from(map).map_err(|source| LoadError::Map { name, source })
}

/// A program that others call: its name, the tracepoint of those, the map it is put into.
type Tail = (&'static str, &'static str, &'static str);

/// Chooses between the two mechanisms; gives the programs it has for long calls.
fn sockets(ebpf: &mut Ebpf, btf: &Btf, attach: Attach) -> Result<(Row, &'static [Tail]), LoadError> {
    const NAME: &str = "socket calls";
    const SOCKET: [(&str, &str); 2] = [("sock_send", "sock_send_length"), ("sock_recv", "sock_recv_length")];
    const SYSCALL: [(&str, &str); 2] = [("sys_exit", "sys_exit"), ("sys_enter", "sys_enter")];
    const SOCKET_DEEP: [Tail; 2] =
        [("send_deep", "sock_send_length", "SEND_DEEP"), ("recv_deep", "sock_recv_length", "RECV_DEEP")];
    const SYSCALL_DEEP: [Tail; 1] = [("exit_deep", "sys_exit", "EXIT_DEEP")];
    let socket = if attach == Attach::Syscall { Err("not wanted".to_owned()) } else { all(ebpf, btf, SOCKET) };
    let refused = match socket {
        Ok(()) => {
            let why = "tracepoints sock_send_length and sock_recv_length".to_owned();
            return Ok((Row { name: NAME, state: State::On, why }, &SOCKET_DEEP));
        }
        Err(why) if attach == Attach::Socket => return Err(LoadError::NoSocketHook(why)),
        Err(why) => why,
    };
    all(ebpf, btf, SYSCALL).map_err(|why| LoadError::NoSocketHook(format!("{refused}; {why}")))?;
    let why = "tracepoints sys_enter and sys_exit".to_owned();
    let row = match attach {
        Attach::Syscall => Row { name: NAME, state: State::On, why },
        Attach::Auto | Attach::Socket => {
            Row { name: NAME, state: State::Degraded, why: format!("{why}, at a higher cost: {refused}") }
        }
    };
    Ok((row, &SYSCALL_DEEP))
}

/// The programs that the socket hooks call. Without them HTTP/2 is captured as any other protocol is.
fn long_calls(ebpf: &mut Ebpf, btf: &Btf, tails: &[Tail]) -> (Row, Vec<ProgramArray<MapData>>) {
    const NAME: &str = "frames of HTTP/2";
    let mut kept = Vec::new();
    for (program, tracepoint, array) in tails {
        match tail(ebpf, btf, program, tracepoint, array) {
            Ok(array) => kept.push(array),
            Err(error) => return (Row { name: NAME, state: State::Off, why: explain(tracepoint, &error) }, kept),
        }
    }
    (Row { name: NAME, state: State::On, why: "tail calls of the socket hooks".to_owned() }, kept)
}

fn tail(
    ebpf: &mut Ebpf,
    btf: &Btf,
    name: &str,
    tracepoint: &str,
    array: &'static str,
) -> Result<ProgramArray<MapData>, ProgramError> {
    let missing = |name: &str| ProgramError::InvalidName { name: name.to_owned() };
    let mut array = ProgramArray::try_from(ebpf.take_map(array).ok_or_else(|| missing(array))?)?;
    let program: &mut BtfTracePoint = ebpf.program_mut(name).ok_or_else(|| missing(name))?.try_into()?;
    program.load(tracepoint, btf)?;
    array.set(0, program.fd()?, 0)?;
    Ok(array)
}

/// Both or none.
fn all(ebpf: &mut Ebpf, btf: &Btf, hooks: [(&'static str, &'static str); 2]) -> Result<(), String> {
    for (program, tracepoint) in hooks {
        if let Err(error) = attach_one(ebpf, btf, program, tracepoint) {
            for (program, _) in hooks {
                let program = ebpf.program_mut(program).map(<&mut BtfTracePoint>::try_from);
                if let Some(Ok(program)) = program {
                    // What was never loaded cannot be unloaded.
                    let _ = program.unload();
                }
            }
            return Err(explain(tracepoint, &error));
        }
    }
    Ok(())
}

fn one(ebpf: &mut Ebpf, btf: &Btf, name: &'static str, program: &'static str, tracepoint: &'static str) -> Row {
    match attach_one(ebpf, btf, program, tracepoint) {
        Ok(()) => Row { name, state: State::On, why: format!("tracepoint {tracepoint}") },
        Err(error) => Row { name, state: State::Off, why: explain(tracepoint, &error) },
    }
}

fn attach_one(ebpf: &mut Ebpf, btf: &Btf, program: &str, tracepoint: &str) -> Result<(), ProgramError> {
    let missing = || ProgramError::InvalidName { name: program.to_owned() };
    let program: &mut BtfTracePoint = ebpf.program_mut(program).ok_or_else(missing)?.try_into()?;
    program.load(tracepoint, btf)?;
    program.attach()?;
    Ok(())
}

/// One line: the kernel's verifier writes pages.
fn explain(tracepoint: &str, error: &ProgramError) -> String {
    match error {
        ProgramError::Btf(_) => format!("this kernel has no tracepoint {tracepoint}"),
        ProgramError::LoadError { io_error, verifier_log } => {
            tracing::debug!(%tracepoint, %verifier_log, "The verifier refuses a program");
            let log = verifier_log.to_string();
            let last = log.lines().rfind(|line| !line.starts_with("processed ")).unwrap_or_default();
            format!("the kernel refuses the program for {tracepoint}: {io_error}: {last}")
        }
        other => format!("cannot attach to {tracepoint}: {other}"),
    }
}

/// Enters the processes there are. Those that fork meanwhile hand their entry on by themselves.
fn scan(selection: &Selection, procs: &Procs) -> Result<(), MapError> {
    let mut procs = lock(procs);
    for _ in 0..SCANS {
        let parents = select::parents();
        let mut news = false;
        for (pid, bits) in selection.processes(&parents) {
            news |= add(&mut procs, pid, bits)?;
        }
        if selection.decides_by_executable() {
            for pid in parents.into_keys().filter(|pid| *pid != process::id()) {
                let bits = select::executable(pid).map_or(0, |path| selection.executable(&path));
                add(&mut procs, pid, bits)?;
            }
        }
        if !news {
            break;
        }
    }
    Ok(())
}

/// True if that says anything new.
fn add(procs: &mut HashMap<MapData, u32, u32>, pid: u32, bits: u32) -> Result<bool, MapError> {
    let old = match procs.get(&pid, 0) {
        Err(MapError::KeyNotFound) => 0,
        other => other?,
    };
    if old | bits == old {
        return Ok(false);
    }
    procs.insert(pid, old | bits, 0)?;
    Ok(true)
}
