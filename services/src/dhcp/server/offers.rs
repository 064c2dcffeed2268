//! Offered addresses that were not yet requested.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::leases::ClientKey;
use super::shares::{self, Origin};

/// The lifetime of an offer: until the client's third retransmission. (RFC 2131, section 4.1)
pub const OFFER_HOLD: Duration = Duration::from_secs(4 + 8 + 16);

/// The most open offers. Beyond it, the oldest offer of the sender with the most is evicted.
pub const OFFERS_MAX: usize = 1024;

/// The open offers; in memory only, as an offer promises nothing.
#[derive(Debug, Default)]
pub struct Offers {
    by_address: BTreeMap<Ipv4Addr, Offer>,
    /// Each client's address: the same offers.
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
}

#[derive(Debug)]
struct Offer {
    client: ClientKey,
    /// The origin of the client's DISCOVER.
    origin: Origin,
    until: Instant,
    probed: Option<Probed>,
}

/// The outcome of the probes of an offered address.
#[derive(Clone, Copy, Debug)]
struct Probed {
    at: Instant,
    /// Whether the client itself has answered: the address is not free for another one.
    is_in_use: bool,
}

impl Offers {
    /// Offers `address` to `client` at `origin`, replacing its former offer. If clients behind the same MAC have
    /// `share` open offers, the oldest of those is evicted.
    pub fn make(
        &mut self,
        now: Instant,
        address: Ipv4Addr,
        client: &ClientKey,
        origin: Origin,
        share: usize,
    ) {
        let former = self.by_address.get(&address);
        let is_its_own = former.is_some_and(|offer| offer.client == *client);
        let probed = former.and_then(|offer| offer.probed).filter(|probed| is_its_own || !probed.is_in_use);
        self.withdraw(client);
        let ended = self.by_address.extract_if(.., |_, offer| now >= offer.until);
        ended.for_each(|(_, offer)| _ = self.by_client.remove(&offer.client));
        let is_of_source = |offer: &Offer| offer.origin.mac == origin.mac;
        let of_source = self.by_address.values().filter(|offer| is_of_source(offer)).count();
        let gives_way = if of_source >= share {
            self.oldest(is_of_source)
        } else if self.by_address.len() >= OFFERS_MAX {
            self.busiest().and_then(|(busiest, _)| self.oldest(|offer| offer.origin.is_with(&busiest)))
        } else {
            None
        };
        for replaced in gives_way.into_iter().chain([address]) {
            if let Some(offer) = self.by_address.remove(&replaced) {
                self.by_client.remove(&offer.client);
            }
        }
        let offer = Offer { client: client.clone(), origin, until: now + OFFER_HOLD, probed };
        self.by_address.insert(address, offer);
        self.by_client.insert(client.clone(), address);
    }

    /// The offered address to reuse for `origin` if no other is left: the oldest that `suits`, of the sender with the
    /// most open offers. `None` if no sender would still have as many as `origin` then.
    pub fn to_evict(&self, origin: Origin, suits: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let (busiest, count) = self.busiest()?;
        let own = self.count_with(origin);
        let of_busiest = self.by_address.iter().filter(|(_, offer)| offer.origin.is_with(&busiest));
        let suitable = of_busiest.filter(|(address, _)| count > own + 1 && suits(**address));
        suitable.min_by_key(|(_, offer)| offer.until).map(|(address, _)| *address)
    }

    /// Records that nobody has answered for `address`; if it `is_in_use`, nobody but the client to which it is offered.
    pub fn note_probed(&mut self, now: Instant, address: Ipv4Addr, is_in_use: bool) {
        if let Some(offer) = self.by_address.get_mut(&address) {
            offer.probed = Some(Probed { at: now, is_in_use });
        }
    }

    /// Whether that was recorded in the last [`OFFER_HOLD`], for the offer or, if nobody had answered, for one that it
    /// has replaced.
    pub fn is_probed(&self, now: Instant, address: Ipv4Addr) -> bool {
        let probed = self.by_address.get(&address).and_then(|offer| offer.probed);
        probed.is_some_and(|probed| now.since(probed.at) < OFFER_HOLD)
    }

    /// Removes the offer to `client`.
    pub fn withdraw(&mut self, client: &ClientKey) {
        if let Some(address) = self.by_client.remove(client) {
            self.by_address.remove(&address);
        }
    }

    /// The client to which `address` is offered.
    pub fn holder(&self, now: Instant, address: Ipv4Addr) -> Option<&ClientKey> {
        self.by_address.get(&address).filter(|offer| now < offer.until).map(|offer| &offer.client)
    }

    /// The origin of that client's DISCOVER.
    pub fn origin(&self, now: Instant, address: Ipv4Addr) -> Option<Origin> {
        self.by_address.get(&address).filter(|offer| now < offer.until).map(|offer| offer.origin)
    }

    /// The address that `client` is offered.
    pub fn of_client(&self, now: Instant, client: &ClientKey) -> Option<Ipv4Addr> {
        let address = *self.by_client.get(client)?;
        self.holder(now, address).is_some().then_some(address)
    }

    fn oldest(&self, counts: impl Fn(&Offer) -> bool) -> Option<Ipv4Addr> {
        let offers = self.by_address.iter().filter(|(_, offer)| counts(offer));
        offers.min_by_key(|(_, offer)| offer.until).map(|(address, _)| *address)
    }

