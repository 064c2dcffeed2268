//! `gatepost check` and the command line.

use std::path::PathBuf;
use std::process::Command;

/// The result of a run of the program.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn gatepost(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost")).args(arguments).output().expect("it starts");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Writes a file of this test run's own and returns its path.
fn file(name: &str, content: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).expect("a file in the target directory");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn valid_file_is_summed_up_with_what_it_sets_up() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/gatepost.example.toml");
    let outcome = gatepost(&["check", example]);
    let mut lines = outcome.stdout.lines();
    let summary = "nat-dmz, LAN 192.168.1.1/24 on gp-lan0, WAN by DHCP on gp-wan0";
    assert_eq!(lines.next(), Some(format!("{example}: {summary}").as_str()));
    let details = [
        "  DHCP             192.168.1.1 to 192.168.1.100, for 86400 s",
        "  DNS              office.example; asks the provider's servers",
        "  NTP              the machine's time; at stratum 10 while its clock is unsynchronised",
        "  pages            https://admin.office.example:8080",
        "  mail             off, as there is nobody to have any",
        "  access           admin from 192.168.1.0/24",
        "  name             gatepost.office.example 192.168.1.1",
    ];
    assert_eq!(lines.collect::<Vec<_>>(), details);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_warning_is_a_line_and_the_file_is_valid() {
    let path = file("warning.toml", b"[wan]\naddress = '203.0.113.10/24'\n");
    let outcome = gatepost(&["check", &path]);
    assert_eq!(
        outcome.stderr,
        format!(
            "gatepost: {path}:2:11: warning: without a gateway nothing beyond 203.0.113.0/24 can be reached; \
             write the provider's router, such as gateway = \"203.0.113.1\"\n"
        )
    );
    assert!(outcome.stdout.starts_with(&format!("{path}: nat-dmz, ")), "{}", outcome.stdout);
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn every_mistake_is_a_line_with_its_place() {
    let path = file("mistakes.toml", b"[lan]\nadress = '10.0.0.1/24'\n\n[wan]\nmtu = 100\n");
    let outcome = gatepost(&["check", &path]);
    assert_eq!(
        outcome.stderr,
        format!(
            "gatepost: {path}:2:1: unknown key \"adress\" in [lan]; write \"address\"\n\
             gatepost: {path}:5:7: 100 is out of range; write an integer from 576 to 9216\n"
        )
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
}

#[test]
fn unreadable_file_is_a_usage_error() {
    let binary = file("binary.toml", b"[lan]\n\xff\n");
    for path in ["/nonexistent/office.toml", "/", "/dev/null", &binary] {
        let outcome = gatepost(&["check", path]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
        assert!(outcome.stderr.starts_with(&format!("gatepost: {path}: ")), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn wrong_command_line_is_a_usage_error() {
    for (arguments, program) in [
        (&[][..], "gatepost"),
        (&["chek"], "gatepost"),
        (&["check"], "gatepost check"),
        (&["check", "a", "b"], "gatepost check"),
        (&["--frobnicate"], "gatepost"),
        (&["mail"], "gatepost mail"),
        (&["mail", "list"], "gatepost mail list"),
        (&["mail", "queue", "hold"], "gatepost mail queue"),
        (&["mail", "frob", "list"], "gatepost mail"),
        (&["lab", "--hosts", "x"], "gatepost lab"),
        (&["show", "frob"], "gatepost show"),
    ] {
        let outcome = gatepost(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(outcome.stderr.starts_with("gatepost: "), "{}", outcome.stderr);
        assert!(outcome.stderr.ends_with(&format!("see `{program} --help`\n")), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn nobody_has_to_read_the_summary() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/gatepost.example.toml");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let program = env!("CARGO_BIN_EXE_gatepost");
    let status = Command::new(program).args(["check", example]).stdout(full).status().expect("it starts");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn version_is_the_package_s() {
    let outcome = gatepost(&["--version"]);
    assert_eq!(outcome.stdout, format!("gatepost {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn a_drop_reason_is_explained_and_one_that_is_none_is_told_with_what_is_near() {
    let told = gatepost(&["explain", "drop", "martian"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        told.stdout,
        "martian: A source or destination address that no packet may have (RFC 1812, section 5.3.7).\n"
    );
    let all = gatepost(&["explain", "drop"]);
    assert_eq!(all.code, Some(0));
    assert!(all.stdout.contains("\nmartian ") && all.stdout.contains("\nport-down "), "{}", all.stdout);
    for (arguments, expected) in [
        (
            &["explain", "drop", "martain"][..],
            "gatepost: there is no drop reason \"martain\"; did you mean martian?\n",
        ),
        (
            &["explain", "--from", "192.168.1.10", "--to", "198.51.100.1:80"][..],
            "gatepost: --to \"198.51.100.1:80\" is not understood: it has no protocol; write --to \
             www.example.net:443/tcp, or --to 192.0.2.1/icmp\n",
        ),
    ] {
        let told = gatepost(arguments);
        assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (Some(2), "", expected));
    }
}

/// The blocks of the README in this language.
fn readme_blocks(language: &str) -> Vec<&'static str> {
    let blocks = include_str!("../README.md").split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn the_readme_s_configuration_is_valid() {
    let blocks = readme_blocks("toml");
    assert!(!blocks.is_empty());
    for text in blocks {
        let outcome = gatepost(&["check", &file("readme.toml", text.as_bytes())]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{text}");
    }
}

#[test]
fn the_readme_s_commands_are_understood() {
    let lines = readme_blocks("sh").into_iter().flat_map(str::lines);
    let commands: Vec<_> = lines
        .filter_map(|line| line.split('#').next()?.trim_start_matches("sudo ").strip_prefix("gatepost "))
        .collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        // What follows a host is a command of that host's.
        let known = command.find(" on ").map_or(command, |at| &command[..at + " on".len()]);
        let arguments: Vec<_> = known.split_whitespace().chain(["--help"]).collect();
        let outcome = gatepost(&arguments);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
