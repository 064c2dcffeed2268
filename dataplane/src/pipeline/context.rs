//! What the stages share besides the tables: one call of the dataplane, and in it one frame at hand.
//!
//! What belongs to the call lasts as long as the call. What belongs to a frame is a value that is made for the frame,
//! received or let go, and is gone with it: nothing of one frame is left over for the next.

use gatepost_ground::Instant;

use crate::batch::{Output, SpareSlots};
use crate::flow::KeyHash;
use crate::handoff::{Handoff, HandoffStage, Origin};
use crate::ingress::Ingress;
use crate::verdict::Verdict;

/// One call of the dataplane: the time, and the places for frames made and let go.
pub(super) struct Call<'a> {
    pub(super) now: Instant,
    pub(super) output: &'a mut Output,
    pub(super) spare: SpareSlots<'a>,
}

/// The frame at hand, as far as the frame itself does not say it.
pub(super) struct Context<'c, 'a> {
    pub(super) call: &'c mut Call<'a>,
    /// Where the frame came from. Of one that is handed over, how it goes to the other worker.
    pub(super) ingress: Ingress,
    /// The hash of the frame's flow key, if it was worked out ahead.
    pub(super) key_hash: Option<KeyHash>,
    /// How far the frame had come when it came in here.
    pub(super) stage: HandoffStage,
    /// Whether the other workers are to learn from the frame, too.
    pub(super) copy_to_others: bool,
    /// Whether the frame came from another worker, or goes to others.
    pub(super) involves_others: bool,
}

impl<'c, 'a> Context<'c, 'a> {
    /// A frame that has come in by `ingress`.
    #[inline]
    pub(super) fn new(call: &'c mut Call<'a>, ingress: Ingress, key_hash: Option<KeyHash>) -> Self {
        Self {
            call,
            ingress,
            key_hash,
            stage: HandoffStage::Direct,
            copy_to_others: false,
            involves_others: false,
        }
    }

    /// A frame that came in by `ingress`, was held, and is let go by the frame at hand, of the same packet.
    pub(super) fn of_released(&mut self, ingress: Ingress) -> Context<'_, 'a> {
        Context { stage: self.stage, ..Context::new(self.call, ingress, None) }
    }

    /// Hands over the frame, which has come as far as `stage`.
    pub(super) fn hand_over(&mut self, worker: u8, stage: HandoffStage) -> Verdict {
        let origin = match self.ingress {
            Ingress::Port(port) | Ingress::ArpCopy(port) => Origin::Port(port),
            Ingress::HandedOver(handoff) => handoff.origin,
            Ingress::Host | Ingress::HostRaw(_) => Origin::Host,
        };
        self.ingress = Ingress::HandedOver(Handoff { origin, stage });
        self.involves_others = true;
        Verdict::HandOver(worker)
    }
}
