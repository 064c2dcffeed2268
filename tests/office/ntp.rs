//! The time for real clients on the LAN: ntpdig, chronyd, ntplib, toybox, systemd-timesyncd. They ask, and set no
//! clock.

use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::programs::{name_server, udp_socket, wait_for_listener};
use crate::harness::{Background, Directory, ISP, LAN, Office, SERVER, WAN, eventually};

/// chrony's daemon. Installed, it would keep this machine's clock, so `./dev setup` unpacks it there.
const CHRONYD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/chrony/usr/sbin/chronyd");

/// A program of many programs, a client for SNTP among them.
const TOYBOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/toybox/bin/toybox");

/// systemd's client. Installed, it would keep this machine's clock.
const TIMESYNCD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/timesyncd/lib/systemd/systemd-timesyncd");

/// What the gateway has counted of its time server.
fn counters(office: &Office) -> Value {
    service(office)["counters"].clone()
}

fn service(office: &Office) -> Value {
    let report = office.gateway().show("services");
    let services = report["services"].as_array().expect("a list");
    services.iter().find(|service| service["name"] == "ntp").expect("it is in the list").clone()
}

/// The stratum in answers, which depends on this machine's clock.
fn stratum(office: &Office) -> u64 {
    match service(office)["note"].as_str() {
        None => 4,
        Some(note) => {
            assert!(note.starts_with("unsynchronised"), "{note}");
            10
        }
    }
}

#[test]
fn ntpdig_takes_the_time() {
    let office = Office::new(1, "");
    let told = office.pc(1).sh(&format!("ntpdig -j -t 10 {LAN}"));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["stratum"], &told["leap"]), (&stratum(&office).into(), &"no-leap".into()), "{told}");
    // Both clocks are this machine's: what differs is on the way.
    assert!(told["offset"].as_f64().is_some_and(|offset| offset.abs() < 10.0), "{told}");
}

#[test]
fn chronyd_takes_the_time_and_tells_by_how_much_its_clock_is_wrong() {
    let office = Office::new(1, "");
    let directory = Directory::new();
    let home = directory.path().display();
    // -Q sets nothing.
    let told = office.pc(1).sh(&format!(
        "{CHRONYD} -Q -u root -t 60 'server {LAN} iburst' 'pidfile {home}/pid' 'cmdport 0' \
         'bindcmdaddress {home}/socket' 2>&1"
    ));
    assert!(told.contains("System clock wrong by"), "{told}");
    assert!(told.contains("(ignored)"), "{told}");
}

#[test]
fn ntplib_takes_the_time_in_each_version() {
    let office = Office::new(1, "");
    for version in 1..=4 {
        let told = office.pc(1).sh(&format!(
            "/usr/bin/python3 -c \"
import ntplib
told = ntplib.NTPClient().request('{LAN}', version={version}, timeout=10)
print(told.version, told.mode, told.leap, told.stratum, abs(told.offset) < 10, told.root_delay)\""
        ));
        assert_eq!(told.trim(), format!("{version} 4 0 {} True 0.0", stratum(&office)));
    }
}

#[test]
fn toyboxs_sntp_takes_the_time() {
    let office = Office::new(1, "");
    // Without -s and -a it shows the time, and by how much its clock is wrong.
    let told = office.pc(1).sh(&format!("{TOYBOX} sntp {LAN} 2>&1"));
    assert!(told.contains("offset"), "{told}");
}

#[test]
fn systemd_timesyncd_takes_the_time() {
    let office = Office::new(1, "");
    let directory = Directory::new();
    let log = directory.join("log");
    // The client has no capability, and can get none back, so the kernel refuses it to set the clock. /run, with the
    // client's configuration, is its own: it reaches no D-Bus.
    let script = directory.script(
        "client",
        &format!(
            "mount -t tmpfs tmpfs /run\n\
             mkdir -p /run/systemd/timesyncd.conf.d\n\
             printf '[Time]\\nNTP={LAN}\\n' >/run/systemd/timesyncd.conf.d/office.conf\n\
             export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console\n\
             exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all \
             {TIMESYNCD} >{} 2>&1\n",
            log.display()
        ),
    );
    let _client = office.pc(1).spawn(&format!("unshare --mount {script}"));
    let told = eventually("it takes the time", || {
        let log = directory.read("log");
        log.contains("Contacted time server").then_some(log)
    });
    assert!(told.contains(&format!("stratum      : {}", stratum(&office))), "{told}");
    assert!(told.contains("clock_adjtime(): Operation not permitted"), "it set no clock: {told}");
}

