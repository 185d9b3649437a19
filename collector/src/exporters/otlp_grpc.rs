//! OTLP over gRPC.
//!
//! In: payloads, one at a time: encoded `Export...ServiceRequest` messages, sent as they are. Out: what the end point
//! answered. tonic frames the messages; the HTTP/2 connection is ours, kept and made anew when it is gone.

use std::{
    error::Error,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, Request, Response, Uri, header, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::TokioExecutor;
use sidelight_config::{Compression, Otlp};
use tonic::{
    Status,
    body::Body,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};
use tower_service::Service;

use super::{
    connect::{ConnectError, Driver, EndpointError, Target},
    otlp_http::{USER_AGENT, headers},
    outcome::{self, Outcome},
    pending::Payload,
    sender::Transport,
    signal::Signal,
};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// The transport.
pub(crate) struct OtlpGrpc {
    target: Target,
    /// Scheme and authority: a path in the end point would become a prefix of the method's.
    origin: Uri,
    method: PathAndQuery,
    metadata: HeaderMap,
    timeout: Duration,
    gzip: bool,
    connection: Option<(Channel, Driver)>,
}

impl OtlpGrpc {
    pub(crate) fn new(url: &str, signal: Signal, otlp: &Otlp) -> Result<Self, EndpointError> {
        let method = match signal {
            Signal::Metrics => METRICS,
            Signal::Traces => TRACES,
        };
        let mut metadata = HeaderMap::new();
        metadata.insert(header::USER_AGENT, USER_AGENT);
        metadata.extend(headers(otlp)?);
        let target = Target::new(url, otlp, b"h2")?;
        let mut origin = target.uri.clone().into_parts();
        origin.path_and_query = Some(PathAndQuery::from_static("/"));
        Ok(Self {
            target,
            origin: Uri::from_parts(origin).map_err(|_| EndpointError::Url { url: url.to_owned() })?,
            method: PathAndQuery::from_static(method),
            metadata,
            timeout: otlp.timeout,
            gzip: otlp.compression == Compression::Gzip,
            connection: None,
        })
    }

    async fn connect(&self) -> Result<(Channel, Driver), ConnectError> {
        let stream = self.target.connect().await?;
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(stream)
            .await
            .map_err(|source| self.target.http_error(source))?;
        let driver = tokio::spawn(async move {
            // Its error is the error of the call that was open, or a closed idle connection.
            drop(connection.await);
        });
        Ok((Channel(requests), driver.into()))
    }

    async fn call(&self, channel: Channel, body: Bytes) -> Result<Bytes, Status> {
        let mut client = Grpc::with_origin(channel, self.origin.clone());
        if self.gzip {
            // Go servers answer with the encoding of the request.
            client = client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
        }
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(body);
        *request.metadata_mut() = MetadataMap::from_headers(self.metadata.clone());
        request.set_timeout(self.timeout);
        Ok(client.unary(request, self.method.clone(), Raw).await?.into_inner())
    }
}

impl Transport for OtlpGrpc {
    async fn send(&mut self, payload: &Payload) -> Outcome {
        if let Some((channel, driver)) = self.connection.take()
            && !channel.0.is_closed()
        {
            match self.call(channel.clone(), payload.body.clone()).await {
                Err(status) if is_ours(&status) => {}
                answer => {
                    self.connection = Some((channel, driver));
                    return judge(answer);
                }
            }
        }
        let (channel, driver) = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::Retry { after: None, error: error.to_string() },
        };
        let answer = self.call(channel.clone(), payload.body.clone()).await;
        if !answer.as_ref().is_err_and(is_ours) {
            self.connection = Some((channel, driver));
        }
        judge(answer)
    }
}

/// Whether a status was made here, of a broken connection, and not sent by the end point.
fn is_ours(status: &Status) -> bool {
    status.source().is_some()
}

fn judge(answer: Result<Bytes, Status>) -> Outcome {
    match answer {
        Ok(body) => outcome::accepted(&body),
        Err(status) => match status.source() {
            Some(source) => Outcome::Retry { after: None, error: chain(source) },
            None => outcome::of_grpc(status.code(), status.message(), status.details()),
        },
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// One HTTP/2 connection as the service tonic calls.
#[derive(Clone)]
struct Channel(http2::SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Messages are bytes already.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
