//! What the dataplane does with one packet in memory, and how long that takes.
//!
//! `stage` is a part by itself, on headers that are in the processor's cache. `process` is all of it,
//! [`Dataplane::process`](gatepost_dataplane::Dataplane::process) in batches of 1, 32 and 256 frames:
//!
//! - `hit`: TCP segments of established flows through NAT, both ways, in random order of the flows;
//! - `miss`: SYNs from the LAN, each of which opens a flow with a mapping and a port of its own;
//! - `route`: segments both ways through a gateway that only routes;
//! - `bridge`: segments from one LAN port to another;
//! - `drop`: segments from the WAN that belong to no flow.
//!
//! `growth` is `hit` and `miss` in batches of 32 among up to four million flows; `benches/growth.py` plots it.
//!
//! All times are per packet. Filling the batches is not counted, and the clock is read once for 32 frames
//! at least. That no frame was dropped, or every one in `drop`, is checked after every sample.

mod frames;
mod office;

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use gatepost_dataplane::Shard;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::flow::Timeouts;
use gatepost_dataplane::flow::{Client, Egress, FlowTable, NewFlow, Packet, Source, Transport};
use gatepost_dataplane::key::{Direction, Endpoint, FlowKey};
use gatepost_dataplane::nat::rewrite::{self, Coverage};
use gatepost_dataplane::route::Routes;
use gatepost_ground::wire::tcp::{self, Flags};
use gatepost_ground::wire::{checksum, ethernet, ipv4};
use gatepost_ground::{Instant, Role};

use self::frames::{Connection, Frames, HOSTS, Prepared, between_hosts, host};
use self::office::{GATEWAY_WAN, LAN_PORTS, Office, config};

const BATCH_LENS: [usize; 3] = [1, 32, 256];
const FLOW_COUNTS: [(usize, &str); 2] = [(1_000, "1k flows"), (1_000_000, "1M flows")];
/// Enough for a stage by itself, and few enough to stay in the cache.
const STAGE_FRAMES: usize = 256;

fn stages(c: &mut Criterion) {
    let mut group = group(c, "stage");
    let both_ways = || Frames::shuffled(both_ways(STAGE_FRAMES, GATEWAY_WAN));

    let mut frames = both_ways();
    group.bench_function("parse", |b| b.iter(|| parse(black_box(&frames.next().bytes))));

    for len in [46, 1_480] {
        let payload = vec![0x5a; len];
        group.bench_function(format!("checksum/{len} octets"), |b| {
            b.iter(|| checksum::is_valid(black_box(&payload)));
        });
    }

    let routes = Routes::of_config(&config(Mode::NatDmz));
    let mut frames = both_ways();
    group.bench_function("route", |b| {
        b.iter(|| routes.lookup(black_box(address_at(&frames.next().bytes, DESTINATION))));
    });

    for (count, label) in FLOW_COUNTS {
        let table = LazyCell::new(|| RefCell::new(flow_table(count)));
        group.bench_function(format!("flow/{label}"), |b| {
            let (table, keys) = &mut *table.borrow_mut();
            let mut keys = keys.iter().cycle();
            b.iter(|| track(table, keys.next().expect("it has no end")));
        });
    }

    let (table, keys) = flow_table(STAGE_FRAMES);
    let (id, direction) = table.lookup(&keys[0]).expect("an open flow");
    let translation = table.flow(id).translation(direction);
    let mut frame = Connection::established(0).out(Flags::ACK).bytes;
    let header = parse(&frame).0;
    group.bench_function("rewrite", |b| {
        b.iter(|| {
            let packet = black_box(&mut frame[ethernet::Header::LEN..]);
            rewrite::packet(packet, &header, Coverage::Whole, black_box(&translation));
            if let Ok(mut ip) = ipv4::HeaderMut::new(packet) {
                ip.decrement_ttl();
            }
        });
    });
}

fn process(c: &mut Criterion) {
    let mut group = group(c, "process");
    for (count, label) in FLOW_COUNTS {
        let office = LazyCell::new(|| RefCell::new(Office::new(Mode::NatDmz, count)));
        let frames = LazyCell::new(|| RefCell::new(Frames::shuffled(both_ways(count, GATEWAY_WAN))));
        for len in BATCH_LENS {
            group.bench_function(format!("hit/{label}/batch {len}"), |b| {
                b.iter_custom(|packets| office.borrow_mut().time(packets, len, &mut frames.borrow_mut()));
            });
        }
        for len in BATCH_LENS {
            group.bench_function(format!("miss/{label}/batch {len}"), |b| {
                b.iter_custom(|packets| office.borrow_mut().time_newcomers(packets, len));
            });
        }
    }
    let office = LazyCell::new(|| RefCell::new(Office::new(Mode::NatDmz, 0)));
    let mut frames = Frames::shuffled(unsolicited(1_000));
    for len in BATCH_LENS {
        group.bench_function(format!("drop/batch {len}"), |b| {
            b.iter_custom(|packets| office.borrow_mut().time_drops(packets, len, &mut frames));
        });
    }
    without_flows(&mut group, "route", Mode::Router, routed(1_000));
    without_flows(&mut group, "bridge", Mode::NatDmz, (0..HOSTS).map(between_hosts).collect());
}

