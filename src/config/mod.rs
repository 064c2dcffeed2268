//! The configuration: TOML in, a validated [`Config`] out.
//!
//! Names and meanings are those of `gatepost.example.toml`. Every key is optional; an unknown key, a wrong type or a
//! contradiction is an error with its position in the file and a remedy.

mod access;
mod address;
pub mod change;
mod dataplane;
mod diagnostic;
pub mod edit;
mod firewall;
mod hex;
mod interfaces;
mod name;
mod nat;
mod places;
mod provider;
mod reach;
mod section;
pub mod services;
mod source;
mod summary;
mod system;
mod tls;
mod upcoming;
mod users;
mod validate;
mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use gatepost_dataplane::config::Mode;
use gatepost_ground::MacAddr;
use gatepost_services::mail::secret::Secret;
use gatepost_services::store::open_regular;
use gatepost_services::users::User;
use ipnet::Ipv4Net;

pub use access::Access;
pub use diagnostic::{Diagnostic, Problem, Severity};
pub use name::Netns;
pub use places::{Decisive, Places};
pub use services::{DnsForward, Record, RecordValue, Reservation, ReservedFor, Services};
pub use source::Source;
pub use summary::Detail;
pub use tls::Tls;

use crate::error::Error;

/// A validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The gateway itself.
    pub system: System,
    /// The gateway's mode.
    pub mode: Mode,
    /// The office's side.
    pub lan: Lan,
    /// The internet's side; unused in [`Mode::LanOnly`].
    pub wan: Wan,
    /// The services and forwards that the WAN may reach.
    pub firewall: Firewall,
    /// The settings of flow tracking and NAT.
    pub nat: gatepost_dataplane::config::Nat,
    /// The gateway's own services.
    pub services: Services,
    /// The networks that may use the services.
    pub access: Access,
    /// The certificate of the services, and the authorities that the gateway trusts.
    pub tls: Tls,
    /// The people of the office.
    pub users: Vec<User>,
    /// Whether this is a change that is undone unless it is confirmed: see [`Config::until_confirmed`]. Never in the
    /// file.
    pub is_unconfirmed: bool,
    /// Where the settings that decide about packets are written.
    pub places: Places,
}

impl Config {
    /// Reads and validates the file at `path`.
    ///
    /// # Errors
    ///
    /// An [`Error`] of usage: the file cannot be read, or each mistake in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::load_with_warnings(path).map(|(config, _)| config)
    }

    /// As [`Config::load`], with the warnings in the order of the file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_with_warnings(path: &Path) -> Result<(Self, Vec<Diagnostic>), Error> {
        let (name, text) = read(path)?;
        validate::parse(&name, &text).map_err(Error::mistakes)
    }

    /// As [`Config::load`], with the text of the file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_with_text(path: &Path) -> Result<(Self, String), Error> {
        let (name, text) = read(path)?;
        Ok((Self::parse(&name, &text).map_err(Error::mistakes)?, text))
    }

    /// Validates `text`, the content of a file called `name`.
    ///
    /// # Errors
    ///
    /// The mistakes in it, in their order: all of its syntax, or all of its meaning.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        validate::parse(name, text).map(|(config, _)| config)
    }

    /// The same configuration while it waits for its confirmation, on a gateway that had the address `former` on the LAN
    /// before. If that is another one, the gateway answers there as well: see [`Lan::former_address`]. The former network
    /// counts as the LAN in `[access]`.
    #[must_use]
    pub fn until_confirmed(mut self, former: Ipv4Net) -> Self {
        self.is_unconfirmed = true;
        if former != self.lan.address {
            self.lan.former_address = Some(former);
            self.access.admit_as_lan(former.trunc());
        }
        self
    }

    /// As [`Config::parse`], with the warnings in the order of the file.
    ///
    /// # Errors
    ///
    /// As [`Config::parse`].
    pub fn parse_with_warnings(name: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        validate::parse(name, text)
    }

    /// The files that it names, in order and each once: certificates, keys, passwords at other servers.
    pub fn named_files(&self) -> BTreeSet<&Path> {
        let own = self.tls.files.iter().flat_map(|files| [&files.certificate, &files.key]);
        let mail = &self.services.mail;
        let secrets = mail.smarthost_login.iter().map(|login| &login.password);
        let secrets = secrets.chain(mail.polled.iter().map(|account| &account.password));
        let passwords = secrets.filter_map(Secret::file);
        own.chain(&self.tls.authorities).map(PathBuf::as_path).chain(passwords).collect()
    }

    /// Why mail is disabled; `None` if it is enabled.
    pub fn mail_off(&self) -> Option<services::Off> {
        self.services.mail.off(&self.users)
    }
}

