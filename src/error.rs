//! How a command fails: one sentence with the remedy, and the exit code.

use std::fmt;
use std::process::ExitCode;

/// Why a command could not do its work.
///
/// It prints as `what happened: why; what to do`; a configuration with several mistakes is a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    messages: Vec<String>,
}

/// Whose fault it is, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Failed,
    Usage,
    /// It exits with a code of sysexits(3), for programs that know these.
    Sysexits(u8),
}

impl Error {
    /// The work failed: exit code 1.
    pub fn failed(what: impl fmt::Display, why: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Failed, messages: vec![format!("{what}: {why}; {remedy}")] }
    }

    /// The command line or the configuration is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, messages: vec![message.into()] }
    }

    /// The command line of `program` is wrong, in one sentence instead of clap's paragraphs: exit code 2.
    pub fn command_line(program: &str, mistake: &clap::Error) -> Self {
        let message = mistake.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let said = message.split("\n\n").next().unwrap_or_default();
        let said: Vec<_> = said.split_whitespace().collect();
        Self::usage(format!("{}; see `{program} --help`", said.join(" ")))
    }

    /// The configuration has these mistakes: exit code 2.
    pub fn mistakes<M: ToString>(mistakes: impl IntoIterator<Item = M>) -> Self {
        let messages = mistakes.into_iter().map(|mistake| mistake.to_string()).collect();
        Self { kind: ErrorKind::Usage, messages }
    }

    /// The same with a code of sysexits(3), where whoever calls expects those.
    pub fn with_code(self, code: u8) -> Self {
        Self { kind: ErrorKind::Sysexits(code), ..self }
    }

    /// What to tell the user, each a line of its own.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// The process's exit code for it.
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
