use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message as DhcpMessage};
use hickory_proto::op::{OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::*;
use crate::checkers::testing::{arp, config, ip, packet, segment, snapshot, udp};
use crate::packet::Packet;

const HOST: &str = "192.168.1.9";
const GATEWAY: &str = "192.168.1.1";
const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
const LEASE_SECS: u32 = 60;

/// A checker that has seen a lease of [`HOST`] for [`CLIENT`] begin at 0 s.
struct World(BystandersServed);

impl World {
    fn new() -> Self {
        Self::of(&config())
    }

    fn of(config: &Config) -> Self {
        let mut this = Self(BystandersServed::new(config));
        this.0.on_snapshot(&snapshot(0)).expect("nothing was asked");
        this.says(0, &dhcp(DhcpKind::Ack)).expect("a lease begins");
        this
    }

    /// The gateway sends a packet.
    fn says(&mut self, secs: u64, packet: &Packet) -> Result<(), String> {
        self.0.on_passage(&passage(secs, Way::Out, packet))
    }

    /// `sender` sends the gateway a request.
    fn asks(&mut self, secs: u64, sender: MacAddr, packet: &Packet) {
        let gateway = snapshot(0).status.lan.mac.parse().expect("a hardware address");
        let packet = Packet { source_mac: sender, destination_mac: gateway, ..packet.clone() };
        self.0.on_passage(&passage(secs, Way::In, &packet)).expect("a question breaks nothing");
    }

    fn is_reported(&mut self, secs: u64) -> bool {
        self.0.on_snapshot(&snapshot(secs)).is_err()
    }
}

fn passage(secs: u64, way: Way, packet: &Packet) -> Passage<'_> {
    crate::checkers::testing::passage(secs, way, Side::Lan, packet)
}

