//! The command line of `gatepost lab`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::HOSTS_MAX;
use crate::control::Question;

/// How long a speed test may take in each direction, in seconds.
const SPEED_SECS_MAX: u64 = 60;

/// A new lab, or a question to the one that runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) options: Options,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

impl Arguments {
    /// Whether the answer is asked for as JSON.
    pub fn is_for_programs(&self) -> bool {
        matches!(&self.command, Some(Command::Show { question, .. }) if question.is_for_programs())
    }
}

/// A new lab.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Options {
    /// End after trying everything out: with 0 if all is well, else with 1.
    #[arg(long)]
    pub(super) check: bool,
    /// How many PCs the office has.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=HOSTS_MAX as i64))]
    pub(super) hosts: u8,
    /// The gateway's configuration, instead of the built-in default; its ports and paths are the lab's all the same.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Write what passes the hosts' devices to a capture that Wireshark opens, up to 1 GiB.
    #[arg(long, value_name = "FILE")]
    pub(super) capture: Option<PathBuf>,
}

/// What a lab that runs in another terminal is asked for.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Ask the running lab's gateway.
    Show {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        lab: Lab,
    },
    /// Run a command on a host of the running lab; without one, a shell.
    On {
        #[command(flatten)]
        lab: Lab,
        /// The host: `pc1` and so on, or `internet`.
        host: String,
        /// The command with its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Measure how fast a PC of the running lab transfers to and from its internet, through the gateway.
    Speed {
        /// The PC.
        #[arg(default_value = "pc1")]
        host: String,
        /// How long each direction takes.
        #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=SPEED_SECS_MAX))]
        secs: u64,
        #[command(flatten)]
        lab: Lab,
    },
    /// Send a mail by the mail program of a PC of the running lab. `echo@example.net`, on its internet, sends it back.
    Send {
        /// The PC.
        host: String,
        /// Whom the mail is for.
        to: String,
        #[command(flatten)]
        lab: Lab,
    },
    /// Fetch the mail of the user of a PC of the running lab, print it, and delete it there, as mail programs do by
    /// POP3.
    Fetch {
        /// The PC.
        #[arg(default_value = "pc1")]
        host: String,
        #[command(flatten)]
        lab: Lab,
    },
}

/// Which of several labs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Lab {
    /// The lab's process id, where several run.
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,
}
