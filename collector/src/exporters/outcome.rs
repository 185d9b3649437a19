//! What an end point's answer means: delivered, to be repeated, or never to be accepted.
//!
//! In: HTTP status, headers and body, or a gRPC status. Out: [`Outcome`], as the OTLP specification classifies them
//! ("Failures" of OTLP/gRPC and OTLP/HTTP).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use prost::Message;

/// No end point may stop us for longer, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Of a server's words, in log lines.
const MAX_WORDS: usize = 300;

/// What became of one sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Accepted, but for `rejected` items.
    Delivered {
        /// Spans or points the end point refused.
        rejected: u64,
        /// Why, in its words; with nothing rejected a warning.
        message: String,
    },
    /// Nobody reads the output any more.
    Ended,
    /// Never to be accepted.
    Refused(String),
    /// May be accepted later.
    Retry {
        /// Not before; `None`: our own back-off.
        after: Option<Duration>,
        /// What happened.
        error: String,
    },
}

/// `ExportTraceServiceResponse` and `ExportMetricsServiceResponse`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<ProtoDuration>,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The answer of an accepted request. A body that does not parse rejects nothing: the status said success.
pub(crate) fn accepted(body: &[u8]) -> Outcome {
    let PartialSuccess { rejected, message } =
        ExportResponse::decode(body).ok().and_then(|response| response.partial_success).unwrap_or_default();
    Outcome::Delivered { rejected: u64::try_from(rejected).unwrap_or(0), message: shorten(&message) }
}

/// The answer of an HTTP end point; `now` resolves a `Retry-After` date.
pub(crate) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Outcome {
    if status.is_success() {
        return accepted(body);
    }
    let words = words(headers, body);
    let error = if words.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {words}") };
    match status.as_u16() {
        429 | 502 | 503 | 504 => Outcome::Retry { after: retry_after(headers, now), error },
        401 | 403 => Outcome::Refused(format!("{error}; check the headers (OTEL_EXPORTER_OTLP_HEADERS)")),
        404 | 405 => Outcome::Refused(format!("{error}; check the path of the end point and its protocol")),
        _ => Outcome::Refused(error),
    }
}

/// The answer of a gRPC end point that is not OK. `details` is `grpc-status-details-bin`.
pub(crate) fn of_grpc(code: tonic::Code, message: &str, details: &[u8]) -> Outcome {
    use tonic::Code;
    let after = retry_info(details);
    let message = shorten(message);
    let error = if message.is_empty() { format!("gRPC {code:?}") } else { format!("gRPC {code:?}: {message}") };
    match code {
        Code::Aborted
        | Code::Cancelled
        | Code::DataLoss
        | Code::DeadlineExceeded
        | Code::OutOfRange
        | Code::Unavailable => Outcome::Retry { after, error },
        // "The client SHOULD interpret RESOURCE_EXHAUSTED code as retryable only if the server signals that the recovery from
        // resource exhaustion is possible" (by RetryInfo).
        Code::ResourceExhausted if after.is_some() => Outcome::Retry { after, error },
        Code::PermissionDenied | Code::Unauthenticated => {
            Outcome::Refused(format!("{error}; check the headers (OTEL_EXPORTER_OTLP_HEADERS)"))
        }
        _ => Outcome::Refused(error),
    }
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_WAIT))
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or(0)).min(MAX_WAIT))
}

/// "The response body for all HTTP 4xx and 5xx MUST be a Protobuf-encoded Status message"; many servers send text.
fn words(headers: &HeaderMap, body: &[u8]) -> String {
    let protobuf =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-protobuf"));
    if protobuf {
        return RpcStatus::decode(body).map(|status| shorten(&status.message)).unwrap_or_default();
    }
    shorten(&String::from_utf8_lossy(body))
}

fn shorten(text: &str) -> String {
    text.trim().chars().take(MAX_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Outcome {
        let headers = headers.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect();
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        of_http(StatusCode::from_u16(status).unwrap(), &headers, body, now)
    }

    #[test]
    fn only_the_statuses_of_the_specification_are_repeated() {
        for status in 300..=599 {
            let retried = matches!(http(status, &[], b""), Outcome::Retry { .. });
            assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_is_bounded() {
        for (text, expected) in [
            ("7", Some(7)),
            ("Mon, 23 Nov 2026 12:00:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", Some(0)),
            ("86400", Some(300)),
            ("soon", None),
        ] {
            let Outcome::Retry { after, .. } = http(503, &[("retry-after", text)], b"") else { panic!("{text}") };
            assert_eq!(after, expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_words_of_the_server_are_shown_whether_protobuf_or_text() {
        let status = RpcStatus { code: 3, message: "bad span".into(), details: vec![] }.encode_to_vec();
        let expected = Outcome::Refused("HTTP 400 Bad Request: bad span".into());
        assert_eq!(http(400, &[("content-type", "application/x-protobuf")], &status), expected);
        assert_eq!(http(400, &[("content-type", "text/plain")], b"bad\x1bspan\n"), expected);
    }

    #[test]
    fn partial_success_tells_how_many_were_rejected_and_why() {
        let partial = PartialSuccess { rejected: 3, message: "too old".into() };
        let body = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(accepted(&body), Outcome::Delivered { rejected: 3, message: "too old".into() });
        assert_eq!(accepted(b""), Outcome::Delivered { rejected: 0, message: String::new() });
    }

    fn details(seconds: i64) -> Vec<u8> {
        let info = RetryInfo { delay: Some(ProtoDuration { seconds, nanos: 500_000_000 }) };
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() };
        RpcStatus { code: 14, message: String::new(), details: vec![any] }.encode_to_vec()
    }

    #[test]
    fn grpc_codes_are_repeated_as_the_specification_says() {
        use tonic::Code;
        for number in 1..=16 {
            let code = Code::from_i32(number);
            let listed = [
                Code::Cancelled,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::OutOfRange,
                Code::Unavailable,
                Code::DataLoss,
            ]
            .contains(&code);
            assert_eq!(matches!(of_grpc(code, "", b""), Outcome::Retry { .. }), listed, "{code:?}");
        }
        let exhausted = of_grpc(Code::ResourceExhausted, "", &details(2));
        assert!(
            matches!(exhausted, Outcome::Retry { after: Some(after), .. } if after == Duration::from_millis(2500)),
            "{exhausted:?}"
        );
    }
}
