//! The names of zones that the internet's tree does not have: their servers are the office's own choice.
//!
//! ```text
//! lab.office.example   delegated below the office's domain
//! corp.example         conditional: forwarded to servers of its own
//! ├─ host-0 … host-15  addresses of the inside, others in each zone
//! ├─ alias             an alias of host-1
//! └─ deep              an empty non-terminal
//!    └─ host-0
//! ```
//!
//! The zone `example` of the tree denies both.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::LazyLock;

use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::tree::name;

/// The hosts of a zone.
pub const HOSTS: u8 = 16;
/// The TTL of all answers, in seconds: so short that the gateway has to ask often.
const TTL_SECS: u32 = 5;

/// A zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfficeZone {
    /// Below the office's domain, delegated by NS records.
    Delegated,
    /// A conditional zone.
    Conditional,
}

static CONTENTS: LazyLock<[BTreeMap<Name, Vec<Record>>; 2]> =
    LazyLock::new(|| OfficeZone::ALL.map(OfficeZone::contents));

impl OfficeZone {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Delegated, Self::Conditional];

    /// The name of the zone, with a dot at the end.
    pub fn apex(self) -> &'static str {
        match self {
            Self::Delegated => "lab.office.example.",
            Self::Conditional => "corp.example.",
        }
    }

    /// The addresses of its servers, if they are on the internet.
    pub fn internet_addresses(self) -> [Ipv4Addr; 2] {
        let last = [1, 2];
        match self {
            Self::Delegated => last.map(|host| Ipv4Addr::new(198, 18, 60, host)),
            Self::Conditional => last.map(|host| Ipv4Addr::new(198, 18, 61, host)),
        }
    }

    /// Names to look up: those that exist, one that does not, and an empty non-terminal.
    pub fn names(self) -> Vec<String> {
        let hosts = (0..HOSTS).map(|host| format!("host-{host}"));
        let others = ["alias", "nobody", "deep", "host-0.deep"].map(str::to_owned);
        hosts.chain(others).map(|label| format!("{label}.{}", self.apex())).collect()
    }

    /// Whether `asked` is in the zone.
    pub fn contains(self, asked: &Name) -> bool {
        name(self.apex()).zone_of(asked)
    }

    /// The records of this name and type.
    pub fn records(self, asked: &Name, record_type: RecordType) -> impl Iterator<Item = &'static Record> {
        let records = self.all().get(asked).into_iter().flatten();
        records.filter(move |record| record.record_type() == record_type)
    }

    /// Whether there is such a name, or one below it.
    pub fn exists(self, asked: &Name) -> bool {
        self.all().keys().any(|name| asked.zone_of(name))
    }

    fn all(self) -> &'static BTreeMap<Name, Vec<Record>> {
        let [delegated, conditional] = &*CONTENTS;
        match self {
            Self::Delegated => delegated,
            Self::Conditional => conditional,
        }
    }

    fn contents(self) -> BTreeMap<Name, Vec<Record>> {
        let at = |label: &str| name(&format!("{label}.{}", self.apex()));
        let network = match self {
            Self::Delegated => 1,
            Self::Conditional => 2,
        };
        let address = |host| RData::A(A(Ipv4Addr::new(10, 66, network, host)));
        let soa = SOA::new(at("ns"), at("hostmaster"), 1, 3_600, 600, 86_400, TTL_SECS);
        let mut data: Vec<_> = (0..HOSTS).map(|host| (at(&format!("host-{host}")), address(host))).collect();
        data.extend([
            (name(self.apex()), RData::SOA(soa)),
            (name(self.apex()), RData::NS(NS(at("ns")))),
            (at("alias"), RData::CNAME(CNAME(at("host-1")))),
            (at("host-0.deep"), address(100)),
        ]);
        let mut contents = BTreeMap::<_, Vec<_>>::new();
        for (owner, data) in data {
            contents.entry(owner.clone()).or_default().push(Record::from_rdata(owner, TTL_SECS, data));
        }
        contents
    }
}
