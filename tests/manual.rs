//! Manual pages and shell completions, as the package holds them, are of the command line as it is.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn gatepost(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost")).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_command_that_help_lists_has_a_page_and_is_completed() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("manual");
    gatepost(&["manual", directory.to_str().expect("UTF-8")]);
    let page = |name: &str| fs::read_to_string(directory.join(name)).expect("a page");
    assert!(page("gatepost.1").contains("gateway"));

    let help = gatepost(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let (commands, _) = commands.split_once("\n\n").expect("the list's end");
    let commands: Vec<_> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !["", "help"].contains(name))
        .collect();
    assert!(commands.contains(&"run"), "{commands:?}");

    let bash = gatepost(&["completions", "bash"]);
    for command in &commands {
        assert!(page(&format!("gatepost-{command}.1")).contains(command), "{command}");
        assert!(bash.contains(&format!("gatepost,{command})")), "{command}");
    }
    let completed = bash.lines().filter_map(|line| line.trim().strip_prefix("gatepost,")?.strip_suffix(')'));
    for command in completed {
        assert!(command == "help" || commands.contains(&command), "{command} is not listed");
    }
}

#[test]
fn every_shell_is_served() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = gatepost(&["completions", shell]);
        assert!(script.contains("gatepost"), "{shell}");
        for hidden in ["lab-host", "lab-gateway"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
}
