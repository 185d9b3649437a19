//! One signal's OTLP exporter: from unread values to [`Otlp`], with the end point rules of the OTLP exporter specification.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    Compression, Otlp, OtlpProtocol, Problem,
    layer::{At, OtlpLayer, SignalLayer},
    resolve::Reader,
};

/// "The timeout ... Default: 10s" (OTLP exporter specification).
const TIMEOUT: Duration = Duration::from_secs(10);

/// What differs between the signals.
#[derive(Clone, Copy)]
pub(crate) struct Signal {
    /// Appended to the general end point over HTTP.
    path: &'static str,
}

pub(crate) const TRACES: Signal = Signal { path: "v1/traces" };
pub(crate) const METRICS: Signal = Signal { path: "v1/metrics" };

/// Whether an end point was given for `own`, by its own key or the general one.
pub(crate) fn has_endpoint(general: &OtlpLayer, own: &SignalLayer) -> bool {
    general.endpoint.is_some() || own.endpoint.is_some()
}

/// `wanted`: without any end point the default one is used.
pub(crate) fn resolve(
    general: &OtlpLayer,
    own: &SignalLayer,
    signal: Signal,
    wanted: bool,
    problems: &mut Vec<Problem>,
) -> Otlp {
    let mut read = Reader { prefix: "export.otlp.".to_owned(), problems };
    let merged = merged(general, own);
    let protocol = read
        .choice(
            "protocol",
            &merged.protocol,
            &[("grpc", OtlpProtocol::Grpc), ("http/protobuf", OtlpProtocol::HttpProtobuf)],
        )
        .unwrap_or_default();
    let insecure = merged.insecure.as_ref().is_some_and(|insecure| insecure.value);
    let enabled = own.enabled.as_ref().is_none_or(|enabled| enabled.value);
    let endpoint = match (&own.endpoint, &general.endpoint) {
        (Some(own), _) => read.parse("endpoint", own, |text| url(text, protocol, insecure)),
        (None, Some(general)) => read.parse("endpoint", general, |text| {
            url(text, protocol, insecure).map(|base| with_path(base, protocol, signal))
        }),
        (None, None) if wanted => Some(match protocol {
            OtlpProtocol::Grpc => "http://localhost:4317".to_owned(),
            OtlpProtocol::HttpProtobuf => with_path("http://localhost:4318".to_owned(), protocol, signal),
        }),
        (None, None) => None,
    };
    if let (Some(only), None) | (None, Some(only)) = (&merged.client_certificate, &merged.client_key) {
        let missing = if merged.client_key.is_some() { "client_certificate" } else { "client_key" };
        read.wrong(
            "client_certificate",
            &only.origin,
            format!("a client certificate and its key go together, and {missing} is missing"),
        );
    }
    let path = |given: Option<At<String>>| given.map(|at| PathBuf::from(at.value));
    Otlp {
        endpoint: endpoint.filter(|_| enabled),
        protocol,
        headers: merged.headers.map(|headers| read_headers(&headers, &mut read)).unwrap_or_default(),
        timeout: read.duration("timeout", &merged.timeout).unwrap_or(TIMEOUT),
        compression: read
            .choice("compression", &merged.compression, &[("gzip", Compression::Gzip), ("none", Compression::None)])
            .unwrap_or_default(),
        certificate: path(merged.certificate),
        client_certificate: path(merged.client_certificate),
        client_key: path(merged.client_key),
    }
}

fn merged(general: &OtlpLayer, own: &SignalLayer) -> SignalLayer {
    let OtlpLayer {
        endpoint,
        protocol,
        headers,
        timeout,
        compression,
        certificate,
        client_certificate,
        client_key,
        insecure,
        traces: _,
        metrics: _,
    } = general.clone();
    let mut merged = SignalLayer {
        enabled: None,
        endpoint,
        protocol,
        headers,
        timeout,
        compression,
        certificate,
        client_certificate,
        client_key,
        insecure,
    };
    merged.overlay(own.clone());
    merged
}

/// Scheme, host and port; for gRPC nothing else. "Each configuration option MUST be a URL with scheme http or https"; for gRPC
/// the scheme may be absent and `insecure` then decides.
fn url(text: &str, protocol: OtlpProtocol, insecure: bool) -> Result<String, String> {
    let expected = || {
        format!(
            "found \"{text}\", expected a URL such as http://localhost:{}",
            if protocol == OtlpProtocol::Grpc { 4317 } else { 4318 }
        )
    };
    let (scheme, rest) = match (text.split_once("://"), protocol) {
        (Some((scheme @ ("http" | "https"), rest)), _) => (scheme, rest),
        (None, OtlpProtocol::Grpc) => (if insecure { "http" } else { "https" }, text),
        _ => return Err(expected()),
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.len() != authority.len() {
        return Err("the URL holds a user or password; give credentials as headers".to_owned());
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_ok = port
        .is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0));
    let name_ok = !name.is_empty()
        && (name.starts_with('[') == name.ends_with(']'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !port_ok || !name_ok || !text.is_ascii() || path.contains('#') {
        return Err(expected());
    }
    match protocol {
        OtlpProtocol::Grpc if !matches!(path, "" | "/") => Err(format!(
            "found \"{text}\", but a gRPC end point has no path; remove \"{path}\" or set protocol http/protobuf"
        )),
        OtlpProtocol::Grpc => Ok(format!("{scheme}://{authority}")),
        // "If no path is set, the root path / MUST be used"
        OtlpProtocol::HttpProtobuf if path.is_empty() => Ok(format!("{scheme}://{authority}/")),
        OtlpProtocol::HttpProtobuf => Ok(format!("{scheme}://{authority}{path}")),
    }
}

/// The general end point is a base to which HTTP appends the signal's path.
fn with_path(base: String, protocol: OtlpProtocol, signal: Signal) -> String {
    match protocol {
        OtlpProtocol::Grpc => base,
        OtlpProtocol::HttpProtobuf => format!("{}/{}", base.trim_end_matches('/'), signal.path),
    }
}

fn read_headers(headers: &BTreeMap<String, At<String>>, read: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, At { value, origin }) in headers {
        // RFC 9110 section 5.6.2, token; section 5.5, field values
        let token = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        match (token, visible) {
            (true, true) => out.push((name.to_ascii_lowercase(), value.clone())),
            (false, _) => read.wrong("headers", origin, format!("\"{name}\" is no header name")),
            (true, false) => {
                read.wrong("headers", origin, format!("the value of \"{name}\" holds characters a header cannot carry"))
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_follow_the_protocol() {
        use OtlpProtocol::{Grpc, HttpProtobuf};
        for (text, protocol, insecure, expected) in [
            ("http://c:4318", HttpProtobuf, false, "http://c:4318/"),
            ("https://c/otlp?x=1", HttpProtobuf, false, "https://c/otlp?x=1"),
            ("http://[::1]:4317", Grpc, false, "http://[::1]:4317"),
            ("http://c:4317/", Grpc, false, "http://c:4317"),
            ("c:4317", Grpc, false, "https://c:4317"),
            ("c:4317", Grpc, true, "http://c:4317"),
        ] {
            assert_eq!(url(text, protocol, insecure).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "c:4318",
            "ftp://c",
            "http://",
            "http://c:0",
            "http://c:99999",
            "http://a b",
            "http://u:p@c",
            "http://é",
            "http://c/#x",
            "http://[::1",
            "http://:80",
        ] {
            assert!(url(text, HttpProtobuf, false).is_err(), "{text}");
        }
        assert!(url("http://c:4317/v1/traces", Grpc, false).is_err());
    }
}
