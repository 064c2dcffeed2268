//! The checkers: promises that hold at every moment of every run, one file each.
//!
//! A checker sees the frames at the gateway's ports ([`Passage`]), just outside of the product and before the cables
//! and their faults, and the gateway's reports ([`Snapshot`]). It keeps its own state and shares nothing with the
//! product but the wire.
//!
//! Its inputs come in the order of time, and once it has reported a violation it may be called again. Like a machine it
//! has no clock and no randomness, and no table with a random order; and its state is bounded, as a run can take a
//! week. [`Office::checker`](crate::scenario::Office::checker) adds one. A checker for packets from the gateway to the
//! WAN with the LAN's addresses, which sees one:
//!
//! ```
//! use gatepost_ground::{Instant, MacAddr};
//! use gatepost_sim::checkers::{Checker, Passage, SegmentId, Side, Way};
//! use gatepost_sim::packet::{Content, Ipv4, Packet, Transport};
//!
//! struct NoPrivateSource;
//!
//! impl Checker for NoPrivateSource {
//!     fn name(&self) -> &'static str {
//!         "no-private-source"
//!     }
//!
//!     fn promise(&self) -> &'static str {
//!         "no packet leaves to the WAN from a private address"
//!     }
//!
//!     fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
//!         let leaves = passage.side == Side::Wan && passage.way == Way::Out;
//!         match passage.packet.ipv4() {
//!             Some(ip) if leaves && ip.source.is_private() => Err(format!("a packet from {}", ip.source)),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! let packet = Packet {
//!     source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
//!     destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
//!     content: Content::Ipv4(Ipv4 {
//!         source: [192, 168, 1, 9].into(),
//!         destination: [198, 18, 7, 7].into(),
//!         ttl: 63,
//!         transport: Transport::Other,
//!         content: 0,
//!         beginning: Vec::new(),
//!     }),
//! };
//! let segment = SegmentId(1);
//! let passage = Passage { now: Instant::ZERO, way: Way::Out, side: Side::Wan, segment, packet: &packet };
//! assert!(NoPrivateSource.on_passage(&passage).is_err());
//! ```

mod bystanders_served;
mod checksums;
mod configuration_in_force;
mod dhcp_answers;
mod foreign_servers_named;
mod forwards_end;
mod frames_balance;
mod hairpin_outside;
mod hops;
mod icmp_calm;
mod lan;
mod lan_hidden;
pub mod leases_durable;
mod leases_reach_holders;
pub mod mail_balance;
pub mod mail_kept;
mod mapping_lives;
mod mapping_not_shared;
mod names_true;
mod neighbors_settle;
mod no_lost_wakeups;
pub mod nothing_forged;
mod nothing_unsolicited;
mod observed_leases;
mod offers_probed;
mod one_lease_one_host;
pub mod pages_told;
mod ports_alike;
mod quotes;
mod recent;
mod services_as_configured;
mod sources_true;
mod state_sound;
pub mod syncs_before_promises;
mod tables_bounded;
pub mod time_told;
mod unguessable;
mod unknown_reset;
mod wan_lease;

use std::rc::Rc;
use std::time::Duration;

use gatepost::config::{Config, WanAddress};
use gatepost::control::report::{Counters, Flows, Leases, Neighbors, Services, Status};
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::flow::Pinhole;
use gatepost_ground::Instant;

use crate::machine::internet::SharedTree;
use crate::packet::Packet;
use crate::world::disk::DiskMood;
pub use crate::world::segment::SegmentId;

/// The direction in which a frame passes a port of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the gateway.
    In,
    /// Out of it.
    Out,
}

/// The gateway's two sides in the simulated world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The office's side.
    Lan,
    /// The internet's side.
    Wan,
}

/// A frame that passes a port of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// When.
    pub now: Instant,
    /// The direction.
    pub way: Way,
    /// The side of the gateway.
    pub side: Side,
    /// The segment, on which the gateway has one port.
    pub segment: SegmentId,
    /// The frame.
    pub packet: &'a Packet,
}

/// The gateway's report of itself, once a second.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub now: Instant,
    /// `show status`
    pub status: Status,
    /// `show counters`
    pub counters: Counters,
    /// `show leases`
    pub leases: Leases,
    /// `show neighbors`
    pub neighbors: Neighbors,
    /// `show services`
    pub services: Services,
    /// `show flows`, at some of the reports.
    pub flows: Option<Flows>,
}

/// A thread of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleeper {
    /// The event loop of the worker with this number.
    Worker(usize),
    /// The services' thread.
    Services,
}

/// A step of a change of the configuration.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The gateway is asked for this configuration: for good, or unless it is confirmed within a time.
    Applies(&'a Config, Option<Duration>),
    /// Whether it has it, and the time for the confirmation runs.
    Applied(bool),
    /// The gateway is asked to make the change final.
    Confirms,
    /// The gateway keeps the LAN's former address for this time after the confirmation that follows.
    Stays(Duration),
    /// Whether it is final.
    Confirmed(bool),
    /// The gateway is asked to undo the change.
    Undoes,
    /// Whether it is undone.
    Undone(bool),
}

