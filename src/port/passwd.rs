//! `gatepost passwd`: sets the password of a user, whether a gateway runs or not.

#![expect(clippy::disallowed_types, reason = "a process draws its salts from the system")]

use std::fmt;
use std::io::{self, Write};

use gatepost_services::users::User;
use gatepost_services::users::password::Prepared;
use gatepost_services::users::passwords;
use gatepost_services::users::verifier::{Cost, Verifiers};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};

use super::secret_input::{ask_secret, read_secret_line};
use crate::config::{Config, Source};
use crate::error::Error;
use crate::password::{self, Unfit};

/// What is said of a password that is not stored.
const NOT_SET: &str = "the password is not set";

/// Sets the password of the user `name` of the configuration of `source`: from the first line of stdin, or as it is
/// typed twice on the terminal.
///
/// # Errors
///
/// There is no such user, no password or a weak one, or it cannot be stored. The old password stays valid then.
pub fn set_password(source: &Source, name: &str, from_stdin: bool) -> Result<(), Error> {
    let (config, _) = source.load()?;
    find_user(&config, source, name)?;
    let text = if from_stdin {
        read_secret_line(io::stdin().lock(), NOT_SET)?
    } else {
        ask_secret(&format!("New password of {name}"), NOT_SET, true)?
    };
    let password = check(&config, name, &text)?;
    let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(|error| not_set(error, "try again"))?;
    let verifiers = Verifiers::of(&password, Cost::FULL, &mut rng)
        .map_err(|error| not_set(error, "free some memory, and try again"))?;
    passwords::write(&config.system.state_dir, name, &verifiers).map_err(|error| {
        let why = format!("{}: {error}", config.system.state_dir.join(passwords::file_of(name)).display());
        not_set(why, "run it as the user that the gateway runs as, and see that there is room")
    })?;
    // The exit code reports the outcome if stdout is closed.
    _ = writeln!(io::stdout(), "the password of {name} is set");
    Ok(())
}

/// The user `name` of the configuration of `source`.
///
/// # Errors
///
/// There is no such user.
pub fn find_user<'a>(config: &'a Config, source: &Source, name: &str) -> Result<&'a User, Error> {
    if let Some(user) = config.users.iter().find(|user| user.name == name) {
        return Ok(user);
    }
    let file =
        source.file().map_or("the built-in configuration".to_owned(), |file| file.display().to_string());
    let names: Vec<_> = config.users.iter().map(|user| user.name.as_str()).collect();
    let known = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Err(Error::usage(format!(
        "there is no user {name:?} in {file}: it knows {known}; write [[users]] with that name there, or name another"
    )))
}

/// Checks that `text` is strong enough as the password of the user `name`, and prepares it for storage.
fn check(config: &Config, name: &str, text: &str) -> Result<Prepared, Error> {
    let user = config.users.iter().find(|user| user.name == name);
    let full_name = user.map_or("", |user| &user.full_name);
    password::check(config, name, full_name, text).map_err(|unfit| {
        let remedy = match unfit {
            Unfit::Malformed(_) => "take another",
            Unfit::Weak(_) => "take another, such as four words that have nothing in common",
        };
        not_set(unfit, remedy)
    })
}

fn not_set(why: impl fmt::Display, remedy: &str) -> Error {
    Error::failed(NOT_SET, why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T>(outcome: Result<T, Error>) -> String {
        outcome.err().map_or(String::new(), |error| error.to_string())
    }

    #[test]
    fn a_weak_password_is_refused_with_the_reason() {
        let text =
            "system.domain = 'lindqvist.example'\n[[users]]\nname = 'anna'\nfull_name = 'Anna Lindqvist'";
        let config = Config::parse("test", text).expect("a valid configuration");
        for (password, reason) in [
            ("", "it is empty"),
            ("short", "it has less than 10 characters"),
            ("anna2026lindqvist", "a name of the user or of the office"),
            ("Gatepost1234", "a name of the user or of the office"),
            ("password1234", "words that everybody tries first"),
            ("blue\0harbour", "control character"),
            (&"x".repeat(1025), "more than 1024 octets"),
        ] {
            let told = told(check(&config, "anna", password));
            assert!(told.starts_with("the password is not set: ") && told.contains(reason), "{told}");
        }
        assert!(check(&config, "anna", "blue harbour 47").is_ok());
    }
}
