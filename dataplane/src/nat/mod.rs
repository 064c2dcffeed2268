//! NAT44: endpoint-independent mappings, the ports they own, and how packets are rewritten.
//!
//! [`FlowTable`](crate::flow::FlowTable) drives all of it; a translated flow is an entry there.

mod draws;
pub mod icmp;
pub(crate) mod mapping;
mod port_allocator;
pub mod rewrite;

pub use mapping::{Mapping, MappingId};
