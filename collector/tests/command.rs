//! `run -- COMMAND`: how the command starts, and how it never does.

use std::{ffi::OsString, path::Path};

use sidelight::app::child::{Gated, exit_code};

fn spawn(line: &[&str]) -> Gated {
    let words: Vec<OsString> = line.iter().map(OsString::from).collect();
    Gated::spawn(Path::new(env!("CARGO_BIN_EXE_sidelight")), &words).expect("the gate starts")
}

#[test]
fn the_command_starts_only_when_released_and_keeps_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("began");
    let script = format!("echo \"$1\" > {}; exit 7", file.display());
    let gated = spawn(&["sh", "-c", &script, "sh", "it's $HOME"]);
    assert!(!file.exists());
    assert_eq!(exit_code(gated.release().unwrap().wait().unwrap()), 7);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "it's $HOME\n");
}

#[test]
fn a_signal_is_128_and_its_number_and_a_missing_command_127() {
    let run = |line: &[&str]| exit_code(spawn(line).release().unwrap().wait().unwrap());
    assert_eq!(run(&["sh", "-c", "kill -TERM $$"]), 143);
    assert_eq!(run(&["/no/such/command"]), 127);
    assert_eq!(run(&["/"]), 126);
}

#[test]
fn one_that_is_not_released_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("began");
    let gated = spawn(&["touch", &file.display().to_string()]);
    let process = format!("/proc/{}", gated.id());
    assert!(Path::new(&process).exists());
    drop(gated);
    assert!(!Path::new(&process).exists() && !file.exists());
}
