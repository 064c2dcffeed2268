//! TAP devices as the kernel makes them, one by one.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use gatepost::config::{Driver, Netns, PortSpec};
use gatepost::device::{Abilities, LinkState, Port, PortError, Received};
use gatepost::port::tap::{self, Tap};
use gatepost_ground::Offload;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::harness::{Namespace, eventually, run};

fn wait_until_readable(tap: &Tap) {
    let mut poll = Poll::new().expect("epoll");
    let registry = poll.registry();
    registry.register(&mut SourceFd(&tap.as_raw_fd()), Token(0), Interest::READABLE).expect("a device");
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::from_secs(10))).expect("epoll");
    assert!(!events.is_empty(), "no frame came");
}

/// That of the tests; where it is the best that the kernel offers, this kernel is to offer offloads.
fn driver() -> Driver {
    if crate::profile().driver == "plain" { Driver::Plain } else { Driver::Offload }
}

/// Asks for 192.0.2.1, from a MAC address that ends in `number`.
fn arp_request(number: u8) -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, number];
    let asks = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &mac, &asks, &mac, &[192, 0, 2, 1 + number], &[0; 6], &[192, 0, 2, 1]].concat()
}

/// Waits for an answer to [`arp_request`] at any of `taps`, and returns whom it is for and where it came.
fn arp_answer(taps: &mut [Tap]) -> (u8, usize) {
    let mut buffer = [0; 2048];
    eventually("an answer", || {
        for (number, tap) in taps.iter_mut().enumerate() {
            loop {
                match receive(tap, &mut buffer) {
                    Ok(42) if buffer[12..14] == [8, 6] && buffer[20..22] == [0, 2] => {
                        return Some((buffer[5], number));
                    }
                    Ok(_) => {}
                    Err(PortError::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        None
    })
}

/// Opens a device that this test had open before. A program that another test is about to start shares the closed
/// descriptors for a moment, and the kernel keeps the device until then.
fn open_when_free(workers: u8, spec: &PortSpec) -> Vec<Tap> {
    eventually("the device to be free", || Tap::open_for(workers, spec, 1500).ok())
}

/// Waits until a device that was closed is gone; see [`open_when_free`].
fn wait_until_closed(mut is_gone: impl FnMut() -> bool) {
    eventually("the device to be gone", || is_gone().then_some(()));
}

/// Reads a frame without super-frames and checksums in mind.
fn receive(tap: &mut Tap, buffer: &mut [u8]) -> Result<usize, PortError> {
    tap.receive(buffer, &mut []).map(|Received { len, .. }| len)
}

/// Sends a frame that leaves nothing to do.
fn transmit(tap: &mut Tap, frame: &[u8]) -> Result<(), PortError> {
    tap.transmit(frame, Offload::None)
}

fn tap(namespace: &Namespace, name: &str) -> PortSpec {
    let netns = Some(Netns::Name(namespace.name().to_owned()));
    PortSpec { tap: name.to_owned(), netns, driver: driver(), persist: false }
}

fn error_of(spec: &PortSpec) -> String {
    Tap::open(spec, 1500).expect_err("it must fail").to_string()
}

#[test]
fn frames_cross_in_both_directions() {
    let namespace = Namespace::new("cross");
    let mut device = Tap::open(&tap(&namespace, "eth0"), 1400).expect("root may");
    let shown = namespace.sh("ip link show eth0");
    assert!(shown.contains("mtu 1400") && shown.contains("qlen 1000"), "{shown}");
    let mut buffer = [0; 2048];
    assert!(matches!(receive(&mut device, &mut buffer), Err(PortError::WouldBlock)));

    namespace.sh("ip addr add 192.0.2.1/24 dev eth0");
    transmit(&mut device, &arp_request(1)).expect("the device is up");
    let len = loop {
        match receive(&mut device, &mut buffer) {
            Ok(len) if buffer[12..14] == [8, 6] => break len,
            Ok(_) => {}
            Err(PortError::WouldBlock) => wait_until_readable(&device),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((&buffer[..6], &buffer[20..22], len), (&[2, 0, 0, 0, 0, 1][..], &[0, 2][..], 42));
}

#[test]
fn a_device_in_our_own_namespace_has_no_address() {
    let name = format!("gp{}", std::process::id());
    let spec = PortSpec { tap: name.clone(), netns: None, driver: driver(), persist: false };
    let device = Tap::open(&spec, 1500).expect("root may");
    let shown = run(Command::new("ip").args(["addr", "show", "dev", &name]));
    assert!(shown.contains("UP") && !shown.contains("inet"), "{shown}");
    assert!(!device.is_orphaned());
    assert_eq!(device.link_state(), LinkState::Unattached);
    for workers in [1, 2] {
        let error = Tap::open_for(workers, &spec, 1500).expect_err("it is ours").to_string();
        assert!(error.contains(&format!("the name {name} is taken")), "{error}");
    }
    drop(device);
    let shown = format!("/sys/class/net/{name}");
    wait_until_closed(|| !fs::exists(&shown).expect("sysfs"));
}

#[test]
fn a_name_taken_by_another_kind_of_device_is_refused() {
    let namespace = Namespace::new("taken");
    let message = error_of(&tap(&namespace, "lo"));
    assert!(message.contains("the name lo is taken by another device"), "{message}");
}

#[test]
fn a_missing_namespace_is_named_with_the_remedy() {
    let spec =
        |netns| PortSpec { tap: "eth0".to_owned(), netns: Some(netns), driver: Driver::Auto, persist: false };
    let name = Netns::Name("gp-nowhere".to_owned());
    assert!(error_of(&spec(name)).ends_with("make it with `ip netns add gp-nowhere`"));
    let path = Netns::Path("/nowhere/ns".into());
    assert!(error_of(&spec(path)).contains("there is no network namespace /nowhere/ns"));
    // Of pid_max, 2^22 is beyond every process.
    assert!(error_of(&spec(Netns::Pid(1 << 22))).contains("there is no process 4194304"));
    let own = Netns::Pid(std::process::id());
    assert!(error_of(&spec(own)).contains("in the gateway's own network namespace"));
}

#[test]
fn a_namespace_is_entered_by_its_path_or_a_process_in_it() {
    let namespace = Namespace::new("ways");
    let mut process = namespace.spawn("cat");
    // It runs in the namespace once it answers.
    process.say("there");
    assert_eq!(process.hear(), "there");
    let path = Netns::Path(format!("/run/netns/{}", namespace.name()).into());
    let spec = PortSpec { netns: Some(path), ..tap(&namespace, "eth0") };
    let by_path = Tap::open(&spec, 1500).expect("root may");
    let spec = PortSpec { netns: Some(Netns::Pid(process.id())), ..tap(&namespace, "eth1") };
    let by_process = Tap::open(&spec, 1500).expect("root may");
    assert!(namespace.succeeds("ip link show eth0 && ip link show eth1"));
    assert!(!by_path.is_orphaned() && !by_process.is_orphaned());
    drop(process);
    assert!(!by_path.is_orphaned() && by_process.is_orphaned());
}

#[test]
fn a_device_that_is_kept_stays_as_it_is_for_any_number_of_workers() {
    let namespace = Namespace::new("kept");
    let spec = PortSpec { persist: true, ..tap(&namespace, "eth0") };
    let address = || namespace.sh("cat /sys/class/net/eth0/address");
    Tap::open(&spec, 1500).expect("root may").keep().expect("root may");
    namespace.sh("ip link add br0 type bridge; ip link set br0 up; ip link set eth0 master br0");
    let before = address();
    for workers in [1, 4, 2] {
        let taps = open_when_free(workers, &spec);
        let readers = if crate::profile().driver == "plain" { 1 } else { usize::from(workers) };
        assert_eq!(taps.iter().filter(|tap| tap.reads()).count(), readers);
        assert!(error_of(&spec).contains("is taken"));
        assert!(tap::remove(&spec).expect_err("it is open").to_string().contains("somebody has it open"));
    }
    // Whatever the driver is the next time.
    for driver in [Driver::Plain, Driver::Offload, Driver::Auto] {
        let device = open_when_free(1, &PortSpec { driver, ..spec.clone() }).remove(0);
        assert_eq!(device.abilities() == Abilities::NONE, driver == Driver::Plain);
    }
    assert_eq!(address(), before);
    assert!(namespace.sh("ip link show eth0").contains("master br0"));
    eventually("the removal", || tap::remove(&spec).ok().filter(|was_there| *was_there));
    assert!(!namespace.succeeds("ip link show eth0"));
    assert!(!tap::remove(&spec).expect("there is nothing to do"));
    namespace.sh("ip link add eth0 type veth peer name peer");
    assert!(tap::remove(&spec).expect_err("another's").to_string().contains("no TAP device"));
}

#[test]
fn a_device_set_down_is_down_and_one_removed_is_gone() {
    let namespace = Namespace::new("gone");
    let mut device = Tap::open(&tap(&namespace, "eth0"), 1500).expect("root may");
    namespace.sh("ip link set eth0 down");
    assert!(matches!(transmit(&mut device, &[0; 60]), Err(PortError::Down)));
    namespace.sh("ip link set eth0 up");
    assert!(transmit(&mut device, &[0; 60]).is_ok());
    namespace.sh("ip link del eth0");
    assert!(matches!(transmit(&mut device, &[0; 60]), Err(PortError::Gone(_))));
    assert!(matches!(receive(&mut device, &mut [0; 2048]), Err(PortError::Gone(_))));
}

#[test]
fn a_device_whose_namespace_was_removed_is_orphaned() {
    let namespace = Namespace::new("orphan");
    let device = Tap::open(&tap(&namespace, "eth0"), 1500).expect("root may");
    assert!(!device.is_orphaned());
    // Another namespace of the same name is another namespace.
    namespace.renew();
    assert!(device.is_orphaned());
}

#[test]
fn a_frame_that_the_kernel_refuses_is_refused_alone() {
    let namespace = Namespace::new("refuse");
    let mut device = Tap::open(&tap(&namespace, "eth0"), 1500).expect("root may");
    let refused = transmit(&mut device, &[0; 5]);
    assert!(
        matches!(&refused, Err(PortError::FrameRejected(error)) if error.kind() == io::ErrorKind::InvalidInput)
    );
    assert!(transmit(&mut device, &[0; 60]).is_ok());
}

#[test]
fn a_device_says_what_it_can_leave_to_do() {
    let namespace = Namespace::new("able");
    let abilities =
        |driver| open_when_free(1, &PortSpec { driver, ..tap(&namespace, "eth0") })[0].abilities();
    assert_eq!(abilities(Driver::Plain), Abilities::NONE);
    let offload = abilities(Driver::Offload);
    assert!(offload.checksum && offload.tcp_segmentation, "{offload:?}");
    assert_eq!(abilities(Driver::Auto), offload);
}

#[test]
fn a_device_has_a_queue_for_each_worker_where_it_can() {
    let namespace = Namespace::new("queues");
    let spec = tap(&namespace, "eth0");
    let mut taps = Tap::open_for(4, &spec, 1500).expect("root may");
    for workers in [1, 2] {
        let error = Tap::open_for(workers, &spec, 1500).expect_err("it is taken").to_string();
        assert!(error.contains("the name eth0 is taken"), "{error}");
    }
    let readers = if crate::profile().driver == "plain" { 1 } else { 4 };
    assert_eq!(taps.iter().filter(|tap| tap.reads()).count(), readers);
    assert!(taps[0].reads() && taps.iter().all(|tap| tap.abilities() == taps[0].abilities()));
    let shown = namespace.sh("ip -d link show eth0");
    assert!(shown.contains("multi_queue") == (readers > 1) && shown.contains("mtu 1500"), "{shown}");

    // Whichever sends, what comes back can be read.
    namespace.sh("ip addr add 192.0.2.1/24 dev eth0");
    for number in 0..4 {
        transmit(&mut taps[usize::from(number)], &arp_request(1 + number)).expect("the device is up");
        let (to, at) = arp_answer(&mut taps);
        assert!(to == 1 + number && taps[at].reads());
    }
    // The device exists as long as a process has it open.
    drop(taps.drain(..3));
    assert!(namespace.succeeds("ip link show eth0"));
    drop(taps);
    wait_until_closed(|| !namespace.succeeds("ip link show eth0"));
}

#[test]
fn a_persistent_device_is_taken_however_many_queues_it_was_made_for() {
    let namespace = Namespace::new("stays");
    let kind = if crate::profile().driver == "plain" { "mode tap" } else { "mode tap vnet_hdr" };
    namespace.sh(&format!("ip tuntap add tap0 {kind}; ip addr add 192.0.2.1/24 dev tap0"));
    if crate::profile().driver != "plain" {
        namespace.sh(&format!("ip tuntap add tap1 {kind} multi_queue"));
        for workers in [1, 4] {
            let taps = open_when_free(workers, &tap(&namespace, "tap1"));
            assert!(taps.iter().all(Tap::reads));
            // It is up by now, and others are kept from it.
            assert!(error_of(&tap(&namespace, "tap1")).contains("is taken"));
        }
    }
    let mut taps = Tap::open_for(3, &tap(&namespace, "tap0"), 1500).expect("it is free");
    assert_eq!(taps.iter().map(Tap::reads).collect::<Vec<_>>(), [true, false, false]);
    for number in 0..3 {
        transmit(&mut taps[usize::from(number)], &arp_request(1 + number)).expect("the device is up");
        assert_eq!(arp_answer(&mut taps), (1 + number, 0));
    }
    drop(taps);
    assert!(namespace.succeeds("ip link show tap0"), "it is persistent");
}
