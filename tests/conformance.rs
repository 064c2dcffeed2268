//! `docs/conformance.md`: each requirement that the NAT and the router keep, with the tests that show it.
//!
//! The table is made here, from the requirements below and from the names of all tests in the sources. This
//! test fails if the file is not what it makes; `GATEPOST_WRITE=1 cargo test --test conformance` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// How strongly an RFC asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Must,
    Should,
}

use Level::{Must, Should};

/// What an RFC asks for.
struct Requirement {
    /// What the names of its tests contain; `rfc4787_req1` is no `rfc4787_req13`.
    marks: &'static [&'static str],
    level: Level,
    text: &'static str,
    /// Why it is not kept.
    declined: Option<&'static str>,
}

const fn kept(marks: &'static [&'static str], level: Level, text: &'static str) -> Requirement {
    Requirement { marks, level, text, declined: None }
}

const fn declined(mark: &'static [&'static str], text: &'static str, why: &'static str) -> Requirement {
    Requirement { marks: mark, level: Should, text, declined: Some(why) }
}

const NAT_UDP: &[Requirement] = &[
    kept(&["rfc4787_req1"], Must, "Mapping is endpoint-independent."),
    kept(
        &["rfc4787_req2"],
        Should,
        "An inside address always has the same external address (paired pooling).",
    ),
    kept(&["rfc4787_req3"], Must, "No external port is shared (no port overloading)."),
    kept(&["rfc4787_req3a"], Should, "Ports 0 to 1023 and 1024 to 65535 stay in their range."),
    kept(&["rfc4787_req4"], Should, "Even ports stay even, odd ones odd."),
    kept(&["rfc4787_req5"], Must, "A mapping lives 2 minutes at least, 5 by default."),
    declined(
        &["rfc4787_req5a"],
        "Some well-known ports may have shorter timers.",
        "It is an allowance, and 5 minutes for all is simpler to foresee.",
    ),
    kept(&["rfc4787_req6"], Must, "What goes out refreshes a mapping; what comes in does not."),
    kept(&["rfc4787_req7"], Must, "A WAN inside the LAN's own subnet is noticed and handled."),
    kept(&["rfc4787_req8"], Should, "Filtering is selectable."),
    kept(&["rfc4787_req9"], Must, "Hairpinning."),
    kept(&["rfc4787_req9a"], Must, "The source of a hairpinned packet is external."),
    kept(&["rfc4787_req10"], Should, "No application gateways by default."),
    kept(&["rfc4787_req11"], Must, "Deterministic, under contention for a port too."),
    kept(&["rfc4787_req12"], Must, "An ICMP error ends no mapping."),
    kept(&["rfc4787_req13"], Must, "Too big: told with DF, fragmented without."),
    kept(&["rfc4787_req14"], Must, "Fragments are received in order and out of order."),
    kept(&["rfc4787_req14a", "rfc4787_req14_a_flood"], Must, "A flood of fragments is bounded."),
];

const NAT_TCP: &[Requirement] = &[
    kept(&["rfc5382_req1"], Must, "Mapping is endpoint-independent."),
    kept(&["rfc5382_req2"], Must, "All valid sequences of segments, simultaneous open included."),
    kept(&["rfc5382_req3"], Should, "Filtering is selectable, up to endpoint-independent."),
    kept(&["rfc5382_req4"], Must, "An unsolicited SYN is not answered for 6 seconds."),
    kept(&["rfc5382_req5"], Must, "Idle 2 hours 4 minutes when established, 4 minutes otherwise."),
    kept(&["rfc5382_req7"], Must, "No port overloading."),
    kept(&["rfc5382_req8"], Must, "Hairpinning."),
    kept(&["rfc5382_req10"], Must, "An ICMP error ends no connection."),
    kept(&["rfc7857_section_2_1"], Must, "Separate timers for opening and closing."),
    kept(&["rfc7857_section_2_2", "rfc7857_state"], Must, "After an RST the state stays 4 minutes."),
    kept(&["rfc7857_section_5"], Must, "Mappings of two protocols are apart."),
    kept(&["rfc7857_section_7_1"], Must, "RSTs and ICMP errors refresh nothing."),
    kept(&["rfc5961_section_3", "rfc5961_the", "rfc5961_a"], Should, "Blind resets are not believed."),
    kept(&["rfc5961_section_4"], Should, "A SYN into an established connection changes nothing."),
    kept(&["rfc5961_section_5"], Should, "An acknowledgment of what was never sent is not believed."),
    kept(&["rfc9293_3_1_a_damaged"], Should, "A segment with a wrong checksum changes nothing."),
];

