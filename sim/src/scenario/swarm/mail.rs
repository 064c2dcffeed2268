//! Mail to the office's users, from the LAN and from outside, and from the LAN to others.

use std::ops::RangeInclusive;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;

use super::{Picker, World};
use crate::machine::mail_server::TlsManner;
use crate::machine::mailer::{Habits, MailAccount};
use crate::scenario::action::rot;
use crate::scenario::mail::{ADDRESSES, ADDRESSES_EVERYWHERE};
use crate::scenario::office::Office;
use crate::world::rot::RotIn;

/// The octets of a message that is long for the cables that a swarm has.
const LONG_OCTETS: usize = 40_000;
/// Octets of the store that flip.
const FLIPS: RangeInclusive<usize> = 1..=6;
/// The senders: on the LAN, and outside.
const SCANNER: &str = "scanner";
const STRANGER: &str = "stranger";
/// The user who fetches and deletes, and the one who leaves mail on the server.
const READER: &str = "reader";
const KEEPER: &str = "keeper";

impl Picker {
    /// One or two senders of mail, in one office of three; in half of these also under TLS.
    pub(super) fn mail(&mut self, office: Office, world: &World) -> Office {
        if !self.rng.random_ratio(1, 3) {
            return office;
        }
        let port = format!("lan{}", self.rng.random_range(0..world.lan_ports));
        let mut mailers = vec![(SCANNER, port.as_str())];
        if world.has_wan && self.rng.random_ratio(2, 3) {
            mailers.push((STRANGER, "wan"));
        }
        let pause_max = Duration::from_secs(self.rng.random_range(4..=12));
        let is_fetched = self.rng.random_ratio(1, 2);
        let leaves = world.has_wan && self.rng.random_ratio(2, 3);
        let to = if leaves { ADDRESSES_EVERYWHERE } else { ADDRESSES };
        let leave_days = (world.has_wan && self.rng.random()).then(|| self.rng.random_range(0..=1));
        let is_encrypted: bool = self.rng.random();
        let tls_manner = if is_encrypted { None } else { Some(TlsManner::Off) };
        let has_tls = is_encrypted && !office.is_disbelieved();
        let office = office.mail(&mailers, Habits { to, pause_max, long: Some((20, LONG_OCTETS)), has_tls });
        let office = if is_fetched { office.fetching(READER, &port, "anna") } else { office };
        let office = if leaves { office.mail_servers(|_| (None, tls_manner)) } else { office };
        let office = if let Some(days) = leave_days { office.polling(days) } else { office };
        let office = self.rot(office);
        if self.rng.random_ratio(1, 3) { office.keeping(KEEPER, &port, "berta") } else { office }
    }

    /// Octets of the mail store that flip, in one office of two.
    fn rot(&mut self, mut office: Office) -> Office {
        if self.rng.random() {
            for _ in 0..self.rng.random_range(FLIPS) {
                let place = self.pick_of(&[RotIn::Store, RotIn::Store, RotIn::Checkpoint]);
                office = office.at(self.fault_time(), rot(place));
            }
        }
        office
    }
}

/// Every sender gets a message accepted after `since`.
pub(super) fn expect_mail(office: Office, since: Instant) -> Office {
    let mailers = [SCANNER, STRANGER].into_iter().filter(|name| office.has_own_machine(name));
    let mailers: Vec<_> = mailers.collect();
    if mailers.is_empty() {
        return office;
    }
    office.expect("mail is taken again since the faults ended", move |account| {
        let accounts = mailers.iter().map(|name| (name, account.record::<MailAccount>(name)));
        let mut unwell = accounts.filter(|(_, mailer)| mailer.last_taken_at.is_none_or(|at| at <= since));
        unwell.next().map_or(Ok(()), |(name, mailer)| Err(format!("{name}: {mailer}")))
    })
}
