//! A scene: one shell, started by the test, whose descendants the daemon watches with `--only tree:PID`.
//!
//! In: command lines. Out: processes, their output and exit codes. Everything is ended, by process id, when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::{Pid, Signal, kill_process, test_kill_process},
};

use crate::wait_for;

/// The shell and its folder.
pub struct Scene {
    dir: tempfile::TempDir,
    shell: Child,
    input: ChildStdin,
    answers: BufReader<ChildStdout>,
    started: Vec<u32>,
    count: usize,
}

/// One process of a scene.
pub struct Running {
    /// Its process id.
    pub pid: u32,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a finished process left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 + n for a signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// An empty scene in a folder of its own.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // World-readable: nginx's workers run as another user.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut shell = Command::new("/bin/bash")
            .arg("--norc")
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let input = shell.stdin.take().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        Self { dir, shell, input, answers, started: Vec::new(), count: 0 }
    }

    /// The shell: root of the tree to watch.
    pub fn pid(&self) -> u32 {
        self.shell.id()
    }

    /// `tree:PID` of the shell.
    pub fn selector(&self) -> String {
        format!("tree:{}", self.pid())
    }

    /// The scene's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the scene and gives its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Makes a named pipe of the scene: its path, and the end to write to, which also reads, so that no opening waits.
    pub fn pipe(&self, name: &str) -> (PathBuf, fs::File) {
        let path = self.dir().join(name);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let end = fs::File::options().read(true).write(true).open(&path).unwrap();
        (path, end)
    }

    /// Starts a command in the background.
    pub fn start<S: AsRef<str>>(&mut self, argv: &[S]) -> Running {
        self.count += 1;
        let stdout = self.dir().join(format!("{}.out", self.count));
        let stderr = self.dir().join(format!("{}.err", self.count));
        let words: Vec<String> = argv.iter().map(|word| quote(word.as_ref())).collect();
        let line = format!(
            "{} </dev/null >{} 2>{} & echo $!",
            words.join(" "),
            quote(&stdout.display().to_string()),
            quote(&stderr.display().to_string())
        );
        let pid = self.ask(&line).parse().unwrap();
        self.started.push(pid);
        Running { pid, stdout, stderr }
    }

    /// Waits for the end of a process.
    pub fn wait(&mut self, running: &Running) -> Finished {
        let code = self.ask(&format!("wait {}; echo $?", running.pid)).parse().unwrap();
        self.started.retain(|pid| *pid != running.pid);
        Finished { code, stdout: running.stdout(), stderr: running.stderr() }
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<str>>(&mut self, argv: &[S]) -> Finished {
        let running = self.start(argv);
        self.wait(&running)
    }

    /// As [`Scene::run`]; anything but exit code 0 panics. Gives the standard output.
    pub fn check<S: AsRef<str>>(&mut self, argv: &[S]) -> String {
        let done = self.run(argv);
        assert_eq!(
            done.code,
            0,
            "{:?} failed:\n{}{}",
            argv.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            done.stdout,
            done.stderr
        );
        done.stdout
    }

    /// Asks a process to end and waits for it.
    pub fn stop(&mut self, running: &Running) -> Finished {
        signal(running.pid, Signal::TERM);
        self.wait(running)
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for pid in self.started.clone().into_iter().rev() {
            signal(pid, Signal::TERM);
            if !std::thread::panicking() {
                wait_for("a process of the scene to end", Duration::from_secs(10), || ended(pid).then_some(()));
            }
            signal(pid, Signal::KILL);
        }
        signal(self.shell.id(), Signal::KILL);
        let _ = self.shell.wait();
    }
}

impl Running {
    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self::signal(self.pid, signal);
    }
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(i32::try_from(raw).unwrap()).unwrap()
}

fn signal(raw: u32, signal: Signal) {
    let _ = kill_process(pid(raw), signal);
}

/// Gone, or a zombie nobody has waited for.
fn ended(raw: u32) -> bool {
    test_kill_process(pid(raw)).is_err()
        || fs::read_to_string(format!("/proc/{raw}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_run_with_their_words_as_given_and_give_their_exit_code() {
        let mut scene = Scene::new();
        let done = scene.run(&["sh", "-c", "echo \"it's $1\"; exit 3", "sh", "a b"]);
        assert_eq!((done.code, done.stdout.as_str()), (3, "it's a b\n"));
    }
}
