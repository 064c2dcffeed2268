//! The configuration in force is the one that was confirmed last, or the candidate within its time.
//!
//! The LAN's address shows which of them is in force: in the gateway's report, in its ARP, and in its other packets on
//! the LAN. While a candidate waits for its confirmation, the gateway has the former address, too, and for some time after
//! a confirmation by a page.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::config::Config;
use gatepost_ground::Instant;
use ipnet::Ipv4Net;

use super::{Checker, Passage, Side, Snapshot, Step, Way};
use crate::packet::Content;

/// How long after the deadline the candidate may be in force.
const UNDONE_WITHIN: Duration = Duration::from_secs(1);
/// How long a packet of a former configuration may be under way within the gateway.
const SLACK: Duration = Duration::from_millis(100);

/// Compares the LAN's address with the files that can be in force.
pub struct ConfigurationInForce {
    confirmed: Ipv4Net,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// The addresses that may still be seen, as those in force before this phase.
    before: Vec<Ipv4Net>,
    /// The address from before the last confirmation by a page, and until when the gateway has it, too.
    stays: Option<(Ipv4Net, Instant)>,
    /// The gateway's addresses so far.
    known: BTreeSet<Ipv4Addr>,
    mac: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Settled,
    /// Either is in force: the candidate is applied.
    Applying(Ipv4Net, Option<Duration>),
    /// The candidate is in force until this time.
    Waiting(Ipv4Net, Instant),
    /// The candidate is in force, and may be confirmed at any moment until this time.
    Confirming(Ipv4Net, Instant),
    /// Either is in force, as the change is undone; if that fails, the candidate until this time.
    Undoing(Ipv4Net, Instant),
    /// Either, by what the file says: the gateway has lost its power while it wrote the file.
    Unsure(Ipv4Net),
}

impl ConfigurationInForce {
    /// For a gateway that begins with `config`.
    pub fn new(config: &Config) -> Self {
        let confirmed = config.lan.address;
        Self {
            confirmed,
            phase: Phase::Settled,
            since: Instant::ZERO,
            before: Vec::new(),
            stays: None,
            known: [confirmed.addr()].into(),
            mac: None,
        }
    }

    /// The addresses of the configurations that may be in force.
    fn possible(&self, now: Instant) -> Vec<Ipv4Net> {
        let both = |candidate| vec![candidate, self.confirmed];
        match self.phase {
            Phase::Applying(candidate, _)
            | Phase::Confirming(candidate, _)
            | Phase::Undoing(candidate, _)
            | Phase::Unsure(candidate) => both(candidate),
            Phase::Waiting(candidate, deadline) if now < deadline => vec![candidate],
            Phase::Waiting(candidate, deadline) if now <= deadline + UNDONE_WITHIN => both(candidate),
            Phase::Settled | Phase::Waiting(..) => vec![self.confirmed],
        }
    }

    /// Whether the gateway may send from its `address` on the LAN.
    fn may_send_from(&self, address: Ipv4Addr, now: Instant) -> bool {
        let is_recent = now.since(self.since) <= SLACK;
        let has_both = matches!(self.phase, Phase::Waiting(_, deadline) if now <= deadline + UNDONE_WITHIN);
        let former = Some(self.confirmed).filter(|_| has_both);
        let recent = self.before.iter().filter(|_| is_recent).copied();
        let stays = self.stays.filter(|(_, until)| now <= *until + UNDONE_WITHIN).map(|(former, _)| former);
        self.possible(now)
            .into_iter()
            .chain(former)
            .chain(recent)
            .chain(stays)
            .any(|net| net.addr() == address)
    }

    fn go_over_to(&mut self, now: Instant, phase: Phase) {
        self.before = self.possible(now);
        self.before.push(self.confirmed);
        (self.phase, self.since) = (phase, now);
    }
}

