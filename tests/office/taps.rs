//! TAP devices as the kernel makes them, one by one.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use gatepost::config::{Driver, PortSpec};
use gatepost::port::tap::Tap;
use gatepost::port::{Abilities, Port, PortError, Received};
use gatepost_dataplane::Offload;
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
    if crate::DRIVER == "plain" { Driver::Plain } else { Driver::Offload }
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

/// Reads a frame without super-frames and checksums in mind.
fn receive(tap: &mut Tap, buffer: &mut [u8]) -> Result<usize, PortError> {
    tap.receive(buffer, &mut []).map(|Received { len, .. }| len)
}

/// Sends a frame that leaves nothing to do.
fn transmit(tap: &mut Tap, frame: &[u8]) -> Result<(), PortError> {
    tap.transmit(frame, Offload::None)
}

fn tap(namespace: &Namespace, name: &str) -> PortSpec {
    PortSpec { tap: name.to_owned(), netns: Some(namespace.name().to_owned()), driver: driver() }
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
    let spec = PortSpec { tap: name.clone(), netns: None, driver: driver() };
    let device = Tap::open(&spec, 1500).expect("root may");
    let shown = run(Command::new("ip").args(["addr", "show", "dev", &name]));
    assert!(shown.contains("UP") && !shown.contains("inet"), "{shown}");
    assert!(!device.is_orphaned());
    for workers in [1, 2] {
        let error = Tap::open_for(workers, &spec, 1500).expect_err("it is ours").to_string();
        assert!(error.contains(&format!("the name {name} is taken")), "{error}");
    }
    drop(device);
    assert!(!fs::exists(format!("/sys/class/net/{name}")).expect("sysfs"));
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
        PortSpec { tap: "eth0".to_owned(), netns: Some("gp-nowhere".to_owned()), driver: Driver::Auto };
    assert!(error_of(&spec).ends_with("make it with `ip netns add gp-nowhere`"));
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
        matches!(&refused, Err(PortError::Refused(error)) if error.kind() == io::ErrorKind::InvalidInput)
    );
    assert!(transmit(&mut device, &[0; 60]).is_ok());
}

#[test]
fn a_device_says_what_it_can_leave_to_do() {
    let namespace = Namespace::new("able");
    let abilities = |driver| {
        let spec = PortSpec { driver, ..tap(&namespace, "eth0") };
        Tap::open(&spec, 1500).expect("root may").abilities()
    };
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
    let readers = if crate::DRIVER == "plain" { 1 } else { 4 };
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
    // The device is there as long as anybody has it.
    drop(taps.drain(..3));
    assert!(namespace.succeeds("ip link show eth0"));
    drop(taps);
    assert!(!namespace.succeeds("ip link show eth0"));
}

#[test]
fn a_persistent_device_is_taken_however_many_queues_it_was_made_for() {
    let namespace = Namespace::new("stays");
    let kind = if crate::DRIVER == "plain" { "mode tap" } else { "mode tap vnet_hdr" };
    namespace.sh(&format!("ip tuntap add tap0 {kind}; ip addr add 192.0.2.1/24 dev tap0"));
    if crate::DRIVER != "plain" {
        namespace.sh(&format!("ip tuntap add tap1 {kind} multi_queue"));
        for workers in [1, 4] {
            let taps = Tap::open_for(workers, &tap(&namespace, "tap1"), 1500).expect("it is free");
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
