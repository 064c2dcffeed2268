use proptest::prelude::*;

use super::*;

fn edit(key: &str, value: Option<&str>) -> Edit {
    Edit { key: Key::parse(key).expect("a key"), value: value.map(str::to_owned) }
}

#[track_caller]
fn set(text: &str, key: &str, value: &str) -> String {
    edit(key, Some(value)).apply(text).unwrap_or_else(|error| panic!("{key}: {error}"))
}

#[track_caller]
fn unset(text: &str, key: &str) -> String {
    edit(key, None).apply(text).unwrap_or_else(|error| panic!("{key}: {error}"))
}

const FILE: &str = "\
# The office's gateway.
[lan]
address = '192.168.1.1/24'   # since 2019

[[firewall.forwards]]
name = \"camera\"  # in the yard
wan_port = \"8443\"
to = \"192.168.1.20:443\"

# The second one.
[[firewall.forwards]]
wan_port = '9000'
to = '192.168.1.21:9000'
[[users]]
name = 'alice'
[[users.poll]]
server = 'pop.isp.example'
[[users]]
name = 'bob'
# The end.
";

#[test]
fn a_value_is_replaced_in_its_place() {
    let cases = [
        ("lan.address", "\"10.0.0.1/8\"", "'192.168.1.1/24'"),
        ("firewall.forwards.camera.wan_port", "\"1\"", "\"8443\""),
        ("firewall.forwards.9000.to", "\"192.168.1.9:1\"", "'192.168.1.21:9000'"),
        ("users.alice.poll.\"pop.isp.example\".server", "\"other\"", "'pop.isp.example'"),
    ];
    for (key, new, old) in cases {
        assert_eq!(set(FILE, key, new), FILE.replace(old, new), "{key}");
    }
}

#[test]
fn a_new_key_follows_those_of_its_table() {
    let cases = [
        ("lan.inspect_arp", "true", "# since 2019\n", "# since 2019\ninspect_arp = true\n"),
        (
            "firewall.forwards.camera.protocol",
            "'udp'",
            "192.168.1.20:443\"\n",
            "192.168.1.20:443\"\nprotocol = 'udp'\n",
        ),
        ("users.bob.role", "\"owner\"", "name = 'bob'\n", "name = 'bob'\nrole = \"owner\"\n"),
        ("mail.hostname", "\"m\"", "# The end.\n", "# The end.\n\n[mail]\nhostname = \"m\"\n"),
        (
            "mail.limits.wan_connections",
            "5",
            "# The end.\n",
            "# The end.\n\n[mail.limits]\nwan_connections = 5\n",
        ),
        ("firewall.stealth", "false", "# The end.\n", "# The end.\n\n[firewall]\nstealth = false\n"),
    ];
    for (key, new, old, expected) in cases {
        assert_eq!(set(FILE, key, new), FILE.replace(old, expected), "{key}");
    }
}

#[test]
fn a_new_element_follows_the_others() {
    let cases = [
        (
            "firewall.forwards.door.wan_port",
            "\"1\"",
            "9000'\n[[users]]",
            "9000'\n\n[[firewall.forwards]]\nname = \"door\"\nwan_port = \"1\"\n[[users]]",
        ),
        (
            "users.alice.poll.other.every_secs",
            "60",
            "example'\n[[users]]",
            "example'\n\n[[users.poll]]\nserver = \"other\"\nevery_secs = 60\n[[users]]",
        ),
        (
            "users.bob.poll.other.every_secs",
            "60",
            "name = 'bob'\n",
            "name = 'bob'\n\n[[users.poll]]\nserver = \"other\"\nevery_secs = 60\n",
        ),
        (
            "dhcp.reservations.printer.address",
            "\"192.168.1.9\"",
            "# The end.\n",
            "# The end.\n\n[[dhcp.reservations]]\nhostname = \"printer\"\naddress = \"192.168.1.9\"\n",
        ),
        (
            "dhcp.reservations.\"192.168.1.9\".mac",
            "\"02:00:00:00:00:20\"",
            "# The end.\n",
            "# The end.\n\n[[dhcp.reservations]]\naddress = \"192.168.1.9\"\nmac = \"02:00:00:00:00:20\"\n",
        ),
        ("users.carol.name", "\"carol\"", "name = 'bob'\n", "name = 'bob'\n\n[[users]]\nname = \"carol\"\n"),
        (
            "users.carol",
            "{ role = \"owner\" }",
            "name = 'bob'\n",
            "name = 'bob'\n\n[[users]]\nrole = \"owner\"\nname = \"carol\"\n",
        ),
        (
            "mail.rules.1",
            "{ folder = \"a\" }",
            "# The end.\n",
            "# The end.\n\n[[mail.rules]]\nfolder = \"a\"\n",
        ),
    ];
    for (key, new, old, expected) in cases {
        assert_eq!(set(FILE, key, new), FILE.replace(old, expected), "{key}");
    }
    assert_eq!(edit("mail.rules.2.folder", Some("'a'")).apply(FILE), Err(EditError::NoElement));
}

