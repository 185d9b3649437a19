//! File, environment and flags: which value wins and what it becomes.

use std::{path::Path, time::Duration};

use proptest::prelude::*;
use sidelight_config::{
    Attach, Compression, Config, Flags, OtlpProtocol, OutputFormat, Selector, from_parts, load, schema, to_yaml,
};

fn read(yaml: &str, env: &[(&str, &str)], flags: &Flags) -> Config {
    let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    match from_parts(Path::new("sidelight.yaml"), yaml, flags, &lookup) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

fn env(vars: &[(&str, &str)]) -> Config {
    read("", vars, &Flags::default())
}

fn yaml(text: &str) -> Config {
    read(text, &[], &Flags::default())
}

#[test]
fn nothing_at_all_watches_everything_and_prints_to_the_console() {
    for text in ["", "\n# only a comment\n", "---\n", "select:\nexport:\n  otlp:\n"] {
        let config = yaml(text);
        assert!(config.select.only.is_empty() && config.select.except.is_empty());
        assert_eq!((config.attach, config.export.output), (Attach::Auto, OutputFormat::Console));
        assert_eq!((config.export.traces.endpoint, config.export.metrics.endpoint), (None, None));
        assert_eq!(config.limits.ring, 4 << 20);
        assert!(config.export.health);
    }
}

#[test]
fn a_general_end_point_gets_the_signal_path_and_an_own_one_does_not() {
    let export = env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/")]).export;
    assert_eq!(export.output, OutputFormat::Otlp);
    assert_eq!(export.traces.endpoint.as_deref(), Some("http://c:4318/base/v1/traces"));
    assert_eq!(export.metrics.endpoint.as_deref(), Some("http://c:4318/base/v1/metrics"));
    let export = env(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m/x"),
    ])
    .export;
    assert_eq!(export.traces.endpoint.as_deref(), Some("https://t/"));
    assert_eq!(export.metrics.endpoint.as_deref(), Some("http://m/x"));
}

