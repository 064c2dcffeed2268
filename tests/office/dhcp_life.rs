//! What a lease rarely goes through, with real DHCP clients: renewals that are lost, a refusal, an address in use, a
//! client that starts again, an attacker that takes all addresses. And the gateway's own client at busybox udhcpd.

use std::fs;
use std::net::Ipv4Addr;

use nix::sys::signal::Signal;

use crate::dhcp::{Client, lease_of, networkd};
use crate::harness::{Directory, ISP, LAN, Namespace, Office, eventually};
use crate::wan::{Provider, wait_for_wan_address};

/// The address that [`reserve`] reserves for PC 1.
const RESERVED: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

/// Loses what the PC sends to the gateway alone: the frames go to a MAC that nobody has. Broadcasts arrive.
fn lose_unicast(pc: &Namespace) {
    pc.sh(&format!("ip neighbor replace {LAN} lladdr 02:00:00:00:99:99 nud permanent dev eth0"));
}

/// Reserves another address for PC 1 than it has, so that its next renewal is refused.
fn reserve(office: &Office) {
    let reservation =
        format!("dhcp.reservations = [{{ mac = '02:00:00:00:01:01', address = '{RESERVED}' }}]");
    office.gateway().setup().edit("dhcp.lease_secs", &format!("{reservation}\ndhcp.lease_secs"));
    assert!(office.gateway().reload().status.success());
}

/// Waits until PC 1 has the address and the gateway its lease, under this name.
fn wait_for_lease(office: &Office, hostname: &str, address: Ipv4Addr) {
    eventually(&format!("the lease of {address}"), || {
        let lease = lease_of(office.gateway(), hostname)?;
        let addresses = office.pc(1).sh("ip -4 -o address show dev eth0");
        (lease["address"] == address.to_string() && addresses.contains(&format!(" {address}/"))).then_some(())
    });
}

/// RFC 2131, section 4.3.2 (REBINDING): udhcpc keeps its address by broadcasts, and gives it up after a NAK.
#[test]
fn udhcpc_rebinds_and_starts_over_after_a_refusal() {
    let office = Office::bare(1, "dhcp.lease_secs = 60");
    let client = Client::udhcpc(office.pc(1), "anna");
    let address = client.note("bound", 0).address();
    lose_unicast(office.pc(1));
    client.process.signal(Signal::SIGUSR1);
    assert_eq!(client.note("renew", 0).address(), address);
    reserve(&office);
    client.process.signal(Signal::SIGUSR1);
    client.note("nak", 0);
    assert_eq!(client.note("bound", 1).address(), RESERVED);
    wait_for_lease(&office, "anna", RESERVED);
}

/// RFC 2131, section 4.3.2 (REBINDING): dhclient keeps its address by broadcasts, and gives it up after a NAK.
#[test]
fn dhclient_rebinds_and_starts_over_after_a_refusal() {
    let office = Office::bare(1, "dhcp.lease_secs = 60");
    let times = "supersede dhcp-renewal-time 2; supersede dhcp-rebinding-time 4;";
    let client = Client::dhclient_with(office.pc(1), "berta", times);
    let address = client.note("bound", 0).address();
    lose_unicast(office.pc(1));
    // A renewal may have been on its way. dhclient calls all of them RENEW.
    for index in 0..2 {
        assert_eq!(client.note("renew", index).address(), address);
    }
    reserve(&office);
    assert_eq!(client.note("bound", 1).address(), RESERVED);
    wait_for_lease(&office, "berta", RESERVED);
}

/// RFC 2131, section 4.3.2 (REBINDING): dhcpcd keeps its address by broadcasts, and gives it up after a NAK.
#[test]
fn dhcpcd_rebinds_and_starts_over_after_a_refusal() {
    let office = Office::bare(1, "dhcp.lease_secs = 16");
    let client = Client::dhcpcd_with(office.pc(1), "clara", "noarp\n");
    let address = client.note("bound", 0).address();
    lose_unicast(office.pc(1));
    assert_eq!(client.note("rebind", 0).address(), address);
    reserve(&office);
    client.note("nak", 0);
    assert_eq!(client.note("bound", 1).address(), RESERVED);
    wait_for_lease(&office, "clara", RESERVED);
}

