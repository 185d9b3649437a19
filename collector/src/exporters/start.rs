//! Starts and stops the exporter.
//!
//! In: the configuration, [`Health`]. Out: the [`Producer`] for the ring thread and a [`Handle`], or an error
//! before anything runs. Stop: what was pushed is sent until the deadline; what is left is counted (`shutdown`) and reported.

use std::{
    io::{self, IsTerminal},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use sidelight_config::{Export, Limits, Otlp, OtlpProtocol, OutputFormat};
use tokio::{sync::watch, time::Instant};

use super::{
    connect::EndpointError,
    format::Format,
    intake::{self, Consumer, Cut, Last, Producer, Stop},
    otlp_grpc::OtlpGrpc,
    otlp_http::OtlpHttp,
    pending::{Payload, Pending},
    sender::{Backoff, Sender},
    signal::{Loss, Signal},
    task::Task,
    writer::{FileError, Writer},
};
use crate::telemetry::Health;

/// Kept back of the time to stop for the daemon's own last metrics.
const FOR_LAST: Duration = Duration::from_millis(500);

/// What is not the operator's business, except in tests.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Spans wait no longer than this for a payload to fill, unless `export.span_delay` is set.
    pub delay: Duration,
    /// A payload of spans is cut at this size.
    pub cut: usize,
    /// Between attempts.
    pub backoff: Backoff,
}

impl Settings {
    /// A second for OTLP, a tenth of it where a person watches.
    #[must_use]
    pub fn of(output: OutputFormat) -> Self {
        let delay = match output {
            OutputFormat::Otlp => Duration::from_secs(1),
            OutputFormat::Console | OutputFormat::OtlpJson => Duration::from_millis(100),
        };
        Self { delay, cut: 512 * 1024, backoff: Backoff::default() }
    }
}

/// Why the exporter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An end point is not usable.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The output file is not usable.
    #[error(transparent)]
    File(#[from] FileError),
    /// No thread or no runtime.
    #[error("cannot start the exporter's thread")]
    Thread(#[from] io::Error),
}

/// What could not be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Spans that were still queued at the deadline.
    pub spans: u64,
    /// Metric points that were still queued at the deadline.
    pub points: u64,
    /// The last errors of the destinations that were not reachable at the end.
    pub errors: Vec<String>,
}

/// The running exporter.
#[derive(Debug)]
pub struct Handle {
    stop: Stop,
    metrics: Option<Arc<Pending>>,
    report: mpsc::Receiver<Report>,
    thread: thread::JoinHandle<()>,
}

enum Link {
    Grpc(OtlpGrpc),
    Http(OtlpHttp),
    Writer(Writer),
}

struct Route {
    pending: Arc<Pending>,
    link: Link,
    destination: String,
    timeout: Duration,
}

/// Where `console` and `otlp-json` go when no file is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Standard error: standard output belongs to the command we started.
    Stderr,
    /// Standard output.
    Stdout,
}

/// Starts the exporter's thread.
///
/// # Errors
/// When an end point, a file or TLS is not usable as configured; nothing runs then.
pub fn start(
    (export, limits): (&Export, &Limits),
    console: Console,
    settings: Settings,
    health: &Arc<Health>,
) -> Result<(Producer, Handle), StartError> {
    let traces = match export.output {
        OutputFormat::Otlp => otlp(Signal::Traces, &export.traces, limits, health)?,
        OutputFormat::Console | OutputFormat::OtlpJson => Some(text(export, limits, console, health)?),
    };
    let metrics = otlp(Signal::Metrics, &export.metrics, limits, health)?;
    // Small enough that a snapshot of any size passes through its queue piece by piece.
    let piece = capacity(Signal::Metrics, limits) / 4;
    let color = export.output_file.is_none() && console.wants_color();
    let format = traces.is_some().then(|| Format::new(export.output, color));
    // So that one payload on the wire and three that wait fit into queue B, and one that is gathered and two that wait into queue A.
    let bytes = settings.cut.min(capacity(Signal::Traces, limits) / 4).min(limits.span_queue / 4);
    let cut = Cut { bytes, delay: export.span_delay.unwrap_or(settings.delay) };
    let (producer, intake) = intake::queue(limits.span_queue, format, cut, health);
    let queues = [&traces, &metrics].map(|route| route.as_ref().map(|route| Arc::clone(&route.pending)));
    let [_, own_metrics] = queues.clone();
    let task = Task::new((bytes, piece), queues, health);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .thread_stack_size(512 * 1024)
        .thread_name("export-blocking")
        .build()?;
    let (reports, report) = mpsc::sync_channel(1);
    let health = Arc::clone(health);
    let thread = thread::Builder::new().name("export".to_owned()).spawn(move || {
        let report = runtime.block_on(run(task, intake, [traces, metrics], settings.backoff, &health));
        // A write to a pipe nobody reads must not hold the daemon.
        runtime.shutdown_background();
        // Nobody waits for it when the handle was dropped.
        reports.send(report).unwrap_or_default();
    })?;
    let stop = producer.stop();
    Ok((producer, Handle { stop, metrics: own_metrics, report, thread }))
}

fn capacity(signal: Signal, limits: &Limits) -> usize {
    match signal {
        Signal::Metrics => limits.export_queue / 4,
        Signal::Traces => limits.export_queue - limits.export_queue / 4,
    }
}

fn otlp(signal: Signal, otlp: &Otlp, limits: &Limits, health: &Arc<Health>) -> Result<Option<Route>, EndpointError> {
    let Some(url) = &otlp.endpoint else { return Ok(None) };
    let link = match otlp.protocol {
        OtlpProtocol::Grpc => Link::Grpc(OtlpGrpc::new(url, signal, otlp)?),
        OtlpProtocol::HttpProtobuf => Link::Http(OtlpHttp::new(url, otlp)?),
    };
    let pending = Arc::new(Pending::new(signal, capacity(signal, limits), health));
    Ok(Some(Route { pending, link, destination: url.clone(), timeout: otlp.timeout }))
}

