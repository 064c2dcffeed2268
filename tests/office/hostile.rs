//! Malformed packets of scapy and hping3, on a real TAP: the gateway drops them with the right reasons, and works on.

use std::fs;

use crate::harness::programs::{WebServer, curl, wait_for_listener};
use crate::harness::{DOMAIN, Directory, ISP, LAN, Office, SERVER, WAN, eventually};

const FORWARD: &str = "firewall.forwards = [{ wan_port = '7001', to = '192.168.1.101:80' }]";

/// Sends one of each, and then what scapy makes at random. Its arguments are the WAN address and a LAN
/// host's.
const SHOTS: &str = r#"
import sys
from scapy.all import *
wan, pc = sys.argv[1:]
conf.verb = 0
ip, tcp = IP(dst=wan), TCP(sport=7000, dport=7001, flags="S")
shots = [ip / TCP(sport=7000, dport=7001, flags=f) for f in (0, "F", "SF", "SR", "FPU", 0xff, "P", "A", "FA", "SA")]
shots += [ip / TCP(sport=7000, dport=7001, flags="S", dataofs=6) / Raw(bytes(o))
          for o in ((2, 0, 0, 0), (2, 1, 0, 0), (2, 255, 0, 0))]
shots += [ip / TCP(sport=7000, dport=7001, flags="S", dataofs=o) for o in (0, 4, 15)]
shots += [IP(dst=wan, ihl=6, proto=17) / Raw(bytes((7, 0, 0, 0)) + bytes(UDP())), IP(dst=wan, ihl=4) / tcp,
          IP(dst=wan, len=9999) / tcp, IP(dst=wan, len=10) / tcp, IP(dst=wan, chksum=1) / tcp,
          IP(dst=wan, options=IPOption_LSRR(routers=["192.0.2.1"])) / tcp]
shots += [ip / UDP(dport=53, len=length) for length in (0, 4, 9999)]
shots += [IP(src=src, dst=wan) / tcp for src in ("127.0.0.1", "224.0.0.1", "0.1.2.3", "255.255.255.255", pc, wan)]
shots += [IP(dst="203.0.113.255") / ICMP(), IP(dst="203.0.113.255") / UDP(dport=7)]
segment = bytes(tcp)
shots += [IP(dst=wan, id=1, flags="MF", proto=6) / Raw(segment[:8]), IP(dst=wan, id=1, frag=1, proto=6) / Raw(segment[8:]),
          IP(dst=wan, id=2, frag=0x1fff, proto=17) / Raw(bytes(400)), IP(dst=wan, id=3, flags="MF", proto=17) / Raw(bytes(21))]
quoted = bytes(IP(src=wan, dst="198.51.100.80") / UDP(sport=1, dport=2))
shots += [ip / ICMP(type=3, code=3) / Raw(q) for q in (b"", quoted[:20], quoted[:27], quoted, bytes(60))]
shots += [ip / ICMP(type=11, code=0) / Raw(bytes(IP(src=wan) / ICMP(type=3) / Raw(quoted)))]
# Nothing else is wrong with these than their checksum.
shots += [IP(dst=wan, proto=p) / Raw(bytes(s)[:at] + b"\xba\xad" + bytes(s)[at + 2:])
          for p, s, at in ((6, tcp, 16), (17, UDP(sport=7000, dport=53) / b"bad", 6), (1, ICMP() / b"bad", 2))]
send(shots)
send([ip / fuzz(layer()) for layer in (TCP, UDP, ICMP) for _ in range(100)])
send([fuzz(IP(dst=wan)) / Raw(bytes(40)) for _ in range(100)])
"#;

/// What of that must have been noticed; the rest is random.
const REASONS: [&str; 15] = [
    "broadcast-not-forwarded",
    "fragment-invalid",
    "icmp-checksum",
    "icmp-unrelated",
    "ipv4-checksum",
    "ipv4-malformed",
    "martian",
    "source-routed",
    "spoofed-source",
    "tcp-checksum",
    "tcp-flags-invalid",
    "tcp-options-malformed",
    "tcp-state-invalid",
    "transport-malformed",
    "udp-checksum",
];

/// Asserts that the office is as useful as ever.
fn assert_works(office: &Office) {
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(WAN));
    assert_eq!(curl(&office.internet, "", (WAN, 7001)), Ok(ISP));
}

