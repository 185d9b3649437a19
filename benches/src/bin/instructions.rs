//! Counts the instructions that each load takes and compares them with what is recorded: a parser that becomes dearer is seen
//! whatever the machine does besides.
//!
//! `instructions` exits with 1 if a load takes over 5 % more than `benches/instructions.txt` says, or is not in it;
//! `instructions --record` prints what is to be in it. It needs valgrind, under which it runs itself (`--count`).
//! `instructions --time` gives the time of each load, for people: of many short rounds the fastest, which a busy machine leaves alone.

#![expect(clippy::print_stdout, reason = "it is a command, and this is what it says")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use sidelight_benches::{GROUPS, Load};

/// How often each load is done while it is counted.
const TIMES: u64 = 100;

/// Rounds that are timed, each of [`TIMES`].
const ROUNDS: u64 = 300;

/// How much dearer a load may become, in parts of a hundred.
const SLACK: u64 = 5;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--count") => each(|_, load| {
            // Buffers grow and tables fill first.
            (0..TIMES).for_each(|_| (load.run)());
            measured(load);
        }),
        Some("--time") => each(|name, load| time(&name, load)),
        Some("--record") => count().iter().for_each(|(name, count)| println!("{count:>8} {name}")),
        _ => return check(&count()),
    }
    ExitCode::SUCCESS
}

fn each(mut then: impl FnMut(String, &mut Load)) {
    for (group, loads) in GROUPS {
        for mut load in loads() {
            then(format!("{group}: {}", load.name), &mut load);
        }
    }
}

/// By its name callgrind knows what to count.
#[inline(never)]
fn measured(load: &mut Load) {
    (0..TIMES).for_each(|_| (load.run)());
    black_box(load);
}

#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn time(name: &str, load: &mut Load) {
    let mut round = || {
        let begin = Instant::now();
        (0..TIMES).for_each(|_| (load.run)());
        begin.elapsed()
    };
    let fastest = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX).as_secs_f64() / TIMES as f64;
    println!("{:>7.0} ns {:>7.0} MB/s  {name}", fastest * 1e9, load.bytes as f64 / fastest / 1e6);
}

/// Instructions of each load, done once.
fn count() -> BTreeMap<String, u64> {
    let folder = std::env::temp_dir().join(format!("sidelight-instructions-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder for the counts");
    let status = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--toggle-collect=instructions::measured",
            "--dump-after=instructions::measured",
        ])
        .arg(format!("--callgrind-out-file={}", folder.join("out").display()))
        .arg(std::env::current_exe().expect("its own path"))
        .arg("--count")
        .stdout(Stdio::null())
        .status()
        .expect("valgrind (Debian package valgrind) runs");
    assert!(status.success(), "valgrind: {status}");
    let (mut counts, mut dumps) = (BTreeMap::new(), 0);
    each(|name, _| {
        dumps += 1;
        let dump = std::fs::read_to_string(folder.join(format!("out.{dumps}"))).expect("a dump for each load");
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ")?.parse::<u64>().ok());
        counts.insert(name, total.expect("a total in each dump") / TIMES);
    });
    std::fs::remove_dir_all(&folder).expect("the folder of the counts");
    counts
}

fn check(counts: &BTreeMap<String, u64>) -> ExitCode {
    let recorded: BTreeMap<&str, u64> = include_str!("../../instructions.txt")
        .lines()
        .filter_map(|line| line.trim_start().split_once(' '))
        .map(|(count, name)| (name, count.parse().expect("a number and a name")))
        .collect();
    let mut dearer = 0;
    for (name, count) in counts {
        let budget = recorded.get(name.as_str()).copied().unwrap_or_default();
        let verdict = match count * 100 {
            count if count > budget * (100 + SLACK) => "TOO DEAR",
            count if count < budget * (100 - SLACK) => "cheaper: record it",
            _ => "as recorded",
        };
        dearer += u32::from(verdict == "TOO DEAR");
        println!("{count:>8} instructions, {budget:>8} recorded, {verdict}: {name}");
    }
    println!("{} loads, {dearer} dearer than recorded by more than {SLACK} %", counts.len());
    if dearer == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
