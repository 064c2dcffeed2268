//! Sorts the frames that the dataplane delivers: DHCP's to the DHCP server or client, the others to the
//! host stack.

use std::rc::Rc;

use gatepost_dataplane::config::Segment;
use gatepost_dataplane::wire::ethernet::{EtherType, Header};
use gatepost_dataplane::wire::ipv4::{self, Protocol};
use gatepost_dataplane::wire::udp;
use gatepost_services::dhcp::frame::{CLIENT_PORT, SERVER_PORT};
use gatepost_services::link::HostLink;
use gatepost_services::net::stack::Stack;
use tokio::sync::mpsc;
use tokio::task::yield_now;

/// Frames that are sorted before other tasks have their turn.
const TURN_FRAMES: usize = 256;

/// Where frames go.
pub struct Dispatcher {
    /// They come from here.
    pub link: Rc<HostLink>,
    /// Takes what is not DHCP's.
    pub stack: Stack,
    /// The DHCP server on the LAN, if there is one.
    pub dhcp_server: Option<mpsc::Sender<Vec<u8>>>,
    /// The DHCP client on the WAN, if there is one.
    pub dhcp_client: Option<mpsc::Sender<Vec<u8>>>,
}

impl Dispatcher {
    /// Sorts frames for ever.
    pub async fn run(self) {
        loop {
            self.link.delivered().await;
            while self.turn() {
                yield_now().await;
            }
        }
    }

    /// Sorts some frames. Says whether there may be more.
    fn turn(&self) -> bool {
        (0..TURN_FRAMES).all(|_| self.link.receive(|segment, frame| self.sort(segment, frame)).is_some())
    }

    fn sort(&self, segment: Segment, frame: &[u8]) {
        match recipient(segment, frame) {
            // A full channel drops: who asks by DHCP asks again.
            Recipient::DhcpServer => _ = self.dhcp_server.as_ref().map(|to| to.try_send(frame.to_vec())),
            Recipient::DhcpClient => _ = self.dhcp_client.as_ref().map(|to| to.try_send(frame.to_vec())),
            Recipient::Stack => self.stack.handle_packet(frame.get(Header::LEN..).unwrap_or_default()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipient {
    DhcpServer,
    DhcpClient,
    Stack,
}

fn recipient(segment: Segment, frame: &[u8]) -> Recipient {
    // The dataplane delivers ARP only if it is the answer to a DHCP client's probe.
    let is_arp = Header::parse(frame).is_ok_and(|header| header.ether_type == EtherType::ARP);
    match (segment, udp_destination_port(frame)) {
        (Segment::Lan, Some(SERVER_PORT)) => Recipient::DhcpServer,
        (Segment::Wan, Some(CLIENT_PORT)) => Recipient::DhcpClient,
        (Segment::Wan, _) if is_arp => Recipient::DhcpClient,
        _ => Recipient::Stack,
    }
}

fn udp_destination_port(frame: &[u8]) -> Option<u16> {
    let packet = frame.get(Header::LEN..)?;
    let header = ipv4::Header::parse(packet).ok()?;
    if header.protocol != Protocol::UDP || header.is_fragment() {
        return None;
    }
    udp::Header::parse(header.payload(packet)).ok().map(|header| header.destination_port)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use gatepost_dataplane::MacAddr;
    use gatepost_dataplane::wire::arp;
    use gatepost_services::dhcp::frame::Datagram;

    use super::*;

    fn datagram_to(destination: &str) -> Vec<u8> {
        let datagram = Datagram {
            source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            destination_mac: MacAddr::BROADCAST,
            source: SocketAddrV4::new([0, 0, 0, 0].into(), 9),
            destination: destination.parse().expect("an address"),
            payload: b"payload",
        };
        datagram.to_frame().expect("it is short")
    }

    #[test]
    fn dhcp_goes_by_segment_and_port() {
        let to_server = datagram_to("255.255.255.255:67");
        let to_client = datagram_to("192.0.2.1:68");
        assert_eq!(recipient(Segment::Lan, &to_server), Recipient::DhcpServer);
        assert_eq!(recipient(Segment::Wan, &to_client), Recipient::DhcpClient);
        assert_eq!(recipient(Segment::Wan, &to_server), Recipient::Stack);
        assert_eq!(recipient(Segment::Lan, &to_client), Recipient::Stack);
        assert_eq!(recipient(Segment::Lan, &datagram_to("192.0.2.1:53")), Recipient::Stack);
    }

    #[test]
    fn an_answer_to_a_probe_is_the_clients() {
        let probe = arp::Packet::request(MacAddr([2, 0, 0, 0, 0, 1]), [0; 4].into(), [192, 0, 2, 1].into());
        let frame = probe.reply(MacAddr([2, 0, 0, 0, 0, 2])).to_frame(MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(recipient(Segment::Wan, &frame), Recipient::DhcpClient);
    }

    #[test]
    fn any_octets_find_a_recipient() {
        let frame = datagram_to("192.0.2.1:68");
        for len in 0..frame.len() {
            recipient(Segment::Wan, &frame[..len]);
        }
    }
}
