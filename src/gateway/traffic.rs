//! Reads the counters of ports and flows for the history of traffic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::time::sleep;

use super::inspector::Inspector;
use super::query::{CountersAnswer, Query};
use super::requests::RequestError;
use crate::config::Config;
use crate::control::ReportError;
use crate::traffic::SAMPLED_EVERY;
use crate::traffic::flows::{FLOWS_MAX, PART_FLOWS, Readings};
use crate::traffic::history::{Amount, History, Span};
use crate::traffic::report::{HostTraffic, SpanTraffic, Traffic};

/// How often the ports' counters are read while somebody watches the WAN.
pub const LIVE_EVERY: Duration = Duration::from_secs(2);

/// What is known about the gateway's traffic.
#[derive(Debug, Default)]
pub(super) struct Meter {
    history: History,
    /// When the WAN's ports were read last, and what they counted then.
    wan: Option<(Instant, Amount)>,
    live: Option<Live>,
    /// Whether there are more flows than are read.
    has_more: bool,
}

/// The WAN, as those see it who watch it.
#[derive(Clone, Copy, Debug)]
struct Live {
    read: Instant,
    amount: Amount,
    rate: Rate,
}

/// Octets a second over the WAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

impl Inspector {
    /// Reads the counters for ever.
    pub(super) async fn read_traffic(self: Rc<Self>) {
        let mut readings = Readings::default();
        loop {
            sleep(SAMPLED_EVERY).await;
            // If too many ask, the next reading has what this one leaves out.
            _ = self.read_wan().await;
            _ = self.read_flows(&mut readings).await;
        }
    }

    async fn read_wan(&self) -> Result<(), RequestError> {
        let amount = self.wan_amount().await?;
        let (now, secs) = (self.clock.now(), self.traffic_secs());
        let mut meter = self.traffic.borrow_mut();
        let before = meter.wan.replace((now, amount)).map_or(Amount::default(), |(_, amount)| amount);
        meter.history.add_wan(secs, amount.since(before));
        Ok(())
    }

    /// Reads the flows, a part at a time.
    async fn read_flows(&self, readings: &mut Readings) -> Result<(), RequestError> {
        let mut amounts: BTreeMap<IpAddr, Amount> = BTreeMap::new();
        let (mut from, mut end) = (0, 1);
        while from < end.min(FLOWS_MAX) {
            let query = |reply| Query::FlowsFrom { from, count_max: PART_FLOWS, reply };
            let part = self.requests.put(query).await?;
            for flow in &part.flows {
                if let Some((host, amount)) = readings.read(flow, |address| self.is_host(address)) {
                    *amounts.entry(host).or_default() += amount;
                }
            }
            (from, end) = (from + PART_FLOWS, part.end);
        }
        readings.end();
        let secs = self.traffic_secs();
        let mut meter = self.traffic.borrow_mut();
        meter.has_more = end > FLOWS_MAX;
        for (host, amount) in amounts.into_iter().filter(|(_, amount)| *amount != Amount::default()) {
            meter.history.add(secs, host, amount);
        }
        Ok(())
    }

    /// What the ports on the WAN have counted.
    async fn wan_amount(&self) -> Result<Amount, RequestError> {
        let CountersAnswer { ports, .. } = self.requests.put(Query::Counters).await?;
        let config = self.config();
        let of_wan = config.ports().zip(ports).filter(|((interface, _), _)| *interface == Config::WAN);
        let mut sum = Amount::default();
        for (_, port) in of_wan {
            sum += Amount {
                octets_received: port.counters.octets_received,
                octets_sent: port.counters.octets_transmitted,
                packets_received: port.counters.received,
                packets_sent: port.counters.transmitted,
            };
        }
        Ok(sum)
    }

    /// The rate over the WAN now. However many ask, the counters are read once in [`LIVE_EVERY`].
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub(crate) async fn wan_rate(&self) -> Result<Rate, ReportError> {
        let now = self.clock.now();
        let before = {
            let mut meter = self.traffic.borrow_mut();
            let (read, amount) = meter.wan.unwrap_or((self.began, Amount::default()));
            let of_history = Live { read, amount, rate: Rate::default() };
            let recent = meter.live.filter(|live| now.since(live.read) < SAMPLED_EVERY);
            if let Some(live) = recent.filter(|live| now.since(live.read) < LIVE_EVERY) {
                return Ok(live.rate);
            }
            let before = recent.unwrap_or(of_history);
            // Whoever asks while this reads gets the rate of before.
            meter.live = Some(Live { read: now, ..before });
            before
        };
        let amount = self.wan_amount().await?;
        let news = amount.since(before.amount);
        let millis = now.since(before.read).as_millis().max(1);
        let rate = |octets: u64| u64::try_from(u128::from(octets) * 1000 / millis).unwrap_or(u64::MAX);
        let rate = Rate { received: rate(news.octets_received), sent: rate(news.octets_sent) };
        self.traffic.borrow_mut().live = Some(Live { read: now, amount, rate });
        Ok(rate)
    }

    /// `show traffic`.
    pub(crate) fn traffic(&self) -> Traffic {
        let secs = self.traffic_secs();
        let leases = self.current.borrow().lan_hosts.leases();
        let meter = self.traffic.borrow();
        let mut hosts: Vec<_> = meter
            .history
            .hosts()
            .map(|(address, series)| {
                let lease = leases.iter().find(|lease| IpAddr::V4(lease.address) == address);
                let day = series.sum(Span::Day, secs);
                let host = HostTraffic {
                    address,
                    name: lease.and_then(|lease| lease.hostname.clone()),
                    mac: lease.map(|lease| lease.mac.to_string()),
                    hour: series.sum(Span::Hour, secs).into(),
                    day: day.into(),
                    month: series.sum(Span::Month, secs).into(),
                };
                (day.octets(), host)
            })
            .collect();
        hosts.sort_by_key(|(octets, host)| (std::cmp::Reverse(*octets), host.address));
        let spans = Span::ALL.map(|span| SpanTraffic::new(span, meter.history.wan.until(span, secs)));
        Traffic {
            wan: spans.into(),
            hosts: hosts.into_iter().map(|(_, host)| host).collect(),
            is_complete: !meter.has_more,
        }
    }

    /// The seconds by which the history goes: those since the gateway began.
    fn traffic_secs(&self) -> u64 {
        self.clock.now().since(self.began).as_secs()
    }
}

/// The state that [`Inspector`] has of traffic, shared by its clones.
pub(super) type SharedMeter = Rc<RefCell<Meter>>;
