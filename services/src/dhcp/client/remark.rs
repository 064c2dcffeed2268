//! The client's remarks on servers' messages: why it refuses one, and what it assumes in place of a missing field.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;

use super::routes::{ROUTES_MAX, Route};
use crate::dhcp::message::Malformed;
use crate::log_limit::LogLimit;

/// How long a reason is not logged again.
pub(super) const REMARK_INTERVAL: Duration = Duration::from_secs(600);
/// The longest text of a server that is repeated, in characters.
const TEXT_CHARS_MAX: usize = 100;

/// A remark on a message from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The server, by its identifier or else by the packet's source.
    pub server: Ipv4Addr,
    /// What there is to say.
    pub reason: Reason,
}

/// What there is to say of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The message cannot be read.
    Malformed(Malformed),
    /// Refused: no server identifier, or that of no host.
    NoServer,
    /// Refused: the address is no host's, or none in its network.
    NoHost(Ipv4Net),
    /// Refused: the bits of the mask are not contiguous, or all zero.
    BadMask(Ipv4Addr),
    /// Refused: the lease lasts 0 s.
    NoTime,
    /// Refused: the lease's network, or its router, is in a network of another interface.
    Overlaps(Ipv4Net, Ipv4Net),
    /// Refused: the acknowledgement is of another address than that which the client requested.
    OtherAddress(Ipv4Addr, Ipv4Addr),
    /// The server has refused the client's request, perhaps with a text.
    Nak(Option<String>),
    /// Declined: another host uses the address.
    InUse(Ipv4Addr, MacAddr),
    /// Taken: without a lease time, so many seconds are assumed.
    TimeAssumed(u32),
    /// Taken: without a mask, that of this prefix is assumed.
    MaskAssumed(Ipv4Net),
    /// Taken without its classless routes, which cannot be read.
    RoutesMalformed,
    /// Taken without this route, which leads into a network of another interface, or by an impossible router.
    RouteLeftOut(Route),
    /// Taken without its last routes.
    RoutesTooMany,
}

impl Reason {
    /// Whether the client has no lease because of it.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::TimeAssumed(_)
                | Self::MaskAssumed(_)
                | Self::RoutesMalformed
                | Self::RouteLeftOut(_)
                | Self::RoutesTooMany
        )
    }

    /// The server's reason for a NAK in one line.
    pub(super) fn nak(text: Option<&str>) -> Self {
        let printable = |text: &str| {
            let chars = text.chars().map(|char| if char.is_control() { ' ' } else { char });
            chars.take(TEXT_CHARS_MAX).collect::<String>().trim().to_owned()
        };
        Self::Nak(text.map(printable).filter(|text| !text.is_empty()))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DHCP server {}: ", self.server)?;
        match &self.reason {
            Reason::Malformed(why) => write!(f, "its answer is refused: it is {why}"),
            Reason::NoServer => f.write_str("its lease is refused: the server does not identify itself"),
            Reason::NoHost(address) => {
                write!(f, "its lease is refused: {address} is no address of a host")
            }
            Reason::BadMask(mask) => write!(f, "its lease is refused: {mask} is no network mask"),
            Reason::NoTime => f.write_str("its lease is refused: it lasts 0 s"),
            Reason::Overlaps(lease, own) => {
                write!(
                    f,
                    "its lease is refused: {lease} overlaps the LAN {}; set another lan.address",
                    own.trunc()
                )
            }
            Reason::OtherAddress(address, requested) => {
                write!(f, "its lease is refused: it is of {address}, and {requested} was requested")
            }
            Reason::Nak(text) => {
                f.write_str("it refuses the request")?;
                text.iter().try_for_each(|text| write!(f, ": {text:?}"))
            }
            Reason::InUse(address, holder) => {
                write!(f, "its lease is declined: {address} is in use by {holder}")
            }
            Reason::TimeAssumed(secs) => write!(f, "its lease has no lease time; {secs} s are assumed"),
            Reason::MaskAssumed(address) => write!(f, "its lease has no network mask; {address} is assumed"),
            Reason::RoutesMalformed => f.write_str("the classless routes of its lease cannot be read"),
            Reason::RouteLeftOut(Route { to, router }) => {
                write!(f, "its route to {to}")?;
                router.iter().try_for_each(|router| write!(f, " by {router}"))?;
                f.write_str(" is not used")
            }
            Reason::RoutesTooMany => write!(f, "of the routes of its lease only {ROUTES_MAX} are used"),
        }
    }
}

/// The rate limits of the reasons; no more entries than there are reasons.
#[derive(Debug, Default)]
pub(super) struct ReasonLimits(Vec<(Discriminant<Reason>, LogLimit)>);

impl ReasonLimits {
    /// Whether `reason` is to be logged at `now`: for the first time, or again after [`REMARK_INTERVAL`].
    pub fn is_due(&mut self, now: Instant, reason: &Reason) -> bool {
        let key = discriminant(reason);
        if let Some((_, limit)) = self.0.iter_mut().find(|(known, _)| *known == key) {
            return limit.allows_in(now, REMARK_INTERVAL, 1);
        }
        let mut limit = LogLimit::default();
        let is_due = limit.allows_in(now, REMARK_INTERVAL, 1);
        self.0.push((key, limit));
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_cannot_forge_a_line_of_the_log() {
        let text = format!("no\n\u{1b}[1mWARN{}", "x".repeat(1000));
        let reason = Reason::nak(Some(&text));
        let told = Remark { server: Ipv4Addr::new(203, 0, 113, 1), reason }.to_string();
        assert!(
            told.starts_with("DHCP server 203.0.113.1: it refuses the request: \"no  [1mWARNxxx"),
            "{told}"
        );
        assert!(told.len() < 200 && !told.contains(char::is_control));
        assert_eq!(Reason::nak(Some("\0\n")), Reason::Nak(None));
    }
}
