//! The office from the internet, as nmap sees it.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::programs::{WebServer, curl, pings, udp_socket};
use crate::harness::{Directory, LAN, Namespace, Office, SERVER, WAN};

/// A few ports that are open on most gateways, one that is forwarded to a web server, and one that is
/// forwarded to a port without a listener.
const TCP_PORTS: &str = "22,23,53,80,443,7001,7002,8080";
const UDP_PORTS: &str = "53,67,68,123,161";

const FORWARDS: &str = "firewall.forwards = [
    { wan_port = '7001', to = '192.168.1.101:80' },
    { wan_port = '7002', to = '192.168.1.101:81' },
]";

/// The state of every scanned port of `target`.
fn scan(scanner: &Namespace, technique: &str, ports: &str, target: &str) -> BTreeMap<u16, String> {
    let report = scanner.sh(&format!(
        "nmap -n -Pn {technique} -p {ports} -T4 --max-retries 1 --host-timeout 60s -oG - {target}"
    ));
    let listed = report.split_once("Ports: ").map(|(_, rest)| rest).unwrap_or_default();
    let listed = listed.split(['\t', '\n']).next().unwrap_or_default();
    let mut states: BTreeMap<_, _> = listed
        .split(", ")
        .filter_map(|port| {
            let mut fields = port.split('/');
            Some((fields.next()?.trim().parse().ok()?, fields.next()?.to_owned()))
        })
        .collect();
    // Many ports in one state are summed up, and with -p the list is the whole of them.
    let ignored = report.split_once("Ignored State: ").map(|(_, rest)| rest);
    let ignored = ignored.and_then(|rest| rest.split_whitespace().next()).unwrap_or("not reported");
    for port in ports.split(',') {
        let port = port.parse().expect("a list of ports");
        states.entry(port).or_insert_with(|| ignored.to_owned());
    }
    states
}

fn tcp(office: &Office, target: &str) -> BTreeMap<u16, String> {
    scan(&office.internet, "-sS", TCP_PORTS, target)
}

fn udp(office: &Office, target: &str) -> BTreeMap<u16, String> {
    scan(&office.internet, "-sU", UDP_PORTS, target)
}

/// What is expected: `others`, but for the ports named.
fn expected(ports: &str, others: &str, but: &[(u16, &str)]) -> BTreeMap<u16, String> {
    let mut states: BTreeMap<u16, String> =
        ports.split(',').map(|port| (port.parse().expect("a port"), others.to_owned())).collect();
    states.extend(but.iter().map(|(port, state)| (*port, (*state).to_owned())));
    states
}

/// Whether nmap finds the WAN address by ICMP and TCP probes; ARP, which must be answered, apart.
fn is_found(office: &Office) -> bool {
    let probes = "-PE -PP -PS443 -PA80 --disable-arp-ping --send-ip";
    let report = office.internet.sh(&format!("nmap -n -sn {probes} -T4 --max-retries 1 -oG - {WAN}"));
    report.contains("Status: Up")
}

#[test]
fn in_stealth_only_forwards_and_services_are_seen() {
    let office = Office::new(1, &format!("firewall.wan_services = ['dns']\n{FORWARDS}"));
    let _server = WebServer::start(office.pc(1), 80);
    let wan = WAN.to_string();
    let open = [(53, "open"), (7001, "open"), (7002, "closed")];
    assert_eq!(tcp(&office, &wan), expected(TCP_PORTS, "filtered", &open));
    assert_eq!(udp(&office, &wan), expected(UDP_PORTS, "open|filtered", &[(53, "open")]));
    assert!(!is_found(&office));
    // What fits no connection is not answered either.
    for technique in ["-sA", "-sF", "-sX", "-sN"] {
        let states = scan(&office.internet, technique, "22,80", &wan);
        assert!(states.values().all(|state| state.ends_with("filtered")), "{technique}: {states:?}");
    }
}

#[test]
fn in_stealth_a_closed_office_shows_nothing() {
    let office = Office::new(1, "");
    let wan = WAN.to_string();
    assert_eq!(tcp(&office, &wan), expected(TCP_PORTS, "filtered", &[]));
    assert_eq!(udp(&office, &wan), expected(UDP_PORTS, "open|filtered", &[]));
    assert!(!is_found(&office));
}

#[test]
fn in_stealth_the_system_is_not_told() {
    let office = Office::new(1, "");
    for technique in ["-sA", "-sF", "-sX", "-sN"] {
        let states = scan(&office.internet, technique, TCP_PORTS, &WAN.to_string());
        assert!(states.values().all(|state| state.ends_with("filtered")), "{technique}: {states:?}");
    }
    let guess = format!("nmap -n -Pn -O --max-os-tries 1 -T4 --max-retries 1 -p 22,80 {WAN}");
    let report = office.internet.sh(&guess);
    assert!(report.contains("Too many fingerprints match this host"), "{report}");
    // The office itself gets out.
    let pc = office.pc(1);
    pc.sh(&format!("ping -n -c 1 -W 2 -M do -s 1472 {SERVER}"));
}

/// The IPv4 packets that have come to `namespace` so far.
fn heard(namespace: &Namespace) -> u64 {
    let count = namespace.sh("awk '/^Ip: [0-9]/ { print $4 }' /proc/net/snmp");
    count.trim().parse().expect("a number")
}

