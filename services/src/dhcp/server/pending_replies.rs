//! Replies and messages that wait for the disk.
//!
//! The server confirms a lease once it is on disk. Until then the reply is pending, and the server serves other
//! clients. If the client retransmits meanwhile, its latest message is answered. A RELEASE or DECLINE of an address
//! with a pending change is handled after the change; at most one message for each address. So there are never more
//! pending replies than pending changes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use gatepost_ground::Instant;
use tokio::sync::Notify;

use super::keeper::{Completion, Request as DiskRequest};
use super::leases::ClientKey;
use super::{Client, LEASES_LOGGED_MAX, Message, MessageType, Origin, Reply, Request, Server, answer};
use crate::clock::UnixTime;
use crate::work::JobFailed;

/// A pending reply.
pub(super) struct PendingReply {
    /// The message that it answers.
    pub message: Message,
    pub origin: Origin,
    pub client: ClientKey,
    /// The client's future name.
    pub hostname: Option<String>,
    pub lease_secs: u32,
    /// Whether the client had the address already.
    pub is_renewed: bool,
}

/// All that is pending, by address.
#[derive(Default)]
pub(super) struct PendingReplies {
    replies: BTreeMap<Ipv4Addr, PendingReply>,
    messages: BTreeMap<Ipv4Addr, (Origin, Message)>,
    /// The message that caused the read of the disk.
    unread: Option<(Origin, Message)>,
    ready: VecDeque<Reply>,
}

impl PendingReplies {
    /// Whether `client` waits for the confirmation of `address`.
    pub fn is_for(&self, address: Ipv4Addr, client: &ClientKey) -> bool {
        self.replies.get(&address).is_some_and(|held| held.client == *client)
    }

    /// The number of clients other than `client` that wait for a further address and satisfy `counts`.
    pub fn count_others(&self, client: &ClientKey, counts: impl Fn(&Origin) -> bool) -> usize {
        let others = self.replies.values().filter(|held| !held.is_renewed && held.client != *client);
        others.filter(|held| counts(&held.origin)).count()
    }
}

impl Server {
    /// The next request to the disk, if there is one. There is no further one until [`Server::handle_done`] is called.
    pub fn poll_request(&mut self, now: Instant) -> Option<DiskRequest> {
        self.leases.borrow_mut().poll_request(now)
    }

    /// Handles the outcome of the request, which may make [replies](Server::poll_reply) available.
    pub fn handle_done(&mut self, now: Instant, unix_now: UnixTime, done: Result<Completion, JobFailed>) {
        self.leases.borrow_mut().handle_done(now, unix_now, done);
        self.disk_free.notify_waiters();
        loop {
            let outcome = self.leases.borrow_mut().poll_outcome();
            let Some((address, outcome)) = outcome else { break };
            self.settle(now, unix_now, address, outcome);
        }
        if let Some((origin, message)) = self.holding.unread.take() {
            let reply = self.answer_message(now, unix_now, origin, &message);
            self.holding.ready.extend(reply);
        }
    }

    /// Whether the leases still have to be read, and are read now. Then the message of `request` is handled afterwards.
    pub(super) fn reads_first(&mut self, request: &Request<'_>) -> bool {
        let is_due = self.holding.unread.is_none() && self.leases.borrow().is_read_due(request.now);
        if is_due {
            self.holding.unread = Some((request.origin, request.message.clone()));
        }
        is_due
    }

    /// Notifies waiting instances when a request is done, so that there may be another.
    pub fn disk_free(&self) -> Rc<Notify> {
        Rc::clone(&self.disk_free)
    }

    /// Adds a reply that is ready.
    pub(super) fn add_ready(&mut self, now: Instant, reply: Option<Reply>) {
        let reply = self.note_sent(now, reply);
        self.holding.ready.extend(reply);
    }

    /// The next reply that is ready.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.holding.ready.pop_front()
    }

    /// Defers a reply until the client's lease of `address` is on disk.
    pub(super) fn hold(&mut self, address: Ipv4Addr, held: PendingReply) {
        self.holding.replies.insert(address, held);
    }

    /// Replaces the pending answer to the same client for `address` by one to `request`. If the client had released the
    /// address in between, the lease is restored.
    pub(super) fn replace_held(&mut self, address: Ipv4Addr, request: &Request<'_>) {
        let given_back =
            |(_, message): &(Origin, Message)| message.opts().msg_type() == Some(MessageType::Release);
        if self.holding.messages.get(&address).is_some_and(given_back) {
            self.holding.messages.remove(&address);
        }
        if let Some(held) = self.holding.replies.get_mut(&address) {
            held.message = request.message.clone();
            held.origin = request.origin;
        }
    }

    /// Whether a change of `address` is pending. Then the message of `request` is handled after it.
    pub(super) fn defer(&mut self, address: Ipv4Addr, request: &Request<'_>) -> bool {
        let is_changing = self.leases.borrow().is_changing(address);
        if is_changing {
            let message = || (request.origin, request.message.clone());
            self.holding.messages.entry(address).or_insert_with(message);
        }
        is_changing
    }

    /// A change of `address` is on disk, or void.
    fn settle(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr, outcome: io::Result<()>) {
        let reply = match (self.holding.replies.remove(&address), outcome) {
            (Some(held), outcome) => self.answer(now, unix_now, address, &held, outcome),
            (None, Ok(())) => None,
            (None, Err(error)) => {
                self.log_unkept(now, address, "change", &error);
                None
            }
        };
        let later = self.holding.messages.remove(&address);
        self.add_ready(now, reply);
        let later = later.and_then(|(origin, message)| self.answer_message(now, unix_now, origin, &message));
        self.holding.ready.extend(later);
    }

    /// The deferred reply.
    fn answer(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        held: &PendingReply,
        outcome: io::Result<()>,
    ) -> Option<Reply> {
        let client = Client::of(&held.message, self.config.ignore_client_id)?;
        let request = Request { now, unix_now, origin: held.origin, message: &held.message, client };
        if let Err(error) = outcome {
            self.log_unkept(now, address, "lease", &error);
            return self.acknowledge_unkept(&request, address);
        }
        if !self.leases.borrow().at(address).is_some_and(|lease| lease.is_active(now)) {
            // The write took longer than the lease lasts: the client retransmits.
            return None;
        }
        self.offers.withdraw(&request.client.key);
        if let Some(port) = request.origin.port {
            self.ports.note(address, port);
        }
        let (mac, hostname) = (request.client.mac, held.hostname.as_deref());
        let name = hostname.unwrap_or("-");
        if !held.is_renewed && self.leased.allows(now, LEASES_LOGGED_MAX) {
            tracing::info!(%address, %mac, hostname = %name, "leased");
        } else {
            tracing::debug!(%address, %mac, hostname = %name, client = %request.client.key, "leased");
        }
        let given = (address, held.lease_secs);
        Some(answer::lease(&self.terms(&request, address), &request, MessageType::Ack, given, hostname))
    }
}
