//! Packets that are inside the gateway: found again by their content.

use std::collections::{BTreeMap, VecDeque};

use gatepost_ground::Instant;

use super::{Endpoint, Kind, WAIT_MAX};

/// A packet inside the gateway.
pub struct Waiting {
    pub kind: Kind,
    pub content: u64,
    pub inside: Endpoint,
    pub remote: Endpoint,
    pub at: Instant,
    /// What it belongs to may have ended to make room for others.
    pub gives_way: bool,
}

/// Those that have come within [`WAIT_MAX`].
#[derive(Default)]
pub struct UnderWay {
    by_content: BTreeMap<(Kind, u64), Vec<Waiting>>,
    /// When they came, the earliest first.
    order: VecDeque<(Instant, (Kind, u64))>,
}

impl UnderWay {
    /// Takes one in, and forgets those that came too long before it.
    pub fn push(&mut self, packet: Waiting) {
        let now = packet.at;
        while let Some((at, content)) = self.order.pop_front_if(|(at, _)| *at + WAIT_MAX < now) {
            if let Some(alike) = self.by_content.get_mut(&content) {
                alike.retain(|other| other.at > at);
                if alike.is_empty() {
                    self.by_content.remove(&content);
                }
            }
        }
        let content = (packet.kind, packet.content);
        self.order.push_back((now, content));
        self.by_content.entry(content).or_default().push(packet);
    }

    /// Those with this content.
    pub fn alike(&self, kind: Kind, content: u64) -> impl Iterator<Item = &Waiting> {
        self.by_content.get(&(kind, content)).into_iter().flatten()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
