//! From one layer of unread values to [`Config`]: every text becomes a typed value here, and all problems are found in one run.

use std::{path::PathBuf, time::Duration};

use crate::{
    Attach, Config, Database, Export, Http, Limits, OutputFormat, Problem, Select, Selector,
    layer::{At, DatabaseLayer, ExportLayer, Given, HttpLayer, Layer, LimitsLayer, Origin},
    otlp, quantity,
};

/// "Default: 60000" milliseconds (OpenTelemetry SDK environment variables).
const METRIC_INTERVAL: Duration = Duration::from_secs(60);

// Limits at rest: ring 4 MiB mapped twice, tracker and parsers 8 MiB, both queues together 6 MiB, out of 40 MiB of RSS.
const RING: u32 = 4 << 20;
const SPAN_QUEUE: usize = 3 << 20;
const EXPORT_QUEUE: usize = 3 << 20;
const BUFFERS: usize = 6 << 20;
const CONNECTIONS: usize = 20_000;

/// `None` or any problem: there is no configuration.
pub(crate) fn resolve(layer: Layer, problems: &mut Vec<Problem>) -> Option<Config> {
    let Layer { select, attach, http, database, export, resource, service_name, limits } = layer;
    let mut read = Reader { prefix: String::new(), problems };
    let select = Select {
        only: selectors(&mut read, "select.only", select.only),
        except: selectors(&mut read, "select.except", select.except),
    };
    let attach = read
        .choice("attach", &attach, &[("auto", Attach::Auto), ("socket", Attach::Socket), ("syscall", Attach::Syscall)])
        .unwrap_or_default();
    let http = self::http(&mut read, http);
    let DatabaseLayer { query_text, returned_rows, server_side } = database;
    let database = Database {
        query_text: query_text.is_none_or(|at| at.value),
        returned_rows: returned_rows.is_some_and(|at| at.value),
        server_side: server_side.is_none_or(|at| at.value),
    };
    let mut resource = resource;
    // OTEL_SERVICE_NAME "takes precedence over service.name defined with the OTEL_RESOURCE_ATTRIBUTES variable"
    let among_resource = resource.remove("service.name");
    let service_name = service_name.or(among_resource);
    if let Some(At { origin, .. }) = resource.get("") {
        read.wrong("resource", origin, "an attribute has no name".to_owned());
    }
    let limits = self::limits(&mut read, limits);
    let export = self::export(&mut read, export);
    Some(Config {
        select,
        attach,
        http,
        database,
        export: export?,
        resource: resource.into_iter().map(|(key, at)| (key, at.value)).collect(),
        service_name: service_name.map(|at| at.value),
        limits,
    })
}

/// Reads values and keeps what is wrong with them.
pub(crate) struct Reader<'a> {
    /// Key in front of every name.
    pub(crate) prefix: String,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    pub(crate) fn wrong(&mut self, key: &str, origin: &Origin, message: String) {
        let problem = Problem { origin: origin.clone(), key: format!("{}{key}", self.prefix), message };
        // a general value is read for each signal; its fault is told once
        let same = |known: &Problem| {
            known.origin == problem.origin && known.message == problem.message && known.origin != Origin::Nowhere
        };
        if !self.problems.iter().any(same) {
            self.problems.push(problem);
        }
    }

    pub(crate) fn parse<T>(
        &mut self,
        key: &str,
        at: &At<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        parse(&at.value).map_err(|message| self.wrong(key, &at.origin, message)).ok()
    }

    pub(crate) fn choice<T: Copy>(&mut self, key: &str, given: &Given<String>, choices: &[(&str, T)]) -> Option<T> {
        self.parse(key, given.as_ref()?, |text| match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => Err(format!(
                "found \"{text}\", expected {}",
                choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ")
            )),
        })
    }

    pub(crate) fn duration(&mut self, key: &str, given: &Given<String>) -> Option<Duration> {
        self.parse(key, given.as_ref()?, |text| match quantity::duration(text) {
            Some(duration) if !duration.is_zero() => Ok(duration),
            Some(_) => Err("found 0, expected a time such as 500ms, 10s or 1m".to_owned()),
            None => Err(format!("found \"{text}\", expected a time such as 500ms, 10s or 1m")),
        })
    }

    fn size(&mut self, key: &str, given: &Given<String>, default: usize, min: u64, max: u64) -> usize {
        let read = given.as_ref().and_then(|at| {
            self.parse(key, at, |text| match quantity::size(text) {
                Some(bytes) if (min..=max).contains(&bytes) => {
                    usize::try_from(bytes).map_err(|_| "does not fit this machine".to_owned())
                }
                _ => Err(format!(
                    "found \"{text}\", expected a size from {} to {}",
                    quantity::size_text(min),
                    quantity::size_text(max)
                )),
            })
        });
        read.unwrap_or(default)
    }
}

