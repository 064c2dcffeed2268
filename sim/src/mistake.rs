//! A mistake in a scenario, and the line to change.

use std::fmt;
use std::panic::Location;

/// A line of a source file.
pub type Line = &'static Location<'static>;

/// What cannot be built, in a sentence that begins with the line that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    line: Line,
    what: String,
}

impl Mistake {
    /// The mistake of `line`.
    pub fn at(line: Line, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }

    /// The mistake of the line that calls.
    #[track_caller]
    pub fn here(what: impl Into<String>) -> Self {
        Self::at(Location::caller(), what)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line.file(), self.line.line(), self.what)
    }
}

impl From<Mistake> for String {
    fn from(mistake: Mistake) -> Self {
        mistake.to_string()
    }
}
