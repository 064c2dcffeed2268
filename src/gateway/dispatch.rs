//! Passes the frames that the dataplane delivers to the part of the gateway that their class names: a service that
//! takes whole frames, or the host stack.

use std::rc::Rc;

use gatepost_dataplane::LocalClass;
use gatepost_ground::PortId;
use gatepost_ground::wire::ethernet::Header;
use gatepost_services::net::stack::{Stack, UDP_QUEUE_DATAGRAMS_MAX};
use tokio::task::yield_now;

use super::link::HostLink;
use super::services::list::List;

/// The frames that are dispatched before other tasks get a turn. A socket's queue has room for more, so that its
/// service reads before a flood fills it.
const TURN_FRAMES: usize = 32;
const _: () = assert!(TURN_FRAMES < UDP_QUEUE_DATAGRAMS_MAX);

/// The dispatcher of delivered frames.
pub struct Dispatcher {
    /// The link that delivers the frames.
    pub link: Rc<HostLink>,
    /// The host stack, which gets packets.
    pub stack: Stack,
    /// The services, some of which get whole frames.
    pub list: Rc<List>,
}

impl Dispatcher {
    /// Dispatches frames. Never returns.
    pub async fn run(self) {
        loop {
            self.link.delivered().await;
            while self.turn() {
                yield_now().await;
            }
        }
    }

    /// Dispatches some frames. Returns whether there may be more.
    fn turn(&self) -> bool {
        (0..TURN_FRAMES)
            .all(|_| self.link.receive(|class, port, frame| self.sort(class, port, frame)).is_some())
    }

    fn sort(&self, class: LocalClass, port: Option<PortId>, frame: &[u8]) {
        if !self.list.take_frame(class, port, frame) {
            self.stack.handle_packet(frame.get(Header::LEN..).unwrap_or_default());
        }
    }
}