fn growth(c: &mut Criterion) {
    let mut group = group(c, "growth");
    for count in [1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000] {
        let office = LazyCell::new(|| RefCell::new(Office::new(Mode::NatDmz, count)));
        let frames = LazyCell::new(|| RefCell::new(Frames::shuffled(both_ways(count, GATEWAY_WAN))));
        group.bench_function(format!("hit/{count}"), |b| {
            b.iter_custom(|packets| office.borrow_mut().time(packets, 32, &mut frames.borrow_mut()));
        });
        group.bench_function(format!("miss/{count}"), |b| {
            b.iter_custom(|packets| office.borrow_mut().time_newcomers(packets, 32));
        });
    }
}

fn without_flows(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mode: Mode, prepared: Vec<Prepared>) {
    let office = LazyCell::new(|| RefCell::new(Office::new(mode, 0)));
    let mut frames = Frames::shuffled(prepared);
    for len in BATCH_LENS {
        group.bench_function(format!("{name}/batch {len}"), |b| {
            b.iter_custom(|packets| office.borrow_mut().time(packets, len, &mut frames));
        });
    }
}

/// One segment each way of every connection, as they come to a gateway whose WAN address is `external`.
fn both_ways(connections: usize, external: Ipv4Addr) -> Vec<Prepared> {
    let connections = (0..connections).map(Connection::established);
    connections.flat_map(|one| [one.out(Flags::ACK), one.back(external, Flags::ACK)]).collect()
}

/// A segment from the server of every connection, none of which is open.
fn unsolicited(connections: usize) -> Vec<Prepared> {
    (0..connections).map(|number| Connection::established(number).back(GATEWAY_WAN, Flags::ACK)).collect()
}

/// One segment each way of every connection, without NAT.
fn routed(connections: usize) -> Vec<Prepared> {
    let connections = (0..connections).map(Connection::established);
    connections.flat_map(|one| [one.out(Flags::ACK), one.back(host(one.host), Flags::ACK)]).collect()
}

/// All headers of a frame; those that count.
fn parse(frame: &[u8]) -> (ipv4::Header, tcp::Header) {
    let link = ethernet::Header::parse(frame).expect("a frame");
    assert_eq!(link.ether_type, ethernet::EtherType::IPV4);
    let packet = &frame[ethernet::Header::LEN..];
    let header = ipv4::Header::parse(packet).expect("a packet");
    (header, tcp::Header::parse(header.payload(packet)).expect("a segment"))
}

const DESTINATION: usize = ethernet::Header::LEN + 16;

fn address_at(frame: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from_octets(*frame[at..].first_chunk().expect("an address"))
}

const NOW: Instant = Instant::from_secs(1_000);
const PACKET: Packet = Packet { transport: Transport::Udp, octets: 46 };

/// A table with so many flows, and the keys of both ways of all in random order.
fn flow_table(count: usize) -> (FlowTable, Vec<FlowKey>) {
    let nat = config(Mode::NatDmz).nat;
    let mut table = FlowTable::new(&nat, Timeouts::default(), Shard::SOLE, [7; 32]);
    table.set_external_addresses(Instant::ZERO, &[GATEWAY_WAN]);
    let egress = [Egress::To(Role::Outside), Egress::To(Role::Inside)];
    let mut keys = Vec::with_capacity(2 * count);
    for connection in (0..count).map(Connection::established) {
        let inside = Endpoint::new(host(connection.host), connection.host_port);
        let client = Client::Mapped { inside, external: GATEWAY_WAN };
        let remote = Endpoint::new(connection.server, 443);
        let source = Source::Station(frames::host_mac(connection.host), LAN_PORTS[0]);
        let opened = table.open(NOW, &NewFlow::Outbound { client, remote, source }, egress, &PACKET);
        let id = opened.expect("there is room");
        keys.extend(Direction::BOTH.map(|direction| table.flow(id).key(direction)));
    }
    frames::shuffle(&mut keys);
    (table, keys)
}

/// What a flow does to a packet without touching it: it is found, and takes the packet into account.
fn track(table: &mut FlowTable, key: &FlowKey) {
    let (id, direction) = table.lookup(black_box(key)).expect("an open flow");
    black_box((table.flow(id).translation(direction), table.flow(id).egress(direction)));
    table.track(NOW, id, direction, &PACKET).expect("a packet of its flow");
}

/// Samples that are enough to see a change of a few percent, in some three minutes for all.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    group
}

criterion_group!(benches, stages, process, growth);
criterion_main!(benches);
