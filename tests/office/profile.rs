//! Which ports and how many workers the offices of this process have, and the suite again with others.
//!
//! This program's tests run with the driver that ports have by default and one worker. Each test here starts the same
//! program once more with another profile, for the modules that depend on it. By hand:
//! `GATEPOST_OFFICE=plain cargo test --test office -- dhcp::`.

use std::env;
use std::process::Command;

/// The environment variable with the name of a profile.
const VARIABLE: &str = "GATEPOST_OFFICE";

/// The properties that the offices of one process share.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    name: &'static str,
    /// The driver of the ports.
    pub driver: &'static str,
    /// The threads of the dataplane.
    pub workers: u8,
    /// The modules that are run again with it; none of the first.
    modules: &'static [&'static str],
}

const PROFILES: [Profile; 4] = [
    Profile { name: "default", driver: "auto", workers: 1, modules: &[] },
    Profile {
        name: "plain",
        driver: "plain",
        workers: 1,
        modules: &[
            "dhcp::",
            "dns::",
            "forwards::",
            "modes::",
            "nat::",
            "parallel::",
            "scan::",
            "switch::",
            "taps::",
            "throughput::",
            "wan::",
        ],
    },
    Profile {
        name: "workers",
        driver: "auto",
        workers: 2,
        modules: &[
            "dhcp::",
            "dns::",
            "forwards::",
            "hostile::",
            "lifecycle::",
            "modes::",
            "nat::",
            "parallel::",
            "reload::",
            "scan::",
            "stun::",
            "switch::",
            "throughput::",
            "wan::",
        ],
    },
    // Workers that share the one queue of each port.
    Profile {
        name: "workers-plain",
        driver: "plain",
        workers: 3,
        modules: &[
            "forwards::",
            "lifecycle::",
            "nat::",
            "parallel::",
            "switch::",
            "throughput::",
            "wan::",
            "workers::",
        ],
    },
];

/// The profile of this process.
pub fn profile() -> &'static Profile {
    let name = env::var(VARIABLE).unwrap_or_else(|_| PROFILES[0].name.to_owned());
    named(&name)
}

#[track_caller]
fn named(name: &str) -> &'static Profile {
    PROFILES.iter().find(|profile| profile.name == name).unwrap_or_else(|| panic!("no profile {name:?}"))
}

/// Runs this program's tests of the profile's modules with it.
#[track_caller]
fn passes(name: &str) {
    // A process of another profile runs nothing but what it is for.
    assert_eq!(profile(), &PROFILES[0], "{VARIABLE} is set");
    let program = env::current_exe().expect("it runs");
    let mut command = Command::new(program);
    let output = command.args(named(name).modules).env(VARIABLE, name).output().expect("it runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    for module in named(name).modules {
        assert!(text.contains(&format!("test {module}")), "{name}: no test of {module}\n{text}");
    }
}

#[test]
fn plain_ports_do_as_well() {
    passes("plain");
}

#[test]
fn two_workers_do_as_well() {
    passes("workers");
}

#[test]
fn three_workers_on_plain_ports_do_as_well() {
    passes("workers-plain");
}
