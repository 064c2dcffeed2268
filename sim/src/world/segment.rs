//! A virtual Ethernet segment: a UDP port on turmoil's network. Plugging in is binding it, a frame is a datagram to all
//! other members.
//!
//! Frames go to each member by its address rather than to the broadcast address: turmoil would deliver the sender its
//! own copy too, at the cost of a task for each. turmoil's latency is one tick, fixed; all faults happen in the
//! [`Nic`](super::pipe::Nic)s.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use turmoil::net::UdpSocket;

/// How much time passes at once, and how long a frame takes on a segment, unless the scenario says otherwise.
pub const TICK: Duration = Duration::from_millis(1);
/// Datagrams that wait for a turmoil host; far more than a tick brings.
pub const QUEUE_FRAMES_MAX: usize = 65_536;
/// The longest frame: an Ethernet frame of 1500 octets, its header, and a VLAN tag.
pub const FRAME_LEN_MAX: usize = 1_518;
/// The UDP port of the first segment.
const PORT_BASE: u16 = 1_000;

/// A segment's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId(pub u8);

/// A turmoil host's place on a segment.
pub struct Jack {
    socket: UdpSocket,
    others: Vec<SocketAddr>,
}

impl Jack {
    /// Plugs this host into `segment`, where `others` are.
    ///
    /// # Errors
    ///
    /// This host is plugged in already.
    pub async fn plug_in(segment: SegmentId, others: &[IpAddr]) -> io::Result<Self> {
        let port = PORT_BASE + u16::from(segment.0);
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        Ok(Self { socket, others: others.iter().map(|host| SocketAddr::new(*host, port)).collect() })
    }

    /// Sends a frame to all others.
    pub fn send(&self, frame: &[u8]) {
        for other in &self.others {
            self.socket.try_send_to(frame, *other).expect("turmoil takes any datagram");
        }
    }

    /// The next frame from another member, if there is one.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = [0; FRAME_LEN_MAX];
        let (len, _) = self.socket.try_recv_from(&mut frame).ok()?;
        Some(frame[..len].to_vec())
    }
}

/// Waits until any of `jacks` has a frame.
pub async fn any_readable(jacks: impl IntoIterator<Item = &Jack>) {
    let mut waits: Vec<Pin<Box<dyn Future<Output = io::Result<()>> + '_>>> =
        jacks.into_iter().map(|jack| Box::pin(jack.socket.readable()) as _).collect();
    poll_fn(|context| {
        if waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
