#![allow(clippy::all, missing_docs, clippy::disallowed_methods, clippy::unwrap_used, reason = "ad hoc")]
use std::convert::Infallible;
use std::sync::Arc;
#[path = "../tests/common/mod.rs"]
mod common;
use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::*;

fn main() {
    for (label, flows) in [("1k", 1_000usize), ("1M", 1_000_000)] {
        let mut config = config(Mode::NatDmz);
        config.nat.flows_max = 1 << 21;
        config.nat.flows_per_host_max = 1 << 21;
        let now = Instant::from_secs(1000);
        let mut dp = Dataplane::new(Arc::new(config), [7; 32], now);
        let mut batch = Batch::new(2048);
        let run = |dp: &mut Dataplane, batch: &mut Batch, frames: &[(PortId, Vec<u8>)]| {
            batch.clear();
            for (port, bytes) in frames {
                let Ok(_) = batch.receive(Ingress::Port(*port), |b| { b[..bytes.len()].copy_from_slice(bytes); Ok::<_, Infallible>(bytes.len()) });
            }
            let t = std::time::Instant::now();
            dp.process(now, batch);
            let e = t.elapsed();
            assert!(batch.slots().iter().all(|s| matches!(s.verdict, Verdict::Transmit(_) | Verdict::Flood{..}|Verdict::Consumed)), "{:?}", batch.slots()[0].verdict);
            e
        };
        for h in [ALICE, BOB] { run(&mut dp, &mut batch, &[(h.port, arp_request(h, GATEWAY_LAN))]); }
        run(&mut dp, &mut batch, &[(WAN, arp_request(ISP, GATEWAY_WAN))]);
        let mk = |i: usize| {
            let dst = std::net::Ipv4Addr::from(0x0a000001u32 + (i as u32 >> 10) ) ;
            let remote = Host { address: dst, ..SERVER };
            (remote, 2000 + (i % 1024) as u16)
        };
        let mut out = vec![]; let mut back = vec![];
        for i in 0..flows {
            let (remote, port) = mk(i);
            out.push((LAN0, udp(ALICE, port, remote.address, 4000, b"0123456789")));
            back.push((WAN, udp(remote, 4000, GATEWAY_WAN, port, b"0123456789")));
        }
        for c in out.chunks(256) { run(&mut dp, &mut batch, c); }
        for size in [1usize, 32, 256] {
            for (name, frames) in [("out", &out), ("back", &back)] {
                let mut order: Vec<usize> = (0..frames.len()).collect();
                let mut x = 12345u64;
                for i in (1..order.len()).rev() { x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); order.swap(i, (x >> 33) as usize % (i + 1)); }
                let shuffled: Vec<_> = order.iter().take(200_000).map(|i| frames[*i].clone()).collect();
                let mut best = f64::MAX;
                for _ in 0..if flows < 10_000 { 200 } else { 3 } {
                    let mut total = std::time::Duration::ZERO;
                    for c in shuffled.chunks(size) { total += run(&mut dp, &mut batch, c); }
                    best = best.min(total.as_nanos() as f64 / shuffled.len() as f64);
                }
                println!("{label} flows, batch {size:3}, {name:4}: {best:.1} ns/packet");
            }
        }
    }
}
