//! The events of an office.

use std::any::Any;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use gatepost_services::clock::LeapSecond;

use super::own::Act;
use crate::machine::attacker::Shot;
use crate::machine::internet::{DhcpMood, DnsMood, LeaseForm, ProviderMood};
use crate::machine::spoofer::Trick;
use crate::world::clock::ClockState;
use crate::world::disk::{DiskMood, ReplaceStep};
use crate::world::link::Link;
use crate::world::rot::RotIn;

/// An event at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A machine's cable is plugged into another port of the gateway's.
    Replug {
        /// The machine.
        machine: String,
        /// The gateway's port.
        port: String,
    },
    /// A PC goes to sleep, and releases nothing.
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
    /// Some PCs reach only each other: the switch that they share loses its uplink.
    Partition(Vec<String>),
    /// That switch has its uplink again.
    Reunite,
    /// Every cable is perfect again, the disk works, the provider and the internet behave.
    Calm,
    /// The gateway stops at this instant, and its disk loses what was not synced.
    PowerCut,
    /// The same in the middle of the write, sync or rename with this number from now on, the next being 1. If there
    /// are fewer until [`Action::PowerBack`], the gateway stops then.
    PowerCutWhileWriting(u32),
    /// The gateway's power fails at that step of the next replacement of a file.
    PowerCutWhileReplacing(ReplaceStep),
    /// The gateway starts again with the data that is durable on its disk.
    PowerBack,
    /// The provider changes to another network.
    Renumber(String),
    /// The behaviour of the provider's DHCP server from now on.
    DhcpOfProvider(DhcpMood),
    /// The form of the provider's leases from now on.
    LeaseForm(LeaseForm),
    /// The provider's DHCP server sends its clients these name servers from now on.
    NameServersTold(Vec<Ipv4Addr>),
    /// The provider's machine vanishes, stops forwarding, or works again.
    Provider(ProviderMood),
    /// Name servers become better or worse.
    Dns {
        /// One of them, `resolvers` or `authorities`.
        servers: String,
        /// Their behaviour from now on.
        mood: DnsMood,
    },
    /// A name of the internet gets the address of another web server.
    NameMoves(String),
    /// The attacker fires at the gateway.
    Attack(Vec<Shot>),
    /// The spoofer plays tricks on the LAN.
    Spoof(Vec<Trick>),
    /// A machine sends a frame that the scenario made, over its own cable.
    Frame {
        /// Its name.
        machine: String,
        /// The whole Ethernet frame, without FCS.
        frame: Vec<u8>,
    },
    /// The scenario acts on a machine or a server: [`act`].
    Act(Act),
    /// A part of the gateway opens a pinhole for a host of the LAN, or extends it.
    OpenPinhole {
        /// TCP or UDP.
        protocol: Protocol,
        /// The host's endpoint.
        inside: SocketAddrV4,
        /// The lifetime from then on, in seconds.
        secs: u32,
    },
    /// The gateway's time of day jumps by so many seconds, ahead or back.
    ClockJumps(i64),
    /// A daemon disciplines the gateway's clock from now on, or none does any more.
    Clock(ClockState),
    /// The gateway's disk becomes better or worse.
    Disk(DiskMood),
    /// An octet of the gateway's mail store flips on the disk.
    Rot(RotIn),
    /// The gateway's file has other rules from now on, and a running gateway changes to them.
    Reload(Rules),
    /// A running gateway is asked to reload a file that needs a restart, and has to go on unchanged.
    ReloadRefused,
    /// The gateway's code panics when it next has something to send: a planted bug, which the run has to find.
    Panic,
}

