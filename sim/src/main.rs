//! `gatepost-sim`: the simulated office on the command line.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use gatepost_sim::scenario::Outcome;
use gatepost_sim::scenario::catalog::{self, SCENARIOS, Scenario};

/// Runs a simulated office and checks every promise of the gateway's.
///
/// Exit code 0: every promise was kept; 1: one was broken, and the command that repeats it is printed; 2: wrong usage.
#[derive(Debug, Parser)]
#[command(name = "gatepost-sim", version, after_help = scenarios_help())]
struct Arguments {
    /// The seed that everything is picked by
    #[arg(long, conflicts_with = "seeds", default_value_t = 1)]
    seed: u64,
    /// Several seeds: A..B without B, A..=B with it
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Seeds>,
    /// What happens
    #[arg(long, value_name = "NAME", default_value = "swarm")]
    scenario: String,
    /// Simulated time; by default, as long as the scenario takes
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=MINUTES_MAX))]
    minutes: Option<u64>,
    /// Writes every frame to a capture that Wireshark opens
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pcap: Option<PathBuf>,
}

/// A week.
const MINUTES_MAX: u64 = 7 * 24 * 60;

/// Seeds, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seeds {
    first: u64,
    last: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(scenario) = catalog::find(&arguments.scenario) else {
        eprintln!("gatepost-sim: there is no scenario {:?}; {}", arguments.scenario, scenarios_help());
        return ExitCode::from(2);
    };
    match run(&arguments, scenario) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("gatepost-sim: {message}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for, and says whether all of it passed.
fn run(arguments: &Arguments, scenario: &Scenario) -> Result<bool, String> {
    let lasting = arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let Some(seeds) = arguments.seeds else {
        let office = scenario.office(arguments.seed, lasting)?;
        let outcome = office.run(scenario.name, arguments.seed, arguments.pcap.as_deref())?;
        show(&outcome, arguments.minutes);
        return Ok(outcome.passed());
    };
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (results, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (results, next, failed) = (results.clone(), &next, &failed);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let office = scenario.office(seed, lasting);
                    let result = office.and_then(|office| office.run(scenario.name, seed, None));
                    failed.fetch_or(!result.as_ref().is_ok_and(Outcome::passed), Ordering::Relaxed);
                    if results.send(result).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        report(seeds, finished, arguments.minutes)
    })
}

/// Shows progress, and every outcome that did not pass; says whether all did.
fn report(
    seeds: Seeds,
    finished: mpsc::Receiver<Result<Outcome, String>>,
    minutes: Option<u64>,
) -> Result<bool, String> {
    let (mut passed, mut frames, mut simulated) = (0_u64, 0, Duration::ZERO);
    let mut all_passed = true;
    for outcome in finished {
        let outcome = outcome?;
        frames += outcome.frames;
        simulated += outcome.simulated;
        if outcome.passed() {
            passed += 1;
            if io::stdout().is_terminal() {
                print!("\r{passed} of {} seeds, {frames} frames", seeds.len());
                // A progress line that is not shown harms nobody.
                _ = io::stdout().flush();
            }
        } else {
            all_passed = false;
            show(&outcome, minutes);
        }
    }
    let simulated = simulated.as_secs() / 60;
    println!("\r{passed} of {} seeds passed: {simulated} simulated minutes, {frames} frames", seeds.len());
    Ok(all_passed)
}

/// Prints an outcome, and if it did not pass the command that repeats it.
fn show(outcome: &Outcome, minutes: Option<u64>) {
    println!("{outcome}");
    if !outcome.passed() {
        let Outcome { scenario, seed, .. } = outcome;
        let minutes = minutes.map(|minutes| format!(" --minutes {minutes}")).unwrap_or_default();
        println!(
            "  repeat it with: cargo run --release -p gatepost-sim -- --scenario {scenario} --seed {seed}{minutes} \
             --pcap {scenario}-{seed}.pcapng"
        );
    }
}

impl Seeds {
    fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    fn get(self, index: usize) -> Option<u64> {
        let seed = self.first.checked_add(u64::try_from(index).ok()?)?;
        (seed <= self.last).then_some(seed)
    }
}

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let usage = || format!("{text:?} is no range of seeds; write 1..1000 or 1..=1000");
    let number = |text: &str| text.parse::<u64>().map_err(|_| usage());
    let (first, last) = text.split_once("..").ok_or_else(usage)?;
    let first = number(first)?;
    let last = match last.strip_prefix('=') {
        Some(last) => number(last)?,
        None => number(last)?.checked_sub(1).ok_or_else(usage)?,
    };
    if first > last { Err(usage()) } else { Ok(Seeds { first, last }) }
}

fn scenarios_help() -> String {
    let lines = SCENARIOS.iter().map(|scenario| format!("\n  {:14} {}", scenario.name, scenario.about));
    format!("scenarios:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_seeds_are_read_or_refused() {
        assert_eq!(parse_seeds("1..3"), Ok(Seeds { first: 1, last: 2 }));
        assert_eq!(parse_seeds("1..=3"), Ok(Seeds { first: 1, last: 3 }));
        for wrong in ["", "1", "3..1", "1..1", "a..b", "0..0", "1..=", "1..99999999999999999999"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
        let seeds = Seeds { first: u64::MAX - 1, last: u64::MAX };
        assert_eq!((seeds.len(), seeds.get(1), seeds.get(2)), (2, Some(u64::MAX), None));
    }
}
