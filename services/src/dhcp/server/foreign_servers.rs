//! Other DHCP servers on the LAN: a forgotten router's, or an attacker's.
//!
//! A server is known by its server identifier (option 54). Its broadcast answers name its hardware address, too. Its
//! unicast answers cross the bridge unread, but a client that accepts one names the server in a broadcast REQUEST. With
//! `lan.dhcp_snooping` no answer of another server arrives here or at a client.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};

use super::shares::{self, Origin};
use super::{Message, MessageType, Server};
use crate::dhcp::message::{self, OptionCode};
use crate::log_limit::LogLimit;

/// The most servers that are named. With one more, the one that was heard least recently is forgotten, of the sender
/// with the most: one that forges many hides no other.
pub const SERVERS_MAX: usize = 8;
/// How long a server is named after its last message, and the interval of its log lines.
const NAMED_FOR: Duration = Duration::from_secs(3600);
/// The log lines in each [`LOG_INTERVAL`](crate::log_limit::LOG_INTERVAL).
const LOGGED_MAX: u32 = 8;

/// The other servers that were noticed in the last hour.
#[derive(Default)]
pub(super) struct ForeignServers {
    by_address: BTreeMap<Ipv4Addr, ForeignServer>,
    messages: u64,
    log: LogLimit,
}

struct ForeignServer {
    mac: Option<MacAddr>,
    /// The origin of the server's last message or, before its first, that of a client which asks the server.
    origin: Origin,
    last: Instant,
    logged: Option<Instant>,
}

/// The sender of a message from which a server is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The server itself.
    Server(Origin),
    /// A client that asks the server.
    Client(Origin),
}

impl ForeignServers {
    /// Records a message of the server `address`, or to it. Returns whether to log the server: once in an hour, and
    /// when its hardware address becomes known.
    fn note(&mut self, now: Instant, address: Ipv4Addr, sender: Sender) -> bool {
        self.messages += 1;
        let (origin, mac) = match sender {
            Sender::Server(origin) => (origin, Some(origin.mac)),
            Sender::Client(origin) => (origin, None),
        };
        self.by_address.retain(|_, server| now.since(server.last) < NAMED_FOR);
        if self.by_address.len() >= SERVERS_MAX && !self.by_address.contains_key(&address) {
            self.forget_one();
        }
        let new = ForeignServer { mac, origin, last: now, logged: None };
        let server = self.by_address.entry(address).or_insert(new);
        // A client that names a server does not become the origin of what the server itself has sent.
        let origin = if mac.is_none() && server.mac.is_some() { server.origin } else { origin };
        let is_due = server.logged.is_none_or(|logged| now.since(logged) >= NAMED_FOR)
            || (server.mac.is_none() && mac.is_some());
        server.mac = mac.or(server.mac);
        (server.origin, server.last) = (origin, now);
        let is_logged = is_due && self.log.allows(now, LOGGED_MAX);
        if is_logged {
            server.logged = Some(now);
        }
        is_logged
    }

    fn forget_one(&mut self) {
        let origins = self.by_address.values().map(|server| server.origin);
        let Some((busiest, _)) = shares::busiest(origins) else { return };
        let of_busiest = self.by_address.iter().filter(|(_, server)| server.origin.is_with(&busiest));
        let oldest = of_busiest.min_by_key(|(_, server)| server.last).map(|(address, _)| *address);
        if let Some(address) = oldest {
            self.by_address.remove(&address);
        }
    }

