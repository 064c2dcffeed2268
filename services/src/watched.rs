//! The kinds of events that can be watched.

pub use crate::dhcp::server::DhcpEvent;
pub use crate::dns::DnsEvent;
pub use crate::mail::MailEvent;
