//! Whether a text is fit to be the password of a user of the office: for `gatepost passwd` and the pages.

use std::fmt;

use gatepost_services::users::password::{Malformed, Prepared, Weakness};

use crate::config::Config;

/// Why a text is not fit to be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// No password can be like that.
    Malformed(Malformed),
    /// It is easily guessed.
    Weak(Weakness),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Weak(weakness) => weakness.fmt(f),
        }
    }
}

/// Checks that `text` is strong enough as the password of the user `name`, with this full name, in the office of
/// `config`, and prepares it for storage.
///
/// # Errors
///
/// Why it is not.
pub fn check(config: &Config, name: &str, full_name: &str, text: &str) -> Result<Prepared, Unfit> {
    let password = Prepared::new(text).map_err(Unfit::Malformed)?;
    let names = [name, full_name, &config.system.hostname, &config.system.domain, env!("CARGO_PKG_NAME")];
    password.weakness(&names).map_or(Ok(password), |weakness| Err(Unfit::Weak(weakness)))
}
