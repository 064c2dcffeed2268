//! Outbound NAT: the addresses and ports that PCs and servers in the internet see of each other.

use std::net::SocketAddrV4;

use crate::harness::programs::{
    LARGE_PAGE_LEN, WebServer, assert_echoes, curl, echo_client, echo_server, udp_socket,
};
use crate::harness::{ISP, LAN, Office, SERVER, WAN};

#[test]
fn a_web_server_sees_the_wan_address() {
    let office = Office::new(1, "network.mode = 'nat'");
    let _server = WebServer::start(&office.internet, 80);
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(WAN));
    let size =
        office.pc(1).sh(&format!("curl -sS -m 5 -o /dev/null -w '%{{size_download}}' http://{SERVER}/large"));
    assert_eq!(size, LARGE_PAGE_LEN.to_string());
    office.gateway().assert_accounts(&[]);
}

#[test]
fn two_pcs_talk_to_one_server_from_the_same_port() {
    let office = Office::new(2, "");
    let _server = echo_server(&office.internet, 7000);
    let [mut one, mut two] = [1, 2].map(|pc| echo_client(office.pc(pc), ",sourceport=20000", (SERVER, 7000)));
    // RFC 4787, REQ-3: no port is overloaded; one keeps its own.
    assert_eq!(one.1, format!("{WAN} 20000"));
    assert!(two.1.starts_with(&format!("{WAN} ")) && two.1 != one.1, "{}", two.1);
    for word in ["once", "again"] {
        assert_echoes(&mut one.0, &format!("one {word}"));
        assert_echoes(&mut two.0, &format!("two {word}"));
    }
    let flows = office.gateway().show("flows");
    assert_eq!(flows["total"], 2, "{flows}");
}

#[test]
fn pings_pass_also_in_fragments() {
    let office = Office::new(1, "network.mode = 'nat'");
    let pc = office.pc(1);
    for target in [LAN, WAN, ISP, SERVER] {
        pc.sh(&format!("ping -n -c 2 -i 0.2 -W 2 {target}"));
        pc.sh(&format!("ping -n -c 2 -i 0.2 -W 2 -s 4000 {target}"));
    }
    for size in [56, 4000] {
        office.internet.sh(&format!("ping -n -c 2 -i 0.2 -W 2 -s {size} {WAN}"));
    }
    office.gateway().assert_accounts(&[]);
}

#[test]
fn a_ping_that_is_out_of_hops_is_answered_by_the_gateway() {
    let office = Office::new(1, "");
    let output = office.pc(1).try_sh(&format!("ping -n -c 1 -W 2 -t 1 {SERVER}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("From {LAN} icmp_seq=1 Time to live exceeded")), "{text}");
    // The second hop is the server itself, which is at the provider's.
    let route = office.pc(1).sh(&format!("busybox traceroute -n -q 1 -w 2 -m 4 {SERVER}"));
    let hops: Vec<_> = route.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(hops, [LAN.to_string(), SERVER.to_string()], "{route}");
    office.gateway().assert_accounts(&["ttl-expired"]);
}

#[test]
fn datagrams_pass_in_fragments_both_ways() {
    let office = Office::new(1, "");
    let server = udp_socket(&office.internet, (SERVER, 7000));
    let client = udp_socket(office.pc(1), (Office::address(1), 20000));
    let question = pattern(4000);
    client.send_to(&question, (SERVER, 7000)).expect("it can be sent");
    let mut buffer = [0; 9000];
    let (len, seen_as) = server.recv_from(&mut buffer).expect("the question comes");
    assert_eq!(seen_as, SocketAddrV4::new(WAN, 20000).into());
    assert!(buffer[..len] == question[..], "the question is not what was sent");
    let answer = pattern(8000);
    server.send_to(&answer, seen_as).expect("it can be sent");
    let (len, seen_as) = client.recv_from(&mut buffer).expect("the answer comes");
    assert_eq!(seen_as, SocketAddrV4::new(SERVER, 7000).into());
    assert!(buffer[..len] == answer[..], "the answer is not what was sent");
    office.gateway().assert_accounts(&[]);
}

#[test]
fn what_the_wan_does_not_carry_whole_is_refused_or_fragmented() {
    let office = Office::new(1, "wan.mtu = 1400");
    let pc = office.pc(1);
    // RFC 1191: 1400 octets are 1372 of data after the IP and ICMP headers.
    pc.sh(&format!("ping -n -c 1 -W 2 -M do -s 1372 {SERVER}"));
    let output = pc.try_sh(&format!("ping -n -c 1 -W 2 -M do -s 1373 {SERVER}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("Frag needed and DF set (mtu = 1400)"), "{text}");
    office.gateway().assert_accounts(&["mtu-exceeded"]);
    // RFC 4787, REQ-13: without DF the gateway fragments.
    pc.sh("ip route flush cache");
    pc.sh(&format!("ping -n -c 1 -W 2 -M dont -s 1472 {SERVER}"));
    let _server = WebServer::start(&office.internet, 80);
    let size = pc.sh(&format!("curl -sS -m 5 -o /dev/null -w '%{{size_download}}' http://{SERVER}/large"));
    assert_eq!(size, LARGE_PAGE_LEN.to_string());
    office.gateway().assert_accounts(&["mtu-exceeded"]);
}

#[test]
fn a_closed_port_in_the_internet_refuses_through_nat() {
    let office = Office::new(1, "");
    let refused = curl(office.pc(1), "", (SERVER, 81)).expect_err("nobody listens");
    assert!(refused.starts_with("curl: (7)"), "{refused}");
    let client = udp_socket(office.pc(1), (Office::address(1), 20000));
    client.connect((SERVER, 81)).expect("a datagram socket connects");
    client.send(b"anybody?").expect("it can be sent");
    // RFC 5508, REQ-4: the error about the translated packet reaches who sent it.
    let error = client.recv(&mut [0; 64]).expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    office.gateway().assert_accounts(&[]);
}

/// Octets of which no two fragments are alike.
fn pattern(len: u32) -> Vec<u8> {
    (0..len).flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes()).take(len as usize).collect()
}
