//! The test of a configuration that it makes no open relay.
//!
//! The test simulates clients from all over the internet with a session of the new configuration, and with all known
//! relaying tricks. No client may have a recipient accepted that is not the office's. The test cannot know whether a
//! network that may relay contains strangers; a wide public one does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::listeners::Server;
use super::shared::Shared;
use crate::mail::smtp::server::{Answer, Ask, Output, Session};
use crate::mail::smtp::{Limits, Role};

/// Addresses of strangers: in networks all over the world, none in a documentation range.
const STRANGERS: [&str; 16] = [
    "1.1.1.7",
    "5.9.20.7",
    "17.58.9.7",
    "23.64.3.7",
    "37.120.8.7",
    "45.33.3.7",
    "62.75.9.7",
    "80.67.9.7",
    "93.184.2.7",
    "104.16.9.7",
    "130.89.3.7",
    "151.101.6.7",
    "185.70.4.7",
    "212.227.9.7",
    "2001:4860::7",
    "2a01:4f8::7",
];

/// The widest network of public addresses that may be an office's, by its prefix: that of a large customer.
const PUBLIC_PREFIX_MIN: u8 = 20;

/// The same of IPv6.
const PUBLIC_PREFIX6_MIN: u8 = 40;

/// Networks that exist in every office, so that strangers cannot have their addresses. (RFC 1918; RFC 4193; RFC 3927)
const PRIVATE: [IpNet; 7] = [
    private4([10, 0, 0, 0], 8),
    private4([172, 16, 0, 0], 12),
    private4([192, 168, 0, 0], 16),
    private4([169, 254, 0, 0], 16),
    private4([127, 0, 0, 0], 8),
    private6(0xfc00, 7),
    private6(0xfe80, 10),
];

const fn private4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn private6(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

/// Whether `network` is wide enough to contain strangers.
fn is_too_wide(network: &IpNet) -> bool {
    let prefix_min = if network.addr().is_ipv4() { PUBLIC_PREFIX_MIN } else { PUBLIC_PREFIX6_MIN };
    network.prefix_len() < prefix_min && !PRIVATE.iter().any(|private| private.contains(network))
}

/// Whether there are strangers in `network`, so that it may be no network of [`RelayFrom`](super::RelayFrom).
pub fn has_strangers(network: &IpNet) -> bool {
    let strangers = STRANGERS.iter().filter_map(|address| address.parse::<IpAddr>().ok());
    is_too_wide(network) || strangers.into_iter().any(|stranger| network.contains(&stranger))
}

/// A dialogue by which a stranger could send to other domains, and the stranger's address, if there is one.
pub(super) fn find_open_relay(shared: &Shared) -> Option<String> {
    if let Some(wide) = shared.settings.relay_from.networks.iter().find(|network| is_too_wide(network)) {
        return Some(format!("anybody in {wide} could send to other domains"));
    }
    let strangers = STRANGERS.iter().filter_map(|address| address.parse().ok());
    strangers.filter(|stranger| !shared.is_lan(*stranger)).find_map(|stranger| {
        let taken = taken_from(shared, stranger)?;
        Some(format!("anybody at {stranger} could send to other domains ({taken})"))
    })
}

/// The recipient that is accepted from `stranger` although it is not the office's.
fn taken_from(shared: &Shared, stranger: IpAddr) -> Option<String> {
    let domain = &shared.settings.domain;
    let hostname = &shared.settings.hostname;
    let victim = "relay-test@victim.example";
    let tricks = [
        format!("<{victim}>"),
        victim.to_owned(),
        format!("<@{domain}:{victim}>"),
        format!("<@{hostname}:{victim}>"),
        format!("<relay-test%victim.example@{domain}>"),
        format!("<relay-test%victim.example@{hostname}>"),
        format!("<\"{victim}\"@{domain}>"),
        format!("<victim.example!relay-test@{domain}>"),
        format!("<{victim}@{domain}>"),
        "<relay-test@[198.51.100.99]>".to_owned(),
        "<relay-test%victim.example>".to_owned(),
    ];
    let senders =
        ["<>".to_owned(), "<relay-test@victim.example>".to_owned(), format!("<postmaster@{domain}>")];
    senders.iter().find_map(|sender| {
        let mut probe = Probe::new(shared, stranger);
        // RFC 2033, section 4.1
        probe.say(if shared.role == Role::Lmtp { "LHLO victim.example" } else { "EHLO victim.example" });
        let begun = probe.say(&format!("MAIL FROM:{sender}"));
        debug_assert!(begun || shared.role == Role::Submission, "no trick is tried");
        begun.then(|| tricks.iter().find(|trick| probe.say(&format!("RCPT TO:{trick}"))).cloned())?
    })
}

/// A conversation with a stranger that touches nothing.
struct Probe<'a> {
    shared: &'a Shared,
    session: Session,
}

impl<'a> Probe<'a> {
    fn new(shared: &'a Shared, stranger: IpAddr) -> Self {
        let mut policy = shared.policy(stranger, false);
        policy.limits = Limits { refusals_at_once: None, errors_max: u32::MAX, ..policy.limits };
        let session = Session::new(shared.clock.now(), policy);
        let mut probe = Self { shared, session };
        probe.settle();
        probe
    }

    /// Sends a line. Returns whether it is accepted.
    fn say(&mut self, line: &str) -> bool {
        let line = format!("{line}\r\n");
        let mut rest = line.as_bytes();
        let mut is_taken = false;
        while !rest.is_empty() {
            let taken = self.session.receive(self.shared.clock.now(), rest);
            is_taken = self.settle();
            if taken == 0 {
                break;
            }
            rest = &rest[taken..];
        }
        is_taken
    }

    /// Whether the last reply was positive.
    fn settle(&mut self) -> bool {
        let now = self.shared.clock.now();
        let mut is_yes = false;
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Reply(octets) => is_yes = octets.starts_with(b"2"),
                Output::Ask(Ask::Begin(_)) => self.session.answer(now, Answer::Begin(Ok(()))),
                Output::Ask(Ask::Route(recipient)) => {
                    let judged = self.shared.judge(&recipient).map(|_| ());
                    self.session.answer(now, Answer::Route(judged));
                }
                Output::Ask(_) | Output::Action(_) => {}
            }
        }
        is_yes
    }
}