/// Watches one promise. An error is a sentence that describes the violation.
pub trait Checker {
    /// A short name.
    fn name(&self) -> &'static str;

    /// The promise, as a sentence.
    fn promise(&self) -> &'static str;

    /// The gateway boots: it has lost all state that is not on its disk.
    fn on_boot(&mut self) {}

    /// The gateway begins to change to `config`. Until [`Checker::on_configure`] either configuration may be in force.
    fn on_reload(&mut self, _config: &Config) {}

    /// The gateway has booted with `config`, or has changed to it.
    fn on_configure(&mut self, _config: &Config) {}

    /// A change of the configuration goes on.
    fn on_transaction(&mut self, _now: Instant, _step: &Step<'_>) {}

    /// The gateway gets a request for a pinhole: from now on, and until `until` at the latest, it may admit the
    /// pinhole's packets.
    fn on_pinhole(&mut self, _pinhole: &Pinhole, _until: Instant) {}

    /// The state of the gateway's disk from now on.
    fn on_disk(&mut self, _mood: DiskMood) {}

    /// An octet of that file of the mail store has flipped.
    fn on_rot(&mut self, _file: &str) {}

    /// A frame passes the gateway.
    ///
    /// # Errors
    ///
    /// The promise is broken.
    fn on_passage(&mut self, _passage: &Passage<'_>) -> Result<(), String> {
        Ok(())
    }

    /// The gateway reports.
    ///
    /// # Errors
    ///
    /// The promise is broken.
    fn on_snapshot(&mut self, _snapshot: &Snapshot) -> Result<(), String> {
        Ok(())
    }

    /// A thread of the gateway goes to sleep although other threads have left work for it.
    ///
    /// # Errors
    ///
    /// The promise is broken.
    fn on_oversleeping(&mut self, _sleeper: Sleeper) -> Result<(), String> {
        Ok(())
    }

    /// The run is over, after its full time.
    ///
    /// # Errors
    ///
    /// The promise is broken.
    fn on_end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Every checker that applies to a gateway with this configuration. `tree`: the names of the internet.
/// `bits_flip`: some link corrupts frames, so a bridged or routed packet may have a wrong checksum that is not the
/// gateway's fault, and the gateway may drop a packet as damaged. `starts_at_a_wrong_time`: the gateway cannot know
/// which leases have ended before its start.
pub fn for_config(
    config: &Config,
    tree: &SharedTree,
    bits_flip: bool,
    starts_at_a_wrong_time: bool,
) -> Vec<Box<dyn Checker>> {
    let mut checkers: Vec<Box<dyn Checker>> = vec![
        Box::new(frames_balance::FramesBalance),
        Box::new(configuration_in_force::ConfigurationInForce::new(config)),
        Box::new(tables_bounded::TablesBounded::new(config)),
        Box::new(icmp_calm::IcmpCalm::default()),
        Box::new(hops::Hops::new(config)),
        Box::new(one_lease_one_host::OneLeaseOneHost::default()),
        Box::new(dhcp_answers::DhcpAnswers::new(config, !starts_at_a_wrong_time)),
        Box::new(offers_probed::OffersProbed::new(config)),
        Box::new(foreign_servers_named::ForeignServersNamed::new(config)),
        Box::new(leases_reach_holders::LeasesReachHolders::default()),
        Box::new(names_true::NamesTrue::new(config, Rc::clone(tree), !starts_at_a_wrong_time)),
        Box::new(sources_true::SourcesTrue::new(config)),
        Box::new(services_as_configured::ServicesAsConfigured::default()),
        Box::new(state_sound::StateSound::default()),
        Box::new(unguessable::Unguessable::new(config)),
        Box::new(no_lost_wakeups::NoLostWakeups),
        Box::new(neighbors_settle::NeighborsSettle::new(config)),
    ];
    if config.mode != Mode::LanOnly && config.wan.address == WanAddress::Leased {
        checkers.push(Box::new(wan_lease::WanLease::new(config)));
    }
    if config.mode.translates() {
        checkers.push(Box::new(lan_hidden::LanHidden::new(config)));
        checkers.push(Box::new(nothing_unsolicited::NothingUnsolicited::new(config)));
        checkers.push(Box::new(mapping_not_shared::MappingNotShared::new(config)));
        checkers.push(Box::new(ports_alike::PortsAlike::new(config)));
        checkers.push(Box::new(hairpin_outside::HairpinOutside::new(config)));
        checkers.push(Box::new(forwards_end::ForwardsEnd::new(config)));
    }
    if !bits_flip || config.mode.translates() {
        checkers.push(Box::new(checksums::Checksums { is_only_nat: bits_flip }));
    }
    if !bits_flip {
        checkers.push(Box::new(quotes::Quotes::default()));
        checkers.push(Box::new(bystanders_served::BystandersServed::new(config)));
    }
    if !bits_flip && config.mode.translates() {
        checkers.push(Box::new(mapping_lives::MappingLives::new(config)));
        checkers.push(Box::new(unknown_reset::UnknownReset::new(config)));
    }
    checkers
}

#[cfg(test)]
mod testing;
