//! Moves frames between ports and batches.
//!
//! Reading is fair: the ports with frames take turns, a few frames each, until the batch is full. It is
//! edge-triggered: a port counts as readable from [`Ports::set_readable`] until a read would block. A frame that the
//! port rejects takes no room in the batch but counts: a port that has rejected [`REFUSED_MAX`] frames is not read
//! further until the next batch.
//!
//! Writing keeps the order: frames that a port does not take at once wait in its backlog, which holds
//! [`BACKLOG_FRAMES_MAX`] frames; further frames are dropped. A port that is gone has a slot without a device, and
//! its frames are dropped until [`Ports::open`] fills the slot again. For a port without the offloads, super-frames
//! are segmented and partial checksums completed here. A VLAN of a port has a port number of its own; frames for that
//! number go out of the port with the VLAN's tag.
//!
//! Each port has counters of the frames at its device. The dataplane keeps the balance of all frames, and gets a note
//! of every frame whose verdict could not be carried out at all.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gatepost_dataplane::config::VlanPort;
use gatepost_dataplane::{Batch, DropReason, Ingress, Verdict};
use gatepost_ground::{Frame, Offload, PortId, PortSet};
use tracing::{info, warn};

use crate::device::{Abilities, LinkState, Port, PortError, Received};

/// The most frames that wait for a busy port.
pub const BACKLOG_FRAMES_MAX: usize = 256;

/// The frames read from one port before the next port's turn.
const TURN_FRAMES: usize = 16;

/// The most frames that a port may reject for one batch.
pub const REFUSED_MAX: usize = 16;

/// The rounds of turns for one batch: as many as a single port needs to fill it.
const ROUNDS_MAX: usize = Batch::FRAMES_MAX / TURN_FRAMES;

/// The ports of one worker. A port's [`PortId`] is its index in the order in which they were given.
#[derive(Debug)]
pub struct Ports<P> {
    slots: Vec<PortSlot<P>>,
    /// The port that is read first in the next round.
    first: usize,
    /// The VLANs of the port numbers after those of the ports.
    vlans: Vec<VlanPort>,
    /// The buffer in which frames get their tag.
    tagged: Frame,
}

/// The counters of one port's device, in frames and octets. A super-frame counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames read, the rejected ones included.
    pub received: u64,
    /// The octets of the frames read, but not of rejected ones.
    pub octets_received: u64,
    /// Frames written.
    pub transmitted: u64,
    /// The octets of these.
    pub octets_transmitted: u64,
    /// Frames not written because the backlog was full.
    pub backpressure: u64,
    /// Frames not written because the port was gone or set down.
    pub down: u64,
    /// Frames that the device rejected or took only in part, and invalid frames read.
    pub refused: u64,
}

/// A port as reports show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// The name, with the namespace.
    pub name: String,
    /// The link state.
    pub state: LinkState,
    /// The counters.
    pub counters: PortCounters,
}

impl PortStatus {
    /// Adds another worker's status of the same port.
    pub fn merge(&mut self, other: &Self) {
        self.state = self.state.max(other.state);
        let PortCounters {
            received,
            octets_received,
            transmitted,
            octets_transmitted,
            backpressure,
            down,
            refused,
        } = other.counters;
        self.counters.received += received;
        self.counters.octets_received += octets_received;
        self.counters.transmitted += transmitted;
        self.counters.octets_transmitted += octets_transmitted;
        self.counters.backpressure += backpressure;
        self.counters.down += down;
        self.counters.refused += refused;
    }
}

/// A callback that gets each frame's verdict that could not be carried out, and the reason; and the frame with its
/// ingress, unless it waited for the port or was never read.
pub type Undeliverable<'a> = &'a mut dyn FnMut(Verdict, DropReason, Option<(Ingress, &Frame)>);

impl<P: Port> Ports<P> {
    /// The ports for each of `count` workers. Each port has a name and a device for each worker.
    pub fn for_workers(count: u8, ports: impl IntoIterator<Item = (String, Vec<P>)>) -> Vec<Self> {
        let mut workers: Vec<_> = (0..count).map(|_| Self::default()).collect();
        for (name, devices) in ports {
            debug_assert_eq!(devices.len(), workers.len(), "port {name} has a device for each worker");
            let condition = Arc::new(Condition::default());
            for (worker, device) in workers.iter_mut().zip(devices) {
                worker.slots.push(PortSlot::new(name.clone(), device, Arc::clone(&condition)));
            }
        }
        workers
    }

