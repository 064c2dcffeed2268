//! `gatepost mail`: mail by hand, beside the gateway or by it.
//!
//! | command | while a gateway runs |
//! | --- | --- |
//! | `aliases` | reads the configuration only |
//! | `check` | reads, and changes nothing |
//! | `dkim` | reads the keys, and changes nothing |
//! | `export` | reads, and changes nothing there |
//! | `import` | refused, as one process alone writes the store |
//! | `list`, `search`, `show`, `trace` | read, and change nothing |
//! | `deliver`, `poll`, `queue` | ask the gateway, which has to run |
//!
//! Without mail in the configuration, `check`, `dkim`, `export` and `import` work unchanged, and so do `list`,
//! `search`, `show` and `trace` if there is a store. The others report that mail is off, with the same text and exit
//! code.

mod aliases;
mod check;
mod deliver;
mod dkim;
mod export;
mod import;
mod poll;
mod queue;
mod read;
mod trace;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use gatepost_services::mail::address::{Domain, Mailbox, MailboxParts};
use gatepost_services::mail::store::Uid;
use serde::Serialize;

use crate::config::{Config, Source};
use crate::control;
use crate::control::mail::{Off, QueueAction};
use crate::error::Error;

/// The commands of `gatepost mail`.
#[derive(Debug, clap::Subcommand)]
pub enum Mail {
    /// Say who gets mail for an address and why; reads the configuration, and needs no running gateway.
    Aliases {
        /// The address; without a domain it is one of the office's.
        address: String,
        /// Which configuration.
        #[command(flatten)]
        options: Options,
    },
    /// Say which stored mail is damaged and what was recovered; changes nothing.
    Check {
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
    /// Submit the message on standard input, for programs of this machine.
    ///
    /// Only the user that the gateway runs as may submit, and root. The gateway treats the message as mail from the
    /// LAN, whichever ports are open: it adds a missing Date, Message-ID or From, applies aliases and rules, and queues
    /// mail for other domains. Lines end with LF or CRLF.
    ///
    /// It exits as sendmail does, by sysexits(3): with 0 if all recipients are taken, 75 if the failure is
    /// temporary, 67 if a recipient is rejected, 65 if the message is, 64 if the command line is wrong, 69 if mail
    /// is off, 74 if the message cannot be read, 76 if another version of the gateway runs, 77 for other users, 78 if
    /// the configuration is wrong. After a submission, all recipients that stderr does not name have the message.
    Deliver {
        /// The sender, who gets non-delivery notices, and is in From if the message has none; '<>' for no sender.
        /// Without it, the postmaster.
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// The recipients. An address without a domain is one of the office's.
        #[arg(required = true, num_args = 1..=1000, value_name = "RECIPIENT")]
        recipients: Vec<String>,
        /// Which gateway.
        #[command(flatten)]
        options: Options,
    },
    /// Print the DNS records with which others verify the office's mail, for zones on another server.
    Dkim {
        /// Which state directory.
        #[command(flatten)]
        options: Options,
    },
    /// Write a mailbox to files that other programs read.
    Export {
        /// The user whose mailbox it is.
        user: String,
        /// The output.
        #[command(flatten)]
        target: export::Target,
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
    /// Import messages into a mailbox, except those that it has already. No gateway may run meanwhile.
    Import {
        /// The user whose mailbox it is.
        user: String,
        /// A Maildir, an mbox, or a file with one message.
        path: PathBuf,
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
    /// List the messages of a mailbox.
    List {
        /// The user whose mailbox it is.
        user: String,
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
    /// Fetch mail from remote mailboxes now, and print rule, header and recipients of each message.
    Poll {
        /// Only print what the gateway would fetch, and for whom.
        #[arg(long)]
        dry_run: bool,
        /// Which gateway.
        #[command(flatten)]
        options: Options,
    },
    /// Show the mail for other servers, or hold, release or delete some of it.
    Queue {
        /// The action; without it the queue is shown.
        #[arg(requires = "id")]
        action: Option<QueueAction>,
        /// A message by its number, or one of its recipients, as the queue shows them: 12, or 12.0.
        id: Option<String>,
        /// Which gateway.
        #[command(flatten)]
        options: Options,
    },
    /// List the messages of a mailbox that have a text: in the header that people see, in their text, in names of
    /// files.
    Search {
        /// The user whose mailbox it is.
        user: String,
        /// The text, in any case.
        text: String,
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
    /// Print a message as it is stored.
    Show {
        /// The user whose mailbox it is in.
        user: String,
        /// Its number, the `uid` of `gatepost mail list`.
        #[arg(value_parser = uid)]
        uid: Uid,
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
    /// Say where a message is: how it came, and the state of each of its copies.
    Trace {
        /// Its number, as `gatepost mail list` (id) and `show queue` have it, 12, or 12.0 for a remote recipient;
        /// the identifier in the 250 to its sender; or a Message-ID.
        id: String,
        /// Which store.
        #[command(flatten)]
        options: Options,
    },
}

/// The options of all mail commands.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration, which names the state directory and the running gateway's control socket; without it,
    /// /etc/gatepost/gatepost.toml if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, for programs; a failure is {"errors":["...", ...]}.
    #[arg(long)]
    json: bool,
}

impl Options {
    fn source(&self) -> Source {
        Source::new(self.config.clone())
    }

    fn load(&self) -> Result<Config, Error> {
        self.source().load().map(|(config, _)| config)
    }

    /// The configuration, for a command that needs mail.
    fn load_with_mail(&self) -> Result<Config, Error> {
        with_mail(self.load()?)
    }

    /// The configuration, for a command that reads stored mail. A store may be left from when there was mail.
    fn load_to_read(&self) -> Result<Config, Error> {
        let config = self.load()?;
        if has_store(&config.system.state_dir) { Ok(config) } else { with_mail(config) }
    }
}

/// `config`, unless mail is off in it.
fn with_mail(config: Config) -> Result<Config, Error> {
    Off::by(&config).map_or(Ok(config), |off| Err(off.into()))
}

/// Whether there is a mail store in `state_dir`.
fn has_store(state_dir: &Path) -> bool {
    state_dir.join("mail").is_dir()
}

/// The result of `ask`, which gets the control socket of the gateway of `config`. Without a running gateway, the error
/// explains why there is no answer.
fn asked<T>(config: &Config, ask: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
    let socket = &config.system.control_socket;
    match Off::by(config) {
        Some(off) if !control::is_there(socket) => Err(off.into()),
        _ => ask(socket),
    }
}

impl Mail {
    /// Whether the output is JSON.
    pub fn is_for_programs(&self) -> bool {
        let (Self::Aliases { options, .. }
        | Self::Check { options }
        | Self::Deliver { options, .. }
        | Self::Dkim { options }
        | Self::Export { options, .. }
        | Self::Import { options, .. }
        | Self::List { options, .. }
        | Self::Poll { options, .. }
        | Self::Queue { options, .. }
        | Self::Search { options, .. }
        | Self::Show { options, .. }
        | Self::Trace { options, .. }) = self;
        options.json
    }

    /// Does it. Whether all was well.
    ///
    /// # Errors
    ///
    /// It cannot be done.
    pub fn run(self) -> Result<bool, Error> {
        match self {
            Self::Aliases { address, options } => aliases::run(&options, &address),
            Self::Check { options } => check::run(&options),
            Self::Deliver { from, recipients, options } => {
                deliver::run(&options, from.as_deref(), &recipients)
            }
            Self::Dkim { options } => dkim::run(&options),
            Self::Export { user, target, options } => export::run(&options, &user, target),
            Self::Import { user, path, options } => import::run(&options, &user, &path),
            Self::List { user, options } => read::list(&options, &user, None),
            Self::Poll { dry_run, options } => poll::run(&options, dry_run),
            Self::Queue { action, id, options } => queue::run(&options, action.zip(id)),
            Self::Search { user, text, options } => read::list(&options, &user, Some(&text)),
            Self::Show { user, uid, options } => read::show(&options, &user, uid).map(|()| true),
            Self::Trace { id, options } => trace::run(&options, &id).map(|()| true),
        }
    }
}

/// Reads the number of a message in a mailbox.
fn uid(text: &str) -> Result<Uid, String> {
    text.parse().map_err(|_| format!("{text:?} is no number of a message"))
}

/// Parses an address; without a domain it is one of the office's.
fn mailbox(config: &Config, text: &str) -> Result<Mailbox, Error> {
    let parts = MailboxParts::parse(text).map_err(|error| {
        let remedy = "write a name, such as \"alice\", or an address with a domain";
        Error::usage(format!("{text:?}: {error}; {remedy}"))
    })?;
    let domain = parts.domain.unwrap_or_else(|| Domain::Name(config.system.domain.to_lowercase()));
    Ok(Mailbox { local: parts.local, domain })
}

/// A message that cannot be read, in a report for programs.
#[derive(Debug, Serialize)]
struct NotRead {
    uid: u32,
    why: String,
}

/// Prints a report for programs.
fn print_json(report: &impl Serialize) -> Result<(), Error> {
    let line = serde_json::to_string(report)
        .map_err(|error| Error::failed("the report cannot be written", error, "leave --json out"))?;
    print(&line);
    Ok(())
}

/// The remedy for a read error of the mail store.
fn remedy_of_reading(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run it as the user that the gateway runs as",
        _ => "see whether the disk is well, and try again",
    }
}

fn print(line: &str) {
    // If stdout is closed, the exit code still reports the outcome.
    _ = writeln!(io::stdout(), "{line}");
}

/// Prints a problem with a part.
fn tell(what: &str) {
    // There is no other place to report it.
    _ = writeln!(io::stderr(), "gatepost: {what}");
}

/// Tells people on a terminal how far it is.
struct Progress {
    what: &'static str,
    is_shown: bool,
    told: u64,
}

impl Progress {
    /// Messages between two lines.
    const STEP: u64 = 1000;

    fn new(what: &'static str, options: &Options) -> Self {
        Self { what, is_shown: !options.json && io::stderr().is_terminal(), told: 0 }
    }

    fn tell(&mut self, count: u64) {
        if self.is_shown && count >= self.told + Self::STEP {
            self.told = count;
            tell(&format!("{count} messages {}", self.what));
        }
    }
}
