//! A real PostgreSQL, whose log of statements is the truth.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use super::{Certificate, free_port};
use crate::{
    scene::{Running, Scene},
    wait_for,
};

/// How often each first word of a statement ended with each SQLSTATE: `SELECT 00000`.
pub type Statements = BTreeMap<String, usize>;

/// A server of one's own on 127.0.0.1 and on a Unix socket, with and without TLS.
pub struct Postgres {
    /// TCP port, and number of the Unix socket.
    pub port: u16,
    /// The folder of the Unix socket.
    pub sockets: PathBuf,
    running: Running,
}

/// A program of the newest PostgreSQL of Debian.
pub fn program(name: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let newest = versions
        .max_by_key(|dir| dir.as_ref().ok().and_then(|dir| dir.file_name().to_str()?.parse::<u32>().ok()).unwrap_or(0));
    newest.unwrap().unwrap().path().join("bin").join(name).display().to_string()
}

const AS_POSTGRES: [&str; 4] = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];

impl Postgres {
    /// Makes a cluster with the database `shop`, starts it and waits until it answers.
    pub fn start(scene: &mut Scene) -> Self {
        let Certificate { certificate, key } = Certificate::new(scene);
        let (port, sockets) = (free_port(), scene.dir().join("postgresql"));
        fs::create_dir(&sockets).unwrap();
        fs::set_permissions(&sockets, Permissions::from_mode(0o777)).unwrap();
        let data = sockets.join("data").display().to_string();
        let owned = |argv: &[&str]| {
            let done = Command::new(AS_POSTGRES[0]).args(&AS_POSTGRES[1..]).args(argv).output().unwrap();
            assert!(done.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        owned(&[&program("initdb"), "-A", "trust", "--no-sync", "-D", &data]);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        let server_key = sockets.join("server.key").display().to_string();
        owned(&["install", "-m", "600", key.to_str().unwrap(), &server_key]);
        let (number, folder) = (port.to_string(), sockets.display().to_string());
        let settings = [
            ("port", &number[..]),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &folder),
            ("fsync", "off"),
            ("ssl", "on"),
            ("ssl_cert_file", certificate.to_str().unwrap()),
            ("ssl_key_file", &server_key),
            ("log_statement", "all"),
            ("log_line_prefix", "%p %e "),
        ];
        let settings: Vec<String> =
            settings.iter().flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]).collect();
        let mut argv: Vec<String> = AS_POSTGRES.iter().map(|&word| word.to_owned()).collect();
        argv.extend([program("postgres"), "-D".to_owned(), data]);
        argv.extend(settings);
        let running = scene.start(&argv);
        let postgres = Self { port, sockets, running };
        let create = ["psql", "-X", "-q", "-c", "create database shop", &postgres.url("postgres", "sslmode=disable")];
        wait_for("PostgreSQL", Duration::from_secs(30), || {
            let done = Command::new(create[0]).args(&create[1..]).output().unwrap();
            done.status.success().then_some(())
        });
        postgres
    }

    /// Where a client connects to over TCP; `more`: parameters such as `sslmode=require`.
    pub fn url(&self, database: &str, more: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database} gssencmode=disable {more}", self.port)
    }

    /// The same over the Unix socket.
    pub fn unix_url(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.sockets.display(), self.port)
    }

    /// Bytes of the log so far.
    pub fn logged(&self) -> usize {
        self.running.stderr().len()
    }

    /// The statements logged since: one for each Query message and each Execute.
    pub fn statements(&self, since: usize) -> Statements {
        let log = self.running.stderr();
        let mut all: Vec<(String, String)> = Vec::new();
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for line in log[since..].lines() {
            let Some((process, rest)) = line.split_once(' ') else { continue };
            let Some((state, rest)) = rest.split_once(' ') else { continue };
            let Some((kind, text)) = rest.split_once(":  ") else { continue };
            let (failed, text) = match kind {
                "LOG" if text.starts_with("statement: ") || text.starts_with("execute ") => {
                    (false, text.split_once(": ").map_or("", |(_, text)| text))
                }
                "STATEMENT" => (true, text),
                _ => continue,
            };
            let word = first_word(text);
            // A text that is no SQL is logged with its error only.
            if failed && state != "42601" {
                all[last[process]].1 = state.to_owned();
            } else {
                last.insert(process, all.len());
                all.push((word, state.to_owned()));
            }
        }
        count(all.into_iter().map(|(word, state)| format!("{word} {state}")))
    }
}

/// The first word of a statement in capitals.
pub fn first_word(text: &str) -> String {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    text[..end].to_ascii_uppercase()
}

/// How often each is there.
pub fn count(all: impl IntoIterator<Item = String>) -> Statements {
    let mut counted = Statements::new();
    all.into_iter().for_each(|one| *counted.entry(one).or_default() += 1);
    counted
}
