//! Runs an office.

use std::ops::ControlFlow;
use std::path::Path;

use super::office::Office;
use super::outcome::Outcome;
use super::progress::Watch;
use super::world::World;

impl Office {
    /// Builds the world from `seed` and lets its time pass; a capture goes to `pcap`.
    ///
    /// # Errors
    ///
    /// The office cannot be built: a sentence that says which line of the scenario to change. Or the
    /// capture cannot be written.
    pub fn run(self, name: &str, seed: u64, pcap: Option<&Path>) -> Result<Outcome, String> {
        self.run_watched(name, seed, pcap, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Office::run`], and calls `watch` with the progress.
    ///
    /// # Errors
    ///
    /// As for [`Office::run`].
    pub fn run_watched(
        self,
        name: &str,
        seed: u64,
        pcap: Option<&Path>,
        watch: Watch<'_>,
    ) -> Result<Outcome, String> {
        World::build(self, name, seed, pcap)?.run(watch)
    }
}
