//! The flow table: stateful inspection and NAT44 in one entry.
//!
//! # What a flow is
//!
//! A [`Flow`] is a conversation between two endpoints, as the gateway sees it from both sides: the key
//! of its packets in the [original](crate::key::Direction::Original) direction, that of the packet that opened it,
//! and the key of its [replies](crate::key::Direction::Reply) as they arrive. A packet of one direction is rewritten
//! to the reverse of the other's key. This one rule serves everything, without a case for each:
//!
//! | [`NewFlow`]                | original key               | reply key                  |
//! |----------------------------|----------------------------|----------------------------|
//! | outbound, by a mapping     | inside → remote            | remote → external          |
//! | inbound, to a mapping      | remote → external          | inside → remote            |
//! | inbound, by a forward      | remote → external          | inside → remote            |
//! | inbound, gateway's service | remote → external          | external → remote          |
//!
//! Hairpin is outbound, then inbound: a packet of an inside host to the external address leaves by a flow to
//! there, and comes in again by another, as from outside, whose remote is the first host's external endpoint.
//! So two inside hosts are to each other what they are to everybody, filter and holes punched included.
//! What comes in so is no stranger's: its sender's limit has counted it on the way out. (RFC 4787, REQ-9)
//!
//! The gateway itself is an inside host whose address is an external one: its own connections go
//! through a mapping like everybody's, so no two hosts ever share an external port.
//!
//! There can be several external addresses, each with ports and mappings of its own. The caller says at which one a
//! client is seen. A remote that reaches one inside endpoint at two of them from the same port is refused the second
//! time (`Ambiguous`), as nobody could tell which the answers belong to.
//!
//! # Who owns what
//!
//! Both keys of a flow stand in one hash index that leads to its entry and direction. The entry has only the original
//! key: one end of a flow is translated at most, and what that end becomes stands behind the entry of a flow that is
//! translated. Those that are only tracked lie apart, without room for it (`store`). Timers and queues know the flows of
//! both kinds by one number. The [mappings](crate::nat::Mapping) own the external ports
//! and are owned by the flows that use them.
//!
//! # What a flow goes through
//!
//! [`FlowTable::lookup`] finds the flow of a packet; [`FlowTable::open`] makes one on a miss, if the
//! limits, the free ports and the filter allow it, and otherwise changes nothing; [`FlowTable::track`]
//! takes every further packet: it checks it against the [state of the connection](tcp), counts it and
//! restarts the idle timer. Who may restart it:
//!
//! | flow               | timeout | restarted by                          |
//! |--------------------|---------|---------------------------------------|
//! | UDP                | 300 s   | the inside (RFC 4787, REQ-6)           |
//! | ICMP query         | 60 s    | the inside                            |
//! | TCP opening        | 240 s   | the inside                            |
//! | TCP established    | 7440 s  | both: the inside has agreed to it     |
//! | TCP closing        | 240 s   | the inside                            |
//! | TCP reset          | 240 s   | nobody                                |
//!
//! Time is kept in whole seconds. A flow is over up to a second after its deadline and never before;
//! until [`FlowTable::handle_timeout`] has taken it out, it lives. ICMP errors are looked up and
//! rewritten, but not tracked: they neither end nor prolong anything (RFC 4787, REQ-12;
//! RFC 5382, REQ-10; RFC 5508, REQ-6).
//!
//! # Limits
//!
//! | what                                               | limit                                   | when it is reached           |
//! |----------------------------------------------------|-----------------------------------------|------------------------------|
//! | flows in all                                       | `flows_max`, divided among the shards   | recycled, else `TableFull`   |
//! | flows that one station on the inside opened        | `flows_per_host_max`, in all shards     | `HostLimit`                  |
//! | flows that the strangers of a port opened          | `flows_per_host_max` / 4, in all shards | recycled, else `HostLimit`   |
//! | flows that the gateway opened                      | `flows_max` / 4, if that is more        | `HostLimit`                  |
//! | flows that were opened to an inside host           | `flows_per_host_max`                    | recycled, else `HostLimit`   |
//! | flows from outside that are not kept               | `flows_max` / 4                         | recycled                     |
//! | of one source, those that nobody answered          | a quarter of that, 256 at most          | `SourceLimit`                |
//! | of one source, those that are kept                 | `flows_per_host_max` / 8                | they can be recycled         |
//! | ports of each protocol of an external address      | those that are not reserved             | recycled, `PortsExhausted`   |
//! | external addresses                                 | [`FlowTable::EXTERNALS_MAX`]            | `NoAddress`                  |
//! | pinholes                                           | [`PINHOLES_MAX`],                       | `TableFull`, `HostLimit`     |
//! |                                                    | [`PINHOLES_PER_HOST_MAX`] of one host   |                              |
//! | timers looked at in [`FlowTable::handle_timeout`]  | [`FlowTable::EXPIRIES_MAX`]             | it wants to be called again  |
//!
//! Of several shards, one host has no more than half of the room; see `host_quota_sync` for how they tell each other
//! of a host. What one source outside may have, it may have of each.
//!
//! A flow of the inside counts against its [`Source`], a machine, as an address can be forged. Three kinds of
//! flows give way to others:
//!
//! - from outside, those that have proved nothing or are over, the oldest first (`half_open`);
//! - from the inside, those that nobody has answered or that are over, the oldest of the machine with the most
//!   of them first (`holders`), and only for the inside;
//! - to a host's limit, those of the same host or of the same strangers.
//!
//! A part of the ports and of the table is a reserve for machines that have few flows and for the gateway
//! (`eviction`). Nothing else is ever ended to make room: what was answered goes on, and what is new is
//! [refused](FlowError). So a flood from outside takes nothing from the inside, a flood from one machine nothing
//! from the others, and a flood to a port that a host shows leaves it its own connections.
//!
//! Memory for all of it is taken at the start, but touched only by use; nothing is allocated per packet or
//! flow. A flow of IPv4 that is only tracked is an entry of 88 octets, one that is translated an entry of 108, and both
//! have a number of 8. With its places in the index, its timer and its links, the first takes 148; the second, with a
//! mapping of its own, 208.
//!
//! # What it does not do
//!
//! It parses and rewrites no packet, and knows no policy (who asks has decided). Fragments other than the
//! first carry no ports and cannot be looked up here.

mod bookkeeping;
mod entry;
mod error;
mod eviction;
mod half_open;
mod holders;
mod host_quota_sync;
mod limits;
mod lookup;
mod new;
mod open;
mod pinholes;
mod store;
mod table;
pub mod tcp;
mod timeouts;
mod track;

pub use self::entry::{Egress, Flow, Packet, State, Traffic, Transport};
pub use self::error::FlowError;
pub use self::holders::Source;
pub use self::host_quota_sync::HostFlows;
pub use self::lookup::KeyHash;
pub use self::new::{Client, NewFlow, Server, StaticMapping};
pub use self::pinholes::{LIFETIME_MAX, Opened, PINHOLES_MAX, PINHOLES_PER_HOST_MAX, Pinhole};
pub use self::store::FlowId;
pub use self::table::FlowTable;
pub use self::timeouts::Timeouts;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