#[test]
fn grpc_end_points_have_no_path_and_insecure_decides_where_the_scheme_is_missing() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let endpoint = |vars: &[(&str, &str)]| env(vars).export.traces.endpoint;
    assert_eq!(endpoint(&[grpc, ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")]).as_deref(), Some("https://c:4317"));
    let insecure = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true");
    assert_eq!(
        endpoint(&[grpc, insecure, ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")]).as_deref(),
        Some("http://c:4317")
    );
    let defaults = read("", &[grpc], &Flags { output: Some("otlp".to_owned()), ..Flags::default() }).export;
    assert_eq!(defaults.traces.endpoint.as_deref(), Some("http://localhost:4317"));
}

#[test]
fn output_otlp_without_an_end_point_uses_the_default_one() {
    let export = read("", &[], &Flags { output: Some("otlp".to_owned()), ..Flags::default() }).export;
    assert_eq!(export.traces.endpoint.as_deref(), Some("http://localhost:4318/v1/traces"));
    assert_eq!(export.metrics.endpoint.as_deref(), Some("http://localhost:4318/v1/metrics"));
}

#[test]
fn each_signal_has_its_own_settings_over_the_general_ones() {
    let export = env(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20a%2Cb, x-tenant=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-tenant=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "c.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "k.pem"),
    ])
    .export;
    let pairs =
        |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    assert_eq!(export.traces.headers, pairs(&[("authorization", "Bearer a,b"), ("x-tenant", "1")]));
    assert_eq!(export.metrics.headers, pairs(&[("x-tenant", "2")]));
    assert_eq!(
        (export.traces.timeout, export.metrics.timeout),
        (Duration::from_millis(500), Duration::from_millis(2500))
    );
    assert_eq!((export.traces.compression, export.metrics.compression), (Compression::Gzip, Compression::None));
    assert_eq!((export.traces.protocol, export.metrics.protocol), (OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc));
    assert_eq!(export.metrics.endpoint.as_deref(), Some("http://c:4317"));
    assert_eq!(export.metrics.certificate.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(export.traces.client_key.as_deref(), Some(Path::new("k.pem")));
    assert_eq!(export.metrics.client_key, None);
}

#[test]
fn databases_are_told_of_whole_but_for_their_row_counts_unless_the_file_says_otherwise() {
    let of = |text: &str| {
        let database = yaml(text).database;
        (database.query_text, database.returned_rows, database.server_side)
    };
    assert_eq!(of(""), (true, false, true));
    assert_eq!(of("database:"), (true, false, true));
    assert_eq!(of("database: { query_text: false }"), (false, false, true));
    assert_eq!(of("database: { returned_rows: true, server_side: false }"), (true, true, false));
    let config = yaml("database: { query_text: false, returned_rows: true, server_side: false }");
    assert_eq!(yaml(&to_yaml(&config).unwrap()).database, config.database);
}

#[test]
fn environment_is_over_the_file_and_flags_are_over_both() {
    let text = "attach: syscall\nselect:\n  only: [pid:1]\n  except: [port:22]\nexport:\n  output: console\n  metric_interval: 5s\nresource:\n  a: file\n  b: file\nservice_name: file\n";
    let vars = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
        ("OTEL_BSP_SCHEDULE_DELAY", "250"),
        ("OTEL_RESOURCE_ATTRIBUTES", "b=env%20b,c=env"),
        ("OTEL_SERVICE_NAME", "env"),
    ];
    let config = read(text, &vars, &Flags::default());
    assert_eq!(config.export.output, OutputFormat::Otlp);
    assert_eq!(config.export.metric_interval, Duration::from_millis(1500));
    assert_eq!(config.export.span_delay, Some(Duration::from_millis(250)));
    let resource: Vec<_> = config.resource.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(resource, [("a", "file"), ("b", "env b"), ("c", "env")]);
    assert_eq!(config.service_name.as_deref(), Some("env"));
    let flags = Flags {
        output: Some("otlp-json".to_owned()),
        output_file: Some("/tmp/spans".into()),
        only: vec!["tree:7".to_owned(), "exe:nginx".to_owned()],
        attach: Some("socket".to_owned()),
        ..Flags::default()
    };
    let config = read(text, &vars, &flags);
    assert_eq!((config.attach, config.export.output), (Attach::Socket, OutputFormat::OtlpJson));
    assert_eq!(config.export.output_file.as_deref(), Some(Path::new("/tmp/spans")));
    assert_eq!(config.select.only, [Selector::Tree(7), Selector::Exe("nginx".to_owned())]);
    assert_eq!(config.select.except, [Selector::Port(22)]);
}

#[test]
fn empty_variables_count_as_unset() {
    let names = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_TRACES_EXPORTER",
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "SIDELIGHT_CONFIG",
    ];
    let config = load(&Flags::default(), &|name| names.contains(&name).then(String::new)).unwrap();
    assert_eq!(config, yaml(""));
}

#[test]
fn exporters_named_none_keep_their_signal_in() {
    let vars = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_TRACES_EXPORTER", "none")];
    let export = env(&vars).export;
    assert_eq!(
        (export.output, export.traces.endpoint.is_some(), export.metrics.endpoint.is_some()),
        (OutputFormat::Otlp, false, true)
    );
    let export = env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_METRICS_EXPORTER", "none")]).export;
    assert_eq!((export.traces.endpoint.is_some(), export.metrics.endpoint.is_some()), (true, false));
}

#[test]
fn a_disabled_sdk_turns_off_the_health_of_the_daemon_and_nothing_else() {
    let config = env(&[("OTEL_SDK_DISABLED", "true")]);
    assert!(!config.export.health);
    assert_eq!(
        Config { export: sidelight_config::Export { health: true, ..config.export.clone() }, ..config },
        yaml("")
    );
}

#[test]
fn service_name_among_the_resource_attributes_is_the_daemons_and_the_variable_wins() {
    let config = env(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,x=y")]);
    assert_eq!((config.service_name.as_deref(), config.resource.len()), (Some("a"), 1));
    let config = env(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"), ("OTEL_SERVICE_NAME", "b")]);
    assert_eq!(config.service_name.as_deref(), Some("b"));
}

#[test]
fn the_file_is_found_by_flag_or_variable() {
    let dir = tempfile::tempdir().unwrap();
    let (by_flag, by_variable) = (dir.path().join("flag.yaml"), dir.path().join("variable.yaml"));
    std::fs::write(&by_flag, "attach: socket\n").unwrap();
    std::fs::write(&by_variable, "attach: syscall\n").unwrap();
    let env = |name: &str| (name == "SIDELIGHT_CONFIG").then(|| by_variable.display().to_string());
    assert_eq!(load(&Flags::default(), &env).unwrap().attach, Attach::Syscall);
    assert_eq!(load(&Flags { config: Some(by_flag), ..Flags::default() }, &env).unwrap().attach, Attach::Socket);
}

const EXAMPLE: &str = include_str!("../../deploy/config.example.yaml");

#[test]
fn the_shipped_example_is_valid_and_every_key_of_the_schema_stands_in_it() {
    let config = yaml(EXAMPLE);
    assert_eq!(config.export.output, OutputFormat::Otlp);
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for key in sections.filter_map(|section| section["properties"].as_object()).flat_map(|properties| properties.keys())
    {
        assert!(EXAMPLE.contains(&format!("{key}:")), "{key} is not in deploy/config.example.yaml");
    }
}

#[test]
fn the_printed_configuration_loads_again_with_headers_masked() {
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret");
    let config = read(EXAMPLE, &[secret], &Flags { output: Some("otlp".to_owned()), ..Flags::default() });
    let printed = to_yaml(&config).unwrap();
    assert!(!printed.contains("secret") && printed.contains("authorization"), "{printed}");
    let again = yaml(&printed);
    assert_eq!(to_yaml(&again).unwrap(), printed);
    let masked = |mut config: Config| {
        for otlp in [&mut config.export.traces, &mut config.export.metrics] {
            otlp.headers.iter_mut().for_each(|(_, value)| *value = "***".to_owned());
        }
        config
    };
    assert_eq!(again, masked(config));
}

#[test]
fn the_printed_defaults_load_again() {
    let config = yaml("");
    assert_eq!(yaml(&to_yaml(&config).unwrap()), config);
}

#[test]
fn the_schema_is_committed_as_it_is_printed() {
    insta::assert_snapshot!(schema());
}

/// Text that is often nearly right: lines of the example, keys, punctuation and anything else.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => proptest::sample::select(EXAMPLE.lines().collect::<Vec<_>>()).prop_map(str::to_owned),
        1 => "[ \\-]{0,4}[a-z_]{1,12}: ?[\\PC]{0,12}",
        1 => "[\\[\\]{}:,&*!|>'\"%@`#? \\-\t]{0,8}",
        1 => "\\PC{0,16}",
    ];
    proptest::collection::vec(line, 0..24).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn arbitrary_text_gives_a_configuration_or_a_message(text in nearly_yaml()) {
        if let Err(error) = from_parts(Path::new("f.yaml"), &text, &Flags::default(), &|_| None) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_variables_give_a_configuration_or_a_message(
        name in proptest::sample::select(vec!["ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE"]),
        value in "\\PC{0,40}|[a-z:/\\[\\]@?#%=,0-9.]{0,40}",
    ) {
        let full = format!("OTEL_EXPORTER_OTLP_{name}");
        if let Err(error) = from_parts(Path::new("f.yaml"), "", &Flags::default(), &|n| (n == full).then(|| value.clone())) {
            prop_assert!(error.to_string().contains(&full));
        }
    }

    #[test]
    fn arbitrary_selectors_are_written_as_they_were_read(text in "(pid|tree|port|exe|x)?:?\\PC{0,12}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }
}
