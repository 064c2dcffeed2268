//! What can happen to an office.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::machine::attacker::Shot;
use crate::machine::internet::DnsMood;
use crate::machine::spoofer::Trick;
use crate::world::link::Link;

/// Something that happens at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A machine's cable is plugged into another port of the gateway's.
    Replug {
        /// The machine.
        machine: String,
        /// The gateway's port.
        port: String,
    },
    /// A PC goes to sleep without a word.
    Sleep(String),
    /// A PC wakes up.
    Wake(String),
    /// A cable becomes better or worse.
    Link {
        /// The machine, port or group.
        name: String,
        /// The cable from now on.
        link: Link,
    },
    /// Every cable is perfect again, the disk has room, the internet behaves.
    Calm,
    /// The gateway stops at this instant.
    PowerCut,
    /// The gateway starts again, on what its disk kept.
    PowerBack,
    /// The provider goes over to another network.
    Renumber(Ipv4Net),
    /// The provider's DHCP server falls silent, or answers again.
    DhcpSilent(bool),
    /// The internet's name server becomes better or worse.
    Dns(DnsMood),
    /// The attacker fires at the gateway.
    Attack(Vec<Shot>),
    /// The spoofer plays tricks on the LAN.
    Spoof(Vec<Trick>),
    /// The gateway's time of day jumps ahead.
    ClockJumps(Duration),
    /// The gateway's disk is full, or has room again.
    DiskFull(bool),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replug { machine, port } => write!(f, "{machine} moves to {port}"),
            Self::Sleep(machine) => write!(f, "{machine} goes to sleep"),
            Self::Wake(machine) => write!(f, "{machine} wakes up"),
            Self::Link { name, .. } => write!(f, "the cable of {name} changes"),
            Self::Calm => f.write_str("all faults end"),
            Self::PowerCut => f.write_str("the gateway's power is cut"),
            Self::PowerBack => f.write_str("the gateway's power is back"),
            Self::Renumber(network) => write!(f, "the provider renumbers to {network}"),
            Self::DhcpSilent(true) => f.write_str("the provider's DHCP server falls silent"),
            Self::DhcpSilent(false) => f.write_str("the provider's DHCP server answers again"),
            Self::Dns(mood) => write!(f, "the internet's names are {mood:?}"),
            Self::Attack(shots) => write!(f, "{} shots at the gateway", shots.len()),
            Self::Spoof(tricks) => write!(f, "{} tricks of the spoofer's", tricks.len()),
            Self::ClockJumps(by) => write!(f, "the gateway's time of day jumps by {} s", by.as_secs()),
            Self::DiskFull(true) => f.write_str("the disk is full"),
            Self::DiskFull(false) => f.write_str("the disk has room"),
        }
    }
}

/// `machine` moves to the gateway's port `port`.
pub fn replug(machine: &str, port: &str) -> Action {
    Action::Replug { machine: machine.to_owned(), port: port.to_owned() }
}

/// `machine` goes to sleep without a word.
pub fn sleep(machine: &str) -> Action {
    Action::Sleep(machine.to_owned())
}

/// `machine` wakes up.
pub fn wake(machine: &str) -> Action {
    Action::Wake(machine.to_owned())
}

/// The cable of `name` becomes `link`.
pub fn link(name: &str, link: Link) -> Action {
    Action::Link { name: name.to_owned(), link }
}

/// All faults end.
pub fn calm() -> Action {
    Action::Calm
}

/// The gateway crashes.
pub fn power_cut() -> Action {
    Action::PowerCut
}

/// The gateway boots again.
pub fn power_back() -> Action {
    Action::PowerBack
}

/// The provider goes over to `network`.
///
/// # Panics
///
/// It is none.
pub fn renumber(network: &str) -> Action {
    Action::Renumber(network.parse().expect("a network such as 192.0.2.0/24"))
}

/// The provider's DHCP server falls silent, or answers again.
pub fn dhcp_silent(is_silent: bool) -> Action {
    Action::DhcpSilent(is_silent)
}

/// The internet's names are answered so.
pub fn dns(mood: DnsMood) -> Action {
    Action::Dns(mood)
}

/// The attacker fires.
pub fn attack(shots: impl IntoIterator<Item = Shot>) -> Action {
    Action::Attack(shots.into_iter().collect())
}

/// The attacker tries the TCP and UDP ports up to `port_max`, pings, and tries what lies behind.
pub fn port_scan(port_max: u16) -> Action {
    let ports = (1..=port_max).flat_map(|port| [Shot::Syn(port), Shot::Udp(port)]);
    let lan = (1..=20).map(|host| Ipv4Addr::new(192, 168, 1, host));
    let behind = lan.flat_map(|host| [Shot::ToLan(host), Shot::FromLan(host)]);
    attack(ports.chain([Shot::Ping]).chain(behind))
}

/// The spoofer plays tricks, ten a second.
pub fn spoof(tricks: impl IntoIterator<Item = Trick>) -> Action {
    Action::Spoof(tricks.into_iter().collect())
}

/// The gateway's time of day jumps ahead.
pub fn clock_jumps(by: Duration) -> Action {
    Action::ClockJumps(by)
}

/// The gateway's disk fills up, or gets room again.
pub fn disk_full(is_full: bool) -> Action {
    Action::DiskFull(is_full)
}
