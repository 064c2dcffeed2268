//! What the mail services are told.

use std::net::IpAddr;

use ipnet::IpNet;

use super::aliases::Aliases;
use super::directory::MailDomain;
use super::expiry::KeepDays;
use crate::mail::judge;
use crate::mail::rules::Rules;
use crate::users::User;

/// What a configuration says of one of the mail services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether it serves.
    pub enabled: bool,
    /// Its port; 0: none but the next one.
    pub port: u16,
    /// The port at which submission begins with TLS; 0: none.
    pub tls_port: u16,
    /// Whether it listens on the outside, too.
    pub on_outside: bool,
    /// The server's name, in its greeting and in Received fields.
    pub hostname: String,
    /// The office's domain.
    pub domain: String,
    /// All domains of the office's, with other names of theirs.
    pub domains: Vec<MailDomain>,
    /// The people of the office.
    pub users: Vec<User>,
    /// Addresses that lead to others.
    pub aliases: Aliases,
    /// Octets of a message at most.
    pub message_octets_max: u64,
    /// Who outside looks at each message before it is taken.
    pub judges: Vec<judge::Address>,
    /// Who may send to other domains without a login.
    pub relay_from: RelayFrom,
    /// Whether clients of the LAN may log in without TLS.
    pub plaintext_login: bool,
    /// While the disk has room for fewer octets, no message is taken.
    pub disk_reserve: u64,
    /// What becomes of mail from outside that is not from whom it says it is from.
    pub authenticity: Authenticity,
    /// What a source gets.
    pub shares: Shares,
    /// What is said of persons' mail.
    pub rules: Rules,
    /// For how many days mail is kept.
    pub keep_days: KeepDays,
}

/// What becomes of mail from outside that is not from whom it says it is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authenticity {
    /// A header line says so.
    #[default]
    Report,
    /// It goes to the folder for junk, if the domain that it names asks for that or for more.
    Quarantine,
    /// It is refused, if the domain that it names asks for that; put off, while that cannot be known.
    Reject,
}

/// Who may send to other domains without a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayFrom {
    /// The LAN.
    pub lan: bool,
    /// Networks.
    pub networks: Vec<IpNet>,
}

impl RelayFrom {
    /// Whether `peer` may.
    pub fn admits(&self, peer: IpAddr, is_lan: bool) -> bool {
        is_lan && self.lan || self.networks.iter().any(|network| network.contains(&peer))
    }
}

/// What one source gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections of a host of the LAN.
    pub lan_connections: usize,
    /// Connections of a source outside.
    pub wan_connections: usize,
    /// Messages that a source outside may send in a minute.
    pub wan_messages_a_minute: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Self { lan_connections: 200, wan_connections: 20, wan_messages_a_minute: 100 }
    }
}
