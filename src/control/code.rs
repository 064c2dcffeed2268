//! `gatepost code`: the code for the administration's pages, for whoever may use the control socket.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use gatepost_services::admin::RESET_TIME_MAX;
use serde::{Deserialize, Serialize};

use super::{Request, Response, converse, misunderstood};
use crate::error::Error;

/// A code, and where to enter it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldCode {
    /// The code.
    pub code: String,
    /// The URL of the page.
    pub site: String,
    /// Whether it is for the first run; else for a password.
    pub is_first_run: bool,
}

/// Hides the code.
impl fmt::Debug for ToldCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToldCode({})", self.site)
    }
}

impl fmt::Display for ToldCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, site, is_first_run } = self;
        if *is_first_run {
            return writeln!(f, "{code}\nnobody owns this gateway yet: open {site} and enter this code");
        }
        let minutes = RESET_TIME_MAX.as_secs() / 60;
        writeln!(
            f,
            "{code}\nopen {site} and enter this code within {minutes} minutes: it sets the password of an owner, once"
        )
    }
}

/// Asks the gateway behind `socket` for a code, and prints it.
///
/// # Errors
///
/// No gateway runs there, it is not ours to ask, or it has no pages.
pub fn code(socket: &Path) -> Result<(), Error> {
    match converse(socket, &Request::Code)? {
        Response::Report(report) => {
            let told: ToldCode = serde_json::from_value(report).map_err(|_| misunderstood(socket))?;
            // If stdout is closed, the exit code still reports the outcome.
            _ = write!(io::stdout(), "{told}");
            Ok(())
        }
        Response::Undone { why, remedy } => Err(Error::failed("there is no code", why, remedy)),
        _ => Err(misunderstood(socket)),
    }
}
