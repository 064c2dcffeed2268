//! BOOTP clients, which know no leases. (RFC 951; RFC 1534, section 2)
//!
//! A BOOTP client keeps its address for good, and says nothing when it leaves. So it gets the address that a
//! reservation has for it, and without one no answer, which leaves it to another server. Nothing is written: the
//! reservation is the record.

use super::{Reply, Request, Server, answer};

impl Server {
    /// Answers a BOOTP client that has a reservation.
    pub(super) fn bootp(&mut self, request: &Request<'_>) -> Option<Reply> {
        // RFC 951, section 7.3: the client wants the server with this name, and ours has none.
        if request.message.sname().is_some_and(|name| !name.is_empty()) {
            return None;
        }
        let reserved = self.reserved_for(request);
        let Some(address) = reserved.filter(|address| self.is_free_for(request, *address)) else {
            if self.bootp_unanswered.is_due(request.now) {
                let mac = request.client.mac;
                tracing::info!(
                    %mac,
                    "a BOOTP client without a reservation gets no answer: if it is the office's, write one with its mac"
                );
            }
            return None;
        };
        let name = self.name_for(request, address);
        Some(answer::bootp(&self.terms(request, address), request, address, name.as_deref()))
    }
}
