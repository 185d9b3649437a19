//! Accepts connections, plain or TLS, and serves them on a thread of its own.

use std::{
    io::BufReader,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Notify, oneshot},
};
use tokio_rustls::TlsAcceptor;

use super::{Protocol, Shared, Tls, grpc, http};

/// What the services know of their connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    reset: Arc<Notify>,
    socket: Arc<OwnedFd>,
}

impl Peer {
    /// Ends the connection with a reset.
    pub(crate) fn reset(&self) {
        rustix::net::sockopt::set_socket_linger(&*self.socket, Some(std::time::Duration::ZERO)).unwrap();
        self.reset.notify_one();
    }
}

/// The thread; it ends with this value, and with it every connection.
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(protocol: Protocol, port: u16, tls: Option<&Tls>, shared: &Arc<Shared>) -> (Self, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tls.map(|tls| acceptor(protocol, tls));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, acceptor, protocol, &shared) => {}
                }
            });
        });
        (Self { stop: Some(stop), thread: Some(thread) }, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(thread::JoinHandle::join);
    }
}

fn acceptor(protocol: Protocol, tls: &Tls) -> TlsAcceptor {
    let chain = CertificateDer::pem_reader_iter(BufReader::new(std::fs::File::open(&tls.certificate).unwrap()));
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&tls.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![match protocol {
        Protocol::Grpc => b"h2".to_vec(),
        Protocol::Http => b"http/1.1".to_vec(),
    }];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, protocol: Protocol, shared: &Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (tcp, address) = listener.accept().await.unwrap();
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(shared));
        tokio::spawn(async move {
            let peer = Peer {
                address,
                shared,
                reset: Arc::new(Notify::new()),
                socket: Arc::new(tcp.as_fd().try_clone_to_owned().unwrap()),
            };
            let reset = Arc::clone(&peer.reset);
            tokio::select! {
                () = reset.notified() => {}
                () = handshake(tcp, acceptor, protocol, peer) => {}
            }
        });
    }
}

async fn handshake(tcp: TcpStream, acceptor: Option<TlsAcceptor>, protocol: Protocol, peer: Peer) {
    match acceptor {
        None => serve(tcp, protocol, peer).await,
        // A client that does not trust us ends the handshake: that is the client's finding.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(tcp).await {
                serve(stream, protocol, peer).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, protocol: Protocol, peer: Peer) {
    let io = TokioIo::new(stream);
    // How a connection ends is the client's finding.
    match protocol {
        Protocol::Grpc => {
            let service = service_fn(move |request: ::http::Request<Incoming>| grpc::serve(request, peer.clone()));
            drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await);
        }
        Protocol::Http => {
            let service = service_fn(move |request: ::http::Request<Incoming>| http::serve(request, peer.clone()));
            drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
        }
    }
}
