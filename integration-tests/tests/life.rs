//! The daemon's life: commands it starts, privileges it lacks, ends that leave nothing behind.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use sidelight_integration_tests::{
    daemon::{Daemon, binary},
    peers::{Nginx, free_port},
    scene::Scene,
    serial,
    spans::{self, Kind, exchanges},
    wait_for,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Ids of the eBPF programs that are loaded now.
fn programs() -> BTreeSet<String> {
    let done = Command::new("bpftool").args(["prog", "list"]).output().expect("bpftool runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let list = String::from_utf8_lossy(&done.stdout).into_owned();
    list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).collect()
}

#[test]
fn run_with_a_command_shows_its_one_request_and_ends_with_its_exit_code() {
    let _one = serial();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let file = scene.dir().join("spans.json").display().to_string();
    let url = format!("https://127.0.0.1:{}/the/one", nginx.https);
    let done = Command::new(binary())
        .args(["run", "--output", "otlp-json", "--output-file", &file, "--", "curl", "-sk", &url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stdout).as_ref()), (Some(0), "hello\n"), "{stderr}");
    let spans = spans::parse(&fs::read_to_string(&file).unwrap());
    assert_eq!(exchanges(&spans, Kind::Client), ["GET /the/one 200"], "{stderr}");
    assert_eq!((spans.len(), spans[0].service(), spans[0].name.as_str()), (1, "curl", "GET"));
    // At that moment the command is still the process that waits to become it.
    assert!(stderr.lines().any(|line| line.contains("processes found") && line.contains("sidelight (")), "{stderr}");

    // Without a file, spans go to standard error: standard output is the command's.
    let done = Command::new(binary())
        .args(["run", "--output", "console", "--", "sh", "-c", "curl -s \"$0\"; exit 9"])
        .arg(format!("http://127.0.0.1:{}/two", nginx.http))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stdout).as_ref()), (Some(9), "hello\n"), "{stderr}");
    assert!(
        stderr.lines().any(|line| line.contains("GET") && line.contains("/two") && line.contains("200")),
        "{stderr}"
    );
    nginx.stop(&mut scene);
}

/// Process ids of those whose command line has this word.
fn with_word(word: &str) -> Vec<String> {
    let has = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|one| one == word.as_bytes())
    };
    let all = fs::read_dir("/proc")
        .expect("/proc is there")
        .filter_map(|entry| entry.expect("and can be read").file_name().into_string().ok());
    all.filter(|name| name.starts_with(|first: char| first.is_ascii_digit())).filter(has).collect()
}

#[test]
fn a_daemon_that_dies_while_it_attaches_leaves_no_stopped_process() {
    let _one = serial();
    let word = format!("1000.{}", std::process::id());
    let stopped = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"))
    };
    for kill in [true, false] {
        let daemon = Daemon::spawn(&["run", "--output", "console", "--", "sleep", &word], &[]);
        let own = daemon.pid().to_string();
        wait_for("the command's process to stop", LIMIT, || {
            with_word(&word).iter().any(|pid| *pid != own && stopped(pid)).then_some(())
        });
        assert!(!daemon.stderr().contains("ready"), "it attaches: {}", daemon.stderr());
        if kill {
            daemon.kill();
        } else {
            // Before it listens for signals, this ends it as well.
            daemon.terminate();
        }
        wait_for("the command's process to end", LIMIT, || with_word(&word).is_empty().then_some(()));
    }
    // It ends by itself: the command's process was there before the privileges were asked for.
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary())
        .args(["run", "--output", "console", "--", "sleep", &word])
        .stdin(Stdio::null())
        .output()
        .expect("setpriv runs");
    assert_eq!(done.status.code(), Some(77), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(with_word(&word).is_empty());
}

#[test]
fn without_privileges_it_ends_with_77_and_names_the_capability() {
    let _one = serial();
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary())
        .args(["run", "--only", "pid:1", "--output", "console"])
        .stdin(Stdio::null())
        .output()
        .expect("setpriv runs");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(77), "{stderr}");
    assert!(stderr.contains("CAP_PERFMON"), "{stderr}");
}

#[test]
fn bad_usage_and_bad_configuration_end_with_64() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    fs::write(&file, "select:\n  onyl: []\n").unwrap();
    let path = file.display().to_string();
    for (args, expected) in [
        (&["run", "--only", "colour:red"][..], "tree:"),
        (&["run", "--record", "/tmp/x"], "--only"),
        (&["nonsense"], "nonsense"),
        (&["config", "check", "--config", &path], "onyl"),
    ] {
        let done = Command::new(binary()).args(args).stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(64), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
}

#[test]
fn no_hook_remains_however_it_ends() {
    let _one = serial();
    let scene = Scene::new();
    let before = programs();
    for kill in [false, true] {
        let daemon = Daemon::watch(&scene, &[]);
        assert!(!programs().is_subset(&before));
        if kill {
            drop(daemon.kill())
        } else {
            drop(daemon.stop())
        }
        // The kernel frees programs after a grace period.
        wait_for("the kernel to drop the programs", LIMIT, || programs().is_subset(&before).then_some(()));
    }
}

#[test]
fn an_end_point_that_is_down_costs_no_request_and_is_counted() {
    let _one = serial();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let selector = scene.selector();
    let daemon = Daemon::start(&["run", "--only", &selector], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("http://127.0.0.1:{}/down/[1-50]", nginx.http)]);
    nginx.wait_for_requests(50);
    let stopped = daemon.stop();
    assert_eq!(stopped.ledger("spans", "built"), 100, "{}", stopped.stderr);
    assert_eq!(stopped.ledger("spans", "dropped"), 100, "{}", stopped.stderr);
    assert!(stopped.stderr.contains(&endpoint[7..]), "the messages name the end point: {}", stopped.stderr);
    nginx.stop(&mut scene);
}
