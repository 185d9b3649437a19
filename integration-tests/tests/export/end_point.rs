//! Spans to an end point: answers, resets, silence, TLS.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sidelight::{
    exporters::{self, Console, Loss, Report, Settings},
    telemetry::{Health, Metric},
};
use sidelight_config::{Compression, Otlp, OutputFormat};
use sidelight_integration_tests::{
    otlp_sink::{Protocol, Reply, Sink, Tls},
    peers::free_port,
    wait_for,
};

use crate::rig::{BOTH, Exporter, Setup, ids, set, span};

#[test]
fn spans_arrive_once_over_one_connection_with_headers_and_compression() {
    for protocol in BOTH {
        for compression in [Compression::Gzip, Compression::None] {
            let sink = Sink::start(protocol);
            let mut setup = Setup::of(&sink, protocol);
            setup.export.traces.compression = compression;
            setup.export.traces.headers = vec![("x-tenant".to_owned(), "blue".to_owned())];
            let exporter = setup.start();
            for round in 0..5 {
                assert!(exporter.push(round * 10 + 1..round * 10 + 11));
                sink.wait("a request", |sink| sink.spans().len() as u64 == (round + 1) * 10);
            }
            let (health, report) = exporter.stop();
            assert_eq!(ids(&sink), set(1..51));
            assert_eq!(health.load(Metric::SpansExported), 50);
            assert_eq!(report, Report::default());
            for request in sink.requests() {
                assert_eq!(request.header("x-tenant"), "blue");
                assert!(request.header("user-agent").starts_with("sidelight/"), "{:?}", request.headers);
                let encoding = match protocol {
                    Protocol::Grpc => request.header("grpc-encoding"),
                    Protocol::Http => request.header("content-encoding"),
                };
                assert_eq!(encoding, if compression == Compression::Gzip { "gzip" } else { "" });
                if protocol == Protocol::Grpc && compression == Compression::Gzip {
                    // Go servers answer with the encoding of the request, announced or not
                    assert!(request.header("grpc-accept-encoding").contains("gzip"), "{:?}", request.headers);
                }
            }
            let connections: BTreeSet<_> = sink.requests().iter().map(|request| request.from).collect();
            assert_eq!(connections.len(), 1, "{connections:?}");
        }
    }
}

#[test]
fn an_end_point_that_does_not_listen_yet_gets_everything_later() {
    for protocol in BOTH {
        let port = free_port();
        let exporter = Setup::new(protocol, &format!("http://127.0.0.1:{port}/v1/traces"), None).start();
        exporter.push(1..101);
        wait_for("the first payload to be encoded", Duration::from_secs(10), || {
            (exporter.health.load(Metric::QueueTraces) > 0).then_some(())
        });
        assert_eq!(exporter.health.load(Metric::SpansQueued), 100);
        let sink = Sink::start_on(protocol, port, None);
        sink.wait("the spans", |sink| sink.spans().len() == 100);
        let (health, _) = exporter.stop();
        assert_eq!(ids(&sink), set(1..101));
        assert_eq!(health.load(Metric::SpansExported), 100);
    }
}

#[test]
fn an_end_point_that_went_away_and_came_back_gets_everything() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..11);
        sink.wait("the first spans", |sink| sink.spans().len() == 10);
        let (port, first) = (sink.address.port(), ids(&sink));
        drop(sink);
        exporter.push(11..21);
        wait_for("the second payload to be encoded", Duration::from_secs(10), || {
            (exporter.health.load(Metric::QueueTraces) > 0).then_some(())
        });
        let sink = Sink::start_on(protocol, port, None);
        sink.wait("the second spans", |sink| sink.spans().len() == 10);
        exporter.stop();
        assert_eq!((first, ids(&sink)), (set(1..11), set(11..21)));
    }
}

#[test]
fn a_busy_end_point_is_asked_again_when_it_said() {
    let later = || vec![("retry-after", "1".to_owned())];
    let cases = [
        (Protocol::Http, Reply::Answer(503, later(), "busy"), 1000),
        (Protocol::Http, Reply::Answer(429, later(), "slow down"), 1000),
        (Protocol::Http, Reply::Answer(502, Vec::new(), ""), 0),
        (Protocol::Http, Reply::Answer(504, Vec::new(), ""), 0),
        (Protocol::Grpc, Reply::Fail(tonic::Code::Unavailable, "busy", Some(Duration::from_millis(400))), 400),
        (Protocol::Grpc, Reply::Fail(tonic::Code::ResourceExhausted, "slow", Some(Duration::from_millis(400))), 400),
        (Protocol::Grpc, Reply::Fail(tonic::Code::Cancelled, "", None), 0),
        (Protocol::Grpc, Reply::Fail(tonic::Code::DataLoss, "", None), 0),
    ];
    for (protocol, reply, least) in cases {
        let sink = Sink::start(protocol);
        sink.script([reply.clone()]);
        let exporter = Setup::of(&sink, protocol).start();
        let started = std::time::Instant::now();
        exporter.push(1..11);
        sink.wait("the spans", |sink| sink.spans().len() == 10);
        assert!(started.elapsed() >= Duration::from_millis(least), "{reply:?}: after {:?}", started.elapsed());
        let (health, _) = exporter.stop();
        assert_eq!(ids(&sink), set(1..11), "{reply:?}");
        assert_eq!(sink.begun(), 2, "{reply:?}: refused once, then taken");
        assert_eq!(health.load(Metric::SpansExported), 10);
    }
}

