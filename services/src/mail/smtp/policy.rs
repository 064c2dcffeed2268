//! What a session has to know of the server and its client at the beginning.

use std::net::IpAddr;

use super::limits::Limits;
use crate::mail::address::Domain;
use crate::mail::sasl::Mechanism;

/// Which kind of server a client has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Port 25: accepts mail from other servers, and from programs on the LAN.
    Mx,
    /// Ports 587 and 465: accepts mail of authenticated users. (RFC 6409, section 4.3)
    Submission,
    /// Another server delivers mail, and gets a reply for each recipient. (RFC 2033)
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

/// The treatment of one client.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which kind of server the client has reached.
    pub role: Role,
    /// The server's name, in its greeting and in Received fields.
    pub hostname: String,
    /// The domain that completes addresses of clients that may omit it.
    pub domain: Domain,
    /// Where the client is.
    pub peer: IpAddr,
    /// The client's name by its address, confirmed by the address of that name. (RFC 8601, section 2.7.3)
    pub peer_name: Option<String>,
    /// Whether the client is on the LAN: its mistakes of form are overlooked.
    pub is_lan: bool,
    /// Whether the client may send to other domains without a login.
    pub may_relay: bool,
    /// Whether DSNs are supported, including those for local mailboxes. (RFC 3461)
    pub has_dsn: bool,
    /// Whether the session is encrypted.
    pub tls: Tls,
    /// Whether a client may log in without TLS.
    pub plaintext_login: bool,
    /// By which a client can log in, in the order in which they are offered. Without any there is no AUTH.
    pub mechanisms: Vec<Mechanism>,
    /// The limits of the client.
    pub limits: Limits,
}

impl Policy {
    /// Whether clients are people's programs, which call themselves as the computer is called. (RFC 5321, section
    /// 4.1.4)
    pub(super) fn is_lenient(&self) -> bool {
        self.is_lan || self.role == Role::Submission
    }

    /// Whether LF alone is accepted as a line's end in a message, and made CRLF: scanners and scripts of the office
    /// send it so. It never ends the message. From outside it is rejected, as other servers may interpret it
    /// differently.
    pub(super) fn mends_line_ends(&self) -> bool {
        self.is_lan && self.role != Role::Lmtp
    }

    /// Whether a client can log in as things are.
    pub(super) fn login_is_open(&self) -> bool {
        !self.mechanisms.is_empty() && (self.tls == Tls::Active || self.plaintext_login)
    }
}
