//! Reserved addresses of machines with several identifications: a laptop has one on its cable and one on Wi-Fi.
//!
//! The identification that asks last gets the address, with the name and the forwards that go with it. While another
//! one has a lease of the address, the address is probed before each offer: if a host answers, the machine uses both
//! interfaces at once, and the later one gets an address of the pool. It moves to the reserved address at its first
//! renewal after the other's lease has ended.

use std::net::Ipv4Addr;

use super::{Request, Server};

impl Server {
    /// The client's reserved address, if another identification of its reservation has a lease of the address.
    pub(super) fn shared_address(&self, request: &Request<'_>) -> Option<Ipv4Addr> {
        let address = self.reservation_of(request)?.address;
        let offered_to = self.offers.holder(request.now, address);
        let is_free = self.is_shared(request, address)
            && offered_to.is_none_or(|client| *client == request.client.key)
            && self.config.is_host(address)
            && !self.declines.is_pending(address)
            && !self.leases.borrow().is_changing(address);
        is_free.then_some(address)
    }

    /// Whether another identification of the client's reservation has a lease of `address`.
    pub(super) fn is_shared(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let Some(reservation) = self.reservations.at(address) else { return false };
        let leases = self.leases.borrow();
        let lease = leases.at(address).filter(|lease| lease.is_active(request.now));
        request.client.is_meant_by(reservation)
            && lease.is_some_and(|lease| {
                reservation.is_for_client_of(lease) && !request.client.has(lease, Some(reservation))
            })
    }

    /// Whether the client may have the address of that lease: it was offered the address, as nobody had answered for
    /// it.
    pub(super) fn may_take_over(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        self.is_shared(request, address)
            && self.offers.holder(request.now, address) == Some(&request.client.key)
            && self.offers.is_probed(request.now, address)
    }
}
