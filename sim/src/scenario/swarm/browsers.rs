//! Browsers that use the administration.

use ipnet::Ipv4Net;
use rand::RngExt;

use super::Picker;
use crate::scenario::catalog::administrator::NEAR;
use crate::scenario::office::{DEFAULT_LAN, Office};

impl Picker {
    /// In some offices without mail one or two browsers, which know the addresses that an administrator may try. A
    /// gateway with a wrong time has a certificate that browsers do not believe.
    pub(super) fn browsers(&mut self, office: Office) -> Office {
        let is_picked = self.rng.random_ratio(1, 6) && office.mail.is_none() && !office.is_disbelieved();
        let count = self.rng.random_range(1..=2);
        // Of another network there is one address alone.
        if !is_picked || office.lan != DEFAULT_LAN {
            return office;
        }
        let [near, large, first] = NEAR.map(|text| text.parse::<Ipv4Net>().expect("a network"));
        office.browsing(count, &[first, near, large])
    }
}
