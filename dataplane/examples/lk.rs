#![allow(missing_docs, clippy::all, clippy::disallowed_methods)]
use core::net::Ipv4Addr;
use gatepost_dataplane::config::{Filtering, Nat, Segment};
use gatepost_dataplane::flow::*;
use gatepost_dataplane::nat::Timeouts;
use gatepost_dataplane::wire::ipv4::Protocol;
use gatepost_dataplane::*;
fn main() {
    for n in [1_000u32, 100_000, 1_000_000] {
        let nat = Nat {
            filtering: Filtering::AddressAndPortDependent,
            flows_max: n.max(262144),
            flows_per_host_max: u32::MAX,
        };
        let mut t: FlowTable = FlowTable::new(&nat, Timeouts::default(), [7; 32]);
        t.set_external_address(Some(Ipv4Addr::new(203, 0, 113, 10)));
        let now = Instant::from_secs(1);
        let p = Packet { transport: Transport::Udp, octets: 100 };
        let eg = [Egress::Segment(Segment::Wan), Egress::Segment(Segment::Lan)];
        let s = std::time::Instant::now();
        let mut keys = vec![];
        for i in 0..n {
            let m = i % 60_000.min(n);
            let client =
                Endpoint::new(Ipv4Addr::from_bits(0xc0a80000 + m / 250), 10_000 + (m % 50_000) as u16);
            let remote = Endpoint::new(Ipv4Addr::from_bits(0x08000000 + i), 443);
            let id =
                t.open(now, &NewFlow::Outbound { client: Client::Mapped(client), remote }, eg, &p).unwrap();
            keys.push(t.flow(id).key(Direction::Original));
            keys.push(t.flow(id).key(Direction::Reply));
        }
        println!("{n}: open {:.0} ns", s.elapsed().as_nanos() as f64 / n as f64);
        let mut x = 12345u64;
        let order: Vec<usize> = (0..2_000_000)
            .map(|_| {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (x >> 33) as usize % keys.len()
            })
            .collect();
        let ks: Vec<_> = order.iter().map(|i| keys[*i]).collect();
        for round in 0..2 {
            let s = std::time::Instant::now();
            let mut hit = 0u64;
            for k in &ks {
                if let Some((id, d)) = t.lookup(k) {
                    hit += id_num(id) ^ d as u64
                }
            }
            println!("  lookup {:.1} ns ({hit})", s.elapsed().as_nanos() as f64 / ks.len() as f64);
            let now = Instant::from_secs(2 + round);
            let s = std::time::Instant::now();
            let mut acc = 0u64;
            for k in &ks {
                let (id, d) = t.lookup(k).unwrap();
                t.track(now, id, d, &p).unwrap();
                let tr = t.flow(id).translation(d);
                acc += tr.source.port as u64;
            }
            println!(
                "  lookup+track+translation {:.1} ns ({acc})",
                s.elapsed().as_nanos() as f64 / ks.len() as f64
            );
            let now = Instant::from_secs(20 + round);
            let s = std::time::Instant::now();
            let mut acc = 0u64;
            let mut hs = [t.hash(&ks[0]); 256];
            for ch in ks.chunks(256) {
                for (h, k) in hs.iter_mut().zip(ch) {
                    *h = t.hash(k);
                    t.prefetch(*h);
                }
                for h in &hs[..ch.len()] {
                    t.prefetch_flow(*h);
                }
                for (h, k) in hs.iter().zip(ch) {
                    let (id, d) = t.lookup_hashed(*h, k).unwrap();
                    t.track(now, id, d, &p).unwrap();
                    let tr = t.flow(id).translation(d);
                    acc += tr.source.port as u64;
                }
            }
            println!("  waves {:.1} ns ({acc})", s.elapsed().as_nanos() as f64 / ks.len() as f64);
        }
        let s = std::time::Instant::now();
        let mut calls = 0;
        while let Some(at) = t.poll_timeout() {
            t.handle_timeout(at);
            calls += 1;
        }
        println!("  expire {:.0} ns/flow, {calls} calls", s.elapsed().as_nanos() as f64 / n as f64);
    }
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM"))
            .collect::<String>()
    );
}
fn id_num(_: FlowId) -> u64 {
    1
}