    /// Sets the VLANs of ports, as the configuration that is in force lists them.
    pub fn set_vlans(&mut self, vlans: &[VlanPort]) {
        self.vlans.clear();
        self.vlans.extend_from_slice(vlans);
    }

    /// The open devices, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (PortId, &P)> {
        ids().zip(&self.slots).filter_map(|(id, slot)| Some((id, slot.port.as_ref()?)))
    }

    /// The ports that are gone.
    pub fn gone(&self) -> impl Iterator<Item = PortId> {
        ids().zip(&self.slots).filter(|(_, slot)| slot.port.is_none()).map(|(id, _)| id)
    }

    /// The status of every port.
    pub fn status(&self) -> Vec<PortStatus> {
        self.slots.iter().map(PortSlot::status).collect()
    }

    /// Opens a port that is gone with a new device.
    pub fn open(&mut self, id: PortId, port: P) {
        if let Some(slot) = self.slot(id) {
            if slot.condition.is_gone.swap(false, Ordering::Relaxed) {
                info!("port {} is back", slot.name);
            }
            slot.port = Some(port);
            slot.readable = true;
        }
    }

    /// Closes a port whose device is gone.
    pub fn close(&mut self, id: PortId, why: &str, undeliverable: Undeliverable<'_>) {
        if let Some(slot) = self.slot(id) {
            slot.close(id, why, undeliverable);
        }
    }

    /// Notes that the port may have frames to read.
    pub fn set_readable(&mut self, id: PortId) {
        if let Some(slot) = self.slot(id) {
            slot.readable = true;
        }
    }

    /// Sends the frames that wait for a port which may take frames again.
    pub fn set_writable(&mut self, id: PortId, undeliverable: Undeliverable<'_>) {
        if let Some(slot) = self.slot(id) {
            slot.flush(id, undeliverable);
        }
    }

    /// The ports from which frames were read since the last call.
    pub fn take_active(&mut self) -> PortSet {
        let active = |slot: &mut PortSlot<P>| mem::take(&mut slot.active);
        ids().zip(&mut self.slots).filter_map(|(id, slot)| active(slot).then_some(id)).collect()
    }

    /// Whether any port may have frames to read.
    pub fn is_readable(&self) -> bool {
        self.slots.iter().any(PortSlot::is_readable)
    }

    /// Reads frames until the batch is full, nothing is left to read, or each port was read as often as one batch
    /// allows.
    pub fn receive(&mut self, batch: &mut Batch, undeliverable: Undeliverable<'_>) {
        self.slots.iter_mut().for_each(|slot| slot.refused_left = REFUSED_MAX);
        for _ in 0..ROUNDS_MAX {
            if batch.is_full() || !self.is_readable() {
                break;
            }
            let (later, sooner) = self.slots.split_at_mut(self.first);
            let from = u8::try_from(self.first).unwrap_or(0);
            let order = (from..).zip(sooner).chain((0..).zip(later));
            for (number, slot) in order {
                slot.receive(PortId(number), batch, undeliverable);
            }
            self.first = (self.first + 1) % self.slots.len();
        }
    }

    /// Carries out a processed batch's verdicts as far as they concern ports, and sends what the
    /// dataplane made.
    pub fn transmit(&mut self, batch: &Batch, undeliverable: Undeliverable<'_>) {
        for slot in batch.slots() {
            self.carry_out(slot.ingress, slot.verdict, &slot.frame, undeliverable);
        }
        for (ports, frame) in batch.output().iter() {
            for id in ports.iter() {
                // Frames that the dataplane made are not part of its balance; the port's counters have them.
                _ = self.send(id, frame, false, undeliverable);
            }
        }
    }

    fn carry_out(
        &mut self,
        ingress: Ingress,
        verdict: Verdict,
        frame: &Frame,
        undeliverable: Undeliverable<'_>,
    ) {
        match verdict {
            Verdict::Transmit(id) => {
                if let Err(reason) = self.send(id, frame, true, undeliverable) {
                    undeliverable(verdict, reason, Some((ingress, frame)));
                }
            }
            Verdict::Flood { ports, local } => {
                let mut arrived = local.is_some();
                let mut obstacle = None;
                for id in ports.iter() {
                    match self.send(id, frame, false, undeliverable) {
                        Ok(()) => arrived = true,
                        Err(reason) => obstacle = Some(reason),
                    }
                }
                if let (false, Some(reason)) = (arrived, obstacle) {
                    undeliverable(verdict, reason, Some((ingress, frame)));
                }
            }
            Verdict::Local(_)
            | Verdict::Consumed
            | Verdict::Hold
            | Verdict::Drop(_)
            | Verdict::HandOver(_)
            | Verdict::Pending => {}
        }
    }

    /// Sends a frame or queues it; `sole`: there is no other copy of it.
    fn send(
        &mut self,
        id: PortId,
        frame: &Frame,
        sole: bool,
        undeliverable: Undeliverable<'_>,
    ) -> Result<(), DropReason> {
        let Some(slot) = self.slot(id) else {
            return self.send_tagged(id, frame, sole, undeliverable);
        };
        if slot.abilities().include(frame.offload()) {
            slot.send(id, frame.bytes(), frame.offload(), sole, undeliverable)
        } else {
            slot.send_segments(id, frame, sole, undeliverable)
        }
    }

    /// As [`Ports::send`], for a VLAN of a port.
    #[cold]
    fn send_tagged(
        &mut self,
        id: PortId,
        frame: &Frame,
        sole: bool,
        undeliverable: Undeliverable<'_>,
    ) -> Result<(), DropReason> {
        let vlan = usize::from(id.0).checked_sub(self.slots.len()).and_then(|at| self.vlans.get(at));
        let Some(VlanPort { port, vid, .. }) = vlan.copied().filter(|vlan| self.is_place(vlan.port)) else {
            return Err(DropReason::PortDown);
        };
        let mut tagged = mem::take(&mut self.tagged);
        let result = if frame.copy_tagged(vid, &mut tagged) {
            self.send(port, &tagged, sole, undeliverable)
        } else {
            Err(DropReason::OffloadInvalid)
        };
        self.tagged = tagged;
        result
    }

    fn is_place(&self, id: PortId) -> bool {
        usize::from(id.0) < self.slots.len()
    }

    fn slot(&mut self, id: PortId) -> Option<&mut PortSlot<P>> {
        self.slots.get_mut(usize::from(id.0))
    }
}