/// A message about the lease: a server's message to the client, or one from the client.
fn dhcp(kind: DhcpKind) -> Packet {
    let mut message = DhcpMessage::default();
    message.set_xid(7).set_chaddr(&CLIENT.0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    if kind == DhcpKind::Discover {
        return packet("0.0.0.0", "255.255.255.255", udp(68, 67, message.to_vec().unwrap()));
    }
    if kind == DhcpKind::Request {
        message.set_ciaddr(ip(HOST));
        return packet(HOST, GATEWAY, udp(68, 67, message.to_vec().unwrap()));
    }
    message.set_yiaddr(ip(HOST));
    message.opts_mut().insert(DhcpOption::AddressLeaseTime(LEASE_SECS));
    packet(GATEWAY, HOST, udp(67, 68, message.to_vec().unwrap()))
}

fn dns(name: &str, kind: MessageType) -> Packet {
    let mut message = Message::new(5, kind, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let message = message.to_vec().unwrap();
    match kind {
        MessageType::Query => packet(HOST, GATEWAY, udp(5_000, 53, message)),
        MessageType::Response => packet(GATEWAY, HOST, udp(53, 5_000, message)),
    }
}

fn questions() -> [(Packet, Packet); 3] {
    let name = format!("pc-1.{}.", config().system.domain);
    [
        (dhcp(DhcpKind::Request), dhcp(DhcpKind::Ack)),
        (dns(&name, MessageType::Query), dns(&name, MessageType::Response)),
        (packet(HOST, GATEWAY, segment(5_000, 53, "S")), packet(GATEWAY, HOST, segment(53, 5_000, "SA"))),
    ]
}

#[test]
fn what_is_not_answered_is_told_once() {
    for (question, answer) in questions() {
        let mut world = World::new();
        world.asks(10, CLIENT, &question);
        world.says(11, &answer).expect("it is answered");
        assert!(!world.is_reported(13), "{question:?}");
        let mut world = World::new();
        world.asks(20, CLIENT, &question);
        assert!(!world.is_reported(21), "{question:?} may take a second");
        assert!(world.is_reported(23), "{question:?}");
        assert!(!world.is_reported(24), "{question:?} once is enough");
    }
}

#[test]
fn copy_of_a_syn_that_was_answered_is_not_waited_for() {
    let [.., (syn, accepting)] = questions();
    let mut world = World::new();
    world.says(0, &accepting).expect("nobody waits for it");
    world.asks(10, CLIENT, &syn);
    assert!(!world.is_reported(13));
    // The port is used again.
    world.says(20, &dhcp(DhcpKind::Ack)).expect("the lease goes on");
    assert!(!world.is_reported(60));
    world.asks(70, CLIENT, &syn);
    assert!(world.is_reported(73));
}

#[test]
fn a_connection_that_its_holder_gives_up_is_not_waited_for() {
    let [.., (syn, _)] = questions();
    let reset = packet(HOST, GATEWAY, segment(5_000, 53, "RA"));
    for (sender, is_reported) in [(CLIENT, false), (OTHER, true)] {
        let mut world = World::new();
        world.asks(10, CLIENT, &syn);
        world.asks(10, sender, &reset);
        assert_eq!(world.is_reported(13), is_reported, "{sender}");
    }
}

#[test]
fn a_client_that_looks_for_another_lease_waits_for_no_renewal() {
    for (sender, is_reported) in [(CLIENT, false), (OTHER, true)] {
        let mut world = World::new();
        world.asks(10, CLIENT, &dhcp(DhcpKind::Request));
        world.asks(10, sender, &dhcp(DhcpKind::Discover));
        assert_eq!(world.is_reported(13), is_reported, "{sender}");
    }
}

#[test]
fn a_lease_that_is_refused_to_its_holder_is_told() {
    let mut world = World::new();
    assert!(world.says(9, &dhcp(DhcpKind::Nak)).is_ok(), "to nobody's question");
    world.asks(10, CLIENT, &dhcp(DhcpKind::Request));
    assert!(world.says(10, &dhcp(DhcpKind::Nak)).is_err());
}

#[test]
fn a_lease_may_be_refused_to_a_client_that_has_another_address_reserved() {
    for (reserved, boots, is_reported) in
        [("192.168.1.200", false, false), ("192.168.1.200", true, false), (HOST, false, true)]
    {
        let text = format!("[[dhcp.reservations]]\nmac = '{CLIENT}'\naddress = '{reserved}'");
        let mut world = World::of(&Config::parse("test", &text).expect("a configuration"));
        if boots {
            world.0.on_boot();
            world.says(0, &dhcp(DhcpKind::Ack)).expect("a lease begins");
        }
        world.asks(10, CLIENT, &dhcp(DhcpKind::Request));
        assert_eq!(world.says(10, &dhcp(DhcpKind::Nak)).is_err(), is_reported, "{reserved} is reserved");
    }
}

#[test]
fn only_who_holds_a_lease_has_to_be_answered() {
    for (question, _) in questions() {
        let mut world = World::new();
        world.asks(10, OTHER, &question);
        assert!(!world.is_reported(13), "{question:?} of somebody else");
        world.asks(u64::from(LEASE_SECS), CLIENT, &question);
        assert!(!world.is_reported(u64::from(LEASE_SECS) + 3), "{question:?} after the lease's end");
        let mut world = World::new();
        world.0.on_boot();
        world.asks(10, CLIENT, &question);
        assert!(!world.is_reported(13), "{question:?} of whom a gateway that has just booted need not know");
    }
}

#[test]
fn what_the_gateway_cannot_answer_is_not_waited_for() {
    for (question, _) in questions() {
        let mut world = World::new();
        world.asks(10, CLIENT, &question);
        world.says(10, &arp(GATEWAY, HOST, true)).expect("it asks for the hardware address");
        assert_eq!(
            world.is_reported(13),
            question == dhcp(DhcpKind::Request),
            "DHCP needs no ARP: {question:?}"
        );
        world.asks(15, CLIENT, &question);
        assert_eq!(world.is_reported(18), question == dhcp(DhcpKind::Request), "nor later: {question:?}");
        world.asks(19, OTHER, &arp(HOST, GATEWAY, false));
        world.asks(19, CLIENT, &question);
        assert_eq!(
            world.is_reported(22),
            question == dhcp(DhcpKind::Request),
            "that was another's: {question:?}"
        );
        world.asks(25, CLIENT, &arp(HOST, GATEWAY, false));
        world.asks(25, CLIENT, &question);
        assert!(world.is_reported(28), "it has its answer: {question:?}");
        world.asks(30, CLIENT, &question);
        world.0.on_configure(&config());
        assert!(!world.is_reported(33), "{question:?}");
    }
    let mut world = World::new();
    world.asks(10, CLIENT, &dhcp(DhcpKind::Request));
    let mut report = snapshot(13);
    report.status.problems.push("the disk is full".to_owned());
    assert!(world.0.on_snapshot(&report).is_ok());
    let elsewhere = dns("site-1.example.", MessageType::Query);
    world.asks(20, CLIENT, &elsewhere);
    assert!(!world.is_reported(23), "others know that name");
}
