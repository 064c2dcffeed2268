//! The command line.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};
use gatepost::error::Error;
use gatepost_dataplane::Shard;

use super::many::{self, Seeds};
use super::plan::Plan;
use super::{Ending, Trouble, contents, interrupt, single};
use crate::scenario::{Catalog, Scenario};

/// Runs a simulated office and checks every promise of the gateway's.
///
/// Exit code 0: every promise was kept; 1: one was broken, and there is a capture and the command that
/// repeats it; 2: wrong usage; 130: interrupted.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The seed that everything is picked by
    #[arg(long, conflicts_with = "seeds", default_value_t = 1, value_parser = parse_seed)]
    seed: u64,
    /// Several seeds, in parallel: A..B without B, A..=B with it
    #[arg(long, value_name = "A..B", value_parser = Seeds::parse)]
    seeds: Option<Seeds>,
    /// What happens
    #[arg(long, value_name = "NAME")]
    scenario: String,
    /// Simulated time; by default, as long as the scenario takes
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=MINUTES_MAX))]
    minutes: Option<u64>,
    /// How many workers the gateway has; by default, as many as the scenario says, and 1, 2 or 4 in the swarm
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(Shard::COUNT_MAX)))]
    workers: Option<u8>,
    /// Ends every run after so many simulated seconds, and expects nothing of the end
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=60 * MINUTES_MAX))]
    stop_after: Option<u64>,
    /// Writes every frame to a capture that Wireshark opens
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pcap: Option<PathBuf>,
    /// The directory that captures of failed seeds go to
    #[arg(long, value_name = "DIR", default_value = "target/captures")]
    captures: PathBuf,
    /// How many seeds run at a time; by default, as many as there are cores
    #[arg(long, value_name = "N", requires = "seeds", value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: Option<u16>,
    /// Runs no more seeds when one has failed
    #[arg(long, requires = "seeds")]
    fail_fast: bool,
    /// Prints the trace's hash for every seed, in order
    #[arg(long, requires = "seeds")]
    traces: bool,
    /// Runs nothing, and prints in how many of the seeds each machine, habit and fault occurs
    #[arg(long, requires = "seeds")]
    contents: bool,
}

/// A week.
const MINUTES_MAX: u64 = 7 * 24 * 60;
const JOBS_MAX: i64 = 1_024;
/// As in shells, for a program that SIGINT has ended.
pub(super) const INTERRUPTED: u8 = 130;

/// The command line of a crate's scenarios: what `main` of its program calls. `--help` lists the options.
pub fn main(catalog: &Catalog) -> ExitCode {
    let program = catalog.package;
    let arguments = match parse(catalog) {
        Ok(arguments) => arguments,
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(mistake) => {
            eprintln!("{program}: {}", Error::command_line(program, &mistake));
            return ExitCode::from(2);
        }
    };
    match run(catalog, &arguments) {
        Ok(Ending::Passed) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::from(1),
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        // The reader of the pipe has closed it.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("{program}: {trouble}");
            ExitCode::from(2)
        }
    }
}

fn parse(catalog: &Catalog) -> Result<Arguments, clap::Error> {
    let command = Arguments::command().name(catalog.package).after_help(scenarios_help(catalog));
    let command = command.mut_arg("scenario", |scenario| match catalog.scenarios.first() {
        Some(first) => scenario.required(false).default_value(first.name),
        None => scenario.required(true),
    });
    Arguments::from_arg_matches(&command.try_get_matches()?)
}

fn run(catalog: &Catalog, arguments: &Arguments) -> Result<Ending, Trouble> {
    let scenario = catalog.find(&arguments.scenario).ok_or_else(|| {
        Trouble::Usage(format!("there is no scenario {:?}; {}", arguments.scenario, scenarios_help(catalog)))
    })?;
    let plan = Plan {
        package: catalog.package,
        scenario,
        minutes: arguments.minutes,
        workers: arguments.workers,
        stop_after: arguments.stop_after.map(Duration::from_secs),
        captures: &arguments.captures,
        stop: interrupt::listen(),
    };
    let mut out = io::stdout();
    let Some(seeds) = arguments.seeds else {
        return single::run(&plan, arguments.seed, arguments.pcap.as_deref(), &mut out);
    };
    if arguments.contents {
        return contents::run(&plan, seeds, &mut out);
    }
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let options = many::Options {
        jobs: arguments.jobs.map_or_else(cores, usize::from),
        fail_fast: arguments.fail_fast,
        traces: arguments.traces,
    };
    many::run(&plan, seeds, options, &mut out)
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a number from 0 to {}", u64::MAX))
}

fn scenarios_help(catalog: &Catalog) -> String {
    let width = catalog.scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    let line = |scenario: &Scenario| format!("\n  {:width$}  {}", scenario.name, scenario.about);
    format!("scenarios:{}", catalog.scenarios.iter().map(line).collect::<String>())
}
