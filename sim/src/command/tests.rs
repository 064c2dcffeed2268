use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{env, fs, process};

use crate::scenario::{Catalog, Scenario, office, panic};

use super::many::{self, Options, Seeds};
use super::plan::{Plan, Repeat};
use super::{Ending, check, single};

const PANICS: Scenario = Scenario {
    name: "panics",
    about: "a bug in the gateway",
    lasting_secs: 30,
    lasting_secs_min: 30,
    build: |_, _| office().at(Duration::from_secs(5), panic()),
};
/// Seeds 3 and above fail.
const ABOVE_TWO: Scenario = Scenario {
    name: "above-two",
    about: "an expectation that some seeds do not meet",
    lasting_secs: 5,
    lasting_secs_min: 5,
    build: |seed, _| {
        office().pcs(1).expect("a small seed", move |_| if seed > 2 { Err(seed.to_string()) } else { Ok(()) })
    },
};

/// A directory for captures that is removed again.
struct Captures(PathBuf);

impl Captures {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("gatepost-sim-{name}-{}", process::id())))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Captures {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn plan<'a>(scenario: &'a Scenario, captures: &'a Path) -> Plan<'a> {
    Plan {
        package: "gatepost-sim",
        scenario,
        minutes: None,
        workers: None,
        stop_after: None,
        captures,
        stop: Arc::new(AtomicBool::new(false)),
    }
}

fn text(run: impl FnOnce(&mut Vec<u8>) -> Ending) -> (Ending, String) {
    let mut out = Vec::new();
    let ending = run(&mut out);
    (ending, String::from_utf8(out).unwrap())
}

#[test]
fn a_panic_anywhere_in_the_gateway_fails_the_run_which_is_captured_and_can_be_repeated() {
    let captures = Captures::new("panics");
    let plan = plan(&PANICS, &captures.0);
    let (ending, text) = text(|out| single::run(&plan, 7, None, out).unwrap());
    assert_eq!(ending, Ending::Failed);
    for told in [
        "panics with seed 7: 5 PCs",
        "it broke down",
        "gateway_host.rs",
        "the scenario wants a panic",
        "-- --scenario panics --seed 7 --pcap ",
        "every segment is captured in ",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    assert_eq!(captures.names(), ["panics-7.pcapng"]);
}

#[test]
fn a_failed_seed_stops_no_other_and_the_end_lists_it() {
    let captures = Captures::new("goes-on");
    let options = Options { jobs: 2, fail_fast: false, traces: true };
    let seeds = Seeds::parse("1..=15").unwrap();
    let (ending, text) = text(|out| many::run(&plan(&ABOVE_TWO, &captures.0), seeds, options, out).unwrap());
    assert_eq!(ending, Ending::Failed);
    assert!(text.contains("2 of 15 seeds passed"), "{text}");
    assert!(text.ends_with("failed: 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"), "{text}");
    assert_eq!(text.matches("✗ a small seed").count(), 13, "{text}");
    assert_eq!((captures.names().len(), text.matches("not captured").count()), (10, 3), "{text}");
    let traces = text.lines().filter_map(|line| line.split_once(' ').filter(|(_, hash)| hash.len() == 32));
    assert!(traces.map(|(seed, _)| seed.parse::<u64>().unwrap()).eq(1..=15), "{text}");
}

#[test]
fn fail_fast_runs_no_seed_after_one_that_failed() {
    let captures = Captures::new("fail-fast");
    let options = Options { jobs: 1, fail_fast: true, traces: false };
    let seeds = Seeds::parse("1..1000").unwrap();
    let (ending, text) = text(|out| many::run(&plan(&ABOVE_TWO, &captures.0), seeds, options, out).unwrap());
    assert_eq!(ending, Ending::Failed);
    assert!(text.ends_with("failed: 3\n"), "{text}");
}

#[test]
fn a_repeat_that_is_another_run_is_told() {
    let captures = Captures::new("another");
    let plan = plan(&ABOVE_TWO, &captures.0);
    let mut outcome = plan.run(3, None, &mut |_| ()).unwrap();
    assert!(matches!(plan.repeat(&outcome), Repeat::Same(_)));
    outcome.trace_hash ^= 1;
    let repeat = plan.repeat(&outcome);
    assert!(repeat.to_string().contains("not deterministic"), "{repeat}");
}

#[test]
fn a_run_that_is_stopped_early_expects_nothing_of_the_end() {
    let captures = Captures::new("stopped");
    let mut plan = plan(&ABOVE_TWO, &captures.0);
    plan.stop_after = Some(Duration::from_secs(2));
    let outcome = plan.run(3, None, &mut |_| ()).unwrap();
    assert_eq!((outcome.simulated, outcome.passed()), (Duration::from_secs(2), true));
    let same = plan.run(3, None, &mut |progress| assert_eq!(progress.hosts, 6)).unwrap();
    assert_eq!(outcome.trace_hash, same.trace_hash);
}

#[test]
fn a_seed_that_fails_a_test_is_told_with_its_capture_and_the_command_that_repeats_it() {
    const CATALOG: Catalog = Catalog { package: "somebody-elses", scenarios: &[ABOVE_TWO] };
    let captures = Captures::new("check");
    assert!(check(&CATALOG, "above-two", 2, &captures.0).is_ok());
    let told = check(&CATALOG, "above-two", 3, &captures.0).unwrap_err();
    let command =
        "repeat it with: cargo run --release -p somebody-elses -- --scenario above-two --seed 3 --pcap ";
    assert!(told.contains("✗ a small seed") && told.contains(command), "{told}");
    assert_eq!(captures.names(), ["above-two-3.pcapng"]);
    let told = check(&CATALOG, "breakfast", 1, &captures.0).unwrap_err();
    assert!(told.contains("no scenario \"breakfast\""), "{told}");
}
