//! The flow table: stateful inspection and NAT44 in one entry.
//!
//! # What a flow is
//!
//! A [`Flow`] is a conversation between two endpoints. It has two keys: the key of its packets in the
//! [original](crate::key::Direction::Original) direction (the direction of the packet that opened it) and the key of
//! its [replies](crate::key::Direction::Reply), both as the packets arrive. A packet of one direction is rewritten to
//! the reverse of the other direction's key. This one rule covers all kinds of flows:
//!
//! | [`NewFlow`]                | original key               | reply key                  |
//! |----------------------------|----------------------------|----------------------------|
//! | outbound, by a mapping     | inside → remote            | remote → external          |
//! | inbound, to a mapping      | remote → external          | inside → remote            |
//! | inbound, by a forward      | remote → external          | inside → remote            |
//! | inbound, gateway's service | remote → external          | external → remote          |
//!
//! A hairpin is an outbound flow and then an inbound one: a packet that an inside host sends to the external address
//! leaves by a flow to that address, and comes in again by another flow, as if from outside, whose remote is the
//! first host's external endpoint. So two inside hosts see each other as the internet sees them, with filters and
//! punched holes. The inbound flow counts against no limit of remote addresses, as the outbound flow has counted
//! against the sender's limit. (RFC 4787, REQ-9)
//!
//! The gateway itself is an inside host with an external address: its own connections have mappings like those of all
//! inside hosts, so no two hosts ever share an external port.
//!
//! There can be several external addresses, each with its own ports and mappings. The caller picks the external
//! address of a client. If a remote uses one source port to reach one inside endpoint at two external addresses, the
//! second flow is rejected (`Ambiguous`), as replies could belong to either flow.
//!
//! # Ownership
//!
//! One hash index maps both keys of a flow to its entry and direction. The entry has only the original key: at most
//! one end of a flow is translated, and the translated endpoint is stored behind the entry of a translated flow.
//! Flows that are only tracked are stored apart, without room for a translation (`store`). Timers and queues refer to
//! flows of both kinds by one number. The [mappings](crate::nat::Mapping) own the external ports, and the flows that
//! use a mapping own it.
//!
//! # How a flow lives
//!
//! [`FlowTable::lookup`] finds the flow of a packet. [`FlowTable::open`] opens a flow on a miss, if the limits, the
//! free ports and the filter allow it, and otherwise changes nothing. [`FlowTable::track`] takes every further
//! packet: it checks the packet against the [state of the connection](tcp), counts it and restarts the idle timer.
//! The packets that restart it:
//!
//! | flow               | timeout | restarted by                          |
//! |--------------------|---------|---------------------------------------|
//! | UDP                | 300 s   | the inside (RFC 4787, REQ-6)           |
//! | ICMP query         | 60 s    | the inside                            |
//! | TCP opening        | 240 s   | the inside                            |
//! | TCP established    | 7440 s  | both: the inside has agreed to it     |
//! | TCP closing        | 240 s   | the inside                            |
//! | TCP reset          | 240 s   | no packet                             |
//!
//! Time is kept in whole seconds. A flow ends within a second after its deadline and never before; it lives until
//! [`FlowTable::handle_timeout`] removes it. ICMP errors are looked up and rewritten, but not tracked: they neither
//! end nor refresh a flow (RFC 4787, REQ-12; RFC 5382, REQ-10; RFC 5508, REQ-6).
//!
//! # Limits
//!
//! | what                                               | limit                                   | when it is reached           |
//! |----------------------------------------------------|-----------------------------------------|------------------------------|
//! | flows in all                                       | `flows_max`, divided among the shards   | recycled, else `TableFull`   |
//! | flows that one station on the inside opened        | `flows_per_host_max`, in all shards     | recycled, else `HostLimit`   |
//! | flows that unverified senders of a port opened     | `flows_per_host_max` / 4, in all shards | recycled, else `HostLimit`   |
//! | flows that the gateway opened                      | `flows_max` / 4, if that is more        | recycled, else `HostLimit`   |
//! | flows that were opened to an inside host           | `flows_per_host_max`                    | recycled, else `HostLimit`   |
//! | flows from outside that are not assured            | `flows_max` / 4                         | recycled                     |
//! | of one remote address, unanswered flows            | a quarter of that, 256 at most          | `RemoteLimit`                |
//! | of one remote address, assured flows               | `flows_per_host_max` / 8                | they can be recycled         |
//! | ports of each protocol of an external address      | those that are not reserved             | recycled, `PortsExhausted`   |
//! | external addresses                                 | [`FlowTable::EXTERNALS_MAX`]            | `NoAddress`                  |
//! | pinholes                                           | [`PINHOLES_MAX`],                       | `TableFull`, `HostLimit`     |
//! |                                                    | [`PINHOLES_PER_HOST_MAX`] of one host   |                              |
//! | timers looked at in [`FlowTable::handle_timeout`]  | [`FlowTable::EXPIRIES_MAX`]             | due again at once            |
//!
//! With several shards, one host has at most half of a shard's room; the shards exchange the counts of hosts
//! (`host_quota_sync`). The limits of a remote address hold in each shard separately.
//!
//! A flow that the inside opened counts against its [`Source`], a machine, since an address can be forged. Three
//! kinds of flows are recycled for new ones:
//!
//! - flows from outside that are not assured or are over, the oldest first (`half_open`);
//! - flows from the inside that are unanswered or over, the oldest of the machine with the most of them first
//!   (`holders`), and only for new flows from the inside;
//! - for a host's limit, flows of the same host or of the same unverified senders.
//!
//! A part of the ports and of the table is reserved for machines with few flows and for the gateway (`eviction`). No
//! other flow is ever ended to make room: flows from the inside that have seen a reply and assured flows from outside
//! go on, and the new flow is [rejected](FlowError). So a flood from outside takes nothing from the inside, a flood
//! from one machine takes nothing from the others, and a flood to a host's open port does not end the host's own
//! connections.
//!
//! All memory is reserved at the start, but touched only when used; nothing is allocated per packet or flow. The
//! entry of an IPv4 flow takes 88 octets if the flow is only tracked and 108 if it is translated, and its number
//! takes 8. With index entries, timer and links, a tracked flow takes 148 octets; a translated flow with a mapping of
//! its own takes 208.
//!
//! # What it does not do
//!
//! The table parses and rewrites no packet, and has no policy (the caller has applied it). Fragments other than the
//! first carry no ports and cannot be looked up here.

mod bookkeeping;
mod entry;
mod error;
mod eviction;
mod half_open;
mod holders;
mod host_quota_sync;
mod limits;
mod log;
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
pub use self::log::{FLOW_EVENTS_MAX, FlowChange, FlowEnd, FlowEvent, FlowEvents};
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
