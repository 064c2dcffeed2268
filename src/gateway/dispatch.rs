//! Gives the frames that the dataplane delivers to the part of the gateway that their class names: the DHCP server, the
//! DHCP client, or the host stack.

use std::rc::Rc;

use gatepost_dataplane::LocalClass;
use gatepost_dataplane::wire::ethernet::Header;
use gatepost_services::link::HostLink;
use gatepost_services::net::stack::Stack;
use tokio::sync::mpsc;
use tokio::task::yield_now;

/// Frames that are sorted before other tasks have their turn.
const TURN_FRAMES: usize = 256;

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
            // A full channel drops: who asks by DHCP asks again.
            LocalClass::DhcpServer => _ = self.dhcp_server.as_ref().map(|to| to.try_send(frame.to_vec())),
            LocalClass::DhcpClient | LocalClass::Arp => {
                _ = self.dhcp_client.as_ref().map(|to| to.try_send(frame.to_vec()));
            }
            LocalClass::Stack => self.stack.handle_packet(frame.get(Header::LEN..).unwrap_or_default()),
        }
    }
}
