//! The time that a client has for what it does next.

use std::cell::Cell;
use std::rc::Rc;

use gatepost_ground::Instant;

use super::{
    ANSWER_TIME_MAX, CONNECTION_TIME_MAX, HEAD_TIME_MAX, IDLE_TIME_MAX, READ_TIME_MAX, WRITE_TIME_MAX,
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
}

/// The phase of a connection, and when it must be over.
pub(super) struct Progress {
    clock: Rc<dyn Clock>,
    began: Instant,
    phase: Cell<Phase>,
    deadline: Cell<Instant>,
    /// When the answer at hand must have been written, however often its client reads a little.
    written_by: Cell<Instant>,
}

impl Progress {
    /// A connection that begins now, whose client has to send a request soon.
    pub fn new(clock: Rc<dyn Clock>) -> Self {
        let began = clock.now();
        let deadline = Cell::new(began + HEAD_TIME_MAX);
        let written_by = Cell::new(began + HEAD_TIME_MAX);
        Self { clock, began, phase: Cell::new(Phase::Head), deadline, written_by }
    }

    fn enter(&self, phase: Phase) {
        let time = match phase {
            Phase::Idle => IDLE_TIME_MAX,
            Phase::Head => HEAD_TIME_MAX,
            Phase::Answering => ANSWER_TIME_MAX,
            Phase::Writing => WRITE_TIME_MAX,
        };
        self.phase.set(phase);
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

    /// The connection has taken octets of an answer.
    pub fn wrote(&self) {
        match self.phase.get() {
            Phase::Writing => self.enter(Phase::Writing),
            Phase::Idle => self.answered(),
            Phase::Head | Phase::Answering => {}
        }
    }

    /// An answer is about to be written.
    pub fn answered(&self) {
        self.written_by.set(self.clock.now() + READ_TIME_MAX);
        self.enter(Phase::Writing);
    }

    /// All that was written is on its way.
    pub fn flushed(&self) {
        if self.phase.get() == Phase::Writing {
            self.enter(Phase::Idle);
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
            Phase::Writing => deadline.min(self.written_by.get()),
            Phase::Head | Phase::Answering => deadline,
        }
    }
}