#[test]
fn an_end_point_that_does_not_answer_in_time_is_asked_again() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        sink.script([Reply::Hang, Reply::Hang]);
        let mut setup = Setup::of(&sink, protocol);
        setup.export.traces.timeout = Duration::from_millis(200);
        let exporter = setup.start();
        exporter.push(1..11);
        sink.wait("the spans", |sink| sink.spans().len() == 10);
        exporter.stop();
        assert_eq!(ids(&sink), set(1..11));
        assert_eq!(sink.begun(), 3);
    }
}

#[test]
fn a_connection_reset_in_mid_body_is_made_anew_and_loses_nothing() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        sink.script([Reply::Reset, Reply::Accept, Reply::Reset, Reply::Reset]);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..301);
        sink.wait("the first spans", |sink| sink.spans().len() == 300);
        exporter.push(301..601);
        sink.wait("the second spans", |sink| sink.spans().len() == 600);
        let (health, _) = exporter.stop();
        assert_eq!(ids(&sink), set(1..601));
        assert_eq!(health.load(Metric::SpansExported), 600);
    }
}

#[test]
fn partial_success_counts_what_was_rejected() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        sink.script([Reply::Partial(3, "too old"), Reply::Partial(0, "only a warning")]);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..11);
        sink.wait("the first request", |sink| sink.spans().len() == 7);
        exporter.push(11..21);
        sink.wait("the second request", |sink| sink.spans().len() == 17);
        let (health, _) = exporter.stop();
        assert_eq!(health.load(Metric::SpansRejected), 3);
        assert_eq!(health.load(Metric::SpansExported), ids(&sink).len() as u64);
        assert_eq!(sink.begun(), 2, "partial success is not repeated");
    }
}

#[test]
fn what_an_end_point_refuses_for_good_is_counted_and_not_repeated() {
    let cases = [
        (Protocol::Http, Reply::Answer(400, Vec::new(), "bad span")),
        (Protocol::Http, Reply::Answer(401, Vec::new(), "who are you")),
        (Protocol::Http, Reply::Answer(500, Vec::new(), "")),
        (Protocol::Grpc, Reply::Fail(tonic::Code::InvalidArgument, "bad span", None)),
        (Protocol::Grpc, Reply::Fail(tonic::Code::ResourceExhausted, "no RetryInfo", None)),
        (Protocol::Grpc, Reply::Fail(tonic::Code::Unimplemented, "", None)),
    ];
    for (protocol, reply) in cases {
        let sink = Sink::start(protocol);
        sink.script([reply.clone()]);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..11);
        wait_for("the refusal", Duration::from_secs(10), || (exporter.lost(Loss::Refused) == 10).then_some(()));
        exporter.push(11..21);
        sink.wait("the second request", |sink| sink.spans().len() == 10);
        let (health, report) = exporter.stop();
        assert_eq!(ids(&sink), set(11..21), "{reply:?}");
        assert_eq!((health.load(Metric::SpansExported), report.spans), (10, 0));
        assert_eq!(sink.begun(), 2, "{reply:?}");
    }
}

#[test]
fn over_the_bound_the_oldest_are_dropped_and_every_span_is_accounted_for() {
    for protocol in BOTH {
        let port = free_port();
        let mut setup = Setup::new(protocol, &format!("http://127.0.0.1:{port}/v1/traces"), None);
        setup.limits.export_queue = 64 * 1024;
        setup.limits.span_queue = 256 * 1024;
        let exporter = setup.start();
        let mut refused = BTreeSet::new();
        for round in 0..200 {
            let batch = round * 50 + 1..round * 50 + 51;
            if !exporter.push(batch.clone()) {
                refused.extend(batch);
            }
        }
        wait_for("queue A to be empty", Duration::from_secs(20), || {
            (exporter.health.load(Metric::QueueIntake) == 0).then_some(())
        });
        assert!(exporter.health.load(Metric::QueueTraces) <= 48 * 1024);
        let (dropped, queued) = (exporter.dropped(), exporter.health.load(Metric::SpansQueued));
        assert_eq!(exporter.health.load(Metric::SpansBuilt), 10_000);
        assert_eq!((exporter.exported(), dropped), (0, exporter.lost(Loss::QueueFull)));
        assert_eq!(dropped + queued, 10_000);
        let sink = Sink::start_on(protocol, port, None);
        sink.wait("what was kept", |sink| sink.spans().len() as u64 == queued);
        let (health, _) = exporter.stop();
        let got = ids(&sink);
        assert_eq!(got.len() as u64, health.load(Metric::SpansExported));
        let kept = (1..10_001).filter(|id| !refused.contains(id)).collect::<Vec<_>>();
        let newest = kept[kept.len() - got.len()..].iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(got, newest, "the newest of those queue A took");
    }
}

