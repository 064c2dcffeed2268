//! Scenarios with a name, and lists of them.

use std::time::Duration;

use super::office::Office;

/// The scenarios of a crate, for its command line ([`command::main`](crate::command::main)) and its tests
/// ([`command::check`](crate::command::check)).
#[derive(Clone, Copy)]
pub struct Catalog {
    /// The crate's package, which has a program of the same name: `env!("CARGO_PKG_NAME")`.
    pub package: &'static str,
    /// The scenarios; the first is the default.
    pub scenarios: &'static [Scenario],
}

impl Catalog {
    /// The scenario with this name.
    pub fn find(&self, name: &str) -> Option<&'static Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }
}

/// A scenario with a name.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its events, in a sentence.
    pub about: &'static str,
    /// Its default duration, in seconds.
    pub lasting_secs: u64,
    /// Its least duration, in seconds.
    pub lasting_secs_min: u64,
    /// Makes the office; only the swarm's depends on the seed and on how long it lasts.
    pub build: fn(seed: u64, lasting: Duration) -> Office,
}

impl Scenario {
    /// The office for `seed`.
    ///
    /// # Errors
    ///
    /// The duration is too short for the scenario.
    pub fn office(&self, seed: u64, lasting: Option<Duration>) -> Result<Office, String> {
        let lasting = lasting.unwrap_or(Duration::from_secs(self.lasting_secs));
        let Self { name, lasting_secs_min, .. } = self;
        if lasting < Duration::from_secs(*lasting_secs_min) {
            let minutes = lasting_secs_min.div_ceil(60);
            return Err(format!(
                "the scenario {name} takes {minutes} minutes or more; write --minutes {minutes}"
            ));
        }
        Ok((self.build)(seed, lasting).lasting(lasting))
    }
}
