//! Any message from a DNS client to the server: it never panics, never answers an answer, and what it
//! answers fits and belongs to the question.

#![no_main]

use std::net::SocketAddr;
use std::rc::Rc;

use gatepost_dataplane::Instant;
use gatepost_fuzz::{Input, dns};
use gatepost_services::dns::message::Transport;
use gatepost_services::dns::server::{Client, Output, Server};
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// What a client takes over UDP that says nothing else. // RFC 1035 section 4.2.1
const UDP_OCTETS: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.u8();
    let query = input.rest();
    let from = if flags & 1 == 0 { dns::LAN_CLIENT } else { dns::WAN_CLIENT };
    let transport = if flags & 2 == 0 { Transport::Udp } else { Transport::Tcp };
    let client = Client { address: SocketAddr::V4(from), transport, socket: 3 };
    let rng = StdRng::from_seed([7; 32]);
    let mut server = Server::new(dns::office(), Rc::new(dns::Leases), rng).expect("a right configuration");

    let mut now = Instant::from_secs(1);
    server.handle_query(now, client, query);
    // Nobody answers what it asks upstream.
    for _ in 0..TIMEOUTS_MAX {
        while let Some(output) = server.poll_output() {
            match output {
                Output::Reply { client: to, message } => {
                    assert_eq!(to, client);
                    check_reply(query, &message, transport);
                }
                Output::Attempt { .. } => assert_eq!(from, dns::LAN_CLIENT, "resolves for a stranger"),
                Output::Close(_) => {}
            }
        }
        let Some(due) = server.poll_timeout() else { return };
        now = now.max(due);
        server.handle_timeout(now);
    }
    panic!("a question is never given up");
});

/// More than an exchange can take.
const TIMEOUTS_MAX: usize = 64;

fn check_reply(query: &[u8], reply: &[u8], transport: Transport) {
    assert!(query.len() >= 12 && reply.len() >= 12, "no header");
    assert_eq!(query[..2], reply[..2], "another identifier");
    assert_eq!(query[2] & 0x80, 0, "an answer is answered");
    assert_ne!(reply[2] & 0x80, 0, "the answer is none");
    let is_without_additional = query[10..12] == [0, 0];
    if transport == Transport::Udp && is_without_additional {
        assert!(reply.len() <= UDP_OCTETS, "{} octets over UDP", reply.len());
    }
}
