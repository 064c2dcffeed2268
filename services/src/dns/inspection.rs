//! The state of the DNS service for reports, and the request to empty its cache.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};

use super::resolver::Answerer;

/// A record of the office's zones.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalRecord {
    /// The owner.
    pub name: Name,
    /// The TTL.
    pub ttl_secs: u32,
    /// The data, which has a type.
    pub data: RData,
    /// Where the record comes from.
    pub origin: Origin,
}

/// The source of a local record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A built-in name, or a record of the configuration.
    Configuration,
    /// A service of the gateway, such as the DKIM keys of mail.
    Service,
    /// A DHCP lease or a reservation.
    Host,
}

impl Origin {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Service => "service",
            Self::Host => "host",
        }
    }
}

/// The local zones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalZones {
    /// The apexes.
    pub zones: Vec<Name>,
    /// The records, sorted by owner: a zone's directly before those of the names in it.
    pub records: Vec<LocalRecord>,
}

/// A cached answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAnswer {
    /// The name that was queried, in lower case.
    pub name: Name,
    /// The type that was queried; `None` if the answer denies the name, whatever the type.
    pub record_type: Option<RecordType>,
    /// The response code.
    pub code: ResponseCode,
    /// The number of records in the answer section.
    pub answers: usize,
    /// The time until it expires; zero if it has expired: a stale answer is served only if no upstream server answers
    /// in time, and a stale failure never.
    pub remaining: Duration,
}

/// The content of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheContent {
    /// The number of cached answers.
    pub total: usize,
    /// The number of their records.
    pub records: usize,
    /// The first answers, sorted in the same way.
    pub answers: Vec<CachedAnswer>,
}

/// An upstream server, or a server of a forwarded zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// Its address and port.
    pub address: SocketAddr,
    /// The forwarded zone whose server it is; `None` for an upstream server.
    pub zone: Option<String>,
    /// How long it is still queried last, as it has timed out or failed; zero while it is up.
    pub down_for: Duration,
    /// Its support of EDNS.
    pub edns: Edns,
}

/// A server's support of EDNS (RFC 6891), as observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edns {
    /// It has not answered a query yet.
    Unknown,
    /// It has answered a query with EDNS.
    Supported,
    /// It is queried without EDNS for now.
    Avoided,
}

impl Edns {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Supported => "supported",
            Self::Avoided => "avoided",
        }
    }
}

/// What a running DNS service shows of itself.
pub trait Inspected: Answerer {
    /// The local zones.
    fn zones(&self) -> LocalZones;

    /// The content of the cache, with `max` answers at most.
    fn cache(&self, max: usize) -> CacheContent;

    /// The name under which `address` was last found by upstream servers.
    fn name_of(&self, address: Ipv4Addr) -> Option<Name>;

    /// The servers that it queries.
    fn servers(&self) -> Vec<ServerState>;

    /// Removes the cached answers for `zone` and the names below it; of all names for `None`. Returns their number.
    fn flush(&self, zone: Option<&Name>) -> usize;
}

/// Access to the DNS service of the configuration in force. Clones have the same.
#[derive(Clone, Default)]
pub struct Inspection(Rc<RefCell<Option<Weak<dyn Inspected>>>>);

impl Inspection {
    /// The running service; `None` before the first configuration is in force, and without a LAN address.
    pub fn running(&self) -> Option<Rc<dyn Inspected>> {
        self.0.borrow().as_ref()?.upgrade()
    }

    /// `service` is the one in force from now on.
    pub(super) fn set(&self, service: Weak<dyn Inspected>) {
        *self.0.borrow_mut() = Some(service);
    }
}
