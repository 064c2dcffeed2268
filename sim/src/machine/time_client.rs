//! NTP requests. The packets are parsed and made octet by octet here.
//!
//! Most requests are in client mode, of any version of NTP. Some are of a symmetric active peer, some have a MAC or an
//! extension field, and some are packets that no server answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;

use super::stack::Stack;

/// RFC 5905, section 7.2
const SERVER_PORT: u16 = 123;
const OWN_PORT: u16 = 40_123;
/// The octets of a packet, without extensions.
const PACKET_LEN: usize = 48;
/// The offsets of the transmit timestamp in a request and of the origin timestamp in its answer.
const TRANSMIT: std::ops::Range<usize> = 40..48;
const ORIGIN: std::ops::Range<usize> = 24..32;

/// An NTP client.
pub struct TimeClient {
    rng: StdRng,
    socket: SocketHandle,
    every: Duration,
    next_at: Instant,
    /// The origin timestamp of the awaited answer.
    awaited: Option<[u8; 8]>,
    /// Requests that were answered with a time.
    pub told: u64,
    /// Requests that were answered with a kiss-o'-death RATE.
    pub refused: u64,
    /// The time of the last answer.
    pub last_told_at: Option<Instant>,
    /// The latest stratum, and the latest error in units of 2^-16 s: the dispersion, and half of the delay.
    pub quality: (u8, u32),
}

impl TimeClient {
    /// A client with about this interval between requests.
    pub fn new(stack: &mut Stack, every: Duration, seed: u64) -> Self {
        let (rng, socket) = (StdRng::seed_from_u64(seed), stack.bind_udp(OWN_PORT));
        let next_at = Instant::ZERO;
        Self {
            rng,
            socket,
            every,
            next_at,
            awaited: None,
            told: 0,
            refused: 0,
            last_told_at: None,
            quality: (0, 0),
        }
    }

    /// Reads answers, and sends a request to `server` when it is due.
    pub fn work(&mut self, stack: &mut Stack, server: Ipv4Addr, now: Instant) {
        let socket = stack.udp(self.socket);
        while let Ok((answer, _)) = socket.recv() {
            if answer.len() < PACKET_LEN || self.awaited.is_none_or(|asked| answer[ORIGIN] != asked) {
                continue;
            }
            self.awaited = None;
            // RFC 5905, section 7.4: the stratum of a kiss-o'-death is 0.
            if answer[1] == 0 {
                self.refused += 1;
            } else {
                self.told += 1;
                self.last_told_at = Some(now);
                let [delay, dispersion] = [4, 8].map(|at| {
                    u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]])
                });
                self.quality = (answer[1], (delay / 2).saturating_add(dispersion));
            }
        }
        if self.next_at <= now {
            let millis = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX).max(2);
            self.next_at =
                now + Duration::from_millis(self.rng.random_range(millis / 2..=millis + millis / 2));
            let question = self.question();
            // A full queue loses the request.
            _ = stack.udp(self.socket).send_slice(&question, (server, SERVER_PORT));
        }
    }

    /// When the next request is due.
    pub fn poll_timeout(&self) -> Instant {
        self.next_at
    }

    fn question(&mut self) -> Vec<u8> {
        let mut packet = vec![0; PACKET_LEN];
        let time: [u8; 8] = self.rng.random();
        let version: u8 = self.rng.random_range(1..=4);
        packet[0] = version << 3 | 3;
        packet[2] = self.rng.random_range(4..=10);
        packet[TRANSMIT].copy_from_slice(&time);
        self.awaited = Some(time);
        match self.rng.random_range(0..12) {
            // Symmetric active, which is answered as symmetric passive; and unanswered modes: an answer, a control
            // message, a private one as of ntpdc.
            0 => packet[0] = version << 3 | [1, 4, 6, 7][self.rng.random_range(0..4)],
            1 => packet.truncate(self.rng.random_range(0..PACKET_LEN)),
            // A key identifier and a MAC.
            2 => packet.extend(self.rng.random::<[u8; 20]>()),
            // An unknown extension field of 28 octets.
            3 => packet.extend([&[0x7f, 0xff, 0, 28][..], &[0; 24]].concat()),
            _ => {}
        }
        packet
    }
}