/// The part of the gateway's configuration that can change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The file's keys beside those for the office, in place of
    /// [`Office::config`](super::office::Office::config).
    pub config: String,
    /// Whether the forwards to the office's servers are there.
    pub has_forwards: bool,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replug { machine, port } => write!(f, "{machine} moves to {port}"),
            Self::Sleep(machine) => write!(f, "{machine} goes to sleep"),
            Self::Wake(machine) => write!(f, "{machine} wakes up"),
            Self::Link { name, .. } => write!(f, "the cable of {name} changes"),
            Self::Partition(names) => write!(f, "{} are cut off from the others", names.join(", ")),
            Self::Reunite => f.write_str("nobody is cut off any more"),
            Self::Calm => f.write_str("all faults end"),
            Self::PowerCut => f.write_str("the gateway's power is cut"),
            Self::PowerCutWhileWriting(nth) => {
                write!(f, "the gateway's power is cut during write {nth} from now")
            }
            Self::PowerCutWhileReplacing(step) => {
                write!(f, "the gateway's power is cut when a file that replaces another {step}")
            }
            Self::PowerBack => f.write_str("the gateway's power is back"),
            Self::Renumber(network) => write!(f, "the provider renumbers to {network}"),
            Self::DhcpOfProvider(mood) => write!(f, "the provider's DHCP server is {mood:?}"),
            Self::LeaseForm(form) => write!(f, "the provider's leases have the form {form:?}"),
            Self::NameServersTold(servers) => write!(f, "the provider's DHCP server tells of {servers:?}"),
            Self::Provider(mood) => write!(f, "the provider is {mood:?}"),
            Self::Dns { servers, mood } => write!(f, "name service of {servers}: {mood:?}"),
            Self::NameMoves(name) => write!(f, "{name} moves to another web server"),
            Self::Attack(shots) => write!(f, "{} shots at the gateway", shots.len()),
            Self::Spoof(tricks) => write!(f, "{} tricks of the spoofer's", tricks.len()),
            Self::Frame { machine, frame } => write!(f, "{machine} sends a frame of {} octets", frame.len()),
            Self::Act(act) => act.fmt(f),
            Self::OpenPinhole { protocol, inside, secs } => {
                write!(f, "protocol {} to {inside} is opened for {secs} s", protocol.0)
            }
            Self::ClockJumps(secs) => write!(f, "the gateway's time of day jumps by {secs:+} s"),
            Self::Clock(ClockState::Undisciplined { ppm }) => {
                write!(f, "no daemon disciplines the gateway's clock, which drifts by {ppm:+} ppm")
            }
            Self::Clock(ClockState::Disciplined { ahead, .. }) => {
                write!(f, "the gateway's clock is disciplined, and {ahead:+} \u{b5}s ahead")
            }
            Self::Disk(mood) => write!(f, "the disk {mood}"),
            Self::Rot(RotIn::Store) => f.write_str("an octet of the mail store flips"),
            Self::Rot(RotIn::Checkpoint) => f.write_str("an octet of the mail store's checkpoint flips"),
            Self::Reload(Rules { config, has_forwards }) => {
                let config: Vec<_> = config.lines().collect();
                let forwards = if *has_forwards { "" } else { ", no forwards" };
                write!(f, "the gateway goes over to: {}{forwards}", config.join(" "))
            }
            Self::ReloadRefused => f.write_str("the gateway is offered a file that needs a restart"),
            Self::Panic => f.write_str("the gateway's code panics"),
        }
    }
}

/// `machine` moves to the gateway's port `port`.
pub fn replug(machine: &str, port: &str) -> Action {
    Action::Replug { machine: machine.to_owned(), port: port.to_owned() }
}

/// `machine` goes to sleep, and releases nothing.
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

/// The PCs called `names` reach only each other.
pub fn partition(names: impl IntoIterator<Item = impl Into<String>>) -> Action {
    Action::Partition(names.into_iter().map(Into::into).collect())
}

/// Ends the partition: all PCs reach the switch again.
pub fn reunite() -> Action {
    Action::Reunite
}

/// All faults end.
pub fn calm() -> Action {
    Action::Calm
}

/// The gateway crashes.
pub fn power_cut() -> Action {
    Action::PowerCut
}

/// The gateway crashes in the middle of the `nth` write, sync or rename from now on, the next being 1.
pub fn power_cut_while_writing(nth: u32) -> Action {
    Action::PowerCutWhileWriting(nth)
}

/// The gateway's power fails at that step of the next replacement of a file.
pub fn power_cut_while_replacing(step: ReplaceStep) -> Action {
    Action::PowerCutWhileReplacing(step)
}

/// The gateway boots again.
pub fn power_back() -> Action {
    Action::PowerBack
}

/// The provider changes to `network`, such as `192.0.2.0/24`.
pub fn renumber(network: &str) -> Action {
    Action::Renumber(network.to_owned())
}

