//! The parameters that real DHCP clients on the LAN get: busybox udhcpc, ISC dhclient, and scapy in place of boot
//! loaders.

use std::fs;

use crate::harness::{Background, Directory, LAN, Namespace, Office, eventually};

/// Records a client's parameters, which it passes to its script in the environment.
const SCRIPT: &str = r#"
case "${reason:-$1}" in
    bound|BOUND) env | grep -E "^([a-z]|$)" >"$NOTES.part"; mv "$NOTES.part" "$NOTES" ;;
    deconfig|PREINIT) ip link set eth0 up ;;
esac
"#;

/// Asks for an offer as a boot loader does, and prints what scapy reads in it. Its arguments are the vendor class, the
/// user class in hexadecimal, the architecture, and the options asked for.
const BOOT_LOADER: &str = r#"
import sys, time
from scapy.all import *
conf.checkIPaddr = False; conf.verb = 0
vendor, user, architecture, *asked = sys.argv[1:]
mac = get_if_hwaddr("eth0")
options = [("message-type", "discover"), ("vendor_class_id", vendor.encode()), (93, int(architecture).to_bytes(2, "big")),
           (97, bytes(17)), ("param_req_list", [int(code) for code in asked])]
if user != "-": options.append((77, bytes.fromhex(user)))
discover = (Ether(dst="ff:ff:ff:ff:ff:ff", src=mac) / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) /
            BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=7, flags=0x8000) / DHCP(options=options + ["end"]))
sniffer = AsyncSniffer(iface="eth0", filter="udp and src port 67", count=1, started_callback=lambda: sendp(discover, iface="eth0"),
                       timeout=20)
sniffer.start(); sniffer.join()
offer = sniffer.results[0]
text = lambda octets: octets.rstrip(b"\0").decode()
print("siaddr", offer[BOOTP].siaddr, "file", text(offer[BOOTP].file), "sname", text(offer[BOOTP].sname), "options", offer[DHCP].options)
"#;

const SETTINGS: &str = r#"
dhcp.dns_servers = ["192.168.1.51"]
dhcp.ntp_servers = ["192.168.1.52"]
dhcp.search = ["office.example", "corp.local"]
dhcp.next_server = "192.168.1.9"
dhcp.boot_file = "pxelinux.0"
dhcp.options = [
    { code = 43, hex = "0104c0a80109" },
    { code = 121, value = [{ to = "10.0.0.0/8", via = "192.168.1.254" }, { to = "0.0.0.0/0", via = "192.168.1.1" }] },
    { code = 150, value = ["192.168.1.9", "192.168.1.8"] },
    { code = 252, value = "\n" },
]
dhcp.match = [
    { user_class = "iPXE", boot_file = "http://192.168.1.9/boot.ipxe" },
    { vendor_class = "HTTPClient*", architecture = 16, next_server = "", boot_file = "http://192.168.1.9/ipxe.efi" },
    { vendor_class = "PXEClient:Arch:00007*", boot_file = "ipxe.efi" },
    { vendor_class = "snom*", options = [{ code = 66, value = "http://192.168.1.9/phones" }] },
]
dhcp.reservations = [
    { mac = "02:00:00:00:01:02", address = "192.168.1.20", dns_servers = [], boot_file = "kiosk.0" },
]
"#;

/// The client's environment once it has a lease. `line` starts it, in a directory of its own.
fn told(pc: &Namespace, line: impl Fn(&Directory) -> String) -> (Vec<String>, Background) {
    let directory = Directory::new();
    directory.script("script", SCRIPT);
    let client = pc.spawn(&line(&directory));
    let notes = eventually("a lease", || Some(directory.read("notes")).filter(|notes| !notes.is_empty()));
    (notes.lines().map(str::to_owned).collect(), client)
}

#[track_caller]
fn assert_told(told: &[String], expected: &[&str]) {
    for line in expected {
        assert!(told.iter().any(|it| it == line), "{line:?} is not in {told:#?}");
    }
}

fn udhcpc(pc: &Namespace, options: &'static str) -> (Vec<String>, Background) {
    told(pc, |directory| {
        let home = directory.path().display();
        format!(
            "env NOTES={home}/notes busybox udhcpc -f -i eth0 -t 10 -T 1 {options} -s {home}/script 2>/dev/null"
        )
    })
}

