//! The steering stage: each packet that NAT translates belongs to one worker, its owner (see `owners`). A worker that
//! receives a packet of another owner hands the unchanged packet over, and the owner treats it as if the owner had
//! received it.

pub(super) mod owners;

use gatepost_ground::wire::icmpv4::{self, Embedded};
use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::wire::{Protocol, ethernet};
use gatepost_ground::{Frame, PortId};

use super::Dataplane;
use super::context::Context;
use super::nat_action::NatDirection;
use super::packet;
use crate::batch::Slot;
use crate::drop_reason::DropReason;
use crate::explain::Run;
use crate::firewall::syn_reject::Quote;
use crate::fragment::{FragmentKey, LaterFragment, is_sound};
use crate::handoff::HandoffStage;
use crate::ingress::Ingress;
use crate::key::{Endpoint, FlowKey};
use crate::nat::icmp;
use crate::verdict::Verdict;

impl<M: Run> Dataplane<M> {
    /// The verdict on a packet in `direction` that this worker hands over or has dealt with; `None` if this worker
    /// goes on with the packet.
    #[inline(never)]
    pub(in crate::pipeline) fn steer(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        header: &Header,
        frame: &mut Frame,
    ) -> Option<Verdict> {
        match cx.stage {
            _ if direction == NatDirection::HairpinIn => return None,
            HandoffStage::Direct | HandoffStage::ToOwner => {}
            HandoffStage::HairpinQuery => return Some(self.answer_hairpin(cx, direction, header, frame)),
            HandoffStage::FragmentToOwner
            | HandoffStage::HairpinYes
            | HandoffStage::HairpinNo
            | HandoffStage::HairpinIn
            | HandoffStage::ErrorBack(_) => return None,
        }
        if header.is_fragment() {
            return Some(self.steer_fragment(cx, direction, header, frame));
        }
        let owner = self.owner(direction, header, frame)?;
        (owner != self.shard.index()).then(|| steer_to(cx, owner))
    }

    /// Takes in a frame from another worker. Returns whether the frame now goes through the stages like a received
    /// one; otherwise the frame has its verdict.
    #[cold]
    #[inline(never)]
    pub(in crate::pipeline) fn accept_handoff(&mut self, cx: &mut Context<'_, '_>, slot: &mut Slot) -> bool {
        match slot.ingress {
            Ingress::HandedOver(handoff) => {
                cx.ingress = handoff.origin.into();
                cx.stage = handoff.stage;
                cx.involves_others = true;
                let verdict = match handoff.stage {
                    HandoffStage::HairpinIn => {
                        cx.is_rewritten = true;
                        self.hairpin_input(cx, &mut slot.frame)
                    }
                    HandoffStage::ErrorBack(error) => {
                        self.reject_hairpinned(cx.call, &mut Quote::of_frame(&slot.frame), error);
                        Verdict::Consumed
                    }
                    _ => return true,
                };
                self.count(cx, verdict, &slot.frame);
                slot.verdict = verdict;
                self.finish_handoff(cx, slot);
            }
            Ingress::ArpCopy(port) => {
                self.arp_copy_input(cx, port, &mut slot.frame);
                slot.verdict = Verdict::Consumed;
            }
            Ingress::Port(_) | Ingress::Stack | Ingress::RawFrame(_) => return true,
        }
        false
    }

    /// Stores with a decided frame how it goes to other workers, and counts it if another worker sent it.
    #[cold]
    #[inline(never)]
    pub(in crate::pipeline) fn finish_handoff(&mut self, cx: &Context<'_, '_>, slot: &mut Slot) {
        if cx.stage != HandoffStage::Direct {
            self.counters.was_taken_over();
        }
        slot.ingress = cx.ingress;
        slot.copy_to_others = cx.copy_to_others;
    }

    /// Learns from the copy of an ARP frame that another worker received from `port` and found sound.
    fn arp_copy_input(&mut self, cx: &mut Context<'_, '_>, port: PortId, frame: &mut Frame) {
        if let (Some(interface), Ok(header)) =
            (self.config.interface_of(port), ethernet::Header::parse(frame.bytes()))
            && header.ether_type == ethernet::EtherType::ARP
        {
            self.links.apply_remote(cx.call.now, interface, header.source, port);
            self.arp_input(cx, interface, frame);
        }
    }

