//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatepost::config::Config;
use gatepost::error::Error;

/// A small office's gateway in one program.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a configuration and say what it sets up.
    Check {
        /// The configuration.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(command_line) => command_line.command,
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(mistake) => {
            let message = mistake.to_string();
            return fail(&Error::usage(message.strip_prefix("error: ").unwrap_or(&message).trim_end()));
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Check { file } => {
            println!("{}: {}", file.display(), Config::load(&file)?);
            Ok(())
        }
    }
}

fn fail(error: &Error) -> ExitCode {
    for message in error.messages() {
        eprintln!("gatepost: {message}");
    }
    error.exit_code()
}
