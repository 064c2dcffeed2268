//! `docs/conformance.md`: the requirements of the RFCs for NAT, router, DHCP and SMTP, with the tests that show them,
//! and the tests of other RFCs.
//!
//! The documentation above a test names its requirements, one line for each: `RFC 4787, REQ-9a: The source of a
//! hairpinned packet is external.` The table is generated from these lines and from the requirements below. This test
//! fails if the file differs; `GATEPOST_WRITE=1 cargo test --test conformance` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The level of a requirement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Must,
    Should,
}

use Level::{Must, Should};

/// A requirement of an RFC.
struct Requirement {
    /// The RFC, and the requirement's number or section.
    citation: &'static str,
    level: Level,
    text: &'static str,
    /// Why it is not met.
    declined: Option<&'static str>,
}

const fn kept(citation: &'static str, level: Level, text: &'static str) -> Requirement {
    Requirement { citation, level, text, declined: None }
}

const fn declined(citation: &'static str, text: &'static str, why: &'static str) -> Requirement {
    Requirement { citation, level: Should, text, declined: Some(why) }
}

const NAT_UDP: &[Requirement] = &[
    kept("RFC 4787, REQ-1", Must, "Mapping is endpoint-independent."),
    kept(
        "RFC 4787, REQ-2",
        Should,
        "An inside address always has the same external address (paired pooling).",
    ),
    kept("RFC 4787, REQ-3", Must, "No external port is shared (no port overloading)."),
    kept("RFC 4787, REQ-3a", Should, "Ports 0 to 1023 and 1024 to 65535 stay in their range."),
    kept("RFC 4787, REQ-4", Should, "Even ports stay even, odd ones odd."),
    kept("RFC 4787, REQ-5", Must, "A mapping lives 2 minutes at least, 5 by default."),
    declined(
        "RFC 4787, REQ-5a",
        "Some well-known ports may have shorter timers.",
        "It is an allowance, and 5 minutes for all is simpler to foresee.",
    ),
    kept(
        "RFC 4787, REQ-6",
        Must,
        "Outbound packets refresh a mapping; inbound ones do not, which REQ-6a permits.",
    ),
    kept("RFC 4787, REQ-7", Must, "A WAN inside the LAN's own subnet is noticed and handled."),
    kept("RFC 4787, REQ-8", Should, "Filtering is selectable."),
    kept("RFC 4787, REQ-9", Must, "Hairpinning."),
    kept("RFC 4787, REQ-9a", Must, "The source of a hairpinned packet is external."),
    kept("RFC 4787, REQ-10", Should, "No application gateways by default."),
    kept("RFC 4787, REQ-11", Must, "Deterministic, under contention for a port too."),
    kept("RFC 4787, REQ-12", Must, "An ICMP error ends no mapping."),
    kept("RFC 4787, REQ-13", Must, "Too big: told with DF, fragmented without."),
    kept("RFC 4787, REQ-14", Must, "Fragments are received in order and out of order."),
    kept("RFC 4787, REQ-14a", Must, "A flood of fragments is bounded."),
];

const NAT_TCP: &[Requirement] = &[
    kept("RFC 5382, REQ-1", Must, "Mapping is endpoint-independent."),
    kept("RFC 5382, REQ-2", Must, "All valid sequences of segments, simultaneous open included."),
    kept("RFC 5382, REQ-3", Should, "Filtering is selectable, up to endpoint-independent."),
    kept("RFC 5382, REQ-4", Must, "An unsolicited SYN is not answered for 6 seconds."),
    kept("RFC 5382, REQ-5", Must, "Idle 2 hours 4 minutes when established, 4 minutes otherwise."),
    kept("RFC 5382, REQ-7", Must, "No port overloading."),
    kept("RFC 5382, REQ-8", Must, "Hairpinning."),
    kept("RFC 5382, REQ-10", Must, "An ICMP error ends no connection."),
    kept("RFC 7857, section 2.1", Must, "Separate timers for opening and closing."),
    kept("RFC 7857, section 2.2", Must, "After an RST the state stays 4 minutes."),
    kept("RFC 7857, section 5", Must, "Mappings of two protocols are apart."),
    kept("RFC 7857, section 7.1", Must, "RSTs and ICMP errors refresh nothing."),
    kept("RFC 5961, section 3", Should, "Blind resets are not believed."),
    kept("RFC 5961, section 4", Should, "A SYN into an established connection changes nothing."),
    kept("RFC 5961, section 5", Should, "An acknowledgment of what was never sent is not believed."),
    kept("RFC 9293, section 3.1", Should, "A segment with a wrong checksum changes nothing."),
];

