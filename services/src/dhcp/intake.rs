//! The dispatch of the frames that the dataplane delivers for DHCP: to the server of the LAN, or to the client on the
//! WAN, if they exist.

use std::cell::{Cell, RefCell};

use gatepost_ground::PortId;

use super::inbox::{Incoming, Sender};

gatepost_ground::counters! {
    /// Counts of the frames that the dataplane delivered for the DHCP server and the DHCP client.
    pub struct DhcpCounters {
        /// Frames that the DHCP server on the LAN received.
        pub to_server: u64,
        /// Frames for the DHCP server that were dropped because its queue had no room for their port.
        pub to_server_dropped_queue_full: u64,
        /// Frames that the DHCP client on the WAN received.
        pub to_client: u64,
        /// Frames for the DHCP client that were dropped because its queue had no room for their port.
        pub to_client_dropped_queue_full: u64,
        /// Messages that the DHCP server left unanswered because too many changes were waiting for the disk, or another
        /// one of the same client or address.
        pub unanswered_disk_busy: u64,
        /// Times that another machine answered an ARP probe for an address that the DHCP server was about to offer.
        pub addresses_in_foreign_use: u64,
        /// Broadcast answers of other DHCP servers on the LAN, and requests to them.
        pub from_other_servers: u64,
        /// Frames for a DHCP server or client that does not exist.
        pub unwanted: u64,
    }
}

/// The queues of server and client, with counters.
#[derive(Default)]
pub struct Intake {
    server: RefCell<Option<Sender>>,
    /// The number of changes of the server.
    servers: Cell<u64>,
    client: RefCell<Option<Sender>>,
    counters: RefCell<DhcpCounters>,
}

/// The outcome for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    QueueFull,
    /// There is no such server or client.
    Unwanted,
}

impl Intake {
    /// Sets the server that receives frames from now on, or none. Returns a number for [`Intake::end_server`].
    pub fn set_server(&self, server: Option<Sender>) -> u64 {
        self.servers.set(self.servers.get() + 1);
        *self.server.borrow_mut() = server;
        self.servers.get()
    }

    /// Stops the delivery to the server with this number, unless another has replaced it.
    pub fn end_server(&self, number: u64) {
        if self.servers.get() == number {
            self.server.take();
        }
    }

    /// Sets the client that receives frames from now on, or none.
    pub fn set_client(&self, client: Option<Sender>) {
        *self.client.borrow_mut() = client;
    }

    /// Delivers a frame to the server, received by `port`.
    pub fn for_server(&self, port: Option<PortId>, frame: &[u8]) {
        let outcome = give(self.server.borrow().as_ref(), port, frame);
        let mut counters = self.counters.borrow_mut();
        match outcome {
            Outcome::Taken => counters.to_server += 1,
            Outcome::QueueFull => counters.to_server_dropped_queue_full += 1,
            Outcome::Unwanted => counters.unwanted += 1,
        }
    }

    /// Delivers a frame to the client, received by `port`.
    pub fn for_client(&self, port: Option<PortId>, frame: &[u8]) {
        let outcome = give(self.client.borrow().as_ref(), port, frame);
        let mut counters = self.counters.borrow_mut();
        match outcome {
            Outcome::Taken => counters.to_client += 1,
            Outcome::QueueFull => counters.to_client_dropped_queue_full += 1,
            Outcome::Unwanted => counters.unwanted += 1,
        }
    }

    /// The counters.
    pub fn counters(&self) -> DhcpCounters {
        self.counters.borrow().clone()
    }
}

/// Queues a frame received by `port`. If the port has no room, the frame is dropped: DHCP clients and servers
/// retransmit.
fn give(to: Option<&Sender>, port: Option<PortId>, frame: &[u8]) -> Outcome {
    match to.map(|to| to.try_send(Incoming { frame: frame.to_vec(), port })) {
        Some(Ok(())) => Outcome::Taken,
        Some(Err(_)) => Outcome::QueueFull,
        None => Outcome::Unwanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::inbox::{FRAMES_MAX, inbox};

    #[tokio::test]
    async fn beyond_a_ports_share_frames_are_dropped_and_without_an_inbox_unwanted() {
        let (sender, mut frames) = inbox();
        let from = |port| give(Some(&sender), Some(PortId(port)), b"frame");
        for _ in 0..FRAMES_MAX / 2 {
            assert_eq!(from(2), Outcome::Taken);
        }
        assert_eq!(
            [2, 2, 3, 2].map(from),
            [Outcome::QueueFull, Outcome::QueueFull, Outcome::Taken, Outcome::QueueFull,]
        );
        let of_port = |port| Some(Incoming { frame: b"frame".to_vec(), port: Some(PortId(port)) });
        assert_eq!([frames.recv().await, frames.recv().await], [of_port(2), of_port(3)]);
        assert_eq!(from(2), Outcome::Taken);
        assert_eq!(give(None, Some(PortId(2)), b"frame"), Outcome::Unwanted);
    }
}
