//! Spans against what the peers themselves wrote down: both sorted, one line an exchange.

use crate::{
    daemon::Stopped,
    peers::Nginx,
    scene::Scene,
    spans::{Kind, Span},
};

/// `METHOD PATH STATUS SCHEME CLIENT_PORT` of every server span, sorted.
pub fn servers(spans: &[Span]) -> Vec<String> {
    let one = |span: &Span| format!("{} {} {}", span.exchange(), span.get("url.scheme"), span.get("network.peer.port"));
    let mut all: Vec<String> = spans.iter().filter(|span| span.kind == Kind::Server).map(one).collect();
    all.sort();
    all
}

/// nginx's log in the form of [`servers`].
pub fn log(nginx: &Nginx) -> Vec<String> {
    let mut all: Vec<String> = nginx
        .lines()
        .iter()
        .map(|line| {
            let word: Vec<&str> = line.split(' ').collect();
            format!("{} {} {} {} {}", word[0], word[1], word[2], word[3], word[5])
        })
        .collect();
    all.sort();
    all
}

/// Panics with what is missing and what was invented.
pub fn assert_same(what: &str, found: &[String], expected: &[String], stopped: &Stopped) {
    let missing: Vec<_> = expected.iter().filter(|one| found.binary_search(one).is_err()).take(10).collect();
    let invented: Vec<_> = found.iter().filter(|one| expected.binary_search(one).is_err()).take(10).collect();
    assert!(
        found == expected,
        "{what}: {} found, {} expected\nmissing: {missing:#?}\ninvented: {invented:#?}\n{}",
        found.len(),
        expected.len(),
        stopped.stderr
    );
}

/// `count` URLs with an id each, for `h2load -i`.
pub fn urls(scene: &Scene, base: &str, count: usize) -> String {
    let list: String = (0..count).map(|id| format!("{base}/id/{id}\n")).collect();
    scene.file("urls", &list).display().to_string()
}

/// `SIDELIGHT_SCALE` multiplies the requests of the load tests (`make exact`).
pub fn scale() -> usize {
    std::env::var("SIDELIGHT_SCALE").map_or(1, |text| text.parse().expect("SIDELIGHT_SCALE is a number"))
}

/// Arguments of the daemon for a load test: a daemon built for debugging takes ten times as long for everything, and text is several
/// times slower to make than OTLP, so ring and queues get room for what comes at full speed.
pub fn room(scene: &Scene) -> Vec<String> {
    let room = "limits:\n  ring: 16MiB\n  span_queue: 256MiB\n  export_queue: 256MiB\n";
    vec!["--config".to_owned(), scene.file("room.yaml", room).display().to_string()]
}
