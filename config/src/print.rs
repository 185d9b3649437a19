//! `config print` and `config schema`: the effective configuration as YAML that loads again, and the schema of the file.

use std::collections::BTreeMap;

use crate::{
    Attach, Compression, Config, ConfigError, Database, Export, Http, Limits, Otlp, OtlpProtocol, OutputFormat, Select,
    Selector,
    layer::{At, DatabaseLayer, ExportLayer, HttpLayer, Layer, LimitsLayer, OtlpLayer, SelectLayer, SignalLayer},
    quantity::{duration_text, size_text},
};

/// What stands for the value of a header: header values are credentials more often than not.
const MASK: &str = "***";

/// The effective configuration; values of headers are masked.
pub fn to_yaml(config: &Config) -> Result<String, ConfigError> {
    serde_saphyr::to_string(&layer(config)).map_err(|error| ConfigError::Syntax(error.to_string()))
}

/// JSON Schema of the configuration file.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Layer);
    format!("{:#}\n", schema.as_value())
}

fn text(value: impl Into<String>) -> Option<At<String>> {
    Some(At::nowhere(value.into()))
}

fn list<T>(values: &[T], to_text: impl Fn(&T) -> String) -> Option<Vec<At<String>>> {
    Some(values.iter().map(|value| At::nowhere(to_text(value))).collect())
}

fn layer(config: &Config) -> Layer {
    let Config {
        select: Select { only, except },
        attach,
        http: Http { routes, known_methods },
        database: Database { query_text, returned_rows, server_side },
        export,
        resource,
        service_name,
        limits,
    } = config;
    let Limits { ring, span_queue, export_queue, buffers, connections } = limits;
    let size = |bytes: usize| text(size_text(bytes as u64));
    Layer {
        select: SelectLayer { only: list(only, Selector::to_string), except: list(except, Selector::to_string) },
        attach: text(match attach {
            Attach::Auto => "auto",
            Attach::Socket => "socket",
            Attach::Syscall => "syscall",
        }),
        http: HttpLayer {
            routes: list(routes, String::clone),
            known_methods: known_methods.as_ref().and_then(|methods| list(methods, String::clone)),
        },
        database: DatabaseLayer {
            query_text: Some(At::nowhere(*query_text)),
            returned_rows: Some(At::nowhere(*returned_rows)),
            server_side: Some(At::nowhere(*server_side)),
        },
        export: export_layer(export),
        resource: resource.iter().map(|(key, value)| (key.clone(), At::nowhere(value.clone()))).collect(),
        service_name: service_name.clone().map(At::nowhere),
        limits: LimitsLayer {
            ring: text(size_text(u64::from(*ring))),
            span_queue: size(*span_queue),
            export_queue: size(*export_queue),
            buffers: size(*buffers),
            connections: Some(At::nowhere(*connections as u64)),
        },
    }
}

fn export_layer(export: &Export) -> ExportLayer {
    let Export { output, output_file, traces, metrics, metric_interval, span_delay, health } = export;
    ExportLayer {
        output: text(match output {
            OutputFormat::Console => "console",
            OutputFormat::Otlp => "otlp",
            OutputFormat::OtlpJson => "otlp-json",
        }),
        output_file: output_file.as_ref().and_then(|path| text(path.display().to_string())),
        metric_interval: text(duration_text(*metric_interval)),
        span_delay: span_delay.and_then(|delay| text(duration_text(delay))),
        health: Some(At::nowhere(*health)),
        otlp: OtlpLayer { traces: signal(traces), metrics: signal(metrics), ..OtlpLayer::default() },
    }
}

fn signal(otlp: &Otlp) -> SignalLayer {
    let Otlp { endpoint, protocol, headers, timeout, compression, certificate, client_certificate, client_key } = otlp;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().and_then(|path| text(path.display().to_string()));
    SignalLayer {
        enabled: Some(At::nowhere(endpoint.is_some())),
        endpoint: endpoint.clone().map(At::nowhere),
        protocol: text(match protocol {
            OtlpProtocol::Grpc => "grpc",
            OtlpProtocol::HttpProtobuf => "http/protobuf",
        }),
        headers: (!headers.is_empty()).then(|| {
            headers.iter().map(|(name, _)| (name.clone(), At::nowhere(MASK.to_owned()))).collect::<BTreeMap<_, _>>()
        }),
        timeout: text(duration_text(*timeout)),
        compression: text(match compression {
            Compression::Gzip => "gzip",
            Compression::None => "none",
        }),
        certificate: path(certificate),
        client_certificate: path(client_certificate),
        client_key: path(client_key),
        insecure: None,
    }
}
