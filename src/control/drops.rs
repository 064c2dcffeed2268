//! The last drops, as `show drops --recent` and `watch drops` report them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::or_dash;

/// A dropped frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentDrop {
    /// Milliseconds since the drop.
    pub age_ms: u64,
    /// The drop reason.
    pub reason: String,
    /// What the reason means.
    pub meaning: String,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
    /// Where the rule is written, as `FILE:LINE`.
    pub place: Option<String>,
    /// `lan` or `wan`; `null` for a packet of the gateway itself, or one that waited for a neighbour.
    pub interface: Option<String>,
    /// The hardware address that the frame came from.
    pub mac: Option<String>,
    /// The protocol; `null` if the frame carries no IPv4 packet.
    pub protocol: Option<String>,
    /// The source with its port, as its sender sent the packet.
    pub source: Option<String>,
    /// The destination with its port.
    pub destination: Option<String>,
}

impl fmt::Display for RecentDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { age_ms, reason, source, destination, interface, protocol, .. } = self;
        let secs = format!("{}.{:03}", age_ms / 1000, age_ms % 1000);
        write!(f, "{secs:>10} s ago  {:4}", or_dash(interface.as_ref()))?;
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
