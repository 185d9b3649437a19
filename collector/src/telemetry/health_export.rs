//! The daemon's own health as OTLP metrics, made by the OpenTelemetry SDK as any well-behaved program's are.
//!
//! In: [`Health`], an interval, where metrics go. Out: payloads in the exporter's metrics queue, so that the daemon's own
//! metrics take the configured end point, protocol, headers, TLS and retries, over the same connection.

use std::{fmt, io::Read, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response, header};
use opentelemetry::{InstrumentationScope, KeyValue, metrics::MeterProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
};

use super::{
    health::{CONVENTIONAL, Health, Kind, Metric, ROWS, Row},
    own_process,
};

/// Takes encoded `ExportMetricsServiceRequest` messages.
pub type Sink = Arc<dyn Fn(Bytes) + Send + Sync>;

/// The running export.
#[derive(Debug)]
pub struct HealthExport {
    provider: SdkMeterProvider,
}

/// The SDK refuses its settings.
#[derive(Debug, thiserror::Error)]
#[error("cannot export the daemon's own metrics")]
pub struct HealthExportError(#[from] opentelemetry_otlp::ExporterBuildError);

/// Starts the export; the first payload comes after one interval. `resource` is `host.*` and what the operator adds;
/// `service.name` and `service.version` are set here.
///
/// # Errors
/// When the environment holds an `OTEL_EXPORTER_OTLP_*` value the SDK refuses.
pub fn start(
    health: &Arc<Health>,
    interval: Duration,
    resource: &[(String, String)],
    sink: Sink,
) -> Result<HealthExport, HealthExportError> {
    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(Client { sink })
        .with_protocol(Protocol::HttpBinary)
        // Not where it goes: the sink knows.
        .with_endpoint("http://localhost/v1/metrics")
        .build()?;
    let attributes = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder_empty()
        .with_attributes(attributes)
        .with_attributes([
            KeyValue::new("service.name", "sidelight"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
    register(&provider, health);
    Ok(HealthExport { provider })
}

fn register(provider: &SdkMeterProvider, health: &Arc<Health>) {
    let scope = InstrumentationScope::builder("sidelight").with_version(env!("CARGO_PKG_VERSION")).build();
    let meter = provider.meter_with_scope(scope);
    let same = |a: &Row, b: &Row| a.name == b.name;
    for rows in ROWS.chunk_by(same).chain(CONVENTIONAL.chunk_by(same)) {
        let Some(Row { name, unit, kind, help, .. }) = rows.first() else { continue };
        let health = Arc::clone(health);
        let read = move |observe: &mut dyn FnMut(u64, &[KeyValue])| {
            if rows.iter().any(|row| matches!(row.metric, Metric::CpuTime | Metric::MemoryUsage)) {
                own_process::sample(&health);
            }
            for row in rows {
                let attribute = row.attribute.map(|(key, value)| KeyValue::new(key, value));
                observe(health.load(row.metric), attribute.as_slice());
            }
        };
        // The SDK keeps the callbacks; the handles it returns serve no purpose.
        match kind {
            Kind::Counter => drop(
                meter
                    .u64_observable_counter(*name)
                    .with_unit(*unit)
                    .with_description(*help)
                    .with_callback(move |to| read(&mut |value, attributes| to.observe(value, attributes)))
                    .build(),
            ),
            Kind::Gauge => drop(
                meter
                    .u64_observable_gauge(*name)
                    .with_unit(*unit)
                    .with_description(*help)
                    .with_callback(move |to| read(&mut |value, attributes| to.observe(value, attributes)))
                    .build(),
            ),
            Kind::Time => drop(
                meter
                    .f64_observable_counter(*name)
                    .with_unit(*unit)
                    .with_description(*help)
                    .with_callback(move |to| {
                        read(&mut |value, attributes| {
                            to.observe(Duration::from_nanos(value).as_secs_f64(), attributes);
                        });
                    })
                    .build(),
            ),
        }
    }
}

impl HealthExport {
    /// Pushes the last values and ends.
    pub fn shutdown(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(Duration::from_millis(400)) {
            tracing::debug!(%error, "The daemon's own last metrics were not collected");
        }
    }
}

/// What the SDK takes for an HTTP client: it hands the body on. A request body of OTLP/HTTP is the very message OTLP/gRPC
/// sends, so the way does not matter.
struct Client {
    sink: Sink,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl HttpClient for Client {
    fn send_bytes<'life, 'out>(
        &'life self,
        request: Request<Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'out>>
    where
        'life: 'out,
        Self: 'out,
    {
        Box::pin(async move {
            // The SDK reads OTEL_EXPORTER_OTLP_COMPRESSION itself; the transport compresses once, for all.
            let gzipped = request.headers().get(header::CONTENT_ENCODING).is_some();
            let mut body = request.into_body();
            if gzipped {
                let mut plain = Vec::new();
                GzDecoder::new(body.as_ref()).read_to_end(&mut plain)?;
                body = plain.into();
            }
            (self.sink)(body);
            Ok(Response::new(Bytes::new()))
        })
    }
}
