//! Real peers: ports, a certificate, nginx, and the databases.

pub mod postgresql;

pub mod redis;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use crate::{
    scene::{Running, Scene},
    wait_for,
};

/// Path of a peer that `peers/build.sh` made.
pub fn built(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/peers").join(name);
    assert!(path.exists(), "{} is missing: run integration-tests/setup.sh test", path.display());
    path.display().to_string()
}

/// A TCP port of 127.0.0.1 that was free just now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens on a port of 127.0.0.1.
pub fn listening(port: u16) {
    wait_for(&format!("a listener on port {port}"), Duration::from_secs(30), || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
}

/// A certificate for `localhost` and 127.0.0.1 that is its own authority.
pub struct Certificate {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one in the scene's folder with `openssl req`.
    pub fn new(scene: &Scene) -> Self {
        let (certificate, key) = (scene.dir().join("cert.pem"), scene.dir().join("key.pem"));
        let done = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self { certificate, key }
    }
}

/// nginx with two workers: any path on HTTP and HTTPS gives 200 and a short body; `/status/CODE` that code.
pub struct Nginx {
    /// HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
    /// The authority to trust.
    pub certificate: PathBuf,
    log: PathBuf,
    running: Running,
}

impl Nginx {
    /// Starts it and waits until it listens. `more` goes into its HTTP server block.
    pub fn start(scene: &mut Scene, more: &str) -> Self {
        let (http, https) = (free_port(), free_port());
        let Certificate { certificate, key } = Certificate::new(scene);
        let dir = scene.dir().display().to_string();
        let log = scene.dir().join("access.log");
        fs::create_dir_all(scene.dir().join("www")).unwrap();
        scene.file("www/file.html", &"x".repeat(612));
        let config = format!(
            "worker_processes 2; daemon off; master_process on; pid {dir}/nginx.pid; error_log {dir}/error.log notice;
             events {{ worker_connections 1024; }}
             http {{
                 log_format ids '$request_method $request_uri $status $scheme $server_port $remote_port';
                 access_log {log} ids;
                 client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
                 uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
                 sendfile on; keepalive_requests 1000000; client_max_body_size 64m;
                 server {{
                     listen 127.0.0.1:{http} reuseport; listen 127.0.0.1:{https} ssl reuseport;
                     ssl_certificate {cert}; ssl_certificate_key {key};
                     root {dir}/www;
                     location / {{ return 200 'hello\\n'; }}
                     location /file {{ try_files /file.html =404; }}
                     location /status/404/ {{ return 404; }}
                     location /status/500/ {{ return 500; }}
                     location /status/503/ {{ return 503; }}
                     location /none/ {{ return 204; }}
                     {more}
                 }}
             }}\n",
            log = log.display(),
            cert = certificate.display(),
            key = key.display(),
        );
        let path = scene.file("nginx.conf", &config);
        let running = scene.start(&["nginx", "-c", path.to_str().unwrap(), "-p", &dir]);
        listening(http);
        listening(https);
        Self { http, https, certificate, log, running }
    }

    /// The access log as `METHOD PATH STATUS` lines, sorted.
    pub fn exchanges(&self) -> Vec<String> {
        let mut all: Vec<String> = self.lines().iter().map(|line| words(line, 3)).collect();
        all.sort();
        all
    }

    /// `METHOD PATH STATUS SCHEME PORT CLIENT_PORT` lines in the order logged.
    pub fn lines(&self) -> Vec<String> {
        let path_only = |word: &str| word.split('?').next().unwrap_or(word).to_owned();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().map(|line| line.split(' ').map(path_only).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Waits until it has logged `count` requests: it logs after it has answered.
    pub fn wait_for_requests(&self, count: usize) {
        wait_for(&format!("{count} lines in nginx's access log"), Duration::from_secs(60), || {
            (self.lines().len() >= count).then_some(())
        });
    }

    /// Ends it.
    pub fn stop(self, scene: &mut Scene) {
        scene.stop(&self.running);
    }
}

fn words(line: &str, count: usize) -> String {
    line.split(' ').take(count).collect::<Vec<_>>().join(" ")
}
