//! Remote servers with which TLS fails, although they offer it.
//!
//! A message is sent to such a server in clear, as if TLS were not offered. (RFC 7435) The server is remembered for a
//! day, so that further messages do not wait for the same handshake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_ground::Instant;

/// How long TLS is not tried again at a server.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// The most servers. A further one replaces the one that expires first.
const SERVERS_MAX: usize = 1000;

/// The servers, with their expiry.
#[derive(Debug, Default)]
pub struct WithoutTls(BTreeMap<SocketAddr, Instant>);

impl WithoutTls {
    /// Whether `server` is to be spoken to in clear.
    pub fn has(&self, now: Instant, server: SocketAddr) -> bool {
        self.0.get(&server).is_some_and(|until| now < *until)
    }

    /// Adds `server`, which has accepted a message in clear.
    pub fn remember(&mut self, now: Instant, server: SocketAddr) {
        self.0.retain(|_, until| now < *until);
        if self.0.len() >= SERVERS_MAX {
            let first = self.0.iter().min_by_key(|(_, until)| **until).map(|(server, _)| *server);
            first.map(|first| self.0.remove(&first));
        }
        self.0.insert(server, now + REMEMBERED);
    }

    /// Removes `server`, if it is there.
    pub fn forget(&mut self, server: SocketAddr) {
        self.0.remove(&server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_servers_are_remembered_for_a_day() {
        let server = |number: u16| SocketAddr::from(([198, 51, 100, 1], number));
        let at = |secs: u64| Instant::from_secs(1000 + secs);
        let mut without = WithoutTls::default();
        let servers = 1..=u16::try_from(SERVERS_MAX).unwrap() + 1;
        servers.for_each(|number| without.remember(at(number.into()), server(number)));
        assert_eq!(without.0.len(), SERVERS_MAX);
        assert!(!without.has(at(2000), server(1)) && without.has(at(2000), server(2)));
        let end = 2 + REMEMBERED.as_secs();
        assert!(without.has(at(end - 1), server(2)) && !without.has(at(end), server(2)));
        without.remember(at(2 * end), server(1));
        assert_eq!(without.0.len(), 1, "the others are forgotten");
    }
}
