//! The mail accounts of the lab's users: their passwords, and the settings of the mail programs on the PCs.

#![expect(clippy::disallowed_types, reason = "a process draws its salts from the system")]

use std::io;

use gatepost_services::mail::service::office::{SMTP, SUBMISSION};
use gatepost_services::mail::service::pop3::POP3;
use gatepost_services::service::Kind;
use gatepost_services::users::User;
use gatepost_services::users::password::Prepared;
use gatepost_services::users::passwords;
use gatepost_services::users::verifier::{Cost, Verifiers};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};

use super::mail::Account;
use crate::config::Config;
use crate::error::Error;
use crate::tls;

/// The password of all users. It cannot be used from outside of the lab.
pub const PASSWORD: &str = "correct horse battery";

/// The verifiers of [`PASSWORD`].
///
/// # Errors
///
/// There is no memory for making it.
pub fn verifiers(rng: &mut StdRng) -> io::Result<Verifiers> {
    let password = Prepared::new(PASSWORD).map_err(io::Error::other)?;
    Verifiers::of(&password, Cost::LEAST, rng).map_err(io::Error::other)
}

/// Sets the password of each user of `config`, before the gateway starts.
///
/// # Errors
///
/// The file system's error.
pub fn set_passwords(config: &Config) -> io::Result<()> {
    let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
    for user in &config.users {
        passwords::write(&config.system.state_dir, &user.name, &verifiers(&mut rng)?)?;
    }
    Ok(())
}

/// The addresses of the users of `config`.
pub fn addresses(config: &Config) -> Vec<String> {
    config.users.iter().map(|user| format!("{}@{}", user.name, config.system.domain)).collect()
}

/// The accounts of the users of `config`, at the gateway, which is ready. There are none if mail programs cannot reach
/// it, or if its certificate is not from the office's own authority.
///
/// # Errors
///
/// The authority's certificate cannot be read.
pub fn of(config: &Config) -> Result<Vec<Account>, Error> {
    let services = &config.services;
    let is_usable = |kind: &Kind| services.is_enabled(kind.name) && config.access.to(kind.name).is_none();
    let ports = &services.mail.ports;
    let has_ports = [ports.smtp, ports.submission, ports.pop3].iter().all(|port| *port != 0);
    if !has_ports || ![&SMTP, &SUBMISSION, &POP3].into_iter().all(is_usable) || config.tls.files.is_some() {
        return Ok(Vec::new());
    }
    let authority = tls::authority(&config.system, &config.system.state_dir)?;
    let account = |(user, address): (&User, String)| Account {
        address,
        user: user.name.clone(),
        password: PASSWORD.to_owned(),
        server: format!("{}.{}", config.system.hostname, config.system.domain).to_lowercase(),
        server_address: config.lan.address.addr(),
        smtp_port: ports.smtp,
        submission_port: ports.submission,
        pop3_port: ports.pop3,
        authority: Some(authority.clone()),
    };
    Ok(config.users.iter().zip(addresses(config)).map(account).collect())
}
