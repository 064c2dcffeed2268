//! Determinism is a promise: a seed is the same trace in every process and at every optimisation level.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A swarm of which only the faults are run.
const ARGUMENTS: [&str; 7] = ["--seeds", "1..=100", "--minutes", "5", "--stop-after", "60", "--traces"];

#[test]
fn a_hundred_seeds_are_the_same_traces_in_another_process_at_another_optimisation_level() {
    let here = Path::new(env!("CARGO_BIN_EXE_gatepost-sim"));
    let target = here.ancestors().nth(2).expect("it is in a profile's directory of the target directory");
    let (profile, directory) = if cfg!(debug_assertions) { ("release", "release") } else { ("dev", "debug") };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--locked",
            "--package",
            "gatepost-sim",
            "--bin",
            "gatepost-sim",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "cargo cannot build the profile {profile}");

    let (ours, theirs) = (traces(here), traces(&target.join(directory).join("gatepost-sim")));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "a seed and its trace, here and in the profile {profile}");
    }
    assert_eq!((ours.len(), theirs.len()), (100, 100));
    let hashes: BTreeSet<_> =
        ours.iter().filter_map(|line| line.split_once(' ')).map(|(_, hash)| hash).collect();
    assert_eq!(hashes.len(), 100, "every seed is a trace of its own");
}

/// A line for every seed, with its trace's hash.
fn traces(program: &Path) -> Vec<String> {
    let output = Command::new(program).args(ARGUMENTS).output().expect("it can be started");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}: {text}", program.display());
    let (traces, _) = text.split_once("100 of 100 seeds passed").expect("a summary");
    traces.lines().map(str::to_owned).collect()
}