impl Checker for ConfigurationInForce {
    fn name(&self) -> &'static str {
        "configuration-in-force"
    }

    fn promise(&self) -> &'static str {
        "the configuration in force is the one that was confirmed last, or the candidate within its time"
    }

    fn on_boot(&mut self) {
        self.mac = None;
        self.stays = None;
        self.phase = match self.phase {
            Phase::Applying(candidate, None) | Phase::Confirming(candidate, _) => Phase::Unsure(candidate),
            _ => Phase::Settled,
        };
    }

    fn on_configure(&mut self, config: &Config) {
        if let Phase::Unsure(candidate) = self.phase {
            if config.lan.address == candidate {
                self.confirmed = candidate;
            }
            self.phase = Phase::Settled;
        }
    }

    fn on_transaction(&mut self, now: Instant, step: &Step<'_>) {
        let phase = match (*step, self.phase) {
            (Step::Applies(candidate, within), _) => {
                self.known.insert(candidate.lan.address.addr());
                Phase::Applying(candidate.lan.address, within)
            }
            (Step::Applied(true), Phase::Applying(candidate, Some(within))) => {
                Phase::Waiting(candidate, now + within)
            }
            (Step::Applied(true), Phase::Applying(candidate, None))
            | (Step::Confirmed(true), Phase::Confirming(candidate, _)) => {
                self.go_over_to(now, Phase::Settled);
                self.confirmed = candidate;
                return;
            }
            (Step::Stays(time), _) => {
                self.stays = Some((self.confirmed, now + time));
                return;
            }
            (Step::Confirms, Phase::Waiting(candidate, deadline)) => Phase::Confirming(candidate, deadline),
            (Step::Confirmed(false), Phase::Confirming(candidate, deadline))
            | (Step::Undone(false), Phase::Undoing(candidate, deadline)) => {
                Phase::Waiting(candidate, deadline)
            }
            (Step::Undoes, Phase::Waiting(candidate, deadline)) => Phase::Undoing(candidate, deadline),
            (Step::Applied(false), _) | (Step::Undone(true), Phase::Undoing(..)) => Phase::Settled,
            (_, phase) => phase,
        };
        self.go_over_to(now, phase);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        if (way, side) != (Way::Out, Side::Lan) || self.mac.as_ref() != Some(&packet.source_mac.to_string()) {
            return Ok(());
        }
        let source = match &packet.content {
            Content::Arp { sender, .. } => *sender,
            Content::Ipv4(ip) => ip.source,
            Content::Other => return Ok(()),
        };
        if !self.known.contains(&source) || self.may_send_from(source, now) {
            return Ok(());
        }
        Err(format!("a packet from {source}, which no configuration in force has ({:?})", self.phase))
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.mac = Some(snapshot.status.lan.mac.clone());
        let shown = snapshot.status.lan.address;
        let possible = self.possible(snapshot.now);
        let is_recent = snapshot.now.since(self.since) <= SLACK;
        let before = self.before.iter().filter(|_| is_recent);
        if possible.iter().chain(before).any(|net| Some((*net).into()) == shown) {
            return Ok(());
        }
        Err(format!("the LAN's address is {shown:?}, and can be {possible:?} ({:?})", self.phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, snapshot};

    const CANDIDATE: &str = "10.0.0.1/24";

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn candidate() -> Config {
        let mut candidate = config();
        candidate.lan.address = CANDIDATE.parse().expect("a network");
        candidate
    }

    /// Whether a report of this LAN's address passes.
    fn passes(checker: &mut ConfigurationInForce, secs: u64, lan: &str) -> bool {
        let mut snapshot = snapshot(secs);
        snapshot.status.lan.address = Some(lan.parse().expect("a network"));
        checker.on_snapshot(&snapshot).is_ok()
    }

    /// A change that waits from 10 to 20 s.
    fn waiting() -> ConfigurationInForce {
        let mut checker = ConfigurationInForce::new(&config());
        let candidate = candidate();
        checker.on_transaction(at(9), &Step::Applies(&candidate, Some(Duration::from_secs(10))));
        checker.on_transaction(at(10), &Step::Applied(true));
        checker
    }

    const FORMER: &str = "192.168.1.1/24";

    #[test]
    fn the_candidate_is_in_force_within_its_time_and_no_longer() {
        let mut checker = ConfigurationInForce::new(&config());
        assert!(passes(&mut checker, 1, FORMER) && !passes(&mut checker, 1, CANDIDATE));
        let mut checker = waiting();
        assert!(passes(&mut checker, 15, CANDIDATE) && !passes(&mut checker, 15, FORMER));
        assert!(passes(&mut checker, 20, CANDIDATE) && passes(&mut checker, 20, FORMER));
        assert!(passes(&mut checker, 22, FORMER) && !passes(&mut checker, 22, CANDIDATE));
    }

    #[test]
    fn what_is_undone_is_not_in_force_and_what_is_not_undone_has_its_deadline() {
        let undone = |is_undone| {
            let mut checker = waiting();
            checker.on_transaction(at(12), &Step::Undoes);
            assert!(passes(&mut checker, 13, CANDIDATE) && passes(&mut checker, 13, FORMER));
            checker.on_transaction(at(13), &Step::Undone(is_undone));
            checker
        };
        let mut checker = undone(true);
        assert!(passes(&mut checker, 13, CANDIDATE), "under way");
        assert!(passes(&mut checker, 14, FORMER) && !passes(&mut checker, 14, CANDIDATE));
        let mut checker = undone(false);
        assert!(passes(&mut checker, 14, CANDIDATE) && !passes(&mut checker, 14, FORMER));
        assert!(passes(&mut checker, 22, FORMER) && !passes(&mut checker, 22, CANDIDATE));
    }

    #[test]
    fn the_former_address_stays_for_its_time_after_a_confirmation() {
        let may_send = |checker: &ConfigurationInForce, secs| {
            let former = FORMER.parse::<Ipv4Net>().expect("a network");
            checker.may_send_from(former.addr(), at(secs))
        };
        for stays in [false, true] {
            let mut checker = waiting();
            checker.on_transaction(at(12), &Step::Confirms);
            if stays {
                checker.on_transaction(at(12), &Step::Stays(Duration::from_secs(10)));
            }
            checker.on_transaction(at(12), &Step::Confirmed(true));
            assert_eq!((may_send(&checker, 15), may_send(&checker, 24)), (stays, false));
            assert!(passes(&mut checker, 15, CANDIDATE) && !passes(&mut checker, 15, FORMER));
            checker.on_boot();
            assert!(!may_send(&checker, 15), "a start has the confirmed one alone");
        }
    }

    #[test]
    fn what_is_confirmed_stays_and_a_start_within_the_time_forgets_the_candidate() {
        let mut checker = waiting();
        checker.on_transaction(at(12), &Step::Confirms);
        checker.on_transaction(at(13), &Step::Confirmed(true));
        assert!(passes(&mut checker, 30, CANDIDATE) && !passes(&mut checker, 30, FORMER));
        let mut checker = waiting();
        checker.on_boot();
        checker.on_configure(&candidate());
        assert!(passes(&mut checker, 15, FORMER) && !passes(&mut checker, 15, CANDIDATE));
        let mut checker = waiting();
        checker.on_transaction(at(12), &Step::Confirms);
        checker.on_boot();
        checker.on_configure(&candidate());
        assert!(passes(&mut checker, 15, CANDIDATE), "the power failed while the file was written");
    }
}
