//! Addresses that are offered and not yet asked for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_dataplane::Instant;

use super::leases::ClientKey;

/// How long an offer keeps its address: until the client's third retransmission. // RFC 2131 section 4.1
pub const OFFER_HOLD: Duration = Duration::from_secs(4 + 8 + 16);

/// The most open offers. When there are so many, nobody is made another.
pub const OFFERS_MAX: usize = 1024;

/// The open offers; in memory only, for an offer promises nothing.
#[derive(Debug, Default)]
pub struct Offers {
    by_address: BTreeMap<Ipv4Addr, (ClientKey, Instant)>,
}

impl Offers {
    /// Offers `address` to `client`, in place of what it was offered before; `false` if there are too many
    /// offers.
    pub fn make(&mut self, now: Instant, address: Ipv4Addr, client: &ClientKey) -> bool {
        self.withdraw(client);
        if self.by_address.len() >= OFFERS_MAX {
            self.by_address.retain(|_, (_, until)| now < *until);
        }
        let has_room = self.by_address.len() < OFFERS_MAX;
        if has_room {
            self.by_address.insert(address, (client.clone(), now + OFFER_HOLD));
        }
        has_room
    }

    /// Forgets what `client` was offered.
    pub fn withdraw(&mut self, client: &ClientKey) {
        self.by_address.retain(|_, (holder, _)| holder != client);
    }

    /// Whom `address` is offered to.
    pub fn holder(&self, now: Instant, address: Ipv4Addr) -> Option<&ClientKey> {
        self.by_address.get(&address).filter(|(_, until)| now < *until).map(|(client, _)| client)
    }

    /// What `client` is offered.
    pub fn of_client(&self, now: Instant, client: &ClientKey) -> Option<Ipv4Addr> {
        let mut open = self.by_address.iter().filter(|(_, (_, until))| now < *until);
        open.find(|(_, (holder, _))| holder == client).map(|(address, _)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> ClientKey {
        ClientKey::Id(number.to_be_bytes().to_vec())
    }

    #[test]
    fn an_offer_ends_by_itself() {
        let mut offers = Offers::default();
        let (now, address) = (Instant::from_secs(100), Ipv4Addr::new(192, 168, 1, 2));
        assert!(offers.make(now, address, &client(1)));
        assert_eq!(offers.holder(now + OFFER_HOLD - Duration::from_secs(1), address), Some(&client(1)));
        assert_eq!(offers.holder(now + OFFER_HOLD, address), None);
        assert_eq!(offers.of_client(now + OFFER_HOLD, &client(1)), None);
    }

    #[test]
    fn offers_are_bounded_and_make_room_as_they_end() {
        let mut offers = Offers::default();
        let now = Instant::from_secs(100);
        for number in 0..u32::try_from(OFFERS_MAX).unwrap() {
            assert!(offers.make(now, Ipv4Addr::from(number), &client(number)));
        }
        let another = Ipv4Addr::from(1 << 20);
        assert!(!offers.make(now, another, &client(1 << 20)));
        assert!(offers.make(now, another, &client(7)), "in place of its own");
        assert!(offers.make(now + OFFER_HOLD, Ipv4Addr::from(1 << 21), &client(1 << 21)));
    }
}
