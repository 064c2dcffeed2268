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
    /// Whether the gateway always knows which leases last.
    knows_leases: bool,
    /// With a dot before and after.
    domain: String,
}

impl NamesTrue {
    /// For the domain of `config`. The names of PCs are compared if the gateway `knows_leases`.
    pub fn new(config: &Config, knows_leases: bool) -> Self {
        Self {
            leases: ObservedLeases::default(),
            knows_leases,
            domain: format!(".{}.", config.system.domain),
        }
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
        if let Some(label) = name.strip_suffix(&self.domain).filter(|label| label.starts_with("pc-")) {
            let (known, until) = match self.leases.address_of(label) {
                Some((address, until)) if until > now => (Some(address), until),
                Some((_, until)) => (None, until),
                None => (None, Instant::ZERO),
            };
            let is_about_to_end = until.since(now).max(now.since(until)) < LEASE_END_GRACE;
            // It is on disk before it is acknowledged, and the power can fail between the two.
            let is_asked_for = told.is_some() && told == self.leases.asked_for(label);
            let says =
                matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
            if self.knows_leases && says && told != known && !is_asked_for && !is_about_to_end {
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