const NAT_ICMP: &[Requirement] = &[
    kept("RFC 5508, REQ-1", Must, "Queries have endpoint-independent mappings."),
    kept("RFC 5508, REQ-2", Must, "A query lives 60 seconds at least."),
    kept("RFC 5508, REQ-3", Should, "An error with a wrong checksum is dropped."),
    kept("RFC 5508, REQ-3a", Should, "A quoted header with a wrong checksum is dropped."),
    kept("RFC 5508, REQ-3b", Must, "Quoted IP options are passed over."),
    kept("RFC 5508, REQ-3d", Must, "An error about an error is dropped."),
    kept("RFC 5508, REQ-4", Must, "The quoted packet of an error from outside is translated, cut ones too."),
    kept("RFC 5508, REQ-5", Must, "The quoted packet of an error from inside is translated."),
    kept("RFC 5508, REQ-6", Must, "Errors refresh nothing."),
    kept("RFC 5508, REQ-7", Must, "Errors about hairpinned packets are hairpinned."),
    kept("RFC 5508, REQ-8", Should, "Code 13 where the policy or a full table refuses."),
    kept("RFC 5508, REQ-10", Must, "The types that are required pass."),
];

const ROUTER: &[Requirement] = &[
    kept(
        "RFC 1812, section 5.3.1",
        Must,
        "A packet out of hops is dropped, and its sender told from the interface it leaves by.",
    ),
    kept(
        "RFC 1812, section 5.2.6",
        Must,
        "A packet too big for the next link is fragmented where it may be.",
    ),
    kept("RFC 1812, section 5.2.2", Must, "The header's checksum is checked."),
    kept("RFC 1812, section 4.3.2.3", Should, "An error quotes what fits into 576 octets."),
    kept(
        "RFC 1812, section 4.3.2.7",
        Must,
        "No error about an error, a broadcast, a multicast or a later fragment, or to nobody.",
    ),
    kept("RFC 1812, section 4.3.2.8", Should, "Errors are limited in rate."),
    kept("RFC 1812, section 4.3.3.6", Must, "Echo requests are answered, in fragments too."),
    kept("RFC 1812, section 5.2.4.3", Must, "The longest prefix wins."),
    kept("RFC 1812, section 5.3.7", Must, "Martians are dropped."),
    kept("RFC 1812, section 4.2.3.1", Must, "Broadcast addresses are known as such."),
    kept("RFC 1812, section 5.2.7.1", Must, "No route: the sender is told."),
    kept("RFC 1812, section 5.2.4.1", Should, "Source routes are refused, as RFC 7126 has it."),
    kept("RFC 1191, section 4", Must, "An error about a packet too big names the MTU."),
    kept("RFC 1858, section 3.2", Should, "Fragments that hide ports are dropped (RFC 3128, too)."),
    kept("RFC 6864, section 5.3.1", Must, "Identifications of hosts behind one address do not collide."),
    kept("RFC 6056, section 3.2", Should, "Ports that are not preserved are random."),
    declined(
        "RFC 1812, section 5.2.7.2",
        "Redirects are sent to hosts.",
        "Behind one gateway there is no better way to redirect to; nor is a redirect translated.",
    ),
];