#[test]
fn a_stop_with_the_end_point_down_says_what_was_not_sent_and_why() {
    for protocol in BOTH {
        let port = free_port();
        let exporter = Setup::new(protocol, &format!("http://127.0.0.1:{port}/v1/traces"), None).start();
        exporter.push(1..31);
        let (health, report) = exporter.stop();
        assert_eq!((report.spans, health.load(Metric::SpansShutdown)), (30, 30));
        let error = report.errors.first().expect("an error");
        assert!(error.contains("cannot connect to 127.0.0.1"), "{error}");
    }
}

#[test]
fn what_is_pushed_after_the_stop_is_counted() {
    let sink = Sink::start(Protocol::Http);
    let Exporter { producer, handle, health, .. } = Setup::of(&sink, Protocol::Http).start();
    assert_eq!(handle.shutdown(Duration::from_secs(5), || ()), Report::default());
    let mut producer = producer.into_inner();
    producer.span(&span(1));
    assert!(!producer.flush());
    assert_eq!((health.load(Metric::SpansBuilt), health.load(Metric::SpansShutdown)), (1, 1));
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    for protocol in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::new(dir.path());
        let sink = Sink::start_tls(protocol, &tls);
        let mut setup = Setup::of(&sink, protocol);
        setup.export.traces.certificate = Some(tls.authority);
        let exporter = setup.start();
        exporter.push(1..11);
        sink.wait("the spans", |sink| sink.spans().len() == 10);
        exporter.stop();
        assert_eq!(ids(&sink), set(1..11));
    }
}

#[test]
fn an_authority_we_do_not_trust_is_told_with_what_to_do() {
    for protocol in BOTH {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sink = Sink::start_tls(protocol, &Tls::new(dir.path()));
        let mut setup = Setup::of(&sink, protocol);
        setup.export.traces.certificate = Some(Tls::new(other.path()).authority);
        let exporter = setup.start();
        exporter.push(1..11);
        let (health, report) = exporter.stop();
        assert_eq!((sink.begun(), health.load(Metric::SpansShutdown)), (0, 10));
        let error = report.errors.join("\n");
        assert!(error.contains("set OTEL_EXPORTER_OTLP_CERTIFICATE to the PEM file of that authority"), "{error}");
    }
}

#[test]
fn tls_to_a_port_without_tls_is_told() {
    let sink = Sink::start(Protocol::Http);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("https://localhost:{}/v1/traces", sink.address.port());
    let mut setup = Setup::new(Protocol::Http, &url, None);
    setup.export.traces.certificate = Some(Tls::new(dir.path()).authority);
    let exporter = setup.start();
    exporter.push(1..2);
    let (_, report) = exporter.stop();
    let error = report.errors.join("\n");
    assert!(error.contains("does not speak TLS on this port; use http://"), "{error}");
}

#[test]
fn bad_end_points_are_refused_at_start() {
    let start = |change: fn(&mut Otlp)| {
        let mut setup = Setup::new(Protocol::Http, "https://127.0.0.1:4318/v1/traces", None);
        change(&mut setup.export.traces);
        let health = Arc::new(Health::default());
        let settings = Settings::of(OutputFormat::Otlp);
        let config = (&setup.export, &setup.limits);
        let error = exporters::start(config, Console::Stdout, settings, &health).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    };
    let errors = [
        start(|otlp| otlp.endpoint = Some("ftp://there".to_owned())),
        start(|otlp| otlp.certificate = Some("/no/such.pem".into())),
        start(|otlp| otlp.headers = vec![("a b".to_owned(), "c".to_owned())]),
    ];
    assert!(errors[0].contains("\"ftp://there\" is not a URL; expected http://HOST:PORT"), "{}", errors[0]);
    assert!(errors[1].contains("certificate authorities from /no/such.pem"), "{}", errors[1]);
    assert!(errors[2].contains("header \"a b\""), "{}", errors[2]);
}
