//! The machines of the simulated world. They speak Ethernet, ARP, IP, UDP and TCP themselves, over
//! smoltcp or with frames made by etherparse; nothing of the product's codecs or clients is in them.

pub mod asker;
pub mod attacker;
mod fetch;
mod forgery;
pub mod internet;
mod page_server;
pub mod pc;
pub mod spoofer;
mod stack;
mod tcp_names;
pub mod visitor;

use gatepost_ground::{Instant, MacAddr};

/// A simulated machine with one network card.
pub trait Machine {
    /// The card's address.
    fn mac(&self) -> MacAddr;

    /// Takes a frame in; [`Machine::poll`] follows at once.
    fn handle_frame(&mut self, frame: Vec<u8>);

    /// Does what is to be done at `now`, and gives frames to `transmit`.
    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>));

    /// When to poll even if nothing comes in.
    fn poll_timeout(&self) -> Option<Instant>;
}
