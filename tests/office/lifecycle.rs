//! How a gateway starts, stops, fails to start, and recovers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::programs::{assert_echoes, echo_client, echo_server, pings};
use crate::harness::{
    Directory, Gateway, ISP, LAN, Namespace, Office, SERVER, Setup, eventually, gatepost, run,
};

/// An unprivileged user, by custom `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn signals_end_it_in_order_and_nothing_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut office = Office::new(2, "");
        let _server = echo_server(&office.internet, 7000);
        let _connection = echo_client(office.pc(1), "", (SERVER, 7000));
        let (status, setup) = office.stop(signal);
        assert!(status.success(), "{signal}: {status}");
        for namespace in office.pcs.iter().chain([&office.internet]) {
            assert!(!namespace.succeeds("ip link show eth0"), "{} keeps its port", namespace.name());
        }
        assert_eq!(files(setup.directory().path()), ["gatepost.toml", "log", "state"]);
        let state = fs::metadata(setup.directory().join("state")).expect("it is there");
        assert_eq!(state.permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn after_a_crash_it_starts_again() {
    let mut office = Office::new(1, "");
    assert!(pings(office.pc(1), "", SERVER));
    let mac = |office: &Office| office.gateway().show("status")["wan"]["mac"].clone();
    let before = mac(&office);
    let (status, setup) = office.stop(Signal::SIGKILL);
    assert!(!status.success());
    assert!(setup.directory().join("control.sock").exists(), "a crash has no time to tidy up");
    office.start(setup);
    office.give_static_addresses();
    assert!(pings(office.pc(1), "", SERVER));
    assert_eq!(mac(&office), before, "its neighbours know it by that");
}

/// A client whose connection a crash has ended: it prints the error of its next write.
const TALKATIVE: &str = r#"
import socket, sys
connection = socket.create_connection((sys.argv[1], 7000))
connection.recv(100)
print("connected", flush=True)
sys.stdin.readline()
try:
    connection.sendall(b"still there?")
    print(connection.recv(100), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"#;

#[test]
fn after_a_restart_a_host_that_speaks_in_an_old_connection_is_told_that_it_is_gone() {
    let mut office = Office::new(1, "");
    let _server = echo_server(&office.internet, 7000);
    let directory = Directory::new();
    fs::write(directory.join("client.py"), TALKATIVE).expect("it can be written");
    let script = directory.join("client.py");
    // TCP by itself would send again for a quarter of an hour.
    let line = format!("timeout 60 /usr/bin/python3 {} {SERVER}", script.display());
    let mut client = office.pc(1).spawn(&line);
    assert_eq!(client.hear(), "connected");
    let (_, setup) = office.stop(Signal::SIGTERM);
    office.start(setup);
    office.give_static_addresses();
    assert!(pings(office.pc(1), "", SERVER));
    client.say("");
    assert_eq!(client.hear(), "ConnectionResetError");
    assert!(office.gateway().show("counters")["tcp_resets_made"].as_u64() > Some(0));
    let (mut connection, _) = echo_client(office.pc(1), "", (SERVER, 7000));
    assert_echoes(&mut connection, "anew");
}

#[test]
fn a_state_directory_has_one_gateway() {
    let office = Office::new(1, "");
    let other = Namespace::new("other");
    let setup = office.gateway().setup();
    let config = format!(
        "network.mode = 'lan-only'\nlan.ports = [{{ tap = 'eth0', netns = '{}' }}]\n\
         system.state_dir = '{}'\nsystem.control_socket = '{}'\n",
        other.name(),
        setup.directory().join("state").display(),
        setup.directory().join("other.sock").display(),
    );
    fs::write(setup.directory().join("other.toml"), config).expect("it can be written");
    let message =
        refused(1, Command::new("timeout").arg("20").args(run_with(&setup.directory().join("other.toml"))));
    assert!(
        message.contains("state") && message.contains("stop it, or set another system.state_dir"),
        "{message}"
    );
    assert!(!other.succeeds("ip link show eth0"));
    // The first is none the worse for it.
    assert!(pings(office.pc(1), "", LAN));
    office.gateway().show("status");
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let namespace = Namespace::new("pc");
    let config = format!(
        "network.mode = 'lan-only'\nlan.ports = [{{ tap = 'eth0', netns = '{}' }}]\n",
        namespace.name()
    );
    let first = Gateway::start(Setup::new(&config));
    let expected = "the name eth0 is taken by another device";
    let message = refuse(&Setup::new(&config));
    assert!(message.contains(expected), "{message}");
    drop(first);

    namespace.sh("ip link add eth0 type veth peer name peer");
    let message = refuse(&Setup::new(&config));
    assert!(message.contains(expected), "{message}");
    assert!(namespace.succeeds("ip link show eth0"), "it belongs to somebody else");
}

#[test]
fn a_namespace_that_is_missing_is_named_and_nothing_is_started() {
    let namespace = Namespace::new("pc");
    let config = format!(
        "lan.ports = [{{ tap = 'eth0', netns = '{}' }}]\nwan.ports = [{{ tap = 'eth0', netns = 'gp-none' }}]\n",
        namespace.name()
    );
    let setup = Setup::new(&config);
    let message = refuse(&setup);
    assert!(message.contains("no network namespace gp-none"), "{message}");
    assert!(message.contains("ip netns add gp-none"), "{message}");
    assert!(!namespace.succeeds("ip link show eth0"));
    assert!(!setup.directory().join("control.sock").exists());
}

#[test]
fn without_a_tun_device_the_remedy_is_told() {
    let setup = Setup::new("network.mode = 'lan-only'");
    let hide = "mount -t tmpfs tmpfs /dev/net && exec timeout 20 \"$@\"";
    let message = refused(
        1,
        Command::new("unshare").args(["-m", "sh", "-c", hide, "sh"]).args(run_with(&setup.config())),
    );
    assert!(message.contains("modprobe tun"), "{message}");
}

#[test]
fn without_permission_the_remedy_is_told() {
    let namespace = Namespace::new("own");
    let setup = Setup::new("network.mode = 'lan-only'");
    for path in [setup.directory().path().to_owned(), setup.config()] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root gives it away");
    }
    let program = setup.directory().join("gatepost");
    fs::copy(gatepost(&[]).get_program(), &program)
        .expect("the program can be copied to where nobody reaches it");
    let mut command = namespace.command("setpriv");
    command.args([
        &format!("--reuid={NOBODY}"),
        &format!("--regid={NOBODY}"),
        "--clear-groups",
        "timeout",
        "20",
    ]);
    let message = refused(1, command.arg(program).arg("run").arg("--config").arg(setup.config()));
    assert!(message.contains("run as root"), "{message}");
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let namespace = Namespace::new("pc");
    let setup = Setup::new(&format!(
        "lan.ports = [{{ tap = 'eth0', netns = '{}' }}]\nnetwork.mode = 'nat-dmx'\n",
        namespace.name()
    ));
    let message = refused(2, Command::new("timeout").arg("20").args(run_with(&setup.config())));
    assert!(message.contains("gatepost.toml:4:16"), "{message}");
    assert!(message.contains("nat-dmz"), "{message}");
    assert!(!namespace.succeeds("ip link show eth0"));
    assert_eq!(files(setup.directory().path()), ["gatepost.toml"]);
}

#[test]
fn a_port_that_is_deleted_is_reported_and_comes_back() {
    let office = Office::new(2, "");
    assert!(pings(office.pc(1), "", LAN));
    office.pc(1).sh("ip link del eth0");
    let name = office.pc(1).name();
    eventually("the report", || {
        office.gateway().log().lines().any(|line| line.contains(name) && line.contains("gone")).then_some(())
    });
    // The others do not notice.
    assert!(pings(office.pc(2), "", ISP));
    eventually("the port to be back", || office.pc(1).succeeds("ip link show eth0").then_some(()));
    office.give_static_address(1);
    assert!(pings(office.pc(1), "", ISP));
    assert!(pings(office.pc(2), "", Office::address(1)));
    let status = office.gateway().show("status");
    let ports = status["ports"].as_array().expect("a list");
    assert!(ports.iter().all(|port| port["up"] == true), "{status}");
}

#[test]
fn a_port_that_is_set_down_is_used_again_when_it_is_up() {
    let office = Office::new(2, "");
    office.pc(1).sh("ip link set eth0 down");
    assert!(!pings(office.pc(2), "", Office::address(1)));
    office.pc(1).sh(&format!("ip link set eth0 up; ip route replace default via {LAN}"));
    assert!(pings(office.pc(2), "", Office::address(1)));
    assert!(pings(office.pc(1), "", ISP));
}

#[test]
fn a_namespace_that_is_made_anew_is_plugged_in_again() {
    let office = Office::new(2, "");
    office.pc(1).renew();
    eventually("the port in the new namespace", || office.pc(1).succeeds("ip link show eth0").then_some(()));
    office.give_static_address(1);
    assert!(pings(office.pc(1), "", ISP));
}

#[test]
fn ports_in_its_own_namespace_give_the_kernel_no_address() {
    let own = Namespace::new("own");
    // What the kernel does by itself must not depend on the machine's settings.
    own.sh("for scope in all default; do echo 0 >/proc/sys/net/ipv6/conf/$scope/disable_ipv6; done");
    let setup = Setup::new(
        "lan.ports = [{ tap = 'gp-lan0' }, { tap = 'gp-lan1' }]\nwan.ports = [{ tap = 'gp-wan0' }]",
    );
    let mut command = own.command(env!("CARGO_BIN_EXE_gatepost"));
    command.args(["run", "--config"]).arg(setup.config());
    let gateway = Gateway::start_by(command, setup);
    for port in ["gp-lan0", "gp-lan1", "gp-wan0"] {
        assert!(own.sh(&format!("ip link show {port}")).contains("UP"), "{port}");
        assert_eq!(own.sh(&format!("ip -oneline address show dev {port}")), "");
    }
    let (status, setup) = gateway.end(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    let log = setup.directory().read("log");
    let file = setup.config().display().to_string();
    assert!(
        log.contains(&format!(
            "gp-lan0, gp-lan1, gp-wan0 stay for the next start; `gatepost ports remove --config {file}`"
        )),
        "{log}"
    );
    let remove = |name: &str| {
        let mut command = own.command(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["ports", "remove", "--config", &file]).args(name.split_whitespace());
        command
    };
    assert_eq!(run(&mut remove("gp-lan1")), "gp-lan1 is removed\n");
    let message = refused(1, &mut remove("gp-lan1"));
    assert!(message.contains("its device is not there"), "{message}");
    assert_eq!(run(&mut remove("")), "gp-lan0 is removed\ngp-wan0 is removed\n");
    assert!(!own.sh("ip link").contains("gp-"));
}

#[test]
fn a_restart_keeps_bridge_hosts_and_leases() {
    let own = Namespace::new("own");
    let pc = Namespace::new("pc");
    let setup = Setup::new("network.mode = 'lan-only'");
    let start = |setup: Setup| {
        let mut command = own.command(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["run", "--config"]).arg(setup.config());
        Gateway::start_by(command, setup)
    };
    let state = |gateway: &Gateway| {
        let port = gateway.show("status")["ports"][0].clone();
        (port["up"].clone(), port["state"].clone())
    };
    let device = || own.sh("ip -oneline link show gp-lan0 | grep -o 'master br0\\|link/ether [0-9a-f:]*'");
    let gateway = start(setup);
    assert_eq!(state(&gateway), (true.into(), "unattached".into()));
    assert!(gateway.show_text("status").contains("Nobody is attached to gp-lan0"));
    own.sh(&format!(
        "ip link add br0 type bridge; ip link set br0 up; ip link set gp-lan0 master br0
         ip link add cable type veth peer name eth0 netns {}; ip link set cable up master br0",
        pc.name()
    ));
    assert_eq!(state(&gateway), (true.into(), "up".into()));
    let before = device();
    assert!(before.contains("master br0") && before.contains("link/ether"), "{before}");
    let lease = "busybox udhcpc -i eth0 -n -q -t 10 -T 1 -s /bin/true 2>&1 | grep -o 'lease of [0-9.]*'";
    pc.sh("ip link set eth0 up");
    let leased = pc.sh(lease);
    pc.sh("ip address add 192.168.1.101/24 dev eth0");
    assert!(pings(&pc, "", LAN));

    // Another number of workers takes the same device.
    let (mut setup, counts) = (gateway.end(Signal::SIGTERM).1, [1, 3, 2]);
    for workers in counts {
        let now = fs::read_to_string(setup.config()).expect("it is there");
        let line =
            now.lines().find(|line| line.starts_with("system.workers")).expect("it is there").to_owned();
        setup.edit(&line, &format!("system.workers = {workers}"));
        assert_eq!(device(), before, "as the gateway has left it");
        let gateway = start(setup);
        assert_eq!(device(), before);
        assert_eq!(state(&gateway), (true.into(), "up".into()));
        assert!(pings(&pc, "", LAN), "the bridge and the host were not touched");
        let leases = gateway.show("leases");
        let address = leases["leases"][0]["address"].as_str().expect("an address");
        assert!(leased.trim_end().ends_with(address), "{leased}{leases}");
        assert_eq!(pc.sh(lease), leased);
        setup = gateway.end(Signal::SIGTERM).1;
    }
    // Not even a crash takes it away.
    let gateway = start(setup);
    gateway.end(Signal::SIGKILL);
    assert_eq!(device(), before);
}

#[test]
fn everything_can_be_shown() {
    let office = Office::new(1, "");
    let _server = echo_server(&office.internet, 7000);
    let _connection = echo_client(office.pc(1), ",sourceport=40000", (SERVER, 7000));
    for (what, key, in_text) in [
        ("status", "ports", "nat-dmz"),
        ("leases", "leases", "address"),
        ("flows", "flows", "192.168.1.101:40000"),
        ("neighbors", "stations", "02:00:00:00:01:01"),
        ("counters", "received", "received"),
        ("drops", "drops", "in all"),
    ] {
        let report = office.gateway().show(what);
        assert!(!report[key].is_null(), "{what}: {report}");
        let text = office.gateway().show_text(what);
        assert!(text.contains(in_text), "{what}: {text}");
    }
    let flows = office.gateway().show("flows");
    let flow = &flows["flows"][0];
    let expected =
        [("protocol", "tcp"), ("client_seen_as", "203.0.113.10:40000"), ("server", "198.51.100.80:7000")];
    for (key, value) in expected {
        assert_eq!(flow[key], value, "{flow}");
    }
}

#[test]
fn what_is_watched_is_told_again_until_interrupted() {
    let office = Office::new(1, "");
    let mut command = gatepost(&["show", "counters", "--json", "--watch", "--config"]);
    let mut watching =
        command.arg(office.gateway().setup().config()).stdout(Stdio::piped()).spawn().expect("gatepost runs");
    let mut lines = BufReader::new(watching.stdout.take().expect("it is piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a report").expect("it can be read");
        let report: Value = serde_json::from_str(&line).expect("one object a line");
        assert!(report["host_stack"]["connections"].is_u64(), "{report}");
    }
    kill(Pid::from_raw(watching.id().cast_signed()), Signal::SIGINT).expect("it can be signalled");
    assert_eq!(watching.wait().expect("it ends").code(), Some(0));
}

#[test]
fn without_a_gateway_there_is_nothing_to_show() {
    let setup = Setup::new("");
    let message = refused(1, gatepost(&["show", "status", "--config"]).arg(setup.config()));
    assert!(message.contains("gatepost run"), "{message}");
}

/// Asserts that a gateway does not start, for another reason than its configuration, and returns why.
fn refuse(setup: &Setup) -> String {
    refused(1, Command::new("timeout").arg("20").args(run_with(&setup.config())))
}

fn run_with(config: &Path) -> [String; 4] {
    let program = env!("CARGO_BIN_EXE_gatepost");
    [program, "run", "--config", &config.display().to_string()].map(str::to_owned)
}

/// Asserts that a command fails with `code` and one sentence, and returns that.
fn refused(code: i32, command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let sentences: Vec<_> = message.lines().filter(|line| line.starts_with("gatepost: ")).collect();
    assert_eq!(sentences.len(), 1, "{message}");
    message
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}
