//! The zones that have servers of their own: those of a configuration, and whether an answer about one is true.

use std::net::{IpAddr, Ipv4Addr};

use gatepost::config::{Config, RecordValue};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{STALE_TTL_SECS_MAX, says};
use crate::machine::internet::OfficeZone;

/// The zones of a configuration.
pub struct Zones(Vec<(OfficeZone, Vec<Ipv4Addr>)>);

impl Zones {
    /// Those of `config`, each with the addresses of its servers.
    pub fn of_config(config: &Config) -> Self {
        let dns = &config.services.dns;
        // A name is relative to the domain unless it ends with a dot.
        let absolute = |text: &str| match text.strip_suffix('.') {
            Some(_) => text.to_owned(),
            None => format!("{text}.{}.", config.system.domain),
        };
        let servers_of = |zone: OfficeZone| {
            let mut servers = Vec::new();
            for forward in dns.forwards.iter().filter(|it| zone.apex().strip_suffix('.') == Some(&it.zone)) {
                servers.extend(&forward.servers);
            }
            for record in dns.records.iter().filter(|record| absolute(&record.name) == zone.apex()) {
                let RecordValue::NameServer(server) = &record.value else { continue };
                let server = absolute(server);
                let glue = dns.records.iter().filter(|record| absolute(&record.name) == server);
                servers.extend(glue.filter_map(|record| match record.value {
                    RecordValue::Address(IpAddr::V4(address)) => Some(address),
                    _ => None,
                }));
            }
            servers
        };
        let zones = OfficeZone::ALL.map(|zone| (zone, servers_of(zone)));
        Self(zones.into_iter().filter(|(_, servers)| !servers.is_empty()).collect())
    }

    /// The zone of `name`, if the configuration has it.
    pub fn of(&self, name: &Name) -> Option<OfficeZone> {
        self.0.iter().map(|(zone, _)| *zone).find(|zone| zone.contains(name))
    }

    /// A query to an upstream server goes to a server of its name's zone, and no other query does.
    pub fn check_query(&self, name: &Name, server: Ipv4Addr) -> Result<(), String> {
        match self.0.iter().find(|(zone, servers)| zone.contains(name) != servers.contains(&server)) {
            Some((zone, _)) if zone.contains(name) => {
                Err(format!("{server} is asked for {name}, and is no server of {}", zone.apex()))
            }
            Some((zone, _)) => Err(format!("{server} is asked for {name}, and serves {} only", zone.apex())),
            None => Ok(()),
        }
    }
}

/// An answer for `asked`, a name of `zone`, is what the zone's servers say.
pub fn check(zone: OfficeZone, asked: &Name, kind: RecordType, answer: &Message) -> Result<(), String> {
    if !says(answer) {
        return Ok(());
    }
    for record in &answer.answers {
        let is_true = |own: &Record| own.data == record.data && record.ttl <= own.ttl.max(STALE_TTL_SECS_MAX);
        if !zone.records(&record.name, record.record_type()).any(is_true) {
            return Err(format!("{record} is told, and {} does not say so", zone.apex()));
        }
    }
    let alias = answer.answers.iter().rev().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(&target.0),
        _ => None,
    });
    let name = alias.unwrap_or(asked);
    let is_denied = match answer.metadata.response_code {
        ResponseCode::NXDomain => zone.exists(name),
        _ => {
            let is_told = answer.answers.iter().any(|record| record.record_type() == kind);
            let has = |kind| zone.records(name, kind).next().is_some();
            !is_told && (has(kind) || has(RecordType::CNAME))
        }
    };
    let is_invented = answer.metadata.response_code == ResponseCode::NoError && !zone.exists(name);
    match (is_denied, is_invented) {
        (true, _) => Err(format!("{name} {kind} is denied, and {} has it", zone.apex())),
        (_, true) => Err(format!("{name} is told to exist, and {} does not have it", zone.apex())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::A;

    use super::*;

    const TEXT: &str = "
        [lan]
        ports = [{ tap = 'lan0' }]
        [wan]
        ports = [{ tap = 'wan' }]
        address = 'dhcp'
        [[dns.forward]]
        zone = 'corp.example'
        servers = ['198.18.61.1']
        [[dns.records]]
        name = 'lab'
        type = 'NS'
        value = 'ns.lab'
        [[dns.records]]
        name = 'ns.lab'
        type = 'A'
        value = '192.168.1.200'
        [system]
        domain = 'office.example'
    ";

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn zones() -> Zones {
        Zones::of_config(&Config::parse("a test", TEXT).unwrap())
    }

    #[test]
    fn a_query_goes_to_a_server_of_its_zone_and_no_other_query_does() {
        let zones = zones();
        for (asked, server, is_right) in [
            ("HOST-1.corp.example.", "198.18.61.1", true),
            ("host-1.corp.example.", "198.18.53.1", false),
            ("host-1.corp.example.", "192.168.1.200", false),
            ("host-1.lab.office.example.", "192.168.1.200", true),
            ("host-1.lab.office.example.", "198.18.53.1", false),
            ("site-0.example.", "198.18.53.1", true),
            ("site-0.example.", "198.18.61.1", false),
        ] {
            let checked = zones.check_query(&name(asked), server.parse().unwrap());
            assert_eq!(checked.is_ok(), is_right, "{asked} {server}");
        }
        assert!(Zones::of_config(&Config::default()).of(&name("host-1.corp.example.")).is_none());
    }

    #[test]
    fn an_answer_is_what_the_zone_says() {
        let told = |asked: &str, code, address: Option<[u8; 4]>| {
            let (asked, kind) = (name(asked), RecordType::A);
            let mut answer = Message::new(7, MessageType::Response, OpCode::Query);
            answer.add_query(Query::query(asked.clone(), kind));
            answer.metadata.response_code = code;
            let record = |address: [u8; 4]| Record::from_rdata(asked.clone(), 5, RData::A(A(address.into())));
            answer.add_answers(address.map(record));
            check(zones().of(&asked).unwrap(), &asked, kind, &answer).is_ok()
        };
        let (found, denied) = (ResponseCode::NoError, ResponseCode::NXDomain);
        assert!(told("host-3.corp.example.", found, Some([10, 66, 2, 3])));
        assert!(!told("host-3.corp.example.", found, Some([10, 66, 1, 3])), "the other zone's");
        assert!(!told("host-3.corp.example.", found, None), "filtered");
        assert!(!told("host-3.corp.example.", denied, None));
        assert!(told("host-3.corp.example.", ResponseCode::ServFail, None));
        assert!(told("host-3.lab.office.example.", found, Some([10, 66, 1, 3])));
        assert!(told("deep.corp.example.", found, None) && !told("deep.corp.example.", denied, None));
        assert!(told("nobody.corp.example.", denied, None) && !told("nobody.corp.example.", found, None));
        assert!(!told("alias.corp.example.", found, None));
    }
}
