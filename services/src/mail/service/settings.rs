//! The settings of the mail services.

use std::net::IpAddr;

use ipnet::IpNet;

use super::aliases::Aliases;
use super::directory::MailDomain;
use super::expiry::KeepDays;
use crate::mail::judge;
use crate::mail::rules::Rules;
use crate::users::User;

/// The settings of one mail service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether it serves.
    pub enabled: bool,
    /// Its port; 0 disables it.
    pub port: u16,
    /// The port of submission with implicit TLS; 0 disables it.
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
    /// The judges.
    pub judges: Vec<judge::Address>,
    /// The clients that may relay without a login.
    pub relay_from: RelayFrom,
    /// Whether clients of the LAN may log in without TLS.
    pub plaintext_login: bool,
    /// If the disk's free space is less, in octets, no message is accepted.
    pub disk_reserve: u64,
    /// The treatment of mail from outside that fails authentication.
    pub authenticity: Authenticity,
    /// The limits of a source.
    pub shares: Shares,
    /// The users' rules.
    pub rules: Rules,
    /// The retention in days.
    pub keep_days: KeepDays,
}

/// The treatment of mail from outside that fails authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authenticity {
    /// A header field reports it.
    #[default]
    Report,
    /// It is filed as junk, if the domain's policy is quarantine or reject.
    Quarantine,
    /// It is rejected, if the domain's policy is reject; temporarily, while that is unknown.
    Reject,
}

/// The clients that may relay without a login.
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

/// The limits of one source.
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
