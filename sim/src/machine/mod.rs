//! The machines of the simulated world. They speak Ethernet, ARP, IP, UDP and TCP themselves, over
//! smoltcp or with frames made by etherparse; nothing of the product's codecs or clients is in them.
//!
//! A machine has one network card and is a [`Machine`]; [`stack`] is an optional TCP/IP. Its inputs are the frames that
//! reach its card; each time it is polled it may send some, and it returns when it wants to be polled next. For a
//! reproducible run, a machine
//!
//! - has no clock: `now` is its only time;
//! - draws from a generator that it makes of its seed, such as `StdRng::seed_from_u64(seed)`;
//! - has no table with a random order: `BTreeMap`, not `HashMap`;
//! - bounds its state: all input may come from a broken peer.
//!
//! A machine that says "hello" once a second in an Ethernet frame of a local experiment, and counts the answers:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use gatepost_ground::{Instant, MacAddr};
//! use gatepost_sim::machine::{Machine, Record};
//!
//! struct Greeter {
//!     mac: MacAddr,
//!     next_at: Instant,
//!     heard: u64,
//! }
//!
//! impl Machine for Greeter {
//!     fn mac(&self) -> MacAddr {
//!         self.mac
//!     }
//!
//!     fn handle_frame(&mut self, _frame: Vec<u8>) {
//!         self.heard += 1;
//!     }
//!
//!     fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
//!         if self.next_at <= now {
//!             // To everybody; 0x88b5 is for local experiments.
//!             let mut frame = [&[0xff; 6][..], &self.mac.0, &[0x88, 0xb5], b"hello"].concat();
//!             frame.resize(60, 0);
//!             transmit(frame);
//!             self.next_at = now + Duration::from_secs(1);
//!         }
//!     }
//!
//!     fn poll_timeout(&self) -> Option<Instant> {
//!         Some(self.next_at)
//!     }
//!
//!     fn record(&self) -> Arc<dyn Record> {
//!         Arc::new(self.heard)
//!     }
//! }
//! ```

pub mod administrator;
pub(crate) mod asker;
pub mod attacker;
pub mod browser;
mod fetch;
pub mod fetcher;
mod forgery;
pub mod forgotten_server;
mod fragments;
pub mod guest;
pub(crate) mod identity;
pub mod internet;
pub mod mail_server;
pub mod mailer;
mod page_server;
pub mod pc;
pub mod pop_server;
pub mod post;
pub mod prober;
pub mod spoofer;
pub mod stack;
mod tcp_names;
pub mod text_reader;
mod time_client;
pub mod tls;
pub mod visitor;
pub mod zone_asker;
pub mod zone_host;

use std::any::Any;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;

/// A simulated machine with one network card.
pub trait Machine: Any {
    /// The card's address. No other machine has it, and it stays the same but for a phone's.
    fn mac(&self) -> MacAddr;

    /// Takes a frame in that is for the card's address, or for many; [`Machine::poll`] follows at once.
    fn handle_frame(&mut self, frame: Vec<u8>);

    /// Does what is due at `now`, and passes frames to `transmit`.
    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>));

    /// When to poll even if nothing comes in; `None`: only then.
    fn poll_timeout(&self) -> Option<Instant>;

    /// All faults end: it behaves correctly from now on.
    fn calm(&mut self) {}

    /// The provider has gone over to `network`, where the office gets the address `office`.
    fn on_renumber(&mut self, _network: Ipv4Net, _office: Ipv4Addr) {}

    /// The office has the address `office` outside, for machines that need it. The world repeats this now and then.
    fn on_office_at(&mut self, _office: Ipv4Addr) {}

    /// Its record, for [`Account::record`](crate::scenario::Account::record).
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(())
    }
}

/// A machine's or server's record: any type that can be printed and sent to another thread.
pub trait Record: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Record for T {}
