//! The `sidelight` command.

use std::{io::Write, process::ExitCode};

use sidelight::{
    app,
    cli::{self, Command},
    model::Side,
    telemetry::logging,
};
use sidelight_protocol_parsers::Role;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let command = match cli::parse(std::env::args_os(), &variable) {
        Ok(command) => command,
        Err(refusal) => return refusal.report(),
    };
    let filter = variable("SIDELIGHT_LOG").or_else(|| variable("RUST_LOG"));
    if let Err(error) = logging::init(filter.as_deref()) {
        tell(&error.into());
        return ExitCode::from(cli::EXIT_USAGE);
    }
    let done = match command {
        Command::Run { config, record, command } => app::run(config, record, command),
        Command::Replay { config, file, side } => {
            let side = match side {
                cli::Side::Both => Side::Both,
                cli::Side::Client => Side::Only(Role::Client),
                cli::Side::Server => Side::Only(Role::Server),
                cli::Side::Usual => Side::Usual,
            };
            app::replay(&config, &file, side)
        }
        Command::Gate { daemon, command } => {
            let error = app::child::gate(daemon, &command);
            let code = app::child::not_run(&error);
            let what = command.first().map(|program| program.display().to_string()).unwrap_or_default();
            tell(&anyhow::Error::from(error).context(format!("cannot run {what}")));
            Ok(ExitCode::from(code))
        }
        // A closed pipe leaves nobody to tell.
        Command::Print(text) => {
            drop(std::io::stdout().write_all(text.as_bytes()));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        tell(&error);
        app::exit_code(&error)
    })
}

/// The whole chain of an error, on one line.
fn tell(error: &anyhow::Error) {
    // A closed standard error leaves nobody to tell.
    drop(writeln!(std::io::stderr(), "sidelight: {error:#}"));
}
