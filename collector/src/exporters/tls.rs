//! TLS to an end point.
//!
//! In: PEM files of authorities, client certificate and key. Out: a rustls configuration (ring), or an error that names the
//! file and what to do.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use sidelight_config::Otlp;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing or is not PEM.
    #[error("cannot read {what} from {}; expected a PEM file", path.display())]
    File {
        /// Which.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A PEM file has nothing in it.
    #[error("{} has no certificate in it; expected a PEM file of certificate authorities", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The system has no authorities.
    #[error(
        "no certificate authorities found on this system ({problems}); install the package ca-certificates or set OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    NoRoots {
        /// What went wrong, if anything.
        problems: String,
    },
    /// Certificate without key or key without certificate.
    #[error("a client certificate needs its key and a key its certificate; set both or neither")]
    HalfIdentity,
    /// rustls refuses the certificate, the key or the combination.
    #[error("the TLS configuration is not usable")]
    Rustls(#[from] rustls::Error),
}

/// The configuration for an end point that speaks `alpn`.
pub(crate) fn config(otlp: &Otlp, alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(otlp)?);
    let mut config = match (&otlp.client_certificate, &otlp.client_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates("the client certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
                what: "the client key",
                path: key.clone(),
                source,
            })?;
            builder.with_client_auth_cert(chain, key)?
        }
        _ => return Err(TlsError::HalfIdentity),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

fn roots(otlp: &Otlp) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match &otlp.certificate {
        Some(path) => {
            for certificate in certificates("certificate authorities", path)? {
                store.add(certificate)?;
            }
            if store.is_empty() {
                return Err(TlsError::Empty { path: path.clone() });
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let problems = found.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(TlsError::NoRoots { problems });
            }
        }
    }
    Ok(store)
}

fn certificates(what: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |source| TlsError::File { what, path: path.clone(), source };
    CertificateDer::pem_file_iter(path).map_err(error)?.collect::<Result<_, _>>().map_err(error)
}
