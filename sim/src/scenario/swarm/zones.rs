//! Zones with servers of their own, questions in mixed case, and answers over shared connections.

use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;

use super::{Picker, World};
use crate::machine::internet::{DnsMood, OfficeZone, TcpManner, ZoneManner};
use crate::scenario::action::dns_of;
use crate::scenario::names::{Home, every_zone};
use crate::scenario::office::Office;

impl Picker {
    /// In a third of the offices a host looks up names in bursts: of zones on the LAN or on the internet, whose servers
    /// answer in different manners, and of the internet, partly in mixed case.
    pub(super) fn zones(&mut self, mut office: Office, world: &World) -> Office {
        if !self.rng.random_ratio(1, 3) {
            return office;
        }
        for zone in OfficeZone::ALL {
            if self.rng.random_ratio(2, 3) || !world.has_wan {
                let is_outside = world.has_wan && self.rng.random();
                let home = if is_outside { Home::Internet } else { Home::Lan(self.lan_port(world)) };
                let manner = ZoneManner {
                    keeps_case: self.rng.random(),
                    truncates: self.rng.random_ratio(2, 3),
                    over_tcp: self.pick_of(&TcpManner::ALL),
                };
                office = office.zone(zone, home, manner);
            }
        }
        if self.rng.random() {
            office = office.mixed_case();
        }
        if world.has_wan && self.rng.random() {
            let server = self.pick_of(&["resolver-0", "resolver-1", "resolvers"]);
            let mood = self.pick_of(&[DnsMood::LosingCase, DnsMood::ForgedInLowerCase]);
            office = office.at(Duration::ZERO, dns_of(server, mood));
        }
        let port = self.lan_port(world);
        office.looking_up(&port)
    }

    fn lan_port(&mut self, world: &World) -> String {
        format!("lan{}", self.rng.random_range(0..world.lan_ports))
    }
}

/// Names of every zone are answered after `since`.
pub(super) fn expect_zones(office: Office, since: Instant) -> Office {
    if !office.looks_up() {
        return office;
    }
    office.expect("names of every zone are answered since the faults ended", move |account| {
        every_zone(account, |asked| asked.last_answer_at.is_some_and(|at| at > since))
    })
}
