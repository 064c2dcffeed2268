//! The parameters of DHCP clients, as written in `[dhcp]`, reservations and matches.

use gatepost_services::dhcp::server::{Criteria, Parameters, Pattern};

use super::*;

fn told(text: &str) -> Parameters {
    accepted(text).services.dhcp.parameters
}

fn option(code: u8, written: &str) -> Vec<u8> {
    told(&format!("dhcp.options = [{{ code = {code}, {written} }}]")).options[&code].clone()
}

#[test]
fn each_key_is_told_as_its_option() {
    let parameters = told(
        "[dhcp]\ndns_servers = ['192.168.1.51']\nntp_servers = ['192.168.1.52', '192.168.1.53']\n\
         search = ['office.example', 'a.b']\nnext_server = '192.168.1.9'\nboot_file = 'pxelinux.0'",
    );
    let expected = [
        (6, vec![192, 168, 1, 51]),
        (42, vec![192, 168, 1, 52, 192, 168, 1, 53]),
        (67, b"pxelinux.0".to_vec()),
        (119, b"\x06office\x07example\0\x01a\x01b\0".to_vec()),
    ];
    assert_eq!(parameters.options, expected.into());
    assert_eq!(parameters.next_server, Some(ip("192.168.1.9")));
}

#[test]
fn options_have_the_types_of_their_codes() {
    for (code, written, expected) in [
        (2, "value = 3600", &[0, 0, 0x0e, 0x10][..]),
        (19, "value = true", &[1]),
        (23, "value = 64", &[64]),
        (26, "value = 1400", &[5, 0x78]),
        (28, "value = '192.168.1.255'", &[192, 168, 1, 255]),
        (33, "value = ['10.0.0.1', '192.168.1.254']", &[10, 0, 0, 1, 192, 168, 1, 254]),
        (43, "hex = '0104c0a80109'", &[1, 4, 192, 168, 1, 9]),
        (43, "hex = '01:04:C0:a8:01:09'", &[1, 4, 192, 168, 1, 9]),
        (43, "value = [{ code = 1, value = ['192.168.1.9'] }]", &[1, 4, 192, 168, 1, 9]),
        (43, "value = [{ code = 6, hex = '08' }, { code = 10, value = 'a' }]", &[6, 1, 8, 10, 1, b'a']),
        (66, "value = 'boot'", b"boot"),
        (120, "value = ['192.168.1.9']", &[1, 192, 168, 1, 9]),
        (120, "value = ['sip.a']", b"\0\x03sip\x01a\0"),
        (121, "value = [{ to = '0.0.0.0/0', via = '192.168.1.1' }]", &[0, 192, 168, 1, 1]),
        (125, "hex = '00'", &[0]),
        (150, "value = ['192.168.1.9', '192.168.1.8']", &[192, 168, 1, 9, 192, 168, 1, 8]),
        (150, "value = []", &[]),
        (160, "value = 'http://192.168.1.9/'", b"http://192.168.1.9/"),
        (224, "value = ['192.168.1.9']", &[192, 168, 1, 9]),
        (252, "value = \"\\n\"", b"\n"),
        (42, "value = []", &[]),
    ] {
        assert_eq!(option(code, written), expected, "{code} {written}");
    }
}

#[test]
fn options_of_a_wrong_type_are_refused() {
    for (code, marked, told) in [
        (150, "value = ▸'192.168.1.9'", "a text instead of a list in brackets; write [\"192.168.1.9\"]"),
        (66, "value = ▸['192.168.1.9']", "a list instead of a text in quotes; write a text in quotes"),
        (26, "value = ▸70000", "70000 is out of range; write an integer from 0 to 65535"),
        (
            33,
            "value = ▸['10.0.0.1']",
            "option 33 has addresses in pairs, and one is alone; write an even number of addresses",
        ),
        (
            125,
            "value = ▸'a'",
            "option 125 (V-I Vendor-Specific Information) has no type that can be written; write hex = \"...\" instead of value",
        ),
        (
            224,
            "value = ▸1",
            "nothing is known of this option's type; write a text, a list of addresses, or hex instead of value",
        ),
        (
            43,
            "hex = ▸'010'",
            "\"010\" is no hexadecimal number of octets; write pairs of hexadecimal digits, 1024 at most, such as \"0104c0a80109\"",
        ),
        (
            121,
            "value = [{ to = ▸'10.0.0.1/8', via = '192.168.1.9' }]",
            "\"10.0.0.1/8\" names a host in a network; write \"10.0.0.0/8\"",
        ),
    ] {
        assert_mistakes(&format!("dhcp.options = [{{ code = {code}, {marked} }}]"), &[told]);
    }
    assert_mistakes(
        "dhcp.options = [{ code = 66, value = 'a', hex = ▸'01' }, ▸{ code = 100 }, { code = 101, value = 'a', ▸vlaue = 1 },\n\
         { code = 15, value = 'a' }, ▸{ code = 15, value = 'b' }, { code = ▸256, value = 'a' }]",
        &[
            "the option has both a value and hex; remove one of them",
            "the option has no value; write value = ... or hex = \"...\"",
            "unknown key \"vlaue\" in the option; write \"value\"",
            "option 15 is written twice (first in line 2, column 1); remove one of them",
            "256 is out of range; write an integer from 0 to 255",
        ],
    );
}

