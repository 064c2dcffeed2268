//! Any message from a DNS client to the server: it never panics, never answers an answer, and what it
//! answers fits and belongs to the question.

#![no_main]

use std::net::SocketAddr;
use std::rc::Rc;

use gatepost_fuzz::{Input, dns};
use gatepost_services::dns::message::{Parsed, QueryFlags, Question, Request, Transport};
use gatepost_services::dns::server::{Client, Output, Server};
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use gatepost_ground::Instant;

/// What a client takes over UDP that says nothing else. (RFC 1035, section 4.2.1)
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

    check_question(query, transport);
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

/// What upstream servers are asked is what the client asks.
fn check_question(query: &[u8], transport: Transport) {
    let Parsed::Request(asked) = Request::parse(query, transport) else { return };
    let question = Question {
        name: asked.name.clone(),
        record_type: asked.record_type,
        dnssec_ok: asked.dnssec_ok,
        checking_disabled: asked.checking_disabled,
    };
    let flags = QueryFlags { with_edns: true, authentic_data: false };
    let Parsed::Request(again) = Request::parse(&question.query(asked.id, flags), transport) else {
        panic!("we do not understand what we ask: {question:?}");
    };
    assert_eq!((again.id, again.record_type), (asked.id, asked.record_type));
    assert!(again.name.eq_case(&asked.name), "{} became {}", asked.name, again.name);
    assert_eq!((again.dnssec_ok, again.checking_disabled), (asked.dnssec_ok, asked.checking_disabled));
}

fn check_reply(query: &[u8], reply: &[u8], transport: Transport) {
    assert!(query.len() >= 12 && reply.len() >= 12, "no header");
    assert_eq!(query[..2], reply[..2], "another identifier");
    assert_eq!(query[2] & 0x80, 0, "an answer is answered");
    assert_ne!(reply[2] & 0x80, 0, "the answer is none");
    let read = Message::from_vec(reply).expect("an answer of ours parses");
    let again = Message::from_vec(&read.to_vec().expect("it was a message")).expect("and so it does printed");
    assert_eq!(again, read);
    let is_without_additional = query[10..12] == [0, 0];
    if transport == Transport::Udp && is_without_additional {
        assert!(reply.len() <= UDP_OCTETS, "{} octets over UDP", reply.len());
    }
}
