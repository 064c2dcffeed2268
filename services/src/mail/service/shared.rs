//! The state that the connections of one service with one configuration share.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use rand::rngs::StdRng;

use super::aliases::Receivers;
use super::directory::{Directory, Place};
use super::listeners::Server;
use super::remote::Remote;
use super::settings::Settings;
use super::sorting::Sorter;
use super::state::{MailState, Opened};
use super::stats::Stats;
use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::dns::resolver::Resolver;
use crate::lan_hosts::LanHosts;
use crate::mail::address::{Domain, ForwardPath};
use crate::mail::judge::Judges;
use crate::mail::sasl::Mechanism;
use crate::mail::smtp::server::Recipient;
use crate::mail::smtp::{Limits, Policy, Rejection, Role, Tls};
use crate::tls;
use crate::watch;

pub(super) struct Shared {
    pub settings: Settings,
    pub role: Role,
    pub directory: Directory,
    pub state: Rc<MailState>,
    pub remote: Rc<dyn Remote>,
    pub judges: Judges,
    pub tls: Option<Rc<tls::Tls>>,
    pub stats: Rc<RefCell<Stats>>,
    pub clock: Rc<dyn Clock>,
    pub rng: RefCell<StdRng>,
    pub addresses: Subscription,
    pub lan_hosts: Rc<dyn LanHosts>,
    pub resolver: Resolver,
    /// Whether the service accepts nothing new.
    pub finishing: watch::Sender<bool>,
}

impl Shared {
    /// Where `path` is.
    pub fn find(&self, path: &ForwardPath) -> Place<'_> {
        let addresses = self.addresses.borrow();
        let is_own = |address: IpAddr| {
            let own = addresses.interfaces.iter().flat_map(|interface| &interface.addresses);
            own.into_iter().any(|network| network.addr() == address)
        };
        self.directory.find(path, is_own)
    }

    /// The receivers of `recipient`; `None` if it is at another domain, and the client may relay.
    pub fn judge(&self, recipient: &Recipient) -> Result<Option<Receivers<'_>>, Rejection> {
        match self.find(&recipient.path) {
            Place::Here(reached) => Ok(Some(reached)),
            Place::Nobody => Err(Rejection::NoSuchMailbox),
            Place::Route => Err(Rejection::BadRecipient),
            Place::Elsewhere if recipient.may_relay && self.role != Role::Lmtp => Ok(None),
            Place::Elsewhere => Err(Rejection::RelayDenied),
        }
    }

    /// The host name of `peer`, if it is known on the LAN.
    pub fn peer_name(&self, peer: IpAddr) -> Option<String> {
        self.lan_hosts.name(peer).map(|label| format!("{label}.{}", self.settings.domain))
    }

    /// The sorter for the receivers' rules.
    pub fn sorter<'a>(&'a self, opened: &'a Rc<Opened>) -> Sorter<'a> {
        Sorter {
            opened,
            directory: &self.directory,
            rules: &self.settings.rules,
            domain: &self.settings.domain,
            remote: &*self.remote,
            now: self.clock.unix_time(),
        }
    }

    /// The session's policy for `peer`, with or without implicit TLS.
    pub fn policy(&self, peer: IpAddr, is_encrypted: bool) -> Policy {
        let is_lan = self.is_lan(peer);
        let settings = &self.settings;
        let limits = if is_lan { Limits::lan } else { Limits::wan };
        // Guessing passwords from outside is for the port that is made for logins.
        let has_logins = match self.role {
            Role::Mx => is_lan,
            Role::Submission => true,
            Role::Lmtp => false,
        };
        Policy {
            role: self.role,
            hostname: settings.hostname.clone(),
            domain: Domain::Name(settings.domain.clone()),
            peer,
            peer_name: self.peer_name(peer),
            is_lan,
            may_relay: self.role == Role::Mx && settings.relay_from.admits(peer, is_lan),
            // Otherwise strangers could cause notices to forged senders.
            has_dsn: self.remote.has_reports() && (is_lan || self.role == Role::Submission),
            tls: match &self.tls {
                _ if is_encrypted => Tls::Active,
                Some(_) => Tls::Available,
                None => Tls::Unavailable,
            },
            plaintext_login: settings.plaintext_login && is_lan,
            mechanisms: if has_logins { Mechanism::ALL.to_vec() } else { Vec::new() },
            limits: limits(settings.message_octets_max),
        }
    }
}