/// Asks `server` from the first PC in `mode`; what comes back, if anything does.
fn asked(office: &Office, server: Ipv4Addr, mode: u8) -> Option<Vec<u8>> {
    let socket = udp_socket(office.pc(1), (Office::address(1), 0));
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it can wait");
    let mut request = [0; 48];
    (request[0], request[47]) = (3 << 3 | mode, 7);
    socket.send_to(&request, (server, 123)).expect("it can be sent");
    let mut buffer = [0; 2_048];
    let (len, from) = socket.recv_from(&mut buffer).ok()?;
    assert_eq!(from, (server, 123).into());
    Some(buffer[..len].to_vec())
}

/// RFC 4330, section 6: Windows sends symmetric active requests, unless it is configured as a client.
#[test]
fn rfc4330_6_who_asks_as_a_peer_takes_the_time() {
    let office = Office::new(1, "");
    let told = asked(&office, LAN, 1).expect("an answer");
    assert_eq!((told.len(), told[0], told[31]), (48, 3 << 3 | 2, 7), "{told:?}");
}

#[test]
fn the_lan_may_ask_at_the_address_on_the_wan_and_the_wan_only_where_ntp_is_listed() {
    for (settings, expected) in [("", None), ("firewall.wan_services = ['ntp']", Some(48))] {
        let office = Office::new(1, settings);
        assert_eq!(asked(&office, WAN, 3).map(|told| told.len()), Some(48), "{settings}");
        let told = office.internet.sh(&format!(
            "printf '\\043%047d' 0 | timeout 5 socat -t 2 - UDP4:{WAN}:123 2>/dev/null | wc -c"
        ));
        assert_eq!(told.trim(), expected.unwrap_or(0).to_string(), "{settings}");
    }
}

#[test]
fn without_a_local_stratum_clients_are_told_of_an_unsynchronised_clock() {
    let office = Office::new(1, "ntp.local_stratum = 0");
    if service(&office)["note"].is_null() {
        // This machine's clock is synchronised.
        return;
    }
    let told = office.pc(1).sh(&format!(
        "/usr/bin/python3 -c \"
import ntplib
told = ntplib.NTPClient().request('{LAN}', version=4, timeout=10)
print(told.leap, told.stratum)\""
    ));
    assert_eq!(told.trim(), "3 16");
}

