//! `run -- COMMAND`: a command that starts only when every hook is in place.
//!
//! In: the command's words. Out: its process id at once, its exit status at its end. This very program, started anew as
//! [`gate`], stops itself before it becomes the command: nothing of the command runs, and its process id is already selected.
//! Until then it lives no longer than the daemon, however that ends.

use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus},
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};

/// The subcommand that calls [`gate`].
pub const GATE: &str = "gate";

/// The process that stops, and becomes the command when it goes on. `daemon`: who started it.
///
/// # Errors
/// Why the command does not run; else this does not return.
#[must_use]
pub fn gate(daemon: u32, words: &[OsString]) -> io::Error {
    let wait = || {
        // The kernel sends it to stopped processes too, when the thread that started this one ends.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs()) != Some(daemon) {
            return Err(io::Error::other("the daemon is gone"));
        }
        kill_process(getpid(), Signal::STOP)?;
        // The command may outlive the daemon.
        set_parent_process_death_signal(None).map_err(io::Error::from)
    };
    match (wait(), words) {
        (Err(error), _) => error,
        (Ok(()), []) => io::Error::from(io::ErrorKind::InvalidInput),
        (Ok(()), [program, args @ ..]) => Command::new(program).args(args).exec(),
    }
}

/// The exit code a shell would give to a command that does not run.
#[must_use]
pub fn not_run(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// A command that waits for [`Gated::release`]. Dropped before, it ends.
pub struct Gated {
    child: Option<Child>,
    pid: Pid,
}

impl Gated {
    /// Starts `program`, which calls [`gate`], and waits until it has stopped itself.
    ///
    /// # Errors
    /// When it cannot be started, or did not stop.
    pub fn spawn(program: &Path, command: &[OsString]) -> io::Result<Self> {
        let daemon = std::process::id().to_string();
        let child = Command::new(program).args([GATE, &daemon, "--"]).args(command).spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let gated = Self { child: Some(child), pid };
        match waitpid(Some(pid), WaitOptions::UNTRACED)? {
            Some((_, status)) if status.stopped() => Ok(gated),
            other => Err(io::Error::other(format!("the command's process did not wait: {other:?}"))),
        }
    }

    /// Its process id, before and after it became the command.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Lets it become the command.
    ///
    /// # Errors
    /// When it is gone.
    pub fn release(mut self) -> io::Result<Running> {
        kill_process(self.pid, Signal::CONT)?;
        let child = self.child.take().ok_or(io::ErrorKind::NotFound)?;
        Ok(Running { child, pid: self.pid })
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
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