const DHCP: &[Requirement] = &[
    kept("RFC 2131, section 2", Must, "Boot loaders find their server and file in the fields, too."),
    kept("RFC 2131, section 3.1", Must, "The client gets from INIT to BOUND, or begins anew."),
    kept(
        "RFC 2131, section 3.1 (2)",
        Should,
        "An address is probed before its offer, for others without delay, and an offer reserves it only briefly.",
    ),
    kept("RFC 2131, section 3.1 (4)", Must, "The lease is on disk before the ACK."),
    kept("RFC 2131, section 3.3", Must, "An infinite lease has no end."),
    kept(
        "RFC 2131, section 4.1",
        Must,
        "Answers go to the relay agent, to `ciaddr`, to all by the broadcast bit, or to `yiaddr`; the client \
         backs off, with jitter.",
    ),
    kept("RFC 2131, section 4.2", Must, "The client identifier comes before the hardware address."),
    kept(
        "RFC 2131, section 4.3.1",
        Must,
        "The address that a client gets, and the fields and options of every answer.",
    ),
    kept("RFC 2131, section 4.3.2", Must, "The client verifies the address that it remembers."),
    kept(
        "RFC 2131, section 4.3.2 (SELECTING)",
        Must,
        "An offer that is accepted, and one of another server.",
    ),
    kept(
        "RFC 2131, section 4.3.2 (INIT-REBOOT)",
        Must,
        "A NAK for what is wrong; silence about the unknown, unless authoritative.",
    ),
    kept("RFC 2131, section 4.3.2 (RENEWING)", Must, "A renewal prolongs the lease."),
    kept(
        "RFC 2131, section 4.3.2 (REBINDING)",
        Must,
        "A broadcast request prolongs a lease of this server's.",
    ),
    kept("RFC 2131, section 4.3.3", Must, "A declined address is given to nobody."),
    kept("RFC 2131, section 4.3.4", Must, "A released address is free, and remembered for its client."),
    kept("RFC 2131, section 4.3.5", Must, "INFORM brings parameters: neither an address nor a lease time."),
    kept("RFC 2131, section 4.4", Must, "A NAK has the client begin anew."),
    kept("RFC 2131, section 4.4.5", Must, "The client renews at T1, rebinds at T2, and stops at the end."),
    kept("RFC 2131, section 4.4.6", Should, "The client gives its lease back."),
    kept("RFC 5227, section 2.1", Must, "The client declines an address that another machine has."),
    kept("RFC 2132, section 3.3", Must, "The mask comes before the router."),
    kept("RFC 2132, section 9.3", Must, "Options in `file` and `sname`."),
    kept("RFC 2132, section 9.8", Must, "What is requested is told, in the order of the request."),
    kept("RFC 2132, section 9.10", Must, "An answer is no longer than its client takes."),
    kept("RFC 2132, section 9.14", Must, "The client's identifier can be set."),
    kept("RFC 951, section 3", Must, "BOOTP: the reserved address, for good."),
    kept("RFC 951, section 7.3", Must, "BOOTP: a request for another server is ignored."),
    kept("RFC 1534, section 2", Must, "BOOTP: no address of the pool."),
    kept("RFC 1542, section 2.1", Must, "A message has 300 octets at least."),
    kept("RFC 3004, section 4", Must, "User classes."),
    kept("RFC 3046, section 2.1", Must, "Option 82 is the last."),
    kept("RFC 3046, section 2.2", Must, "Option 82 is returned as it came."),
    kept("RFC 3396, section 5", Must, "Options of all fields are one text: options, `file`, `sname`."),
    kept("RFC 3396, section 6", Must, "A long option is split."),
    kept("RFC 3396, section 7", Must, "Parts of an option are joined."),
    kept("RFC 3397, section 2", Must, "Search lists."),
    kept("RFC 3442", Must, "Classless routes take precedence over the router."),
    kept("RFC 4578, section 2.1", Must, "Architectures of boot loaders."),
    kept("RFC 4702, section 2.3", Must, "Both encodings of the FQDN option."),
    kept("RFC 4702, section 4", Must, "Who sends the FQDN option is told who updates the DNS."),
    kept("RFC 6842, section 3", Must, "The client identifier is returned."),
];

