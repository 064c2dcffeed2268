//! Reload: a new configuration for a running gateway.
//!
//! A configuration is taken as a whole or not at all. Its ports and process settings must be the same as before:
//! those are set up once. The dataplane's rules change in one swap; flows that the new rules allow go on, and the
//! others end. New services are prepared and bound while the old ones still serve; if one cannot be prepared, nothing
//! has changed. Then the new services take over the sockets with the waiting packets, and the old ones finish what
//! they have begun. The provider's lease and the leases of the office stay; caches start empty.

use gatepost_services::service::{LocalFuture, Unprepared};
use tokio::sync::{mpsc, oneshot};

use super::failure::ServicesError;
use crate::config::Config;
use crate::error::Error;
use crate::transaction::Takes;

/// The most reloads that wait for one in progress.
pub const RELOADS_MAX: usize = 8;

/// Requests a reload of the running services.
#[derive(Clone)]
pub struct Reloader {
    pub(super) requests: mpsc::Sender<Request>,
}

/// A configuration to be loaded, and the channel for the outcome.
pub(super) struct Request {
    pub config: Box<Config>,
    pub answer: oneshot::Sender<Result<(), ReloadError>>,
}

/// Why a configuration was rejected. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// These settings cannot change while the gateway runs.
    NeedsRestart(Vec<&'static str>),
    /// A service cannot use the configuration.
    Unprepared(Unprepared),
    /// The gateway ends.
    Stopping,
}

impl From<ReloadError> for Error {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::NeedsRestart(changed) => Self::failed(
                "the configuration is not taken",
                format_args!("{} cannot change while the gateway runs", changed.join(" and ")),
                "restart the gateway, or change that back",
            ),
            ReloadError::Unprepared(error) => ServicesError::Unprepared(error).into(),
            ReloadError::Stopping => {
                Self::failed("cannot reload", "the gateway is stopping", "start it again")
            }
        }
    }
}

impl Reloader {
    /// Loads `config`, which is in force when this returns.
    ///
    /// # Errors
    ///
    /// The configuration was rejected, and nothing has changed: it needs a restart, or a service cannot use it.
    pub async fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let (answer, outcome) = oneshot::channel();
        let request = Request { config: Box::new(config), answer };
        self.requests.send(request).await.map_err(|_| ReloadError::Stopping)?;
        outcome.await.unwrap_or(Err(ReloadError::Stopping))
    }
}

impl Takes for Reloader {
    fn check(&self, old: &Config, new: &Config) -> Result<(), Error> {
        check_change(old, new)
    }

    fn take(&self, config: Config) -> LocalFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.reload(config).await.map_err(unapplied) })
    }
}

/// Checks that a candidate `new` can follow `old` while the gateway runs.
///
/// # Errors
///
/// What needs a restart, with the remedy for the candidate's editor.
pub fn check_change(old: &Config, new: &Config) -> Result<(), Error> {
    check(old, new).map_err(unapplied)
}

/// Why a candidate is not taken.
fn unapplied(error: ReloadError) -> Error {
    match error {
        ReloadError::NeedsRestart(changed) => Error::failed(
            "the change is not applied",
            format_args!("{} cannot change while the gateway runs", changed.join(" and ")),
            "edit the file and restart the gateway, or take that out of the candidate",
        ),
        error => error.into(),
    }
}

/// Checks that a gateway with the configuration `old` can load `new`.
///
/// # Errors
///
/// The settings that need a restart.
pub(super) fn check(old: &Config, new: &Config) -> Result<(), ReloadError> {
    let fixed = [
        ("system.state_dir", old.system.state_dir == new.system.state_dir),
        ("system.control_socket", old.system.control_socket == new.system.control_socket),
        ("system.workers", old.system.workers == new.system.workers),
        ("the ports, or the mode from or to \"lan-only\",", old.ports().eq(new.ports())),
        ("wan.mtu", old.wan.mtu == new.wan.mtu),
    ];
    let changed: Vec<_> = fixed.iter().filter(|(_, is_same)| !is_same).map(|(what, _)| *what).collect();
    if changed.is_empty() { Ok(()) } else { Err(ReloadError::NeedsRestart(changed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("test", text).expect("a valid configuration")
    }

    #[test]
    fn rules_and_services_can_change() {
        let new =
            "lan.address = '10.0.0.1/24'\ndhcp.enabled = false\nnetwork.mode = 'router'\nnat.max_flows = 100";
        assert_eq!(check(&config(""), &config(new)), Ok(()));
    }

    #[test]
    fn what_is_set_up_once_is_told() {
        for (new, told) in [
            ("system.state_dir = '/elsewhere'", "system.state_dir"),
            ("system.control_socket = '/elsewhere'", "system.control_socket"),
            ("system.workers = 3", "system.workers"),
            ("lan.ports = [{ tap = 'other' }]", "the ports"),
            ("network.mode = 'lan-only'", "the mode"),
            ("wan.mtu = 1400", "wan.mtu"),
        ] {
            let error = Error::from(check(&config(""), &config(new)).expect_err(new)).to_string();
            assert!(error.contains(told) && error.contains("restart the gateway"), "{error}");
        }
    }
}