fn text(export: &Export, limits: &Limits, console: Console, health: &Arc<Health>) -> Result<Route, FileError> {
    let (writer, destination) = match (&export.output_file, console) {
        (Some(path), _) => (Writer::file(path)?, path.display().to_string()),
        (None, Console::Stderr) => (Writer::new(io::stderr()), "standard error".to_owned()),
        (None, Console::Stdout) => (Writer::new(io::stdout()), "standard output".to_owned()),
    };
    let pending = Arc::new(Pending::new(Signal::Traces, capacity(Signal::Traces, limits), health));
    // A slow reader is not an error: the queue's bound takes care of it.
    Ok(Route { pending, link: Link::Writer(writer), destination, timeout: Duration::MAX })
}

impl Console {
    /// A terminal, and not `NO_COLOR` (no-color.org).
    fn wants_color(self) -> bool {
        let terminal = match self {
            Self::Stderr => io::stderr().is_terminal(),
            Self::Stdout => io::stdout().is_terminal(),
        };
        terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

async fn run(
    mut task: Task,
    mut intake: Consumer,
    [traces, metrics]: [Option<Route>; 2],
    backoff: Backoff,
    health: &Health,
) -> Report {
    let (deadline_sender, deadline) = watch::channel(None);
    let queues = task.queues.clone();
    let traces = send(Signal::Traces, traces, backoff, &deadline);
    let metrics = send(Signal::Metrics, metrics, backoff, &deadline);
    let (mut traces, mut metrics) = (std::pin::pin!(traces), std::pin::pin!(metrics));
    let (mut traces_end, mut metrics_end) = (None, None);
    let (until, last) = loop {
        tokio::select! {
            end = task.run(&mut intake) => break end,
            error = &mut traces, if traces_end.is_none() => traces_end = Some(error),
            error = &mut metrics, if metrics_end.is_none() => metrics_end = Some(error),
        }
    };
    refuse_the_rest(&mut intake, health);
    deadline_sender.send_replace(Some(until));

    let [traces_queue, metrics_queue] = queues.each_ref().map(Option::as_ref);
    traces_queue.inspect(|queue| queue.close());
    let spans_until = until.checked_sub(FOR_LAST).map_or(until, |early| early.max(Instant::now()));
    let first = async {
        let mut pieces_end = false;
        while traces_end.is_none() || !pieces_end {
            tokio::select! {
                () = task.rest(), if !pieces_end => pieces_end = true,
                error = &mut traces, if traces_end.is_none() => traces_end = Some(error),
                error = &mut metrics, if metrics_end.is_none() => metrics_end = Some(error),
            }
        }
    };
    drop(tokio::time::timeout_at(spans_until, first).await);
    if let Some(last) = last {
        last();
    }
    metrics_queue.inspect(|queue| queue.close());
    let second = async {
        while traces_end.is_none() || metrics_end.is_none() {
            tokio::select! {
                error = &mut traces, if traces_end.is_none() => traces_end = Some(error),
                error = &mut metrics, if metrics_end.is_none() => metrics_end = Some(error),
            }
        }
    };
    drop(tokio::time::timeout_at(until, second).await);

    let report = Report {
        spans: Signal::Traces.queued(health),
        points: Signal::Metrics.queued(health),
        errors: [traces_end, metrics_end].into_iter().flatten().flatten().collect(),
    };
    task.abandon();
    for queue in [traces_queue, metrics_queue].into_iter().flatten() {
        queue.end(Loss::Shutdown, "not sent before the daemon stopped");
    }
    report
}

async fn send(
    signal: Signal,
    route: Option<Route>,
    backoff: Backoff,
    deadline: &watch::Receiver<Option<Instant>>,
) -> Option<String> {
    let Route { pending, link, destination, timeout } = route?;
    let sender = Sender { signal, destination, timeout, backoff, pending: &pending, deadline: deadline.clone() };
    match link {
        Link::Grpc(link) => sender.run(link).await,
        Link::Http(link) => sender.run(link).await,
        Link::Writer(link) => sender.run(link).await,
    }
}

/// What was pushed after the word to stop.
fn refuse_the_rest(intake: &mut Consumer, health: &Health) {
    for (signal, items) in intake.close() {
        signal.dropped(health, Loss::Shutdown, items, "built after the exporter was told to stop");
    }
}

impl Handle {
    /// Takes the daemon's own metrics, encoded, from any thread, if metrics go anywhere. They are in no ledger: they hold it.
    #[must_use]
    pub fn own_metrics(&self) -> Option<Arc<dyn Fn(Bytes) + Send + Sync>> {
        let pending = Arc::clone(self.metrics.as_ref()?);
        Some(Arc::new(move |body| pending.push(Payload { body, items: 0 })))
    }

    /// Sends what was pushed before, for at most `within`. `last` is called when the spans are through, or shortly before the
    /// deadline: it pushes the daemon's own last metrics.
    pub fn shutdown(self, within: Duration, last: impl FnOnce() + Send + 'static) -> Report {
        let Self { stop, metrics: _, report, thread } = self;
        stop.at(now() + within, Box::new(last) as Last);
        let report = report.recv().unwrap_or_default();
        // A panic of the thread was printed by the panic hook.
        drop(thread.join());
        report
    }
}

#[expect(clippy::disallowed_methods, reason = "the deadline of the shutdown")]
fn now() -> Instant {
    Instant::from_std(std::time::Instant::now())
}
