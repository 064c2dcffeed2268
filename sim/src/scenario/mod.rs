//! How to write a scenario, and all of its elements.
//!
//! A scenario is an [`Office`]: its machines, timed events, and expectations at the end. Around the production gateway
//! are PCs, a spoofer, the provider with the internet, an attacker and a visitor. The [`checkers`](crate::checkers)
//! verify the promises of every gateway during the whole run.
//!
//! ```
//! use std::time::Duration;
//!
//! use gatepost_sim::scenario::{link, office, replug};
//! use gatepost_sim::world::link::loss;
//!
//! let moves = office()
//!     .pcs(3)
//!     .lan_ports(2)
//!     .chatting(1)
//!     .link("lan", loss(0.01).jitter_ms(2))
//!     .at(Duration::from_secs(20), replug("pc-0", "lan1"))
//!     .lasting(Duration::from_secs(60))
//!     .expect("pc-0's chat went on", |account| account.chats_went_on(1, 40));
//! let outcome = moves.run("laptop-moves", 1, None).expect("the office can be built");
//! assert!(outcome.passed(), "{outcome}");
//! # let _ = link("pc-0", loss(0.5));
//! ```
//!
//! # Names
//!
//! | name | meaning |
//! | --- | --- |
//! | `pc-0` and so on | the PCs; `pcs` for the cables of all |
//! | `lan0` and so on, `wan` | the gateway's ports; `lan` for the cables of all of the former |
//! | `spoofer` | on the LAN |
//! | `administrator` | the machine that [changes the configuration](Office::administered), on the LAN |
//! | `browser-0` and so on | browsers that [use the administration](Office::browsing), on the LAN |
//! | `prober-0` and so on | hosts that [examine the path outside](Office::probing), on the LAN |
//! | `internet`, `attacker`, `visitor` | on the WAN |
//! | `dhcp`, `names`, `web`, `chat`, `late` | the internet's servers ([`internet`](crate::machine::internet)) |
//! | `mx-0` and so on, `pop` | [mail servers](Office::mail_servers), with TLS or without, and a remote [mailbox](Office::polling) |
//! | `lab-ns`, `corp-ns`, `asker` | name servers of [zones](Office::zone), and a host that [looks up names](Office::looking_up) |
//! | `resolver-0`, `resolver-1`, `resolvers`, `a.root` and so on, `authorities` | name servers, for [`dns_of`] |
//!
//! A name that does not exist, an invalid number and a time after the end are rejected before the run, with the line of
//! the scenario to change.
//!
//! # Own machines, servers and checkers
//!
//! - [`Office::machine`] plugs a [`Machine`](crate::machine::Machine) into the LAN or the WAN.
//! - [`Office::server`] puts a [`Server`](crate::machine::internet::server::Server) behind the provider's router.
//! - [`Office::checker`] adds a promise, as a [`Checker`](crate::checkers::Checker).
//! - [`act`] acts on a machine or a server at a time; other actions accept own names like others: [`link`], [`replug`],
//!   [`sleep`], [`partition`], [`frame`]. [`calm`] ends all faults, including those of own machines by
//!   [`Machine::calm`](crate::machine::Machine::calm).
//! - [`Account::record`] returns the record of each at the end, with its own type.
//!
//! A host that says a word every second, a server that says it back, and a promise about both:
//!
//! ```
//! use std::net::SocketAddrV4;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use gatepost_ground::{Instant, MacAddr};
//! use gatepost_sim::checkers::{Checker, Passage, Side};
//! use gatepost_sim::machine::internet::Site;
//! use gatepost_sim::machine::internet::server::{Server, Wire};
//! use gatepost_sim::machine::stack::{SocketHandle, Stack};
//! use gatepost_sim::machine::{Machine, Record};
//! use gatepost_sim::scenario::{Identity, act, office};
//!
//! struct Caller {
//!     stack: Stack,
//!     socket: SocketHandle,
//!     word: &'static [u8],
//!     next_at: Instant,
//!     heard: usize,
//! }
//!
//! impl Caller {
//!     fn new(identity: &Identity) -> Self {
//!         let mut stack = Stack::of(identity, identity.seed);
//!         let socket = stack.bind_udp(4_000);
//!         Self { stack, socket, word: b"hello", next_at: Instant::ZERO, heard: 0 }
//!     }
//! }
//!
//! impl Machine for Caller {
//!     fn mac(&self) -> MacAddr {
//!         self.stack.mac()
//!     }
//!
//!     fn handle_frame(&mut self, frame: Vec<u8>) {
//!         self.stack.handle_frame(frame);
//!     }
//!
//!     fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
//!         self.stack.poll(now);
//!         while self.stack.receive_udp(self.socket).is_some() {
//!             self.heard += 1;
//!         }
//!         if self.next_at <= now {
//!             self.next_at = now + Duration::from_secs(1);
//!             self.stack.send_udp(self.socket, SocketAddrV4::new([198, 18, 99, 1].into(), 7_000), self.word);
//!         }
//!         self.stack.poll(now);
//!         self.stack.drain(transmit);
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
//!
//! struct Parrot;
//!
//! impl Server for Parrot {
//!     fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
//!         while let Some(said) = wire.receive() {
//!             wire.send(said.to, said.from, &said.payload);
//!         }
//!     }
//! }
//!
//! struct Polite;
//!
//! impl Checker for Polite {
//!     fn name(&self) -> &'static str {
//!         "polite"
//!     }
//!
//!     fn promise(&self) -> &'static str {
//!         "nobody swears on the WAN"
//!     }
//!
//!     fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
//!         match passage.packet.udp() {
//!             Some((ip, .., b"damn")) if passage.side == Side::Wan => Err(format!("{} swears", ip.source)),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! let calls = || {
//!     office()
//!         .pcs(1)
//!         .machine("caller", "lan0", Caller::new)
//!         .server("parrot", Site::at([198, 18, 99, 1]).udp(7_000), |_seed| Parrot)
//!         .checker(|_config| Polite)
//!         .lasting(Duration::from_secs(10))
//!         .expect("the parrot answers", |account| match account.record::<usize>("caller") {
//!             8..=10 => Ok(()),
//!             heard => Err(format!("{heard} answers")),
//!         })
//! };
//! let outcome = calls().run("parrot", 1, None).expect("the office can be built");
//! assert!(outcome.passed(), "{outcome}");
//!
//! let swears = act("caller", "swears", |caller: &mut Caller, _now| caller.word = b"damn");
//! let rude = calls().at(Duration::from_secs(5), swears).run("rude", 1, None).expect("it can be built");
//! assert_eq!(rude.violations[0].checker, "polite");
//! ```
//!
//! # Reproducibility
//!
//! The same office with the same seed is the same run, to the octet and the microsecond, and [`Outcome::trace_hash`]
//! proves it, as long as machines, servers and checkers follow the rules of [`machine`](crate::machine). An additional
//! machine or server draws its seed after all others, so that the others' random choices stay.
//!
//! # An own crate
//!
//! A crate with scenarios depends on `gatepost-sim` and `gatepost-ground`, lists its scenarios in a [`Catalog`], and
//! has a command line of its own with [`command::main`](crate::command::main), whose `--seeds` runs many and whose
//! `--pcap` writes a capture, and tests with [`command::check`](crate::command::check). `sim/examples/meter` is one.

pub mod action;
pub mod browsing;
pub mod catalog;
mod contents;
mod describe;
mod gateway_config;
mod layout;
pub mod mail;
mod members;
mod named;
pub mod names;
mod office;
pub mod outcome;
mod own;
mod progress;
mod run;
pub mod swarm;
mod validate;
mod world;

pub use crate::machine::identity::Identity;
pub use action::{
    Action, act, attack, calm, clock_disciplined, clock_drifts, clock_jumps, dhcp_of_provider, dhcp_silent,
    disk, dns, dns_of, frame, lease_form, link, name_moves, name_servers_told, open_pinhole, panic,
    partition, port_scan, power_back, power_cut, power_cut_while_replacing, power_cut_while_writing,
    provider, reload, reload_refused, renumber, replug, reunite, sleep, spoof, wake,
};
pub use named::{Catalog, Scenario};
pub use office::{Office, dhcp, fixed, office};
pub use outcome::{Account, MachineAccount, Outcome};
pub use own::{Act, OWN_MAX};
pub use progress::{Progress, Watch};
