//! Proxies in front of each other: every hop is its own exchange, what is not HTTP gives no span and no phantom.

use std::time::Duration;

use sidelight_integration_tests::{
    daemon::Daemon,
    peers::{Nginx, free_port, listening},
    scene::Scene,
    serial,
    spans::{Kind, exchanges},
};

const LIMIT: Duration = Duration::from_secs(60);

/// Each exchange `times` times, sorted.
fn repeated(of: &[String], times: usize) -> Vec<String> {
    let mut all: Vec<String> = of.iter().flat_map(|one| std::iter::repeat_n(one.clone(), times)).collect();
    all.sort();
    all
}

#[test]
fn haproxy_in_front_of_nginx_is_two_hops() {
    let _one = serial();
    for attach in ["socket", "syscall"] {
        let mut scene = Scene::new();
        let nginx = Nginx::start(&mut scene, "");
        let port = free_port();
        let config = scene.file(
            "haproxy.cfg",
            &format!(
                "global\n nbthread 2\ndefaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
                 frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n server n 127.0.0.1:{}\n",
                nginx.http
            ),
        );
        let haproxy = scene.start(&["haproxy", "-db", "-f", config.to_str().unwrap()]);
        listening(port);
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let list: String = (0..100).map(|id| format!("http://127.0.0.1:{port}/hop/{id}\n")).collect();
        let list = scene.file("urls", &list);
        scene.check(&["h2load", "--h1", "-n", "800", "-c", "8", "-i", list.to_str().unwrap()]);
        nginx.wait_for_requests(800);
        daemon.wait_for_spans(3200, LIMIT);
        let stopped = daemon.stop();
        // haproxy's own health or port checks are not requests; both hops carry the same paths.
        let expected = repeated(&nginx.exchanges(), 2);
        for kind in [Kind::Server, Kind::Client] {
            let found = exchanges(&stopped.spans, kind);
            assert_eq!(found.len(), expected.len(), "{kind:?}, {attach}\n{}", stopped.stderr);
            assert_eq!(found, expected, "{kind:?}, {attach}");
        }
        stopped.assert_nothing_lost();
        scene.stop(&haproxy);
        nginx.stop(&mut scene);
    }
}

#[test]
fn caddy_in_front_of_nginx_is_two_hops() {
    let _one = serial();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let port = free_port();
    let config = scene.file(
        "Caddyfile",
        &format!(
            "{{\n admin off\n auto_https off\n storage file_system {}\n}}\nhttp://127.0.0.1:{port} {{\n reverse_proxy 127.0.0.1:{}\n}}\n",
            scene.dir().display(),
            nginx.http
        ),
    );
    let caddy = scene.start(&["caddy", "run", "--config", config.to_str().unwrap(), "--adapter", "caddyfile"]);
    listening(port);
    let daemon = Daemon::watch(&scene, &[]);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("http://127.0.0.1:{port}/caddy/[1-100]")]);
    nginx.wait_for_requests(100);
    daemon.wait_for_spans(400, LIMIT);
    let stopped = daemon.stop();
    let expected = repeated(&nginx.exchanges(), 2);
    for kind in [Kind::Server, Kind::Client] {
        assert_eq!(exchanges(&stopped.spans, kind), expected, "{kind:?}\n{}", stopped.stderr);
    }
    stopped.assert_nothing_lost();
    scene.stop(&caddy);
    nginx.stop(&mut scene);
}

#[test]
fn fastcgi_behind_nginx_gives_no_span_and_no_phantom() {
    let _one = serial();
    let mut scene = Scene::new();
    let dir = scene.dir().display().to_string();
    let tcp = free_port();
    scene.file("index.php", "<?php echo 'php says ' . $_SERVER['REQUEST_URI'];");
    let config = scene.file(
        "fpm.conf",
        &format!(
            "[global]\nerror_log = {dir}/fpm.log\ndaemonize = no\n\
             [tcp]\nuser = nobody\ngroup = nogroup\nlisten = 127.0.0.1:{tcp}\npm = static\npm.max_children = 2\n\
             [unix]\nuser = nobody\ngroup = nogroup\nlisten = {dir}/fpm.sock\nlisten.mode = 0666\npm = static\npm.max_children = 2\n"
        ),
    );
    let fpm = scene.start(&["php-fpm8.2", "-y", config.to_str().unwrap(), "-R"]);
    listening(tcp);
    let fastcgi = |pass: &str| {
        format!(
            "fastcgi_pass {pass}; fastcgi_param SCRIPT_FILENAME {dir}/index.php; fastcgi_param REQUEST_METHOD $request_method;
             fastcgi_param REQUEST_URI $request_uri; fastcgi_param SERVER_PROTOCOL $server_protocol;"
        )
    };
    let nginx = Nginx::start(
        &mut scene,
        &format!(
            "location /tcp/ {{ {} }} location /unix/ {{ {} }}",
            fastcgi(&format!("127.0.0.1:{tcp}")),
            fastcgi(&format!("unix:{dir}/fpm.sock"))
        ),
    );
    let daemon = Daemon::watch(&scene, &[]);
    for way in ["tcp", "unix"] {
        let body = scene.check(&["curl", "-s", &format!("http://127.0.0.1:{}/{way}/[1-50]", nginx.http)]);
        assert_eq!(body.matches("php says").count(), 50, "{body}");
    }
    nginx.wait_for_requests(100);
    daemon.wait_for_spans(200, LIMIT);
    let stopped = daemon.stop();
    for kind in [Kind::Server, Kind::Client] {
        assert_eq!(exchanges(&stopped.spans, kind), nginx.exchanges(), "{kind:?}\n{}", stopped.stderr);
    }
    stopped.assert_nothing_lost();
    nginx.stop(&mut scene);
    scene.stop(&fpm);
}
