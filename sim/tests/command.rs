//! `gatepost-sim` as people and CI call it: the same seed is the same trace in every process, a failure
//! can be repeated, wrong usage is told.

use std::path::Path;
use std::process::{self, Command, Output, Stdio};
use std::{fs, thread};

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
        (&["--seed", "minus-one"], "from 0 to 18446744073709551615"),
        (&["--seed", "18446744073709551616"], "from 0 to 18446744073709551615"),
        (&["--seeds", "9..1"], "write 1..1000"),
        (&["--minutes", "0"], "1..=10080"),
        (&["--seeds", "1..9", "--jobs", "0"], "1..=1024"),
        (&["--workers", "0"], "1..=16"),
        (&["--fail-fast"], "--seeds"),
        (&["--scenario", "renumbering", "--minutes", "1"], "--minutes 4"),
    ] {
        let output = gatepost_sim(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(told), "{arguments:?}: {text}");
    }
}

#[test]
fn a_terminal_shows_progress_and_anything_else_does_not() {
    let program = env!("CARGO_BIN_EXE_gatepost-sim");
    let on_terminal = |options: &str| {
        let command = format!("{program} {options}");
        let output =
            Command::new("script").args(["-qec", &command, "/dev/null"]).output().expect("script runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    for (options, told) in [
        ("--scenario through-nat", &["of 120 s, ", " x real time, 25 hosts, ", " frames, ", " events"][..]),
        ("--seeds 1..4 --scenario laptop-moves", &[" of 3 seeds, 0 failed, ", " frames, ", " x real time"]),
    ] {
        let text = on_terminal(options);
        let progress = text.split('\r').find(|line| told.iter().all(|told| line.contains(told)));
        assert!(progress.is_some(), "{text}");
        let piped = gatepost_sim(&options.split(' ').collect::<Vec<_>>());
        let piped = String::from_utf8(piped.stdout).expect("text");
        assert!(!piped.contains('\r') && !piped.contains(told[0]), "{piped}");
        // The summary is the same.
        assert!(text.contains(piped.lines().next_back().expect("a summary")), "{text}");
    }
}

#[test]
fn ctrl_c_ends_a_run_with_its_summary_and_a_whole_capture() {
    let capture =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interrupted-{}.pcapng", process::id()));
    let mut running = Command::new(env!("CARGO_BIN_EXE_gatepost-sim"))
        .args(["--minutes", "10080", "--scenario", "bulk", "--pcap"])
        .arg(&capture)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    // The capture is begun after Ctrl-C is listened for; its first frames are there when the buffer is full.
    while fs::metadata(&capture).map_or(0, |file| file.len()) == 0 {
        assert_eq!(running.try_wait().expect("it can be waited for"), None);
        thread::yield_now();
    }
    let kill = Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let output = running.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("frames, trace ") && text.ends_with("interrupted\n"), "{text}");
    let bytes = fs::read(&capture).expect("a capture");
    fs::remove_file(&capture).expect("it can be removed");
    // Every block ends with its length: the last one is whole.
    let len = u32::from_le_bytes(*bytes.last_chunk().expect("blocks")) as usize;
    let block = bytes.len().checked_sub(len).expect("a length");
    assert_eq!(
        bytes[block..block + 8],
        [[6, 0, 0, 0], u32::try_from(len).expect("short").to_le_bytes()].concat()
    );
}
