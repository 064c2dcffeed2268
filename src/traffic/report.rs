//! The report of `gatepost show traffic`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::history::{Amount, Span};
use crate::control::table::{Table, octets, or_dash};

/// `show traffic`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// What the gateway received and sent on the WAN.
    pub wan: Vec<SpanTraffic>,
    /// What each host of the LAN received and sent through the gateway, the one with the most octets of a day first.
    pub hosts: Vec<HostTraffic>,
    /// Whether all flows were read.
    pub is_complete: bool,
}

/// The amounts of a span of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanTraffic {
    /// `hour`, `day` or `month`.
    pub span: String,
    /// The seconds of a period.
    pub period_secs: u64,
    /// The periods, the latest last, which is not yet complete.
    pub periods: Vec<Octets>,
}

/// Octets and packets of two directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Octets {
    /// Octets received.
    pub received: u64,
    /// Octets sent.
    pub sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
}

/// The traffic of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTraffic {
    /// Its address.
    pub address: IpAddr,
    /// The name of its lease.
    pub name: Option<String>,
    /// The hardware address of its lease.
    pub mac: Option<String>,
    /// Of the last hour.
    pub hour: Octets,
    /// Of the last day.
    pub day: Octets,
    /// Of the last 31 days.
    pub month: Octets,
}

impl From<Amount> for Octets {
    fn from(amount: Amount) -> Self {
        Self {
            received: amount.octets_received,
            sent: amount.octets_sent,
            packets_received: amount.packets_received,
            packets_sent: amount.packets_sent,
        }
    }
}

impl SpanTraffic {
    /// The periods of `span`.
    pub fn new(span: Span, periods: Vec<Amount>) -> Self {
        let periods = periods.into_iter().map(Octets::from).collect();
        Self { span: span.name().to_owned(), period_secs: span.periods().0, periods }
    }

    /// Octets received and sent in the whole span.
    pub fn octets(&self) -> (u64, u64) {
        let sum = |of: fn(&Octets) -> u64| self.periods.iter().map(of).fold(0, u64::saturating_add);
        (sum(|period| period.received), sum(|period| period.sent))
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut wan = Table::new(["WAN", "received", "sent"]);
        for span in &self.wan {
            let (received, sent) = span.octets();
            wan.row([span.span.clone(), octets(received), octets(sent)]);
        }
        let mut hosts = Table::new([
            "address",
            "name",
            "hour received",
            "sent",
            "day received",
            "sent",
            "month received",
            "sent",
        ]);
        for host in &self.hosts {
            let HostTraffic { address, name, hour, day, month, .. } = host;
            hosts.row([
                address.to_string(),
                or_dash(name.as_ref()),
                octets(hour.received),
                octets(hour.sent),
                octets(day.received),
                octets(day.sent),
                octets(month.received),
                octets(month.sent),
            ]);
        }
        write!(f, "{wan}\n{hosts}")?;
        if !self.is_complete {
            writeln!(f, "there are more flows than are read: some octets of hosts are missing")?;
        }
        Ok(())
    }
}