const SMTP_SERVER: &[Requirement] = &[
    kept("RFC 5321, section 2.3.8", Must, "Lines end with CRLF; a bare CR or LF ends none and is not taken."),
    kept("RFC 5321, section 2.4", Must, "Commands have any case."),
    kept("RFC 5321, section 3.3", Must, "A recipient is refused alone."),
    kept(
        "RFC 5321, section 3.6.1",
        Must,
        "No open relay: source routes, `%`, `!`, quoted local parts, literals.",
    ),
    kept("RFC 5321, section 3.8", Must, "A server that stops says 421."),
    kept("RFC 5321, section 4.1.1.1", Must, "EHLO and HELO, and the names that clients give themselves."),
    kept("RFC 5321, section 4.1.1.4", Must, "Only CRLF.CRLF ends the data."),
    kept("RFC 5321, section 4.1.1.5", Must, "RSET gives the message up and nothing else."),
    kept("RFC 5321, section 4.1.1.10", Must, "QUIT is answered, and the message under way is given up."),
    kept("RFC 5321, section 4.1.1.11", Must, "Parameters that nobody knows are refused."),
    kept("RFC 5321, section 4.1.2", Must, "Addresses, quoted ones too; spellings of one mailbox are one."),
    kept("RFC 5321, section 4.1.3", Must, "Address literals."),
    kept("RFC 5321, section 4.1.4", Must, "Commands in their order; 503 before their time."),
    kept("RFC 5321, section 4.2.1", Must, "Replies of several lines."),
    kept("RFC 5321, section 4.2.5", Must, "250 after the data means that the message is safe."),
    kept("RFC 5321, section 4.4", Must, "The Received field."),
    kept("RFC 5321, section 4.5.1", Must, "Postmaster, with a domain and without."),
    kept("RFC 5321, section 4.5.2", Must, "Dots that were added are taken off."),
    kept("RFC 5321, section 4.5.3.1.4", Must, "Command lines of 512 octets and what extensions add."),
    kept("RFC 5321, section 4.5.3.1.7", Must, "Messages of 64 KiB and more."),
    kept(
        "RFC 5321, section 4.5.3.1.10",
        Must,
        "452 for recipients beyond the maximum, the others are served.",
    ),
    kept("RFC 5321, section 4.5.3.2.5", Should, "A message may take long, as long as it goes on."),
    kept("RFC 5321, section 4.5.3.2.7", Should, "Five minutes for a command."),
    kept("RFC 5321, section 4.5.5", Must, "The null reverse path."),
    kept("RFC 5321, section 6.3", Should, "A loop is noticed by 100 Received fields or more."),
    kept("RFC 1870, section 6.2", Must, "SIZE: too big is refused at MAIL, or after the data."),
    kept("RFC 2033, section 4.1", Must, "LMTP: LHLO, and neither HELO nor EHLO."),
    kept("RFC 2033, section 4.2", Must, "LMTP: one reply for each recipient after the data."),
    kept("RFC 2034, section 4", Must, "ENHANCEDSTATUSCODES: the classes agree."),
    kept("RFC 2920, section 3.2", Must, "PIPELINING: replies in order, whatever comes together."),
    kept("RFC 3030, section 2", Must, "CHUNKING: a chunk's octets are taken in any case."),
    kept("RFC 3207, section 4.2", Must, "STARTTLS: nothing of before is known under TLS."),
    kept(
        "RFC 3207, section 5",
        Must,
        "STARTTLS: nothing that came in clear is taken for what came under TLS.",
    ),
    kept("RFC 3461, section 4", Must, "DSN: RET, ENVID, NOTIFY, ORCPT."),
    kept("RFC 4954, section 4", Must, "AUTH: PLAIN, LOGIN and SCRAM-SHA-256, cancelled, and under TLS only."),
    kept("RFC 6152, section 2", Must, "8BITMIME."),
    kept("RFC 6409, section 4.3", Must, "Submission only after a login."),
    kept("RFC 6531, section 3.5", Must, "SMTPUTF8: addresses outside of ASCII only where it was asked for."),
];

