//! The fragment stage: received fragments that pass through NAT, and packets that the gateway fragments for a smaller
//! link.
//!
//! The action on a first fragment is remembered for the further fragments, which carry no ports. Fragments that
//! arrive before the first are held. Fragments for the host stack go to it one by one: the host stack reassembles
//! them.

use core::mem;

use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::{Frame, Instant, Offload, PortSet};

use super::Dataplane;
use super::context::{Call, Context};
use super::nat_action::{Arrival, NatAction, NatDirection, Rewrite};
use super::packet;
use crate::batch::Output;
use crate::drop_log;
use crate::drop_reason::DropReason;
use crate::explain::Run;
use crate::fragment::{FragmentKey, Fragments, LaterFragment, is_sound};
use crate::handoff::HandoffStage;
use crate::verdict::{LocalClass, Verdict};

impl<M: Run> Dataplane<M> {
    /// Translates a fragment that crosses the WAN address in `direction`.
    pub(super) fn nat_fragment(
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
        if !header.has_transport_header() {
            return match self.fragments.later(cx.call.now, &key, cx.ingress, frame) {
                LaterFragment::Known(action) => self.apply_action(cx, direction, &action, header, frame),
                LaterFragment::Held => Verdict::Hold,
                LaterFragment::Full => Verdict::Drop(DropReason::FragmentTableFull),
            };
        }
        let decided =
            self.decide_first_fragment(cx, Arrival { direction, ingress: cx.ingress, header, frame });
        let action = self.with_former_identification(cx.call, &key, decided);
        if let NatAction::Ask(worker) = action {
            // The first fragment comes back with the answer; the further fragments wait for it.
            return cx.hand_over(worker, HandoffStage::HairpinQuery);
        }
        let verdict = self.apply_action(cx, direction, &action, header, frame);
        self.release_fragments(cx, direction, &key, action);
        verdict
    }

    /// The action on a packet's fragments, with the identification that NAT gave to an earlier packet of the same
    /// key, if the earlier action is still remembered. In that case the sender has used an identification again, and
    /// fragments of the new packet that arrived before its first fragment have gone out with the earlier packet's new
    /// identification.
    fn with_former_identification(&self, call: &Call<'_>, key: &FragmentKey, action: NatAction) -> NatAction {
        let NatAction::Pass(rewrite @ Rewrite { identification: Some(_), .. }) = action else {
            return action;
        };
        match self.fragments.known(call.now, key) {
            Some(NatAction::Pass(Rewrite { identification: Some(former), .. })) => {
                NatAction::Pass(Rewrite { identification: Some(former), ..rewrite })
            }
            _ => action,
        }
    }

    /// Drops the held fragments whose first fragment did not arrive in time.
    pub(super) fn fragment_timeout(&mut self, now: Instant) {
        self.drop_held_fragments(now, DropReason::FragmentInvalid);
    }

    /// Drops, for `reason`, the held fragments whose time is over at `now`.
    pub(super) fn drop_held_fragments(&mut self, now: Instant, reason: DropReason) {
        let Self { fragments, fragment_owners, counters, drops, .. } = self;
        let mut expire = |_, frame: &mut Frame| {
            counters.held_dropped(reason);
            drops.push(reason, None, (None, None), drop_log::packet(frame.packet()));
        };
        fragments.handle_timeout(now, &mut expire);
        fragment_owners.iter_mut().for_each(|owners| owners.handle_timeout(now, &mut expire));
    }

