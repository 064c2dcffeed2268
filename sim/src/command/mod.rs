//! What the command does: one seed or many, progress on a terminal, captures of what failed.
//!
//! Standard output is the same for the same arguments; how long it took is told on standard error, and
//! progress only where standard output is a terminal.

pub mod interrupt;
pub mod many;
pub mod plan;
mod screen;
pub mod single;

use std::{fmt, io};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every promise was kept.
    Passed,
    /// One was broken.
    Failed,
    /// All was well until Ctrl-C.
    Interrupted,
}

/// Why it could not be done.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be done as it was asked for.
    Usage(String),
    /// Standard output takes no more.
    Output(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => f.write_str(what),
            Self::Output(error) => write!(f, "the result cannot be printed: {error}"),
        }
    }
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Usage(what)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests;
