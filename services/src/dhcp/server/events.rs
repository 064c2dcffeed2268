//! The server's events, for those who watch it: messages in and out, and why a message gets no answer.

use std::fmt;
use std::net::Ipv4Addr;

use gatepost_ground::{Instant, MacAddr};
use serde::{Deserialize, Serialize};

use super::answer::Reply;
use super::leases::State;
use super::{Request, Server};
use crate::dhcp::hostname;
use crate::dhcp::message::{self, DhcpOption, Message, MessageType, OptionCode};

/// An event of the DHCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpEvent {
    /// A message of a client (`DISCOVER`, `REQUEST`, `DECLINE`, `RELEASE`, `INFORM`, `BOOTREQUEST`) or to a client
    /// (`OFFER`, `ACK`, `NAK`, `BOOTREPLY`); or `unanswered`, `probe`, `conflict`.
    pub event: String,
    /// The client's hardware address.
    pub mac: String,
    /// The client's name.
    pub hostname: Option<String>,
    /// The address that the event is about.
    pub address: Option<Ipv4Addr>,
    /// Why it is so, in words.
    pub reason: Option<String>,
}

impl fmt::Display for DhcpEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, mac, hostname, address, reason } = self;
        let address = address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        write!(f, "{event:10}  {mac}  {address:15}  {}", hostname.as_deref().unwrap_or("-"))?;
        reason.as_ref().map_or(Ok(()), |reason| write!(f, "  {reason}"))
    }
}

/// The name of a message in events.
fn name(message: &Message) -> &'static str {
    match message.opts().msg_type() {
        Some(MessageType::Discover) => "DISCOVER",
        Some(MessageType::Offer) => "OFFER",
        Some(MessageType::Request) => "REQUEST",
        Some(MessageType::Decline) => "DECLINE",
        Some(MessageType::Ack) => "ACK",
        Some(MessageType::Nak) => "NAK",
        Some(MessageType::Release) => "RELEASE",
        Some(MessageType::Inform) => "INFORM",
        Some(_) => "other",
        None if message.opcode() == message::Opcode::BootRequest => "BOOTREQUEST",
        None => "BOOTREPLY",
    }
}

/// An event of this name about the client of `message`.
fn about(event: &str, message: &Message, address: Option<Ipv4Addr>, reason: Option<String>) -> DhcpEvent {
    DhcpEvent {
        event: event.to_owned(),
        mac: message::mac(message).to_string(),
        hostname: hostname::requested(message),
        address: address.filter(|address| !address.is_unspecified()),
        reason,
    }
}

impl Server {
    /// Notes a client's message.
    pub(super) fn note_received(&self, now: Instant, message: &Message) {
        self.events.note(now, || {
            let asked = message::address_option(message, OptionCode::RequestedIpAddress);
            about(name(message), message, asked.or(Some(message.ciaddr())), None)
        });
    }

    /// Notes an answer, and returns it.
    pub(super) fn note_sent(&self, now: Instant, reply: Option<Reply>) -> Option<Reply> {
        if let Some(reply) = &reply {
            self.events.note(now, || {
                let message = &reply.message;
                let told = match message.opts().get(OptionCode::Hostname) {
                    Some(DhcpOption::Hostname(name)) => Some(name.clone()),
                    _ => None,
                };
                let event = about(name(message), message, Some(message.yiaddr()), self.reason_of(reply));
                DhcpEvent { hostname: told, ..event }
            });
        }
        reply
    }

    /// Why the answer is what it is.
    fn reason_of(&self, reply: &Reply) -> Option<String> {
        let (message, address) = (&reply.message, reply.message.yiaddr());
        let secs = match message.opts().get(OptionCode::AddressLeaseTime) {
            Some(DhcpOption::AddressLeaseTime(secs)) => format!(", for {secs} s"),
            _ => String::new(),
        };
        let reserved = self.reservations.at(address).is_some();
        let had = self.leases.borrow().at(address).map(|lease| (lease.mac, lease.state));
        let is_own =
            |(mac, state): (MacAddr, State)| mac == message::mac(message) && state != State::Declined;
        let why = match message.opts().msg_type() {
            Some(MessageType::Nak) => match message.opts().get(OptionCode::Message) {
                Some(DhcpOption::Message(why)) => return Some(why.clone()),
                _ => return None,
            },
            _ if address.is_unspecified() => "parameters only",
            _ if reserved => "reserved for it",
            Some(MessageType::Ack) => "leased",
            _ if had.is_some_and(is_own) => "the address that it had",
            _ if had.is_some() => "no address is unused; this one was free the longest",
            _ => "a free address of the pool",
        };
        Some(format!("{why}{secs}"))
    }

    /// Notes that the client of `request` gets no answer, and why.
    pub(super) fn note_unanswered(&self, request: &Request<'_>, address: Option<Ipv4Addr>, why: &str) {
        self.events.note(request.now, || about("unanswered", request.message, address, Some(why.to_owned())));
    }

    /// Notes that `address` is probed for the client of `request`.
    pub(super) fn note_probe(&self, request: &Request<'_>, address: Ipv4Addr) {
        let why = || "ARP asks whether another machine uses it".to_owned();
        self.events.note(request.now, || about("probe", request.message, Some(address), Some(why())));
    }

    /// Notes that the machine `mac` uses `address`, which is the pool's.
    pub(super) fn note_conflict(&self, now: Instant, address: Ipv4Addr, mac: MacAddr, why: &str) {
        self.events.note(now, || DhcpEvent {
            event: "conflict".to_owned(),
            mac: mac.to_string(),
            hostname: None,
            address: Some(address),
            reason: Some(why.to_owned()),
        });
    }
}
