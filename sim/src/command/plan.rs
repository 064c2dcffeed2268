//! The runs to do, and the commands that repeat them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, fs};

use crate::scenario::{Office, Outcome, Progress, Scenario};

/// A scenario and how much of it.
#[derive(Clone)]
pub struct Plan<'a> {
    /// The package whose program runs it.
    pub package: &'a str,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// How long it takes; `None`: as long as the scenario says.
    pub minutes: Option<u64>,
    /// How many workers the gateway has; `None`: as many as the scenario says.
    pub workers: Option<u8>,
    /// When runs are ended early.
    pub stop_after: Option<Duration>,
    /// Where captures of failed runs go; it is made if it does not exist.
    pub captures: &'a Path,
    /// Ends runs as soon as it is true.
    pub stop: Arc<AtomicBool>,
}

impl Plan<'_> {
    /// Runs `seed` and shows `show` how far it is.
    ///
    /// # Errors
    ///
    /// The office cannot be built, or the capture not be written.
    pub fn run(
        &self,
        seed: u64,
        pcap: Option<&Path>,
        show: &mut dyn FnMut(&Progress),
    ) -> Result<Outcome, String> {
        self.office(seed)?.run_watched(self.scenario.name, seed, pcap, &mut |progress| {
            show(progress);
            let is_long_enough = self.stop_after.is_some_and(|after| progress.simulated >= after);
            if is_long_enough || self.is_stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// The office of `seed`.
    ///
    /// # Errors
    ///
    /// It cannot be as short as that.
    pub fn office(&self, seed: u64) -> Result<Office, String> {
        let lasting = self.minutes.map(|minutes| Duration::from_secs(60 * minutes));
        let office = self.scenario.office(seed, lasting)?;
        Ok(match self.workers {
            Some(count) => office.workers(count),
            None => office,
        })
    }

    /// Whether runs are ended now.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Repeats a run that failed, with a capture.
    pub fn repeat(&self, failed: &Outcome) -> Repeat {
        let path = self.capture_of(failed.seed);
        let made = fs::create_dir_all(self.captures).map_err(|error| error.to_string());
        match made.and_then(|()| self.run(failed.seed, Some(&path), &mut |_| ())) {
            Err(why) => Repeat::Refused(why),
            Ok(again) if again.trace_hash == failed.trace_hash && again.simulated == failed.simulated => {
                Repeat::Same(path)
            }
            Ok(again) if self.is_stopped() && again.is_cut_short => Repeat::Interrupted,
            Ok(again) => Repeat::Different { path, trace_hash: again.trace_hash },
        }
    }

    fn capture_of(&self, seed: u64) -> PathBuf {
        self.captures.join(format!("{}-{seed}.pcapng", self.scenario.name))
    }

    /// The command that repeats the run of `seed`.
    pub fn command(&self, seed: u64) -> String {
        let minutes = self.minutes.map(|minutes| format!(" --minutes {minutes}")).unwrap_or_default();
        let workers = self.workers.map(|count| format!(" --workers {count}")).unwrap_or_default();
        let stop = self.stop_after.map(|after| format!(" --stop-after {}", after.as_secs()));
        let (package, name, stop) = (self.package, self.scenario.name, stop.unwrap_or_default());
        format!(
            "cargo run --release -p {package} -- --scenario {name} --seed {seed}{minutes}{workers}{stop} --pcap {}",
            self.capture_of(seed).display()
        )
    }
}

/// What came of repeating a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The same frames at the same times, now in this capture.
    Same(PathBuf),
    /// Something else: the simulation is not deterministic.
    Different {
        /// The capture.
        path: PathBuf,
        /// The trace of the repeated run.
        trace_hash: u128,
    },
    /// Ctrl-C came first.
    Interrupted,
    /// It could not be done.
    Refused(String),
}

impl fmt::Display for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(path) => write!(f, "every segment is captured in {}", path.display()),
            Self::Different { path, trace_hash } => write!(
                f,
                "REPEATED, IT WAS ANOTHER RUN: trace {trace_hash:032x}, in {}; something in it is not deterministic",
                path.display()
            ),
            Self::Interrupted => f.write_str("interrupted before it was captured"),
            Self::Refused(why) => write!(f, "not captured: {why}"),
        }
    }
}
