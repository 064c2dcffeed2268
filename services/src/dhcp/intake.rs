//! Where the gateway gives the frames that its dataplane delivered for DHCP: to the server of the LAN, or to the client
//! on the WAN, as far as there are any.

use std::cell::{Cell, RefCell};

use gatepost_ground::PortId;

use super::inbox::{Incoming, Sender};

gatepost_ground::counters! {
    /// What became of the frames that the dataplane delivered to the DHCP server and the DHCP client.
    pub struct DhcpCounters {
        /// Frames that the DHCP server on the LAN got.
        pub to_server: u64,
        /// Frames for the DHCP server that were dropped because too many of their port waited for it.
        pub to_server_dropped_queue_full: u64,
        /// Frames that the DHCP client on the WAN got.
        pub to_client: u64,
        /// Frames for the DHCP client that were dropped because too many of their port waited for it.
        pub to_client_dropped_queue_full: u64,
        /// Messages that the DHCP server left unanswered, as too much waited for the disk, or another change of the
        /// same client or address did.
        pub unanswered_disk_busy: u64,
        /// Frames for a DHCP server or client that the gateway has not.
        pub unwanted: u64,
    }
}

/// The inboxes of server and client, and what was given to them.
#[derive(Default)]
pub struct Intake {
    server: RefCell<Option<Sender>>,
    /// How often the server has changed.
    servers: Cell<u64>,
    client: RefCell<Option<Sender>>,
    counters: RefCell<DhcpCounters>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    QueueFull,
    /// The gateway has no such part.
    Unwanted,
}

impl Intake {
    /// Gives the server's frames to `server` from now on, or to nobody. Returns a number for
    /// [`Intake::end_server`].
    pub fn set_server(&self, server: Option<Sender>) -> u64 {
        self.servers.set(self.servers.get() + 1);
        *self.server.borrow_mut() = server;
        self.servers.get()
    }

    /// Gives nothing more to the server with this number; nothing happens if another has taken its place.
    pub fn end_server(&self, number: u64) {
        if self.servers.get() == number {
            self.server.take();
        }
    }

    /// Gives the client's frames to `client` from now on, or to nobody.
    pub fn set_client(&self, client: Option<Sender>) {
        *self.client.borrow_mut() = client;
    }

    /// Takes a frame for the server that came in by `port`.
    pub fn for_server(&self, port: Option<PortId>, frame: &[u8]) {
        let outcome = give(self.server.borrow().as_ref(), port, frame);
        let mut counters = self.counters.borrow_mut();
        match outcome {
            Outcome::Taken => counters.to_server += 1,
            Outcome::QueueFull => counters.to_server_dropped_queue_full += 1,
            Outcome::Unwanted => counters.unwanted += 1,
        }
    }

    /// Takes a frame for the client that came in by `port`.
    pub fn for_client(&self, port: Option<PortId>, frame: &[u8]) {
        let outcome = give(self.client.borrow().as_ref(), port, frame);
        let mut counters = self.counters.borrow_mut();
        match outcome {
            Outcome::Taken => counters.to_client += 1,
            Outcome::QueueFull => counters.to_client_dropped_queue_full += 1,
            Outcome::Unwanted => counters.unwanted += 1,
        }
    }

    /// What was counted.
    pub fn counters(&self) -> DhcpCounters {
        self.counters.borrow().clone()
    }
}

/// Gives a frame that came in by `port` to the server or client behind `to`. Beyond the port's share of its inbox
/// the frame is dropped: a peer that asks by DHCP asks again.
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
