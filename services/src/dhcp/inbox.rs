//! A bounded queue of frames for a DHCP server or client, with fair shares for ports and round-robin service.
//!
//! A port may have as many queued frames as there is room left for other ports: of [`FRAMES_MAX`] one flooded port
//! takes half, and two a third each. A port without queued frames always has room for one. The ports are served
//! round-robin, so that a frame waits for one frame of each other port, not for a whole flood.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use gatepost_ground::PortId;
use tokio::sync::mpsc;

/// The most queued frames, besides one of each port. Half of them hold a whole office behind one port that starts at
/// once.
pub const FRAMES_MAX: usize = 512;
/// The most lanes: one of each port, and one of frames that no port received.
const LANES_MAX: usize = PortId::COUNT_MAX + 1;

/// A frame that an interface has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
    /// The port that received the frame; `None` at an interface without ports.
    pub port: Option<PortId>,
}

impl From<Vec<u8>> for Incoming {
    fn from(frame: Vec<u8>) -> Self {
        Self { frame, port: None }
    }
}

/// The sending half. If a send fails, the caller drops the frame: DHCP clients and servers retransmit.
#[derive(Clone, Debug)]
pub struct Sender {
    lanes: Rc<RefCell<Lanes>>,
    /// One token for each queued frame.
    tokens: mpsc::Sender<()>,
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    lanes: Rc<RefCell<Lanes>>,
    tokens: mpsc::Receiver<()>,
}

/// Why a frame is not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Its port has no room left.
    Full,
    /// The receiver is gone.
    Closed,
}

/// Creates an empty queue.
pub fn inbox() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX + LANES_MAX);
    let lanes = Rc::new(RefCell::new(Lanes::default()));
    (Sender { lanes: Rc::clone(&lanes), tokens: sender }, Receiver { lanes, tokens: receiver })
}

impl Sender {
    /// Queues a frame behind those of its port.
    ///
    /// # Errors
    ///
    /// The frame is not queued.
    pub fn try_send(&self, incoming: Incoming) -> Result<(), SendError> {
        let mut lanes = self.lanes.borrow_mut();
        let permit = match self.tokens.try_reserve() {
            Ok(permit) if lanes.has_room(incoming.port) => permit,
            Ok(_) | Err(mpsc::error::TrySendError::Full(())) => return Err(SendError::Full),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(SendError::Closed),
        };
        lanes.push(incoming);
        permit.send(());
        Ok(())
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.tokens.is_closed()
    }
}

impl Receiver {
    /// Waits for a frame: the oldest of the port whose turn it is. `None` if the queue is empty and all senders are
    /// gone. Cancelling the future loses no frame.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.tokens.recv().await?;
        self.lanes.borrow_mut().pop()
    }
}

/// The queued frames by port; the port whose turn it is comes first.
#[derive(Debug, Default)]
struct Lanes {
    lanes: VecDeque<Lane>,
    /// The frames in all lanes.
    len: usize,
}

#[derive(Debug)]
struct Lane {
    port: Option<PortId>,
    /// At least one frame, the oldest first.
    frames: VecDeque<Vec<u8>>,
}

impl Lanes {
    /// Whether one more frame of `port` fits.
    fn has_room(&self, port: Option<PortId>) -> bool {
        let waiting = self.lanes.iter().find(|lane| lane.port == port).map_or(0, |lane| lane.frames.len());
        waiting == 0 || waiting < FRAMES_MAX.saturating_sub(self.len)
    }

    fn push(&mut self, Incoming { frame, port }: Incoming) {
        self.len += 1;
        match self.lanes.iter_mut().find(|lane| lane.port == port) {
            Some(lane) => lane.frames.push_back(frame),
            None => self.lanes.push_back(Lane { port, frames: [frame].into() }),
        }
    }

    fn pop(&mut self) -> Option<Incoming> {
        let mut lane = self.lanes.pop_front()?;
        let port = lane.port;
        let frame = lane.frames.pop_front()?;
        self.len -= 1;
        if !lane.frames.is_empty() {
            self.lanes.push_back(lane);
        }
        Some(Incoming { frame, port })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn of_port(number: u8, frame: u8) -> Incoming {
        Incoming { frame: vec![frame], port: Some(PortId(number)) }
    }

    /// Sends frames of the port until one is rejected; returns how many were queued.
    fn flood(sender: &Sender, number: u8) -> usize {
        let taken = (0..=FRAMES_MAX).take_while(|_| sender.try_send(of_port(number, number)).is_ok()).count();
        assert_eq!(sender.try_send(of_port(number, number)), Err(SendError::Full));
        taken
    }

    fn try_recv(receiver: &mut Receiver) -> Poll<Option<Incoming>> {
        pin!(receiver.recv()).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_port_that_floods_leaves_as_much_room_as_it_takes() {
        let (sender, mut receiver) = inbox();
        assert_eq!(flood(&sender, 1), FRAMES_MAX / 2);
        assert_eq!(flood(&sender, 2), FRAMES_MAX / 4);
        assert_eq!(flood(&sender, 3), FRAMES_MAX / 8);
        assert_eq!(sender.try_send(of_port(4, 0)), Ok(()), "somebody else");
        // Removed frames make room by the same rule.
        for _ in 0..4 {
            assert!(matches!(try_recv(&mut receiver), Poll::Ready(Some(_))));
        }
        assert_eq!(sender.try_send(of_port(3, 3)), Ok(()));
        assert_eq!(sender.try_send(of_port(1, 1)), Err(SendError::Full));
    }

    #[test]
    fn beside_all_other_ports_that_flood_one_that_has_no_frame_has_a_place() {
        let (sender, mut receiver) = inbox();
        let ports = u8::try_from(PortId::COUNT_MAX).unwrap();
        for number in 1..ports {
            assert!(flood(&sender, number) > 0, "{number}");
        }
        assert_eq!(sender.try_send(of_port(0, 0)), Ok(()));
        assert_eq!(sender.try_send(of_port(0, 0)), Err(SendError::Full));
        assert_eq!(sender.try_send(vec![0].into()), Ok(()));
        let received = std::iter::repeat_with(|| try_recv(&mut receiver)).take_while(Poll::is_ready).count();
        assert!(received <= FRAMES_MAX + LANES_MAX, "{received}");
    }

    #[test]
    fn ports_are_served_in_turn_and_each_in_its_order() {
        let (sender, mut receiver) = inbox();
        for frame in 0..4 {
            sender.try_send(of_port(1, frame)).unwrap();
        }
        sender.try_send(of_port(2, 8)).unwrap();
        sender.try_send(vec![9].into()).unwrap();
        let order = std::iter::from_fn(|| match try_recv(&mut receiver) {
            Poll::Ready(incoming) => incoming.map(|incoming| incoming.frame[0]),
            Poll::Pending => None,
        });
        assert_eq!(order.collect::<Vec<_>>(), [0, 8, 9, 1, 2, 3]);
        assert_eq!(try_recv(&mut receiver), Poll::Pending);
    }

    #[test]
    fn either_end_hears_that_the_other_is_gone() {
        let (sender, mut receiver) = inbox();
        sender.clone().try_send(vec![1].into()).unwrap();
        drop(sender);
        assert_eq!(try_recv(&mut receiver), Poll::Ready(Some(vec![1].into())));
        assert_eq!(try_recv(&mut receiver), Poll::Ready(None));
        let (sender, receiver) = inbox();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.try_send(vec![1].into()), Err(SendError::Closed));
    }
}
