//! The configuration as a transaction: set, diff, apply with and without a deadline, and what happens in between.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::programs::{WebServer, curl, pings};
use crate::harness::{Gateway, ISP, LAN, Office, WAN, eventually, gatepost};

/// The camera's port, at the end of a file with comments.
const CAMERA: &str = "\
# What comes in.
[[firewall.forwards]]   # the yard
name = 'camera'
wan_port = '8443'
to = '192.168.1.101:443'
# The end.
";

/// Settings in which tables are written as such must come last.
const SETTINGS: &str = "dhcp.lease_secs = 86400 # a day";

/// An office with a web server on its PC, and with [`CAMERA`] at the end of its file.
fn office() -> (Office, WebServer) {
    let office = Office::new(1, SETTINGS);
    let server = WebServer::start(office.pc(1), 443);
    let config = office.gateway().setup().config();
    let text = fs::read_to_string(&config).expect("it is there");
    fs::write(&config, text + CAMERA).expect("it can be written");
    assert!(office.gateway().reload().status.success());
    (office, server)
}

/// What a command of the gateway's administrator `who` says: on stdout, or its error.
fn asked(gateway: &Gateway, who: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = gatepost(arguments);
    command.arg("--config").arg(gateway.setup().config()).env("SUDO_USER", who);
    let output = command.output().expect("it runs");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    if output.status.success() { Ok(out) } else { Err(err) }
}

#[track_caller]
fn said(gateway: &Gateway, arguments: &[&str]) -> String {
    asked(gateway, "anna", arguments).expect("it is done")
}

#[track_caller]
fn refused(gateway: &Gateway, arguments: &[&str]) -> String {
    asked(gateway, "anna", arguments).expect_err("it is refused")
}

fn file(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.setup().config()).expect("it is there")
}

