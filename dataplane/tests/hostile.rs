//! The worst of packet crafters: each shot is dropped for its reason, answered with nothing, and leaves
//! nothing.

mod common;

use std::net::Ipv4Addr;

use common::*;
use gatepost_dataplane::DropReason::{self, *};
use gatepost_dataplane::config::{Config, Mode};
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::transport::fill_checksum;

/// Behind everything that can let something in.
fn office() -> Config {
    let mut config = config(Mode::NatDmz);
    config.firewall.stealth = true;
    config.firewall.v4.forwards = vec![forward(Protocol::TCP, 80..=80, ALICE, 80)];
    config.firewall.v4.dmz_host = Some(BOB.address);
    config
}

#[track_caller]
fn shoot(bench: &mut Bench, frame: &[u8], reason: DropReason) {
    let flows = bench.dataplane.flows_len();
    bench.send(WAN, frame).assert_silently_dropped(reason);
    assert_eq!(bench.dataplane.flows_len(), flows);
}

/// A TCP segment to the forward with these control bits and options.
fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
    let mut frame = tcp(STRANGER, 7000, GATEWAY_WAN, 80, "S", 1, 0);
    frame.extend(options);
    frame[14 + 20 + 12] = 0x50 + ((options.len() / 4) as u8) * 16;
    frame[14 + 20 + 13] = flags;
    let len = (frame.len() - 14) as u16;
    change_header(&mut frame, |header| header[2..4].copy_from_slice(&len.to_be_bytes()));
    fill_checksum(STRANGER.address, GATEWAY_WAN, Protocol::TCP, &mut frame[34..]).expect("it has a header");
    frame
}

#[test]
fn every_illegal_flag_combination_is_dropped() {
    let mut bench = Bench::with_config(office());
    let legal = |flags: u8| {
        let kind = flags & 0b111;
        kind.count_ones() <= 1 && (flags & 0x10 != 0 || kind == 2 || kind == 4)
    };
    assert_eq!((0..=255).filter(|flags| legal(*flags)).count(), 6 * 16);
    for flags in (0..=255).filter(|flags| !legal(*flags)) {
        shoot(&mut bench, &segment(flags, &[]), TcpFlagsInvalid);
    }
    // Flags that a TCP may send, but that open no connection.
    for flags in (0..=255).filter(|flags| legal(*flags) && flags & 0x12 != 2) {
        shoot(&mut bench, &segment(flags, &[]), TcpStateInvalid);
    }
}

#[test]
fn options_that_lie_about_their_length_are_dropped() {
    let mut bench = Bench::with_config(office());
    for options in [[2, 0, 0, 0], [2, 1, 0, 0], [2, 5, 0, 0], [2, 255, 0, 0], [1, 1, 1, 2]] {
        shoot(&mut bench, &segment(2, &options), TcpOptionsMalformed);
    }
    // The data offset points into the header, or behind the segment.
    for offset in [0x00, 0x40, 0x60, 0xf0] {
        let mut frame = segment(2, &[]);
        frame[14 + 20 + 12] = offset;
        shoot(&mut bench, &frame, TransportMalformed);
    }
    // The same in the IP header: an option of length 0, 1, or more than there is.
    for option in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 9, 4, 0], [131, 40, 4, 0]] {
        let mut frame = udp(STRANGER, 7000, GATEWAY_WAN, 9, b"x");
        frame.splice(34..34, option);
        let len = (frame.len() - 14) as u16;
        frame[14] = 0x46;
        change_header(&mut frame, |header| header[2..4].copy_from_slice(&len.to_be_bytes()));
        shoot(&mut bench, &frame, Ipv4Malformed);
    }
}

#[test]
fn land_and_smurf_and_spoofed_sources_are_dropped() {
    let mut bench = Bench::with_config(office());
    let from = |address: [u8; 4]| Host { address: Ipv4Addr::from(address), ..STRANGER };
    // Land: from and to one endpoint.
    shoot(&mut bench, &tcp(from([203, 0, 113, 10]), 80, GATEWAY_WAN, 80, "S", 1, 0), SpoofedSource);
    // Smurf: a ping to all, from the victim; and from all, to one.
    shoot(&mut bench, &echo_request(STRANGER, Ipv4Addr::new(203, 0, 113, 255), 1, 1), BroadcastNotForwarded);
    shoot(&mut bench, &echo_request(STRANGER, Ipv4Addr::BROADCAST, 1, 1), BroadcastNotForwarded);
    shoot(&mut bench, &echo_request(from([203, 0, 113, 255]), GATEWAY_WAN, 1, 1), Martian);
    // Reverse path: the LAN's addresses are not on the WAN.
    shoot(&mut bench, &udp(from([192, 168, 1, 10]), 7, GATEWAY_WAN, 9, b"x"), SpoofedSource);
    for martian in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
        shoot(&mut bench, &udp(from(martian), 7, GATEWAY_WAN, 9, b"x"), Martian);
    }
}

