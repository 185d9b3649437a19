//! `run -- COMMAND`: a command that starts only when every hook is in place.
//!
//! In: the command's words. Out: its process id at once, its exit status at its end. A shell stops itself before it becomes
//! the command: nothing of the command runs, and its process id is already selected.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

const GATE: &str = r#"kill -STOP $$; exec "$@""#;

/// A command that waits for [`Gated::release`].
pub struct Gated {
    child: Child,
    pid: Pid,
}

impl Gated {
    /// Starts the shell and waits until it has stopped itself.
    ///
    /// # Errors
    /// When `/bin/sh` cannot be started, or did not stop.
    pub fn spawn(command: &[OsString]) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh").args(["-c", GATE, "sh"]).args(command).spawn()?;
        let stopped = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("no process id"))
            .and_then(|pid| Ok((pid, waitpid(Some(pid), WaitOptions::UNTRACED)?)));
        match stopped {
            Ok((pid, Some((_, status)))) if status.stopped() => Ok(Self { child, pid }),
            Ok((_, status)) => Err(io::Error::other(format!("/bin/sh did not wait: {status:?}"))),
            Err(error) => {
                let _ = child.kill();
                Err(error)
            }
        }
    }

    /// Its process id, before and after it became the command.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it become the command.
    ///
    /// # Errors
    /// When it is gone.
    pub fn release(self) -> io::Result<Running> {
        kill_process(self.pid, Signal::CONT)?;
        Ok(Running { child: self.child, pid: self.pid })
    }
}

/// The command itself.
pub struct Running {
    child: Child,
    pid: Pid,
}

impl Running {
    /// A handle to end it from another thread.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

/// The exit code a shell would give: the command's own, 128 + n for signal n.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_starts_only_when_released_and_keeps_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("began");
        let script = format!("echo \"$1\" > {}; exit 7", file.display());
        let gated = Gated::spawn(&words(&["sh", "-c", &script, "sh", "it's $HOME"])).unwrap();
        assert!(!file.exists());
        assert_eq!(exit_code(gated.release().unwrap().wait().unwrap()), 7);
        assert_eq!(std::fs::read_to_string(file).unwrap(), "it's $HOME\n");
    }

    #[test]
    fn a_signal_is_128_and_its_number_and_a_missing_command_127() {
        let run = |line: &[&str]| exit_code(Gated::spawn(&words(line)).unwrap().release().unwrap().wait().unwrap());
        assert_eq!(run(&["sh", "-c", "kill -TERM $$"]), 143);
        assert_eq!(run(&["/no/such/command"]), 127);
    }
}
