//! What a session may know of the server and of its client before the first octet.

use std::net::IpAddr;

use super::limits::Limits;
use crate::mail::address::Domain;
use crate::mail::sasl::Mechanism;

/// Which kind of server a client has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Port 25: takes mail from other servers, and from programs on the LAN.
    Mx,
    /// Ports 587 and 465: takes mail of users, who log in before. (RFC 6409, section 4.3)
    Submission,
    /// Another server hands over mail, and is told of each recipient. (RFC 2033)
    Lmtp,
}

/// Whether a session is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The session is not encrypted, and cannot be.
    Unavailable,
    /// The session is not encrypted yet, and STARTTLS is offered. (RFC 3207)
    Available,
    /// The session is encrypted.
    Active,
}

/// A value that says how a session treats its client.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which kind of server the client has reached.
    pub role: Role,
    /// The server's name, in its greeting and in Received fields.
    pub hostname: String,
    /// The domain of addresses that are written without one by those who may do so.
    pub domain: Domain,
    /// Where the client is.
    pub peer: IpAddr,
    /// The client's name by its address, confirmed by the address of that name. (RFC 8601, section 2.7.3)
    pub peer_name: Option<String>,
    /// Whether the client is on the LAN: its mistakes of form are overlooked.
    pub is_lan: bool,
    /// Whether the client may send to other domains without a login.
    pub may_relay: bool,
    /// Whether senders are told what they ask for of their messages, those to mailboxes here included. (RFC 3461)
    pub has_dsn: bool,
    /// Whether the session is encrypted.
    pub tls: Tls,
    /// Whether a client may log in without TLS.
    pub plaintext_login: bool,
    /// By which a client can log in, in the order in which they are offered. Without any there is no AUTH.
    pub mechanisms: Vec<Mechanism>,
    /// What is taken of the client.
    pub limits: Limits,
}

impl Policy {
    /// Whether clients are people's programs, which call themselves as the computer is called. (RFC 5321, section
    /// 4.1.4)
    pub(super) fn is_lenient(&self) -> bool {
        self.is_lan || self.role == Role::Submission
    }

    /// Whether LF alone is taken for a line's end in a message, and made CRLF: scanners and scripts of the office send
    /// it so. It never makes an end of the message, and what comes from elsewhere is refused, as one server may see
    /// lines where another sees none.
    pub(super) fn mends_line_ends(&self) -> bool {
        self.is_lan && self.role != Role::Lmtp
    }

    /// Whether a client can log in as things are.
    pub(super) fn login_is_open(&self) -> bool {
        !self.mechanisms.is_empty() && (self.tls == Tls::Active || self.plaintext_login)
    }
}
