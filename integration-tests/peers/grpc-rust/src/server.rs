//! The server.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::ready,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService},
    transport::Server,
};
use tower_service::Service;

use crate::{Ask, Counts, Raw, SERVICE};

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// One call: counted when it ends, as cancelled if it is dropped before.
struct Call {
    seen: Counts,
    method: &'static str,
    ended: bool,
}

impl Call {
    fn new(seen: &Counts, method: &'static str) -> Self {
        Self { seen: seen.clone(), method, ended: false }
    }

    fn end<T>(mut self, result: Result<T, Status>) -> Result<T, Status> {
        self.ended = true;
        self.seen.add(self.method, result.as_ref().map_or_else(Status::code, |_| Code::Ok));
        result
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.seen.add(self.method, Code::Cancelled);
        }
    }
}

async fn wait(ask: Ask) {
    if ask.delay > 0 {
        tokio::time::sleep(Duration::from_millis(ask.delay)).await;
    }
}

/// A method's handler, for tonic's four kinds of method.
#[derive(Clone)]
struct Method<F>(F);

impl<F, A, B, R> Service<Request<A>> for Method<F>
where
    F: Fn(A) -> R + Clone,
    R: Future<Output = Result<B, Status>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let answer = (self.0)(request.into_inner());
        Box::pin(async { answer.await.map(Response::new) })
    }
}

async fn unary(call: Call, message: Bytes) -> Result<Bytes, Status> {
    let ask = Ask::parse(&message);
    wait(ask).await;
    call.end(ask.end().map(|()| ask.reply()))
}

async fn server_stream(call: Call, message: Bytes) -> Result<Answers, Status> {
    let ask = Ask::parse(&message);
    let end = stream::once(async move {
        wait(ask).await;
        call.end(ask.end())
    });
    let end = end.filter_map(|end| ready(end.err().map(Err)));
    Ok(Box::pin(stream::iter((0..ask.count).map(move |_| Ok(ask.reply()))).chain(end)))
}

async fn client_stream(call: Call, mut messages: Streaming<Bytes>) -> Result<Bytes, Status> {
    let mut ask = Ask::default();
    while let Some(message) = messages.message().await? {
        ask = Ask::parse(&message);
    }
    call.end(ask.end().map(|()| ask.reply()))
}

async fn bidi_stream(call: Call, messages: Streaming<Bytes>) -> Result<Answers, Status> {
    let state = (Some(call), messages, Ask::default());
    Ok(Box::pin(stream::unfold(state, |(call, mut messages, last)| async move {
        let call = call?;
        match messages.message().await {
            Ok(Some(message)) => {
                let ask = Ask::parse(&message);
                Some((Ok(ask.reply()), (Some(call), messages, ask)))
            }
            Ok(None) => Some((Err(call.end(last.end()).err()?), (None, messages, last))),
            Err(status) => Some((Err(status), (None, messages, last))),
        }
    })))
}

#[derive(Clone)]
struct Echo(Counts);

impl NamedService for Echo {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let seen = self.0.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(Raw);
            Ok(match request.uri().path().rsplit('/').next() {
                Some("Unary") => {
                    grpc.unary(Method(move |message| unary(Call::new(&seen, "Unary"), message)), request).await
                }
                Some("ServerStream") => {
                    let method = Method(move |message| server_stream(Call::new(&seen, "ServerStream"), message));
                    grpc.server_streaming(method, request).await
                }
                Some("ClientStream") => {
                    let method = Method(move |messages| client_stream(Call::new(&seen, "ClientStream"), messages));
                    grpc.client_streaming(method, request).await
                }
                Some("BidiStream") => {
                    let method = Method(move |messages| bidi_stream(Call::new(&seen, "BidiStream"), messages));
                    grpc.streaming(method, request).await
                }
                _ => {
                    seen.add("Missing", Code::Unimplemented);
                    Status::unimplemented("no such method").into_http()
                }
            })
        })
    }
}

/// Serves until SIGTERM, then prints what it has seen.
pub async fn serve(options: &HashMap<&str, &str>) {
    let seen = Counts::default();
    let address = format!("127.0.0.1:{}", options["port"]).parse().unwrap();
    let mut ended = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        result = Server::builder().add_service(Echo(seen.clone())).serve(address) => result.unwrap(),
        _ = ended.recv() => {}
    }
    seen.print();
}
