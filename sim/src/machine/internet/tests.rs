use super::server::Wire;
use super::*;

/// Answers every datagram with the port that it came from.
struct Mirror;

impl Server for Mirror {
    fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
        while let Some(question) = wire.receive() {
            wire.send(question.to, question.from, &question.from.port().to_be_bytes());
        }
    }
}

const CUSTOMER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);
const CUSTOMER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 99, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 18, 99, 2);
const PORT: u16 = 5_000;

fn internet() -> Internet {
    let network = "203.0.113.0/24".parse().unwrap();
    let mut internet = Internet::new(network, DhcpTerms::new(60), SharedTree::default(), 1);
    for (name, address) in [("mirror", HERE), ("other", ELSEWHERE)] {
        internet.add_server(name, Site::at(address).udp(PORT), Box::new(Mirror)).unwrap();
    }
    internet
}

/// The datagrams that come back for one from `source` to `destination`.
fn answers(
    internet: &mut Internet,
    source: Ipv4Addr,
    destination: (Ipv4Addr, u16),
) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let (address, port) = destination;
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(CUSTOMER_MAC.0, MAC.0)
        .ipv4(source.octets(), address.octets(), 64)
        .udp(4_000, port)
        .write(&mut frame, b"?")
        .unwrap();
    let packets = exchange(internet, source, frame).into_iter();
    packets
        .filter_map(|packet| packet.udp().map(|(ip, _, _, payload)| (ip.source, payload.to_vec())))
        .collect()
}

/// What comes back for a frame of the customer's, whose MAC the internet knows.
fn exchange(internet: &mut Internet, source: Ipv4Addr, frame: Vec<u8>) -> Vec<Packet> {
    // smoltcp learns the neighbour from its ARP.
    let arp = crate::machine::forgery::arp(
        CUSTOMER_MAC,
        etherparse::ArpOperation::REQUEST,
        source,
        MacAddr::ZERO,
        internet.router(),
    );
    let mut sent = Vec::new();
    for frame in [arp, frame] {
        internet.handle_frame(frame);
        internet.poll(Instant::from_secs(1), &mut |frame| sent.push(frame));
    }
    sent.iter().filter_map(|frame| Packet::parse(frame)).collect()
}

/// What the chat server acknowledges when a segment from the customer's port 4,000 has come, with the number of the
/// acknowledging segment's first octet.
fn acknowledged(internet: &mut Internet, sequence: u32, acknowledgment: Option<u32>) -> Option<(u32, u32)> {
    let tcp = etherparse::PacketBuilder::ethernet2(CUSTOMER_MAC.0, MAC.0)
        .ipv4(CUSTOMER.octets(), CHAT_ADDRESS.octets(), 64)
        .tcp(4_000, CHAT_PORT, sequence, 1_000);
    let mut frame = Vec::new();
    let segment = match acknowledgment {
        Some(number) => tcp.ack(number),
        None => tcp.syn(),
    };
    segment.write(&mut frame, b"").unwrap();
    exchange(internet, CUSTOMER, frame).iter().find_map(|packet| match packet.ipv4()?.transport {
        Transport::Tcp { sequence, acknowledgment, .. } => Some((acknowledgment?, sequence)),
        _ => None,
    })
}

#[test]
fn a_client_that_has_forgotten_a_connection_opens_another_from_the_same_port() {
    let mut internet = internet();
    let (acknowledges, server_isn) = acknowledged(&mut internet, 7, None).expect("a SYN-ACK");
    assert_eq!(acknowledges, 8);
    assert_eq!(acknowledged(&mut internet, 8, Some(server_isn.wrapping_add(1))), None);
    assert_eq!(acknowledged(&mut internet, 7, None), None, "a SYN that came twice");
    assert_eq!(acknowledged(&mut internet, 90, None).expect("another SYN-ACK").0, 91);
}

#[test]
fn a_server_of_the_list_answers_at_its_own_address_and_port_only() {
    let mut internet = internet();
    let port = 4_000_u16.to_be_bytes().to_vec();
    assert_eq!(answers(&mut internet, CUSTOMER, (HERE, PORT)), [(HERE, port.clone())]);
    assert_eq!(answers(&mut internet, CUSTOMER, (ELSEWHERE, PORT)), [(ELSEWHERE, port)]);
    assert_eq!(answers(&mut internet, CUSTOMER, (CHAT_ADDRESS, PORT)), [], "nobody is there");
    assert_eq!(answers(&mut internet, CUSTOMER, (HERE, PORT + 1)), [], "nobody listens");
}

#[test]
fn a_server_answers_customers_of_the_providers_network_only() {
    let mut internet = internet();
    let stranger = Ipv4Addr::new(192, 168, 1, 9);
    assert_eq!(answers(&mut internet, stranger, (HERE, PORT)), []);
    internet.on_renumber("192.0.2.0/24".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 100));
    assert_eq!(answers(&mut internet, CUSTOMER, (HERE, PORT)), [], "its address is gone");
    assert_eq!(answers(&mut internet, Ipv4Addr::new(192, 0, 2, 100), (HERE, PORT)).len(), 1);
}

#[test]
fn servers_are_found_by_name_and_type() {
    let mut internet = internet();
    assert!(internet.server_mut("mirror").is_some_and(|server| server.is::<Mirror>()));
    assert!(internet.server_mut("nobody").is_none());
    assert!(internet.servers.get_mut::<DhcpServer>(NAMES).is_none(), "no DHCP server");
}

#[test]
fn no_two_servers_have_one_name_or_one_port_of_an_address() {
    let mut internet = internet();
    let mut told = |name: &str, site: Site| internet.add_server(name, site, Box::new(Mirror)).unwrap_err();
    assert!(told("mirror", Site::at(HERE).udp(1)).contains("a server \"mirror\" already"));
    assert!(told("third", Site::at(HERE).udp(PORT)).contains("198.18.99.1:5000 is the server mirror's"));
    assert!(
        told("third", Site::at(CHAT_ADDRESS).tcp(CHAT_PORT)).contains("198.18.7.7:7 is the server chat's")
    );
    assert!(internet.add_server("third", Site::at(HERE).tcp(PORT), Box::new(Mirror)).is_ok());
}
