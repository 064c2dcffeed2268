//! The counters of the host stack.

use super::packet::Unreadable;

gatepost_ground::counters! {
    /// The counters of the host stack since its start.
    pub struct StackCounters {
        /// TCP connections now, in any state.
        pub connections: u64,
        /// TCP connections now whose handshake the peer has begun and not ended.
        pub half_open: u64,
        /// Memory of the TCP connections' buffers now, in octets.
        pub tcp_memory: u64,
        /// Packets that are not IPv4, are truncated, or carry a truncated or malformed TCP, UDP or ICMP header.
        pub packets_malformed: u64,
        /// Packets with a wrong checksum: IPv4, TCP, UDP or ICMP.
        pub checksums_wrong: u64,
        /// Packets to other hosts, from an impossible source, or to all hosts in a protocol that is for one.
        pub packets_not_ours: u64,
        /// Fragments received.
        pub fragments: u64,
        /// Packets reassembled from fragments.
        pub packets_reassembled: u64,
        /// Packets in unknown protocols; answered by an ICMP error.
        pub protocols_unknown: u64,
        /// ICMP messages that need no answer.
        pub icmp_ignored: u64,
        /// Echo requests in fragments beyond the rate of replies to one address.
        pub echo_replies_limited: u64,
        /// TCP segments whose octets were dropped because the connections' buffers had all the memory that they may
        /// have; the peer sends them again.
        pub segments_dropped_memory_full: u64,
        /// TCP segments for no connection and no listener; answered by a reset.
        pub segments_unwanted: u64,
        /// TCP resets for no connection.
        pub resets_ignored: u64,
        /// UDP datagrams to a closed port; answered by an ICMP error, unless they were for all hosts.
        pub datagrams_unwanted: u64,
        /// TCP segments and UDP datagrams for a service that does not admit their source; answered as by a closed
        /// port.
        pub sources_refused: u64,
        /// UDP datagrams dropped because their socket's queue was full.
        pub datagrams_dropped_queue_full: u64,
        /// SYNs, and ends of handshakes that a cookie had answered, dropped because too many connections wait for
        /// the service to accept them.
        pub syns_dropped_backlog_full: u64,
        /// SYNs, and ends of handshakes that a cookie had answered, dropped because there are as many connections as
        /// may be.
        pub syns_dropped_connections_full: u64,
        /// SYNs, and ends of handshakes that a cookie had answered, dropped because their source has as many
        /// connections as one may have.
        pub syns_dropped_source_share: u64,
        /// Handshakes given up because others were begun and there was no room.
        pub half_open_recycled: u64,
        /// Connections without a service, given up because others were begun and there was no room.
        pub orphans_recycled: u64,
        /// SYNs answered by a SYN cookie, because there was no room for the state of a handshake.
        pub syn_cookies_sent: u64,
        /// Acknowledgements that fit no SYN cookie, while cookies were valid: forged, too old or too early.
        pub syn_cookies_refused: u64,
        /// Connections whose handshake was answered by a SYN cookie.
        pub syn_cookies_accepted: u64,
        /// Resets, ICMP errors, SYN cookies and duplicate acknowledgements dropped because too much waited to be sent.
        pub replies_dropped_outbox_full: u64,
    }
}

impl StackCounters {
    /// Counts octets that are no packet, or hold no segment or datagram.
    pub(super) fn count_unreadable(&mut self, why: Unreadable) {
        match why {
            Unreadable::Malformed => self.packets_malformed += 1,
            Unreadable::Checksum => self.checksums_wrong += 1,
        }
    }
}
