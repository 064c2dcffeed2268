//! Many seeds, in parallel.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::scenario::Outcome;

use super::plan::{Plan, Repeat};
use super::screen::{REFRESH, Screen, Stopwatch};
use super::{Ending, Trouble};

/// The most failed seeds that are captured: a capture can be large.
const CAPTURES_MAX: usize = 10;
/// The most failed seeds that the end lists.
const FAILED_LISTED_MAX: usize = 100;
/// The stack of a worker: that of the main thread, on which a single seed runs. A development build of a whole office
/// takes more than the 2 MiB that a thread has.
const STACK_OCTETS: usize = 8 << 20;

/// Seeds, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    last: u64,
}

/// How they are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// So many at a time.
    pub jobs: usize,
    /// None after one has failed.
    pub fail_fast: bool,
    /// Prints the trace's hash of each.
    pub traces: bool,
}

/// A run that has ended, and if it failed the result of its repetition.
type Finished = Result<(Outcome, Option<Repeat>), String>;

/// Runs all seeds, prints everything about those that fail, and a summary of the rest.
///
/// # Errors
///
/// One of the runs fails, or its report cannot be written.
pub fn run(plan: &Plan<'_>, seeds: Seeds, options: Options, out: &mut dyn Write) -> Result<Ending, Trouble> {
    let rounds = Rounds {
        plan,
        seeds,
        options,
        next: AtomicU64::new(0),
        failed: AtomicUsize::new(0),
        simulated_secs: AtomicU64::new(0),
    };
    let (results, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            let results = results.clone();
            let worker = thread::Builder::new().stack_size(STACK_OCTETS);
            let no_worker =
                |error| Trouble::Usage(format!("no thread can be started: {error}; write --jobs 1"));
            worker.spawn_scoped(scope, || rounds.work(results)).map_err(no_worker)?;
        }
        drop(results);
        Report::new(&rounds).tell(&finished, out)
    })
}

/// What the workers share.
struct Rounds<'a> {
    plan: &'a Plan<'a>,
    seeds: Seeds,
    options: Options,
    next: AtomicU64,
    failed: AtomicUsize,
    /// Simulated seconds, of the runs that go on too.
    simulated_secs: AtomicU64,
}

impl Rounds<'_> {
    /// Runs one seed after the other.
    fn work(&self, results: Sender<Finished>) {
        while !self.is_over() {
            let Some(seed) = self.seeds.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            let result = self.plan.run(seed, None, &mut |_| {
                self.simulated_secs.fetch_add(1, Ordering::Relaxed);
            });
            let finished = result.map(|outcome| {
                let is_to_repeat =
                    !outcome.passed() && self.failed.fetch_add(1, Ordering::Relaxed) < CAPTURES_MAX;
                let repeat = is_to_repeat.then(|| self.plan.repeat(&outcome));
                (outcome, repeat)
            });
            let is_refused = finished.is_err();
            if results.send(finished).is_err() || is_refused {
                return;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.plan.is_stopped() || self.options.fail_fast && self.failed.load(Ordering::Relaxed) > 0
    }
}

/// What has come of them so far.
struct Report<'a> {
    rounds: &'a Rounds<'a>,
    screen: Screen,
    stopwatch: Stopwatch,
    passed: u64,
    failed: Vec<u64>,
    simulated: Duration,
    frames: u64,
    traces: BTreeMap<u64, u128>,
}

impl<'a> Report<'a> {
    fn new(rounds: &'a Rounds<'a>) -> Self {
        Self {
            rounds,
            screen: Screen::new(),
            stopwatch: Stopwatch::start(),
            passed: 0,
            failed: Vec::new(),
            simulated: Duration::ZERO,
            frames: 0,
            traces: BTreeMap::new(),
        }
    }

