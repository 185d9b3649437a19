//! OTLP/HTTP with Protobuf bodies.

use std::{convert::Infallible, io::Read};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;

use super::{Message, Reply, server::Peer};

pub(crate) async fn serve(request: Request<Incoming>, peer: Peer) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = peer.shared.begin();
    let (head, mut body) = request.into_parts();
    if reply == Reply::Reset {
        body.frame().await;
        peer.reset();
        return std::future::pending().await;
    }
    // The client is gone: its finding.
    let Ok(body) = body.collect().await else { return std::future::pending().await };
    let body = plain(&head.headers, body.to_bytes());
    let message = match head.uri.path() {
        "/v1/traces" => Message::Traces(Message::decode_as(&body)),
        "/v1/metrics" => Message::Metrics(Message::decode_as(&body)),
        path => panic!("unexpected path {path}"),
    };
    assert_eq!(head.headers["content-type"], "application/x-protobuf");
    let headers = lower(&head.headers);
    peer.shared.record(super::Request { headers, message, reply: reply.clone(), from: peer.address });
    Ok(match reply {
        Reply::Accept => success(0, ""),
        Reply::Partial(rejected, message) => success(rejected, message),
        Reply::Answer(status, headers, text) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::from(text)).unwrap()
        }
        Reply::Hang => std::future::pending().await,
        Reply::Reset | Reply::Fail(..) => unreachable!("not a reply of HTTP"),
    })
}

impl Message {
    fn decode_as<M: prost::Message + Default>(body: &[u8]) -> M {
        M::decode(body).unwrap()
    }
}

/// `rejected_spans` and `rejected_data_points` have the same field number.
fn success(rejected: i64, message: &str) -> Response<Full<Bytes>> {
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message.to_owned() };
    let partial_success = (rejected != 0 || !message.is_empty()).then_some(partial);
    let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    Response::builder().header("content-type", "application/x-protobuf").body(Full::from(body)).unwrap()
}

fn plain(headers: &HeaderMap, body: Bytes) -> Vec<u8> {
    match headers.get("content-encoding") {
        None => body.to_vec(),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            let mut plain = Vec::new();
            GzDecoder::new(body.as_ref()).read_to_end(&mut plain).unwrap();
            plain
        }
    }
}

pub(crate) fn lower(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect()
}
