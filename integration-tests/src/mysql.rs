//! A MariaDB or MySQL server of a test's own: a database `shop` with a table, a user, the general log as the truth.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Duration};

use crate::{
    peers::{Certificate, built, free_port},
    scene::{Running, Scene},
    wait_for,
};

/// The server, one of the scene's processes.
pub struct Server {
    /// Its program.
    pub name: &'static str,
    /// Its port on 127.0.0.1; `app` has the password `app-secret`.
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

impl Server {
    /// Makes a MariaDB server's data and starts it, with TLS for those who want it; `root` has no password.
    pub fn mariadb(scene: &mut Scene) -> Self {
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
        let argv = [
            "mariadbd".to_owned(),
            "--no-defaults".to_owned(),
            format!("--datadir={data}"),
            format!("--ssl-cert={}", certificate.display()),
            format!("--ssl-key={}", key.display()),
        ];
        Self::start(scene, "mariadbd", argv.into(), INIT)
    }

    /// The same with MySQL, which makes its own certificate, and whose users log in by `caching_sha2_password`.
    pub fn mysql(scene: &mut Scene) -> Self {
        let usr = built("mysql-server/usr");
        let argv = [
            format!("{usr}/sbin/mysqld"),
            "--no-defaults".to_owned(),
            format!("--basedir={usr}"),
            format!("--lc-messages-dir={usr}/share/mysql"),
            format!("--datadir={}/mysql", scene.dir().display()),
        ];
        let (program, args) = argv.split_first().unwrap();
        let made = Command::new(program).args(args).args(["--initialize-insecure", "--user=root"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut argv = argv.to_vec();
        argv.extend(
            [
                &format!("--plugin-dir={usr}/lib/mysql/plugin"),
                "--mysqlx=OFF",
                "--disable-log-bin",
                "--secure-file-priv=",
                // Else it does not log what it cannot parse.
                "--log-raw",
            ]
            .map(str::to_owned),
        );
        let more = "CREATE DEFINER=app@'127.0.0.1' PROCEDURE shop.twice() SELECT name FROM shop.items;\nINSTALL COMPONENT 'file://component_query_attributes';\n";
        Self::start(scene, "mysqld", argv, &format!("{INIT}{more}"))
    }

    fn start(scene: &mut Scene, name: &'static str, mut argv: Vec<String>, init: &str) -> Self {
        let dir = scene.dir().display().to_string();
        let init = scene.file("init.sql", init);
        let (port, log) = (free_port(), scene.dir().join("general.log"));
        argv.extend([
            "--user=root".to_owned(),
            format!("--socket={dir}/{name}.sock"),
            format!("--pid-file={dir}/{name}.pid"),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--local-infile=1".to_owned(),
            "--innodb-buffer-pool-size=16M".to_owned(),
            format!("--init-file={}", init.display()),
            "--general-log".to_owned(),
            format!("--general-log-file={}", log.display()),
        ]);
        let running = scene.start(&argv);
        wait_for(name, Duration::from_secs(60), || running.stderr().contains("ready for connections").then_some(()));
        Self { name, port, log, running }
    }

    /// How many commands of each kind the server has logged for connections from outside: `Query`, `Prepare`, `Execute`,
    /// `Init DB`, `Connect`, `Quit` and more.
    pub fn commands(&self) -> BTreeMap<String, usize> {
        let log = fs::read_to_string(&self.log).unwrap();
        let mut commands = BTreeMap::new();
        let (mut clients, mut prepared) = (Vec::new(), Vec::new());
        for line in log.lines() {
            // [time] TAB [TAB] connection's number, blank, command, TAB, text
            let column = line.split('\t').skip(1).find(|column| !column.is_empty());
            let Some((number, command)) = column.and_then(|column| column.trim().split_once(' ')) else { continue };
            if self.name == "mysqld" && command == "Prepare" {
                // MySQL logs a statement again when it prepares it anew for parameters of another type.
                let statement = (number, line.rsplit('\t').next());
                if prepared.contains(&statement) {
                    continue;
                }
                prepared.push(statement);
            } else if command == "Close stmt" {
                // Clients close the newest first.
                prepared.iter().rposition(|(one, _)| *one == number).map(|place| prepared.remove(place));
            }
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
