//! Ping, over a raw socket. (RFC 792)

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::wire::checksum;
use tokio::time::timeout;

use super::raw_socket::RawSocket;

/// How many times a host is asked, and how long each answer may take.
const TRIES: (u16, Duration) = (3, Duration::from_secs(1));
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// Asks `target` until it answers; `false` if it does not.
///
/// # Errors
///
/// The process lacks CAP_NET_RAW, or there is no route.
pub async fn ping(target: Ipv4Addr, id: u16) -> io::Result<bool> {
    let socket = RawSocket::icmp(target)?;
    let (tries, patience) = TRIES;
    for sequence in 0..tries {
        socket.send(&echo_request(id, sequence))?;
        if let Ok(received) = timeout(patience, reply(&socket, id)).await {
            return received.map(|()| true);
        }
    }
    Ok(false)
}

/// Waits for a reply to one of our requests.
async fn reply(socket: &RawSocket, id: u16) -> io::Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let len = socket.receive(&mut buffer).await?;
        if is_reply(&buffer[..len], id) {
            return Ok(());
        }
    }
}

fn echo_request(id: u16, sequence: u16) -> [u8; 8] {
    let [id_high, id_low] = id.to_be_bytes();
    let [sequence_high, sequence_low] = sequence.to_be_bytes();
    let mut request = [ECHO_REQUEST, 0, 0, 0, id_high, id_low, sequence_high, sequence_low];
    let sum = checksum::of(&request).to_be_bytes();
    request[2..4].copy_from_slice(&sum);
    request
}

/// Whether an IPv4 packet carries a reply to our requests.
fn is_reply(packet: &[u8], id: u16) -> bool {
    let header_len = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    matches!(packet.get(header_len..), Some([ECHO_REPLY, 0, _, _, high, low, ..]) if [*high, *low] == id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_valid_checksum_and_its_reply_is_known() {
        let request = echo_request(0x1234, 7);
        assert!(checksum::is_valid(&request));
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[20..].copy_from_slice(&request);
        assert!(!is_reply(&packet, 0x1234));
        packet[20] = ECHO_REPLY;
        assert!(is_reply(&packet, 0x1234));
        assert!(!is_reply(&packet, 0x1235));
        assert!(!is_reply(&packet[..22], 0x1234));
    }
}