/// RFC 2131, section 4.3.2 (REBINDING): systemd-networkd keeps its address by broadcasts, and gives it up after a NAK.
#[test]
fn systemd_networkd_rebinds_and_starts_over_after_a_refusal() {
    // T2 is two seconds before the end; networkd shortens its times by up to one.
    let office = Office::bare(1, "dhcp.lease_secs = 16");
    let (_client, directory) = networkd(office.pc(1), "doris");
    let lease = eventually("a lease", || lease_of(office.gateway(), "doris"));
    let address = lease["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    wait_for_lease(&office, "doris", address);
    lose_unicast(office.pc(1));
    eventually("an answered broadcast", || {
        let log = directory.read("log");
        let (_, rebinding) = log.split_once("REQUEST (rebinding)")?;
        rebinding.contains("client: ACK").then_some(())
    });
    wait_for_lease(&office, "doris", address);
    reserve(&office);
    eventually("a refusal", || directory.read("log").contains("client: NAK").then_some(()));
    wait_for_lease(&office, "doris", RESERVED);
}

/// RFC 2131, section 4.3.2 (INIT-REBOOT): dhcpcd that starts again is confirmed the address that it remembers.
/// RFC 2131, section 4.3.3: dhcpcd declines the address once another host has it, and gets another.
#[test]
fn dhcpcd_starts_again_and_declines() {
    let office = Office::bare(2, "");
    let pc = office.pc(1);
    let client = Client::dhcpcd_with(pc, "clara", "");
    let address = client.note("bound", 0).address();
    let client = client.again(pc);
    assert_eq!(client.note("bound", 1).address(), address);
    assert!(client.log().contains(&format!("rebinding lease of {address}")), "{}", client.log());

    pc.sh("ip address flush dev eth0");
    office.pc(2).sh(&format!("ip address add {address}/24 dev eth0"));
    let client = client.again(pc);
    assert_ne!(client.note("bound", 2).address(), address);
    eventually("a probe of the declined address that is answered", || {
        office.gateway().log().contains("declined: another host uses the address").then_some(())
    });
}

/// RFC 2131, section 4.3.3: dhclient declines an address if its script finds a host that has it, and gets another.
#[test]
fn dhclient_declines_what_its_script_refuses() {
    let office = Office::bare(2, "");
    let pc = office.pc(1);
    let client = Client::dhclient(pc, "berta");
    let address = client.note("bound", 0).address();
    client.refuse_conflicts();
    pc.sh("ip address flush dev eth0");
    office.pc(2).sh(&format!("ip address add {address}/24 dev eth0"));
    let client = client.again(pc);
    assert_ne!(client.note("bound", 1).address(), address);
    eventually("a probe of the declined address that is answered", || {
        office.gateway().log().contains("declined: another host uses the address").then_some(())
    });
}

/// Takes addresses for hardware addresses that it makes up, each by DISCOVER and REQUEST, without end. Prints how many
/// it has whenever no server has offered it another.
const STARVE: &str = r#"
import random
from scapy.all import *
conf.verb = 0
wire = conf.L2socket(iface="eth0", filter="udp and src port 67")
def send(mac, options):
    wire.send(Ether(dst="ff:ff:ff:ff:ff:ff", src=mac) / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) /
              BOOTP(chaddr=mac2str(mac), xid=random.getrandbits(32), flags=0x8000) / DHCP(options=options + ["end"]))
taken = 0
while True:
    for _ in range(10): send(str(RandMAC("02:*:*:*:*:*")), [("message-type", "discover")])
    heard = {2: 0, 5: 0}
    def hear(answer):
        global taken
        options = dict(option[:2] for option in answer[DHCP].options if isinstance(option, tuple))
        kind = options["message-type"]
        heard[kind] = heard.get(kind, 0) + 1
        if kind == 2:
            send(str2mac(answer[BOOTP].chaddr[:6]), [("message-type", "request"), ("requested_addr", answer[BOOTP].yiaddr),
                                                     ("server_id", options["server_id"])])
        if kind == 5: taken += 1
    sniff(opened_socket=wire, prn=hear, timeout=3)
    if heard == {2: 0, 5: 0}: print(taken, flush=True)
"#;

/// Of the pool's addresses.
const THREE_QUARTERS: &str = "12";

#[test]
fn a_port_that_takes_all_the_addresses_it_can_leaves_some_to_others() {
    let office = Office::bare(
        4,
        "dhcp.pool = '192.168.1.50-192.168.1.65'
         dhcp.reservations = [{ mac = '02:00:00:00:01:03', address = '192.168.1.20' }]",
    );
    let known = Client::udhcpc(office.pc(1), "anna");
    let address = known.note("bound", 0).address();
    let directory = Directory::new();
    fs::write(directory.join("starve.py"), STARVE).expect("it can be written");
    let mut attacker =
        office.pc(2).spawn(&format!("/usr/bin/python3 {}", directory.join("starve.py").display()));
    // A busy gateway may have been silent for a while before.
    assert!((0..10).any(|_| attacker.hear() == THREE_QUARTERS));
    assert_eq!(attacker.hear(), THREE_QUARTERS);

    known.process.signal(Signal::SIGUSR1);
    assert_eq!(known.note("renew", 0).address(), address);
    let reserved = Client::udhcpc(office.pc(3), "printer");
    assert_eq!(reserved.note("bound", 0).address(), RESERVED);
    let new = Client::dhclient(office.pc(4), "berta").note("bound", 0).address();
    assert!((50..=65).contains(&new.octets()[3]), "{new}");
}

/// RFC 5227, section 2.1: An address that another machine of the provider's has is declined, and udhcpd gives another.
#[test]
fn rfc5227_2_1_the_gateway_declines_what_another_has_and_udhcpd_gives_another() {
    // Of two addresses, udhcpd offers the first to a MAC that is an even number.
    let office = Office::new(1, "wan.address = 'dhcp'\nwan.mac = '02:00:00:00:00:20'");
    let [taken, free] = [77, 78].map(|host| Ipv4Addr::new(203, 0, 113, host));
    // udhcpd's own machine: a server does not hear itself answer its probes.
    office.internet.sh(&format!("ip address add {taken}/32 dev lo"));
    let options = format!("end {free}\nmax_leases 2\noption subnet 255.255.255.0\noption router {ISP}\n");
    let _provider = Provider::with_options(&office, taken, 3600, &options);
    wait_for_wan_address(&office, free);
    let log = office.gateway().log();
    assert!(log.contains(&format!("its lease is declined: {taken} is in use by 02:00:00:00:02:01")), "{log}");
}