#[test]
fn what_is_not_for_an_administrator_to_say_is_refused_with_the_key_that_is() {
    for (code, told) in [
        (1, "option 1 (Subnet Mask) follows from another setting; write lan.address"),
        (6, "option 6 (Domain Server) follows from another setting; write dns_servers"),
        (12, "option 12 (Hostname) follows from another setting; write the hostname of a reservation"),
        (42, "option 42 (NTP Servers) follows from another setting; write ntp_servers"),
        (51, "option 51 (Address Time) follows from another setting; write dhcp.lease_secs"),
        (67, "option 67 (Bootfile-Name) follows from another setting; write boot_file"),
        (119, "option 119 (Domain Search) follows from another setting; write search"),
        (0, "option 0 (Pad) is for the server or its client to say; remove it"),
        (53, "option 53 (DHCP Msg Type) is for the server or its client to say; remove it"),
        (61, "option 61 (Client Id) is for the server or its client to say; remove it"),
        (82, "option 82 (Relay Agent Information) is for the server or its client to say; remove it"),
        (255, "option 255 (End) is for the server or its client to say; remove it"),
    ] {
        for written in ["value = 'a'", "hex = '01'"] {
            assert_mistakes(&format!("dhcp.options = [{{ code = ▸{code}, {written} }}]"), &[told]);
        }
    }
}

#[test]
fn options_are_not_too_long_in_all() {
    let option = |code: u8, octets: usize| format!("{{ code = {code}, hex = '{}' }}", "00".repeat(octets));
    accepted(&format!("dhcp.options = [{}, {}]", option(43, 510), option(125, 506)));
    assert_mistakes(
        &format!("dhcp.options = [▸{}, {}]", option(43, 510), option(125, 507)),
        &[
            "the options take 1025 octets in all, which no message has room for; write options of at most 1024 octets",
        ],
    );
    assert_mistakes(
        &format!("dhcp.boot_file = ▸'{}'", "x".repeat(256)),
        &[&format!(
            "\"{}\" is no boot file; write a file name or a URL of at most 255 ASCII characters",
            "x".repeat(256)
        )],
    );
}

#[test]
fn empty_says_nothing_for_all_clients_and_none_for_some() {
    let keys = "dns_servers = []\nsearch = []\nnext_server = ''\nboot_file = ''\noptions = []";
    assert_eq!(told(&format!("[dhcp]\n{keys}")), Parameters::default());
    let config = accepted(&format!(
        "[[dhcp.reservations]]\nmac = '02:00:00:00:00:20'\naddress = '192.168.1.20'\n{keys}\n[[dhcp.match]]\nmac_prefix = '00'\n{keys}"
    ));
    let none = |code| (code, Vec::new());
    let expected = Parameters { options: [6, 67, 119].map(none).into(), next_server: Some(ip("0.0.0.0")) };
    assert_eq!(config.services.dhcp.reservations[0].parameters, expected);
    assert_eq!(config.services.dhcp.matches[0].parameters, expected);
}

