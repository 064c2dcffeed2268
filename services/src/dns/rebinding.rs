//! The filter against DNS rebinding.
//!
//! A foreign web page whose name gets an address of the LAN can reach LAN hosts under that name, past the browser's
//! same-origin policy. So private addresses, and those of the LAN, are removed from the answers for public names.
//! Addresses from 127.0.0.2 on pass: they are the answers of DNS blocklists (RFC 5782, section 2.1). They lead to the
//! host that asks, and never to another host of the LAN. HTTPS and SVCB records with such an address as a hint
//! (RFC 9460, section 7.3) are removed, too: a browser connects to the hint as to an address record. The names below
//! the configured ones are exempt, as their addresses in the office are meant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::rr::{Name, RData, RecordType};
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
        answer.answers.retain(|record| !addresses(&record.data).any(&is_private));
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

/// The addresses to which `data` leads its reader.
fn addresses(data: &RData) -> impl Iterator<Item = IpAddr> {
    let hints = match data {
        RData::Unknown { code: RecordType::HTTPS | RecordType::SVCB, rdata } => {
            address_hints(&rdata.anything)
        }
        _ => Vec::new(),
    };
    data.ip_addr().into_iter().chain(hints)
}

/// SvcParamKeys of addresses. (RFC 9460, section 14.3.2)
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

/// The addresses in `ipv4hint` and `ipv6hint` of an HTTPS or SVCB record, up to the first malformed parameter. (RFC
/// 9460, sections 2.2 and 7.3)
fn address_hints(data: &[u8]) -> Vec<IpAddr> {
    let mut hints = Vec::new();
    // After the priority, the target, which is not compressed.
    let target = data.split_at_checked(2).and_then(|(_, rest)| NameKey::split(rest));
    let mut params = target.and_then(|(_, rest)| rest.split_first()).map_or(&[][..], |(_, params)| params);
    while let Some(([key_high, key_low, len_high, len_low], rest)) = params.split_first_chunk() {
        let len = u16::from_be_bytes([*len_high, *len_low]);
        let Some((value, rest)) = rest.split_at_checked(len.into()) else { break };
        match u16::from_be_bytes([*key_high, *key_low]) {
            IPV4_HINT => hints.extend(value.as_chunks::<4>().0.iter().map(|&octets| IpAddr::from(octets))),
            IPV6_HINT => hints.extend(value.as_chunks::<16>().0.iter().map(|&octets| IpAddr::from(octets))),
            _ => {}
        }
        params = rest;
    }
    hints
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;

    use super::super::special::is_private;
    use super::super::testing::{a, name};
    use super::super::wire::opaque;
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

    /// RFC 9460, section 7.3: Clients connect to the hints of HTTPS and SVCB records.
    #[test]
    fn rfc9460_7_3_records_with_private_hints_are_removed() {
        let target = b"\0\x01\x03svc\x07example\0".as_slice();
        let alpn = b"\0\x01\0\x03\x02h2".as_slice();
        let public = [alpn, b"\0\x04\0\x04\xcb\0\x71\x07"].concat();
        let private: [Vec<u8>; 5] = [
            b"\0\x04\0\x04\x0a\0\0\x01".to_vec(),
            [alpn, b"\0\x04\0\x08\xcb\0\x71\x07\xc0\xa8\x01\x01"].concat(),
            [&public[..], b"\0\x06\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"].concat(),
            // In the wrong order, before a parameter that is cut off, and with an octet too many
            b"\0\x06\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x09h2".to_vec(),
            b"\0\x04\0\x05\x0a\0\0\x01\x0a".to_vec(),
        ];
        let shop = name("shop.example.");
        let passes = |record_type, data: &[u8]| {
            let record = Record::from_rdata(shop.clone(), 60, opaque(record_type, data.to_vec()));
            let mut answer = Answer::records(vec![record]);
            RebindingFilter::new(true, &[]).unwrap().filter(&shop, &mut answer, is_private);
            !answer.answers.is_empty()
        };
        for record_type in [RecordType::HTTPS, RecordType::SVCB] {
            for params in &private {
                assert!(!passes(record_type, &[target, params].concat()), "{params:?}");
                assert!(!passes(record_type, &[b"\0\x01\0", &params[..]].concat()), "{params:?}");
            }
            assert!(passes(record_type, &[target, &public].concat()));
            for len in 0..target.len() {
                assert!(passes(record_type, &target[..len]), "malformed");
            }
            assert!(passes(record_type, b"\0\x01\xc0\x0c"), "malformed");
        }
        assert!(passes(RecordType::from(65_400), &[target, &private[0]].concat()));
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
