//! The messages of `gatepost run`: on stdout, in its log, and to a service manager.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Gateway, Namespace, Office, Setup, eventually, gatepost};

/// A gateway with one port, in a namespace of its own that is removed with it.
fn lan_only() -> (Namespace, Setup) {
    let pc = Namespace::new("pc");
    let config =
        format!("network.mode = 'lan-only'\nlan.ports = [{{ tap = 'eth0', netns = '{}' }}]", pc.name());
    (pc, Setup::new(&config))
}

/// Ends a gateway in order and returns its log.
fn log_of(gateway: Gateway) -> String {
    let (status, setup) = gateway.end(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    setup.directory().read("log")
}

#[test]
fn the_log_sums_up_once_what_the_gateway_is() {
    let office = Office::new(
        1,
        "firewall.forwards = [{ name = 'camera', wan_port = '8443', to = '192.168.1.20:443' }]\n\
         dhcp.reservations = [{ hostname = 'camera', mac = '02:00:00:00:00:20', address = '192.168.1.20' }]",
    );
    let log = office.gateway().log();
    let config = office.gateway().setup().config().display().to_string();
    let driver = if crate::profile().driver == "plain" { "plain" } else { "offload" };
    for expected in [
        "is a gateway in mode nat-dmz".to_owned(),
        format!("LAN 192.168.1.1/24 on eth0 in netns {} ({driver})", office.pc(1).name()),
        format!("WAN address 203.0.113.10/24 on eth0 in netns {} ({driver})", office.internet.name()),
        "WAN router: 203.0.113.1".to_owned(),
        "DHCP: 192.168.1.1 to 192.168.1.100, for 86400 s".to_owned(),
        "reservation: 192.168.1.20 camera (02:00:00:00:00:20)".to_owned(),
        "forward: camera: tcp 8443 to 192.168.1.20:443".to_owned(),
        format!("ask it with `gatepost show status --config {config}`"),
    ] {
        assert_eq!(log.matches(&expected).count(), 1, "{expected}\n{log}");
    }
    assert!(!log.lines().any(|line| line.ends_with(" ready")), "stdout has it: {log}");
}

#[test]
fn leases_are_in_the_log() {
    let office = Office::bare(1, "");
    office.pc(1).sh("busybox udhcpc -i eth0 -n -q -t 10 -T 1 -x hostname:desk -s /bin/true 2>/dev/null");
    let leases = office.gateway().show("leases");
    let address = leases["leases"][0]["address"].as_str().expect("an address");
    let line = format!("leased address={address} mac=02:00:00:00:01:01 hostname=desk");
    let log = office.gateway().log();
    assert_eq!(log.matches(&line).count(), 1, "{log}");
}

#[test]
fn the_command_line_or_the_environment_says_how_much_is_logged() {
    let (_pc, setup) = lan_only();
    let mut command = setup.command();
    command.args(["--log", "warn"]).env("RUST_LOG", "trace");
    assert_eq!(log_of(Gateway::start_by(command, setup)), "");
    let (_pc, setup) = lan_only();
    let mut command = setup.command();
    command.env("RUST_LOG", "warn,gatepost::port=info");
    let log = log_of(Gateway::start_by(command, setup));
    assert!(log.contains("INFO LAN 192.168.1.1/24"), "{log}");
    let output = gatepost(&["run", "--log", "loud"]).output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.starts_with("gatepost: invalid value 'loud'"), "{message}");
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let (_pc, setup) = lan_only();
    setup.edit("network.mode", "lan.gateway = ''\nfirewall.dmz_host = '192.168.1.30'\nnetwork.mode");
    let stream = File::create(setup.directory().join("log")).expect("it can be made");
    let metadata = stream.metadata().expect("it is there");
    let mut command = setup.command();
    command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
    let log = log_of(Gateway::start_by(command, setup));
    assert!(log.contains("<6>LAN 192.168.1.1/24 on eth0"), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<4>") && line.contains("no default host")), "{log}");
    assert!(log.lines().all(|line| line.starts_with('<')), "{log}");

    // Whatever else stderr is, it is no journal.
    let (_pc, setup) = lan_only();
    let mut command = setup.command();
    command.env("JOURNAL_STREAM", "1:1");
    let log = log_of(Gateway::start_by(command, setup));
    assert!(!log.is_empty() && !log.contains("<6>"), "{log}");
}

#[test]
fn a_service_manager_is_told_of_start_reload_and_stop() {
    let (_pc, setup) = lan_only();
    let path = setup.directory().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a free path");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket has a timeout");
    let told = || {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).expect("it is told in time");
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let mut command = setup.command();
    command.env("NOTIFY_SOCKET", &path);
    let gateway = Gateway::start_by(command, setup);
    assert_eq!(told(), "READY=1");
    assert!(gateway.reload().status.success());
    assert_eq!([told(), told()], ["RELOADING=1", "READY=1"]);
    // It goes on as before a reload that fails, and is ready.
    gateway.setup().edit("lan-only", "lan-lonely");
    gateway.signal(Signal::SIGHUP);
    assert_eq!([told(), told()], ["RELOADING=1", "READY=1"]);
    gateway.setup().edit("lan-lonely", "lan-only");
    log_of(gateway);
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn without_a_file_the_machine_s_own_is_read() {
    let (pc, setup) = lan_only();
    // A root directory in which nothing else is `/etc`.
    let script = "mount -t tmpfs tmpfs /etc && mkdir /etc/gatepost && \
                  ln -s \"$1\" /etc/gatepost/gatepost.toml && exec \"$2\" run";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", script, "sh"]).arg(setup.config());
    command.arg(gatepost(&[]).get_program());
    let gateway = Gateway::start_by(command, setup);
    assert!(pc.succeeds("ip link show eth0"));
    assert!(gateway.log().contains("ask it with `gatepost show status`"), "{}", gateway.log());
    let output = gateway.reload();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "/etc/gatepost/gatepost.toml is in force\n");
    fs::write(gateway.setup().config(), "lan = 1\n").expect("it can be written");
    gateway.signal(Signal::SIGHUP);
    eventually("the refusal", || gateway.log().contains("nothing has changed").then_some(()));
}
