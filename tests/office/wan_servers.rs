//! The whole life of a lease from servers that providers run: ISC dhcpd, Kea and dnsmasq.

use std::env::consts::ARCH;
use std::fs;
use std::net::Ipv4Addr;

use crate::harness::programs::{WebServer, curl, wait_for_listener};
use crate::harness::{Background, Directory, ISP, Namespace, Office, SERVER, eventually};
use crate::wan::wait_for_wan_address;

/// ISC's server. `./dev setup` unpacks it and Kea there, as their packages would start services.
const DHCPD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/dhcpd/usr/sbin/dhcpd");
const KEA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/kea/usr");

/// The lease time, T1 and T2 in seconds. The lease time is dnsmasq's least, and T2 leaves a server the time to start.
const TIMES: [u32; 3] = [120, 4, 14];

/// The two addresses that a server knows, of which it leases one at a time.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 77), Ipv4Addr::new(203, 0, 113, 78)];

/// The most messages that pass before one that is waited for.
const OTHERS_MAX: usize = 40;

/// A kind of server.
#[derive(Clone, Copy)]
enum Kind {
    Dhcpd,
    Kea,
    Dnsmasq,
}

impl Kind {
    /// Starts the server in `internet` with its files in `home`, leasing `address` alone.
    fn start(self, internet: &Namespace, home: &Directory, address: Ipv4Addr) -> Background {
        let [lease, t1, t2] = TIMES;
        let path = home.path().display();
        let line = match self {
            Self::Dhcpd => {
                // It refuses an address of a pool that it keeps from the client, and is silent about any other.
                let pools = ADDRESSES.map(|pool| {
                    let access = if pool == address { "allow" } else { "deny" };
                    format!("pool {{ {access} all clients; range {pool}; }}\n")
                });
                let config = format!(
                    "authoritative;\nping-check false;\ndefault-lease-time {lease};\nmax-lease-time {lease};\n\
                     option dhcp-renewal-time {t1};\noption dhcp-rebinding-time {t2};\n\
                     subnet 203.0.113.0 netmask 255.255.255.0 {{\noption routers {ISP};\n{} }}\n",
                    pools.concat()
                );
                fs::write(home.join("conf"), config).expect("it can be written");
                fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(home.join("leases"))
                    .expect("it can be made");
                format!("{DHCPD} -4 -d -cf {path}/conf -lf {path}/leases -pf {path}/pid eth0 2>>{path}/log")
            }
            Self::Kea => {
                // It refuses an address that another client has reserved, and is silent about one that is in no pool.
                let [first, last] = ADDRESSES;
                let kept_back = if address == first { last } else { first };
                let config = serde_json::json!({ "Dhcp4": {
                    "authoritative": true,
                    "interfaces-config": { "interfaces": ["eth0"] },
                    "lease-database": { "type": "memfile", "name": format!("{path}/leases"), "lfc-interval": 0 },
                    "valid-lifetime": lease,
                    "renew-timer": t1,
                    "rebind-timer": t2,
                    "subnet4": [{
                        "subnet": "203.0.113.0/24",
                        "pools": [{ "pool": format!("{first} - {last}") }],
                        "reservations": [{ "hw-address": "02:00:00:00:00:99", "ip-address": kept_back }],
                        "option-data": [{ "name": "routers", "data": ISP.to_string() }],
                    }],
                    "loggers": [{
                        "name": "kea-dhcp4",
                        "severity": "INFO",
                        "output_options": [{ "output": format!("{path}/log") }],
                    }],
                }});
                fs::write(home.join("conf"), config.to_string()).expect("it can be written");
                format!(
                    "env LD_LIBRARY_PATH={KEA}/lib/{ARCH}-linux-gnu KEA_PIDFILE_DIR={path} KEA_LOCKFILE_DIR={path} \
                     {KEA}/sbin/kea-dhcp4 -c {path}/conf >>{path}/output"
                )
            }
            Self::Dnsmasq => format!(
                "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --pid-file --port=0 --interface=eth0 \
                 --dhcp-authoritative --no-ping --log-facility={path}/log --dhcp-leasefile={path}/leases \
                 --dhcp-range={address},{address},255.255.255.0,{lease} --dhcp-option=option:router,{ISP} \
                 --dhcp-option=option:T1,{t1} --dhcp-option=option:T2,{t2}"
            ),
        };
        let process = internet.spawn(&line);
        wait_for_listener(internet, "udp", 67);
        process
    }
}

/// The DHCP messages on the provider's segment.
struct Wire {
    process: Background,
    _directory: Directory,
}

impl Wire {
    fn listen(internet: &Namespace) -> Self {
        let directory = Directory::new();
        let script = directory.join("dhcp_wire.py");
        fs::write(&script, include_str!("dhcp_wire.py")).expect("it can be written");
        let mut process = internet.spawn(&format!("/usr/bin/python3 {}", script.display()));
        assert_eq!(process.hear(), "listening");
        Self { process, _directory: directory }
    }

