//! The layer that the environment gives.
//!
//! In: the variables of the OpenTelemetry specification that concern an exporter of traces and metrics. Out: a [`Layer`] with
//! the variable's name at each value. An empty variable counts as unset, as the specification says.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    Lookup, Problem,
    layer::{At, Given, Layer, Origin, SignalLayer},
};

/// Everything the environment says; what cannot be put into a layer goes to `problems`.
pub(crate) fn layer(env: Lookup<'_>, problems: &mut Vec<Problem>) -> Layer {
    let mut env = Environment { env, problems };
    let mut layer = Layer::default();
    let general = env.signal("");
    layer.export.otlp.endpoint = general.endpoint;
    layer.export.otlp.protocol = general.protocol;
    layer.export.otlp.headers = general.headers;
    layer.export.otlp.timeout = general.timeout;
    layer.export.otlp.compression = general.compression;
    layer.export.otlp.certificate = general.certificate;
    layer.export.otlp.client_certificate = general.client_certificate;
    layer.export.otlp.client_key = general.client_key;
    layer.export.otlp.insecure = general.insecure;
    layer.export.otlp.traces = env.signal("TRACES_");
    layer.export.otlp.metrics = env.signal("METRICS_");
    env.traces_exporter(&mut layer);
    env.metrics_exporter(&mut layer);
    layer.export.metric_interval = env.milliseconds("OTEL_METRIC_EXPORT_INTERVAL".into());
    layer.export.span_delay = env.milliseconds("OTEL_BSP_SCHEDULE_DELAY".into());
    layer.export.health =
        env.boolean("OTEL_SDK_DISABLED".into()).map(|disabled| At { value: !disabled.value, origin: disabled.origin });
    layer.http.known_methods = env.text("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS".into()).map(|list| {
        list.value
            .split(',')
            .map(str::trim)
            .filter(|method| !method.is_empty())
            .map(|method| At { value: method.to_owned(), origin: list.origin.clone() })
            .collect()
    });
    layer.resource = env.pairs("OTEL_RESOURCE_ATTRIBUTES".into()).unwrap_or_default();
    layer.service_name = env.text("OTEL_SERVICE_NAME".into());
    layer
}

struct Environment<'a> {
    env: Lookup<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Environment<'_> {
    fn text(&self, name: Cow<'static, str>) -> Given<String> {
        let value = (self.env)(&name).filter(|value| !value.is_empty())?;
        Some(At { value, origin: Origin::Environment(name) })
    }

    fn wrong(&mut self, origin: Origin, message: String) {
        self.problems.push(Problem { origin, key: String::new(), message });
    }

    /// The nine variables that exist in general (`infix` empty) and for each signal.
    fn signal(&mut self, infix: &str) -> SignalLayer {
        let name = |key: &str| Cow::from(format!("OTEL_EXPORTER_OTLP_{infix}{key}"));
        SignalLayer {
            enabled: None,
            endpoint: self.text(name("ENDPOINT")),
            protocol: self.text(name("PROTOCOL")),
            headers: self.pairs(name("HEADERS")),
            timeout: self.milliseconds(name("TIMEOUT")),
            compression: self.text(name("COMPRESSION")),
            certificate: self.text(name("CERTIFICATE")),
            client_certificate: self.text(name("CLIENT_CERTIFICATE")),
            client_key: self.text(name("CLIENT_KEY")),
            insecure: self.boolean(name("INSECURE")),
        }
    }

    /// `OTEL_TRACES_EXPORTER` chooses the output; `none` keeps spans from every output.
    fn traces_exporter(&mut self, layer: &mut Layer) {
        let Some(At { value, origin }) = self.text("OTEL_TRACES_EXPORTER".into()) else { return };
        match value.as_str() {
            "otlp" | "console" => layer.export.output = Some(At { value, origin }),
            "none" => {
                layer.export.output = Some(At { value: "otlp".to_owned(), origin: origin.clone() });
                layer.export.otlp.traces.enabled = Some(At { value: false, origin });
            }
            _ => self.wrong(origin, format!("found \"{value}\", expected otlp, console or none")),
        }
    }

    fn metrics_exporter(&mut self, layer: &mut Layer) {
        let Some(At { value, origin }) = self.text("OTEL_METRICS_EXPORTER".into()) else { return };
        match value.as_str() {
            "otlp" | "none" => layer.export.otlp.metrics.enabled = Some(At { value: value == "otlp", origin }),
            _ => self.wrong(origin, format!("found \"{value}\", expected otlp or none; metrics have no other output")),
        }
    }

    /// The specification gives times as whole milliseconds.
    fn milliseconds(&mut self, name: Cow<'static, str>) -> Given<String> {
        let At { value, origin } = self.text(name)?;
        if value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(At { value: format!("{value}ms"), origin });
        }
        self.wrong(origin, format!("found \"{value}\", expected whole milliseconds, such as 10000"));
        None
    }

    /// "Any value other than `true` is false"; what is neither is reported instead, since it is a mistake.
    fn boolean(&mut self, name: Cow<'static, str>) -> Given<bool> {
        let At { value, origin } = self.text(name)?;
        match value.to_ascii_lowercase().as_str() {
            "true" => Some(At { value: true, origin }),
            "false" => Some(At { value: false, origin }),
            _ => {
                self.wrong(origin, format!("found \"{value}\", expected true or false"));
                None
            }
        }
    }

    /// `key=value,key=value` with percent-encoded keys and values, as in W3C Baggage. Values are not repeated in messages:
    /// they may be secrets.
    fn pairs(&mut self, name: Cow<'static, str>) -> Option<BTreeMap<String, At<String>>> {
        let At { value, origin } = self.text(name)?;
        let mut pairs = BTreeMap::new();
        for (index, pair) in value.split(',').map(str::trim).enumerate().filter(|(_, pair)| !pair.is_empty()) {
            let decoded = pair
                .split_once('=')
                .and_then(|(key, value)| Some((percent_decode(key.trim())?, percent_decode(value.trim())?)));
            match decoded {
                Some((key, value)) if !key.is_empty() => {
                    pairs.insert(key, At { value, origin: origin.clone() });
                }
                _ => self.wrong(
                    origin.clone(),
                    format!(
                        "entry {} is not key=value with percent-encoded UTF-8 values, such as a=1,b=x%20y",
                        index + 1
                    ),
                ),
            }
        }
        Some(pairs)
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_sequences_are_decoded_and_broken_ones_refused() {
        assert_eq!(percent_decode("a%20b%2C%C3%A9"), Some("a b,é".to_owned()));
        for broken in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decode(broken), None, "{broken}");
        }
    }
}
