//! The daemon's life: build everything that can fail, run, drain.
//!
//! In: a [`Command`](crate::cli::Command)'s parts. Out: an exit status. The order of a stop: (1) the hooks are told to
//! capture nothing, (2) the ring is read to its end, (3) what is open ends as `incomplete(shutdown)`, (4) metrics and queues
//! go out, for five seconds at most, (5) the hooks are removed.

pub mod child;
mod notify;
mod pace;
mod replay;
mod report;
mod ring;

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Signal, kill_process};
use sidelight_config::{Attach, Config, OutputFormat, Select, Selector};
use sidelight_loader::{
    Hooks, LoadError, Row, Started, State,
    discover::{Discovery, News},
    process,
    uprobes::{How, Library},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

pub use self::replay::replay;
use self::{child::Gated, pace::Pace, ring::RingThread};
use crate::{
    exporters::{self, Console, Handle, Producer, Settings},
    identity::{Host, Identities},
    metrics::Metrics,
    pipeline::Shard,
    semconv::{db::Databases, rules::HttpRules},
    source::{
        live::{Live, clock},
        recorded::Recorder,
    },
    span::{IdGenerator, SpanBuilder},
    telemetry::{Health, health_export, health_export::HealthExport},
    tracker::Limits,
};

/// A privilege is missing (EX_NOPERM of sysexits.h).
pub const EXIT_PRIVILEGE: u8 = 77;

/// The time everything that is queued has to go out at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What ends a run.
enum End {
    /// SIGTERM or SIGINT.
    Asked,
    /// The command ended with this exit code.
    Command(u8),
    /// The ring thread ended by itself: a bug, told by its panic.
    Ring,
}

/// `sidelight run`.
///
/// # Errors
/// Nothing runs then; [`exit_code`] gives the status.
pub fn run(mut config: Config, record: Option<PathBuf>, command: Option<Vec<OsString>>) -> anyhow::Result<ExitCode> {
    let gated = |words: Vec<OsString>| Gated::spawn(&std::env::current_exe()?, &words);
    let gated = command.map(gated).transpose().context("cannot start the command")?;
    let console = if gated.is_some() { Console::Stderr } else { Console::Stdout };
    if let Some(gated) = &gated {
        config.select.only.push(Selector::Tree(gated.id()));
    }
    let health = Arc::new(Health::default());
    let Started { hooks, reader, mut rows } = sidelight_loader::start(loader_options(&config))?;
    let (discovery, news) = discovery(&hooks, &mut rows);
    let (queue, exporter) =
        exporters::start((&config.export, &config.limits), console, Settings::of(config.export.output), &health)?;
    let shard = shard(&config, Host::read(), queue)?;
    let own_metrics = own_metrics(&config, &health, &exporter)?;
    let recorder = record
        .map(|path| Recorder::create(&path, clock().1).with_context(|| format!("cannot write {}", path.display())))
        .transpose()?;
    let stop = Arc::new(AtomicBool::new(false));
    let ring = RingThread {
        live: Live::new(reader, news),
        pace: Pace::new(config.limits.ring),
        shard,
        hooks: hooks.clone(),
        discovery: discovery.clone(),
        health: Arc::clone(&health),
        recorder,
        metric_interval: metric_interval(&config),
        stop: Arc::clone(&stop),
    };
    let (ends, end) = mpsc::channel();
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot listen for signals")?;
    let signal_ends = ends.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in &mut signals {
            // Nobody listens once the stop has begun.
            let _ = signal_ends.send(End::Asked);
        }
    })?;
    let ring_ends = ends.clone();
    let ring = thread::Builder::new().name("ring".to_owned()).spawn(move || {
        ring.run();
        let _ = ring_ends.send(End::Ring);
    })?;
    hooks.enable().context("the kernel refuses to enable the hooks")?;

    say(&start_text(&config, &rows, &hooks));
    say("ready\n");
    let socket = std::env::var_os("NOTIFY_SOCKET");
    notify::notify(socket.as_deref(), "READY=1").context("cannot tell systemd that the daemon is ready")?;
    let running = gated.map(Gated::release).transpose().context("the command is gone")?;
    let command_pid = running.as_ref().map(child::Running::pid);
    if let Some(running) = running {
        thread::Builder::new().name("command".to_owned()).spawn(move || {
            let code = running.wait().map_or(1, child::exit_code);
            let _ = ends.send(End::Command(code));
        })?;
    }

    let mut code = wait(&end, command_pid);
    if let Err(error) = notify::notify(socket.as_deref(), "STOPPING=1") {
        tracing::debug!(%error, "Cannot tell systemd that the daemon stops");
    }
    if let Err(error) = hooks.disable() {
        // Then the hooks go before the ring is read to its end: what they submit meanwhile is not read.
        tracing::warn!(%error, "The kernel refuses to disable the hooks; removing them at once");
        hooks.detach();
    }
    stop.store(true, Ordering::Release);
    if ring.join().is_err() {
        tracing::error!("The ring thread panicked: what was open is lost");
        code = 1;
    }
    let report = exporter.shutdown(DRAIN, move || own_metrics.into_iter().for_each(HealthExport::shutdown));
    if report.spans + report.points > 0 {
        tracing::error!(
            spans = report.spans,
            metric_points = report.points,
            errors = report.errors.join("; "),
            "Not everything could be sent before the stop"
        );
    }
    say(&report::ledgers(&health));
    drop(discovery);
    hooks.detach();
    Ok(ExitCode::from(code))
}