/// The longest file, in octets.
pub const FILE_OCTETS_MAX: usize = 1 << 20;

/// The text of the file at `path`.
///
/// # Errors
///
/// It cannot be read, is too long, or is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(FILE_OCTETS_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > FILE_OCTETS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {FILE_OCTETS_MAX} octets"),
        ));
    }
    Ok(text)
}

/// The name of the file at `path`, and its text.
fn read(path: &Path) -> Result<(String, String), Error> {
    let name = path.display().to_string();
    match read_text(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Error::usage(format!(
            "{name}: {error}; give a configuration that can be read, as UTF-8 text"
        ))),
    }
}

/// The configuration of an empty file.
impl Default for Config {
    fn default() -> Self {
        Self::parse("default", "").expect("the defaults do not contradict each other")
    }
}

/// `[system]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The gateway's own host name, a single label.
    pub hostname: String,
    /// The office's domain, without a trailing dot.
    pub domain: String,
    /// The directory of all state that survives a restart.
    pub state_dir: PathBuf,
    /// The path of the control socket.
    pub control_socket: PathBuf,
    /// The number of workers.
    pub workers: u8,
}

/// `[lan]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    /// The gateway's address on the LAN, with the LAN's prefix.
    pub address: Ipv4Net,
    /// The address with its prefix that the gateway had before a change that waits for confirmation, and at which it
    /// answers as well until then. Never in the file; `None` if no such change waits.
    pub former_address: Option<Ipv4Net>,
    /// The ports of the LAN's switch; at least one.
    pub ports: Vec<PortSpec>,
    /// The router that DHCP clients get in [`Mode::LanOnly`].
    pub gateway: Option<Ipv4Addr>,
    /// Whether ARP that contradicts leases and reservations is dropped.
    pub inspect_arp: bool,
    /// Whether the messages of other DHCP servers are dropped.
    pub dhcp_snooping: bool,
}

impl Lan {
    /// The gateway's addresses on the LAN with their prefixes, the present one first.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Net> {
        [self.address].into_iter().chain(self.former_address)
    }
}

/// `[wan]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wan {
    /// The ports; at least one unless the mode is [`Mode::LanOnly`].
    pub ports: Vec<PortSpec>,
    /// The source of the gateway's WAN address.
    pub address: WanAddress,
    /// The hardware address; `None` for the gateway's own.
    pub mac: Option<MacAddr>,
    /// What the provider's DHCP server is told.
    pub dhcp_client: WanDhcp,
    /// The largest IP packet, in octets.
    pub mtu: u16,
}

/// What the provider's DHCP server is told beside what every client tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WanDhcp {
    /// The client identifier (option 61), type octet included; `None`: none.
    pub client_id: Option<Vec<u8>>,
    /// The vendor class (option 60); `None`: none.
    pub vendor_class: Option<String>,
    /// Codes of options that are requested beside the usual ones.
    pub request_options: Vec<u8>,
}

/// How the gateway gets its WAN address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WanAddress {
    /// From the provider's DHCP server.
    Leased,
    /// Configured.
    Static {
        /// The address with the segment's prefix.
        address: Ipv4Net,
        /// The provider's router.
        gateway: Option<Ipv4Addr>,
    },
}

/// A TAP device to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The device's name, 1 to 15 octets.
    pub tap: String,
    /// The network namespace it is created in; the gateway's own if `None`.
    pub netns: Option<Netns>,
    /// The driver.
    pub driver: Driver,
    /// Whether the device stays when the gateway stops, with its bridge and its hardware address.
    pub persist: bool,
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tap)?;
        self.netns.iter().try_for_each(|netns| write!(f, " in netns {netns}"))
    }
}

/// How frames cross between the kernel and the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The best driver that the kernel supports.
    #[default]
    Auto,
    /// With the virtio-net header: super-frames and partial checksums.
    Offload,
    /// Without offloads, which every kernel supports.
    Plain,
}

/// `[firewall]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// [`Mode::NatDmz`]: the WAN side sends no answers that it need not send.
    pub stealth: bool,
    /// The names of the gateway's own services that the WAN may use; `None`: by mode, see [`Config::wan_services`].
    pub wan_services: Option<Vec<&'static str>>,
    /// The default host: the LAN host that gets packets for no service, forward or mapping.
    pub dmz_host: Option<Ipv4Addr>,
    /// Ports of the WAN address that belong to LAN hosts.
    pub forwards: Vec<Forward>,
}

/// `[[firewall.forwards]]`: as written; a `tcp+udp` forward is two in the dataplane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The forward's name in reports; the range of its ports if it has none.
    pub name: String,
    /// One forward for the dataplane, or two.
    pub rules: Vec<gatepost_dataplane::config::Forward>,
}

#[cfg(test)]
mod tests;
