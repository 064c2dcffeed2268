//! The reports of `show zone`, `show cache` and `show dns`.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::table::{Table, counted, more, on_one_line, or_dash, span};

/// `show zone`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The apexes of the local zones.
    pub zones: Vec<String>,
    /// The number of records.
    pub total: usize,
    /// The records by owner, up to [`Zone::SHOWN_MAX`].
    pub records: Vec<LocalRecord>,
}

impl Zone {
    /// The most records in a report: those of the hosts of a /20, with their reverse names.
    pub const SHOWN_MAX: usize = 10_000;
}

/// A record of the local zones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRecord {
    /// The owner, with a trailing dot.
    pub name: String,
    /// The TTL in seconds.
    pub ttl_secs: u32,
    /// The type, such as `A`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The data in presentation format. (RFC 1035, section 5.1)
    pub data: String,
    /// `configuration` for built-in names and configured records, `service` for what a service publishes, or `host` for
    /// leases and reservations.
    pub origin: String,
}

/// `show cache`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The number of cached answers.
    pub total: usize,
    /// The number of their records.
    pub total_records: usize,
    /// The answers by name, up to [`Cache::SHOWN_MAX`].
    pub answers: Vec<CachedAnswer>,
}

impl Cache {
    /// The most answers in a report.
    pub const SHOWN_MAX: usize = 10_000;
}

/// A cached answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedAnswer {
    /// The name that was queried, with a trailing dot.
    pub name: String,
    /// The type that was queried; `null` if the name does not exist, whatever the type.
    #[serde(rename = "type")]
    pub record_type: Option<String>,
    /// The response code, such as `No Error`.
    pub code: String,
    /// The number of records in the answer; 0 for a denial.
    pub records: usize,
    /// Seconds until it expires; 0 if it has expired: a stale answer is served only if no upstream server answers in time,
    /// and a stale failure never.
    pub expires_in_secs: u64,
}

/// `show dns`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// The upstream servers in the order of preference, and then those of the forwarded zones.
    pub servers: Vec<Server>,
    /// The number of cached answers.
    pub cached_answers: usize,
    /// The number of records of the local zones.
    pub local_records: usize,
}

/// A server that the gateway queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its address and port.
    pub address: SocketAddr,
    /// The forwarded zone whose server it is; `null` for an upstream server.
    pub zone: Option<String>,
    /// `up`; `down` for a while after it has timed out or failed: then it is queried last.
    pub state: String,
    /// Seconds until it is queried in its turn again; 0 while it is up.
    pub down_for_secs: u64,
    /// `supported`, `avoided` as it answers only without EDNS, or `unknown`.
    pub edns: String,
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["name", "ttl", "type", "data", "origin"]);
        for record in &self.records {
            table.row([
                on_one_line(&record.name),
                record.ttl_secs.to_string(),
                record.record_type.clone(),
                on_one_line(&record.data),
                record.origin.clone(),
            ]);
        }
        write!(f, "{table}")?;
        more(f, self.total, self.records.len())
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["name", "type", "code", "records", "expires in"]);
        for answer in &self.answers {
            let expires = (answer.expires_in_secs > 0).then(|| span(answer.expires_in_secs));
            table.row([
                on_one_line(&answer.name),
                or_dash(answer.record_type.as_ref()),
                answer.code.clone(),
                answer.records.to_string(),
                expires.unwrap_or_else(|| "expired".to_owned()),
            ]);
        }
        write!(f, "{table}")?;
        more(f, self.total, self.answers.len())
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["server", "zone", "state", "edns"]);
        for server in &self.servers {
            let state = match server.down_for_secs {
                0 => server.state.clone(),
                secs => format!("{}, for {}", server.state, span(secs)),
            };
            table.row([
                server.address.to_string(),
                or_dash(server.zone.as_ref()),
                state,
                server.edns.clone(),
            ]);
        }
        let cached = counted(self.cached_answers, "cached answer", "cached answers");
        writeln!(f, "{table}{cached}, {}", counted(self.local_records, "local record", "local records"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let record = LocalRecord {
            name: "pc1.office.example.".to_owned(),
            ttl_secs: 0,
            record_type: "A".to_owned(),
            data: "192.168.1.50".to_owned(),
            origin: "host".to_owned(),
        };
        let zone = Zone { zones: Vec::new(), total: 3, records: vec![record] };
        let expected =
            [vec!["pc1.office.example.", "0", "A", "192.168.1.50", "host"], vec!["and", "2", "more"]];
        assert_eq!(words(&zone.to_string())[1..], expected);
    }

    #[test]
    fn a_denied_name_has_no_type_and_an_expired_answer_says_so() {
        let answer = CachedAnswer {
            name: "gone.example.".to_owned(),
            record_type: None,
            code: "NXDomain".to_owned(),
            records: 0,
            expires_in_secs: 0,
        };
        let cache = Cache { total: 1, total_records: 1, answers: vec![answer] };
        assert_eq!(words(&cache.to_string())[1..], [vec!["gone.example.", "-", "NXDomain", "0", "expired"]]);
    }

    #[test]
    fn a_server_that_is_down_says_for_how_long() {
        let server = Server {
            address: "203.0.113.53:53".parse().expect("an address"),
            zone: Some("corp.local".to_owned()),
            state: "down".to_owned(),
            down_for_secs: 12,
            edns: "unknown".to_owned(),
        };
        let text = Servers { servers: vec![server], cached_answers: 1, local_records: 2 }.to_string();
        assert_eq!(words(&text)[1], ["203.0.113.53:53", "corp.local", "down,", "for", "12s", "unknown"]);
        assert!(text.ends_with("1 cached answer, 2 local records\n"), "{text}");
    }
}
