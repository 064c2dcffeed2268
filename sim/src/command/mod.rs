//! The command line of a crate's scenarios, and its counterpart for tests.
//!
//! A program needs only [`main`]: one seed or many, progress on a terminal, captures of failed runs. Standard output is
//! the same for the same arguments; standard error has the duration, and progress if standard output is a terminal.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use gatepost_sim::command;
//! use gatepost_sim::scenario::{Catalog, Scenario, office};
//!
//! const CATALOG: Catalog = Catalog {
//!     package: env!("CARGO_PKG_NAME"),
//!     scenarios: &[Scenario {
//!         name: "three-pcs",
//!         about: "three PCs fetch pages",
//!         lasting_secs: 60,
//!         lasting_secs_min: 10,
//!         build: |_seed, _lasting| office().pcs(3),
//!     }],
//! };
//!
//! fn main() -> ExitCode {
//!     command::main(&CATALOG)
//! }
//! ```
//!
//! `cargo run -p PACKAGE -- --seeds 1..=100` runs a hundred seeds. A failed one is run once more with a capture of
//! every segment, which has to be the same run again, and the command that repeats it is printed. [`check`] runs one
//! seed in a test:
//!
//! ```
//! # use gatepost_sim::command;
//! # use gatepost_sim::scenario::{Catalog, Scenario, office};
//! # const CATALOG: Catalog = Catalog {
//! #     package: "example",
//! #     scenarios: &[Scenario {
//! #         name: "three-pcs",
//! #         about: "three PCs fetch pages",
//! #         lasting_secs: 10,
//! #         lasting_secs_min: 10,
//! #         build: |_seed, _lasting| office().pcs(3),
//! #     }],
//! # };
//! let captures = std::env::temp_dir().join("three-pcs");
//! let outcome = command::check(&CATALOG, "three-pcs", 1, &captures).unwrap_or_else(|told| panic!("{told}"));
//! assert!(outcome.frames > 0);
//! ```

mod check;
mod contents;
mod interrupt;
mod line;
mod many;
mod plan;
mod screen;
mod single;

pub use check::check;
pub use line::main;

use std::{fmt, io};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Every promise was kept.
    Passed,
    /// One was broken.
    Failed,
    /// All was well until Ctrl-C.
    Interrupted,
}

/// Why it could not be done.
#[derive(Debug)]
enum Trouble {
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
