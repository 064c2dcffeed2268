//! Addresses for real clients on the LAN: busybox udhcpc, ISC dhclient, dhcpcd and systemd-networkd by DHCP, and bootpc by
//! BOOTP.

use std::fs;
use std::net::Ipv4Addr;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::programs::{dig, pings};
use crate::harness::{Background, DOMAIN, Directory, Gateway, ISP, LAN, Namespace, Office, eventually};

/// systemd's client. `./dev setup` unpacks it there, as the package would be this machine's init.
const NETWORKD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/networkd/lib/systemd/systemd-networkd");

/// The script of the other clients. It configures `eth0` and records its parameters, without touching the machine's own
/// files.
const SCRIPT: &str = r#"
case "${reason:-$1}" in
    bound|renew|BOUND|RENEW|REBIND|REBOOT)
        address=${ip:-$new_ip_address} netmask=${subnet:-$new_subnet_mask}
        ip address replace "$address/$netmask" dev eth0
        ip route replace default via "${router:-$new_routers}" ;;
    deconfig|RELEASE|EXPIRE|FAIL|STOP|PREINIT)
        ip address flush dev eth0; ip link set eth0 up ;;
esac
echo "${reason:-$1} $address $netmask ${router:-$new_routers} ${dns:-$new_domain_name_servers}" \
     "${domain:-$new_domain_name} ${lease:-$new_dhcp_lease_time}" >>"$NOTES"
"#;

/// A DHCP client on `eth0` of a PC.
pub struct Client {
    pub process: Background,
    /// Its files, which a client that is started again finds.
    directory: Directory,
    /// The command line.
    line: String,
}

/// A client's record: an event, and the parameters as text.
#[derive(Debug)]
pub struct Note {
    event: String,
    /// Address, netmask, router, DNS server, domain, lease time.
    settings: Vec<String>,
}

impl Note {
    pub fn address(&self) -> Ipv4Addr {
        self.settings.first().and_then(|text| text.parse().ok()).expect("an address")
    }
}

impl Client {
    fn start(pc: &Namespace, directory: Directory, line: String) -> Self {
        Self { process: pc.spawn(&line), directory, line }
    }

    /// The same client with its files, in place of this one.
    pub fn again(self, pc: &Namespace) -> Self {
        let Self { process, directory, line } = self;
        drop(process);
        Self::start(pc, directory, line)
    }

    pub fn udhcpc(pc: &Namespace, hostname: &str) -> Self {
        Self::udhcpc_with(pc, hostname, "")
    }

    pub fn udhcpc_with(pc: &Namespace, hostname: &str, options: &str) -> Self {
        let directory = Directory::new();
        let script = directory.script("script", SCRIPT);
        let notes = directory.join("notes");
        let line = format!(
            "env NOTES={} busybox udhcpc -f -i eth0 -t 10 -T 1 -A 1 -x hostname:{hostname} {options} \
             -s {script} 2>/dev/null",
            notes.display()
        );
        Self::start(pc, directory, line)
    }

    pub fn dhclient(pc: &Namespace, hostname: &str) -> Self {
        Self::dhclient_with(pc, hostname, "")
    }

    /// The same with further lines of its configuration.
    pub fn dhclient_with(pc: &Namespace, hostname: &str, lines: &str) -> Self {
        let directory = Directory::new();
        directory.script("script", SCRIPT);
        let config =
            format!("send host-name \"{hostname}\"; timeout 20; retry 1; initial-interval 1; {lines}");
        fs::write(directory.join("conf"), config).expect("it can be written");
        let line = Self::dhclient_line(&directory, "-d");
        Self::start(pc, directory, line)
    }

    /// dhclient with only files of the test's own.
    fn dhclient_line(directory: &Directory, options: &str) -> String {
        let home = directory.path().display();
        format!(
            "dhclient {options} -e NOTES={home}/notes -cf {home}/conf -lf {home}/leases -pf {home}/pid \
             -sf {home}/script eth0 2>/dev/null"
        )
    }