    /// The number of messages of other servers, and of requests to them.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The servers of the last hour for people; `None` if there are none.
    fn named(&self, now: Instant) -> Option<String> {
        let recent = self.by_address.iter().filter(|(_, server)| now.since(server.last) < NAMED_FOR);
        let name = |(address, server): (&Ipv4Addr, &ForeignServer)| match server.mac {
            Some(mac) => format!("{address} ({mac})"),
            None => address.to_string(),
        };
        let names: Vec<_> = recent.map(name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

impl Server {
    /// Handles a message of another server from a frame of `origin`.
    pub(super) fn hear_server(&mut self, now: Instant, origin: Origin, message: &Message) {
        // A PXE server offers no address: it may serve beside this one.
        let gives_or_refuses =
            !message.yiaddr().is_unspecified() || message.opts().msg_type() == Some(MessageType::Nak);
        // A relay agent broadcasts this server's own answers.
        if let Some(server) = message::address_option(message, OptionCode::ServerIdentifier)
            && !self.config.is_own(server)
            && gives_or_refuses
        {
            self.note_foreign_server(now, server, Sender::Server(origin));
        }
    }

    /// Notes the other server `address`. A server that is not authoritative expects others, and only counts.
    pub(super) fn note_foreign_server(&mut self, now: Instant, address: Ipv4Addr, sender: Sender) {
        let is_due = self.foreign_servers.note(now, address, sender);
        if is_due && self.config.authoritative {
            let mac = match sender {
                Sender::Server(origin) => Some(tracing::field::display(origin.mac)),
                Sender::Client(_) => None,
            };
            tracing::warn!(
                %address,
                mac,
                "another DHCP server is on the LAN: switch it off, block it by lan.dhcp_snooping = true, or write \
                 dhcp.authoritative = false if it is meant to be there"
            );
        }
    }

    /// The other servers of the last hour, for reports.
    pub fn foreign_servers(&self, now: Instant) -> Option<String> {
        let named = self.foreign_servers.named(now).filter(|_| self.config.authoritative)?;
        Some(format!("another DHCP server is on the LAN: {named}"))
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::PortId;

    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn at(number: u8, port: u8) -> Origin {
        Origin { mac: MacAddr([2, 0, 0, 0, 1, number]), port: Some(PortId(port)) }
    }

    #[test]
    fn a_server_is_logged_once_an_hour_and_named_for_an_hour() {
        let (mut servers, start) = (ForeignServers::default(), Instant::from_secs(10));
        let address = Ipv4Addr::new(192, 168, 1, 254);
        let after = |secs| start + Duration::from_secs(secs);
        let (itself, client) = (Sender::Server(MAC.into()), Sender::Client(at(1, 1)));
        assert!(servers.note(start, address, client));
        assert_eq!(servers.named(start).as_deref(), Some("192.168.1.254"));
        assert!(servers.note(after(1), address, itself), "its hardware address is news");
        assert!(!servers.note(after(2), address, client) && !servers.note(after(3600), address, itself));
        assert!(servers.note(after(3601), address, client));
        assert_eq!(servers.named(after(7200)).as_deref(), Some("192.168.1.254 (02:00:00:00:00:07)"));
        assert_eq!((servers.named(after(7201)), servers.messages()), (None, 5));
    }

    #[test]
    fn forged_servers_are_bounded() {
        let mut servers = ForeignServers::default();
        let sender = |number| Sender::Server(at(number, 1));
        let mut note =
            |number: u8| servers.note(Instant::ZERO, Ipv4Addr::from(u32::from(number)), sender(number));
        let logged = (0..100).filter(|number| note(*number)).count();
        assert_eq!(u32::try_from(logged), Ok(LOGGED_MAX));
        assert_eq!((servers.by_address.len(), servers.messages()), (SERVERS_MAX, 100));
    }

    #[test]
    fn a_sender_of_many_forged_servers_hides_no_other() {
        let (mut servers, real) = (ForeignServers::default(), Ipv4Addr::new(192, 168, 1, 254));
        let after = |secs: u8| Instant::from_secs(10) + Duration::from_secs(secs.into());
        let forge = |servers: &mut ForeignServers, numbers: std::ops::Range<u8>| {
            for number in numbers {
                servers.note(after(number), Ipv4Addr::from(u32::from(number)), Sender::Server(at(number, 1)));
            }
        };
        let names_it =
            |servers: &ForeignServers| servers.named(after(100)).is_some_and(|named| named.contains("254"));
        forge(&mut servers, 0..20);
        servers.note(after(20), real, Sender::Server(at(99, 2)));
        assert!(names_it(&servers), "the places are taken");
        forge(&mut servers, 21..59);
        assert!(names_it(&servers));
        assert!(!servers.note(after(59), real, Sender::Server(at(99, 2))), "the log is full");
        assert!(servers.note(after(60), real, Sender::Server(at(99, 2))), "it was not logged yet");
    }
}
