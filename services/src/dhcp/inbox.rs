//! The frames that wait for a DHCP server or client: bounded, shared out among ports, and served in turn.
//!
//! A port may have as many frames waiting as there is room left for others: of [`FRAMES_MAX`] places one port that is
//! flooded takes half, and two come to a third each. A port that has none has a place in any case. Of the ports that
//! have frames each is served one in turn, so that a frame waits for one of each other port, not for all of a flood.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use gatepost_ground::PortId;
use tokio::sync::mpsc;

/// The most frames that wait, besides one of each port. Half of them are those of a whole office behind one port that
/// asks at once.
pub const FRAMES_MAX: usize = 512;
/// The most lanes: one of each port, and one of frames that no port received.
const LANES_MAX: usize = PortId::COUNT_MAX + 1;

/// A frame that an interface has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
    /// The port of the gateway that the frame came in by; `None` at an interface that has no ports.
    pub port: Option<PortId>,
}

impl From<Vec<u8>> for Incoming {
    fn from(frame: Vec<u8>) -> Self {
        Self { frame, port: None }
    }
}

/// Takes frames in. Whoever is refused drops the frame: a peer that asks by DHCP asks again.
#[derive(Clone, Debug)]
pub struct Sender {
    lanes: Rc<RefCell<Lanes>>,
    /// One for each frame that waits.
    tokens: mpsc::Sender<()>,
}

/// Hands frames out.
#[derive(Debug)]
pub struct Receiver {
    lanes: Rc<RefCell<Lanes>>,
    tokens: mpsc::Receiver<()>,
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many frames of its port wait as may.
    Full,
    /// Nobody receives any more.
    Closed,
}

/// An inbox without frames.
pub fn inbox() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX + LANES_MAX);
    let lanes = Rc::new(RefCell::new(Lanes::default()));
    (Sender { lanes: Rc::clone(&lanes), tokens: sender }, Receiver { lanes, tokens: receiver })
}

impl Sender {
    /// Has a frame wait behind those of its port.
    ///
    /// # Errors
    ///
    /// The frame is not taken.
    pub fn try_send(&self, incoming: Incoming) -> Result<(), Refused> {
        let mut lanes = self.lanes.borrow_mut();
        let permit = match self.tokens.try_reserve() {
            Ok(permit) if lanes.has_room(incoming.port) => permit,
            Ok(_) | Err(mpsc::error::TrySendError::Full(())) => return Err(Refused::Full),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(Refused::Closed),
        };
        lanes.push(incoming);
        permit.send(());
        Ok(())
    }

    /// Whether nobody receives any more.
    pub fn is_closed(&self) -> bool {
        self.tokens.is_closed()
    }
}

impl Receiver {
    /// Waits for a frame: the oldest of the port whose turn it is. `None` if there are no more and all senders are
    /// gone. A caller that stops waiting loses no frame.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.tokens.recv().await?;
        self.lanes.borrow_mut().pop()
    }
}

/// The frames of each port that has any, the port whose turn it is first.
#[derive(Debug, Default)]
struct Lanes {
    lanes: VecDeque<Lane>,
    /// The frames in all lanes.
    len: usize,
}

#[derive(Debug)]
struct Lane {
    port: Option<PortId>,
    /// At least one, the oldest first.
    frames: VecDeque<Vec<u8>>,
}

impl Lanes {
    /// Whether one more frame of `port` may wait.
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

    /// Sends frames of the port until one is refused; returns how many were taken.
    fn flood(sender: &Sender, number: u8) -> usize {
        let taken = (0..=FRAMES_MAX).take_while(|_| sender.try_send(of_port(number, number)).is_ok()).count();
        assert_eq!(sender.try_send(of_port(number, number)), Err(Refused::Full));
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
        // What was taken out makes room by the same rule.
        for _ in 0..4 {
            assert!(matches!(try_recv(&mut receiver), Poll::Ready(Some(_))));
        }
        assert_eq!(sender.try_send(of_port(3, 3)), Ok(()));
        assert_eq!(sender.try_send(of_port(1, 1)), Err(Refused::Full));
    }

    #[test]
    fn beside_all_other_ports_that_flood_one_that_has_no_frame_has_a_place() {
        let (sender, mut receiver) = inbox();
        let ports = u8::try_from(PortId::COUNT_MAX).unwrap();
        for number in 1..ports {
            assert!(flood(&sender, number) > 0, "{number}");
        }
        assert_eq!(sender.try_send(of_port(0, 0)), Ok(()));
        assert_eq!(sender.try_send(of_port(0, 0)), Err(Refused::Full));
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
        assert_eq!(sender.try_send(vec![1].into()), Err(Refused::Closed));
    }
}
