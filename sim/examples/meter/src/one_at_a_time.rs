//! A meter sends a reading only when the one before was acknowledged.

use gatepost_sim::checkers::{Checker, Passage, Side, Way};

use crate::protocol::{Message, PORT};

/// Watches the gateway's LAN ports: what the meter says comes in there, and what it hears goes out.
#[derive(Default)]
pub struct OneAtATime {
    /// The number of the latest reading.
    latest: u32,
    is_acknowledged: bool,
}

impl Checker for OneAtATime {
    fn name(&self) -> &'static str {
        "one-reading-at-a-time"
    }

    fn promise(&self) -> &'static str {
        "a meter sends a reading only when the one before was acknowledged"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Some((_, from, to, payload)) = passage.packet.udp().filter(|_| passage.side == Side::Lan) else {
            return Ok(());
        };
        match (passage.way, Message::parse(payload)) {
            (Way::In, Some(Message::Reading { number, .. })) if to == PORT && number > self.latest => {
                let before = self.latest;
                let is_early = before > 0 && !self.is_acknowledged;
                (self.latest, self.is_acknowledged) = (number, false);
                if is_early {
                    return Err(format!("reading {number} is sent, and {before} is not acknowledged"));
                }
            }
            (Way::Out, Some(Message::Acknowledgement { number })) if from == PORT => {
                self.is_acknowledged |= number == self.latest;
            }
            _ => {}
        }
        Ok(())
    }
}