/// A time server at [`SERVER`] whose time is an hour ahead; it is of stratum 5.
const HOUR_AHEAD: &str = "/usr/bin/python3 -c '
import socket, struct, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((\"198.51.100.80\", 123))
while True:
    asked, client = server.recvfrom(512)
    now = int((time.time() + 3600 + 2208988800) * 2**32)
    head = struct.pack(\">BBBb\", 0x24, 5, 6, -20) + struct.pack(\">III\", 0, 64, 0x7f000001)
    server.sendto(head + struct.pack(\">Q8sQQ\", now, asked[40:48], now, now), client)'";

/// An office whose gateway asks `source`, by which it finds the time server `program` at [`SERVER`], once it follows
/// that; `None` if a daemon disciplines this machine's clock, so that the client asks no server.
fn following(source: &str, program: &str) -> Option<(Office, [Background; 2])> {
    let mut office = Office::new(1, &format!("ntp.servers = ['{source}']\ndns.upstream = ['{ISP}']"));
    service(&office)["note"].as_str()?;
    let names = name_server(&office.internet, &format!("--host-record=time.example,{SERVER}"));
    let server = office.internet.spawn(program);
    wait_for_listener(&office.internet, "udp", 123);
    // It asks at its start.
    let (_, setup) = office.stop(Signal::SIGTERM);
    office.start(setup);
    office.give_static_addresses();
    eventually("the time server is followed", || {
        let note = service(&office)["note"].as_str()?.to_owned();
        note.starts_with(&format!("synchronised to {SERVER}: 1 of 1 sources agree")).then_some(())
    });
    Some((office, [names, server]))
}

#[test]
fn the_lan_is_told_the_time_of_a_server_elsewhere_while_nobody_keeps_the_clock() {
    for source in [SERVER.to_string().as_str(), "time.example"] {
        let Some((office, _servers)) = following(source, HOUR_AHEAD) else { return };
        let told = office.pc(1).sh(&format!("ntpdig -j -t 10 {LAN}"));
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&told["stratum"], &told["leap"]), (&6.into(), &"no-leap".into()), "{source}: {told}");
        // The announced error is less than 2 s, or the clock would not count as synchronised.
        assert!(
            told["offset"].as_f64().is_some_and(|offset| (offset - 3_600.0).abs() < 2.0),
            "{source}: {told}"
        );
        assert!(counters(&office)["source_answers"].as_u64() >= Some(1));
        let note = service(&office)["note"].as_str().expect("it is noted").to_owned();
        assert!(note.ends_with("s behind"), "{note}");
    }
}

#[test]
fn chronyd_is_followed() {
    let directory = Directory::new();
    let home = directory.path().display();
    // -x sets nothing.
    let chronyd = format!(
        "{CHRONYD} -x -d -u root 'local stratum 8' 'allow all' 'bindaddress {SERVER}' 'pidfile {home}/pid' \
         'cmdport 0' 'bindcmdaddress {home}/socket' 2>/dev/null"
    );
    let Some((office, _servers)) = following(&SERVER.to_string(), &chronyd) else { return };
    let told = office.pc(1).sh(&format!("ntpdig -j -t 10 {LAN}"));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["stratum"], 9, "{told}");
}

#[test]
fn udhcpc_is_told_of_the_time_server_while_there_is_one() {
    for (settings, expected) in [("", LAN.to_string()), ("ntp.enabled = false", String::new())] {
        let office = Office::bare(1, settings);
        let directory = Directory::new();
        let script = directory.script("script", "[ \"$1\" != bound ] || echo \"$ntpsrv\" >\"$NOTES\"");
        let notes = directory.join("notes");
        office.pc(1).sh(&format!(
            "NOTES={} busybox udhcpc -f -q -n -i eth0 -t 10 -T 1 -A 1 -O ntpsrv -s {script} 2>&1",
            notes.display()
        ));
        assert_eq!(directory.read("notes").trim(), expected, "{settings}");
    }
}

#[test]
fn a_flood_in_anothers_name_sends_him_little() {
    /// Requests of a client, and of ntpq and ntpdc.
    const FLOOD: u64 = 3_000;
    let office = Office::new(2, "");
    let victim = udp_socket(office.pc(2), (Office::address(2), 20_000));
    victim.set_read_timeout(Some(Duration::from_secs(2))).expect("it can wait");
    // The victim is known to the gateway.
    office.pc(2).sh(&format!("ping -c 1 -W 5 {LAN}"));
    let directory = Directory::new();
    for (name, first) in [("client", 0x23_u8), ("ntpq", 0x26), ("ntpdc", 0x27)] {
        let mut packet = vec![0; 48];
        packet[0] = first;
        std::fs::write(directory.join(name), packet).expect("it can be written");
        let file = directory.join(name);
        // hping3 fails, as it gets no answer.
        office.pc(1).try_sh(&format!(
            "hping3 -q -2 -a {} -s 20000 -k -p 123 -d 48 -E {} -c {} -i u500 {LAN}",
            Office::address(2),
            file.display(),
            FLOOD / 3
        ));
    }
    eventually("the flood has come", || (counters(&office)["requests"].as_u64()? >= FLOOD / 2).then_some(()));
    let (mut packets, mut buffer) = (0, [0; 2_048]);
    while let Ok(len) = victim.recv(&mut buffer) {
        assert_eq!(len, 48);
        packets += 1;
    }
    let counted = counters(&office);
    let count = |name: &str| counted[name].as_u64().expect("a number");
    assert_eq!(packets, count("answered") + count("kisses_sent"), "{counted}");
    assert!(packets < FLOOD / 10, "{counted}");
    assert!(count("other_modes") > 0 && count("rate_limited") > 0, "{counted}");
}
