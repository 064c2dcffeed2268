//! Names are true: what the gateway answers the LAN is right at that moment, for leases and for the internet.

use std::time::Duration;

use gatepost::config::Config;
use gatepost_dataplane::Instant;
use gatepost_dataplane::config::Segment;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

use super::observed_leases::ObservedLeases;
use super::{Checker, Passage, Way};
use crate::machine::internet::address_of;

const DNS_PORT: u16 = 53;
/// A lease ends for the gateway a little before it ends for who saw its acknowledgement leave.
const LEASE_END_GRACE: Duration = Duration::from_secs(2);

/// Compares every answer with the leases it has seen, and with what the internet knows.
pub struct NamesTrue {
    leases: ObservedLeases,
    /// With a dot before and after.
    domain: String,
}

impl NamesTrue {
    /// For the domain of `config`.
    pub fn new(config: &Config) -> Self {
        Self { leases: ObservedLeases::of_config(config), domain: format!(".{}.", config.system.domain) }
    }

    fn check(&self, answer: &Message, now: Instant) -> Result<(), String> {
        let Some(query) = answer.queries.first().filter(|query| query.query_type() == RecordType::A) else {
            return Ok(());
        };
        let name = query.name().to_ascii().to_lowercase();
        let told = answer.answers.iter().find_map(|record| match &record.data {
            RData::A(a) => Some(a.0),
            _ => None,
        });
        if let Some(label) = name.strip_suffix(&self.domain).filter(|label| is_machine(label)) {
            let (known, until) = match self.leases.address_of(label) {
                Some((address, until)) if until > now => (Some(address), until),
                Some((_, until)) => (None, until),
                None => (None, Instant::ZERO),
            };
            let is_about_to_end = until.since(now).max(now.since(until)) < LEASE_END_GRACE;
            let says =
                matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
            if says && told != known && !is_about_to_end {
                return Err(format!("{name} is {told:?} for the gateway, and {known:?} by the leases"));
            }
        } else if let Some(told) = told
            && name.starts_with("site-")
            && address_of(&name) != Some(told)
        {
            return Err(format!("{name} is {told} for the gateway, and {:?} in truth", address_of(&name)));
        }
        Ok(())
    }
}

/// Whether a name of the office's belongs to a machine, which has it with its lease.
fn is_machine(label: &str) -> bool {
    label.starts_with("pc-") || label == "printer"
}

impl Checker for NamesTrue {
    fn name(&self) -> &'static str {
        "names-true"
    }

    fn promise(&self) -> &'static str {
        "the name of a PC is its lease's address while that lasts and nothing after, and no forgery passes"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        self.leases.observe(passage);
        match passage.packet.udp() {
            Some((_, DNS_PORT, _, payload)) if (passage.way, passage.side) == (Way::Out, Segment::Lan) => {
                let answer = Message::from_vec(payload).ok();
                let answer = answer.filter(|answer| answer.metadata.message_type == MessageType::Response);
                answer.map_or(Ok(()), |answer| self.check(&answer, passage.now))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::Encodable;
    use dhcproto::v4::{self, DhcpOption};
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, Record};

    use super::*;
    use crate::checkers::testing::{config, ip, packet, passage, udp};

    const PC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn dhcp(kind: v4::MessageType, edit: impl FnOnce(&mut v4::Message)) -> Vec<u8> {
        let mut message = v4::Message::default();
        message.set_chaddr(&PC);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        edit(&mut message);
        message.to_vec().unwrap()
    }

    /// A checker that has seen `pc-9` get 192.168.1.9 for a minute, at 0 s.
    fn having_leased() -> NamesTrue {
        let mut checker = NamesTrue::new(&config());
        let request = dhcp(v4::MessageType::Request, |message| {
            message.opts_mut().insert(DhcpOption::Hostname("PC-9".to_owned()));
        });
        let acknowledgement = dhcp(v4::MessageType::Ack, |message| {
            message.set_yiaddr(ip("192.168.1.9"));
            message.opts_mut().insert(DhcpOption::AddressLeaseTime(60));
        });
        let request = packet("0.0.0.0", "255.255.255.255", udp(68, 67, request));
        let acknowledgement = packet("192.168.1.1", "255.255.255.255", udp(67, 68, acknowledgement));
        checker.on_passage(&passage(0, Way::In, Segment::Lan, &request)).unwrap();
        checker.on_passage(&passage(0, Way::Out, Segment::Lan, &acknowledgement)).unwrap();
        checker
    }

    /// Whether the checker tells of an answer to the LAN.
    fn told(checker: &mut NamesTrue, secs: u64, name: &str, address: Option<&str>) -> bool {
        let name = Name::from_ascii(name).unwrap();
        let mut answer = Message::new(1, MessageType::Response, OpCode::Query);
        answer.add_query(Query::query(name.clone(), RecordType::A));
        match address {
            Some(address) => {
                answer.add_answer(Record::from_rdata(name, 60, RData::A(A(ip(address)))));
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        let answer = packet("192.168.1.1", "192.168.1.8", udp(53, 1_000, answer.to_vec().unwrap()));
        checker.on_passage(&passage(secs, Way::Out, Segment::Lan, &answer)).is_err()
    }

    #[test]
    fn a_pc_is_where_its_lease_says_and_nowhere_after() {
        let mut checker = having_leased();
        let mut told = |secs, address| told(&mut checker, secs, "pc-9.office.example.", address);
        assert!(!told(30, Some("192.168.1.9")));
        assert!(told(30, Some("192.168.1.8")));
        assert!(told(30, None));
        assert!(!told(70, None));
        assert!(told(70, Some("192.168.1.9")));
    }

    #[test]
    fn a_forged_site_is_told() {
        let mut checker = NamesTrue::new(&config());
        assert!(!told(&mut checker, 0, "site-0.example.", Some("198.51.100.80")));
        assert!(told(&mut checker, 0, "site-0.example.", Some("198.51.100.66")));
    }
}