#[test]
fn a_match_says_whom_it_is_for() {
    let text = "[[dhcp.match]]\nvendor_class = 'PXEClient*'\nuser_class = 'iPXE'\narchitecture = 7\nmac_prefix = '00:04:1a'\nboot_file = 'http://a/'";
    let pattern = |text: &str, is_prefix| Some(Pattern { text: text.to_owned(), is_prefix });
    let expected = Criteria {
        vendor_class: pattern("PXEClient", true),
        user_class: pattern("iPXE", false),
        architecture: Some(7),
        mac_prefix: Some(vec![0, 4, 0x1a]),
    };
    assert_eq!(accepted(text).services.dhcp.matches[0].criteria, expected);
    let of = |keys: &str| format!("[[dhcp.match]]\n{keys}\n");
    for (keys, told) in [
        (
            "vendor_class = ▸''",
            "\"\" is no class of clients; write the whole of it, or its beginning and \"*\", such as \"PXEClient*\"",
        ),
        (
            "user_class = ▸'a*b'",
            "\"a*b\" is no class of clients; write the whole of it, or its beginning and \"*\", such as \"PXEClient*\"",
        ),
        ("architecture = ▸65536", "65536 is out of range; write an integer from 0 to 65535"),
        (
            "mac_prefix = ▸'00:4'",
            "\"00:4\" is no beginning of a hardware address; write 1 to 6 octets such as \"00:04:13\"",
        ),
        (
            "mac_prefix = ▸'00:00:00:00:00:00:00'",
            "\"00:00:00:00:00:00:00\" is no beginning of a hardware address; write 1 to 6 octets such as \"00:04:13\"",
        ),
    ] {
        assert_mistakes(&of(keys), &[told]);
    }
    assert_mistakes(
        &format!("▸{}", of("search = ['a.b']")),
        &["the match is for nobody; write vendor_class, user_class, architecture or mac_prefix"],
    );
}

#[test]
fn matches_do_not_contradict() {
    let of = |class: &str, key: &str| format!("[[dhcp.match]]\nvendor_class = '{class}'\n{key}\n");
    let file =
        |mark: &str, file: &str| format!("next_server = {mark}'192.168.1.9'\nboot_file = {mark}'{file}'");
    accepted(&[of("PXEClient:Arch:00007*", &file("", "a")), of("PXEClient*", &file("", "b"))].concat());
    accepted(&[of("PXEClient*", &file("", "a")), of("PXEClient:Arch:00007*", "search = ['a.b']")].concat());
    assert_mistakes(
        &[of("PXEClient*", &file("", "a")), of("PXEClient:Arch:00007*", &file("▸", "b"))].concat(),
        &[
            "no client is told this: a match before this one has all of these clients told otherwise (first in line 3, column 15); write this match before that one",
            "no client is told this: a match before this one has all of these clients told otherwise (first in line 4, column 13); write this match before that one",
        ],
    );
    assert_mistakes(
        &[of("ubnt", "search = ['a.b']"), of("ubnt", "search = ▸['c.d']")].concat(),
        &[
            "two matches tell the same clients different things (first in line 3, column 10); remove one of them",
        ],
    );
}

#[test]
fn boot_without_a_server_and_routes_without_a_default_are_warned_of() {
    let warning =
        "clients ask the gateway for this file, which has no TFTP server; write next_server, or a URL";
    assert_warnings("dhcp.boot_file = ▸'pxelinux.0'", &[warning]);
    assert_warnings("[[dhcp.match]]\narchitecture = 0\nboot_file = ▸'pxelinux.0'", &[warning]);
    for text in [
        "dhcp.boot_file = 'http://192.168.1.9/a.efi'",
        "dhcp.boot_file = 'a'\ndhcp.next_server = '192.168.1.9'",
        "dhcp.next_server = '192.168.1.9'\n[[dhcp.match]]\narchitecture = 0\nboot_file = 'pxelinux.0'",
        "dhcp.boot_file = 'a'\ndhcp.options = [{ code = 150, value = ['192.168.1.9'] }]",
        "dhcp.options = [{ code = 121, value = [{ to = '10.0.0.0/8', via = '192.168.1.9' }, { to = '0.0.0.0/0', via = '192.168.1.1' }] }]",
    ] {
        assert_warnings(text, &[]);
    }
    assert_warnings(
        "dhcp.options = [▸{ code = 121, value = [{ to = '10.0.0.0/8', via = '192.168.1.9' }] }]",
        &["clients that are told routes ignore their router, and these have no default route; \
           add { to = \"0.0.0.0/0\", via = \"192.168.1.1\" }, with the router's address"],
    );
}