fn is_reached(office: &Office) -> bool {
    curl(&office.internet, "-m 1", (WAN, 8443)) == Ok(ISP)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_forward_closes_and_opens_again_at_the_deadline_and_stays_closed_once_confirmed() {
    let (office, _server) = office();
    let gateway = office.gateway();
    assert!(is_reached(&office));
    let before = file(gateway);
    assert!(said(gateway, &["unset", "firewall.forwards.camera"]).contains("1 change waits"));
    assert_eq!(said(gateway, &["diff"]), "the camera's port 8443 closes\n");
    let applied = said(gateway, &["apply", "--confirm", "3", "--why", "the yard is sold"]);
    assert!(applied.contains("in force for 3 s"), "{applied}");
    assert!(!is_reached(&office));
    let status = gateway.show("status");
    assert_eq!(status["unconfirmed"]["who"], "anna (as root)", "{status}");
    let told = refused(gateway, &["reload"]);
    assert!(told.contains("waits for its confirmation"), "{told}");
    assert_eq!(file(gateway), before);
    eventually("the deadline", || gateway.show("status")["unconfirmed"].is_null().then_some(()));
    assert!(is_reached(&office));
    assert_eq!(file(gateway), before);

    said(gateway, &["apply", "--confirm", "60", "--why", "the yard is sold"]);
    let confirmed = said(gateway, &["confirm"]);
    assert!(confirmed.contains("in force as version"), "{confirmed}");
    let gone =
        "[[firewall.forwards]]   # the yard\nname = 'camera'\nwan_port = '8443'\nto = '192.168.1.101:443'\n";
    assert_eq!(file(gateway), before.replace(gone, ""));
    assert!(!is_reached(&office));
    let history = json(&said(gateway, &["history", "--json"]));
    let last = &history["versions"][0];
    assert_eq!((last["why"].as_str(), last["kind"].as_str()), (Some("the yard is sold"), Some("applied")));
    assert_eq!(last["changes"][0]["text"], "the camera's port 8443 closes");

    let back = said(gateway, &["rollback"]);
    assert!(back.contains("the camera's port 8443 opens and leads to 192.168.1.101:443"), "{back}");
    assert!(is_reached(&office));
    assert_eq!(file(gateway), before);
}

#[test]
fn after_a_kill_within_the_window_the_last_confirmed_starts() {
    let (mut office, _server) = office();
    let before = file(office.gateway());
    said(office.gateway(), &["set", "firewall.forwards.camera.wan_port", "9443"]);
    said(office.gateway(), &["apply", "--confirm", "600"]);
    assert!(!is_reached(&office));
    assert_eq!(curl(&office.internet, "", (WAN, 9443)), Ok(ISP));
    let (_, setup) = office.stop(Signal::SIGKILL);
    office.start(setup);
    office.give_static_addresses();
    assert_eq!(file(office.gateway()), before);
    assert!(is_reached(&office));
    assert!(office.gateway().show("status")["unconfirmed"].is_null());
    let kinds: Vec<_> = json(&said(office.gateway(), &["history", "--json"]))["versions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|version| version["kind"].as_str().expect("a kind").to_owned())
        .collect();
    assert_eq!(kinds, ["edited", "found"]);
}

#[test]
fn a_new_address_of_the_lan_that_nobody_confirms_is_given_up() {
    let office = Office::new(1, SETTINGS);
    let gateway = office.gateway();
    said(gateway, &["set", "lan.address", "10.9.0.1/24"]);
    said(gateway, &["apply", "--confirm", "3"]);
    let address = |status: &Value| status["lan"]["address"].as_str().map(str::to_owned);
    assert_eq!(address(&gateway.show("status")).as_deref(), Some("10.9.0.1/24"));
    eventually("the deadline", || gateway.show("status")["unconfirmed"].is_null().then_some(()));
    assert_eq!(address(&gateway.show("status")).as_deref(), Some("192.168.1.1/24"));
    assert!(pings(office.pc(1), "", LAN));
}

#[test]
fn edits_by_hand_and_comments_survive() {
    let (office, _server) = office();
    let gateway = office.gateway();
    said(gateway, &["set", "firewall.forwards.camera.wan_port", "9443"]);
    gateway.setup().edit("86400 # a day", "43200 # half a day");
    gateway.setup().edit("# The end.", "# By hand.\n# The end.");
    said(gateway, &["apply"]);
    let text = file(gateway);
    let kept = [
        "43200 # half a day",
        "# By hand.",
        "# The end.",
        "# the yard",
        "wan_port = \"9443\"",
        "# What comes in.",
    ];
    assert!(kept.iter().all(|part| text.contains(part)), "{text}");
    said(gateway, &["set", "dhcp.lease_secs", "600"]);
    gateway.setup().edit("43200", "3600");
    let told = refused(gateway, &["apply"]);
    assert!(told.contains("dhcp.lease_secs: the file was edited meanwhile"), "{told}");
    said(gateway, &["discard"]);
    assert!(gateway.reload().status.success());
    let history = said(gateway, &["history"]);
    assert!(
        history.contains("the file was edited") && history.contains("dhcp.lease_secs: 43200 -> 3600"),
        "{history}"
    );
}

/// A file system in memory, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        fs::create_dir(path).expect("it can be made");
        mount(Some("gatepost-test"), path, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
            .expect("it is mounted");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_told_and_the_file_stays_as_it_was() {
    let (office, _server) = office();
    let gateway = office.gateway();
    let disk = SmallDisk::mount(&gateway.setup().directory().join("small"));
    // The file is a link to one on the small disk.
    let (config, real) = (gateway.setup().config(), disk.0.join("real.toml"));
    let before = file(gateway);
    fs::write(&real, &before).expect("there is room");
    fs::remove_file(&config).expect("it is there");
    symlink(&real, &config).expect("it can be made");
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![b'x'; 1 << 20]).expect_err("it is full");

    said(gateway, &["unset", "firewall.forwards.camera"]);
    let told = refused(gateway, &["apply"]);
    assert!(told.contains("is as it was") && told.contains("No space left"), "{told}");
    assert_eq!(file(gateway), before);
    assert!(is_reached(&office));
    said(gateway, &["apply", "--confirm", "600"]);
    let told = refused(gateway, &["confirm"]);
    assert!(told.contains("No space left"), "{told}");
    fs::remove_file(&filler).expect("it is there");
    said(gateway, &["confirm"]);
    assert!(!file(gateway).contains("camera") && !is_reached(&office));
    assert!(fs::symlink_metadata(&config).expect("it is there").is_symlink());
    let names = fs::read_dir(&disk.0).expect("it can be read").count();
    assert_eq!(names, 1, "nothing is left beside it");
}

#[test]
fn the_second_of_two_editors_is_told() {
    let (office, _server) = office();
    let gateway = office.gateway();
    asked(gateway, "anna", &["set", "firewall.forwards.camera.wan_port", "9443"]).expect("it is valid");
    let told = asked(gateway, "bert", &["set", "dhcp.lease_secs", "600"]).expect("it is valid");
    assert!(told.contains("anna (as root): firewall.forwards.camera.wan_port = \"9443\""), "{told}");
    let told = asked(gateway, "anna", &["apply"]).expect_err("bert came between");
    assert!(told.contains("bert (as root): dhcp.lease_secs = 600"), "{told}");
    asked(gateway, "anna", &["apply"]).expect("anna knows now");
    let told = asked(gateway, "bert", &["apply"]).expect_err("anna did");
    assert!(told.contains("anna (as root): the candidate was applied"), "{told}");
}

#[test]
fn mistakes_are_told_with_the_exit_code_of_their_kind() {
    let (office, _server) = office();
    let gateway = office.gateway();
    let code = |arguments: &[&str]| {
        let mut command = gatepost(arguments);
        command.arg("--config").arg(gateway.setup().config()).output().expect("it runs").status.code()
    };
    assert_eq!(code(&["set", "firewal.stealth", "true"]), Some(2));
    assert_eq!(code(&["set", "dhcp.lease_secs", "soon"]), Some(2));
    assert_eq!(code(&["apply"]), Some(1), "there is nothing to apply");
    assert_eq!(code(&["confirm"]), Some(1), "nothing waits");
    said(gateway, &["set", "wan.mtu", "1400"]);
    let told = refused(gateway, &["apply"]);
    assert!(told.contains("wan.mtu cannot change") && told.contains("edit the file and restart"), "{told}");
    let told = json(&asked(gateway, "anna", &["diff", "--json"]).expect("it is told"));
    assert!(told["mistakes"][0].as_str().is_some_and(|mistake| mistake.contains("wan.mtu")), "{told}");
}
