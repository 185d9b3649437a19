//! What the operator reads when the configuration is wrong. Each snapshot is a whole message.

use std::path::Path;

use sidelight_config::{Config, ConfigError, Flags, from_parts};

fn read(yaml: &str, env: &[(&str, &str)], flags: &Flags) -> Result<Config, ConfigError> {
    let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    from_parts(Path::new("sidelight.yaml"), yaml, flags, &lookup)
}

fn message(yaml: &str, env: &[(&str, &str)]) -> String {
    read(yaml, env, &Flags::default()).expect_err("a message").to_string()
}

#[test]
fn an_unknown_key_shows_its_place_and_the_names_expected() {
    insta::assert_snapshot!(message("select:\n  only: [pid:1]\nexport:\n  otpl:\n    endpoint: http://c\n", &[]));
}

#[test]
fn a_wrong_type_shows_its_place() {
    insta::assert_snapshot!(message("limits:\n  connections: many\n", &[]));
}

#[test]
fn a_word_where_true_or_false_belongs_shows_its_place() {
    insta::assert_snapshot!(message("export:\n  health: maybe # not sure\n", &[]));
}

#[test]
fn a_word_where_a_list_belongs_shows_its_place() {
    insta::assert_snapshot!(message("select:\n  only: pid:1\n", &[]));
}

#[test]
fn a_list_where_text_belongs_shows_its_place() {
    insta::assert_snapshot!(message("attach: [socket]\n", &[]));
}

#[test]
fn a_list_where_a_mapping_belongs_shows_its_place() {
    insta::assert_snapshot!(message("export:\n  - otlp\n", &[]));
}

#[test]
fn broken_yaml_shows_its_place() {
    insta::assert_snapshot!(message("select:\n  only: [pid:1\nattach: auto\n", &[]));
}

#[test]
fn a_key_given_twice_shows_its_place() {
    insta::assert_snapshot!(message("attach: auto\nattach: socket\n", &[]));
}

#[test]
fn all_wrong_values_are_told_in_one_run_each_with_its_place() {
    let yaml = "\
select:
  only: [pid:1, name:nginx]
  except:
    - unit:nginx.service
attach: kprobe
http:
  routes: [\"/users/{id}\", /a*b]
export:
  output: otlp
  output_file: spans.json
  metric_interval: 1 minute
  otlp:
    endpoint: collector:4318
    protocol: http/json
    client_key: key.pem
limits:
  ring: 5MiB
  buffers: 1KiB
  connections: 0
";
    insta::assert_snapshot!(message(yaml, &[]));
}

#[test]
fn wrong_variables_are_told_by_name_in_one_run() {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x,broken,x=%zz"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a b=c"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "c.pem"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,G T"),
    ];
    insta::assert_snapshot!(message("", &env));
}

#[test]
fn wrong_flags_are_told_by_name() {
    let flags = Flags {
        output: Some("json".to_owned()),
        only: vec!["nginx".to_owned()],
        attach: Some("ebpf".to_owned()),
        ..Flags::default()
    };
    insta::assert_snapshot!(read("", &[], &flags).unwrap_err().to_string());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let flags = Flags { config: Some("/nowhere/sidelight.yaml".into()), ..Flags::default() };
    insta::assert_snapshot!(sidelight_config::load(&flags, &|_| None).unwrap_err().to_string());
}