    fn dhcpcd(pc: &Namespace, hostname: &str) -> Self {
        Self::dhcpcd_with(pc, hostname, "noarp\n")
    }

    /// The same with these lines of its configuration. Without `noarp` it probes its address.
    pub fn dhcpcd_with(pc: &Namespace, hostname: &str, lines: &str) -> Self {
        let directory = Directory::new();
        directory.script("script", SCRIPT);
        let config = format!("option domain_name_servers, domain_name, routers, dhcp_lease_time\n{lines}");
        fs::write(directory.join("conf"), config).expect("it can be written");
        // It keeps its files where the machine's own would be.
        let home = directory.path().display();
        let line = format!(
            "unshare -m sh -c 'mount -t tmpfs none /run && mkdir -p /var/lib/dhcpcd {home}/db \
             && mount --bind {home}/db /var/lib/dhcpcd && exec dhcpcd -B -4 --noipv4ll -h {hostname} \
             -e NOTES={home}/notes -f {home}/conf -c {home}/script eth0' >>{home}/log 2>&1"
        );
        Self::start(pc, directory, line)
    }

    fn notes(&self) -> Vec<Note> {
        let text = self.directory.read("notes");
        let mut notes: Vec<_> = text
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                Note { event: words.next().unwrap_or_default(), settings: words.collect() }
            })
            .collect();
        if !text.ends_with('\n') {
            notes.pop();
        }
        notes
    }

    /// Has dhclient's script refuse addresses that other hosts have.
    pub fn refuse_conflicts(&self) {
        let probe = "case $reason in BOUND|REBOOT)
            busybox arping -q -D -c 3 -w 5 -I eth0 $new_ip_address || exit 1 ;; esac";
        self.directory.script("script", &format!("{probe}\n{SCRIPT}"));
    }

    /// Its log, if it keeps one in its directory.
    pub fn log(&self) -> String {
        self.directory.read("log")
    }

    /// Waits for note number `index` of the `event`.
    pub fn note(&self, event: &str, index: usize) -> Note {
        eventually(&format!("{event} number {index} of {:?}", self.directory), || {
            self.notes().into_iter().filter(|note| note.event.eq_ignore_ascii_case(event)).nth(index)
        })
    }
}

/// Asserts the parameters of a client in these offices, except for its address and lease time.
fn assert_complete(note: &Note, lease_secs: u32) {
    let address = note.address();
    let pool = Ipv4Addr::new(192, 168, 1, 2)..=Ipv4Addr::new(192, 168, 1, 100);
    assert!(pool.contains(&address), "{note:?}");
    let (lan, lease) = (LAN.to_string(), lease_secs.to_string());
    assert_eq!(note.settings[1..], ["255.255.255.0", &lan, &lan, DOMAIN, &lease], "{note:?}");
}

pub fn lease_of(gateway: &Gateway, hostname: &str) -> Option<Value> {
    let report = gateway.show("leases");
    let leases = report["leases"].as_array().expect("a list");
    leases.iter().find(|lease| lease["hostname"] == hostname).cloned()
}

