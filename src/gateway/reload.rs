//! Another configuration for a running gateway.
//!
//! It is taken in whole or not at all. What it says of ports and of the process itself has to be what it
//! was: those are set up once. Everything else changes: the dataplane's rules in one swap, so that flows
//! that they still allow go on and the others end. New services are prepared and bound while the former still serve;
//! if one of them cannot be, nothing has changed. Then they take over the ports with whatever waits there, and the
//! former finish what they have begun. The provider's lease and the leases of the office stay; caches begin anew.

use gatepost_services::service::Unprepared;
use tokio::sync::{mpsc, oneshot};

use super::failure::ServicesError;
use crate::config::Config;
use crate::error::Error;

/// Reloads that wait for one under way.
pub const RELOADS_MAX: usize = 8;

/// Asks the running services to go over to another configuration.
#[derive(Clone)]
pub struct Reloader {
    pub(super) requests: mpsc::Sender<Request>,
}

/// A configuration to go over to, and whom to tell of the outcome.
pub(super) struct Request {
    pub config: Box<Config>,
    pub answer: oneshot::Sender<Result<(), ReloadError>>,
}

/// Why a configuration is not taken. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// These settings cannot change while the gateway runs.
    NeedsRestart(Vec<&'static str>),
    /// A service cannot go by it.
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
    /// Goes over to `config`; it is in force when this returns.
    ///
    /// # Errors
    ///
    /// It is not taken, and nothing has changed: it needs a restart, or a service cannot use it.
    pub async fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let (answer, outcome) = oneshot::channel();
        let request = Request { config: Box::new(config), answer };
        self.requests.send(request).await.map_err(|_| ReloadError::Stopping)?;
        outcome.await.unwrap_or(Err(ReloadError::Stopping))
    }
}

/// Whether a gateway that runs on `old` can go over to `new`.
///
/// # Errors
///
/// What it would need a restart for.
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
