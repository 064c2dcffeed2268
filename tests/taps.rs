//! TAP devices as the kernel makes them. Needs root.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use gatepost::config::{Driver, PortSpec};
use gatepost::port::tap::Tap;
use gatepost::port::{Port, PortError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

/// A network namespace for one test, gone with the value.
struct Namespace(String);

impl Namespace {
    fn new(test: &str) -> Self {
        let name = format!("gp-{test}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }

    fn tap(&self, name: &str) -> PortSpec {
        PortSpec { tap: name.to_owned(), netns: Some(self.0.clone()), driver: Driver::Auto }
    }

    /// What `ip` with these arguments prints inside.
    fn ip(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", &self.0], arguments].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test may have removed it.
        _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Whether the test can run; says so if not.
fn is_root() -> bool {
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

fn wait_until_readable(tap: &Tap) {
    let mut poll = Poll::new().expect("epoll");
    let registry = poll.registry();
    registry.register(&mut SourceFd(&tap.as_raw_fd()), Token(0), Interest::READABLE).expect("a device");
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::from_secs(10))).expect("epoll");
    assert!(!events.is_empty(), "no frame came");
}

fn error_of(spec: &PortSpec) -> String {
    Tap::open(spec, 1500).expect_err("it must fail").to_string()
}

#[test]
fn frames_cross_in_both_directions() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("cross");
    let mut tap = Tap::open(&namespace.tap("eth0"), 1400).expect("root may");
    let shown = namespace.ip(&["link", "show", "eth0"]);
    assert!(shown.contains("mtu 1400") && shown.contains("qlen 4096"), "{shown}");
    let mut buffer = [0; 2048];
    // The kernel's IPv6 may have spoken already.
    while tap.receive(&mut buffer).is_ok() {}
    assert!(matches!(tap.receive(&mut buffer), Err(PortError::WouldBlock)));

    ip(&["netns", "exec", &namespace.0, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1"]);
    namespace.ip(&["addr", "add", "192.0.2.1/24", "dev", "eth0"]);
    let arp_request = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 2],
        &[0; 6],
        &[192, 0, 2, 1],
    ]
    .concat();
    tap.transmit(&arp_request).expect("the device is up");
    let len = loop {
        match tap.receive(&mut buffer) {
            Ok(len) if buffer[12..14] == [8, 6] => break len,
            Ok(_) => {}
            Err(PortError::WouldBlock) => wait_until_readable(&tap),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((&buffer[..6], &buffer[20..22], len), (&[2, 0, 0, 0, 0, 1][..], &[0, 2][..], 42));
}

#[test]
fn a_device_in_our_own_namespace_has_no_address() {
    if !is_root() {
        return;
    }
    let name = format!("gp{}", std::process::id());
    let spec = PortSpec { tap: name.clone(), netns: None, driver: Driver::Auto };
    let tap = Tap::open(&spec, 1500).expect("root may");
    let shown = ip(&["addr", "show", "dev", &name]);
    assert!(shown.contains("UP") && !shown.contains("inet"), "{shown}");
    assert!(!tap.is_orphaned());
    assert!(error_of(&spec).contains(&format!("the name {name} is taken")));
    drop(tap);
    assert!(!fs::exists(format!("/sys/class/net/{name}")).expect("sysfs"));
}

#[test]
fn a_name_taken_by_another_kind_of_device_is_refused() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("taken");
    let message = error_of(&namespace.tap("lo"));
    assert!(message.contains("the name lo is taken by another device"), "{message}");
}

#[test]
fn a_missing_namespace_is_named_with_the_remedy() {
    if !is_root() {
        return;
    }
    let spec =
        PortSpec { tap: "eth0".to_owned(), netns: Some("gp-nowhere".to_owned()), driver: Driver::Auto };
    assert!(error_of(&spec).ends_with("make it with `ip netns add gp-nowhere`"));
}

#[test]
fn a_device_set_down_is_down_and_one_removed_is_gone() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("gone");
    let mut tap = Tap::open(&namespace.tap("eth0"), 1500).expect("root may");
    namespace.ip(&["link", "set", "eth0", "down"]);
    assert!(matches!(tap.transmit(&[0; 60]), Err(PortError::Down)));
    namespace.ip(&["link", "set", "eth0", "up"]);
    assert!(tap.transmit(&[0; 60]).is_ok());
    namespace.ip(&["link", "del", "eth0"]);
    assert!(matches!(tap.transmit(&[0; 60]), Err(PortError::Gone(_))));
    assert!(matches!(tap.receive(&mut [0; 2048]), Err(PortError::Gone(_))));
}

#[test]
fn a_device_whose_namespace_was_removed_is_orphaned() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("orphan");
    let tap = Tap::open(&namespace.tap("eth0"), 1500).expect("root may");
    assert!(!tap.is_orphaned());
    ip(&["netns", "del", &namespace.0]);
    assert!(tap.is_orphaned());
    // Another namespace of the same name is another namespace.
    ip(&["netns", "add", &namespace.0]);
    assert!(tap.is_orphaned());
}

#[test]
fn a_frame_that_the_kernel_refuses_is_refused_alone() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("refuse");
    let mut tap = Tap::open(&namespace.tap("eth0"), 1500).expect("root may");
    let refused = tap.transmit(&[0; 5]);
    assert!(
        matches!(&refused, Err(PortError::Refused(error)) if error.kind() == io::ErrorKind::InvalidInput)
    );
    assert!(tap.transmit(&[0; 60]).is_ok());
}
