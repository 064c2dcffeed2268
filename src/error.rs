//! Errors of commands: one sentence with the remedy, and the exit code.

use std::fmt;
use std::process::ExitCode;

use clap::error::ErrorKind as ErrorKindOfClap;

/// Exit codes of sysexits(3), for programs that know these.
pub mod sysexits {
    /// The command line is wrong.
    pub const EX_USAGE: u8 = 64;
    /// The input is wrong.
    pub const EX_DATAERR: u8 = 65;
    /// There is no such recipient.
    pub const EX_NOUSER: u8 = 67;
    /// The service is unavailable.
    pub const EX_UNAVAILABLE: u8 = 69;
    /// The input cannot be read.
    pub const EX_IOERR: u8 = 74;
    /// It may succeed later.
    pub const EX_TEMPFAIL: u8 = 75;
    /// The other side does not speak the protocol.
    pub const EX_PROTOCOL: u8 = 76;
    /// The caller lacks the permission.
    pub const EX_NOPERM: u8 = 77;
    /// The configuration is wrong.
    pub const EX_CONFIG: u8 = 78;
}

/// Why a command could not do its work.
///
/// It prints as `PROBLEM: REASON; REMEDY`; a configuration with several errors is a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    messages: Vec<String>,
    is_reported: bool,
}

/// The kind of an error, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Failed,
    Usage,
    /// The command exits with a code of [`sysexits`].
    Sysexits(u8),
}

impl Error {
    /// The work failed: exit code 1.
    pub fn failed(what: impl fmt::Display, why: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::of(ErrorKind::Failed, vec![format!("{what}: {why}; {remedy}")])
    }

    /// The command line or the configuration is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Usage, vec![message.into()])
    }

    /// The command line of `program` is wrong, in one sentence instead of clap's paragraphs: exit code 2.
    pub fn command_line(program: &str, mistake: &clap::Error) -> Self {
        let message = mistake.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let said = message.split("\n\n").next().unwrap_or_default();
        let said: Vec<_> = match mistake.kind() {
            // It comes with all of the help.
            ErrorKindOfClap::DisplayHelpOnMissingArgumentOrSubcommand => vec!["no command was given"],
            _ => said.split_whitespace().collect(),
        };
        Self::usage(format!("{}; see `{program} --help`", said.join(" ")))
    }

    /// The configuration has these mistakes: exit code 2.
    pub fn mistakes<M: ToString>(mistakes: impl IntoIterator<Item = M>) -> Self {
        Self::of(ErrorKind::Usage, mistakes.into_iter().map(|mistake| mistake.to_string()).collect())
    }

    /// The work failed for these reasons, a message each: exit code 1.
    pub fn several(messages: Vec<String>) -> Self {
        Self::of(ErrorKind::Failed, messages)
    }

    /// Whether the command line or the configuration is wrong.
    pub fn is_usage(&self) -> bool {
        self.kind == ErrorKind::Usage
    }

    fn of(kind: ErrorKind, messages: Vec<String>) -> Self {
        Self { kind, messages, is_reported: false }
    }

    /// This error with a code of [`sysexits`], for callers that expect those, unless it has one already.
    pub fn with_code(self, code: u8) -> Self {
        match self.kind {
            ErrorKind::Failed | ErrorKind::Usage => Self { kind: ErrorKind::Sysexits(code), ..self },
            ErrorKind::Sysexits(_) => self,
        }
    }

    /// This error, which a printed JSON report contains already.
    pub fn reported(self) -> Self {
        Self { is_reported: true, ..self }
    }

    /// The error in JSON: `{"errors":["...", ...]}`. `None` if a report contains it already.
    pub fn json(&self) -> Option<String> {
        (!self.is_reported).then(|| serde_json::json!({ "errors": self.messages }).to_string())
    }

    /// The messages for the user, one for each line.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            ErrorKind::Failed => ExitCode::from(1),
            ErrorKind::Usage => ExitCode::from(2),
            ErrorKind::Sysexits(code) => ExitCode::from(code),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join("\n"))
    }
}

impl std::error::Error for Error {}
