//! The parameters that an administrator sets, and the clients that get them.
//!
//! The client's reservation takes precedence over the first [`Match`] that the client meets and that has the option,
//! this over the parameters of all clients, and these over what follows from the network. An option without content is
//! not sent.

mod criteria;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub use self::criteria::{Criteria, Pattern};
use crate::dhcp::message::Message;
use crate::dhcp::options::BOOT_FILE;

/// Parameters for a group of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The contents of options by code. An option without content is not sent.
    pub options: BTreeMap<u8, Vec<u8>>,
    /// The server of the boot file (`siaddr`); the unspecified address means none. `None`: not set here.
    pub next_server: Option<Ipv4Addr>,
}

/// Parameters for the clients that meet criteria.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The criteria.
    pub criteria: Criteria,
    /// The parameters of these clients.
    pub parameters: Parameters,
}

/// The parameters of one client, in the order of precedence.
pub(super) struct Layers<'a> {
    particular: Vec<&'a Parameters>,
    general: &'a Parameters,
}

impl<'a> Layers<'a> {
    /// The layers for the client that sent `message`. `reserved` are the parameters of its reservation, `general` those
    /// of all clients.
    pub fn of(
        general: &'a Parameters,
        matches: &'a [Match],
        message: &Message,
        reserved: Option<&'a Parameters>,
    ) -> Self {
        let matching = matches.iter().filter(|it| it.criteria.are_met_by(message));
        let particular = reserved.into_iter().chain(matching.map(|it| &it.parameters));
        Self { particular: particular.collect(), general }
    }

    fn all(&self) -> impl Iterator<Item = &'a Parameters> {
        self.particular.iter().copied().chain([self.general])
    }

    /// The content of the option `code`, empty if the option is not sent; `None` if no layer has the option.
    pub fn option(&self, code: u8) -> Option<&'a [u8]> {
        self.all().find_map(|it| it.options.get(&code)).map(Vec::as_slice)
    }

    /// The options of the reservation and the matches, which are sent even if the client does not request them.
    pub fn particular_codes(&self) -> impl Iterator<Item = u8> {
        self.particular.iter().flat_map(|it| it.options.keys().copied())
    }

    /// The options for all clients, which are sent if the client requests them.
    pub fn general_codes(&self) -> impl Iterator<Item = u8> {
        self.general.options.keys().copied()
    }

    /// The server of the boot file.
    pub fn next_server(&self) -> Option<Ipv4Addr> {
        self.all().find_map(|it| it.next_server).filter(|server| !server.is_unspecified())
    }

    /// The name or URL of the boot file.
    pub fn boot_file(&self) -> Option<&'a [u8]> {
        self.option(BOOT_FILE).filter(|file| !file.is_empty())
    }
}