/// The requirements of the client alone: rows of the server that concern it, too, include its tests.
const SMTP_CLIENT: &[Requirement] = &[
    kept("RFC 5321, section 3.1", Must, "A server that does not want the client is left in order."),
    kept("RFC 5321, section 3.2", Should, "A server that does not know EHLO gets HELO."),
    kept("RFC 5321, section 4.2", Must, "Replies go by their codes, each to the command that was sent."),
    kept("RFC 5321, section 4.5.3.2", Should, "The time that each reply may take."),
    kept("RFC 5321, section 6.1", Must, "A message is the server's once it has said so, and not before."),
    kept("RFC 1870, section 6.1", Should, "SIZE: what is too big is not sent."),
    kept("RFC 2920, section 3.1", Must, "PIPELINING: all statuses of a group are checked."),
    kept("RFC 3207, section 4.1", Must, "STARTTLS: without it the client goes on, or does not."),
    kept("RFC 3461, section 5.2.2", Must, "DSN: whether the next server reports is known."),
    kept("RFC 4954, section 6", Must, "AUTH: a refusal is for the administrator."),
    kept("RFC 5802, section 3", Must, "SCRAM: the server proves that it knows the password."),
    kept("RFC 7677, section 4", Must, "SCRAM-SHA-256: 4096 iterations at least."),
    kept("RFC 6152, section 3", Must, "8BITMIME: octets above 127 go only where they are taken."),
    kept("RFC 6531, section 3.2", Must, "SMTPUTF8: what is outside of ASCII goes only where it is taken."),
    kept("RFC 6531, section 3.4", Must, "SMTPUTF8: it is asked for where it is needed."),
];

const MAIL_OUT: &[Requirement] = &[
    kept("RFC 5321, section 5.1", Must, "MX by preference, without them the domain itself; never ourselves."),
    kept("RFC 5321, section 4.5.4.1", Must, "Tries ever more seldom, a warning, and the end after 5 days."),
    kept("RFC 7505, section 3", Must, "A null MX takes no mail."),
    kept("RFC 3461, section 4.1", Must, "NOTIFY: of what the sender is told."),
    kept("RFC 3461, section 4.3", Must, "RET: what a report brings back."),
    kept("RFC 3461, section 6.3", Must, "ENVID and ORCPT come back."),
    kept("RFC 3464, section 2", Must, "Reports for people and for programs."),
    kept("RFC 3464, section 2.3", Must, "The fields of each recipient."),
    kept("RFC 6522, section 3", Must, "The three parts of a report."),
    kept("RFC 6533, section 3", Must, "Original recipients outside of ASCII."),
    kept("RFC 6533, section 4", Must, "Reports about addresses outside of ASCII."),
];

const SECTIONS: [(&str, &[Requirement]); 8] = [
    ("NAT for UDP: RFC 4787", NAT_UDP),
    ("NAT for TCP: RFC 5382, RFC 7857, RFC 5961", NAT_TCP),
    ("NAT for ICMP: RFC 5508", NAT_ICMP),
    ("Router: RFC 1812 and what belongs to it", ROUTER),
    ("DHCP, server and client: RFC 2131, RFC 2132 and what belongs to them", DHCP),
    ("SMTP, a server's session: RFC 5321 and its extensions", SMTP_SERVER),
    ("SMTP, a client's session: RFC 5321 and its extensions", SMTP_CLIENT),
    ("Mail that leaves: RFC 5321, RFC 3461, RFC 3464", MAIL_OUT),
];

const HEAD: &str = "# Conformance