#[test]
fn the_worst_of_scapy_is_dropped_for_its_reasons() {
    let office = Office::new(1, FORWARD);
    let _servers = [office.pc(1), &office.internet].map(|namespace| WebServer::start(namespace, 80));
    let directory = Directory::new();
    fs::write(directory.join("shots.py"), SHOTS).expect("it can be written");
    let script = directory.join("shots.py");
    office.internet.sh(&format!("/usr/bin/python3 {} {WAN} {}", script.display(), Office::address(1)));
    assert_works(&office);
    let drops = office.gateway().drops();
    for reason in REASONS {
        assert!(drops.contains_key(reason), "no {reason}: {drops:?}");
    }
    let all: Vec<_> = drops.keys().map(String::as_str).collect();
    office.gateway().assert_accounts(&all);
}

#[test]
fn floods_of_hping3_starve_nobody() {
    let office = Office::new(1, &format!("nat.max_flows = 1024\nnat.max_flows_per_host = 256\n{FORWARD}"));
    let _servers = [office.pc(1), &office.internet].map(|namespace| WebServer::start(namespace, 80));
    // Of every kind a while; hping3 fails, as it gets no answer.
    for shots in ["-S -p 7001", "-S --rand-source -p 7001", "--udp --rand-source -p 7001", "-F -P -U -p 7001"]
    {
        office.internet.try_sh(&format!("hping3 -q -n -c 2000 -i u500 {shots} {WAN}"));
        assert_works(&office);
    }
    // And while it goes on.
    let _flood = office.internet.spawn(&format!("hping3 -q -n -i u500 -S --rand-source -p 7001 {WAN}"));
    for _ in 0..5 {
        assert_works(&office);
    }
    let total = office.gateway().show("flows")["total"].as_u64().expect("a number");
    assert!(total <= 1024, "{total}");
}

/// Begins 200 connections a second to the gateway's name service and ends no handshake, from an address that no
/// host has: a host's kernel would reset them. It sends ARP requests for the gateway from time to time, so that the
/// gateway knows where the address is.
const HALF_OPEN_FLOOD: &str = r#"
import socket, sys, time
from scapy.all import ARP, Ether, IP, TCP, getmacbyip
gateway, source = sys.argv[1:]
mac = open("/sys/class/net/eth0/address").read().strip()
ask = bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=source, pdst=gateway))
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
ether = Ether(src=mac, dst=getmacbyip(gateway))
syns = [bytes(ether / IP(src=source, dst=gateway) / TCP(sport=port, dport=53, flags="S", seq=port, window=64000))
        for port in range(10000, 12000)]
while True:
    for number, syn in enumerate(syns):
        if number % 100 == 0:
            link.send(ask)
        link.send(syn)
        time.sleep(0.005)
"#;

/// RFC 4987, section 3.6: A hundred TCP queries are all answered during a flood of half-open connections.
#[test]
fn rfc4987_of_a_hundred_tcp_queries_all_are_answered_beside_half_open_connections() {
    const QUERIES: usize = 100;
    let office = Office::new(2, "");
    let directory = Directory::new();
    let (script, queries) = (directory.join("half-open.py"), directory.join("queries"));
    fs::write(&script, HALF_OPEN_FLOOD).expect("it can be written");
    fs::write(&queries, format!("gatepost.{DOMAIN} A\n").repeat(QUERIES)).expect("it can be written");
    let _flood = office.pc(2).spawn(&format!("/usr/bin/python3 {} {LAN} 192.168.1.77", script.display()));
    let cookies = || office.gateway().show("counters")["host_stack"]["syn_cookies_sent"].as_u64();
    let before = eventually("the flood", || cookies().filter(|sent| *sent > 128));
    // Each query has a connection of its own.
    let answers =
        office.pc(1).sh(&format!("dig @{LAN} +tcp +tries=1 +time=5 +short -f {}", queries.display()));
    assert_eq!(answers.lines().filter(|line| *line == LAN.to_string()).count(), QUERIES, "{answers}");
    eventually("more of the flood", || cookies().filter(|sent| *sent > before));
    let counters = office.gateway().show("counters");
    assert_eq!(counters["host_stack"]["half_open"], 16, "{counters}");
}

/// Sends 15,000 SYNs and as many datagrams from each of six forged addresses, as one who knows the gateway's
/// hardware address; then says so, and goes on without end. Its arguments are that address, and whether it
/// makes its addresses known by ARP first.
const FLOOD: &str = r#"
import socket, struct, sys
gateway, is_known = bytes.fromhex(sys.argv[1].replace(":", "")), sys.argv[2] == "known"
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
to = bytes((198, 51, 100, 99))
def fold(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return total
def source(number): return bytes((192, 168, 1, 240 + number)), bytes((2, 0, 0, 9, 9, number))
def ip(source, protocol, length):
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, protocol, 0) + source + to
    return header[:10] + struct.pack("!H", 0xffff ^ fold(header)) + header[12:]