#[test]
fn wrong_checksums_are_dropped() {
    let mut bench = Bench::with_config(office());
    let mut frame = udp(STRANGER, 7000, GATEWAY_WAN, 9, b"x");
    frame[14 + 10] ^= 1;
    shoot(&mut bench, &frame, Ipv4Checksum);
    let mut frame = udp(STRANGER, 7000, GATEWAY_WAN, 9, b"x");
    frame[14 + 20 + 6] ^= 1;
    shoot(&mut bench, &frame, UdpChecksum);
    let mut frame = segment(2, &[]);
    frame[14 + 20 + 16] ^= 1;
    shoot(&mut bench, &frame, TcpChecksum);
    let mut frame = echo_request(STRANGER, GATEWAY_WAN, 1, 1);
    frame[14 + 20 + 2] ^= 1;
    shoot(&mut bench, &frame, IcmpChecksum);
    let sent = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"?"));
    let quoted = sent.one().bytes[14..].to_vec();
    let mut error = icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &quoted);
    error[14 + 20 + 2] ^= 1;
    shoot(&mut bench, &error, IcmpChecksum);
}

#[test]
fn forged_and_cut_icmp_errors_are_dropped() {
    let mut bench = Bench::with_config(office());
    let sent = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"?"));
    let quoted = sent.one().bytes[14..].to_vec();
    for len in [0, 1, 19, 20, 27] {
        shoot(&mut bench, &icmp_error(STRANGER, GATEWAY_WAN, 3, 3, 0, &quoted[..len]), TransportMalformed);
    }
    // About what was never sent: another port, another server, or no packet of ours.
    let mut other = quoted.clone();
    other[20..22].copy_from_slice(&5001u16.to_be_bytes());
    shoot(&mut bench, &icmp_error(STRANGER, GATEWAY_WAN, 3, 3, 0, &other), IcmpUnrelated);
    let about = udp(Host { address: SERVER.address, ..STRANGER }, 1, ALICE.address, 2, b"x");
    shoot(&mut bench, &icmp_error(STRANGER, GATEWAY_WAN, 3, 3, 0, &about[14..]), IcmpUnrelated);
    // An inside address in the quote, which no host outside has ever seen.
    let about = udp(Host { address: ALICE.address, ..STRANGER }, 5000, SERVER.address, 53, b"?");
    shoot(&mut bench, &icmp_error(STRANGER, GATEWAY_WAN, 3, 3, 0, &about[14..]), IcmpUnrelated);
    // An error about an error.
    let about = icmp_error(STRANGER, GATEWAY_WAN, 3, 3, 0, &quoted);
    shoot(&mut bench, &icmp_error(STRANGER, GATEWAY_WAN, 11, 0, 0, &about[14..]), IcmpUnrelated);
}

/// A fragment of the segment to the forward, from `start` to `end` of its payload.
fn fragment(start: usize, end: usize, has_more: bool) -> Vec<u8> {
    let whole = [tcp(STRANGER, 7000, GATEWAY_WAN, 80, "S", 1, 0), vec![0; 60]].concat();
    let mut frame = [&whole[..34], &whole[34 + start..34 + end]].concat();
    let word = u16::from(has_more) << 13 | (start / 8) as u16;
    change_header(&mut frame, |header| {
        header[2..4].copy_from_slice(&((20 + end - start) as u16).to_be_bytes());
        header[6..8].copy_from_slice(&word.to_be_bytes());
    });
    frame
}

/// RFC 1858, section 3.2: Tiny and overlapping first fragments are dropped.
/// RFC 3128: Tiny and overlapping first fragments are dropped.
#[test]
fn rfc1858_and_rfc3128_tiny_and_overlapping_first_fragments_are_dropped() {
    let mut bench = Bench::with_config(office());
    shoot(&mut bench, &fragment(0, 8, true), FragmentInvalid);
    shoot(&mut bench, &fragment(0, 16, true), FragmentInvalid);
    // It would replace a part of the header of a first one that was let in.
    shoot(&mut bench, &fragment(8, 40, false), FragmentInvalid);
    shoot(&mut bench, &fragment(16, 40, false), FragmentInvalid);
    // The ping of death ends beyond the largest packet.
    let mut frame = fragment(24, 40, false);
    change_header(&mut frame, |header| header[6..8].copy_from_slice(&0x1fffu16.to_be_bytes()));
    shoot(&mut bench, &frame, Ipv4Malformed);
    // More are to come, but this one does not end where another can begin.
    let mut frame = fragment(24, 43, false);
    change_header(&mut frame, |header| header[6] |= 0x20);
    shoot(&mut bench, &frame, Ipv4Malformed);
}
