//! The servers of an [`OfficeZone`] on the internet.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use gatepost_ground::Instant;

use super::Caller;
use super::frontend::Stream;
use super::office_zones::OfficeZone;
use super::zone_service::{ZoneManner, ZoneService};
use crate::machine::internet::DNS_PORT;
use crate::machine::internet::connections::ConnectionId;
use crate::machine::internet::server::{Server, Wire};
use crate::machine::internet::servers::Site;

/// Both servers of a zone.
pub struct ZoneServer {
    zone: OfficeZone,
    service: ZoneService<Caller>,
    streams: BTreeMap<ConnectionId, Stream>,
}

impl ZoneServer {
    /// The servers of `zone`.
    pub fn new(zone: OfficeZone, manner: ZoneManner, seed: u64) -> Self {
        Self { zone, service: ZoneService::new(zone, manner, seed), streams: BTreeMap::new() }
    }

    /// Where the servers of `zone` are.
    pub fn site(zone: OfficeZone, name: &str) -> Site {
        Site::numbered(name, &zone.internet_addresses()).udp(DNS_PORT).tcp(DNS_PORT)
    }

    fn is_first(&self, server: SocketAddrV4) -> bool {
        *server.ip() == self.zone.internet_addresses()[0]
    }
}

impl Server for ZoneServer {
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>) {
        while let Some(question) = wire.receive() {
            let caller = Caller::Datagram { customer: question.from, server: question.to };
            self.service.ask_by_udp(now, caller, &question.payload);
        }
        wire.each_connection(|connection| {
            let is_first = self.is_first(connection.local());
            let stream = self.streams.entry(connection.id()).or_default();
            for message in stream.receive(connection) {
                self.service.ask_by_tcp(now, Caller::Connection(connection.id()), is_first, &message);
            }
            stream.send(connection);
        });
        while let Some((caller, answer)) = self.service.take_due(now) {
            match caller {
                Caller::Datagram { customer, server } => wire.send(server, customer, &answer),
                Caller::Connection(id) => {
                    let (Some(mut connection), Some(stream)) =
                        (wire.connection(id), self.streams.get_mut(&id))
                    else {
                        continue;
                    };
                    stream.push(&answer);
                    if self.service.closes_after_answer() {
                        self.service.forget(caller);
                        stream.end();
                    }
                    stream.send(&mut connection);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.service.poll_timeout()
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        self.streams.remove(&connection);
    }

    fn on_switched_off(&mut self) {
        self.streams.clear();
    }
}
