//! One source of configuration: the keys it gives, unread, each with its place.
//!
//! In: YAML text (this module), the environment ([`crate::env`]) or flags. Out: a [`Layer`] that can be laid over another.
//! The same structure is the schema of the file: names, nesting and what `config schema` documents.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Attach, Compression, ConfigError, OtlpProtocol, OutputFormat, error};

/// Where a value was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    File {
        line: usize,
        column: usize,
    },
    Environment(Cow<'static, str>),
    Flag(&'static str),
    /// Computed, as in `config print`.
    #[default]
    Nowhere,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> At<T> {
    pub(crate) fn flag(value: T, name: &'static str) -> Self {
        Self { value, origin: Origin::Flag(name) }
    }

    pub(crate) fn nowhere(value: T) -> Self {
        Self { value, origin: Origin::Nowhere }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let serde_saphyr::Spanned { value, referenced, .. } = serde_saphyr::Spanned::deserialize(deserializer)?;
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(Self { value, origin: Origin::File { line: at(referenced.line()), column: at(referenced.column()) } })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// A key that may be absent.
pub(crate) type Given<T> = Option<At<T>>;

/// The configuration of the Sidelight daemon. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Sidelight configuration", rename = "Configuration")]
pub(crate) struct Layer {
    /// What is watched. Any `only` matches (or `only` is empty) and no `except` does.
    #[serde(deserialize_with = "section")]
    pub(crate) select: SelectLayer,
    /// Mechanism of the socket hooks.
    #[schemars(with = "Option<Attach>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attach: Given<String>,
    /// HTTP.
    #[serde(deserialize_with = "section")]
    pub(crate) http: HttpLayer,
    /// Databases.
    #[serde(deserialize_with = "section")]
    pub(crate) database: DatabaseLayer,
    /// Where telemetry goes.
    #[serde(deserialize_with = "section")]
    pub(crate) export: ExportLayer,
    /// Attributes added to every resource.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) resource: BTreeMap<String, At<String>>,
    /// `service.name` of the daemon's own telemetry and of `replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_name: Given<String>,
    /// Bounds of memory.
    #[serde(deserialize_with = "section")]
    pub(crate) limits: LimitsLayer,
}

/// Selectors: `pid:N`, `tree:N`, `exe:GLOB`, `port:N`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Select")]
pub(crate) struct SelectLayer {
    /// Watched; empty: everything on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<Vec<At<String>>>,
    /// Never watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) except: Option<Vec<At<String>>>,
}

/// HTTP settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Http")]
pub(crate) struct HttpLayer {
    /// Route patterns in order of preference: `/users/{id}`, `/static/*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) routes: Option<Vec<At<String>>>,
    /// All methods that `http.request.method` may name; others become `_OTHER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) known_methods: Option<Vec<At<String>>>,
}

/// Database settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Database")]
pub(crate) struct DatabaseLayer {
    /// Whether spans have `db.query.text`, in which every literal is replaced; default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query_text: Given<bool>,
    /// Whether spans have `db.response.returned_rows`; default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) returned_rows: Given<bool>,
    /// Whether the database's own side has spans and metrics; default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_side: Given<bool>,
}

/// Where telemetry goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Export")]
pub(crate) struct ExportLayer {
    /// Where spans go; default: `otlp` if they have an end point, else `console`.
    #[schemars(with = "Option<OutputFormat>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Given<String>,
    /// File of `console` and `otlp-json`; default: standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_file: Given<String>,
    /// Interval of metric exports, such as `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric_interval: Given<String>,
    /// Longest wait of a span for others to be sent with, such as `1s`; default: 1s, for console and otlp-json 100ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) span_delay: Given<String>,
    /// Whether the daemon exports its own health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Given<bool>,
    /// OTLP.
    #[serde(deserialize_with = "section")]
    pub(crate) otlp: OtlpLayer,
}

/// OTLP: what holds for both signals, and what differs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Otlp")]
pub(crate) struct OtlpLayer {
    /// Base URL; over HTTP `v1/traces` and `v1/metrics` are appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Given<String>,
    /// Protocol.
    #[schemars(with = "Option<OtlpProtocol>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Given<String>,
    /// Headers (gRPC: metadata) of every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<BTreeMap<String, At<String>>>,
    /// Deadline of one request, such as `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Given<String>,
    /// Compression of requests.
    #[schemars(with = "Option<Compression>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Given<String>,
    /// PEM file of certificate authorities; default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Given<String>,
    /// PEM file of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Given<String>,
    /// PEM file of the client's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Given<String>,
    /// gRPC without TLS where the end point has no scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure: Given<bool>,
    /// What differs for spans.
    #[serde(deserialize_with = "section")]
    pub(crate) traces: SignalLayer,
    /// What differs for metrics.
    #[serde(deserialize_with = "section")]
    pub(crate) metrics: SignalLayer,
}

/// One signal's OTLP settings; each replaces the general one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Signal")]
pub(crate) struct SignalLayer {
    /// Whether this signal goes to OTLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Given<bool>,
    /// URL, used as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Given<String>,
    /// Protocol.
    #[schemars(with = "Option<OtlpProtocol>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Given<String>,
    /// Headers (gRPC: metadata) of every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<BTreeMap<String, At<String>>>,
    /// Deadline of one request, such as `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Given<String>,
    /// Compression of requests.
    #[schemars(with = "Option<Compression>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Given<String>,
    /// PEM file of certificate authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Given<String>,
    /// PEM file of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Given<String>,
    /// PEM file of the client's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Given<String>,
    /// gRPC without TLS where the end point has no scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure: Given<bool>,
}

/// Bounds; sizes as `4MiB`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Limits")]
pub(crate) struct LimitsLayer {
    /// Ring buffer between kernel and daemon (a power of two); counts twice in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ring: Given<String>,
    /// Spans waiting to be encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) span_queue: Given<String>,
    /// Encoded batches waiting for the end point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export_queue: Given<String>,
    /// Buffers of the tracker and parsers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) buffers: Given<String>,
    /// Connections tracked at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Given<u64>,
}

/// A section whose keys are all commented out (`select:` and nothing more) is an empty one.
fn section<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The layer that a file gives; an empty file gives an empty one.
pub(crate) fn from_yaml(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    match serde_saphyr::from_str::<Option<Layer>>(text) {
        Ok(layer) => Ok(layer.unwrap_or_default()),
        Err(error) => Err(ConfigError::Syntax(error::render_syntax(path, text, &error))),
    }
}

/// `self.key = over.key` for each key that `over` gives.
macro_rules! lay {
    ($under:expr, $over:expr, $($key:ident),+) => { $(if $over.$key.is_some() { $under.$key = $over.$key; })+ };
}

impl Layer {
    /// Lays `over` over this layer, key by key.
    pub(crate) fn overlay(&mut self, over: Self) {
        lay!(self, over, attach, service_name);
        let Self { select, attach: _, http, database, export, resource, service_name: _, limits } = over;
        lay!(self.select, select, only, except);
        lay!(self.http, http, routes, known_methods);
        lay!(self.database, database, query_text, returned_rows, server_side);
        lay!(self.export, export, output, output_file, metric_interval, span_delay, health);
        let otlp = export.otlp;
        lay!(
            self.export.otlp,
            otlp,
            endpoint,
            protocol,
            headers,
            timeout,
            compression,
            certificate,
            client_certificate,
            client_key,
            insecure
        );
        self.export.otlp.traces.overlay(otlp.traces);
        self.export.otlp.metrics.overlay(otlp.metrics);
        self.resource.extend(resource);
        lay!(self.limits, limits, ring, span_queue, export_queue, buffers, connections);
    }
}

impl SignalLayer {
    pub(crate) fn overlay(&mut self, over: Self) {
        lay!(
            self,
            over,
            enabled,
            endpoint,
            protocol,
            headers,
            timeout,
            compression,
            certificate,
            client_certificate,
            client_key,
            insecure
        );
    }
}