#[test]
fn udhcpc_gets_renews_and_releases() {
    let office = Office::bare(1, "");
    let client = Client::udhcpc(office.pc(1), "anna");
    let bound = client.note("bound", 0);
    assert_complete(&bound, 86_400);
    let lease = lease_of(office.gateway(), "anna").expect("the gateway shows the lease");
    assert_eq!(lease["address"], bound.address().to_string());
    assert_eq!(lease["mac"], "02:00:00:00:01:01");
    assert_eq!((&lease["state"], &lease["locally_administered"]), (&"bound".into(), &true.into()), "{lease}");
    eventually("a ping after the lease", || {
        assert!(pings(office.pc(1), "", ISP));
        let lease = lease_of(office.gateway(), "anna").expect("the lease");
        (lease["last_seen_secs"].as_u64() < lease["age_secs"].as_u64()).then_some(())
    });

    client.process.signal(Signal::SIGUSR1);
    let renewed = client.note("renew", 0);
    assert_complete(&renewed, 86_400);
    assert_eq!(renewed.address(), bound.address());

    assert_eq!(dig(office.pc(1), &format!("anna.{DOMAIN}")), bound.address().to_string());
    client.process.signal(Signal::SIGUSR2);
    client.note("deconfig", 1);
    eventually("the end of the lease", || lease_of(office.gateway(), "anna").is_none().then_some(()));
    let former = &office.gateway().show("leases")["former"][0];
    assert_eq!((&former["address"], &former["state"]), (&lease["address"], &"released".into()), "{former}");
    // The name ends with the lease. A static address asks now.
    office.pc(1).sh(&format!("ip address add {}/24 dev eth0", Office::address(1)));
    assert_eq!(dig(office.pc(1), &format!("anna.{DOMAIN}")), "");
}

#[test]
fn dhcpcd_gets_renews_and_releases() {
    let office = Office::bare(1, "");
    let client = Client::dhcpcd(office.pc(1), "clara");
    let bound = client.note("bound", 0);
    assert_complete(&bound, 86_400);
    assert!(pings(office.pc(1), "", ISP));
    assert_eq!(dig(office.pc(1), &format!("clara.{DOMAIN}")), bound.address().to_string());
    // SIGUSR1 renews, and SIGALRM releases and ends.
    client.process.signal(Signal::SIGUSR1);
    let renewed = client.note("renew", 0);
    assert_eq!(renewed.address(), bound.address());
    client.process.signal(Signal::SIGALRM);
    eventually("the end of the lease", || lease_of(office.gateway(), "clara").is_none().then_some(()));
}

#[test]
fn systemd_networkd_gets_an_address_and_releases_it() {
    let office = Office::bare(1, "dhcp.lease_secs = 4");
    let (client, _directory) = networkd(office.pc(1), "doris");
    let lease = eventually("a lease", || lease_of(office.gateway(), "doris"));
    let address = lease["address"].as_str().expect("an address");
    let configured = || office.pc(1).sh("ip -4 -o address show dev eth0").contains(&format!("{address}/24"));
    eventually("the client's address", || configured().then_some(()));
    assert!(pings(office.pc(1), "", ISP), "by its default route");
    assert_eq!(dig(office.pc(1), &format!("doris.{DOMAIN}")), address);
    // Without renewals the lease would have ended by then.
    let uptime = || office.gateway().show("status")["uptime_secs"].as_u64().expect("a number");
    let ends = uptime() + 5;
    eventually("the end of the first lease", || (uptime() > ends).then_some(()));
    assert_eq!(lease_of(office.gateway(), "doris").expect("it is renewed")["address"], address);
    client.signal(Signal::SIGTERM);
    eventually("the end of the lease", || lease_of(office.gateway(), "doris").is_none().then_some(()));
}

/// systemd-networkd on `eth0` of a PC, and the directory of its `log`.
pub fn networkd(pc: &Namespace, hostname: &str) -> (Background, Directory) {
    let directory = Directory::new();
    // It runs as a user of its own. /sys is read-only as in a container, so that it does not wait for udev.
    let capabilities = "+net_admin,+net_raw,+net_bind_service,+net_broadcast";
    let script = directory.script(
        "client",
        &format!(
            "mount -t tmpfs tmpfs /run\n\
             mount -o remount,bind,ro /sys\n\
             mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp\n\
             printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\
             [DHCPv4]\nHostname={hostname}\n' >/run/systemd/network/office.network\n\
             chown -R 65534:65534 /run/systemd\n\
             export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console\n\
             exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps={capabilities} \
             --ambient-caps={capabilities} {NETWORKD} >{} 2>&1\n",
            directory.join("log").display()
        ),
    );
    (pc.spawn(&format!("unshare --mount {script}")), directory)
}

