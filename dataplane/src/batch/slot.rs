//! The slots of a batch: those with received frames, and the spare ones behind them.

use gatepost_ground::{Frame, Offload};

use crate::ingress::Ingress;
use crate::verdict::Verdict;

/// One received frame of a batch.
#[derive(Debug)]
pub struct Slot {
    /// The frame's source.
    pub ingress: Ingress,
    /// The frame itself.
    pub frame: Frame,
    /// The frame's verdict.
    pub verdict: Verdict,
    /// Whether all other workers get a copy, with [`Ingress::ArpCopy`]. The frame is unchanged then.
    pub copy_to_others: bool,
}

/// The slots of a batch behind the frames received.
#[derive(Debug)]
pub(crate) struct SpareSlots<'a> {
    slots: &'a mut [Slot],
    used: usize,
    batch_len: &'a mut usize,
}

impl<'a> SpareSlots<'a> {
    /// The `slots` behind the `batch_len` frames of a batch.
    pub(super) fn new(slots: &'a mut [Slot], batch_len: &'a mut usize) -> Self {
        Self { slots, used: 0, batch_len }
    }

    /// Adds a held frame that came in by `ingress` and goes to the host stack or another worker, and leaves `frame`
    /// empty. Returns `false`, and adds nothing, if there is no room.
    pub(crate) fn add(&mut self, ingress: Ingress, verdict: Verdict, frame: &mut Frame) -> bool {
        let Some(slot) = self.slots.get_mut(self.used) else { return false };
        frame.give_to(&mut slot.frame);
        self.use_next(ingress, verdict);
        true
    }

    /// Adds a frame that `write` makes in the buffer it gets, and whose length it returns. Returns `false`, and adds
    /// nothing, if there is no room or `write` returns `None`.
    pub(crate) fn make(
        &mut self,
        ingress: Ingress,
        verdict: Verdict,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let Some(slot) = self.slots.get_mut(self.used) else { return false };
        let Some(len) = write(slot.frame.buffer_mut()) else { return false };
        slot.frame.set_len(len);
        slot.frame.set_offload(Offload::None);
        self.use_next(ingress, verdict);
        true
    }

    fn use_next(&mut self, ingress: Ingress, verdict: Verdict) {
        let slot = &mut self.slots[self.used];
        slot.ingress = ingress;
        slot.verdict = verdict;
        slot.copy_to_others = false;
        self.used += 1;
        *self.batch_len += 1;
    }
}