/// Sends more than the path takes, not to be fragmented, and prints the path MTU as soon as the sender learns it.
const TOO_BIG: &str = r#"
import errno, socket, sys
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
s.settimeout(10)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(bytes(int(sys.argv[3])))
try:
    s.recv(1)
except OSError as error:
    assert error.errno == errno.EMSGSIZE, error
print(s.getsockopt(socket.IPPROTO_IP, IP_MTU))
"#;

/// RFC 1191, section 4: In stealth mode scans get no answer, and packets that are too big get an error.
#[test]
fn rfc1191_in_stealth_scans_hear_nothing_and_too_big_packets_are_told() {
    // The WAN takes larger packets than the LAN.
    let forward = "[{ wan_port = '7003', protocol = 'udp', to = '192.168.1.101:9' }]";
    let office = Office::new(1, &format!("wan.mtu = 4000\nfirewall.forwards = {forward}"));
    let (pc, internet) = (office.pc(1), &office.internet);
    internet.sh("ip link set eth0 mtu 4000");
    let _server = WebServer::start(internet, 80);
    assert_eq!(curl(pc, "", (SERVER, 80)), Ok(WAN));

    let before = heard(internet);
    let nmap = "nmap -n -Pn -T4 --max-retries 1 --host-timeout 60s";
    for technique in ["-sS", "-sA", "-sN", "-sF", "-sX", "-sS -O --max-os-tries 1"] {
        internet.sh(&format!("{nmap} {technique} -p {TCP_PORTS} {WAN}"));
    }
    internet.sh(&format!("{nmap} -sU -p {UDP_PORTS} {WAN}"));
    assert!(!is_found(&office) && !pings(internet, "", WAN));
    assert_eq!(heard(internet) - before, 0, "silence is silence");

    // Somebody outside sends what the LAN cannot take, and the office what a link far away cannot.
    let directory = Directory::new();
    let script = directory.join("too_big.py");
    fs::write(&script, TOO_BIG).expect("it can be written");
    let too_big = |namespace: &Namespace, target: &str, octets: u32| {
        namespace.sh(&format!("/usr/bin/python3 {} {target} {octets}", script.display()))
    };
    assert_eq!(too_big(internet, &format!("{WAN} 7003"), 2_000).trim(), "1500");
    internet.sh("sysctl -q -w net.ipv4.ip_forward=1
         ip tuntap add narrow mode tun
         ip link set narrow mtu 1280 up
         ip route add 198.51.100.81/32 dev narrow");
    assert_eq!(too_big(pc, "198.51.100.81 9", 1_400).trim(), "1280");
    assert_eq!(curl(pc, "", (SERVER, 80)), Ok(WAN));
}

#[test]
fn without_stealth_the_wan_address_answers_as_a_host_with_closed_ports() {
    // Without a list, the public services are open in mode nat, and an empty list closes them.
    let dns = (53, "open");
    for (mode, services) in [
        ("network.mode = 'nat'", &[dns][..]),
        ("network.mode = 'nat'\nfirewall.wan_services = []", &[]),
        ("firewall.stealth = false", &[]),
    ] {
        let office = Office::new(1, &format!("{mode}\n{FORWARDS}"));
        let _server = WebServer::start(office.pc(1), 80);
        let wan = WAN.to_string();
        // RFC 5382, REQ-4: an unsolicited SYN is rejected after 6 seconds, too late for a scan.
        let open = [&[(7001, "open"), (7002, "closed")], services].concat();
        assert_eq!(tcp(&office, &wan), expected(TCP_PORTS, "filtered", &open), "{mode}");
        // Errors are limited in rate: a scan slower than the limit sees each.
        let states = scan(&office.internet, "-sU --scan-delay 300ms", UDP_PORTS, &wan);
        assert_eq!(states, expected(UDP_PORTS, "closed", services), "{mode}");
        assert!(is_found(&office), "{mode}");
    }
}

#[test]
fn a_router_hides_nothing() {
    let office = Office::new(1, "network.mode = 'router'");
    let _server = WebServer::start(office.pc(1), 80);
    let _datagrams = udp_socket(office.pc(1), (Office::address(1), 67));
    office.internet.sh(&format!("ip route add 192.168.1.0/24 via {WAN}"));
    let pc = Office::address(1).to_string();
    assert_eq!(tcp(&office, &pc), expected(TCP_PORTS, "closed", &[(80, "open")]));
    let states = scan(&office.internet, "-sU --scan-delay 1100ms", "67,161", &pc);
    assert_eq!(states, expected("67,161", "closed", &[(67, "open|filtered")]));
    assert!(is_found(&office));
}

#[test]
fn a_lan_only_gateway_is_a_host_with_a_name_a_time_service_and_pages() {
    let office = Office::new(1, "network.mode = 'lan-only'");
    let lan = LAN.to_string();
    let states = scan(office.pc(1), "-sS", TCP_PORTS, &lan);
    assert_eq!(states, expected(TCP_PORTS, "closed", &[(53, "open"), (8080, "open")]));
    let states = scan(office.pc(1), "-sU --scan-delay 300ms", "53,123,161", &lan);
    assert_eq!(states, expected("53,123,161", "closed", &[(53, "open"), (123, "open")]));
}
