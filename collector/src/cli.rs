//! The command line: what was typed becomes a [`Command`] that holds the merged configuration.
//!
//! In: arguments and the environment. Out: what to do, or why not ([`Refusal`], exit status 64). Nothing after this sees raw
//! text.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sidelight_config::{Config, ConfigError, Flags, Lookup};

/// Bad usage or configuration (EX_USAGE of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// What the daemon is asked to do.
#[derive(Debug)]
pub enum Command {
    /// `run`
    Run {
        /// Everything configured.
        config: Config,
        /// `--record`: file of raw events.
        record: Option<PathBuf>,
        /// `-- COMMAND [ARG...]`: it and its descendants are all that is watched.
        command: Option<Vec<OsString>>,
    },
    /// `replay`
    Replay {
        /// Everything configured.
        config: Config,
        /// pcap or pcapng.
        file: PathBuf,
        /// Whose spans.
        side: Side,
    },
    /// `gate`, by which `run -- COMMAND` starts the command.
    Gate {
        /// The daemon's process id.
        daemon: u32,
        /// The command.
        command: Vec<OsString>,
    },
    /// `config check|print|schema`: text for standard output.
    Print(String),
}

/// `--side` of `replay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The server's spans, of databases the client's
    #[default]
    Usual,
    /// The server's spans
    Server,
    /// The client's spans
    Client,
    /// Both
    Both,
}

/// Why nothing is done: help was asked for, the usage is wrong, or the configuration is.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Also `--help` and `--version`.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// Rendered with its places.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Refusal {
    /// 0 for `--help` and `--version`, else [`EXIT_USAGE`].
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(error) if !error.use_stderr() => 0,
            Self::Usage(_) | Self::Config(_) => EXIT_USAGE,
        }
    }

    /// Tells the person who typed, on the stream that suits, and gives the exit status.
    #[expect(clippy::print_stderr, reason = "this is the one place that speaks before logging is set up")]
    pub fn report(&self) -> ExitCode {
        match self {
            // a closed pipe leaves nobody to tell
            Self::Usage(error) => error.print().unwrap_or_default(),
            Self::Config(error) => eprintln!("{error}"),
        }
        ExitCode::from(self.status())
    }
}

/// Reads the command line (its first argument is the program's name).
pub fn parse(args: impl IntoIterator<Item = OsString>, env: Lookup<'_>) -> Result<Command, Refusal> {
    match Cli::try_parse_from(args)?.action {
        Action::Run { source, output, select, attach, record, command } => {
            let flags = Flags { attach, only: select.only, except: select.except, ..output.flags(source) };
            let config = sidelight_config::load(&flags, env)?;
            if record.is_some() && config.select.only.is_empty() && command.is_empty() {
                let message =
                    "--record writes raw traffic to a file, so it needs --only SELECTOR or -- COMMAND to say whose";
                return Err(Cli::error(message).into());
            }
            Ok(Command::Run { config, record, command: (!command.is_empty()).then_some(command) })
        }
        Action::Replay { file, source, output, side } => {
            let config = sidelight_config::load(&output.flags(source), env)?;
            Ok(Command::Replay { config, file, side })
        }
        Action::Config { action } => action.answer(env).map(Command::Print),
        Action::Gate { daemon, command } => Ok(Command::Gate { daemon, command }),
    }
}

/// Traces and metrics of unmodified processes, from the kernel to OpenTelemetry.
#[derive(Debug, Parser)]
#[command(name = "sidelight", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