const NAT_ICMP: &[Requirement] = &[
    kept(&["rfc5508_req1"], Must, "Queries have endpoint-independent mappings."),
    kept(&["rfc5508_req2"], Must, "A query lives 60 seconds at least."),
    kept(&["rfc5508_req3"], Should, "An error with a wrong checksum is dropped."),
    kept(&["rfc5508_req3a"], Should, "A quoted header with a wrong checksum is dropped."),
    kept(&["rfc5508_req3b"], Must, "Quoted IP options are passed over."),
    kept(&["rfc5508_req3d"], Must, "An error about an error is dropped."),
    kept(&["rfc5508_req4"], Must, "The quoted packet of an error from outside is translated, cut ones too."),
    kept(&["rfc5508_req5"], Must, "The quoted packet of an error from inside is translated."),
    kept(&["rfc5508_req6"], Must, "Errors refresh nothing."),
    kept(&["rfc5508_req7"], Must, "Errors about hairpinned packets are hairpinned."),
    kept(&["rfc5508_req8"], Should, "Code 13 where the policy or a full table refuses."),
    kept(&["rfc5508_req10"], Must, "The types that are required pass."),
];

const ROUTER: &[Requirement] = &[
    kept(
        &["rfc1812_ttl"],
        Must,
        "A packet out of hops is dropped, and its sender told from the interface it leaves by.",
    ),
    kept(&["rfc1812_5_2_6"], Must, "A packet too big for the next link is fragmented where it may be."),
    kept(&["rfc1812_a_wrong", "rfc1812_5_2_2"], Must, "The header's checksum is checked."),
    kept(&["rfc1812_4_3_2_3"], Should, "An error quotes what fits into 576 octets."),
    kept(
        &["rfc1812_4_3_2_7", "rfc1812_no_error"],
        Must,
        "No error about an error, a broadcast, a multicast or a later fragment, or to nobody.",
    ),
    kept(&["rfc1812_4_3_2_8"], Should, "Errors are limited in rate."),
    kept(&["rfc1812_4_3_3_6"], Must, "Echo requests are answered, in fragments too."),
    kept(&["rfc1812_5_2_4_3"], Must, "The longest prefix wins."),
    kept(&["rfc1812_5_3_7"], Must, "Martians are dropped."),
    kept(&["rfc1812_4_2_3_1", "rfc1812_3_3_2"], Must, "Broadcast addresses are known as such."),
    kept(&["rfc1812_no_route"], Must, "No route: the sender is told."),
    kept(&["rfc1812_source_routes"], Should, "Source routes are refused, as RFC 7126 has it."),
    kept(
        &["rfc1191_an_error", "rfc1191_dont", "rfc1191_in_stealth"],
        Must,
        "An error about a packet too big names the MTU.",
    ),
    kept(&["rfc1858"], Should, "Fragments that hide ports are dropped (RFC 3128 too)."),
    kept(&["rfc6864"], Must, "Identifications of hosts behind one address do not collide."),
    kept(&["rfc6056"], Should, "Ports that are not preserved are random."),
    declined(
        &["rfc1812_5_2_7_2"],
        "Redirects are sent to hosts.",
        "Behind one gateway there is no better way to redirect to; nor is a redirect translated.",
    ),
];

const SECTIONS: [(&str, &[Requirement]); 4] = [
    ("NAT for UDP: RFC 4787", NAT_UDP),
    ("NAT for TCP: RFC 5382, RFC 7857, RFC 5961", NAT_TCP),
    ("NAT for ICMP: RFC 5508", NAT_ICMP),
    ("Router: RFC 1812 and what belongs to it", ROUTER),
];

const HEAD: &str = "# Conformance

Each requirement on NAT and forwarding with the tests that show it; a requirement stands in its test's name.
The table is made by `tests/conformance.rs`, which fails when it is out of date.
`GATEPOST_WRITE=1 cargo test --test conformance` writes it anew.
";