    /// Steers a fragment whose owner is not known yet. The worker that collects the fragments of the packet learns
    /// the owner from the first fragment, and hands all of them over with the first in front.
    fn steer_fragment(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if !is_sound(header) {
            return Verdict::Drop(DropReason::FragmentInvalid);
        }
        let key = FragmentKey::new(self.entered_by(direction, cx.ingress), header);
        let collector = self.steering.of_fragment(&key);
        let Some(owners) = self.fragment_owners.as_mut().filter(|_| collector == self.shard.index()) else {
            return steer_to(cx, collector);
        };
        if !header.has_transport_header() {
            return match owners.later(cx.call.now, &key, cx.ingress, frame) {
                LaterFragment::Known(owner) => self.fragment_to_owner(cx, owner, direction, header, frame),
                LaterFragment::Held => Verdict::Hold,
                LaterFragment::Full => Verdict::Drop(DropReason::FragmentTableFull),
            };
        }
        let owner = self.owner(direction, header, frame).unwrap_or(self.shard.index());
        let verdict = self.fragment_to_owner(cx, owner, direction, header, frame);
        self.release_to_owner(cx, direction, &key, owner);
        verdict
    }

    /// Notes the owner of a packet's fragments, and hands the owner those that wait.
    fn release_to_owner(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        key: &FragmentKey,
        owner: u8,
    ) {
        if !self.fragment_owners.as_mut().is_some_and(|owners| owners.first(cx.call.now, key, owner)) {
            return;
        }
        let mut frame = core::mem::take(&mut self.fragment_owner_frame);
        while let Some(ingress) =
            self.fragment_owners.as_mut().and_then(|owners| owners.release(cx.call.now, key, &mut frame))
        {
            let mut released = cx.of_released(ingress);
            let verdict = match packet::parse(&frame) {
                Ok(header) => self.fragment_to_owner(&mut released, owner, direction, &header, &mut frame),
                Err(reason) => Verdict::Drop(reason),
            };
            self.release(&mut released, verdict, &mut frame);
        }
        self.fragment_owner_frame = frame;
    }

    fn fragment_to_owner(
        &mut self,
        cx: &mut Context<'_, '_>,
        owner: u8,
        direction: NatDirection,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if owner == self.shard.index() {
            self.nat_fragment(cx, direction, header, frame)
        } else {
            cx.hand_over(owner, HandoffStage::FragmentToOwner)
        }
    }

    /// The worker that owns this packet (unfragmented, or a first fragment); `None` if any worker may handle it.
    fn owner(&self, direction: NatDirection, header: &Header, frame: &Frame) -> Option<u8> {
        let key = key(header, frame)?;
        let rules = &self.config.firewall.v4;
        match direction {
            NatDirection::Outbound | NatDirection::OutboundOwn | NatDirection::HairpinOut => {
                Some(self.steering.of_inside(rules, &key))
            }
            // A ping belongs to no flow and is for the gateway: any worker may answer it.
            NatDirection::Inbound if key.destination.port == 0 => None,
            NatDirection::Inbound => {
                let (port, remote) = (key.destination.port, key.source.address);
                Some(self.steering.of_external(rules, key.protocol, port, remote))
            }
            NatDirection::HairpinIn => None,
        }
    }
}

/// The flow key of a packet; for an ICMP error, the key of a reply to the quoted packet. `None` for a packet that can
/// belong to no flow.
fn key(header: &Header, frame: &Frame) -> Option<FlowKey> {
    let payload = header.payload(frame.packet());
    let (source, destination) = match header.protocol {
        Protocol::TCP | Protocol::UDP => {
            let [a, b, c, d] = *payload.first_chunk()?;
            (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        }
        Protocol::ICMP => {
            let message = icmpv4::Header::parse(payload).ok()?;
            match message.kind {
                kind if kind.is_query() => (message.identifier(), 0),
                kind if kind.is_query_reply() => (0, message.identifier()),
                kind if kind.is_error() => return Some(icmp::reply_key(&Embedded::parse(payload).ok()?)),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(FlowKey {
        protocol: header.protocol,
        source: Endpoint::new(header.source, source),
        destination: Endpoint::new(header.destination, destination),
    })
}

/// Hands over a packet that entered at this worker. A packet that was handed over before is dropped: the workers'
/// configurations differ for a moment.
fn steer_to(cx: &mut Context<'_, '_>, owner: u8) -> Verdict {
    match cx.stage {
        HandoffStage::Direct => cx.hand_over(owner, HandoffStage::ToOwner),
        _ => Verdict::Drop(DropReason::WorkerChanged),
    }
}
