//! Gives the frames that the dataplane delivers to the part of the gateway that their class names: the DHCP server, the
//! DHCP client, or the host stack.

use std::rc::Rc;

use gatepost_dataplane::LocalClass;
use gatepost_ground::PortId;
use gatepost_ground::wire::ethernet::Header;
use gatepost_services::dhcp::inbox::Incoming;
use gatepost_services::net::stack::{Stack, UDP_QUEUE_DATAGRAMS_MAX};
use tokio::task::yield_now;

use super::link::HostLink;
use super::service_counters::ServiceCounters;
use super::services::Frames;

/// Frames that are sorted before other tasks have their turn. A socket's queue has room for more, so that its service
/// reads before forged senders fill it.
const TURN_FRAMES: usize = 32;
const _: () = assert!(TURN_FRAMES < UDP_QUEUE_DATAGRAMS_MAX);

/// Where frames go.
pub struct Dispatcher {
    /// They come from here.
    pub link: Rc<HostLink>,
    /// Takes what is not DHCP's.
    pub stack: Stack,
    /// The DHCP server on the LAN, if there is one.
    pub dhcp_server: Option<Frames>,
    /// The DHCP client on the WAN, if there is one.
    pub dhcp_client: Option<Frames>,
    /// Counts what is given to DHCP's.
    pub counters: Rc<ServiceCounters>,
}

impl Dispatcher {
    /// Sorts frames for ever.
    pub async fn run(self) {
        loop {
            self.link.delivered().await;
            while self.turn() {
                yield_now().await;
            }
        }
    }

    /// Sorts some frames. Says whether there may be more.
    fn turn(&self) -> bool {
        (0..TURN_FRAMES)
            .all(|_| self.link.receive(|class, port, frame| self.sort(class, port, frame)).is_some())
    }

    fn sort(&self, class: LocalClass, port: Option<PortId>, frame: &[u8]) {
        match class {
            LocalClass::DhcpServer => {
                let outcome = give(self.dhcp_server.as_ref(), port, frame);
                self.counters.count_dhcp(|counters| match outcome {
                    Outcome::Taken => counters.to_server += 1,
                    Outcome::QueueFull => counters.to_server_dropped_queue_full += 1,
                    Outcome::Unwanted => counters.unwanted += 1,
                });
            }
            LocalClass::DhcpClient | LocalClass::Arp => {
                let outcome = give(self.dhcp_client.as_ref(), port, frame);
                self.counters.count_dhcp(|counters| match outcome {
                    Outcome::Taken => counters.to_client += 1,
                    Outcome::QueueFull => counters.to_client_dropped_queue_full += 1,
                    Outcome::Unwanted => counters.unwanted += 1,
                });
            }
            LocalClass::Stack => self.stack.handle_packet(frame.get(Header::LEN..).unwrap_or_default()),
        }
    }
}

/// What became of a frame for a part of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    QueueFull,
    /// The gateway has no such part.
    Unwanted,
}

/// Gives a frame that came in by `port` to the DHCP server or client behind `to`. Beyond the port's share of its inbox
/// the frame is dropped: a peer that asks by DHCP asks again.
fn give(to: Option<&Frames>, port: Option<PortId>, frame: &[u8]) -> Outcome {
    match to.map(|to| to.try_send(Incoming { frame: frame.to_vec(), port })) {
        Some(Ok(())) => Outcome::Taken,
        Some(Err(_)) => Outcome::QueueFull,
        None => Outcome::Unwanted,
    }
}

#[cfg(test)]
mod tests {
    use gatepost_services::dhcp::inbox::{FRAMES_MAX, inbox};

    use super::*;

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
