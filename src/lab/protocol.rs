//! The lab's requests to its hosts: a JSON line each way, over the host process's standard streams.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mail::{Account, Letter};
use super::speed::{Limit, Speed};

/// Every host's one device: the kernel's side of a port of the gateway.
pub const DEVICE: &str = "eth0";
/// How long a host tries to go online.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The role of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// An office PC on its interface `eth0`.
    Pc,
    /// The internet: provider and servers in one.
    Internet(Provider),
}

/// The provider's services for its customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its own address on the customer's segment: router and DHCP server.
    pub address: Ipv4Addr,
    /// The length of the segment's prefix.
    pub prefix_len: u8,
    /// The customer's address.
    pub customer: Ipv4Addr,
    /// The addresses of its name servers.
    pub name_servers: Vec<Ipv4Addr>,
    /// A network behind the customer's address, with the length of its prefix, where the customer
    /// routes instead of translating.
    pub customer_network: Option<(Ipv4Addr, u8)>,
    /// The domain by which the customer has mail.
    pub customer_domain: String,
    /// The addresses of the customer's users, whose mail is answered.
    pub answered: Vec<String>,
}

/// Something for a host to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Bring up `eth0` once it is there: a PC by DHCP, the internet by itself with its servers.
    GoOnline,
    /// Ask the host's name server for an address.
    Resolve(String),
    /// Ask the host's name server for the name of an address.
    ResolveAddress(Ipv4Addr),
    /// Ping an address until it answers or some seconds have passed.
    Ping(Ipv4Addr),
    /// Fetch the front page of a web server.
    Fetch(SocketAddrV4),
    /// Serve a front page on port 80.
    Serve,
    /// Transfer to and from a server of the internet.
    Measure(Ipv4Addr, Limit),
    /// Have the host's mail program use this account from now on.
    UseAccount(Account),
    /// Hand in a letter by the mail program.
    SendMail(Letter),
    /// Wait for the mail about this, and take it out of the mailbox.
    FetchMail(String),
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The host exists and waits for requests.
    Ready,
    /// It is online with this address.
    Online(Ipv4Addr),
    /// The address asked for.
    Address(Ipv4Addr),
    /// The name asked for.
    Name(String),
    /// The front page.
    Page(Page),
    /// How fast the host transfers.
    Speed(Speed),
    /// The mail asked for: what each server on its way has noted in it, the last server first.
    Mail(Vec<String>),
    /// It was done.
    Done,
    /// Nothing answered.
    Silence,
    /// It did not work.
    Failed(String),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoOnline => f.write_str("going online"),
            Self::Resolve(name) => write!(f, "the address of {name}"),
            Self::ResolveAddress(address) => write!(f, "the name of {address}"),
            Self::Ping(target) => write!(f, "a ping to {target}"),
            Self::Fetch(server) => write!(f, "the page of {server}"),
            Self::Serve => f.write_str("a web server"),
            Self::Measure(server, _) => write!(f, "its speed to {server}"),
            Self::UseAccount(account) => write!(f, "a mail program for {}", account.address),
            Self::SendMail(letter) => write!(f, "a mail to {}", letter.to),
            Self::FetchMail(subject) => write!(f, "its mail about {subject:?}"),
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("no answer"),
            Self::Failed(why) => f.write_str(why),
            Self::Address(address) | Self::Online(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Page(page) => write!(f, "the page of {} for {}", page.host, page.client),
            Self::Mail(hops) => write!(f, "a mail by {} servers: {}", hops.len(), hops.join("; ")),
            Self::Speed(speed) => write!(f, "{} down, {} up", speed.download.rate(), speed.upload.rate()),
            Self::Ready | Self::Done => f.write_str("an answer"),
        }
    }
}

/// The front page of a host of the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The host that served it.
    pub host: String,
    /// The client's address, as the host saw it.
    pub client: Ipv4Addr,
}