/// The exit status of an error: 77 for a missing privilege, else 1.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(LoadError::Privilege(_)) => ExitCode::from(EXIT_PRIVILEGE),
        _ => ExitCode::FAILURE,
    }
}

/// Waits for the end and gives the exit code. A command is asked to end as well, and its own code counts.
fn wait(end: &mpsc::Receiver<End>, command: Option<rustix::process::Pid>) -> u8 {
    loop {
        match (end.recv(), command) {
            (Ok(End::Asked), Some(pid)) => {
                if let Err(error) = kill_process(pid, Signal::TERM) {
                    tracing::debug!(%error, "The command is gone already");
                }
            }
            (Ok(End::Asked), None) => return 0,
            (Ok(End::Command(code)), _) => return code,
            (Ok(End::Ring) | Err(mpsc::RecvError), _) => return 1,
        }
    }
}

fn loader_options(config: &Config) -> sidelight_loader::Options {
    let selectors = |list: &[Selector]| {
        list.iter()
            .map(|selector| match selector {
                Selector::Exe(pattern) => sidelight_loader::Selector::Exe(pattern.clone()),
                Selector::Pid(pid) => sidelight_loader::Selector::Pid(*pid),
                Selector::Port(port) => sidelight_loader::Selector::Port(*port),
                Selector::Tree(pid) => sidelight_loader::Selector::Tree(*pid),
            })
            .collect()
    };
    let Select { only, except } = &config.select;
    sidelight_loader::Options {
        attach: match config.attach {
            Attach::Auto => sidelight_loader::Attach::Auto,
            Attach::Socket => sidelight_loader::Attach::Socket,
            Attach::Syscall => sidelight_loader::Attach::Syscall,
        },
        ring_bytes: config.limits.ring,
        selection: sidelight_loader::Selection { only: selectors(only), except: selectors(except) },
    }
}

/// Follows processes and probes TLS libraries. Without it the rest works; its rows say what is missing.
fn discovery(hooks: &Hooks, rows: &mut Vec<Row>) -> (Option<Arc<Discovery>>, Option<mpsc::Receiver<News>>) {
    let (discovery, news) = match Discovery::start(hooks) {
        Ok(started) => started,
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::from(error));
            rows.push(Row { name: "new processes and libraries", state: State::Off, why });
            return (None, None);
        }
    };
    rows.push(Row { name: "new processes and libraries", state: State::On, why: "perf events".to_owned() });
    if let Err(why) = discovery.tls() {
        rows.push(Row { name: "TLS plaintext", state: State::Off, why: why.to_owned() });
    }
    for library in discovery.libraries() {
        let (state, why) = match library {
            Ok(library) => probed(&library),
            Err(why) => (State::Off, why),
        };
        rows.push(Row { name: "TLS plaintext", state, why });
    }
    (Some(Arc::new(discovery)), Some(news))
}

/// A probed library's part of the start-up table.
fn probed(library: &Library) -> (State, String) {
    let mut why = library.path.display().to_string();
    if library.how == How::Events {
        why += "; single probes, slow to remove (multi links: Linux 6.6)";
    }
    if !library.slow.is_empty() {
        why += &format!("; ten times slower than need be: {}", library.slow.join(", "));
    }
    for (function, reason) in &library.missing {
        why += &format!("; without {function}: {reason}");
    }
    let whole = library.slow.is_empty() && library.missing.is_empty();
    (if whole { State::On } else { State::Degraded }, why)
}

