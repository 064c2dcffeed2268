//! ICMP errors: those that the gateway sends, and those that it translates.

use core::net::{Ipv4Addr, SocketAddrV4};

use super::nat::Origin;
use super::{Context, Dataplane};
use crate::batch::{Frame, Verdict};
use crate::config::Segment;
use crate::counters::DropReason;
use crate::flow::{Direction, Endpoint, FlowId, FlowKey, Translation};
use crate::icmp_error::{self, IcmpError};
use crate::nat::icmp::{self, Outer};
use crate::nat::rewrite;
use crate::wire::ipv4::{self, Header};
use crate::wire::{Malformed, checksum, ethernet, icmpv4};

impl Dataplane {
    /// Tells the sender of the packet in `frame`, which came from `segment` and is as it came, what
    /// became of it. It may be that nobody is to be told, or that enough were told lately.
    pub(super) fn reject(
        &mut self,
        cx: &mut Context<'_>,
        segment: Segment,
        header: &Header,
        frame: &Frame,
        error: IcmpError,
    ) {
        let packet = &frame.bytes()[ethernet::Header::LEN..];
        let link_destination = self.config.interface(segment).mac;
        self.reject_packet(cx, segment, link_destination, header, packet, error);
    }
}
