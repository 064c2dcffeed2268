//! The NAT's behaviour, as discovered by STUN clients. (RFC 5780)

use std::net::Ipv4Addr;
use std::path::Path;

use crate::harness::programs::wait_for_listener;
use crate::harness::{Background, Office, SERVER, WAN};

/// The STUN server's other address.
const SERVER_TOO: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 81);
const PORTS: [u16; 2] = [3478, 3479];

/// The three filters, as the configuration and each of the clients call them.
const FILTERS: [[&str; 3]; 3] = [
    ["endpoint-independent", "Endpoint Independent Filtering", "Full Cone"],
    ["address-dependent", "Address Dependent Filtering", "Restric NAT"],
    ["address-and-port-dependent", "Address and Port Dependent Filtering", "Restric Port NAT"],
];

/// An office whose NAT filters so, and coturn's server in the internet, with two addresses and two ports.
fn office(filtering: &str) -> (Office, Background) {
    let office = Office::new(1, &format!("nat.filtering = '{filtering}'"));
    office.internet.sh(&format!("ip address add {SERVER_TOO}/32 dev lo"));
    let [port, port_too] = PORTS;
    let server = office.internet.spawn(&format!(
        "turnserver -n --stun-only --no-auth --no-cli --no-tls --no-dtls --log-file /dev/null --pidfile '' \
         -L {SERVER} -L {SERVER_TOO} --listening-port {port} --alt-listening-port {port_too} 2>/dev/null"
    ));
    PORTS.into_iter().for_each(|port| wait_for_listener(&office.internet, "udp", port));
    (office, server)
}

/// RFC 4787, REQ-1: Natdiscovery sees what is configured.
/// RFC 4787, REQ-8: Natdiscovery sees what is configured.
/// RFC 4787, REQ-9: Natdiscovery sees what is configured.
#[test]
fn rfc4787_req1_req8_and_req9_natdiscovery_sees_what_is_configured() {
    for [filtering, expected, _] in FILTERS {
        let (office, _server) = office(filtering);
        let discover =
            |test: &str| office.pc(1).sh(&format!("timeout 60 turnutils_natdiscovery {test} {SERVER}"));
        let mapping = discover("-m");
        assert!(mapping.contains("NAT with Endpoint Independent Mapping!"), "{filtering}: {mapping}");
        let filter = discover("-f");
        assert!(filter.contains(&format!("NAT with {expected}!")), "{filtering}: {filter}");
        let hairpin = discover("-H");
        // It asks from another port, which a stricter filter keeps out from inside as it does from outside.
        let is_open = filtering == "endpoint-independent";
        assert_eq!(hairpin.contains("successful hairpinning"), is_open, "{filtering}: {hairpin}");
    }
}

/// RFC 4787, REQ-1: Pystun sees what is configured.
/// RFC 4787, REQ-8: Pystun sees what is configured.
#[test]
fn rfc4787_req1_and_req8_pystun_sees_what_is_configured() {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/pystun3");
    for [filtering, _, expected] in FILTERS {
        let (office, _server) = office(filtering);
        let source = Office::address(1);
        let found = office.pc(1).sh(&format!(
            "timeout 60 {} -H {SERVER} -P {} -i {source} -p 54320",
            client.display(),
            PORTS[0]
        ));
        assert!(found.contains(&format!("NAT Type: {expected}\n")), "{filtering}: {found}");
        // It prints the answer to its last request, and the strictest filter admits none.
        let is_answered = filtering != "address-and-port-dependent";
        let external =
            if is_answered { format!("{WAN}\nExternal Port: 54320\n") } else { "None\n".to_owned() };
        assert!(found.contains(&format!("External IP: {external}")), "{filtering}: {found}");
    }
}
