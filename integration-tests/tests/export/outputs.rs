//! Metrics, the daemon's own health, files.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use sidelight::{
    exporters::{Loss, Report, Signal},
    metrics::{Metrics, Snapshot},
    model::{Instance, Resource, UnixTime},
    telemetry::Metric,
};
use sidelight_integration_tests::{
    otlp_sink::{Protocol, Sink},
    peers::free_port,
    wait_for,
};
use sidelight_protocol_parsers::{Details, Http};

use crate::rig::{BOTH, Exporter, Setup, ids, set, span};

/// 3,000 series: 500 status codes of six instances.
fn snapshot() -> Snapshot {
    let mut metrics = Metrics::new();
    for key in 0..6 {
        let attributes = vec![("service.instance.id".to_owned(), key.to_string())];
        let (service_name, instance_id) = ("shop".to_owned(), key.to_string());
        let instance = Arc::new(Instance { service_name, instance_id, key, attributes });
        for status in 100..600 {
            let mut span = span(1);
            span.resource = Arc::new(Resource { instance: Arc::clone(&instance), pid: 1, attributes: Vec::new() });
            span.exchange.details = Details::Http(Http { status: Some(status), ..Http::default() });
            metrics.record(&span);
        }
    }
    metrics.snapshot(UnixTime(2))
}

/// How many points the end point accepted.
fn points(sink: &Sink) -> usize {
    let requests = sink.metrics();
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    let metrics = resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics);
    let points = metrics.map(|metric| match metric.data.as_ref().unwrap() {
        Data::Histogram(histogram) => histogram.data_points.len(),
        other => panic!("{other:?}"),
    });
    points.sum()
}

#[test]
fn a_metric_snapshot_larger_than_its_queue_passes_piece_by_piece() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        let mut setup = Setup::new(protocol, &sink.url("traces"), Some(sink.url("metrics")));
        setup.limits.export_queue = 256 * 1024;
        let exporter = setup.start();
        assert!(exporter.producer.borrow().metrics(snapshot()));
        exporter.push(1..2);
        let (health, report) = exporter.stop();
        assert_eq!((points(&sink), report), (3000, Report::default()));
        assert_eq!((health.load(Metric::PointsBuilt), health.load(Metric::PointsExported)), (3000, 3000));
        assert_eq!(ids(&sink), set(1..2));
        assert!(sink.metrics().len() > 20, "{} requests", sink.metrics().len());
    }
}

#[test]
fn a_newer_metric_snapshot_supersedes_what_is_left_of_the_last_one() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/v1");
    let mut setup = Setup::new(Protocol::Http, &format!("{url}/traces"), Some(format!("{url}/metrics")));
    setup.limits.export_queue = 256 * 1024;
    let exporter = setup.start();
    for _ in 0..2 {
        assert!(exporter.producer.borrow().metrics(snapshot()));
        wait_for("the queue to fill", Duration::from_secs(10), || {
            (exporter.health.load(Metric::QueueMetrics) > 32 * 1024).then_some(())
        });
    }
    let sink = Sink::start_on(Protocol::Http, port, None);
    let (health, _) = exporter.stop();
    let (accepted, dropped) = (points(&sink) as u64, health.load(Metric::PointsQueueFull));
    assert_eq!((accepted, accepted + dropped), (health.load(Metric::PointsExported), 6000));
    assert!((3000..6000).contains(&accepted), "{accepted}: the whole second snapshot and what was left of the first");
    assert_eq!(health.load(Metric::PointsQueued), 0);
}

#[test]
fn the_daemons_own_health_takes_the_configured_way() {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        let exporter = Setup::new(protocol, &sink.url("traces"), Some(sink.url("metrics"))).start();
        let to = exporter.handle.own_metrics().unwrap();
        let resource = [("host.name".to_owned(), "node".to_owned())];
        let health = Arc::clone(&exporter.health);
        let own = sidelight::telemetry::health_export::start(&health, Duration::from_secs(60), &resource, to).unwrap();
        health.store(Metric::EventsRingFull, 5);
        exporter.push(1..11);
        let Exporter { handle, .. } = exporter;
        let report = handle.shutdown(Duration::from_secs(5), move || own.shutdown());
        assert_eq!(report, Report::default());
        let metrics = sink.metrics().pop().expect("the last metrics");
        let resource = &metrics.resource_metrics[0];
        let names = resource.resource.as_ref().unwrap().attributes.iter().map(|pair| pair.key.as_str());
        assert_eq!(set_of(names), set_of(["host.name", "service.name", "service.version"]));
        let metric = |name: &str| {
            let all = &resource.scope_metrics[0].metrics;
            let metric = all.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is missing"));
            let points = match metric.data.as_ref().unwrap() {
                Data::Sum(sum) => &sum.data_points,
                Data::Gauge(gauge) => &gauge.data_points,
                other => panic!("{other:?}"),
            };
            points.iter().map(|point| (point.attributes.len(), point.value.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(metric("sidelight.spans.exported"), [(0, Value::AsInt(10))], "after the spans are through");
        assert!(metric("sidelight.events.lost").contains(&(1, Value::AsInt(5))));
        assert_eq!(metric("sidelight.spans.dropped").len(), Loss::ALL.len());
        assert!(metric("otel.sdk.exporter.span.exported").contains(&(0, Value::AsInt(10))));
        assert!(matches!(metric("process.memory.usage")[..], [(0, Value::AsInt(bytes))] if bytes > 1 << 20));
        assert!(matches!(metric("process.cpu.time")[..], [(0, Value::AsDouble(seconds))] if seconds > 0.0));
    }
}

fn set_of<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

#[test]
fn a_file_gets_every_line_and_a_full_disk_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spans.json");
    let exporter = Setup::file(&path).start();
    exporter.push(1..11);
    let (health, _) = exporter.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("\"spanId\"").count(), 10);
    assert_eq!(health.load(Metric::SpansExported), 10);

    let exporter = Setup::file(Path::new("/dev/full")).start();
    exporter.push(1..11);
    let (health, _) = exporter.stop();
    assert_eq!(health.load(Metric::SpansRefused), 10);
}

/// A named pipe of one page with a reader.
fn pipe(dir: &Path) -> (std::path::PathBuf, std::fs::File) {
    let path = dir.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    // Reading and writing: opening it for reading alone would wait for a writer.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    (path, reader)
}

#[test]
fn a_reader_that_went_away_ends_the_output_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let (path, reader) = pipe(dir.path());
    let exporter = Setup::file(&path).start();
    drop(reader);
    exporter.push(1..11);
    wait_for("the end of the output", Duration::from_secs(10), || {
        (exporter.lost(Loss::OutputClosed) == 10).then_some(())
    });
    exporter.push(11..21);
    let (health, report) = exporter.stop();
    assert_eq!((health.load(Metric::SpansOutputClosed), report), (20, Report::default()));
}

#[test]
fn a_reader_that_sleeps_holds_neither_the_ring_thread_nor_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _reader) = pipe(dir.path());
    let mut setup = Setup::file(&path);
    setup.limits.export_queue = 64 * 1024;
    let exporter = setup.start();
    for round in 0..200 {
        exporter.push(round * 50..round * 50 + 50);
    }
    let started = std::time::Instant::now();
    let Exporter { handle, health, .. } = exporter;
    let report = handle.shutdown(Duration::from_secs(1), || ());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(report.spans > 0, "{report:?}");
    let dropped: u64 = Loss::ALL.iter().map(|why| health.load(Signal::Traces.lost(*why))).sum();
    assert_eq!(health.load(Metric::SpansBuilt), health.load(Metric::SpansExported) + dropped);
}
