//! Whether mail from outside is from whom it says it is from.
//!
//! Each check is a machine that asks for records of the name service, is answered, and ends with a result. It knows no
//! resolver, no socket and no clock. A check is computed from all answers that are known so far, up to the first
//! question that is open; an answer makes it compute again. The number of its questions is bounded, and so is the work.

pub mod dkim;
pub mod dmarc;
pub mod known;
pub mod results;
pub mod spf;
#[cfg(test)]
mod testing;
