//! Connections to an end point.
//!
//! In: the URL and TLS settings of one signal. Out: a byte stream, plain or TLS. The kernel knows the daemon's own connections
//! by itself and leaves both their ends alone.

use std::{io, net::SocketAddr};

use http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, pki_types::ServerName};
use sidelight_config::Otlp;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::{AbortHandle, JoinHandle},
};
use tokio_rustls::TlsConnector;

use super::tls::{self, TlsError};

/// Why an end point cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL we can use.
    #[error("end point {url:?} is not a URL; expected http://HOST:PORT or https://HOST:PORT")]
    Url {
        /// As configured.
        url: String,
    },
    /// A header cannot be sent.
    #[error("header {name:?} of the end point has a name or value that cannot be sent")]
    Header {
        /// Which.
        name: String,
    },
    /// TLS cannot be set up.
    #[error("cannot use TLS for {url}")]
    Tls {
        /// As configured.
        url: String,
        /// Why.
        source: TlsError,
    },
}

/// Why a connection could not be made; always worth another attempt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("cannot connect to {peer}: {source}")]
    Connect { peer: SocketAddr, source: io::Error },
    #[error("TLS with {host} failed: {advice}")]
    Tls { host: String, advice: String },
    #[error("HTTP with {host} failed: {source}")]
    Http { host: String, source: hyper::Error },
}

/// Where one signal goes.
pub(crate) struct Target {
    pub(crate) uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What hyper reads and writes.
pub(crate) type Stream = TokioIo<Box<dyn Duplex>>;

/// Both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Target {
    pub(crate) fn new(url: &str, otlp: &Otlp, alpn: &[u8]) -> Result<Self, EndpointError> {
        let bad = || EndpointError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(bad()),
        };
        let host = uri.host().map(|host| host.trim_matches(['[', ']']).to_owned()).ok_or_else(bad)?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
            let config =
                tls::config(otlp, alpn).map_err(|source| EndpointError::Tls { url: url.to_owned(), source })?;
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        Ok(Self { uri, host, port, tls })
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Stream, ConnectError> {
        let tcp = self.tcp().await?;
        let stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(tcp),
            Some((connector, name)) => Box::new(
                connector
                    .connect(name.clone(), tcp)
                    .await
                    .map_err(|error| ConnectError::Tls { host: self.host.clone(), advice: advice(&error) })?,
            ),
        };
        Ok(TokioIo::new(stream))
    }

    async fn tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = || format!("{}:{}", self.host, self.port);
        let addresses = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|source| ConnectError::Resolve { host: host(), source })?;
        let mut last = ConnectError::NoAddress { host: host() };
        for peer in addresses {
            let attempt = async {
                let tcp = TcpStream::connect(peer).await?;
                tcp.set_nodelay(true)?;
                Ok(tcp)
            };
            match attempt.await {
                Ok(tcp) => return Ok(tcp),
                Err(source) => last = ConnectError::Connect { peer, source },
            }
        }
        Err(last)
    }

    pub(crate) fn http_error(&self, source: hyper::Error) -> ConnectError {
        ConnectError::Http { host: self.host.clone(), source }
    }
}

/// The task that moves a connection's bytes; it ends with this value.
pub(crate) struct Driver(AbortHandle);

impl From<JoinHandle<()>> for Driver {
    fn from(task: JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the operator can do about a failed handshake.
fn advice(error: &io::Error) -> String {
    use rustls::Error as Tls;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        // A bad signature: an authority of the same name with another key.
        Some(Tls::InvalidCertificate(CertificateError::BadSignature | CertificateError::UnknownIssuer)) => {
            "its certificate is signed by an authority we do not trust; set OTEL_EXPORTER_OTLP_CERTIFICATE to the PEM file of that authority".to_owned()
        }
        Some(Tls::InvalidCertificate(
            why @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        )) => format!("its certificate is for another name ({why}); use that name in the end point"),
        Some(Tls::InvalidCertificate(why)) => format!("its certificate is not valid ({why}); replace it at the end point"),
        Some(Tls::InvalidMessage(_)) => {
            "it does not speak TLS on this port; use http:// in the end point or another port".to_owned()
        }
        Some(Tls::AlertReceived(alert)) => format!("it refused us ({alert:?}); it may ask for a client certificate"),
        _ => error.to_string(),
    }
}