#[test]
fn dhclient_gets_renews_and_releases() {
    // Clients renew after half of the time.
    let office = Office::bare(1, "dhcp.lease_secs = 4");
    let client = Client::dhclient(office.pc(1), "berta");
    let bound = client.note("bound", 0);
    assert_complete(&bound, 4);
    assert!(pings(office.pc(1), "", ISP));
    for index in 0..2 {
        let renewed = client.note("renew", index);
        assert_complete(&renewed, 4);
        assert_eq!(renewed.address(), bound.address());
    }
    assert!(lease_of(office.gateway(), "berta").is_some());
    // It ends the running client and sends a RELEASE in its place.
    office.pc(1).sh(&Client::dhclient_line(&client.directory, "-r"));
    client.note("release", 0);
    eventually("the end of the lease", || lease_of(office.gateway(), "berta").is_none().then_some(()));
}

#[test]
fn a_lease_that_is_not_renewed_ends_with_its_name() {
    let office = Office::new(2, "dhcp.lease_secs = 3");
    let name = format!("clara.{DOMAIN}");
    let client = Client::udhcpc(office.pc(1), "clara");
    let address = client.note("bound", 0).address();
    assert_eq!(dig(office.pc(2), &name), address.to_string());
    client.process.signal(Signal::SIGKILL);
    eventually("the end of the lease", || lease_of(office.gateway(), "clara").is_none().then_some(()));
    assert_eq!(dig(office.pc(2), &name), "");
}

#[test]
fn clients_get_their_address_again_after_a_restart_and_a_crash() {
    let mut office = Office::bare(2, "");
    let hostnames = ["dora", "emil"];
    let addresses = |office: &Office| {
        let clients =
            [Client::udhcpc(office.pc(1), hostnames[0]), Client::dhclient(office.pc(2), hostnames[1])];
        clients.map(|client| client.note("bound", 0).address())
    };
    let before = addresses(&office);
    assert_ne!(before[0], before[1]);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (_, setup) = office.stop(signal);
        office.start(setup);
        for (hostname, address) in hostnames.into_iter().zip(before) {
            let lease = lease_of(office.gateway(), hostname).expect("the lease is kept");
            assert_eq!(lease["address"], address.to_string(), "after {signal}");
        }
        // In the other order, so that a new gateway would give other addresses.
        let emil = Client::dhclient(office.pc(2), hostnames[1]).note("bound", 0).address();
        let dora = Client::udhcpc(office.pc(1), hostnames[0]).note("bound", 0).address();
        assert_eq!([dora, emil], before, "after {signal}");
    }
}

#[test]
fn a_client_that_wakes_up_asks_for_what_it_had() {
    let office = Office::bare(1, "");
    let client = Client::dhclient(office.pc(1), "frieda");
    let bound = client.note("bound", 0);
    // RFC 2131 INIT-REBOOT: dhclient remembers its lease in its file, which it writes after its script has run. Another
    // does not start while the process of the one before is there. Both are waited for.
    let stored = || client.directory.read("leases").ends_with("}\n").then_some(());
    eventually("a lease in dhclient's file", stored);
    let client = client.again(office.pc(1));
    let reboot = client.note("reboot", 0);
    assert_complete(&reboot, 86_400);
    assert_eq!(reboot.address(), bound.address());
}