/// The stages of the one shard there is.
fn shard(config: &Config, host: Host, queue: Producer) -> anyhow::Result<Shard> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .context("the kernel gives no random bytes")?;
    let rules = HttpRules::new(&config.http.routes, config.http.known_methods.as_deref());
    let limits = Limits { connections: config.limits.connections, buffers: config.limits.buffers, ..Limits::default() };
    let sidelight_config::Database { query_text, returned_rows, server_side } = config.database;
    let databases = Databases { query_text, returned_rows, server_side };
    let spans = SpanBuilder::new(IdGenerator::new(seed), Arc::new(rules), databases);
    Ok(Shard::new(limits, spans, Identities::new(host, config.resource.clone()), Metrics::new(), queue))
}

/// Metrics are made only if they go somewhere.
fn metric_interval(config: &Config) -> Option<u64> {
    config.export.metrics.endpoint.as_ref()?;
    u64::try_from(config.export.metric_interval.as_nanos()).ok()
}

fn own_metrics(config: &Config, health: &Arc<Health>, exporter: &Handle) -> anyhow::Result<Option<HealthExport>> {
    let Some(sink) = exporter.own_metrics().filter(|_| config.export.health) else { return Ok(None) };
    let resource: Vec<(String, String)> =
        config.resource.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Some(health_export::start(health, config.export.metric_interval, &resource, sink)?))
}

/// What is on, what is off and why; what is watched; where telemetry goes.
fn start_text(config: &Config, rows: &[Row], hooks: &Hooks) -> String {
    let state = |state| match state {
        State::On => "on",
        State::Off => "off",
        State::Degraded => "degraded",
    };
    let mut lines: Vec<(String, &str, String)> =
        rows.iter().map(|row| (row.name.to_owned(), state(row.state), row.why.clone())).collect();
    let selectors = |list: &[Selector]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let only = if config.select.only.is_empty() { "everything".to_owned() } else { selectors(&config.select.only) };
    lines.push(("watched".to_owned(), "on", only));
    if let Ok(Some(pids)) = hooks.watched() {
        lines.push(("processes found".to_owned(), if pids.is_empty() { "none yet" } else { "on" }, processes(&pids)));
    }
    if !config.select.except.is_empty() {
        lines.push(("excepted".to_owned(), "on", selectors(&config.select.except)));
    }
    let spans = match (&config.export.output, &config.export.output_file, &config.export.traces.endpoint) {
        (OutputFormat::Otlp, _, Some(url)) => ("on", url.clone()),
        (OutputFormat::Otlp, _, None) => ("off", "no end point is configured".to_owned()),
        (OutputFormat::Console | OutputFormat::OtlpJson, Some(path), _) => ("on", path.display().to_string()),
        (OutputFormat::Console | OutputFormat::OtlpJson, None, _) => ("on", "this terminal or pipe".to_owned()),
    };
    lines.push(("spans".to_owned(), spans.0, spans.1));
    let metrics = match &config.export.metrics.endpoint {
        Some(url) => ("on", url.clone()),
        None => ("off", "no end point is configured (OTEL_EXPORTER_OTLP_ENDPOINT)".to_owned()),
    };
    lines.push(("metrics".to_owned(), metrics.0, metrics.1));
    let table = report::table(lines.iter().map(|(name, state, why)| (name.as_str(), *state, why.as_str())));
    format!("sidelight {}\n{table}", env!("CARGO_PKG_VERSION"))
}

/// Some of these processes by name.
fn processes(pids: &[u32]) -> String {
    const SHOWN: usize = 8;
    let facts = process::Proc::new();
    let name =
        |pid: &u32| facts.read(*pid).map_or_else(|| pid.to_string(), |process| format!("{} ({pid})", process.comm));
    let mut text = pids.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = pids.len().checked_sub(SHOWN) {
        text += &format!(" and {more} more");
    }
    text
}

/// To standard error; a closed one leaves nobody to tell.
fn say(text: &str) {
    let _ = io::Write::write_all(&mut io::stderr().lock(), text.as_bytes());
}
