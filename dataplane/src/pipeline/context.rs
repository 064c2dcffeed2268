//! The state that the stages share besides the tables: one call of the dataplane, and the call's current frame.
//!
//! A [`Call`] lasts as long as one call of the dataplane. A [`Context`] is made for one frame, received or released
//! from a queue, and ends with it, so that no frame sees the state of another.

use gatepost_ground::Instant;

use crate::batch::{Output, SpareSlots};
use crate::flow::KeyHash;
use crate::handoff::{Handoff, HandoffStage, Origin};
use crate::ingress::Ingress;
use crate::verdict::Verdict;

/// One call of the dataplane: the time, and the room for frames that the gateway makes or releases.
pub(super) struct Call<'a> {
    pub(super) now: Instant,
    pub(super) output: &'a mut Output,
    pub(super) spare: SpareSlots<'a>,
}

/// The stages' state of the current frame, besides its octets.
pub(super) struct Context<'c, 'a> {
    pub(super) call: &'c mut Call<'a>,
    /// Where the frame came from. For a frame that is handed over: how the other worker receives it.
    pub(super) ingress: Ingress,
    /// The hash of the frame's flow key, if the prefetch has computed it.
    pub(super) key_hash: Option<KeyHash>,
    /// Why the frame is at this worker.
    pub(super) stage: HandoffStage,
    /// Whether the other workers get a copy of the frame to learn from.
    pub(super) copy_to_others: bool,
    /// Whether NAT has rewritten the packet, here or at the worker that handed it over.
    pub(super) is_rewritten: bool,
    /// Whether another worker sent the frame, or other workers get it.
    pub(super) involves_others: bool,
}

impl<'c, 'a> Context<'c, 'a> {
    /// The context of a frame that came in by `ingress`.
    #[inline]
    pub(super) fn new(call: &'c mut Call<'a>, ingress: Ingress, key_hash: Option<KeyHash>) -> Self {
        Self {
            call,
            ingress,
            key_hash,
            stage: HandoffStage::Direct,
            copy_to_others: false,
            is_rewritten: false,
            involves_others: false,
        }
    }

    /// The context of a held fragment that came in by `ingress` and that the current frame, of the same packet,
    /// releases.
    pub(super) fn of_released(&mut self, ingress: Ingress) -> Context<'_, 'a> {
        Context { stage: self.stage, ..Context::new(self.call, ingress, None) }
    }

    /// Hands the frame to `worker`, which continues at `stage`.
    pub(super) fn hand_over(&mut self, worker: u8, stage: HandoffStage) -> Verdict {
        let origin = match self.ingress {
            Ingress::Port(port) | Ingress::ArpCopy(port) => Origin::Port(port),
            Ingress::HandedOver(handoff) => handoff.origin,
            Ingress::Stack | Ingress::RawFrame(_) => Origin::Stack,
        };
        self.ingress = Ingress::HandedOver(Handoff { origin, stage });
        self.involves_others = true;
        Verdict::HandOver(worker)
    }
}
