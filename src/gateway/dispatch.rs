//! Gives the frames that the dataplane delivers to the part of the gateway that their class names: a service that takes
//! whole frames, or the host stack.

use std::rc::Rc;

use gatepost_dataplane::LocalClass;
use gatepost_ground::PortId;
use gatepost_ground::wire::ethernet::Header;
use gatepost_services::net::stack::{Stack, UDP_QUEUE_DATAGRAMS_MAX};
use tokio::task::yield_now;

use super::link::HostLink;
use super::services::list::List;

/// Frames that are sorted before other tasks have their turn. A socket's queue has room for more, so that its service
/// reads before forged senders fill it.
const TURN_FRAMES: usize = 32;
const _: () = assert!(TURN_FRAMES < UDP_QUEUE_DATAGRAMS_MAX);

/// Where frames go.
pub struct Dispatcher {
    /// They come from here.
    pub link: Rc<HostLink>,
    /// Takes the packets.
    pub stack: Stack,
    /// Take whole frames.
    pub list: Rc<List>,
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
        if !self.list.take_frame(class, port, frame) {
            self.stack.handle_packet(frame.get(Header::LEN..).unwrap_or_default());
        }
    }
}