#[test]
fn a_bootp_client_gets_its_reserved_address() {
    let office = Office::bare(
        2,
        "dhcp.reservations = [{
            hostname = 'plotter', mac = '02:00:00:00:01:01', address = '192.168.1.20', boot_file = 'plotter.bin' }]",
    );
    let ask = |pc: &Namespace| {
        pc.sh("ip route replace default dev eth0");
        pc.try_sh("bootpc --dev eth0 --timeoutwait 3 --returniffail --serverbcast 2>&1")
    };
    let answered = ask(office.pc(1));
    let told = String::from_utf8_lossy(&answered.stdout).into_owned();
    assert!(answered.status.success(), "{told}");
    let (lan, domain) = (LAN.to_string(), DOMAIN.to_owned());
    for (key, value) in [
        ("IPADDR", "192.168.1.20"),
        ("NETMASK", "255.255.255.0"),
        ("GATEWAYS_1", &lan),
        ("DNSSRVS_1", &lan),
        ("DOMAIN", &domain),
        ("BOOTFILE", "plotter.bin"),
    ] {
        assert!(told.lines().any(|line| line == format!("{key}='{value}'")), "{key}: {told}");
    }
    assert!(!ask(office.pc(2)).status.success(), "nothing is reserved for it");
}

#[test]
fn an_address_that_a_machine_has_by_hand_is_offered_to_nobody() {
    let office = Office::bare(2, "");
    let by_hand = Ipv4Addr::new(192, 168, 1, 2);
    office.pc(2).sh(&format!("ip address add {by_hand}/24 dev eth0"));
    let bound = Client::udhcpc(office.pc(1), "anna").note("bound", 0);
    assert_complete(&bound, 86_400);
    assert_ne!(bound.address(), by_hand);
    assert_eq!(office.gateway().show("counters")["dhcp"]["addresses_in_foreign_use"], 1);
}

#[test]
fn a_second_dhcp_server_is_named() {
    let office = Office::bare(2, "");
    office.pc(2).sh("ip address add 192.168.1.200/24 dev eth0");
    let directory = Directory::new();
    let home = directory.path().display().to_string();
    let config = format!(
        "interface eth0\nstart 192.168.1.201\nend 192.168.1.210\nlease_file {home}/leases\npidfile {home}/pid\n\
         option subnet 255.255.255.0\noption router 192.168.1.200\n"
    );
    fs::write(directory.join("conf"), config).expect("it can be written");
    fs::write(directory.join("leases"), "").expect("it can be written");
    let _server = office.pc(2).spawn(&format!("busybox udhcpd -f {home}/conf 2>/dev/null"));
    // The broadcast flag has the server broadcast its offer.
    let _client = Client::udhcpc_with(office.pc(1), "anna", "-B");
    let note = eventually("the note", || {
        let services = office.gateway().show("services");
        let services = services["services"].as_array().expect("a list");
        let dhcp = services.iter().find(|service| service["name"] == "dhcp").expect("it is in the list");
        dhcp["note"].as_str().filter(|note| note.contains('(')).map(str::to_owned)
    });
    assert!(note.ends_with("192.168.1.200 (02:00:00:00:01:02)"), "{note}");
}

#[test]
fn reservations_are_honoured() {
    let office = Office::bare(
        2,
        "dhcp.reservations = [
            { hostname = 'printer', mac = '02:00:00:00:01:01', address = '192.168.1.20' },
            { client_id = '01:02:00:00:00:01:02', address = '192.168.1.200' },
        ]",
    );
    let printer = Client::udhcpc(office.pc(1), "something-else");
    assert_eq!(printer.note("bound", 0).address(), Ipv4Addr::new(192, 168, 1, 20));
    // udhcpc's own client identifier is type 1 and the hardware address.
    let outside_pool = Client::udhcpc(office.pc(2), "gustav");
    assert_eq!(outside_pool.note("bound", 0).address(), Ipv4Addr::new(192, 168, 1, 200));
    assert_eq!(dig(office.pc(2), &format!("printer.{DOMAIN}")), "192.168.1.20");
}

