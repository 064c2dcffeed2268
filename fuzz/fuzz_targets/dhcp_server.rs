//! Frames from DHCP clients to the server, over time: it never panics, and what it gives is its to give.
//!
//! The input is records of a kind, a time span and a chunk: a whole frame, or a message that is put
//! into one.

#![no_main]

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;

use gatepost_fuzz::{Input, repair};
use gatepost_services::clock::UnixTime;
use gatepost_services::dhcp::frame::{CLIENT_PORT, Datagram, SERVER_PORT};
use gatepost_services::dhcp::message::{self, Message, MessageType, OptionCode};
use gatepost_services::dhcp::server::leases::Leases;
use gatepost_services::dhcp::server::{Config, Criteria, Match, Parameters, Pattern, Reply, Reservation, ReservedFor, Server};
use gatepost_services::store::Memory;
use libfuzzer_sys::fuzz_target;
use gatepost_ground::{Instant, MacAddr};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 10]);
const PRINTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 20]);
const TFTP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 9);
const STARTED: u64 = 1_700_000_000;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut now = Instant::from_secs(1);
    let disk = Arc::new(Memory::new());
    let leases = Leases::open(Arc::clone(&disk) as _, now, unix_time(now));
    let leases = Rc::new(RefCell::new(leases));
    let mut server = Server::new(config(), Rc::clone(&leases));
    while !input.is_empty() {
        let kind = input.u8();
        let (is_frame, is_written) = (kind & 1 == 0, kind & 2 == 0);
        now = Instant::from_micros(now.as_micros() + input.micros());
        let frame = if is_frame { repaired(input.chunk()) } else { in_frame(input.chunk()) };
        let Some(datagram) = Datagram::parse(&frame) else { continue };
        let Ok(message) = message::decode(datagram.payload) else { continue };
        check_printed(&message);
        let reply = server.handle_message(now, unix_time(now), datagram.source_mac, &message);
        reply.iter().for_each(|reply| check_reply(reply, &leases.borrow(), now));
        // The disk is done at once, or only after some messages more.
        while let Some(request) = is_written.then(|| server.poll_request(now)).flatten() {
            server.handle_done(now, unix_time(now), Ok(request.perform()));
            // What waits for the next request may end what is told here.
            while let Some(reply) = server.poll_reply() {
                check_reply(&reply, &leases.borrow(), now);
            }
        }
    }

    // What was kept is what is known.
    leases.borrow_mut().settle(now, unix_time(now)).expect("a disk in memory");
    let again = Leases::open(disk, now, unix_time(now));
    let addresses = |leases: &Leases| leases.iter().map(|lease| lease.address).collect::<Vec<_>>();
    assert_eq!(addresses(&again), addresses(&leases.borrow()));
});

/// What is printed is read as what it was, but for an empty option, which is no option.
fn check_printed(message: &Message) {
    let print = |message| message::decode(&message::encode(message)).expect("a message");
    let printed = print(message);
    assert_eq!(print(&printed), printed);
    for (code, option) in printed.opts().iter() {
        assert_eq!(message.opts().get(*code), Some(option));
    }
    let header = |message: &Message| {
        let addresses = [message.ciaddr(), message.yiaddr(), message.siaddr(), message.giaddr()];
        (message.xid(), message.secs(), message.flags(), addresses, message::mac(message))
    };
    assert_eq!(header(&printed), header(message));
}

fn check_reply(reply: &Reply, leases: &Leases, now: Instant) {
    let frame = reply.to_frame(SERVER_MAC).expect("an answer fits into a frame");
    let datagram = Datagram::parse(&frame).expect("an answer is a datagram");
    if reply.message.opts().msg_type().is_none() {
        let given = reply.message.yiaddr();
        let mut reserved = config().reservations.into_iter().map(|reservation| reservation.address);
        return assert!(reserved.any(|address| address == given), "{given} was given by BOOTP");
    }
    let sent = message::decode(datagram.payload).expect("an answer is a message");
    // The options that identify client, relay agent and server are never left out, however small the client's maximum.
    let unlimited = message::decode(&message::encode(&reply.message)).expect("an answer is a message");
    for code in [OptionCode::ClientIdentifier, OptionCode::RelayAgentInformation, OptionCode::ServerIdentifier] {
        assert_eq!(sent.opts().get(code), unlimited.opts().get(code));
    }
    let given = sent.yiaddr();
    match sent.opts().msg_type() {
        Some(MessageType::Offer) => assert!(is_ours_to_give(given), "{given} was offered"),
        Some(MessageType::Ack) if !given.is_unspecified() => {
            assert!(is_ours_to_give(given), "{given} was given");
            let lease = leases.at(given).expect("what was given is known");
            assert!(lease.is_active(now), "{given} was given and is not in use");
        }
        Some(MessageType::Ack | MessageType::Nak) => assert!(given.is_unspecified()),
        other => panic!("an answer of type {other:?}"),
    }
}

fn is_ours_to_give(address: Ipv4Addr) -> bool {
    let config = config();
    let is_reserved = config.reservations.iter().any(|reservation| reservation.address == address);
    address != SERVER && (config.pool.contains(&address) || is_reserved)
}

fn config() -> Config {
    Config {
        domain: "office.example".to_owned(),
        ntp_servers: vec![SERVER],
        parameters: Parameters { next_server: Some(TFTP), ..told(&[(67, b"pxelinux.0"), (150, &TFTP.octets()), (6, b"")]) },
        matches: matches(),
        mtu: Some(1500),
        reservations: vec![Reservation {
            hostname: Some("printer".to_owned()),
            clients: vec![ReservedFor::Mac(PRINTER_MAC)],
            address: Ipv4Addr::new(192, 168, 1, 20),
            parameters: Parameters::default(),
        }],
        ..Config::new(ipnet::Ipv4Net::new_assert(SERVER, 24), SERVER..=Ipv4Addr::new(192, 168, 1, 5))
    }
}

/// Matches with all criteria, and more options than fit into a message.
fn matches() -> Vec<Match> {
    let class = |text: &str, is_prefix| Some(Pattern { text: text.to_owned(), is_prefix });
    let none = Criteria::default;
    [
        (Criteria { user_class: class("iPXE", false), ..none() }, told(&[(67, b"http://192.168.1.9/boot.ipxe")])),
        (Criteria { vendor_class: class("PXEClient", true), ..none() }, told(&[(43, &[6; 300]), (66, b"boot")])),
        (Criteria { vendor_class: class("HTTPClient", true), architecture: Some(16), ..none() }, told(&[(67, &[b'h'; 200])])),
        (Criteria { mac_prefix: Some(vec![2, 0]), architecture: Some(7), ..none() }, told(&[(150, b""), (224, &[7; 240])])),
    ]
    .map(|(criteria, parameters)| Match { criteria, parameters })
    .into()
}

fn told(options: &[(u8, &[u8])]) -> Parameters {
    let options = options.iter().map(|(code, content)| (*code, content.to_vec()));
    Parameters { options: options.collect(), next_server: None }
}

fn unix_time(now: Instant) -> UnixTime {
    UnixTime(STARTED + now.as_secs())
}

fn repaired(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    repair(&mut frame);
    frame
}

/// A client's message in the frame that it would come in.
fn in_frame(message: &[u8]) -> Vec<u8> {
    let datagram = Datagram {
        source_mac: CLIENT_MAC,
        destination_mac: MacAddr::BROADCAST,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT),
        destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT),
        payload: message,
    };
    datagram.to_frame().unwrap_or_default()
}