#[test]
fn udhcpc_is_told_what_is_set() {
    let office = Office::bare(2, SETTINGS);
    let all = "-O ntpsrv -O search -O tftp -O bootfile -O staticroutes -O wpad -O 43 -O 150";
    let (told, _client) = udhcpc(office.pc(1), all);
    assert_told(
        &told,
        &[
            "dns=192.168.1.51",
            "ntpsrv=192.168.1.52",
            "search=office.example corp.local",
            "siaddr=192.168.1.9",
            "boot_file=pxelinux.0",
            "bootfile=pxelinux.0",
            "tftp=192.168.1.9",
            "staticroutes=10.0.0.0/8 192.168.1.254 0.0.0.0/0 192.168.1.1",
            "opt43=0104c0a80109",
            "opt150=c0a80109c0a80108",
        ],
    );
    assert!(told.windows(2).any(|lines| lines == ["wpad=", ""]), "a line break is told for WPAD: {told:?}");

    let (told, _reserved) = udhcpc(office.pc(2), "-V snom-D785");
    assert_told(&told, &["ip=192.168.1.20", "boot_file=kiosk.0", "sname=http://192.168.1.9/phones"]);
    assert!(!told.iter().any(|line| line.starts_with("dns=")), "{told:?}");
}

#[test]
fn dhclient_is_told_what_is_set() {
    let office = Office::bare(1, SETTINGS);
    let config = "option tftp-addresses code 150 = array of ip-address;\noption wpad code 252 = string;\n\
                  option routes code 121 = array of unsigned integer 8;\n\
                  request subnet-mask, domain-name-servers, domain-search, ntp-servers, tftp-server-name, \
                  bootfile-name, vendor-encapsulated-options, tftp-addresses, wpad, routes;\ntimeout 20; initial-interval 1;";
    let (told, _client) = told(office.pc(1), |directory| {
        fs::write(directory.join("conf"), config).expect("it can be written");
        let home = directory.path().display();
        format!(
            "dhclient -d -e NOTES={home}/notes -cf {home}/conf -lf {home}/leases -pf {home}/pid -sf {home}/script eth0 2>/dev/null"
        )
    });
    assert_told(
        &told,
        &[
            "new_domain_name_servers=192.168.1.51",
            "new_ntp_servers=192.168.1.52",
            "new_domain_search=office.example. corp.local.",
            "new_next_server=192.168.1.9",
            "new_filename=pxelinux.0",
            "new_tftp_server_name=192.168.1.9",
            "new_bootfile_name=pxelinux.0",
            "new_tftp_addresses=192.168.1.9 192.168.1.8",
            "new_vendor_encapsulated_options=1:4:c0:a8:1:9",
            "new_routes=8 10 192 168 1 254 0 192 168 1 1",
        ],
    );
}

#[test]
fn boot_loaders_are_told_what_their_classes_match() {
    let office = Office::bare(1, SETTINGS);
    let directory = Directory::new();
    fs::write(directory.join("boot.py"), BOOT_LOADER).expect("it can be written");
    let offered = |arguments: &str| {
        office.pc(1).sh(&format!("/usr/bin/python3 {} {arguments}", directory.join("boot.py").display()))
    };
    let has = |arguments: &str, expected: &[&str]| {
        let offer = offered(arguments);
        for part in expected {
            assert!(offer.contains(part), "{part:?} is not in {offer}");
        }
        offer
    };
    let server = format!("('server_id', '{LAN}')");
    let offer = has(
        "PXEClient:Arch:00000:UNDI:002001 - 0 1 3 43 60 66 67",
        &["siaddr 192.168.1.9 file pxelinux.0 ", &server],
    );
    assert!(!offer.contains("vendor_class_id"), "it would look for a server at port 4011: {offer}");
    has("PXEClient:Arch:00007:UNDI:003016 - 7 1 3", &["siaddr 192.168.1.9 file ipxe.efi "]);
    for user in ["69505845", "0469505845"] {
        has(
            &format!("PXEClient:Arch:00007:UNDI:003016 {user} 7 1 3 175"),
            &["file http://192.168.1.9/boot.ipxe "],
        );
    }
    has(
        "HTTPClient:Arch:00016:UNDI:003001 - 16 1 3 60 67 97",
        &[
            "siaddr 0.0.0.0 file http://192.168.1.9/ipxe.efi ",
            "('vendor_class_id', b'HTTPClient')",
            "b'http://192.168.1.9/ipxe.efi')",
        ],
    );
}