/// Sends DISCOVERs of forged hardware addresses as fast as it can, and declines what it is offered by those addresses;
/// says so once it has declined some, and goes on without end. Its argument is the gateway's address.
const FLOOD: &str = r#"
import socket, struct, sys
gateway = socket.inet_aton(sys.argv[1])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
raw.bind(("eth0", 0x0800))
raw.setblocking(False)
def frame(mac, options):
    dhcp = struct.pack("!BBBBIHH", 1, 1, 6, 0, 7, 0, 0x8000) + bytes(16) + mac + bytes(202) + b"c\x82Sc" + options + b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(dhcp), 0) + dhcp
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + bytes(4) + b"\xff" * 4
    total = sum(struct.unpack("!10H", ip))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return b"\xff" * 6 + mac + b"\x08\0" + ip[:10] + struct.pack("!H", 0xffff ^ total) + ip[12:] + udp
def send(frame):
    try: raw.send(frame)
    except OSError: pass
discovers = [frame(struct.pack("!HI", 0x0200, 0x99000000 + n), b"\x35\1\1") for n in range(2000)]
declined = 0
while True:
    for discover in discovers:
        send(discover)
        try: offer = raw.recv(2048)
        except OSError: continue
        if offer[34:38] == b"\0\x43\0\x44" and b"\x35\1\2" in offer:
            mac, address = offer[70:76], offer[58:62]
            send(frame(mac, b"\x35\1\4\x32\4" + address + b"\x36\4" + gateway))
            declined += 1
            if declined == 10: print("declined", flush=True)
"#;

#[test]
fn beside_a_port_that_floods_clients_renew_and_new_ones_get_a_lease() {
    let office = Office::bare(3, "");
    let client = Client::udhcpc(office.pc(1), "anna");
    let address = client.note("bound", 0).address();
    let directory = Directory::new();
    fs::write(directory.join("flood.py"), FLOOD).expect("it can be written");
    let line = format!("/usr/bin/python3 {} {LAN}", directory.join("flood.py").display());
    let mut flood = office.pc(2).spawn(&line);
    assert_eq!(flood.hear(), "declined");
    let dropped = || {
        office.gateway().show("counters")["dhcp"]["to_server_dropped_queue_full"]
            .as_u64()
            .filter(|count| *count > 0)
    };
    eventually("more frames than are dealt with", dropped);
    for index in 0..5 {
        client.process.signal(Signal::SIGUSR1);
        let renewed = client.note("renew", index);
        assert_complete(&renewed, 86_400);
        assert_eq!(renewed.address(), address);
    }
    let new = Client::dhclient(office.pc(3), "berta");
    assert_complete(&new.note("bound", 0), 86_400);
}

#[test]
fn an_address_that_a_client_declines_is_not_offered_again() {
    let office = Office::bare(2, "dhcp.pool = '192.168.1.50-192.168.1.51'");
    let former = Client::udhcpc(office.pc(1), "hanna").note("bound", 0).address();
    // A client is offered its former address without a probe of the gateway's.
    office.pc(1).sh("ip address flush dev eth0");
    office.pc(2).sh(&format!("ip address add {former}/24 dev eth0"));
    let client = Client::udhcpc_with(office.pc(1), "hanna", "-a");
    assert_eq!(client.note("bound", 0).address(), Ipv4Addr::new(192, 168, 1, 51));
    // Its user has answered the gateway's probe, too: the address is kept out of use for longer than after silence.
    eventually("the answer", || {
        let log = office.gateway().log();
        log.contains("declined: another host uses the address").then_some(())
    });
}

#[test]
fn lan_only_hands_out_what_is_configured() {
    let settings = "network.mode = 'lan-only'\nlan.gateway = '192.168.1.254'\n\
                    dns.upstream = ['192.168.1.253', '192.168.1.252']";
    let office = Office::bare(1, settings);
    let client = Client::udhcpc(office.pc(1), "ida");
    let bound = client.note("bound", 0);
    let expected = ["255.255.255.0", "192.168.1.254", "192.168.1.253", "192.168.1.252", DOMAIN, "86400"];
    assert_eq!(bound.settings[1..], expected, "{bound:?}");
}
