//! The command line.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use gatepost::backup::command::{BackUp, Restore};
use gatepost::config::{Config, Source};
use gatepost::control::capture::{Wanted, capture};
use gatepost::control::explain::Asked;
use gatepost::control::follow::{Watched, follow};
use gatepost::control::transaction::What as ConfigRequest;
use gatepost::control::{self, Question};
use gatepost::error::Error;
use gatepost::error::sysexits::EX_USAGE;
use gatepost::gateway::state;
use gatepost::mail::Mail;
use gatepost::port::log::LogLevel;
use gatepost::tls::Tls;
use gatepost::{glossary, lab, port};

/// The program's name.
const NAME: &str = env!("CARGO_PKG_NAME");

/// Programs call this in place of sendmail.
const DELIVER: &str = "gatepost mail deliver";

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
        /// The configuration; without it, /etc/gatepost/gatepost.toml if it is there, or the built-in default.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The log level on stderr; without it, that of RUST_LOG, or info.
        #[arg(long, value_name = "LEVEL")]
        log: Option<LogLevel>,
    },
    /// Build an office in network namespaces around a gateway and test everything.
    #[command(args_conflicts_with_subcommands = true)]
    Lab(lab::Arguments),
    /// Validate a configuration and print its settings.
    Check {
        /// Check the files in its state directory, too: a line for each damaged file or record, and exit code 1.
        #[arg(long)]
        state: bool,
        /// The configuration.
        file: PathBuf,
    },
    /// Show the state of a running gateway.
    Show {
        #[command(flatten)]
        question: Question,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print events of a running gateway as they happen, with their reasons, until Ctrl-C.
    Watch {
        /// What to watch.
        what: Watched,
        /// Print JSON, a line for each event.
        #[arg(long)]
        json: bool,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Capture the frames that pass a running gateway, for Wireshark, until Ctrl-C: pcapng, with the reasons of drops.
    Capture {
        #[command(flatten)]
        wanted: Wanted,
        /// The file to write; - for stdout, such as a pipe to Wireshark.
        #[arg(short, long, value_name = "FILE", default_value = "gatepost.pcapng")]
        output: PathBuf,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Reload the configuration of a running gateway; a wrong one changes nothing.
    Reload {
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Restart a running gateway: it ends in order and runs again in the same process, as an update needs it.
    Restart {
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Set a setting in the candidate for the next configuration of a running gateway.
    Set {
        /// The setting, such as firewall.forwards.camera.wan_port; an element of a list is called by its name.
        key: String,
        /// The value: TOML, or else a text.
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        candidate: Candidate,
    },
    /// Remove a setting or an element of a list from the candidate.
    Unset {
        /// The setting, which has its default then, or an element, such as firewall.forwards.camera.
        key: String,
        #[command(flatten)]
        candidate: Candidate,
    },
    /// Drop all changes in the candidate.
    Discard {
        #[command(flatten)]
        candidate: Candidate,
    },
    /// Show what the candidate would change, in words, and what is wrong with it.
    Diff {
        #[command(flatten)]
        candidate: Candidate,
    },
    /// Put the candidate in force and in the file.
    Apply {
        #[command(flatten)]
        applying: Applying,
        #[command(flatten)]
        candidate: Candidate,
    },
    /// Keep the change that waits for its confirmation.
    Confirm {
        #[command(flatten)]
        candidate: Candidate,
    },
    /// End the change that waits for its confirmation at once; without one, go back to a former version.
    Rollback {
        /// The version, as `gatepost history` numbers it; without it, the one before the last.
        version: Option<u64>,
        #[command(flatten)]
        applying: Applying,
        #[command(flatten)]
        candidate: Candidate,
    },
    /// List the last versions of the configuration: when, by whom, why, and what changed.
    History {
        #[command(flatten)]
        candidate: Candidate,
    },
    /// Empty the DNS cache of a running gateway.
    Flush {
        /// Remove only the answers for this name and the names below it.
        name: Option<String>,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Deal with the flows through a running gateway; `gatepost show flows` lists them.
    Flows {
        #[command(subcommand)]
        what: FlowsCommand,
    },
    /// Set a user's password, which you type twice on the terminal.
    Passwd {
        /// The user, as [[users]] in the configuration calls it.
        user: String,
        /// Take the password from the first line of stdin instead.
        #[arg(long)]
        stdin: bool,
        /// The configuration, which names the users and the state directory.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the code for the administration's pages: of the first run, or for the password of an owner.
    ///
    /// Until there is an owner who has a password, it is the code that `gatepost run` has printed. Then each call makes a
    /// new one, by which an owner sets a new password within 15 minutes, once.
    Code {
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Write what makes this office, without its mail, to one file that a passphrase encrypts.
    ///
    /// It has the configuration and the files that it names in its folder, the passwords' verifiers, the office's own
    /// authority, the keys that sign mail, the leases, the hardware addresses and the history. `gatepost mail export`
    /// takes mail elsewhere. A gateway may be running.
    Backup(BackUp),
    /// Make this machine the office of a backup, mail left as it is; no gateway may run. All is checked before.
    Restore(Restore),
    /// Tell what would become of a packet, stage by stage, or what a drop reason means.
    ///
    /// Exit code 0: the packet passes, or is held until its neighbour answers; 1: it is dropped; 2: the question makes
    /// no sense; 3: nobody answers. Nothing is sent and nothing changes.
    #[command(arg_required_else_help = false, args_conflicts_with_subcommands = true)]
    Explain {
        /// The packet's sender: an address of the LAN, of the internet, or of the gateway itself.
        #[arg(long, value_name = "ADDRESS[:PORT]", requires = "to")]
        from: Option<String>,
        /// The packet's destination, with tcp, udp or icmp as the protocol.
        #[arg(long, value_name = "HOST[:PORT]/PROTOCOL", requires = "from")]
        to: Option<String>,
        /// Print JSON, for programs; what fails is {"errors":["...", ...]}.
        #[arg(long)]
        json: bool,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(subcommand)]
        what: Option<Explained>,
    },
    /// Show mail, its addresses and its queue; submit, fetch, export and import mail by hand.
    #[command(subcommand)]
    Mail(Mail),
    /// Show the office's own certificate authority, with which PCs verify the gateway's certificate.
    #[command(subcommand)]
    Tls(Tls),
    /// Manage the gateway's persistent TAP devices.
    #[command(subcommand)]
    Ports(Ports),
    /// Print the completions of this command line for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages of this command line to a directory.
    #[command(hide = true)]
    Manual {
        /// The directory, which is made if it does not exist.
        directory: PathBuf,
    },
    /// Run a host of the lab; the lab starts it.
    #[command(name = lab::HOST_SUBCOMMAND, hide = true)]
    LabHost { name: String, role: String },
    /// Run the gateway of the lab; the lab starts it.
    #[command(name = lab::GATEWAY_SUBCOMMAND, hide = true)]
    LabGateway { config: PathBuf, lab: u32 },
}

/// The gateway whose configuration is changed, and the form of the answer.
#[derive(Debug, clap::Args)]
struct Candidate {
    /// Print JSON, for programs; what fails is {"errors":["...", ...]}.
    #[arg(long)]
    json: bool,
    /// The running gateway's configuration, which names its control socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Candidate {
    fn ask(self, what: ConfigRequest) -> Result<(), Error> {
        control::transaction::ask(&load(self.config)?.system.control_socket, what, self.json)
    }
}

/// How a change is applied.
#[derive(Debug, clap::Args)]
struct Applying {
    /// Roll the change back after so many seconds unless `gatepost confirm` comes before; the file changes only then.
    #[arg(long, value_name = "SECS")]
    confirm: Option<u64>,
    /// The reason, for the history.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    why: String,
}

#[derive(Debug, Subcommand)]
enum FlowsCommand {
    /// End a flow: its next packet opens another one, if it may.
    End {
        #[command(flatten)]
        flow: control::flows::FlowName,
        /// The running gateway's configuration, which names its control socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum Explained {
    /// Explain a drop reason, or list all.
    Drop {
        /// The reason's name, as `gatepost show drops` prints it.
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Ports {
    /// Remove the TAP devices that stay when the gateway stops: all, or one.
    Remove {
        /// The port's device, as the configuration calls it.
        name: Option<String>,
        /// The configuration that names the ports.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(command_line) => command_line.command,
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(mistake) if mistake.kind() == ErrorKind::MissingSubcommand => {
            return fail(&Error::usage(
                "no command was given; write `gatepost lab`, or see `gatepost --help`",
            ));
        }
        Err(mistake) => {
            let program =
                program(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()));
            let error = Error::command_line(&program, &mistake);
            let is_sendmail = program == DELIVER;
            return fail(&if is_sendmail { error.with_code(EX_USAGE) } else { error });
        }
    };
    let is_for_programs = command.is_for_programs();
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if let Some(json) = error.json().filter(|_| is_for_programs) {
                // If stdout is closed, the exit code still reports the outcome.
                _ = writeln!(io::stdout(), "{json}");
            }
            fail(&error)
        }
    }
}

/// The name of the command in `arguments`, after the program's: `gatepost mail deliver`.
fn program(arguments: impl Iterator<Item = String>) -> String {
    let root = CommandLine::command();
    let (mut command, mut program) = (&root, NAME.to_owned());
    for argument in arguments.filter(|argument| !argument.starts_with('-')) {
        let Some(next) = command.find_subcommand(&argument) else { break };
        program = format!("{program} {argument}");
        command = next;
    }
    program
}

impl Command {
    /// Whether its output is JSON.
    fn is_for_programs(&self) -> bool {
        match self {
            Self::Show { question, .. } => question.is_for_programs(),
            Self::Explain { json, .. } | Self::Watch { json, .. } => *json,
            Self::Lab(arguments) => arguments.is_for_programs(),
            Self::Mail(command) => command.is_for_programs(),
            Self::Set { candidate, .. }
            | Self::Unset { candidate, .. }
            | Self::Discard { candidate }
            | Self::Diff { candidate }
            | Self::Apply { candidate, .. }
            | Self::Confirm { candidate }
            | Self::Rollback { candidate, .. }
            | Self::History { candidate } => candidate.json,
            _ => false,
        }
    }
}

/// Whether all was well.
fn run(command: Command) -> Result<bool, Error> {
    match command {
        Command::Run { config, log } => port::run(Source::new(config), log)?,
        Command::Lab(arguments) => return lab::run(arguments),
        Command::Check { state, file } => {
            let (config, warnings) = Config::load_with_warnings(&file)?;
            warnings.iter().for_each(|warning| say(warning));
            let details: String = config.details().iter().map(|detail| format!("  {detail}\n")).collect();
            // The exit code reports the outcome if stdout is closed.
            _ = write!(io::stdout(), "{}: {config}\n{details}", file.display());
            if state {
                return Ok(check_state(&config.system.state_dir));
            }
        }
        Command::Show { question, config } => question.ask(&load(config)?.system.control_socket)?,
        Command::Reload { config } => {
            control::reload(&load(config)?.system.control_socket)?;
        }
        Command::Restart { config } => control::restart(&load(config)?.system.control_socket)?,
        Command::Set { key, value, candidate } => candidate.ask(ConfigRequest::Set { key, value })?,
        Command::Unset { key, candidate } => candidate.ask(ConfigRequest::Unset { key })?,
        Command::Discard { candidate } => candidate.ask(ConfigRequest::Discard)?,
        Command::Diff { candidate } => candidate.ask(ConfigRequest::Diff)?,
        Command::Apply { applying: Applying { confirm, why }, candidate } => {
            candidate.ask(ConfigRequest::Apply { confirm_secs: confirm, why })?;
        }
        Command::Confirm { candidate } => candidate.ask(ConfigRequest::Confirm)?,
        Command::Rollback { version, applying: Applying { confirm, why }, candidate } => {
            candidate.ask(ConfigRequest::Rollback { version, confirm_secs: confirm, why })?;
        }
        Command::History { candidate } => candidate.ask(ConfigRequest::History)?,
        Command::Code { config } => control::code::code(&load(config)?.system.control_socket)?,
        Command::Flows { what: FlowsCommand::End { flow, config } } => {
            control::flows::end(&load(config)?.system.control_socket, flow)?;
        }
        Command::Flush { name, config } => control::flush(&load(config)?.system.control_socket, name)?,
        Command::Explain { what: Some(Explained::Drop { reason }), .. } => {
            // If stdout is closed, the exit code still reports the outcome.
            _ = write!(io::stdout(), "{}", glossary::explain_drop(reason.as_deref())?);
        }
        Command::Explain { what: None, from: Some(from), to: Some(to), json, config } => {
            let asked = Asked::parse(&from, &to)?;
            return control::explain(&load(config)?.system.control_socket, asked, json);
        }
        Command::Explain { what: None, .. } => {
            return Err(Error::usage(
                "no packet was given; write `gatepost explain --from ADDRESS --to HOST:PORT/tcp`, or `gatepost explain \
                 drop REASON`",
            ));
        }
        Command::Watch { what, json, config } => {
            follow(&load(config)?.system.control_socket, what, json)?;
        }
        Command::Capture { wanted, output, config } => {
            capture(&load(config)?.system.control_socket, wanted, &output)?;
        }
        Command::Mail(command) => return command.run(),
        Command::Tls(command) => command.run()?,
        Command::Backup(command) => command.run()?,
        Command::Restore(command) => command.run()?,
        Command::Passwd { user, stdin, config } => {
            port::set_password(&Source::new(config), &user, stdin)?;
        }
        Command::Ports(Ports::Remove { name, config }) => {
            port::remove_ports(&load(config)?, name.as_deref())?;
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut listed(), NAME, &mut script);
            // If stdout is closed, the exit code still reports the outcome.
            _ = io::stdout().write_all(&script);
        }
        Command::Manual { directory } => manual(&directory)?,
        Command::LabHost { name, role } => lab::run_host(&name, &role)?,
        Command::LabGateway { config, lab } => lab::run_gateway(&config, lab)?,
    }
    Ok(true)
}

/// The command line without the commands that help does not list, which completions would.
fn listed() -> clap::Command {
    let whole = CommandLine::command();
    let listed = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let bare = clap::Command::new(NAME).version(env!("CARGO_PKG_VERSION"));
    bare.about(whole.get_about().cloned().unwrap_or_default()).subcommands(listed)
}

/// Prints the damage under `state_dir`. Returns whether there is none.
fn check_state(state_dir: &Path) -> bool {
    let damages = state::damages(state_dir);
    let mut stdout = io::stdout();
    for damage in &damages {
        _ = writeln!(stdout, "{damage}");
    }
    if damages.is_empty() {
        _ = writeln!(stdout, "{}: nothing that is stored there is damaged", state_dir.display());
    }
    damages.is_empty()
}

/// The configuration in the named file, or the default one.
fn load(named: Option<PathBuf>) -> Result<Config, Error> {
    Source::new(named).load().map(|(config, _)| config)
}

/// Writes a page for the program and one for each of its commands.
fn manual(directory: &Path) -> Result<(), Error> {
    let write = || {
        fs::create_dir_all(directory)?;
        clap_mangen::generate_to(CommandLine::command(), directory)
    };
    let what = format!("cannot write the manual to {}", directory.display());
    write().map_err(|error| Error::failed(what, error, "name a directory that can be written to"))
}

fn fail(error: &Error) -> ExitCode {
    error.messages().iter().for_each(|message| say(message));
    error.exit_code()
}

/// Prints an error or a warning.
fn say(message: &dyn fmt::Display) {
    // There is no other place to report it.
    _ = writeln!(io::stderr(), "gatepost: {message}");
}
