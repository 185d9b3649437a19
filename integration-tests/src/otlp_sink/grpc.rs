//! OTLP/gRPC: the services `opentelemetry-proto` generates.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tonic::{Status, body::Body, codec::CompressionEncoding};
use tonic_types::{ErrorDetails, StatusExt};
use tower_service::Service;

use super::{Message, Reply, http::lower, server::Peer};

/// Taken, and given to clients that announce it.
const GZIP: CompressionEncoding = CompressionEncoding::Gzip;

pub(crate) async fn serve(mut request: Request<Incoming>, peer: Peer) -> Result<Response<Body>, Infallible> {
    let reply = peer.shared.begin();
    if reply == Reply::Reset {
        request.body_mut().frame().await;
        peer.reset();
        return std::future::pending().await;
    }
    let headers = lower(request.headers());
    let call = Call { reply, headers, peer };
    if request.uri().path().contains(".trace.") {
        TraceServiceServer::new(call).accept_compressed(GZIP).send_compressed(GZIP).call(request).await
    } else {
        MetricsServiceServer::new(call).accept_compressed(GZIP).send_compressed(GZIP).call(request).await
    }
}

/// One call.
struct Call {
    reply: Reply,
    headers: Vec<(String, String)>,
    peer: Peer,
}

impl Call {
    /// Records the message; gives how many are rejected and why.
    async fn answer(&self, message: Message) -> Result<Option<(i64, String)>, Status> {
        let (headers, reply) = (self.headers.clone(), self.reply.clone());
        self.peer.shared.record(super::Request { headers, message, reply, from: self.peer.address });
        match &self.reply {
            Reply::Accept => Ok(None),
            Reply::Partial(rejected, message) => Ok(Some((*rejected, (*message).to_owned()))),
            Reply::Fail(code, message, None) => Err(Status::new(*code, *message)),
            Reply::Fail(code, message, delay) => {
                Err(Status::with_error_details(*code, *message, ErrorDetails::with_retry_info(*delay)))
            }
            Reply::Hang => std::future::pending().await,
            Reply::Reset | Reply::Answer(..) => unreachable!("not a reply of gRPC"),
        }
    }
}

#[tonic::async_trait]
impl TraceService for Call {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let partial = self.answer(Message::Traces(request.into_inner())).await?;
        let partial_success =
            partial.map(|(rejected_spans, error_message)| ExportTracePartialSuccess { rejected_spans, error_message });
        Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Call {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let partial = self.answer(Message::Metrics(request.into_inner())).await?;
        let partial_success = partial.map(|(rejected_data_points, error_message)| ExportMetricsPartialSuccess {
            rejected_data_points,
            error_message,
        });
        Ok(tonic::Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}