Each requirement on NAT, forwarding, DHCP and SMTP with the tests that show it; after them, what the tests of other RFCs show.
`tests/conformance.rs` makes this file from the lines above each test, and fails when it is out of date:
`GATEPOST_WRITE=1 cargo test --test conformance` writes it anew.
";

const SOURCES: [&str; 5] = ["dataplane", "services", "sim", "src", "tests"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A line above a test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    /// As in [`Requirement::citation`].
    citation: String,
    file: PathBuf,
    test: String,
    /// The requirement as a sentence.
    sentence: String,
}

/// Splits `RFC 4787, REQ-9a: A sentence.` into citation and sentence.
fn marker(line: &str) -> Option<(&str, &str)> {
    let (citation, sentence) = line.split_once(": ")?;
    let mut parts = citation.split(", ");
    let number = parts.next()?.strip_prefix("RFC ")?;
    let place = parts.next();
    let is_place = |place: &str| {
        ["REQ-", "MUST-", "section ", "appendix "]
            .iter()
            .any(|kind| place.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
    };
    let is_citation = number.parse::<u16>().is_ok() && place.is_none_or(is_place) && parts.next().is_none();
    (is_citation && sentence.ends_with('.')).then_some((citation, sentence))
}

/// All requirements with tests, sorted; `Err` has the tests with an RFC in their name and no such line.
fn shown_in(file: &Path, text: &str) -> Result<Vec<Shown>, Vec<String>> {
    let (mut shown, mut silent) = (Vec::new(), Vec::new());
    let mut markers = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if let Some(doc) = line.strip_prefix("///") {
            markers.extend(marker(doc.trim_start()));
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]";
        } else {
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            if let Some(test) = name.filter(|_| is_test) {
                let of_its_name = |(citation, _): &(&str, &str)| {
                    let number = citation.split([' ', ',']).nth(1).unwrap_or_default();
                    test.split('_').any(|word| word.strip_prefix("rfc") == Some(number))
                };
                if test.starts_with("rfc") && !markers.iter().any(of_its_name) {
                    silent.push(format!("{}: {test}", file.display()));
                }
                shown.extend(markers.iter().map(|(citation, sentence)| Shown {
                    citation: (*citation).to_owned(),
                    file: file.to_owned(),
                    test: test.to_owned(),
                    sentence: (*sentence).to_owned(),
                }));
            }
            markers.clear();
            is_test = false;
        }
    }
    if silent.is_empty() { Ok(shown) } else { Err(silent) }
}

/// All that the tests of all sources show, sorted.
fn shown() -> Vec<Shown> {
    let (mut shown, mut silent) = (Vec::new(), Vec::new());
    let mut open: Vec<PathBuf> = SOURCES.iter().map(|name| root().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path).expect("it is there").map(|entry| entry.expect("it is there").path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("it is text");
            match shown_in(path.strip_prefix(root()).expect("it is below"), &text) {
                Ok(more) => shown.extend(more),
                Err(more) => silent.extend(more),
            }
        }
    }
    assert!(silent.is_empty(), "no line like `/// RFC 4787, REQ-9: ...` above these tests: {silent:#?}");
    shown.sort();
    shown
}

/// The tests of a requirement: each file with its sentences and the tests' names.
fn cell<'a>(shown: impl Iterator<Item = &'a Shown>) -> String {
    let mut files = BTreeMap::<&Path, Vec<String>>::new();
    for Shown { file, test, sentence, .. } in shown {
        files.entry(file).or_default().push(format!("{sentence} (`{test}`)"));
    }
    let cells: Vec<_> =
        files.iter().map(|(file, tests)| format!("{}: {}", file.display(), tests.join(" "))).collect();
    cells.join("<br>")
}

