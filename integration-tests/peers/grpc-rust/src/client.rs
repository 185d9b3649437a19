//! The client.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};

use crate::{Ask, Counts, Raw, SERVICE};

/// Of the work `deadline`.
const DEADLINE: Duration = Duration::from_secs(1);

/// The options every worker reads.
struct Load {
    work: String,
    trace: bool,
    stop: Option<String>,
    next: AtomicUsize,
    seen: Counts,
}

struct Call<'a> {
    load: &'a Load,
    grpc: Grpc<Channel>,
    number: usize,
}

impl Call<'_> {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.load.trace {
            let id = self.number + 1;
            let value = format!("00-{id:032x}-{id:016x}-01").parse().unwrap();
            request.metadata_mut().insert("traceparent", value);
        }
        request
    }

    async fn run(&mut self, method: &'static str, ask: Ask, up: usize, padding: usize) {
        self.grpc.ready().await.unwrap();
        let path: PathAndQuery = format!("/{SERVICE}/{method}").parse().unwrap();
        let message = ask.message(padding);
        let result = match method {
            "ServerStream" => {
                let request = self.request(message);
                match self.grpc.server_streaming(request, path, Raw).await {
                    Ok(answers) => self.read(answers.into_inner()).await,
                    Err(status) => Err(status),
                }
            }
            "ClientStream" => {
                let request = self.request(stream::iter(vec![message; up]));
                self.grpc.client_streaming(request, path, Raw).await.map(drop)
            }
            "BidiStream" => self.bidi(path, message, up).await,
            _ => {
                let mut request = self.request(message);
                if self.load.work == "deadline" {
                    request.set_timeout(DEADLINE);
                    match tokio::time::timeout(DEADLINE, self.grpc.unary(request, path, Raw)).await {
                        Ok(result) => result.map(drop),
                        Err(_) => Err(Status::deadline_exceeded("too late")),
                    }
                } else {
                    self.grpc.unary(request, path, Raw).await.map(drop)
                }
            }
        };
        self.load.seen.add(method, result.map_or_else(|status| status.code(), |()| Code::Ok));
    }

    async fn read(&self, mut answers: Streaming<Bytes>) -> Result<(), Status> {
        while answers.message().await?.is_some() {
            if self.load.work == "cancel" {
                // dropping the answers resets the stream
                return Err(Status::cancelled("enough"));
            }
        }
        Ok(())
    }

    /// Sends the next message when the last was answered.
    async fn bidi(&mut self, path: PathAndQuery, message: Bytes, up: usize) -> Result<(), Status> {
        let (more, messages) = tokio::sync::mpsc::channel(1);
        more.send(message.clone()).await.unwrap();
        let messages = stream::unfold(messages, |mut messages| async move { Some((messages.recv().await?, messages)) });
        let request = self.request(messages);
        let mut answers = self.grpc.streaming(request, path, Raw).await?.into_inner();
        let (mut more, mut sent) = (Some(more), 1);
        while answers.message().await?.is_some() {
            match &more {
                Some(more) if sent < up => more.send(message.clone()).await.unwrap(),
                _ => more = None,
            }
            sent += 1;
        }
        Ok(())
    }

    async fn work(&mut self) {
        let (i, turn) = (self.number, self.number / 10);
        let mut ask = Ask { size: i * 37 % 3000, ..Ask::default() };
        match self.load.work.as_str() {
            "unary" => return self.run("Unary", Ask { size: 10, ..Ask::default() }, 1, 0).await,
            "large" => return self.run("Unary", Ask { size: 150_000, ..Ask::default() }, 1, 60_000).await,
            "huge" => return self.run("Unary", Ask { size: 3_000_000, ..Ask::default() }, 1, 3_000_000).await,
            "deadline" => return self.run("Unary", Ask { delay: 60_000, ..Ask::default() }, 1, 0).await,
            "slow" => {
                let ask = Ask { count: 2, size: 10, delay: 100, ..Ask::default() };
                return self.run("ServerStream", ask, 1, 0).await;
            }
            "cancel" => {
                let ask = Ask { count: 1, size: 10, delay: 60_000, ..Ask::default() };
                return self.run("ServerStream", ask, 1, 0).await;
            }
            _ => {}
        }
        match i % 10 {
            5 => {
                ask.status = [5, 13, 7, 3, 16][turn % 5];
                self.run("Unary", ask, 1, 0).await;
            }
            6 => {
                ask.count = turn % 4;
                self.run("ServerStream", ask, 1, 0).await;
            }
            7 => self.run("ClientStream", ask, 1 + turn % 4, 0).await,
            8 => {
                ask.status = if turn % 3 == 0 { 10 } else { 0 };
                self.run("BidiStream", ask, 1 + turn % 4, 0).await;
            }
            9 if turn % 2 == 0 => self.run("Missing", ask, 1, 0).await,
            9 => self.run("ServerStream", Ask { status: 8, count: 2, ..ask }, 1, 0).await,
            _ => self.run("Unary", ask, 1, 0).await,
        }
    }
}

async fn run(load: &Arc<Load>, channel: &Channel, streams: usize, until: usize) {
    let workers: Vec<_> = (0..streams)
        .map(|_| {
            let (load, channel) = (load.clone(), channel.clone());
            tokio::spawn(async move {
                while !load.stop.as_ref().is_some_and(|stop| Path::new(stop).exists()) {
                    let number = load.next.fetch_add(1, Ordering::Relaxed);
                    if number >= until {
                        return;
                    }
                    Call { load: &load, grpc: Grpc::new(channel.clone()), number }.work().await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    load.next.store(until, Ordering::Relaxed);
}

/// Waits until a named pipe gives a byte.
async fn wait(pipe: &str) {
    let pipe = pipe.to_owned();
    let read = || File::open(pipe)?.read_exact(&mut [0]);
    tokio::task::spawn_blocking(read).await.unwrap().unwrap();
}

/// Makes the calls, then prints what came of them.
pub async fn load(options: &HashMap<&str, &str>) {
    let number = |key: &str, otherwise| options.get(key).map_or(otherwise, |text| text.parse().unwrap());
    let load = Arc::new(Load {
        work: (*options.get("work").unwrap_or(&"mix")).to_owned(),
        trace: options.contains_key("trace"),
        stop: options.get("stop").map(|stop| (*stop).to_owned()),
        next: AtomicUsize::new(0),
        seen: Counts::default(),
    });
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", options["port"])).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let (streams, first) = (number("streams", 1), number("first", 0));
    if first > 0 {
        run(&load, &channel, streams, first).await;
        println!("waiting");
        wait(options["go"]).await;
    }
    run(&load, &channel, streams, number("calls", 1)).await;
    if let Some(pipe) = options.get("hold") {
        wait(pipe).await;
    }
    drop(channel);
    load.seen.print();
}
