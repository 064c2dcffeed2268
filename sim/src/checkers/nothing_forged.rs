//! Nothing forged: what an attacker puts blindly into others' connections does not get through.

use super::{Checker, Passage, Side, Way};
use crate::machine::attacker::FORGED_TTL;

/// Knows what the simulated attacker forges by its time to live, which no other machine uses.
pub struct NothingForged;

impl Checker for NothingForged {
    fn name(&self) -> &'static str {
        "nothing-forged"
    }

    fn promise(&self) -> &'static str {
        "no segment reaches the LAN from somebody who does not see the connection that he puts it into"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let is_forged = passage.packet.ipv4().is_some_and(|ip| ip.ttl == FORGED_TTL - 1);
        if (passage.side, passage.way, is_forged) == (Side::Lan, Way::Out, true) {
            return Err(format!("a forged segment came through: {:?}", passage.packet));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{packet, passage, tcp};
    use crate::packet::Content;

    #[test]
    fn what_is_forged_is_known() {
        let mut segment = packet("198.51.100.1", "192.168.1.9", tcp(80, 1000));
        let mut passes = |ttl| {
            let Content::Ipv4(ip) = &mut segment.content else { unreachable!("it is one") };
            ip.ttl = ttl;
            NothingForged.on_passage(&passage(0, Way::Out, Side::Lan, &segment)).is_ok()
        };
        assert!(passes(63) && !passes(FORGED_TTL - 1));
    }
}
