//! The last drops of all workers.

use gatepost_dataplane::drop_log::{DROPS_MAX, Drop, DroppedPacket, DropsPart};
use gatepost_dataplane::explain::Rule;
use gatepost_dataplane::key::Endpoint;
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use gatepost_services::clock::WallTime;

use super::events::WATCHED_MAX;
use super::inspector::Inspector;
use super::query::Query;
use super::requests::RequestError;
use crate::config::{Config, Decisive};
use crate::control::ReportError;
use crate::control::drops::{Cursor, NewDrops, RecentDrop, RecentDrops};

impl Inspector {
    /// The last drops that the workers remember.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn recent_drops(&self) -> Result<RecentDrops, ReportError> {
        let parts = self.drops_from(&Cursor::default(), DROPS_MAX).await?;
        let total = parts.iter().map(|part| part.first + part.drops.len() as u64).sum();
        Ok(RecentDrops { total, drops: self.report_drops(&parts) })
    }

    /// A cursor behind the last drop.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn drops_end(&self) -> Result<Cursor, ReportError> {
        let parts = self.drops_from(&Cursor(vec![u64::MAX; self.workers()]), 0).await?;
        Ok(Cursor(parts.iter().map(|part| part.first).collect()))
    }

    /// The drops since `cursor`, which moves on. A part of them, if there are many: the next call returns the others.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn new_drops(&self, cursor: &mut Cursor) -> Result<NewDrops, ReportError> {
        let parts = self.drops_from(cursor, WATCHED_MAX).await?;
        let missed = parts.iter().zip(&cursor.0).map(|(part, next)| part.first.saturating_sub(*next)).sum();
        *cursor = Cursor(parts.iter().map(|part| part.first + part.drops.len() as u64).collect());
        Ok(NewDrops { drops: self.report_drops(&parts), missed })
    }

    /// The parts of all workers' logs, in the order of the workers.
    async fn drops_from(&self, cursor: &Cursor, count_max: usize) -> Result<Vec<DropsPart>, RequestError> {
        let query = |worker, reply| Query::Drops {
            from: cursor.0.get(worker).copied().unwrap_or(0),
            count_max,
            reply,
        };
        Ok(self.requests.put_each(query).await?.by_worker)
    }

    fn report_drops(&self, parts: &[DropsPart]) -> Vec<RecentDrop> {
        let mut drops: Vec<_> = parts.iter().flat_map(|part| &part.drops).collect();
        drops.sort_by_key(|drop| drop.at);
        let (config, now, wall_time) = (self.config(), self.clock.now(), self.clock.wall_time());
        drops.into_iter().map(|drop| report(drop, &config, now, wall_time)).collect()
    }
}

/// The report of a drop at `now`, which is `wall_time` by the clock of the day.
fn report(drop: &Drop, config: &Config, now: Instant, wall_time: WallTime) -> RecentDrop {
    let rule = drop.rule.map(|rule| describe(rule, config));
    let age_ms = now.since(drop.at).as_millis().try_into().unwrap_or(u64::MAX);
    let shown = |end: fn(&DroppedPacket) -> Endpoint| {
        drop.packet.map(|packet| match packet {
            // A further fragment has no ports.
            DroppedPacket {
                source: Endpoint { port: 0, .. }, destination: Endpoint { port: 0, .. }, ..
            } => end(&packet).address.to_string(),
            _ => shown(packet.protocol, end(&packet)),
        })
    };
    RecentDrop {
        at_ms: wall_time.millis().saturating_sub(age_ms),
        age_ms,
        reason: drop.reason.name().to_owned(),
        meaning: drop.reason.meaning().to_owned(),
        place: rule.as_ref().and_then(|rule| rule.place.clone()),
        rule: rule.map(|rule| rule.name),
        interface: drop.interface.map(|id| Config::interface_name(id).to_owned()),
        mac: drop.station.map(|mac| mac.to_string()),
        protocol: drop.packet.map(|packet| packet.protocol.to_string().to_lowercase()),
        source: shown(|packet| packet.source),
        destination: shown(|packet| packet.destination),
    }
}

/// An end of a packet; only TCP and UDP have ports.
pub(super) fn shown(protocol: Protocol, end: Endpoint) -> String {
    let has_port = matches!(protocol, Protocol::TCP | Protocol::UDP);
    if has_port { end.to_string() } else { end.address.to_string() }
}

/// A rule of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedRule {
    /// Its name, in words.
    pub name: String,
    /// Where it is written, as `FILE:LINE`; `None` if it is not.
    pub place: Option<String>,
}

/// The name and the place of a rule of the dataplane that `config` has become.
pub(super) fn describe(rule: Rule, config: &Config) -> NamedRule {
    let place = |setting| config.places.of(setting);
    let (name, place) = match rule {
        Rule::Mode => (format!("mode \"{}\"", config.mode.name()), place(Decisive::Mode)),
        Rule::Service(index) => {
            let kinds = config.wan_services();
            let mut rules =
                kinds.flat_map(|kind| config.services.ports_of(kind).into_iter().map(move |_| kind));
            let kind = rules.nth(index.into());
            let setting = match kind {
                Some(kind) if config.access.to(kind.name).is_some() => Decisive::Access(kind.name),
                _ => Decisive::WanServices,
            };
            (format!("the service {}", kind.map_or("", |kind| kind.name)), place(setting))
        }
        Rule::Forward(index) => {
            let forwards = config.firewall.forwards.iter().enumerate();
            let mut rules =
                forwards.flat_map(|(at, forward)| forward.rules.iter().map(move |_| (at, forward)));
            match rules.nth(index.into()) {
                Some((at, forward)) => {
                    (format!("the forward \"{}\"", forward.name), place(Decisive::Forward(at)))
                }
                None => ("a forward".to_owned(), None),
            }
        }
        Rule::Mapping => ("the mapping or pinhole of a LAN host".to_owned(), None),
        Rule::DefaultHost => ("the default host".to_owned(), place(Decisive::DmzHost)),
        Rule::Stealth => (format!("stealth {}", config.firewall.stealth), place(Decisive::Stealth)),
        Rule::Nothing => ("nothing has this port".to_owned(), None),
    };
    NamedRule { name, place }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use gatepost_dataplane::DropReason;
    use gatepost_services::clock::UnixTime;

    use super::*;

    #[test]
    fn a_drop_has_its_time_of_day_and_only_the_ports_that_it_has() {
        let reported = |protocol, port| {
            let end = |host, port| Endpoint::new(Ipv4Addr::new(192, 0, 2, host), port);
            let packet = DroppedPacket { protocol, source: end(1, port), destination: end(2, port) };
            let drop = Drop {
                at: Instant::from_secs(7),
                reason: DropReason::Martian,
                rule: None,
                interface: None,
                station: None,
                packet: Some(packet),
            };
            let wall_time = WallTime { secs: UnixTime(1_000), nanos: 500_000_000 };
            report(&drop, &Config::default(), Instant::from_secs(9), wall_time)
        };
        for (protocol, port, source, destination) in [
            (Protocol::UDP, 53, "192.0.2.1:53", "192.0.2.2:53"),
            (Protocol::UDP, 0, "192.0.2.1", "192.0.2.2"),
            (Protocol::ICMP, 0, "192.0.2.1", "192.0.2.2"),
            (Protocol(47), 0, "192.0.2.1", "192.0.2.2"),
        ] {
            let drop = reported(protocol, port);
            assert_eq!(
                (drop.source.as_deref(), drop.destination.as_deref()),
                (Some(source), Some(destination))
            );
            assert_eq!((drop.at_ms, drop.age_ms), (998_500, 2_000));
        }
    }
}
