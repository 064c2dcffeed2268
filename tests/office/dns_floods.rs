//! Floods of queries by one machine, while the others are answered.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::harness::programs::{udp_socket, wait_for_listener};
use crate::harness::{Background, DOMAIN, Directory, ISP, LAN, Namespace, Office, WAN};

/// A name server that answers names with `good` in them and no others.
const SERVER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
while True:
    query, client = s.recvfrom(4096)
    end = query.index(b"\0", 12) + 5
    if b"good" in query[12:end]:
        answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton("198.51.100.80")
        s.sendto(query[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + query[12:end] + answer, client)
"#;

/// Asks for names of which `%d` is a number, 500 a second, from addresses of which `%d` is a number from 120 to 249;
/// says so when there were enough for the tables to be full.
const FLOOD: &str = r#"
import socket, struct, sys, time
gateway, source, name = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
n = 0
while True:
    n += 1
    labels = (name.replace("%d", str(n))).encode().split(b".")
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0\0\x01\0\x01"
    query = struct.pack("!6H", n & 0xffff, 0x100, 1, 0, 0, 0) + question
    udp = struct.pack("!4H", 1024 + n % 60000, 53, 8 + len(query), 0) + query
    addresses = socket.inet_aton(source.replace("%d", str(120 + n % 130))) + socket.inet_aton(gateway)
    s.sendto(struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 17, 0) + addresses + udp, (gateway, 0))
    if n == 500:
        print("full", flush=True)
    time.sleep(0.002)
"#;

/// A python program that runs in `namespace`: its name and its text.
fn python(
    namespace: &Namespace,
    directory: &Directory,
    (name, text): (&str, &str),
    arguments: &str,
) -> Background {
    let script = directory.join(name);
    fs::write(&script, text).expect("it can be written");
    namespace.spawn(&format!("/usr/bin/python3 {} {arguments}", script.display()))
}

/// How many of a hundred new names `client` can resolve. A query that was lost on the way
/// is asked again, one that failed is not.
fn resolved(client: &Namespace, directory: &Directory, options: &str, names: &str) -> usize {
    let list: String = (0..100).map(|n| format!("{}\n", names.replace("%d", &n.to_string()))).collect();
    let file = directory.join("names");
    fs::write(&file, list).expect("it can be written");
    let line = format!("dig @{LAN} +time=3 +tries=3 +short {options} -f {}", file.display());
    client.sh(&line).lines().filter(|line| line.parse::<Ipv4Addr>().is_ok()).count()
}

/// Two PCs, of which the second has a reservation, and a silent provider but for good names.
fn office(directory: &Directory) -> (Office, Background) {
    let settings = format!(
        "dns.upstream = ['{ISP}']
         dhcp.reservations = [{{ mac = '02:00:00:00:01:02', address = '{}' }}]",
        Office::address(2)
    );
    let office = Office::new(2, &settings);
    let server = python(&office.internet, directory, ("server.py", SERVER), &ISP.to_string());
    wait_for_listener(&office.internet, "udp", 53);
    (office, server)
}

#[test]
fn a_flood_of_silent_names_takes_no_names_from_others() {
    let directory = Directory::new();
    let (office, _server) = office(&directory);
    let own = Office::address(1).to_string();
    for (round, source, name) in [
        ("zone", own.as_str(), "n%d.silent.example"),
        ("zones", own.as_str(), "www.silent%d.example"),
        ("forged", "192.168.1.%d", "www.forged%d.example"),
    ] {
        let mut flood =
            python(office.pc(1), &directory, ("flood.py", FLOOD), &format!("{LAN} {source} {name}"));
        assert_eq!(flood.hear(), "full");
        let names = format!("www.good%d-{round}.example");
        assert_eq!(resolved(office.pc(2), &directory, "", &names), 100, "{round}");
    }
    for share in ["zone_share_full", "client_share_full"] {
        assert!(counted(&office, share) > 0, "{share}");
    }
}

/// The value of a counter of the gateway's DNS service.
fn counted(office: &Office, counter: &str) -> u64 {
    office.gateway().show("counters")["dns"][counter].as_u64().expect("a number")
}

#[test]
fn idle_tcp_connections_of_one_host_close_tcp_for_nobody() {
    let directory = Directory::new();
    let (office, _server) = office(&directory);
    let connect = || TcpStream::connect((LAN, 53)).expect("the gateway listens");
    let mut idle = Vec::new();
    for count in [64, 300] {
        office.pc(1).enter(|| idle.resize_with(count, connect));
        let names = format!("www.good%d-{count}.example");
        assert_eq!(resolved(office.pc(2), &directory, "+tcp", &names), 100, "beside {count} idle ones");
    }
    assert!(counted(&office, "connections_recycled") > 0);
}

#[test]
fn what_is_asked_in_the_name_of_a_victim_is_mostly_not_answered() {
    let office = Office::new(1, "firewall.wan_services = ['dns']");
    let victim = udp_socket(&office.internet, (ISP, 0));
    let query: Vec<u8> = [
        b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www".as_slice(),
        &DOMAIN
            .split('.')
            .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
            .collect::<Vec<_>>(),
        b"\0\0\x01\0\x01",
    ]
    .concat();
    let (mut whole, mut truncated) = (0, 0);
    let mut count = |answer: &[u8]| match answer[2] & 2 {
        0 => whole += 1,
        _ => truncated += 1,
    };
    let mut buffer = [0; 1024];
    const BURSTS: usize = 100;
    const QUESTIONS: usize = 50 * BURSTS;
    for _ in 0..BURSTS {
        for _ in 0..QUESTIONS / BURSTS {
            victim.send_to(&query, (WAN, 53)).expect("the provider reaches the gateway");
        }
        // Before there are more than the socket keeps.
        victim.set_nonblocking(true).expect("a socket has modes");
        while let Ok(len) = victim.recv(&mut buffer) {
            count(&buffer[..len]);
        }
        victim.set_nonblocking(false).expect("a socket has modes");
    }
    victim.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket has a timeout");
    loop {
        match victim.recv(&mut buffer) {
            Ok(len) => count(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(whole > 0 && truncated > 0 && whole + truncated < QUESTIONS / 2, "{whole} and {truncated}");
    // The counter includes answers that were lost on their path to the victim.
    assert!(counted(&office, "rate_limited_truncated") >= u64::try_from(truncated).expect("not so many"));
    assert!(counted(&office, "rate_limited") > 0);
    // Over TCP there is an answer all the same.
    let answer = office.internet.sh(&format!("dig @{WAN} +tcp +short www.{DOMAIN}"));
    assert_eq!(answer.trim_end(), WAN.to_string());
}
