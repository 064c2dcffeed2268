//! What is new in the counters of the flows since they were read last.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gatepost_dataplane::FlowInfo;
use gatepost_dataplane::key::FlowKey;

use super::history::Amount;

/// The flows of one worker that are read at a time, between two batches of frames.
pub const PART_FLOWS: u32 = 1024;

/// The flows of each worker that are read; what further ones carry is not in the history.
pub const FLOWS_MAX: u32 = 65_536;

/// The counters of the flows as they were read last.
#[derive(Debug, Default)]
pub struct Readings {
    known: BTreeMap<FlowKey<IpAddr>, Reading>,
    /// The number of the reading that is under way.
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    number: u64,
    /// As the client received and sent.
    amount: Amount,
}

impl Readings {
    /// Reads a flow: what the host `is_host` of its two ends has received and sent since the last reading. `None` if
    /// neither is one.
    pub fn read(&mut self, flow: &FlowInfo, is_host: impl Fn(IpAddr) -> bool) -> Option<(IpAddr, Amount)> {
        let [sent, received] = flow.traffic;
        let amount = Amount {
            octets_received: received.octets,
            octets_sent: sent.octets,
            packets_received: received.packets,
            packets_sent: sent.packets,
        };
        let (client, server) = (flow.original.source.address, flow.reply.source.address);
        let is_client = is_host(client);
        if !is_client && !is_host(server) {
            return None;
        }
        let reading = Reading { number: self.number, amount };
        let before = self.known.insert(flow.original, reading).map_or(Amount::default(), |it| it.amount);
        let news = amount.since(before);
        let of_server = Amount {
            octets_received: news.octets_sent,
            octets_sent: news.octets_received,
            packets_received: news.packets_sent,
            packets_sent: news.packets_received,
        };
        Some(if is_client { (client, news) } else { (server, of_server) })
    }

    /// All flows were read: those that were not have ended.
    pub fn end(&mut self) {
        self.known.retain(|_, reading| reading.number == self.number);
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use gatepost_dataplane::flow::{State, Traffic};
    use gatepost_dataplane::key::Endpoint;
    use gatepost_ground::Instant;
    use gatepost_ground::wire::Protocol;

    use super::*;

    const HOST: [u8; 4] = [192, 168, 1, 10];

    fn flow(client: [u8; 4], server: [u8; 4], sent: u64, received: u64) -> FlowInfo {
        let end = |host: [u8; 4]| Endpoint::new(IpAddr::from(host), 443);
        let key = |source, destination| FlowKey { protocol: Protocol::TCP, source, destination };
        let traffic = |octets| Traffic { packets: octets / 100, octets };
        FlowInfo {
            original: key(end(client), end(server)),
            reply: key(end(server), end([203, 0, 113, 1])),
            state: State::Udp,
            expires: Instant::ZERO,
            traffic: [traffic(sent), traffic(received)],
        }
    }

    fn is_host(address: IpAddr) -> bool {
        address == IpAddr::from(HOST)
    }

    #[test]
    fn each_octet_of_a_flow_counts_once() {
        let mut readings = Readings::default();
        let mut read = |flow: &FlowInfo| {
            let read = readings.read(flow, is_host).map(|(host, amount)| {
                assert!(is_host(host));
                (amount.octets_sent, amount.octets_received)
            });
            readings.end();
            read
        };
        let far = [198, 51, 100, 1];
        assert_eq!(read(&flow(HOST, far, 100, 200)), Some((100, 200)));
        assert_eq!(read(&flow(HOST, far, 100, 200)), Some((0, 0)));
        assert_eq!(read(&flow(HOST, far, 150, 1200)), Some((50, 1000)));
        assert_eq!(read(&flow(HOST, far, 10, 20)), Some((10, 20)), "another flow of the same ends");
        assert_eq!(read(&flow(far, HOST, 700, 5)), Some((5, 700)), "one from outside");
        assert_eq!(read(&flow(far, [203, 0, 113, 1], 700, 5)), None);
        // It has ended, and another one of the same ends has begun.
        assert_eq!(read(&flow(HOST, far, 60, 90)), Some((60, 90)));
        assert_eq!(readings.known.len(), 1);
    }
}
