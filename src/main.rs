//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatepost::config::Config;
use gatepost::control::{self, What};
use gatepost::error::Error;
use gatepost::{lab, port};

/// A small office's gateway in one program.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM.
    Run {
        /// The configuration, instead of the built-in default.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Build an office in network namespaces around a gateway and try everything out.
    Lab {
        /// End after trying everything out: with 0 if all is well, else with 1.
        #[arg(long)]
        check: bool,
        /// How many PCs the office has.
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=HOSTS_MAX))]
        hosts: u8,
        /// The gateway's configuration, instead of the built-in default.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Validate a configuration and say what it sets up.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Ask a running gateway.
    Show {
        /// What to ask for.
        what: What,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Be a host of the lab; the lab starts it.
    #[command(name = lab::HOST_SUBCOMMAND, hide = true)]
    LabHost { name: String, role: String },
    /// Be the gateway of the lab; the lab starts it.
    #[command(name = lab::GATEWAY_SUBCOMMAND, hide = true)]
    LabGateway { config: PathBuf },
}

const HOSTS_MAX: i64 = lab::HOSTS_MAX as i64;

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
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// Whether all was well.
fn run(command: Command) -> Result<bool, Error> {
    match command {
        Command::Run { config } => port::run(load(config.as_deref())?)?,
        Command::Lab { check, hosts, config } => {
            return lab::run(&lab::Options { check, hosts: usize::from(hosts), config });
        }
        Command::Check { file } => println!("{}: {}", file.display(), Config::load(&file)?),
        Command::Show { what, json, config } => {
            control::show(&load(config.as_deref())?.system.control_socket, what, json)?;
        }
        Command::LabHost { name, role } => lab::run_host(&name, &role)?,
        Command::LabGateway { config } => lab::run_gateway(&config)?,
    }
    Ok(true)
}

/// The configuration at `path`, or the built-in default.
fn load(path: Option<&Path>) -> Result<Config, Error> {
    path.map_or_else(|| Ok(Config::default()), Config::load)
}

fn fail(error: &Error) -> ExitCode {
    for message in error.messages() {
        eprintln!("gatepost: {message}");
    }
    error.exit_code()
}