impl Cli {
    fn error(message: &str) -> clap::Error {
        <Self as clap::CommandFactory>::command().error(clap::error::ErrorKind::MissingRequiredArgument, message)
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Watch processes and export their requests
    #[command(after_help = "\
SELECTOR: pid:N, tree:N (a process and its descendants, now and later), exe:GLOB (a path, or a name without a slash), \
port:N (local or remote TCP port). Any --only matches and no --except does; without --only everything is watched.

Exit status: 0 fine, 64 bad usage or configuration, 77 a privilege is missing, 1 anything else; with -- COMMAND its own.")]
    Run {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        select: Select,
        /// Mechanism of the socket hooks
        #[arg(long, value_name = "MECHANISM", value_parser = ["auto", "socket", "syscall"])]
        attach: Option<String>,
        /// Write the raw events of what is watched to FILE
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// Start a command, watch it and its descendants alone, and end with its exit status
        #[arg(last = true, value_name = "COMMAND", conflicts_with = "only")]
        command: Vec<OsString>,
    },
    /// Rebuild the requests in a capture file (pcap or pcapng); needs no privilege
    Replay {
        /// The capture
        file: PathBuf,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        output: Output,
        /// Whose spans are made
        #[arg(long, value_enum, default_value_t)]
        side: Side,
    },
    /// Check or show the configuration
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Waits, and becomes the command of `run`
    #[command(name = crate::app::child::GATE, hide = true)]
    Gate {
        daemon: u32,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct Source {
    /// Configuration file (YAML); else the one SIDELIGHT_CONFIG names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Output {
    /// Where spans go; else otlp if an end point is configured, else console
    #[arg(long, value_parser = ["otlp", "console", "otlp-json"])]
    output: Option<String>,
    /// File of console and otlp-json; else standard output (with -- COMMAND standard error)
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

impl Output {
    fn flags(self, source: Source) -> Flags {
        Flags { config: source.config, output: self.output, output_file: self.output_file, ..Flags::default() }
    }
}

#[derive(Args, Debug)]
struct Select {
    /// Watch what matches (may be repeated)
    #[arg(long, value_name = "SELECTOR")]
    only: Vec<String>,
    /// Never watch what matches (may be repeated)
    #[arg(long, value_name = "SELECTOR")]
    except: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Say whether the configuration is valid (exit status 0 or 64)
    Check(Source),
    /// Print the configuration in force, from file, environment and defaults, as YAML; header values are masked
    Print(Source),
    /// Print the JSON Schema of the file
    Schema,
}

impl ConfigAction {
    fn answer(self, env: Lookup<'_>) -> Result<String, Refusal> {
        let load = |source: Source| sidelight_config::load(&Flags { config: source.config, ..Flags::default() }, env);
        match self {
            Self::Check(source) => {
                load(source).map(|_| "the configuration is valid\n".to_owned()).map_err(Refusal::from)
            }
            Self::Print(source) => Ok(sidelight_config::to_yaml(&load(source)?)?),
            Self::Schema => Ok(sidelight_config::schema()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sidelight_config::{Attach, OutputFormat, Selector};

    use super::*;

    fn parse_words(words: &str) -> Result<Command, Refusal> {
        parse(words.split_whitespace().map(OsString::from), &|_| None)
    }

    fn status(words: &str) -> u8 {
        parse_words(words).unwrap_err().status()
    }

    #[test]
    fn the_definitions_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_carries_every_flag_into_the_configuration() {
        let words = "sidelight run --output otlp-json --output-file f --only pid:1 --only exe:nginx --except port:22 --attach syscall --record r";
        let Ok(Command::Run { config, record, command }) = parse_words(words) else { panic!("refused") };
        assert_eq!(config.export.output, OutputFormat::OtlpJson);
        assert_eq!(config.export.output_file.as_deref(), Some(Path::new("f")));
        assert_eq!(config.select.only, [Selector::Pid(1), Selector::Exe("nginx".to_owned())]);
        assert_eq!(config.select.except, [Selector::Port(22)]);
        assert_eq!(config.attach, Attach::Syscall);
        assert_eq!((record.as_deref(), command), (Some(Path::new("r")), None));
    }

    #[test]
    fn everything_after_two_dashes_is_the_commands() {
        let Ok(Command::Run { command, .. }) = parse_words("sidelight run --record r -- curl --output x -- y") else {
            panic!("refused")
        };
        assert_eq!(command, Some(["curl", "--output", "x", "--", "y"].map(OsString::from).to_vec()));
    }

    #[test]
    fn replay_takes_a_file_and_a_side() {
        let Ok(Command::Replay { file, side, .. }) = parse_words("sidelight replay a.pcap") else { panic!("refused") };
        assert_eq!((file.as_path(), side), (Path::new("a.pcap"), Side::Usual));
        let Ok(Command::Replay { side, .. }) = parse_words("sidelight replay a.pcap --side both") else {
            panic!("refused")
        };
        assert_eq!(side, Side::Both);
    }

    #[test]
    fn bad_usage_ends_with_64_and_help_with_0() {
        for words in [
            "sidelight",
            "sidelight run --output xml",
            "sidelight run --attach kprobe",
            "sidelight run --only nginx",
            "sidelight run --only pid:1 -- true",
            "sidelight run --record r",
            "sidelight run stray",
            "sidelight replay",
            "sidelight replay f --side left",
            "sidelight config check --config /nowhere",
            "sidelight doctor",
        ] {
            assert_eq!(status(words), EXIT_USAGE, "{words}");
        }
        for words in ["sidelight --help", "sidelight --version", "sidelight run --help"] {
            assert_eq!(status(words), 0, "{words}");
        }
    }

    #[test]
    fn a_recording_needs_a_selection_from_anywhere() {
        let text = parse_words("sidelight run --record r").unwrap_err().to_string();
        assert!(text.contains("--only SELECTOR or -- COMMAND"), "{text}");
        assert!(parse_words("sidelight run --record r --only pid:1").is_ok());
        assert!(parse_words("sidelight run --record r -- true").is_ok());
    }

    #[test]
    fn config_commands_answer_with_text() {
        let text = |words| match parse_words(words) {
            Ok(Command::Print(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("sidelight config check"), "the configuration is valid\n");
        assert!(text("sidelight config print").contains("ring: 4MiB"));
        assert!(text("sidelight config schema").starts_with('{'));
    }
}
