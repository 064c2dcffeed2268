//! How long a flow may be idle.

use gatepost_ground::wire::Protocol;

use super::tcp::Phase;

/// How long a flow may be idle before it ends, in seconds, by protocol and connection state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP.
    pub udp_secs: u32,
    /// TCP, once both sides have shaken hands, half-closed connections included.
    pub tcp_established_secs: u32,
    /// TCP before both sides have shaken hands.
    pub tcp_opening_secs: u32,
    /// TCP after both sides have sent FIN.
    pub tcp_closing_secs: u32,
    /// TCP after an RST.
    pub tcp_reset_secs: u32,
    /// ICMP queries.
    pub icmp_query_secs: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            udp_secs: 300,              // RFC 4787, REQ-5c
            tcp_established_secs: 7440, // RFC 5382, REQ-5: 2 h 4 min
            tcp_opening_secs: 240,      // RFC 5382, REQ-5; RFC 7857, section 2.1
            tcp_closing_secs: 240,      // RFC 5382, REQ-5; RFC 7857, section 2.1
            tcp_reset_secs: 240,        // RFC 7857, section 2.2
            icmp_query_secs: 60,        // RFC 5508, REQ-2
        }
    }
}

impl Timeouts {
    /// The timeout of a new flow of `protocol`.
    pub(crate) fn opening_secs(&self, protocol: Protocol) -> u32 {
        match protocol {
            Protocol::TCP => self.tcp_opening_secs,
            Protocol::UDP => self.udp_secs,
            _ => self.icmp_query_secs,
        }
    }

    /// The longest timeout of a TCP connection that is not established.
    pub(crate) fn tcp_transitory_secs(&self) -> u32 {
        self.tcp_opening_secs.max(self.tcp_closing_secs).max(self.tcp_reset_secs)
    }

    /// The timeout of a TCP connection in `phase`.
    #[inline]
    pub(crate) fn tcp_secs(&self, phase: Phase) -> u32 {
        match phase {
            Phase::Opening => self.tcp_opening_secs,
            Phase::Established => self.tcp_established_secs,
            Phase::Closing => self.tcp_closing_secs,
            Phase::Reset => self.tcp_reset_secs,
        }
    }
}