const SOURCES: [&str; 5] = ["dataplane", "services", "sim", "src", "tests"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All tests that carry a requirement, with the file of each.
fn tests() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = SOURCES.iter().map(|name| root().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path).expect("it is there").map(|entry| entry.expect("it is there").path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("it is text");
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                if let Some(name) = line.strip_prefix("fn rfc").and_then(|rest| rest.split('(').next()) {
                    assert!(is_test, "{}: rfc{name} is no test", path.display());
                    let file = path.strip_prefix(root()).expect("it is below").to_owned();
                    found.push((format!("rfc{name}"), file));
                }
                is_test = line == "#[test]";
            }
        }
    }
    found.sort();
    found
}

/// The requirements in a test's name, each written out: `rfc4787_req3a_and_req4_kept` has two.
fn written_out(name: &str) -> String {
    let mut rfc = "";
    let mut words = Vec::new();
    for word in name.split('_') {
        if word.starts_with("rfc") {
            rfc = word;
        } else if word.starts_with("req") && !words.last().is_some_and(|last: &&str| last.starts_with("rfc"))
        {
            words.push(rfc);
        }
        words.push(word);
    }
    format!("_{}_", words.join("_"))
}

fn shows(requirement: &Requirement, name: &str) -> bool {
    let name = written_out(name);
    requirement.marks.iter().any(|mark| name.contains(&format!("_{mark}_")))
}

/// RFC 4787 REQ-1, from its mark.
fn title(mark: &str) -> String {
    let (rfc, rest) = mark.split_once('_').unwrap_or((mark, ""));
    let number = rfc.trim_start_matches("rfc");
    match rest.strip_prefix("req") {
        Some(requirement) => format!("RFC {number} REQ-{requirement}"),
        None => {
            let section: Vec<_> = rest.split('_').filter(|word| word.parse::<u8>().is_ok()).collect();
            let section = section.join(".");
            if section.is_empty() {
                format!("RFC {number}")
            } else {
                format!("RFC {number} section {section}")
            }
        }
    }
}

fn table(tests: &[(String, PathBuf)]) -> String {
    let mut text = HEAD.to_owned();
    for (heading, requirements) in SECTIONS {
        text += &format!(
            "\n## {heading}\n\n| requirement | | what | verdict | tests |\n| --- | --- | --- | --- | --- |\n"
        );
        for requirement in requirements {
            let level = if requirement.level == Must { "must" } else { "should" };
            let verdict = requirement.declined.map_or("yes".to_owned(), |why| format!("declined: {why}"));
            let mut files = BTreeMap::<&Path, Vec<String>>::new();
            for (name, file) in tests.iter().filter(|(name, _)| shows(requirement, name)) {
                files.entry(file).or_default().push(format!("`{name}`"));
            }
            let of_file =
                |(file, names): (&&Path, &Vec<String>)| format!("{}: {}", file.display(), names.join(", "));
            let shown: Vec<_> = files.iter().map(of_file).collect();
            let title = title(requirement.marks[0]);
            text +=
                &format!("| {title} | {level} | {} | {verdict} | {} |\n", requirement.text, shown.join("; "));
        }
    }
    text
}

#[test]
fn the_table_is_complete_and_true() {
    let tests = tests();
    for requirement in SECTIONS.iter().flat_map(|(_, requirements)| *requirements) {
        let mark = requirement.marks[0];
        let is_shown = tests.iter().any(|(name, _)| shows(requirement, name));
        assert!(requirement.declined.is_none() || requirement.level != Must, "{mark} must not be declined");
        assert!(is_shown != requirement.declined.is_some(), "{mark}: shown {is_shown}");
    }
    let made = table(&tests);
    let path = root().join("docs/conformance.md");
    if env::var_os("GATEPOST_WRITE").is_some() {
        fs::create_dir_all(path.parent().expect("docs")).expect("it can be made");
        fs::write(&path, &made).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).expect("it is there");
    assert!(
        kept == made,
        "docs/conformance.md is out of date: GATEPOST_WRITE=1 cargo test --test conformance"
    );
}

#[test]
fn a_mark_is_a_whole_number() {
    let shown = |mark: &'static [&'static str], name| shows(&kept(mark, Must, ""), name);
    assert!(shown(&["rfc4787_req1"], "rfc4787_req1_mapping"));
    assert!(!shown(&["rfc4787_req1"], "rfc4787_req13_too_big"));
    assert!(shown(&["rfc4787_req4"], "rfc4787_req3a_and_req4_kept"));
    assert!(shown(&["rfc4787_req12"], "rfc5508_req6_and_rfc4787_req12_errors"));
}