    /// The sender with the most open offers, and their number.
    fn busiest(&self) -> Option<(Origin, usize)> {
        shares::busiest(self.by_address.values().map(|offer| offer.origin))
    }

    fn count_with(&self, origin: Origin) -> usize {
        self.by_address.values().filter(|offer| offer.origin.is_with(&origin)).count()
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::{MacAddr, PortId};

    use super::*;

    const NOW: Instant = Instant::from_secs(100);

    fn client(number: u32) -> ClientKey {
        ClientKey::Id(number.to_be_bytes().to_vec())
    }

    fn origin(mac: u32, port: u8) -> Origin {
        let [a, b, c, d] = mac.to_be_bytes();
        Origin { mac: MacAddr([2, 0, a, b, c, d]), port: Some(PortId(port)) }
    }

    fn make(offers: &mut Offers, number: u32, origin: Origin) {
        offers.make(NOW, Ipv4Addr::from(number), &client(number), origin, 16);
    }

    #[test]
    fn an_offer_ends_by_itself() {
        let mut offers = Offers::default();
        let address = Ipv4Addr::from(1);
        make(&mut offers, 1, origin(1, 0));
        assert_eq!(offers.holder(NOW + OFFER_HOLD - Duration::from_secs(1), address), Some(&client(1)));
        assert_eq!(offers.holder(NOW + OFFER_HOLD, address), None);
        assert_eq!(offers.of_client(NOW + OFFER_HOLD, &client(1)), None);
    }

    #[test]
    fn when_there_are_too_many_the_oldest_of_who_has_most_gives_way() {
        let mut offers = Offers::default();
        make(&mut offers, 5000, origin(5000, 1));
        let max = u32::try_from(OFFERS_MAX).unwrap();
        for number in 0..max + 10 {
            make(&mut offers, number, origin(number, 0));
        }
        assert_eq!(offers.by_address.len(), OFFERS_MAX);
        assert!(offers.holder(NOW, Ipv4Addr::from(5000)).is_some(), "another port's");
        assert!(offers.holder(NOW, Ipv4Addr::from(max + 9)).is_some());
        assert_eq!(offers.holder(NOW, Ipv4Addr::from(0)), None);
    }

    #[test]
    fn a_client_has_one_offer_and_an_address_one_client() {
        let mut offers = Offers::default();
        let [first, second] = [1, 2].map(Ipv4Addr::from);
        let all = |offers: &Offers| {
            let open = offers.by_address.iter().map(|(address, offer)| (offer.client.clone(), *address));
            assert_eq!(open.collect::<BTreeMap<_, _>>(), offers.by_client, "the same offers");
            [1, 2].map(|number| offers.of_client(NOW, &client(number)))
        };
        offers.make(NOW, first, &client(1), origin(1, 0), 16);
        offers.make(NOW, second, &client(1), origin(1, 0), 16);
        assert_eq!(all(&offers), [Some(second), None]);
        offers.make(NOW, second, &client(2), origin(2, 0), 16);
        assert_eq!(all(&offers), [None, Some(second)]);
        offers.make(NOW, first, &client(1), origin(2, 0), 1);
        assert_eq!(all(&offers), [Some(first), None], "the oldest of the source gave way");
        offers.withdraw(&client(1));
        assert_eq!(all(&offers), [None, None]);
        offers.make(NOW, first, &client(1), origin(1, 0), 16);
        offers.make(NOW + OFFER_HOLD, second, &client(2), origin(2, 0), 16);
        assert_eq!(all(&offers), [None, Some(second)], "the former has ended");
    }

    #[test]
    fn a_source_has_its_share() {
        let mut offers = Offers::default();
        for number in 0..20 {
            make(&mut offers, number, origin(1, 0));
        }
        let open: Vec<_> = offers.by_address.keys().map(|address| u32::from(*address)).collect();
        assert_eq!(open, (4..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_probe_of_an_address_that_its_client_uses_counts_for_nobody_else() {
        for is_in_use in [false, true] {
            let (mut offers, address) = (Offers::default(), Ipv4Addr::from(1));
            make(&mut offers, 1, origin(1, 0));
            offers.note_probed(NOW, address, is_in_use);
            make(&mut offers, 1, origin(1, 0));
            assert!(offers.is_probed(NOW, address));
            offers.make(NOW, address, &client(2), origin(2, 1), 16);
            assert_eq!(offers.is_probed(NOW, address), !is_in_use);
        }
    }

    #[test]
    fn an_offer_gives_way_to_who_has_fewer() {
        let mut offers = Offers::default();
        make(&mut offers, 1, origin(1, 1));
        assert_eq!(offers.to_evict(origin(2, 2), |_| true), None, "one each");
        for number in 10..13 {
            make(&mut offers, number, origin(number, 3));
        }
        assert_eq!(offers.to_evict(origin(2, 2), |_| true), Some(Ipv4Addr::from(10)));
        assert_eq!(
            offers.to_evict(origin(2, 2), |address| u32::from(address) > 10),
            Some(Ipv4Addr::from(11))
        );
        assert_eq!(offers.to_evict(origin(9, 3), |_| true), None, "its own port");
    }
}
