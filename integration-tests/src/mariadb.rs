//! A MariaDB server of a test's own: no passwords, a database `shop` with a table, the general log as the truth.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Duration};

use crate::{
    peers::{Certificate, free_port},
    scene::{Running, Scene},
    wait_for,
};

/// The server, one of the scene's processes.
pub struct Mariadb {
    /// Its port on 127.0.0.1; `root` has no password.
    pub port: u16,
    log: PathBuf,
    running: Running,
}

/// What the clients find; one statement a line.
const INIT: &str = "CREATE DATABASE shop;
CREATE DATABASE other;
CREATE TABLE shop.items (id INT PRIMARY KEY, name VARCHAR(200), price DECIMAL(9, 2));
INSERT INTO shop.items VALUES (1, 'apple', 1.5), (2, 'pear', 2.25), (3, 'plum', 0.75);
CREATE USER app@'127.0.0.1' IDENTIFIED BY 'app-secret';
GRANT ALL ON *.* TO app@'127.0.0.1';
";

impl Mariadb {
    /// Makes its data and starts it, with TLS for those who want it.
    pub fn start(scene: &mut Scene) -> Self {
        let dir = scene.dir().display().to_string();
        let data = format!("{dir}/mariadb");
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={data}"))
            // Its temporary tables have names that another one's may have.
            .env("TMPDIR", &dir)
            .output()
            .expect("mariadb-install-db runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let Certificate { certificate, key } = Certificate::new(scene);
        let init = scene.file("init.sql", INIT);
        let (port, log) = (free_port(), scene.dir().join("general.log"));
        let argv = [
            "mariadbd".to_owned(),
            "--no-defaults".to_owned(),
            "--user=root".to_owned(),
            format!("--datadir={data}"),
            format!("--socket={dir}/mariadb.sock"),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--local-infile=1".to_owned(),
            "--innodb-buffer-pool-size=16M".to_owned(),
            format!("--init-file={}", init.display()),
            format!("--ssl-cert={}", certificate.display()),
            format!("--ssl-key={}", key.display()),
            "--general-log".to_owned(),
            format!("--general-log-file={}", log.display()),
        ];
        let running = scene.start(&argv);
        wait_for("MariaDB", Duration::from_secs(60), || {
            running.stderr().contains("ready for connections").then_some(())
        });
        Self { port, log, running }
    }

    /// How many commands of each kind the server has logged for connections from outside: `Query`, `Prepare`, `Execute`,
    /// `Init DB`, `Connect`, `Quit` and more.
    pub fn commands(&self) -> BTreeMap<String, usize> {
        let log = fs::read_to_string(&self.log).unwrap();
        let mut commands = BTreeMap::new();
        let mut clients = Vec::new();
        for line in log.lines() {
            // [time] TAB [TAB] connection's number, blank, command, TAB, text
            let column = line.split('\t').skip(1).find(|column| !column.is_empty());
            let Some((number, command)) = column.and_then(|column| column.trim().split_once(' ')) else { continue };
            if command == "Connect" {
                clients.push(number.to_owned());
            }
            if clients.iter().any(|client| client == number) {
                *commands.entry(command.to_owned()).or_default() += 1;
            }
        }
        commands
    }

    /// Ends it.
    pub fn stop(self, scene: &mut Scene) {
        scene.stop(&self.running);
    }
}
