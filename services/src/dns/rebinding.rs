//! The filter against DNS rebinding.
//!
//! A foreign web page whose name gets an address of the LAN can reach LAN hosts under that name, past the browser's
//! same-origin policy. So private addresses, and those of the LAN, are removed from the answers for public names.
//! Addresses from 127.0.0.2 on pass: they are the answers of DNS blocklists (RFC 5782, section 2.1). They lead to the host
//! that asks, and never to another host of the LAN.
//! The names below the configured ones are exempt, as their addresses in the office are meant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::rr::Name;
use tracing::warn;

use super::config::ConfigError;
use super::message::Answer;
use super::name::{NameKey, absolute};
use super::upstream_zone::UpstreamZone;

/// The zones whose log entry is remembered; with one more, all are forgotten.
pub const LOGGED_MAX: usize = 1_024;

/// The filter.
pub struct RebindingFilter {
    is_on: bool,
    exempt: Vec<NameKey>,
    logged: BTreeSet<UpstreamZone>,
    filtered: u64,
}

impl RebindingFilter {
    /// A filter from which the names at and below `exempt` are exempt; one that is not `is_on` removes nothing.
    ///
    /// # Errors
    ///
    /// One of `exempt` is not a domain name.
    pub fn new(is_on: bool, exempt: &[String]) -> Result<Self, ConfigError> {
        let key = |name: &String| Ok(NameKey::new(&absolute(name, &Name::root())?));
        let exempt = exempt.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { is_on, exempt, logged: BTreeSet::new(), filtered: 0 })
    }

    /// Whether private addresses of this name are meant.
    pub fn exempts(&self, name: &NameKey) -> bool {
        self.exempt.iter().any(|zone| name.is_in(zone))
    }

    /// Removes the addresses that are `is_private` from an answer for the public `name`.
    pub fn filter(&mut self, name: &Name, answer: &mut Answer, is_private: impl Fn(IpAddr) -> bool) {
        if !self.is_on {
            return;
        }
        let before = answer.answers.len();
        answer.answers.retain(|record| !record.data.ip_addr().is_some_and(&is_private));
        if answer.answers.len() == before {
            return;
        }
        // It is no longer what was validated.
        answer.authenticated = false;
        self.filtered += 1;
        if self.logged.len() >= LOGGED_MAX {
            self.logged.clear();
        }
        if self.logged.insert(UpstreamZone::of(&NameKey::new(name))) {
            warn!(
                "private addresses of {name} are removed; if they are meant, add it to dns.private_answers_from"
            );
        }
    }

    /// The answers that the filter has changed.
    pub fn filtered(&self) -> u64 {
        self.filtered
    }
}

#[cfg(test)]
mod tests {
    use super::super::special::is_private;
    use super::super::testing::{a, name};
    use super::*;

    #[test]
    fn private_addresses_are_removed_and_counted_and_each_zone_is_remembered_once() {
        let mut filter = RebindingFilter::new(true, &["plex.direct".to_owned()]).unwrap();
        let (evil, public) = (name("evil.example."), a("evil.example.", 60, "203.0.113.7"));
        for count in 1..=2 {
            let records = vec![a("evil.example.", 60, "10.0.0.1"), public.clone()];
            let mut answer = Answer { authenticated: true, ..Answer::records(records) };
            filter.filter(&evil, &mut answer, is_private);
            assert_eq!(answer, Answer::records(vec![public.clone()]));
            assert_eq!((filter.filtered(), filter.logged.len()), (count, 1));
        }
        let mut harmless = Answer { authenticated: true, ..Answer::records(vec![public]) };
        filter.filter(&evil, &mut harmless, is_private);
        assert!(harmless.authenticated && filter.filtered() == 2);
        for n in 0..LOGGED_MAX {
            let owner = format!("www.n{n}.example.");
            filter.filter(&name(&owner), &mut Answer::records(vec![a(&owner, 60, "10.0.0.1")]), is_private);
        }
        assert!(filter.logged.len() <= LOGGED_MAX);
    }

    #[test]
    fn a_name_is_exempt_with_all_below_it() {
        let filter = RebindingFilter::new(true, &["plex.direct".to_owned()]).unwrap();
        let exempts = |owner: &str| filter.exempts(&NameKey::new(&name(owner)));
        assert!(exempts("a.b.PLEX.direct.") && exempts("plex.direct."));
        assert!(!exempts("notplex.direct.") && !exempts("direct."));
        assert!(RebindingFilter::new(true, &["a..b".to_owned()]).is_err());
    }
}
