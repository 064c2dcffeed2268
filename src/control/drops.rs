//! The last drops, as `show drops --recent` and `watch drops` report them.

use std::fmt;

use gatepost_services::clock::WallTime;
use serde::{Deserialize, Serialize};

use super::table::or_dash;

/// A dropped frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentDrop {
    /// When the frame was dropped, in milliseconds since 1970.
    pub at_ms: u64,
    /// Milliseconds from the drop to the answer.
    pub age_ms: u64,
    /// The drop reason.
    pub reason: String,
    /// What the reason means.
    pub meaning: String,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
    /// Where the rule is written, as `FILE:LINE`.
    pub place: Option<String>,
    /// `lan` or `wan`; `null` for a packet of the gateway itself, or one that waited for a neighbour or a port.
    pub interface: Option<String>,
    /// The hardware address that the frame came from; `null` for a routed packet that could not be sent.
    pub mac: Option<String>,
    /// The protocol; `null` if the frame carries no IPv4 packet, or waited for a port.
    pub protocol: Option<String>,
    /// The source, with its port if the packet has ports, as its sender sent the packet.
    pub source: Option<String>,
    /// The destination, as the source.
    pub destination: Option<String>,
}

impl fmt::Display for RecentDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, reason, source, destination, interface, protocol, .. } = self;
        write!(f, "{}  {:4}", WallTime::text_of_millis(*at_ms), or_dash(interface.as_ref()))?;
        match (source, destination) {
            (Some(source), Some(destination)) => {
                write!(f, "  {:4} {source} > {destination}", or_dash(protocol.as_ref()))?;
            }
            _ => write!(f, "  a frame from {}", or_dash(self.mac.as_ref()))?,
        }
        write!(f, "  {reason}")?;
        match (&self.rule, &self.place) {
            (Some(rule), Some(place)) => write!(f, " by {rule} ({place})"),
            (Some(rule), None) => write!(f, " by {rule}"),
            _ => Ok(()),
        }
    }
}

/// `show drops --recent`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentDrops {
    /// Frames dropped since the gateway began to run.
    pub total: u64,
    /// The last of them, the oldest first.
    pub drops: Vec<RecentDrop>,
}

impl fmt::Display for RecentDrops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.drops.iter().try_for_each(|drop| writeln!(f, "{drop}"))?;
        let shown = self.drops.len() as u64;
        match self.total.saturating_sub(shown) {
            0 => writeln!(f, "{shown} in all"),
            before => writeln!(f, "{shown} shown; {before} before them are forgotten"),
        }
    }
}

/// What a watcher has seen: for each worker, the number of the next drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub Vec<u64>);

/// The drops since a watcher last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDrops {
    /// The drops, the oldest first.
    pub drops: Vec<RecentDrop>,
    /// The drops that were forgotten before the watcher asked.
    pub missed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_has_the_time_of_day() {
        let drop = RecentDrop {
            at_ms: 951_782_400_007,
            reason: "no-route".to_owned(),
            interface: Some("lan".to_owned()),
            protocol: Some("icmp".to_owned()),
            source: Some("192.168.1.2".to_owned()),
            destination: Some("192.0.2.1".to_owned()),
            ..RecentDrop::default()
        };
        let expected = "2000-02-29T00:00:00.007Z  lan   icmp 192.168.1.2 > 192.0.2.1  no-route";
        assert_eq!(drop.to_string(), expected);
    }
}