impl<P> Default for Ports<P> {
    fn default() -> Self {
        Self { slots: Vec::new(), first: 0, vlans: Vec::new(), tagged: Frame::default() }
    }
}

fn ids() -> impl Iterator<Item = PortId> {
    (0..).map(PortId)
}

/// A port's slot, with or without a device.
#[derive(Debug)]
struct PortSlot<P> {
    name: String,
    port: Option<P>,
    readable: bool,
    /// Whether a frame was read since [`Ports::take_active`].
    active: bool,
    /// The number of frames that the port may still reject for the current batch.
    refused_left: usize,
    condition: Arc<Condition>,
    backlog: VecDeque<Waiting>,
    /// The buffer in which segments are made.
    segment: Vec<u8>,
    counters: PortCounters,
}

/// The condition of a port, shared by all workers.
#[derive(Debug, Default)]
struct Condition {
    /// Whether the device was set down at the last write.
    is_set_down: AtomicBool,
    /// Whether a worker has found the port gone, and none has opened it again.
    is_gone: AtomicBool,
}

#[derive(Debug)]
struct Waiting {
    frame: Box<[u8]>,
    offload: Offload,
    /// Whether this is the frame's only copy, so that its verdict fails if this copy is lost.
    sole: bool,
}

impl<P: Port> PortSlot<P> {
    fn new(name: String, port: P, condition: Arc<Condition>) -> Self {
        Self {
            name,
            port: Some(port),
            readable: true,
            active: false,
            refused_left: REFUSED_MAX,
            condition,
            backlog: VecDeque::new(),
            segment: Vec::new(),
            counters: PortCounters::default(),
        }
    }

    fn status(&self) -> PortStatus {
        let state = match &self.port {
            Some(port) if !self.condition.is_set_down.load(Ordering::Relaxed) => port.link_state(),
            _ => LinkState::Down,
        };
        PortStatus { name: self.name.clone(), state, counters: self.counters }
    }

