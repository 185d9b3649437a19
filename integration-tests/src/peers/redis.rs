//! redis-server of the scene, and what it counted.

use std::{collections::BTreeMap, process::Command};

use super::{Certificate, free_port, listening};
use crate::{
    scene::{Running, Scene},
    spans::{Kind, Span},
};

/// A server without a disk, on 127.0.0.1.
pub struct Redis {
    /// Plain.
    pub port: u16,
    /// TLS.
    pub tls_port: u16,
    /// The authority to trust.
    pub certificate: Certificate,
    running: Running,
}

/// Commands by their name, and errors by their prefix.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// `GET`, `CLIENT SETNAME`.
    pub commands: BTreeMap<String, u64>,
    /// `WRONGTYPE`.
    pub errors: BTreeMap<String, u64>,
}

impl Redis {
    /// Starts it and waits until it listens.
    pub fn start(scene: &mut Scene) -> Self {
        let (port, tls_port) = (free_port(), free_port());
        let certificate = Certificate::new(scene);
        let dir = scene.dir().display().to_string();
        let text = |path: &std::path::Path| path.display().to_string();
        let running = scene.start(&[
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            &text(&certificate.certificate),
            "--tls-key-file",
            &text(&certificate.key),
            "--tls-auth-clients",
            "no",
            "--save",
            "",
            "--dir",
            &dir,
        ]);
        listening(port);
        listening(tls_port);
        Self { port, tls_port, certificate, running }
    }

    /// Arguments to redis-cli and redis-benchmark.
    pub fn client(&self, program: &str, tls: bool) -> Vec<String> {
        let port = if tls { self.tls_port } else { self.port };
        let mut words = vec![program.to_owned(), "-h".into(), "127.0.0.1".into(), "-p".into(), port.to_string()];
        if tls {
            words.extend(["--tls".into(), "--cacert".into(), self.certificate.certificate.display().to_string()]);
        }
        words
    }

    /// The server's own statistics. Asked from outside of the scene; the two questions are commands as well, counted here.
    pub fn counted(&self) -> Counted {
        let ask = |section: &str| {
            let words = self.client("redis-cli", false);
            let done =
                Command::new(&words[0]).args(&words[1..]).args(["INFO", section]).output().expect("redis-cli runs");
            assert!(done.status.success(), "{done:?}");
            String::from_utf8_lossy(&done.stdout).into_owned()
        };
        let mut counted = Counted::default();
        // cmdstat_client|setname:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0
        for line in ask("commandstats").lines() {
            let Some((name, figures)) = line.strip_prefix("cmdstat_").and_then(|line| line.split_once(':')) else {
                continue;
            };
            let figure = |key: &str| -> u64 {
                let found = figures.split(',').find_map(|pair| pair.trim_end().strip_prefix(key)?.strip_prefix('='));
                found.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {key} in {line}"))
            };
            let name = name.to_ascii_uppercase().replace('|', " ");
            *counted.commands.entry(name).or_default() += figure("calls") + figure("rejected_calls");
        }
        *counted.commands.entry("INFO".to_owned()).or_default() += 2;
        // errorstat_WRONGTYPE:count=1
        for line in ask("errorstats").lines() {
            if let Some((name, count)) = line.strip_prefix("errorstat_").and_then(|line| line.split_once(":count=")) {
                counted.errors.insert(name.to_owned(), count.trim_end().parse().unwrap());
            }
        }
        counted
    }

    /// Ends it.
    pub fn stop(self, scene: &mut Scene) {
        scene.stop(&self.running);
    }
}

impl Counted {
    /// The same of the spans of a kind. A command that the server does not know has no name.
    pub fn spans(spans: &[Span], kind: Kind) -> Self {
        let mut counted = Self::default();
        for span in spans.iter().filter(|span| span.kind == kind && span.get("db.system.name") == "redis") {
            for (counts, key) in
                [(&mut counted.commands, "db.operation.name"), (&mut counted.errors, "db.response.status_code")]
            {
                if !span.get(key).is_empty() {
                    *counts.entry(span.get(key).to_owned()).or_default() += 1;
                }
            }
        }
        counted
    }
}
