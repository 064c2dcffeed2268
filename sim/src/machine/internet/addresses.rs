//! The addresses on the internet.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Everything behind the provider's router. It is no documentation network, as resolvers do not query the names of
/// those (RFC 6303, section 4).
pub const INTERNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 16);
/// The provider's recursive resolvers.
pub const RESOLVER_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 53, 1), Ipv4Addr::new(198, 18, 53, 2)];
/// The web servers.
pub const WEB_ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 18, 80, 1),
    Ipv4Addr::new(198, 18, 80, 2),
    Ipv4Addr::new(198, 18, 80, 3),
    Ipv4Addr::new(198, 18, 81, 1),
];
/// The chat server.
pub const CHAT_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 7);
/// The mail servers: `mx-0.example.net` and so on, each for the domain with its number, `post-0.example` and so on.
pub const MAIL_ADDRESSES: [Ipv4Addr; 7] = [
    Ipv4Addr::new(198, 18, 25, 1),
    Ipv4Addr::new(198, 18, 25, 2),
    Ipv4Addr::new(198, 18, 25, 3),
    Ipv4Addr::new(198, 18, 25, 4),
    Ipv4Addr::new(198, 18, 25, 5),
    Ipv4Addr::new(198, 18, 25, 6),
    Ipv4Addr::new(198, 18, 25, 7),
];
/// The server of the polled mailbox: `pop.example.net`.
pub const POP_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 110, 1);
/// Time servers, where a scenario has some.
pub const TIME_ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 18, 123, 1),
    Ipv4Addr::new(198, 18, 123, 2),
    Ipv4Addr::new(198, 18, 123, 3),
    Ipv4Addr::new(198, 18, 123, 4),
];
/// Web sites: `site-0.example` and so on, on the web servers in turn.
pub const SITES: usize = 20;
/// Names are asked for here.
pub const DNS_PORT: u16 = 53;
/// Pages are fetched here.
pub const WEB_PORT: u16 = 80;
/// Chats are held here.
pub const CHAT_PORT: u16 = 7;

/// The router of a network: its first host.
pub(super) fn router_of(network: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(network.network().to_bits() + 1)
}