/// Sorts `section 4.10` behind `section 4.9`: each number by its value.
fn numbers(citation: &str) -> Vec<u32> {
    citation.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn table(shown: &[Shown]) -> String {
    let mut text = HEAD.to_owned();
    for (heading, requirements) in SECTIONS {
        text += &format!(
            "\n## {heading}\n\n| requirement | | what | verdict | tests |\n| --- | --- | --- | --- | --- |\n"
        );
        for Requirement { citation, level, text: what, declined } in requirements {
            let level = if *level == Must { "must" } else { "should" };
            let verdict = declined.map_or("yes".to_owned(), |why| format!("declined: {why}"));
            let tests = cell(shown.iter().filter(|shown| shown.citation == *citation));
            text += &format!("| {citation} | {level} | {what} | {verdict} | {tests} |\n");
        }
    }
    let mut others: Vec<_> =
        shown.iter().map(|shown| shown.citation.as_str()).filter(|citation| !is_listed(citation)).collect();
    others.sort_by_key(|citation| (numbers(citation), *citation));
    others.dedup();
    text += "\n## Other RFCs\n\n| RFC | tests |\n| --- | --- |\n";
    for citation in others {
        let tests = cell(shown.iter().filter(|shown| shown.citation == citation));
        text += &format!("| {citation} | {tests} |\n");
    }
    text
}

fn requirements() -> impl Iterator<Item = &'static Requirement> {
    SECTIONS.iter().flat_map(|(_, requirements)| *requirements)
}

fn is_listed(citation: &str) -> bool {
    requirements().any(|requirement| requirement.citation == citation)
}

#[test]
fn the_table_is_complete_and_true() {
    let shown = shown();
    for Requirement { citation, level, declined, .. } in requirements() {
        let is_shown = shown.iter().any(|shown| shown.citation == *citation);
        assert!(declined.is_none() || *level != Must, "{citation} must not be declined");
        assert!(is_shown != declined.is_some(), "{citation}: shown {is_shown}");
    }
    // An RFC that numbers its requirements is listed whole, so that a wrong number is a mistake.
    let unknown: Vec<_> = shown
        .iter()
        .filter(|shown| shown.citation.contains(", REQ-") && !is_listed(&shown.citation))
        .map(|shown| (&shown.citation, &shown.test))
        .collect();
    assert!(unknown.is_empty(), "no such requirement: {unknown:?}");
    let made = table(&shown);
    let path = root().join("docs/conformance.md");
    if env::var_os("GATEPOST_WRITE").is_some() {
        fs::write(&path, &made).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).expect("it is there");
    assert!(
        kept == made,
        "docs/conformance.md is out of date: GATEPOST_WRITE=1 cargo test --test conformance"
    );
}

#[test]
fn a_marker_is_a_citation_and_a_sentence() {
    assert_eq!(marker("RFC 4787, REQ-9a: It is external."), Some(("RFC 4787, REQ-9a", "It is external.")));
    assert_eq!(marker("RFC 1812, section 5.3.7: Martians."), Some(("RFC 1812, section 5.3.7", "Martians.")));
    assert_eq!(marker("RFC 768: None."), Some(("RFC 768", "None.")));
    for prose in ["RFC 4787 REQ-9: no.", "RFC 4787, REQ-: no.", "RFC 4787, REQ-9: no", "(RFC 768): no."] {
        assert_eq!(marker(prose), None, "{prose}");
    }
}

#[test]
fn a_test_shows_what_stands_above_it_and_nothing_else() {
    let text = "/// RFC 1: Not a test's.\nfn helper() {}\n/// RFC 2: One.\n/// RFC 3: Two.\n#[test]\nfn rfc2_a() {\n";
    let shown = shown_in(Path::new("file.rs"), text).expect("all show something");
    let citations: Vec<_> = shown.iter().map(|shown| shown.citation.as_str()).collect();
    assert_eq!(citations, ["RFC 2", "RFC 3"]);
    for silent in ["#[test]\nfn rfc2_a() {\n", "/// RFC 20: Other.\n#[test]\nfn rfc2_a() {\n"] {
        assert!(shown_in(Path::new("file.rs"), silent).is_err(), "{silent}");
    }
}
