//! The vocabulary that scenarios are written in.
//!
//! A scenario is an [`Office`], what happens to it at which time, and what is expected in the end:
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
//!     .expect("pc-0's chat went on", |account| {
//!         let chat = account.pc("pc-0");
//!         if chat.chats_broken == 0 && chat.chat_lines > 40 { Ok(()) } else { Err(chat.to_string()) }
//!     });
//! let outcome = moves.run("laptop-moves", 1, None).expect("the office can be built");
//! assert!(outcome.passed(), "{outcome}");
//! # let _ = link("pc-0", loss(0.5));
//! ```
//!
//! The names in it: `pc-0` and so on, the gateway's ports `lan0` and so on and `wan`, `lan` for all of the
//! former, `pcs` for every PC, `spoofer` on the LAN, `internet`, `attacker` and `visitor` on the WAN; of name
//! servers `resolver-0`, `resolver-1`, `resolvers`, `a.root` and the others of the internet's tree,
//! `authorities`.

pub mod action;
pub mod catalog;
mod describe;
mod gateway_config;
mod layout;
mod members;
mod office;
pub mod outcome;
mod progress;
mod run;
pub mod swarm;
mod validate;
mod world;

pub use action::{
    Action, attack, calm, clock_jumps, dhcp_silent, disk, dns, dns_of, frame, link, name_moves, panic,
    partition, port_scan, power_back, power_cut, power_cut_while_writing, provider, reload, reload_refused,
    renumber, replug, reunite, sleep, spoof, wake,
};
pub use office::{Office, dhcp, fixed, office};
pub use outcome::{Account, MachineAccount, Outcome};
pub use progress::{Progress, Watch};
