//! Authentication of mail from outside.
//!
//! Each check is a state machine that asks DNS questions, gets answers, and ends with a result. It has no resolver,
//! socket or clock. A check is computed from the answers so far, up to the first open question; an answer makes it
//! compute again. The number of its questions is bounded, and so is the work.

pub mod dkim;
pub mod dmarc;
pub mod known;
pub mod results;
pub mod spf;
#[cfg(test)]
mod testing;