def packets(number):
    address, mac = source(number)
    link = gateway + mac + b"\x08\0"
    syn, datagram = link + ip(address, 6, 20), link + ip(address, 17, 8)
    rest = struct.pack("!HIIBBH", 80, 1, 0, 0x50, 2, 64000)
    base = fold(address + to + struct.pack("!HH", 6, 20) + rest + b"\0\0\0\0")
    for port in range(20001, 35001):
        total = base + port
        total = (total & 0xffff) + (total >> 16)
        yield syn + struct.pack("!H", port) + rest + struct.pack("!HH", 0xffff ^ total, 0)
        yield datagram + struct.pack("!HHHH", port, 53, 8, 0)
if is_known:
    for number in range(6):
        address, mac = source(number)
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + bytes(6) + bytes((192, 168, 1, 1))
        raw.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)
while True:
    for number in range(6):
        for packet in packets(number):
            try: raw.send(packet)
            except OSError: pass
    print("flooded", flush=True)
"#;

/// Opens 100 connections to a server, and prints how many it got.
const CONNECTIONS: &str = r#"
import socket, sys
got = 0
for _ in range(100):
    try:
        socket.create_connection((sys.argv[1], 80), timeout=3).close()
        got += 1
    except OSError as error: print(error, file=sys.stderr)
print(got)
"#;

/// Answers every question by the address that is its second argument, on port 53 of the first.
const NAME_SERVER: &str = r#"
import socket, sys
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind((sys.argv[1], 53))
while True:
    question, client = names.recvfrom(512)
    end = question.index(b"\0", 12) + 5
    answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(sys.argv[2])
    names.sendto(question[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + question[12:end] + answer, client)
"#;

fn a_flood_of_forged_addresses_starves_nobody(is_known: &str) {
    // Of four workers each has a fourth of the ports and of the room.
    let workers = if crate::profile().workers > 1 { 4 } else { 1 };
    // The limit of one address shall not be what keeps the flood from taking all ports.
    let settings =
        format!("dns.upstream = ['{ISP}']\nsystem.workers = {workers}\nnat.max_flows_per_host = 65536");
    let office = Office::new(2, &settings);
    let _server = WebServer::start(&office.internet, 80);
    let directory = Directory::new();
    let [flood, connections, name_server, names] =
        ["flood.py", "connections.py", "names.py", "names"].map(|name| directory.join(name));
    fs::write(&name_server, NAME_SERVER).expect("it can be written");
    fs::write(&flood, FLOOD).expect("it can be written");
    fs::write(&connections, CONNECTIONS).expect("it can be written");
    let _names = office.internet.spawn(&format!("/usr/bin/python3 {} {ISP} {SERVER}", name_server.display()));
    wait_for_listener(&office.internet, "udp", 53);
    // The gateway is asked for its hardware address.
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(WAN));
    let mac = office.pc(1).sh(&format!("ip neigh show {LAN} | grep -o '[0-9a-f:]\\{{17\\}}'"));
    let mut flood =
        office.pc(1).spawn(&format!("/usr/bin/python3 {} {} {is_known}", flood.display(), mac.trim()));
    assert_eq!(flood.hear(), "flooded");
    // Not all of the flood has come through yet.
    let recycled = || office.gateway().show("counters")["flows_recycled"].as_u64();
    let exhausted = || office.gateway().drops().get("ports-exhausted").copied();
    eventually("a flood that needs more than there is", || {
        recycled().filter(|count| *count > 0).or_else(exhausted)
    });
    // The flooder's own machine shares its cable with the flood.
    let got = office.pc(2).sh(&format!("/usr/bin/python3 {} {SERVER}", connections.display()));
    assert_eq!(got.trim(), "100", "connections of the other host");
    let lines: String = (0..100).map(|number| format!("n{number}.flood.example\n")).collect();
    fs::write(&names, lines).expect("it can be written");
    let answers = office.pc(2).sh(&format!("dig @{LAN} +short -f {}", names.display()));
    assert_eq!(answers.lines().filter(|line| *line == SERVER.to_string()).count(), 100, "{answers}");
    assert_eq!(office.gateway().drops().get("ports-exhausted"), None);
}

#[test]
fn a_flood_of_forged_addresses_that_arp_does_not_know_starves_nobody() {
    a_flood_of_forged_addresses_starves_nobody("unknown");
}

#[test]
fn a_flood_of_forged_addresses_that_arp_knows_starves_nobody() {
    a_flood_of_forged_addresses_starves_nobody("known");
}