    fn tell(mut self, finished: &Receiver<Finished>, out: &mut dyn Write) -> Result<Ending, Trouble> {
        loop {
            match finished.recv_timeout(REFRESH) {
                Ok(finished) => {
                    let (outcome, repeat) = finished?;
                    if self.rounds.options.traces {
                        self.traces.insert(outcome.seed, outcome.trace_hash);
                    }
                    self.add(&outcome, repeat, out)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.show();
        }
        self.screen.clear();
        self.summarise(out)
    }

    fn add(&mut self, outcome: &Outcome, repeat: Option<Repeat>, out: &mut dyn Write) -> Result<(), Trouble> {
        self.simulated += outcome.simulated;
        self.frames += outcome.frames;
        if !outcome.passed() {
            self.failed.push(outcome.seed);
            self.screen.clear();
            writeln!(out, "{outcome}\n  repeat it with: {}", self.rounds.plan.command(outcome.seed))?;
            match repeat {
                Some(repeat) => writeln!(out, "  {repeat}")?,
                None => writeln!(out, "  not captured, as {CAPTURES_MAX} others are")?,
            }
        } else if !(self.rounds.plan.is_stopped() && outcome.is_cut_short) {
            self.passed += 1;
        }
        Ok(())
    }

    fn show(&mut self) {
        let Self { rounds, passed, failed, frames, stopwatch, .. } = self;
        self.screen.show(|| {
            let failed = failed.len();
            let done = *passed + failed as u64;
            let simulated = Duration::from_secs(rounds.simulated_secs.load(Ordering::Relaxed));
            let speed = stopwatch.times_real(simulated);
            format!("{done} of {} seeds, {failed} failed, {frames} frames, {speed}", rounds.seeds.len())
        });
    }

    fn summarise(mut self, out: &mut dyn Write) -> Result<Ending, Trouble> {
        for (seed, trace_hash) in &self.traces {
            writeln!(out, "{seed} {trace_hash:032x}")?;
        }
        let (minutes, frames) = (self.simulated.as_secs() / 60, self.frames);
        let (passed, all) = (self.passed, self.rounds.seeds.len());
        writeln!(out, "{passed} of {all} seeds passed: {minutes} simulated minutes, {frames} frames")?;
        eprintln!("{}", self.stopwatch.speed(self.simulated, frames));
        if !self.failed.is_empty() {
            self.failed.sort_unstable();
            let listed: Vec<_> = self.failed.iter().take(FAILED_LISTED_MAX).map(u64::to_string).collect();
            let more = match self.failed.len() - listed.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            writeln!(out, "failed: {}{more}", listed.join(", "))?;
            return Ok(Ending::Failed);
        }
        if self.rounds.plan.is_stopped() {
            writeln!(out, "interrupted")?;
            return Ok(Ending::Interrupted);
        }
        Ok(Ending::Passed)
    }
}

impl Seeds {
    /// Reads `A..B` or `A..=B`.
    ///
    /// # Errors
    ///
    /// It is neither, or there is no seed in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is no range of seeds; write 1..1000 or 1..=1000");
        let number = |text: &str| text.parse::<u64>().map_err(|_| usage());
        let (first, last) = text.split_once("..").ok_or_else(usage)?;
        let first = number(first)?;
        let last = match last.strip_prefix('=') {
            Some(last) => number(last)?,
            None => number(last)?.checked_sub(1).ok_or_else(usage)?,
        };
        if first > last { Err(usage()) } else { Ok(Self { first, last }) }
    }

    /// How many there are.
    pub fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// The seed at `index`, if there are so many.
    pub fn get(self, index: u64) -> Option<u64> {
        self.first.checked_add(index).filter(|seed| *seed <= self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_seeds_are_read_or_refused() {
        assert_eq!(Seeds::parse("1..3"), Ok(Seeds { first: 1, last: 2 }));
        assert_eq!(Seeds::parse("1..=3"), Ok(Seeds { first: 1, last: 3 }));
        for wrong in ["", "1", "3..1", "1..1", "a..b", "0..0", "1..=", "1..99999999999999999999"] {
            assert!(Seeds::parse(wrong).is_err(), "{wrong}");
        }
        let seeds = Seeds { first: u64::MAX - 1, last: u64::MAX };
        assert_eq!((seeds.len(), seeds.get(1), seeds.get(2)), (2, Some(u64::MAX), None));
    }
}
