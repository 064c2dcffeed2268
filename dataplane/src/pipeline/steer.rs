//! The steering stage: frames that are another worker's, and those that come from one.

use super::{Context, Dataplane};
use crate::batch::{Frame, Ingress, Verdict};
use crate::port::PortId;
use crate::shard::{Origin, Taken};

impl Dataplane {
    /// A frame that another worker handed over. It comes in again as it did there.
    pub(super) fn taken_over(&mut self, cx: &mut Context<'_>, taken: Taken, frame: &mut Frame) -> Verdict {
        cx.ingress = Ingress::from(taken.origin);
        match taken.origin {
            Origin::Port(port) => self.link_input(cx, port, frame),
            Origin::Host => self.host_packet(cx, frame),
        }
    }

    /// A copy of what another worker got from `port`.
    pub(super) fn heard(&mut self, _cx: &mut Context<'_>, _port: PortId, _frame: &mut Frame) -> Verdict {
        Verdict::Consumed
    }
}
