//! Console and OTLP-JSON output: lines to standard output, standard error or a file.
//!
//! In: payloads of whole lines. Out: written, or the reader is gone. Writing may block (a pipe nobody reads), so it happens on
//! a thread of its own; the exporter and the ring go on, and the queue's bound holds.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{outcome::Outcome, pending::Payload, sender::Transport};

/// The file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the output file {}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The transport.
pub(crate) struct Writer {
    to: Arc<Mutex<dyn Write + Send>>,
}

impl Writer {
    pub(crate) fn new(to: impl Write + Send + 'static) -> Self {
        Self { to: Arc::new(Mutex::new(to)) }
    }

    /// A file is appended to, and made if it is not there.
    pub(crate) fn file(path: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self::new(file.map_err(|source| FileError { path: path.to_owned(), source })?))
    }
}

impl Transport for Writer {
    async fn send(&mut self, payload: &Payload) -> Outcome {
        let (to, body) = (Arc::clone(&self.to), payload.body.clone());
        let written = tokio::task::spawn_blocking(move || {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.write_all(&body)?;
            to.flush()
        })
        .await;
        match written {
            Ok(Ok(())) => Outcome::Delivered { rejected: 0, message: String::new() },
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => Outcome::Ended,
            // Part of it may have been written: repeating it would show lines twice.
            Ok(Err(error)) => Outcome::Refused(format!("cannot write the output: {error}")),
            Err(error) => Outcome::Refused(format!("cannot write the output: {error}")),
        }
    }
}
