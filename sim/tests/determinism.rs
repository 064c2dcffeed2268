//! Determinism is a promise: a seed is the same trace in every process. That it is the same at every optimisation
//! level, too, `./dev determinism` checks with the builds that it has.

use std::collections::BTreeSet;
use std::process::Command;

/// A swarm of which only the faults are run.
const ARGUMENTS: [&str; 7] = ["--seeds", "1..=8", "--minutes", "5", "--stop-after", "60", "--traces"];
const SEEDS: usize = 8;

#[test]
fn seeds_are_the_same_traces_in_another_process() {
    // Seeds that run in turn do not disturb each other, nor do those that run side by side.
    let (in_turn, side_by_side) = (traces("1"), traces("4"));
    for (one, other) in in_turn.iter().zip(&side_by_side) {
        assert_eq!(one, other, "a seed and its trace, in two processes");
    }
    assert_eq!((in_turn.len(), side_by_side.len()), (SEEDS, SEEDS));
    let hashes: BTreeSet<_> =
        in_turn.iter().filter_map(|line| line.split_once(' ')).map(|(_, hash)| hash).collect();
    assert_eq!(hashes.len(), SEEDS, "every seed is a trace of its own");
}

/// A line for every seed, with its trace's hash, of a process that runs `jobs` seeds at a time.
fn traces(jobs: &str) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_gatepost-sim");
    let output = Command::new(program).args(ARGUMENTS).args(["--jobs", jobs]).output();
    let output = output.expect("it can be started");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{program}: {text}");
    let (traces, _) = text.split_once("8 of 8 seeds passed").expect("a summary");
    traces.lines().map(str::to_owned).collect()
}