#[test]
fn what_is_removed_takes_only_its_own_lines() {
    let cases = [
        ("lan.address", "address = '192.168.1.1/24'   # since 2019\n"),
        ("lan", "[lan]\naddress = '192.168.1.1/24'   # since 2019\n"),
        ("firewall.forwards.9000", "[[firewall.forwards]]\nwan_port = '9000'\nto = '192.168.1.21:9000'\n"),
        ("users.alice", "[[users]]\nname = 'alice'\n[[users.poll]]\nserver = 'pop.isp.example'\n"),
        ("users.alice.poll", "[[users.poll]]\nserver = 'pop.isp.example'\n"),
        ("users.alice.poll.\"pop.isp.example\"", "[[users.poll]]\nserver = 'pop.isp.example'\n"),
    ];
    for (key, gone) in cases {
        assert_eq!(unset(FILE, key), FILE.replace(gone, ""), "{key}");
    }
    for key in ["lan.gateway", "dns", "users.carol", "firewall.forwards.camera.from"] {
        assert_eq!(edit(key, None).apply(FILE), Err(EditError::Absent), "{key}");
    }
    assert_eq!(edit("lan.address.prefix", None).apply(FILE), Err(EditError::NoTable));
}

#[test]
fn scattered_dotted_keys_and_inline_values_keep_their_order() {
    let file = "lan.address = '192.168.1.1/24'\nwan.mtu = 1500\nlan.inspect_arp = true # why\n\
                users = [\n  { name = 'anna' }, # the owner\n  { name = 'bert', quota = \"1 GiB\" },\n]\n\
                mail.ports = { smtp = 25 }\n";
    let cases = [
        ("lan.gateway", "\"\"", "true # why\n", "true # why\nlan.gateway = \"\"\n"),
        ("wan.mac", "\"\"", "1500\n", "1500\nwan.mac = \"\"\n"),
        ("users.bert.quota", "\"2 GiB\"", "1 GiB", "2 GiB"),
        ("users.anna.role", "\"owner\"", "{ name = 'anna' }", "{ name = 'anna' , role = \"owner\" }"),
        ("mail.ports.lmtp", "24", "{ smtp = 25 }", "{ smtp = 25 , lmtp = 24 }"),
        ("mail.ports.smtp", "0", "25", "0"),
        ("dns.enabled", "false", "{ smtp = 25 }\n", "{ smtp = 25 }\n\n[dns]\nenabled = false\n"),
    ];
    for (key, new, old, expected) in cases {
        assert_eq!(set(file, key, new), file.replace(old, expected), "{key}");
    }
    assert_eq!(unset(file, "wan.mtu"), file.replace("wan.mtu = 1500\n", ""));
    assert_eq!(
        unset(file, "lan"),
        "wan.mtu = 1500\n".to_owned() + &file[file.find("users").expect("there")..]
    );
    let added = set(file, "users.carl.quota", "\"1 GiB\"");
    assert!(added.contains("anna' }, # the owner\n") && added.contains("name = \"carl\""), "{added}");
}

#[test]
fn a_list_of_tables_takes_nothing_else() {
    let inline = "users = [{ name = 'anna' }]\ndhcp.options = [{ code = 150, value = 'x' }]\n";
    for (text, key) in [
        (inline, "users.anna"),
        (inline, "users.bert"),
        (inline, "dhcp.options.150"),
        (FILE, "users.bob"),
        ("", "users.a"),
    ] {
        assert_eq!(edit(key, Some("'text'")).apply(text), Err(EditError::NoTable), "{key}");
    }
}

