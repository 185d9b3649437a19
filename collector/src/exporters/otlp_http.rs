//! OTLP over HTTP/1.1 with Protobuf bodies.
//!
//! In: payloads, one at a time. Out: what the end point answered. One connection, kept alive and made anew when it is gone;
//! a request that fails on a connection that was used before is sent once more on a new one, because end points close idle
//! connections whenever they like.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use sidelight_config::{Compression, Otlp};

use super::{
    connect::{ConnectError, Driver, EndpointError, Target},
    outcome::{self, Outcome},
    pending::Payload,
    sender::Transport,
};

/// Of an answer; the specification's own limit is 4 MiB, ours only needs a status and some words.
const MAX_ANSWER: usize = 64 * 1024;

/// `User-Agent` of both protocols.
pub(crate) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("sidelight/", env!("CARGO_PKG_VERSION")));

struct Connection {
    requests: http1::SendRequest<Full<Bytes>>,
    _driver: Driver,
}

/// The transport.
pub(crate) struct OtlpHttp {
    target: Target,
    path: String,
    headers: HeaderMap,
    gzip: bool,
    connection: Option<Connection>,
}

/// The configured headers.
pub(crate) fn headers(otlp: &Otlp) -> Result<HeaderMap, EndpointError> {
    let header = |(name, value): &(String, String)| {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        parsed.ok_or_else(|| EndpointError::Header { name: name.clone() })
    };
    otlp.headers.iter().map(header).collect()
}

impl OtlpHttp {
    pub(crate) fn new(url: &str, otlp: &Otlp) -> Result<Self, EndpointError> {
        let target = Target::new(url, otlp, b"http/1.1")?;
        let bad = || EndpointError::Url { url: url.to_owned() };
        let authority = target.uri.authority().ok_or_else(bad)?;
        let path = target.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let mut all = HeaderMap::new();
        all.insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?);
        all.insert(header::USER_AGENT, USER_AGENT);
        all.extend(headers(otlp)?);
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let gzip = otlp.compression == Compression::Gzip;
        if gzip {
            all.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self { target, path, headers: all, gzip, connection: None })
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let stream = self.target.connect().await?;
        let (requests, connection) = http1::handshake(stream).await.map_err(|source| self.target.http_error(source))?;
        let driver = tokio::spawn(async move {
            // Its error is the error of the request that was open, or a closed idle connection.
            drop(connection.await);
        });
        Ok(Connection { requests, _driver: driver.into() })
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        request
    }

    async fn exchange(&mut self, mut connection: Connection, body: Bytes) -> Result<Outcome, hyper::Error> {
        connection.requests.ready().await?;
        let answer = connection.requests.send_request(self.request(body)).await?;
        let (head, body) = answer.into_parts();
        match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => {
                self.connection = Some(connection);
                Ok(outcome::of_http(head.status, &head.headers, &body.to_bytes(), now()))
            }
            // The answer is cut or too long: its status stands, the connection cannot be used again.
            Err(_) => Ok(outcome::of_http(head.status, &head.headers, b"", now())),
        }
    }
}

impl Transport for OtlpHttp {
    async fn send(&mut self, payload: &Payload) -> Outcome {
        let body = if self.gzip { gzip(&payload.body) } else { payload.body.clone() };
        if let Some(connection) = self.connection.take()
            && !connection.requests.is_closed()
            && let Ok(outcome) = self.exchange(connection, body.clone()).await
        {
            return outcome;
        }
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::Retry { after: None, error: error.to_string() },
        };
        match self.exchange(connection, body).await {
            Ok(outcome) => outcome,
            Err(source) => Outcome::Retry { after: None, error: self.target.http_error(source).to_string() },
        }
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Level::fast());
    // Writing to a vector does not fail.
    drop(encoder.write_all(body));
    encoder.finish().unwrap_or_default().into()
}

#[expect(clippy::disallowed_methods, reason = "Retry-After may be a date")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