/// The state of the provider's machine from now on.
pub fn provider(mood: ProviderMood) -> Action {
    Action::Provider(mood)
}

/// The provider's DHCP server falls silent, or answers again.
pub fn dhcp_silent(is_silent: bool) -> Action {
    dhcp_of_provider(if is_silent { DhcpMood::Silent } else { DhcpMood::Willing })
}

/// The behaviour of the provider's DHCP server from now on.
pub fn dhcp_of_provider(mood: DhcpMood) -> Action {
    Action::DhcpOfProvider(mood)
}

/// The form of the provider's leases from the next answer of its DHCP server on.
pub fn lease_form(form: LeaseForm) -> Action {
    Action::LeaseForm(form)
}

/// The provider's DHCP server sends its clients these name servers from its next answer on.
pub fn name_servers_told(servers: &[Ipv4Addr]) -> Action {
    Action::NameServersTold(servers.to_vec())
}

/// The behaviour of the provider's resolvers from now on.
pub fn dns(mood: DnsMood) -> Action {
    dns_of("resolvers", mood)
}

/// The behaviour of name servers from now on: `resolver-0`, `resolver-1`, an authority such as `a.root` or
/// `ns-0.example.com`, or all `resolvers` or `authorities`.
pub fn dns_of(servers: &str, mood: DnsMood) -> Action {
    Action::Dns { servers: servers.to_owned(), mood }
}

/// `name` on the internet gets the address of another web server.
pub fn name_moves(name: &str) -> Action {
    Action::NameMoves(name.to_owned())
}

/// The attacker fires.
pub fn attack(shots: impl IntoIterator<Item = Shot>) -> Action {
    Action::Attack(shots.into_iter().collect())
}

/// The attacker probes the TCP and UDP ports up to `port_max`, pings, and probes hosts of the default LAN behind the
/// gateway.
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

/// `machine` sends `frame`, a whole Ethernet frame without FCS, unchanged.
pub fn frame(machine: &str, frame: impl Into<Vec<u8>>) -> Action {
    Action::Frame { machine: machine.to_owned(), frame: frame.into() }
}

/// The gateway has a pinhole for `inside`, a host's endpoint on the LAN, open for `secs` seconds from then on.
pub fn open_pinhole(protocol: Protocol, inside: SocketAddrV4, secs: u32) -> Action {
    Action::OpenPinhole { protocol, inside, secs }
}

/// The gateway's time of day jumps by so many seconds, ahead or back.
pub fn clock_jumps(secs: i64) -> Action {
    Action::ClockJumps(secs)
}

/// No daemon disciplines the gateway's clock any more, which gains so many microseconds each second.
pub fn clock_drifts(ppm: i32) -> Action {
    Action::Clock(ClockState::Undisciplined { ppm })
}

/// A daemon disciplines the gateway's clock, which is ahead by so many microseconds, within the kernel's maximum error.
pub fn clock_disciplined(ahead: i32, leap: Option<LeapSecond>) -> Action {
    Action::Clock(ClockState::Disciplined { ahead, leap })
}

/// The state of the gateway's disk from now on.
pub fn disk(mood: DiskMood) -> Action {
    Action::Disk(mood)
}

/// An octet of the gateway's mail store flips on the disk. The office has
/// [mail](super::office::Office::mail).
pub fn rot(place: RotIn) -> Action {
    Action::Rot(place)
}

/// The gateway changes to `config` in place of [`Office::config`](super::office::Office::config), with the office's
/// forwards or without.
pub fn reload(config: &str, has_forwards: bool) -> Action {
    Action::Reload(Rules { config: config.to_owned(), has_forwards })
}

/// A running gateway is asked to reload a file that needs a restart, and has to reject it.
pub fn reload_refused() -> Action {
    Action::ReloadRefused
}

/// The gateway's code panics when it next has something to send.
pub fn panic() -> Action {
    Action::Panic
}

/// Calls `run` with the machine or server called `name`, which is a `T`, and polls it then. `what` describes the action
/// in words: "beacon" and "falls silent".
pub fn act<T: Any>(name: &str, what: &str, run: impl Fn(&mut T, Instant) + 'static) -> Action {
    Action::Act(Act::new(name, what, run))
}