#[test]
fn line_ends_and_a_missing_last_one_are_as_the_file_has_them() {
    let file = "\u{feff}[lan]\r\n  address = '192.168.1.1/24'\r\n# end\r\n[dns]\r\nenabled = true";
    assert_eq!(
        set(file, "lan.inspect_arp", "true"),
        file.replace("/24'\r\n", "/24'\r\n  inspect_arp = true\r\n")
    );
    assert_eq!(set(file, "dns.trust_ad", "true"), format!("{file}\r\ntrust_ad = true\r\n"));
    assert_eq!(set(file, "ntp.enabled", "true"), format!("{file}\r\n\r\n[ntp]\r\nenabled = true\r\n"));
    assert_eq!(unset(file, "lan.address"), file.replace("  address = '192.168.1.1/24'\r\n", ""));
    assert_eq!(set("", "lan.gateway", "''"), "[lan]\ngateway = ''\n");
    assert_eq!(set("# c\n[lan]\n", "users", "[]"), "users = []\n# c\n[lan]\n");
}

#[test]
fn a_table_or_a_list_is_replaced_as_a_whole() {
    let replaced = set(FILE, "firewall.forwards", "[]");
    assert!(!replaced.contains("camera") && replaced.contains("[firewall]\nforwards = []\n"), "{replaced}");
    let replaced = set(FILE, "users.alice", "{ role = 'viewer' }");
    let alice = "[[users]]\nname = 'alice'\n[[users.poll]]\nserver = 'pop.isp.example'\n";
    assert_eq!(replaced, FILE.replace(alice, "[[users]]\nrole = 'viewer'\nname = \"alice\"\n"));
}

#[test]
fn keys_are_toml_keys() {
    let key = Key::parse("dns.records.\"*.dev\".value").expect("a key");
    assert_eq!((key.parts().len(), key.to_string()), (4, "dns.records.\"*.dev\".value".to_owned()));
    for wrong in ["", ".", "a..b", "a b", "a.\"\"", "a=1", &"a.".repeat(300), "a.b.c.d.e.f.g.h.i"] {
        assert!(Key::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_value_is_toml_or_else_a_string() {
    assert_eq!(values("8443"), ["8443", "\"8443\""]);
    assert_eq!(values("192.168.1.1/24"), ["\"192.168.1.1/24\""]);
    assert_eq!(values(" [1, 2] # no"), ["\" [1, 2] # no\""]);
    assert_eq!(values("a \"b\""), ["'a \"b\"'"]);
    assert_eq!(values("")[0], "\"\"");
}

/// The lines of `old` that are not in `new`, apart from a common beginning and end.
fn lost<'a>(old: &'a str, new: &str) -> Vec<&'a str> {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let first = old.iter().zip(&new).take_while(same).count();
    let last = old[first..].iter().rev().zip(new[first..].iter().rev()).take_while(same).count();
    old[first..old.len() - last].to_vec()
}

proptest! {
    /// Any edits, one after the other: each loses the line of its own setting only, and a setting that was added and is
    /// removed again leaves the text as it was.
    #[test]
    fn all_other_lines_stay(
        edits in proptest::collection::vec((0..10_usize, proptest::option::of(0..4_usize)), 1..12),
        is_crlf in any::<bool>(),
        indent in "[ \\t]{0,3}",
    ) {
        let keys = [
            "lan.address", "lan.inspect_arp", "firewall.forwards.camera.wan_port", "firewall.forwards.9000.protocol",
            "firewall.forwards.door.to", "users.bob.quota", "users.carol.role", "mail.limits.wan_connections",
            "users.alice.poll.other.every_secs", "system.workers",
        ];
        let values = ["1", "true", "'a # b'", "[1, 2]"];
        let breaks = if is_crlf { "\r\n" } else { "\n" };
        let mut text: String = FILE.lines().map(|line| format!("{indent}{line}{breaks}")).collect();
        for (key, value) in edits {
            let edit = Edit { key: Key::parse(keys[key]).expect("a key"), value: value.map(|n| values[n].to_owned()) };
            let Ok(edited) = edit.apply(&text) else {
                prop_assert!(edit.value.is_none(), "{} in {}", edit, text);
                continue;
            };
            prop_assert!(lost(&text, &edited).len() <= 1, "{}: {} {}", edit, text, edited);
            prop_assert_eq!(edited.matches('\r').count(), if is_crlf { edited.matches('\n').count() } else { 0 });
            let stored = Stored::read(&text).expect("TOML");
            let parts = edit.key.parts();
            let table = Key::parse(&key::dotted(&parts[..parts.len() - 1])).expect("a key");
            // A key that is added to a table that was there.
            if stored.get(&edit.key).is_none() && stored.get(&table).is_some() {
                let back = Edit { value: None, ..edit.clone() }.apply(&edited);
                prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
            }
            text = edited;
        }
        for comment in ["# The office's gateway.", "# since 2019", "# in the yard", "# The second one.", "# The end."] {
            prop_assert!(text.contains(comment) || comment == "# since 2019", "{}", comment);
        }
    }
}
