//! Gives the frames that the dataplane delivers to the part of the gateway that their class names: the DHCP server, the
//! DHCP client, or the host stack.

use std::rc::Rc;

use gatepost_dataplane::LocalClass;
use gatepost_dataplane::wire::ethernet::Header;
use gatepost_services::link::HostLink;
use gatepost_services::net::stack::{Stack, UDP_QUEUE_DATAGRAMS_MAX};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::service_counters::ServiceCounters;

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
    pub dhcp_server: Option<mpsc::Sender<Vec<u8>>>,
    /// The DHCP client on the WAN, if there is one.
    pub dhcp_client: Option<mpsc::Sender<Vec<u8>>>,
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
        (0..TURN_FRAMES).all(|_| self.link.receive(|class, frame| self.sort(class, frame)).is_some())
    }

    fn sort(&self, class: LocalClass, frame: &[u8]) {
        match class {
            LocalClass::DhcpServer => {
                let outcome = give(self.dhcp_server.as_ref(), frame);
                self.counters.count_dhcp(|counters| match outcome {
                    Outcome::Taken => counters.to_server += 1,
                    Outcome::QueueFull => counters.to_server_dropped_queue_full += 1,
                    Outcome::Unwanted => counters.unwanted += 1,
                });
            }
            LocalClass::DhcpClient | LocalClass::Arp => {
                let outcome = give(self.dhcp_client.as_ref(), frame);
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

/// Gives a frame to the DHCP server or client behind `to`. A full channel drops it: a peer that asks by DHCP asks
/// again.
fn give(to: Option<&mpsc::Sender<Vec<u8>>>, frame: &[u8]) -> Outcome {
    match to.map(|to| to.try_send(frame.to_vec())) {
        Some(Ok(())) => Outcome::Taken,
        Some(Err(_)) => Outcome::QueueFull,
        None => Outcome::Unwanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_drops_and_no_channel_wants_nothing() {
        let (sender, mut frames) = mpsc::channel(2);
        let given = [0; 3].map(|_| give(Some(&sender), b"frame"));
        assert_eq!(given, [Outcome::Taken, Outcome::Taken, Outcome::QueueFull]);
        assert_eq!(frames.try_recv().as_deref(), Ok(&b"frame"[..]));
        assert_eq!(give(Some(&sender), b"frame"), Outcome::Taken);
        assert_eq!(give(None, b"frame"), Outcome::Unwanted);
    }
}
