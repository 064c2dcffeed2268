//! No ICMP storms: the gateway sends few errors, and none about a packet that must not cause one.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::{Checker, Passage, Way};
use crate::packet::Transport;

/// The gateway's own limit with its burst, and some errors of other hosts that it translates.
const ERRORS_PER_WINDOW_MAX: u32 = 1_100;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts ICMP errors.
#[derive(Default)]
pub struct IcmpCalm {
    window_ends: Instant,
    errors: u32,
}

impl Checker for IcmpCalm {
    fn name(&self) -> &'static str {
        "icmp-calm"
    }

    fn promise(&self) -> &'static str {
        "at most 1,100 ICMP errors leave in a second, none to or about a broadcast or multicast address"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Some(ip) = passage.packet.ipv4().filter(|_| passage.way == Way::Out) else { return Ok(()) };
        let Transport::IcmpError { about } = &ip.transport else { return Ok(()) };
        let to_many = |address: Ipv4Addr| address.is_multicast() || address.is_broadcast();
        if to_many(ip.destination) || about.as_ref().is_some_and(|about| to_many(about.destination)) {
            return Err(format!("an ICMP error to {} about {about:?}", ip.destination));
        }
        if passage.now >= self.window_ends {
            self.window_ends = passage.now + WINDOW;
            self.errors = 0;
        }
        self.errors += 1;
        if self.errors == ERRORS_PER_WINDOW_MAX + 1 {
            return Err(format!("more than {ERRORS_PER_WINDOW_MAX} ICMP errors within a second"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::Side;
    use crate::checkers::testing::{ip, packet, passage};
    use crate::packet::Quoted;

    fn error_about(destination: &str) -> Transport {
        let (source, destination) = (ip("192.168.1.9"), ip(destination));
        Transport::IcmpError { about: Some(Quoted { source, destination, octets: Vec::new() }) }
    }

    #[test]
    fn a_storm_is_told_once_a_second_and_errors_about_broadcasts_always() {
        let mut checker = IcmpCalm::default();
        let error = packet("192.168.1.1", "192.168.1.9", error_about("198.51.100.1"));
        let reported = |checker: &mut IcmpCalm, secs| {
            let passage = passage(secs, Way::Out, Side::Lan, &error);
            (0..ERRORS_PER_WINDOW_MAX + 9).filter(|_| checker.on_passage(&passage).is_err()).count()
        };
        assert_eq!((reported(&mut checker, 1), reported(&mut checker, 2)), (1, 1));
        let about_broadcast = packet("192.168.1.1", "192.168.1.9", error_about("255.255.255.255"));
        assert!(checker.on_passage(&passage(3, Way::Out, Side::Lan, &about_broadcast)).is_err());
    }
}
