//! `gatepost-sim` as people and CI call it: the same seed is the same trace in every process, a failure
//! can be repeated, wrong usage is told.

use std::process::{Command, Output};

fn gatepost_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepost-sim")).args(arguments).output().expect("it can be started")
}

fn trace(arguments: &[&str]) -> String {
    let output = gatepost_sim(arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    let (_, trace) = text.rsplit_once("trace ").expect("a trace");
    trace.trim().to_owned()
}

#[test]
fn one_seed_is_one_trace_in_two_processes_and_another_seed_another() {
    let traces = ["1", "2", "3"].map(|seed| {
        let arguments = ["--scenario", "port-scan", "--seed", seed];
        let first = trace(&arguments);
        assert_eq!(first, trace(&arguments), "seed {seed}");
        first
    });
    assert!(traces[0] != traces[1] && traces[1] != traces[2], "{traces:?}");
}

#[test]
fn a_swarm_with_crashes_and_faults_is_one_trace_in_two_processes() {
    let arguments = ["--seed", "4", "--minutes", "5"];
    assert_eq!(trace(&arguments), trace(&arguments));
}

#[test]
fn what_does_not_exist_is_told_with_what_does() {
    for (arguments, told) in [
        (&["--scenario", "breakfast"][..], "laptop-moves"),
        (&["--seed", "minus-one"], "--seed"),
        (&["--seeds", "9..1"], "write 1..1000"),
        (&["--minutes", "0"], "--minutes"),
        (&["--scenario", "renumbering", "--minutes", "1"], "--minutes 4"),
    ] {
        let output = gatepost_sim(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(told), "{arguments:?}: {text}");
    }
}