    /// Applies the packet's action to one fragment.
    fn apply_action(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        action: &NatAction,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let rewrite = match action {
            NatAction::Pass(rewrite) => rewrite,
            NatAction::Local => return Verdict::Local(LocalClass::Stack),
            NatAction::Drop(reason) => return Verdict::Drop(*reason),
            NatAction::Ask(worker) => return cx.hand_over(*worker, HandoffStage::HairpinQuery),
        };
        match self.check_route(
            cx.call,
            Arrival { direction, ingress: cx.ingress, header, frame },
            rewrite.hop,
        ) {
            Ok(()) => self.pass(cx, direction, rewrite, header, frame),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Remembers the action on a packet's fragments, and applies it to those that wait.
    fn release_fragments(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        key: &FragmentKey,
        action: NatAction,
    ) {
        if !self.fragments.first(cx.call.now, key, action) {
            return;
        }
        let mut frame = mem::take(&mut self.released);
        while let Some(ingress) = self.fragments.release(cx.call.now, key, &mut frame) {
            let mut released = cx.of_released(ingress);
            let verdict = match packet::parse(&frame) {
                Ok(header) => self.apply_action(&mut released, direction, &action, &header, &mut frame),
                Err(reason) => Verdict::Drop(reason),
            };
            self.release(&mut released, verdict, &mut frame);
        }
        self.released = frame;
    }

    /// Carries out the verdict on a released frame.
    pub(super) fn release(&mut self, cx: &mut Context<'_, '_>, verdict: Verdict, frame: &mut Frame) {
        if let Err(reason) = self.release_to(cx, verdict, frame) {
            self.counters.held_dropped(reason);
            self.remember_drop(cx.ingress, cx.is_rewritten, reason, frame);
        }
    }

    /// Carries out the verdict on a released frame, unless the frame is to be dropped for the returned reason.
    fn release_to(
        &mut self,
        cx: &mut Context<'_, '_>,
        verdict: Verdict,
        frame: &mut Frame,
    ) -> Result<(), DropReason> {
        let counters = &mut self.counters;
        let ports = match verdict {
            Verdict::Transmit(port) => PortSet::only(port),
            Verdict::Flood { ports, .. } => ports,
            // The frame now waits for a neighbour.
            Verdict::Hold => return Ok(()),
            Verdict::Drop(reason) => return Err(reason),
            Verdict::Local(_) if cx.call.spare.add(cx.ingress, verdict, frame) => {
                counters.held_delivered();
                return Ok(());
            }
            Verdict::HandOver(_) if cx.call.spare.add(cx.ingress, verdict, frame) => {
                counters.held_handed_over();
                return Ok(());
            }
            Verdict::Local(_) | Verdict::HandOver(_) => return Err(DropReason::OutputFull),
            // The frame's fragments went out.
            Verdict::Consumed => {
                counters.held_transmitted();
                return Ok(());
            }
            Verdict::Pending => {
                debug_assert!(false, "no stage returns Verdict::Pending");
                return Err(DropReason::InternalError);
            }
        };
        if cx.call.output.release(ports, frame) {
            counters.held_transmitted();
            Ok(())
        } else {
            Err(DropReason::OutputFull)
        }
    }
}

/// Fragments the packet in `frame`, whose Ethernet header is written, for a link of `mtu` octets, and sends the
/// fragments out of `ports`. Either all fragments are sent or none. Returns their number.
pub(super) fn send_fragmented(
    output: &mut Output,
    ports: PortSet,
    frame: &Frame,
    mtu: u16,
) -> Result<u64, DropReason> {
    if matches!(frame.offload(), Offload::None | Offload::Verified) {
        return fragment_and_send(output, ports, frame, mtu, 1);
    }
    // This is rare enough for a buffer of its own: a sender of super-frames knows the MTU or discovers it.
    let mut whole = Frame::with_capacity(frame.link_len() + frame.packet_len_max());
    let mut made = 0;
    let segments = frame.segments();
    let count = segments.len();
    for (segment, left) in segments.zip((1..=count).rev()) {
        let len = segment.write(whole.buffer_mut()).ok_or(DropReason::OffloadInvalid)?;
        whole.set_len(len);
        whole.set_link_len(frame.link_len());
        // No segment is longer than the first. So room for `left` times the first segment's fragments is room for
        // all.
        let room_for = if made == 0 { left } else { 1 };
        made += fragment_and_send(output, ports, &whole, mtu, room_for)?;
    }
    Ok(made)
}

/// As [`send_fragmented`], for a frame without offloads, and only if there is room for `room_for` frames of its
/// length.
fn fragment_and_send(
    output: &mut Output,
    ports: PortSet,
    frame: &Frame,
    mtu: u16,
    room_for: usize,
) -> Result<u64, DropReason> {
    let header = packet::parse(frame)?;
    if header.dont_fragment {
        return Err(DropReason::MtuExceeded);
    }
    let (link_header, packet) = frame.bytes().split_at(frame.link_len());
    let fragments = || Fragments::new(packet, &header, mtu).map_err(|_| DropReason::Ipv4Malformed);
    let count = fragments()?.count();
    if output.remaining() < count * room_for {
        return Err(DropReason::OutputFull);
    }
    for fragment in fragments()? {
        let is_made = output.make(ports, |buffer| {
            let (head, rest) = buffer.split_at_mut_checked(link_header.len())?;
            head.copy_from_slice(link_header);
            Some(link_header.len() + fragment.write(rest).ok()?)
        });
        debug_assert!(is_made, "a fragment is no longer than the link takes");
    }
    Ok(count as u64)
}
