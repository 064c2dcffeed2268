//! Other DHCP servers on the LAN: a forgotten router's, or an attacker's.
//!
//! A server is known by its server identifier (option 54). Its broadcast answers name its hardware address, too. Its
//! unicast answers cross the bridge unread, but a client that accepts one names the server in a broadcast REQUEST. With
//! `lan.dhcp_snooping` no answer of another server arrives here or at a client.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};

use super::{Message, MessageType, Origin, Server};
use crate::dhcp::message::{self, OptionCode};

/// The most servers that are named. Further ones are only counted.
pub const SERVERS_MAX: usize = 8;
/// How long a server is named after its last message, and the interval of its log lines.
const NAMED_FOR: Duration = Duration::from_secs(3600);

/// The other servers that were noticed in the last hour.
#[derive(Debug, Default)]
pub(super) struct ForeignServers {
    by_address: BTreeMap<Ipv4Addr, ForeignServer>,
    messages: u64,
}

#[derive(Debug)]
struct ForeignServer {
    mac: Option<MacAddr>,
    last: Instant,
    logged: Instant,
}

impl ForeignServers {
    /// Records a message of the server `address`, whose hardware address is `mac` if it is known. Returns whether to
    /// log the server: once in an hour, and when its hardware address becomes known.
    fn note(&mut self, now: Instant, address: Ipv4Addr, mac: Option<MacAddr>) -> bool {
        self.messages += 1;
        self.by_address.retain(|_, server| now.since(server.last) < NAMED_FOR);
        let has_room = self.by_address.len() < SERVERS_MAX;
        let Some(server) = self.by_address.get_mut(&address) else {
            if has_room {
                self.by_address.insert(address, ForeignServer { mac, last: now, logged: now });
            }
            return has_room;
        };
        let is_due = (server.mac.is_none() && mac.is_some()) || now.since(server.logged) >= NAMED_FOR;
        server.mac = mac.or(server.mac);
        server.last = now;
        if is_due {
            server.logged = now;
        }
        is_due
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
        if let Some(server) = message::address_option(message, OptionCode::ServerIdentifier)
            && gives_or_refuses
        {
            self.note_foreign_server(now, server, Some(origin.mac));
        }
    }

    /// Notes the other server `address`. A server that is not authoritative expects others, and only counts.
    pub(super) fn note_foreign_server(&mut self, now: Instant, address: Ipv4Addr, mac: Option<MacAddr>) {
        let is_due = self.foreign_servers.note(now, address, mac);
        if is_due && self.config.authoritative {
            tracing::warn!(
                %address,
                mac = mac.map(tracing::field::display),
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
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    #[test]
    fn a_server_is_logged_once_an_hour_and_named_for_an_hour() {
        let (mut servers, start) = (ForeignServers::default(), Instant::from_secs(10));
        let address = Ipv4Addr::new(192, 168, 1, 254);
        let after = |secs| start + Duration::from_secs(secs);
        assert!(servers.note(start, address, None));
        assert_eq!(servers.named(start).as_deref(), Some("192.168.1.254"));
        assert!(servers.note(after(1), address, Some(MAC)), "its hardware address is news");
        assert!(!servers.note(after(2), address, None) && !servers.note(after(3600), address, Some(MAC)));
        assert!(servers.note(after(3601), address, None));
        assert_eq!(servers.named(after(7200)).as_deref(), Some("192.168.1.254 (02:00:00:00:00:07)"));
        assert_eq!((servers.named(after(7201)), servers.messages()), (None, 5));
    }

    #[test]
    fn forged_servers_are_bounded() {
        let mut servers = ForeignServers::default();
        let logged =
            (0..100).filter(|number| servers.note(Instant::ZERO, Ipv4Addr::from(*number), None)).count();
        assert_eq!((logged, servers.by_address.len(), servers.messages()), (SERVERS_MAX, SERVERS_MAX, 100));
    }
}