    /// Waits for these messages, in this order; others may come before each of them, which it returns.
    fn hear(&mut self, messages: &[&str]) -> Vec<String> {
        let mut others = Vec::new();
        for expected in messages {
            loop {
                let message = self.process.hear();
                if message == *expected {
                    break;
                }
                let goes_on = !message.is_empty() && others.len() < OTHERS_MAX;
                assert!(goes_on, "in vain waited for {expected}: {others:?}");
                others.push(message);
            }
        }
        others
    }
}

/// Waits for the WAN's address, and fetches a page by it.
fn assert_online(office: &Office, address: Ipv4Addr) {
    wait_for_wan_address(office, address);
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(address));
}

fn assert_a_lease_has_its_whole_life(kind: Kind) {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let _pages = WebServer::start(&office.internet, 80);
    let mut wire = Wire::listen(&office.internet);
    let home = Directory::new();
    let [first, second] = ADDRESSES;

    let server = kind.start(&office.internet, &home, first);
    wire.hear(&["DISCOVER broadcast", "OFFER 203.0.113.77", "REQUEST broadcast", "ACK 203.0.113.77"]);
    assert_online(&office, first);
    wire.hear(&["REQUEST unicast of 203.0.113.77", "ACK 203.0.113.77"]);
    // The server is away at T1, and is back at T2.
    drop(server);
    // Renewals that were answered are on the former one.
    let mut wire = Wire::listen(&office.internet);
    wire.hear(&["REQUEST unicast of 203.0.113.77"]);
    let server = kind.start(&office.internet, &home, first);
    wire.hear(&["REQUEST broadcast of 203.0.113.77", "ACK 203.0.113.77"]);
    assert_online(&office, first);

    drop(server);
    let _server = kind.start(&office.internet, &home, second);
    wire.hear(&["NAK", "DISCOVER broadcast", "OFFER 203.0.113.78", "REQUEST broadcast", "ACK 203.0.113.78"]);
    assert_online(&office, second);
    assert!(office.gateway().log().contains("it refuses the request"));

    // A client with another vendor class starts anew, in INIT-REBOOT.
    let reload = |old: &str, new: &str| {
        office.gateway().setup().edit(old, new);
        assert!(office.gateway().reload().status.success());
    };
    reload("wan.address = 'dhcp'", "wan.vendor_class = 'box-3'\nwan.address = 'dhcp'");
    let others = wire.hear(&["REQUEST broadcast", "ACK 203.0.113.78"]);
    assert!(!others.contains(&"DISCOVER broadcast".to_owned()), "{others:?}");
    assert_online(&office, second);

    // A static address makes the lease useless.
    let settings = "wan.address = '203.0.113.9/24'\nwan.gateway = '203.0.113.1'";
    reload("wan.vendor_class = 'box-3'\nwan.address = 'dhcp'", settings);
    wire.hear(&["RELEASE unicast of 203.0.113.78"]);
    eventually("the end of the lease", || home.read("log").contains("RELEASE").then_some(()));
    assert_online(&office, Ipv4Addr::new(203, 0, 113, 9));
}

/// RFC 5227, section 2.1: An address that another machine has is declined.
#[test]
fn rfc5227_2_1_an_address_that_another_machine_has_is_declined() {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let _pages = WebServer::start(&office.internet, 80);
    let [taken, free] = ADDRESSES;
    office.internet.sh(&format!("ip address add {taken}/32 dev lo"));
    let mut wire = Wire::listen(&office.internet);
    let home = Directory::new();
    let server = Kind::Dnsmasq.start(&office.internet, &home, taken);
    wire.hear(&["ACK 203.0.113.77", "DECLINE broadcast"]);
    let told = "its lease is declined: 203.0.113.77 is in use by";
    let problem = || office.gateway().show("status")["service_problems"].to_string();
    assert!(problem().contains(told), "{}", problem());
    assert!(office.gateway().log().contains(told));
    drop(server);
    let _server = Kind::Dnsmasq.start(&office.internet, &home, free);
    assert_online(&office, free);
    assert!(!problem().contains("DHCP server"), "{}", problem());
}

/// RFC 2131: A lease from ISC dhcpd has its whole life.
#[test]
fn rfc2131_a_lease_from_isc_dhcpd_has_its_whole_life() {
    assert_a_lease_has_its_whole_life(Kind::Dhcpd);
}

/// RFC 2131: A lease from Kea has its whole life.
#[test]
fn rfc2131_a_lease_from_kea_has_its_whole_life() {
    assert_a_lease_has_its_whole_life(Kind::Kea);
}

/// RFC 2131: A lease from dnsmasq has its whole life.
#[test]
fn rfc2131_a_lease_from_dnsmasq_has_its_whole_life() {
    assert_a_lease_has_its_whole_life(Kind::Dnsmasq);
}