fn selectors(read: &mut Reader<'_>, key: &str, given: Option<Vec<At<String>>>) -> Vec<Selector> {
    given
        .unwrap_or_default()
        .iter()
        .filter_map(|at| read.parse(key, at, |text| text.parse::<Selector>().map_err(|error| error.to_string())))
        .collect()
}

fn http(read: &mut Reader<'_>, HttpLayer { routes, known_methods }: HttpLayer) -> Http {
    let routes = routes.unwrap_or_default().iter().filter_map(|at| read.parse("http.routes", at, route)).collect();
    let method = |text: &str| match text {
        _ if !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("found \"{text}\", expected a method such as GET")),
    };
    let known_methods =
        known_methods.map(|list| list.iter().filter_map(|at| read.parse("http.known_methods", at, method)).collect());
    Http { routes, known_methods }
}

/// `/users/{id}`, `/static/*`.
fn route(text: &str) -> Result<String, String> {
    let expected = |what: &str| Err(format!("found \"{text}\", {what}"));
    let Some(path) = text.strip_prefix('/') else {
        return expected("expected a path that starts with a slash, such as /users/{id} or /static/*");
    };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match inner {
            Some(name) if name.is_empty() || name.contains(['{', '}', '*']) => {
                return expected("expected a name between the braces, such as {id}");
            }
            Some(_) => {}
            None if segment == "*" && last => {}
            None if segment.contains('*') => {
                return expected("expected * only as the whole last segment, such as /static/*");
            }
            None if segment.contains(['{', '}']) => {
                return expected("expected braces around a whole segment, such as /users/{id}");
            }
            None => {}
        }
    }
    Ok(text.to_owned())
}

fn limits(read: &mut Reader<'_>, layer: LimitsLayer) -> Limits {
    let LimitsLayer { ring, span_queue, export_queue, buffers, connections } = layer;
    let ring_bytes = read.size("limits.ring", &ring, RING as usize, 1 << 16, 1 << 30);
    if let Some(at) = ring.filter(|_| !ring_bytes.is_power_of_two()) {
        read.wrong("limits.ring", &at.origin, format!("found \"{}\", expected a power of two, such as 4MiB", at.value));
    }
    let connections = match connections {
        Some(At { value, .. }) if (1..=1_000_000).contains(&value) => usize::try_from(value).unwrap_or(CONNECTIONS),
        Some(At { value, origin }) => {
            read.wrong("limits.connections", &origin, format!("found {value}, expected a number from 1 to 1000000"));
            CONNECTIONS
        }
        None => CONNECTIONS,
    };
    Limits {
        ring: u32::try_from(ring_bytes).unwrap_or(RING),
        span_queue: read.size("limits.span_queue", &span_queue, SPAN_QUEUE, 1 << 16, 1 << 34),
        export_queue: read.size("limits.export_queue", &export_queue, EXPORT_QUEUE, 1 << 16, 1 << 34),
        buffers: read.size("limits.buffers", &buffers, BUFFERS, 1 << 16, 1 << 34),
        connections,
    }
}

fn export(read: &mut Reader<'_>, layer: ExportLayer) -> Option<Export> {
    let ExportLayer { output, output_file, metric_interval, span_delay, health, otlp } = layer;
    let chosen = read.choice(
        "export.output",
        &output,
        &[("otlp", OutputFormat::Otlp), ("console", OutputFormat::Console), ("otlp-json", OutputFormat::OtlpJson)],
    );
    let default = if otlp::has_endpoint(&otlp, &otlp.traces) { OutputFormat::Otlp } else { OutputFormat::Console };
    let output = if output.is_some() { chosen? } else { default };
    if let Some(file) = output_file.as_ref().filter(|_| output == OutputFormat::Otlp) {
        read.wrong("export.output_file", &file.origin, "a file is written by the outputs console and otlp-json, and the output is otlp; choose one of those or remove the file".to_owned());
    }
    let wanted = output == OutputFormat::Otlp;
    let metric_interval = read.duration("export.metric_interval", &metric_interval).unwrap_or(METRIC_INTERVAL);
    let span_delay = read.duration("export.span_delay", &span_delay);
    Some(Export {
        output,
        output_file: output_file.map(|at| PathBuf::from(at.value)),
        traces: otlp::resolve(&otlp, &otlp.traces, otlp::TRACES, wanted, read.problems),
        metrics: otlp::resolve(&otlp, &otlp.metrics, otlp::METRICS, wanted, read.problems),
        metric_interval,
        span_delay,
        health: health.is_none_or(|at| at.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_paths_of_whole_segments() {
        for text in ["/", "/users/{id}", "/static/*", "/a/{b}/c/*", "/*"] {
            assert_eq!(route(text).as_deref(), Ok(text));
        }
        for text in ["", "users", "/a*", "/*/b", "/{}", "/x{id}", "/{id", "/{a*}"] {
            assert!(route(text).is_err(), "{text}");
        }
    }
}
