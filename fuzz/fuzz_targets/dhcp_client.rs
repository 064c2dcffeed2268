//! Frames from a segment to the DHCP client, over time: it never panics, it stays awake, and it takes
//! only an address that a host can have.
//!
//! The input is records of a kind, a time span and a chunk: a whole frame, or a server's message that
//! answers what the client said last.

#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_fuzz::{Input, repair};
use gatepost_services::dhcp::client::{Client, Config, Event, Output};
use gatepost_services::dhcp::frame::{CLIENT_PORT, Datagram, SERVER_PORT};
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use gatepost_ground::wire::ipv4::AddressKind;
use gatepost_ground::{Instant, MacAddr};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 2]);
const REMEMBERED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let remembered = (input.u8() & 1 == 1).then_some(REMEMBERED);
    let mut segment = Segment {
        client: Client::new(config(), StdRng::from_seed([7; 32]), remembered),
        now: Instant::from_secs(1),
        last_payload: Vec::new(),
        is_configured: false,
    };
    while !input.is_empty() {
        let is_frame = input.u8() & 1 == 0;
        segment.pass(input.micros());
        let mut frame = if is_frame { input.chunk().to_vec() } else { segment.answer(input.chunk()) };
        repair(&mut frame);
        segment.client.handle_frame(segment.now, &frame);
        segment.drain();
    }
    segment.client.release();
    segment.drain();
    assert!(!segment.is_configured, "a released lease is lost");
    assert_eq!(segment.client.poll_timeout(), None);
});

/// More than it takes from any state to the same again.
const TIMEOUTS_MAX: usize = 32;

/// Who is called late may have passed through as many states before there is something to wait for.
const STATES: u32 = 4;

/// A client at a segment, and the time there.
struct Segment {
    client: Client,
    now: Instant,
    /// The last message that the client sent.
    last_payload: Vec<u8>,
    is_configured: bool,
}

impl Segment {
    /// Lets time pass, and the client do what is due; not for ever if nobody answers it.
    fn pass(&mut self, micros: u64) {
        let end = Instant::from_micros(self.now.as_micros() + micros);
        let mut at_once = 0;
        for _ in 0..TIMEOUTS_MAX {
            let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
            self.drain();
            let next = self.client.poll_timeout().expect("a running client has something to do");
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < STATES, "a timer does not move: {next}");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(frame) => {
                    if let Some(datagram) = Datagram::parse(&frame) {
                        self.last_payload = datagram.payload.to_vec();
                    }
                }
                Output::Event(Event::Configured(lease)) => {
                    let address = lease.address.addr();
                    assert_eq!(AddressKind::of(address), AddressKind::Unicast, "{address} is no host's");
                    assert!(lease.lease_secs > 0);
                    self.is_configured = true;
                }
                Output::Event(Event::Lost) => {
                    assert!(self.is_configured, "nothing to lose");
                    self.is_configured = false;
                }
                Output::Event(Event::Remarked(_) | Event::Refused(_)) => {}
            }
        }
        assert_eq!(self.client.lease().is_some(), self.is_configured);
    }

    /// A server's message with the identifiers of the client's own.
    fn answer(&self, message: &[u8]) -> Vec<u8> {
        let mut payload = message.to_vec();
        for part in [0..3, 4..8, 28..44] {
            if let (Some(to), Some(from)) = (payload.get_mut(part.clone()), self.last_payload.get(part)) {
                to.copy_from_slice(from);
            }
        }
        if let Some(op) = payload.first_mut() {
            *op = 2; // BOOTREPLY
        }
        let datagram = Datagram {
            source_mac: SERVER_MAC,
            destination_mac: MAC,
            source: SocketAddrV4::new(SERVER, SERVER_PORT),
            destination: SocketAddrV4::new(REMEMBERED, CLIENT_PORT),
            payload: &payload,
        };
        datagram.to_frame().unwrap_or_default()
    }
}

fn config() -> Config {
    Config { hostname: Some("gatepost".to_owned()), ..Config::new(MAC) }
}