    fn is_readable(&self) -> bool {
        self.readable && self.port.is_some()
    }

    fn receive(&mut self, id: PortId, batch: &mut Batch, undeliverable: Undeliverable<'_>) {
        if !self.readable {
            return;
        }
        for _ in 0..TURN_FRAMES {
            if self.refused_left == 0 {
                return;
            }
            let Some(port) = &mut self.port else { return };
            let mut octets = 0;
            let receive = |buffer: &mut [u8], rest: &mut [u8]| {
                let Received { len, offload } = port.receive(buffer, rest)?;
                octets = len;
                Ok((len, offload))
            };
            match batch.receive_offloaded(Ingress::Port(id), receive) {
                Ok(true) => {
                    self.active = true;
                    self.counters.received += 1;
                    self.counters.octets_received += octets as u64;
                }
                Ok(false) => return,
                Err(PortError::Gone(error)) => return self.close(id, &error.to_string(), undeliverable),
                Err(PortError::FrameRejected(_)) => {
                    self.active = true;
                    self.refused_left -= 1;
                    self.counters.received += 1;
                    self.counters.refused += 1;
                    undeliverable(Verdict::Pending, DropReason::OffloadInvalid, None);
                }
                Err(PortError::WouldBlock | PortError::Down) => {
                    self.readable = false;
                    return;
                }
            }
        }
    }

    fn abilities(&self) -> Abilities {
        self.port.as_ref().map_or(Abilities::NONE, P::abilities)
    }

    /// Sends the segments of a frame. The verdict fails if the first segment is lost; the port's counters have the
    /// loss of the others.
    fn send_segments(
        &mut self,
        id: PortId,
        frame: &Frame,
        sole: bool,
        undeliverable: Undeliverable<'_>,
    ) -> Result<(), DropReason> {
        let mut buffer = mem::take(&mut self.segment);
        let mut outcome = Err(DropReason::OffloadInvalid);
        for (index, segment) in frame.segments().enumerate() {
            buffer.resize(segment.len(), 0);
            let Some(_) = segment.write(&mut buffer) else { break };
            let sent = self.send(id, &buffer, Offload::None, sole && index == 0, undeliverable);
            if index == 0 {
                outcome = sent;
                if outcome.is_err() {
                    break;
                }
            }
        }
        self.segment = buffer;
        outcome
    }

    fn send(
        &mut self,
        id: PortId,
        frame: &[u8],
        offload: Offload,
        sole: bool,
        undeliverable: Undeliverable<'_>,
    ) -> Result<(), DropReason> {
        if self.backlog.is_empty() {
            match self.write(id, frame, offload, undeliverable) {
                Err(DropReason::PortBackpressure) => {}
                result => return result,
            }
        }
        if self.backlog.len() == BACKLOG_FRAMES_MAX {
            self.counters.backpressure += 1;
            return Err(DropReason::PortBackpressure);
        }
        self.backlog.push_back(Waiting { frame: frame.into(), offload, sole });
        Ok(())
    }

