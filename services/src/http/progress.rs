//! The time that a client has for what it does next.

use std::cell::Cell;
use std::rc::Rc;

use gatepost_ground::Instant;

use super::{
    ANSWER_TIME_MAX, CONNECTION_TIME_MAX, GROWING_TIME_MAX, HEAD_TIME_MAX, IDLE_TIME_MAX, READ_OCTETS_MIN,
    READ_TIME_MAX, WRITE_TIME_MAX,
};
use crate::clock::Clock;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for a request.
    Idle,
    /// The head of a request is incomplete.
    Head,
    /// A request is being answered.
    Answering,
    /// An answer is being written.
    Writing,
    /// An answer that grows is being written.
    Growing,
    /// All that there is of an answer that grows is written.
    Waiting,
}

/// The phase of a connection, and when it must be over.
pub(super) struct Progress {
    clock: Rc<dyn Clock>,
    began: Instant,
    phase: Cell<Phase>,
    deadline: Cell<Instant>,
    /// When the answer at hand must have been written, however often its client reads a little.
    written_by: Cell<Instant>,
    /// The octets of a growing answer that were taken since the deadline was set.
    taken: Cell<usize>,
}

impl Progress {
    /// A connection that begins now, whose client has to send a request soon.
    pub fn new(clock: Rc<dyn Clock>) -> Self {
        let began = clock.now();
        let deadline = Cell::new(began + HEAD_TIME_MAX);
        let written_by = Cell::new(began + HEAD_TIME_MAX);
        Self { clock, began, phase: Cell::new(Phase::Head), deadline, written_by, taken: Cell::new(0) }
    }

    fn enter(&self, phase: Phase) {
        let time = match phase {
            Phase::Idle => IDLE_TIME_MAX,
            Phase::Head => HEAD_TIME_MAX,
            Phase::Answering => ANSWER_TIME_MAX,
            Phase::Writing | Phase::Growing => WRITE_TIME_MAX,
            Phase::Waiting => GROWING_TIME_MAX,
        };
        self.phase.set(phase);
        self.taken.set(0);
        self.deadline.set(self.clock.now() + time);
    }

    /// Octets of the client's have come.
    pub fn received(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// The head of a request is complete.
    pub fn answering(&self) {
        self.enter(Phase::Answering);
    }

    /// The connection has taken so many octets of an answer.
    pub fn wrote(&self, octets: usize) {
        match self.phase.get() {
            Phase::Writing => self.enter(Phase::Writing),
            Phase::Idle => self.answered(),
            Phase::Waiting => self.enter(Phase::Growing),
            Phase::Growing => {
                let taken = self.taken.get().saturating_add(octets);
                self.taken.set(taken);
                if taken >= READ_OCTETS_MIN {
                    self.enter(Phase::Growing);
                }
            }
            Phase::Head | Phase::Answering => {}
        }
    }

    /// An answer that grows is about to be written.
    pub fn grows(&self) {
        // Its end comes first unless the connection stands still.
        self.written_by.set(self.clock.now() + GROWING_TIME_MAX + WRITE_TIME_MAX);
        self.enter(Phase::Growing);
    }

    /// An answer, or the end of one that grew, is about to be written.
    pub fn answered(&self) {
        self.written_by.set(self.clock.now() + READ_TIME_MAX);
        self.enter(Phase::Writing);
    }

    /// All that was written is on its way.
    pub fn flushed(&self) {
        match self.phase.get() {
            Phase::Writing => self.enter(Phase::Idle),
            Phase::Growing => self.enter(Phase::Waiting),
            Phase::Idle | Phase::Head | Phase::Answering | Phase::Waiting => {}
        }
    }

    /// Whether the connection shall take no further request.
    pub fn is_old(&self) -> bool {
        self.clock.now().since(self.began) >= CONNECTION_TIME_MAX
    }

    /// Whether the connection waits for a request.
    pub fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// When the connection ends unless the client does something.
    pub fn deadline(&self) -> Instant {
        let deadline = self.deadline.get();
        match self.phase.get() {
            Phase::Idle => deadline.min(self.began + CONNECTION_TIME_MAX),
            Phase::Writing | Phase::Growing => deadline.min(self.written_by.get()),
            Phase::Waiting => self.written_by.get(),
            Phase::Head | Phase::Answering => deadline,
        }
    }
}