    /// Writes the backlog, as far as the port takes it.
    fn flush(&mut self, id: PortId, undeliverable: Undeliverable<'_>) {
        while let Some(waiting) = self.backlog.pop_front() {
            match self.write(id, &waiting.frame, waiting.offload, undeliverable) {
                Err(DropReason::PortBackpressure) => return self.backlog.push_front(waiting),
                Err(reason) if waiting.sole => undeliverable(Verdict::Transmit(id), reason, None),
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Writes one frame and counts it, unless the port is busy.
    fn write(
        &mut self,
        id: PortId,
        frame: &[u8],
        offload: Offload,
        undeliverable: Undeliverable<'_>,
    ) -> Result<(), DropReason> {
        let Some(port) = &mut self.port else {
            self.counters.down += 1;
            return Err(DropReason::PortDown);
        };
        match port.transmit(frame, offload) {
            Ok(()) => {
                self.counters.transmitted += 1;
                self.counters.octets_transmitted += frame.len() as u64;
                let is_set_down = &self.condition.is_set_down;
                if is_set_down.load(Ordering::Relaxed) && is_set_down.swap(false, Ordering::Relaxed) {
                    info!("port {} is up again", self.name);
                }
                Ok(())
            }
            Err(PortError::WouldBlock) => Err(DropReason::PortBackpressure),
            Err(PortError::Down) => {
                self.counters.down += 1;
                if !self.condition.is_set_down.swap(true, Ordering::Relaxed) {
                    warn!("port {} is down; set it up with `ip link set up`", self.name);
                }
                Err(DropReason::PortDown)
            }
            Err(PortError::Gone(error)) => {
                self.counters.down += 1;
                self.close(id, &error.to_string(), undeliverable);
                Err(DropReason::PortDown)
            }
            Err(PortError::FrameRejected(_)) => {
                self.counters.refused += 1;
                Err(DropReason::PortRefused)
            }
        }
    }

    fn close(&mut self, id: PortId, why: &str, undeliverable: Undeliverable<'_>) {
        if self.port.take().is_none() {
            return;
        }
        if !self.condition.is_gone.swap(true, Ordering::Relaxed) {
            warn!("port {} is gone: {why}; it is opened again as soon as it can be", self.name);
        }
        self.condition.is_set_down.store(false, Ordering::Relaxed);
        for waiting in self.backlog.drain(..) {
            self.counters.down += 1;
            if waiting.sole {
                undeliverable(Verdict::Transmit(id), DropReason::PortDown, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use std::num::NonZero;

    use gatepost_dataplane::LocalClass;
    use gatepost_ground::offload::{PartialChecksum, SegmentKind, Segmentation};

    use gatepost_ground::InterfaceId;
    use gatepost_ground::wire::vlan::VlanId;

    use super::*;

    /// A port that holds frames to read and takes frames up to its room.
    #[derive(Debug, Default)]
    struct FakePort {
        to_read: usize,
        room: usize,
        written: Vec<Vec<u8>>,
        abilities: Abilities,
        /// So many of the first to read are no frames.
        spoilt: usize,
        failure: Option<fn() -> PortError>,
    }

    impl Port for FakePort {
        fn abilities(&self) -> Abilities {
            self.abilities
        }

        fn receive(&mut self, buffer: &mut [u8], _: &mut [u8]) -> Result<Received, PortError> {
            if let Some(failure) = self.failure {
                return Err(failure());
            }
            if let Some(left) = self.spoilt.checked_sub(1) {
                self.spoilt = left;
                return Err(PortError::FrameRejected(io::ErrorKind::InvalidData.into()));
            }
            self.to_read = self.to_read.checked_sub(1).ok_or(PortError::WouldBlock)?;
            buffer[..14].fill(0);
            Ok(Received { len: 14, offload: Offload::None })
        }

        fn transmit(&mut self, frame: &[u8], _: Offload) -> Result<(), PortError> {
            if let Some(failure) = self.failure {
                return Err(failure());
            }
            self.room = self.room.checked_sub(1).ok_or(PortError::WouldBlock)?;
            self.written.push(frame.to_vec());
            Ok(())
        }
    }

    fn frame_of(bytes: &[u8]) -> Frame {
        let mut frame = Frame::with_capacity(bytes.len());
        frame.buffer_mut().copy_from_slice(bytes);
        frame.set_len(bytes.len());
        frame
    }

    fn empty() -> Frame {
        frame_of(&[0; 14])
    }

    fn ports(fakes: impl IntoIterator<Item = FakePort>) -> Ports<FakePort> {
        Ports::for_workers(1, fakes.into_iter().map(|fake| ("fake".to_owned(), vec![fake]))).remove(0)
    }

    fn gone() -> PortError {
        PortError::Gone(io::Error::other("unplugged"))
    }

    /// Where the frames of a test came in.
    const FROM: Ingress = Ingress::Port(PortId(0));

    fn unexpected(verdict: Verdict, reason: DropReason, _: Option<(Ingress, &Frame)>) {
        panic!("{verdict:?} was dropped: {reason}");
    }

    #[test]
    fn a_busy_port_does_not_starve_the_others() {
        let mut ports = ports([1000, 1000, 5].map(|to_read| FakePort { to_read, ..Default::default() }));
        let mut batch = Batch::new(64);
        ports.receive(&mut batch, &mut unexpected);
        assert!(batch.is_full());
        let counts: Vec<_> = ports.status().iter().map(|status| status.counters.received).collect();
        assert_eq!(counts[2], 5);
        assert!(counts[0].abs_diff(counts[1]) <= 16, "{counts:?}");
        assert!(ports.is_readable());
    }

    #[test]
    fn a_port_is_read_until_it_would_block() {
        let mut ports = ports([FakePort { to_read: 3, ..Default::default() }]);
        let mut batch = Batch::new(64);
        ports.receive(&mut batch, &mut unexpected);
        assert_eq!(batch.len(), 3);
        assert!(!ports.is_readable());
        ports.set_readable(PortId(0));
        assert!(ports.is_readable());
    }

    #[test]
    fn what_is_for_a_vlan_of_a_port_goes_out_there_with_its_tag() {
        let mut ports = ports([2, 1].map(|room| FakePort { room, ..Default::default() }));
        let vlan = |port, vid| VlanPort {
            port: PortId(port),
            vid: VlanId::new(vid).expect("a VLAN"),
            interface: InterfaceId(0),
        };
        ports.set_vlans(&[vlan(1, 10), vlan(0, 0x123), vlan(2, 7)]);
        let bytes = [&[2; 12][..], &[8, 0, 1, 2, 3]].concat();
        let frame = frame_of(&bytes);
        let all = PortSet::from_iter([0, 2, 3].map(PortId));
        ports.carry_out(FROM, Verdict::Flood { ports: all, local: None }, &frame, &mut unexpected);
        let tagged = |vid: [u8; 2]| [&[2; 12][..], &[0x81, 0], &vid, &[8, 0, 1, 2, 3]].concat();
        let written: Vec<_> = ports.iter().map(|(_, port)| port.written.clone()).collect();
        assert_eq!(written, [vec![bytes.clone(), tagged([0x01, 0x23])], vec![tagged([0, 10])]]);
        assert_eq!(frame.bytes(), bytes);
        // The VLAN of a port that does not exist, and what is no VLAN.
        for id in [4, 5] {
            assert_eq!(ports.send(PortId(id), &frame, true, &mut unexpected), Err(DropReason::PortDown));
        }
    }

    #[test]
    fn the_ports_that_frames_came_from_are_told_once() {
        let mut ports = ports([0, 2].map(|to_read| FakePort { to_read, ..Default::default() }));
        ports.receive(&mut Batch::new(64), &mut unexpected);
        assert_eq!(ports.take_active(), PortSet::only(PortId(1)));
        assert!(ports.take_active().is_empty());
    }

    #[test]
    fn a_backlog_keeps_the_order_and_is_bounded() {
        let mut ports = ports([FakePort { room: 1, ..Default::default() }]);
        for number in 0..=BACKLOG_FRAMES_MAX {
            let frame = u16::try_from(number).expect("small").to_be_bytes();
            assert_eq!(ports.send(PortId(0), &frame_of(&frame), true, &mut unexpected), Ok(()));
        }
        assert_eq!(
            ports.send(PortId(0), &frame_of(&[9]), true, &mut unexpected),
            Err(DropReason::PortBackpressure)
        );
        ports.slots[0].port.as_mut().expect("open").room = 1000;
        ports.set_writable(PortId(0), &mut unexpected);
        let written = &ports.slots[0].port.as_ref().expect("open").written;
        assert!(written.is_sorted());
        assert_eq!(written.len(), BACKLOG_FRAMES_MAX + 1);
        assert_eq!(
            ports.status()[0].counters,
            PortCounters {
                transmitted: BACKLOG_FRAMES_MAX as u64 + 1,
                octets_transmitted: 2 * (BACKLOG_FRAMES_MAX as u64 + 1),
                backpressure: 1,
                ..PortCounters::default()
            }
        );
    }

    #[test]
    fn what_waited_for_a_port_that_goes_is_undeliverable_once() {
        let mut ports = ports([FakePort::default()]);
        for sole in [true, false, true] {
            assert_eq!(ports.send(PortId(0), &empty(), sole, &mut unexpected), Ok(()));
        }
        let mut lost = Vec::new();
        ports.slots[0].port.as_mut().expect("open").failure = Some(gone);
        ports.set_writable(PortId(0), &mut |verdict, reason, _| lost.push((verdict, reason)));
        assert_eq!(lost, [(Verdict::Transmit(PortId(0)), DropReason::PortDown); 2]);
        assert_eq!(ports.status()[0].counters.down, 3);
        assert_eq!(ports.gone().collect::<Vec<_>>(), [PortId(0)]);
    }

    #[test]
    fn a_port_that_is_gone_drops_until_it_is_back() {
        let mut ports = ports([FakePort { failure: Some(gone), ..Default::default() }]);
        let mut batch = Batch::new(64);
        ports.receive(&mut batch, &mut unexpected);
        assert!(batch.is_empty());
        assert_eq!(ports.send(PortId(0), &empty(), true, &mut unexpected), Err(DropReason::PortDown));
        ports.open(PortId(0), FakePort { room: 1, to_read: 1, ..Default::default() });
        assert_eq!(ports.gone().count(), 0);
        assert_eq!(ports.send(PortId(0), &empty(), true, &mut unexpected), Ok(()));
        ports.receive(&mut batch, &mut unexpected);
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_port_set_down_is_kept() {
        let mut ports = ports([FakePort { failure: Some(|| PortError::Down), ..Default::default() }]);
        assert_eq!(ports.send(PortId(0), &empty(), true, &mut unexpected), Err(DropReason::PortDown));
        assert_eq!(ports.status()[0].state, LinkState::Down);
        let fake = ports.slots[0].port.as_mut().expect("still open");
        *fake = FakePort { room: 1, ..Default::default() };
        assert_eq!(ports.send(PortId(0), &empty(), true, &mut unexpected), Ok(()));
        assert_eq!(ports.status()[0].state, LinkState::Up);
    }

    #[test]
    fn a_port_set_down_is_down_for_all_workers_until_one_of_them_finds_it_up() {
        let devices = vec![
            FakePort { failure: Some(|| PortError::Down), ..Default::default() },
            FakePort { room: 9, ..Default::default() },
        ];
        let mut workers = Ports::for_workers(2, [("fake".to_owned(), devices)]);
        let sent = workers[0].send(PortId(0), &empty(), true, &mut unexpected);
        assert_eq!(sent, Err(DropReason::PortDown));
        assert!(workers.iter().all(|ports| ports.status()[0].state == LinkState::Down));
        assert_eq!(workers[1].send(PortId(0), &empty(), true, &mut unexpected), Ok(()));
        assert!(workers.iter().all(|ports| ports.status()[0].state == LinkState::Up));
        let mut all = workers[0].status()[0].clone();
        all.merge(&workers[1].status()[0]);
        assert_eq!((all.state, all.counters.down, all.counters.transmitted), (LinkState::Up, 1, 1));
    }

    #[test]
    fn a_refused_frame_is_counted_and_the_port_goes_on() {
        let refuse = || PortError::FrameRejected(io::Error::other("3 of 14 octets written"));
        let mut ports = ports([FakePort { failure: Some(refuse), ..Default::default() }]);
        assert_eq!(ports.send(PortId(0), &empty(), true, &mut unexpected), Err(DropReason::PortRefused));
        assert_eq!(ports.status()[0].counters.refused, 1);
        assert_eq!(ports.gone().count(), 0);
    }

    /// A super-frame of UDP with three octets of data, to be cut after each.
    fn super_frame() -> Frame {
        let mut bytes = vec![0; 14];
        bytes[12..14].copy_from_slice(&[8, 0]);
        bytes.extend([0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 1, 10, 192, 168, 1, 20]);
        bytes.extend([0, 1, 0, 2, 0, 11, 0, 0, 7, 8, 9]);
        let mut frame = frame_of(&bytes);
        frame.set_offload(Offload::Segmentation(Segmentation {
            kind: SegmentKind::Udp,
            size: NonZero::<u16>::MIN,
            checksum: PartialChecksum { start: 34, offset: 6 },
        }));
        frame
    }

    #[test]
    fn a_port_gets_in_one_piece_what_it_can_cut_itself() {
        let able = Abilities { checksum: true, udp_segmentation: true, ..Abilities::NONE };
        let mut ports = ports([able, Abilities::NONE].map(|abilities| FakePort {
            room: 9,
            abilities,
            ..Default::default()
        }));
        let frame = super_frame();
        for (id, written) in [(PortId(0), 1), (PortId(1), 3)] {
            assert_eq!(ports.send(id, &frame, true, &mut unexpected), Ok(()));
            assert_eq!(ports.status()[usize::from(id.0)].counters.transmitted, written);
        }
        let port = |number: usize| ports.slots[number].port.as_ref().expect("open");
        assert_eq!(port(0).written, [frame.bytes()]);
        for (written, data) in port(1).written.iter().zip(7..) {
            assert_eq!((written.len(), written[42]), (43, data));
        }
    }

    #[test]
    fn segments_beyond_the_backlog_are_lost_and_the_first_says_what_becomes_of_the_frame() {
        let mut ports = ports([FakePort::default()]);
        for _ in 0..BACKLOG_FRAMES_MAX - 1 {
            assert_eq!(ports.send(PortId(0), &empty(), true, &mut unexpected), Ok(()));
        }
        assert_eq!(ports.send(PortId(0), &super_frame(), true, &mut unexpected), Ok(()));
        assert_eq!(ports.status()[0].counters.backpressure, 2);
        let refused = ports.send(PortId(0), &super_frame(), true, &mut unexpected);
        assert_eq!(refused, Err(DropReason::PortBackpressure));
        assert_eq!(ports.status()[0].counters.backpressure, 3);

        let mut unfit = super_frame();
        unfit.set_len(20);
        assert_eq!(ports.send(PortId(0), &unfit, true, &mut unexpected), Err(DropReason::OffloadInvalid));
    }

    #[test]
    fn what_is_no_frame_is_counted_and_those_behind_it_are_read() {
        let mut ports = ports([FakePort { to_read: 3, spoilt: 2, ..Default::default() }]);
        let mut batch = Batch::new(64);
        let mut lost = Vec::new();
        ports.receive(&mut batch, &mut |verdict, reason, _| lost.push((verdict, reason)));
        assert_eq!(batch.len(), 3);
        assert_eq!(lost, [(Verdict::Pending, DropReason::OffloadInvalid); 2]);
        let counters = ports.status()[0].counters;
        assert_eq!((counters.received, counters.refused), (5, 2));
    }

    #[test]
    fn a_flood_of_what_is_no_frame_leaves_the_other_ports_their_turn() {
        let flooded = FakePort { to_read: 1, spoilt: 1_000_000, ..Default::default() };
        let mut ports = ports([flooded, FakePort { to_read: 1, ..Default::default() }]);
        let mut batch = Batch::new(64);
        for turn in 1..=3 {
            ports.slots[1].port.as_mut().expect("open").to_read = 1;
            ports.set_readable(PortId(1));
            batch.clear();
            let mut lost = 0;
            ports.receive(&mut batch, &mut |_, _, _| lost += 1);
            assert_eq!(lost, REFUSED_MAX);
            assert_eq!(batch.slots()[0].ingress, Ingress::Port(PortId(1)));
            let received: Vec<_> = ports.status().iter().map(|status| status.counters.received).collect();
            assert_eq!(received, [turn * REFUSED_MAX as u64, turn]);
            assert!(ports.is_readable(), "the rest of the flood is for the next turn");
        }
    }

    #[test]
    fn a_port_is_read_as_often_as_one_batch_allows() {
        let mut ports = ports([5, 1000].map(|to_read| FakePort { to_read, ..Default::default() }));
        let mut batch = Batch::new(64);
        ports.receive(&mut batch, &mut unexpected);
        assert!(batch.is_full());
        let received = ports.status().iter().map(|status| status.counters.received).sum::<u64>();
        assert_eq!(received, Batch::FRAMES_MAX as u64);
    }

    #[test]
    fn a_flood_is_undeliverable_only_if_nobody_got_it() {
        let all: PortSet = [PortId(0), PortId(1)].into_iter().collect();
        let mut ports = ports([
            FakePort { room: 1, ..Default::default() },
            FakePort { failure: Some(gone), ..Default::default() },
        ]);
        let flood = Verdict::Flood { ports: all, local: None };
        ports.carry_out(FROM, flood, &empty(), &mut unexpected);
        ports.close(PortId(0), "test", &mut unexpected);
        let local = Some(LocalClass::DhcpServer);
        ports.carry_out(FROM, Verdict::Flood { ports: all, local }, &empty(), &mut unexpected);
        let mut lost = Vec::new();
        ports.carry_out(FROM, flood, &empty(), &mut |verdict, reason, _| lost.push((verdict, reason)));
        assert_eq!(lost, [(flood, DropReason::PortDown)]);
    }
}
