//! In steady state the dataplane allocates nothing, whatever the batch's size.

#![expect(unsafe_code, reason = "a global allocator that counts can only be written so")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{Batch, Dataplane, Ingress, Shard, Verdict};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{Instant, MacAddr, PortId};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches only a
// thread-local without a destructor, which neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames that go round and round: NAT in both directions, bridging, ARP, pings.
fn steady_frames() -> Vec<(PortId, Vec<u8>)> {
    let mut frames = Vec::new();
    for i in 0..64 {
        frames.push((LAN0, udp(ALICE, 5000 + i, SERVER.address, 4000, b"out")));
        frames.push((WAN, udp(SERVER, 4000, GATEWAY_WAN, 5000 + i, b"in")));
    }
    frames.push((LAN0, tcp(ALICE, 40_000, SERVER.address, 80, "A", 2, 10)));
    frames.push((WAN, tcp(SERVER, 80, GATEWAY_WAN, 40_000, "A", 10, 2)));
    frames.push((WAN, udp(STRANGER, 4000, GATEWAY_WAN, 9000, b"forward")));
    frames.push((LAN1, udp(BOB, 9000, STRANGER.address, 4000, b"answer")));
    frames.push((LAN0, udp(ALICE, 5000, GATEWAY_WAN, 9000, b"hairpin")));
    frames.push((LAN0, echo_request(ALICE, SERVER.address, 7, 1)));
    frames.push((LAN0, echo_request(ALICE, GATEWAY_LAN, 7, 1)));
    frames.push((LAN0, arp_request(ALICE, GATEWAY_LAN)));
    frames.push((LAN1, arp_request(BOB, GATEWAY_LAN)));
    frames.push((WAN, arp_request(ISP, GATEWAY_WAN)));
    frames.push((LAN0, arp_request(ALICE, BOB.address)));
    let bridged = [&BOB.mac.0[..], &ALICE.mac.0[..], &[0x88, 0xb5], &[0; 46]].concat();
    frames.push((LAN0, bridged.clone()));
    frames.push((LAN0, [&MacAddr::BROADCAST.0[..], &bridged[6..]].concat()));
    frames
}

struct Loop {
    dataplane: Dataplane,
    now: Instant,
    batch: Batch,
}

impl Loop {
    /// Everything once, in batches of `size`; the number of allocations meanwhile.
    fn run(&mut self, frames: &[(PortId, Vec<u8>)], size: usize) -> u64 {
        let before = ALLOCATIONS.get();
        for frames in frames.chunks(size) {
            for (port, bytes) in frames {
                let copy = |buffer: &mut [u8]| {
                    buffer[..bytes.len()].copy_from_slice(bytes);
                    Ok::<_, Infallible>(bytes.len())
                };
                let Ok(_) = self.batch.receive(Ingress::Port(*port), copy);
            }
            self.now = self.now + Duration::from_millis(5);
            self.dataplane.process(self.now, &mut self.batch);
            let dropped = self.batch.slots().iter().find(|slot| matches!(slot.verdict, Verdict::Drop(_)));
            assert!(dropped.is_none(), "{:?}", dropped.map(|slot| slot.verdict));
            self.batch.clear();
            if self.dataplane.poll_timeout().is_some_and(|due| due <= self.now) {
                self.dataplane.handle_timeout(self.now, &mut self.batch);
                self.batch.clear();
            }
        }
        ALLOCATIONS.get() - before
    }
}

#[test]
fn the_steady_state_allocates_nothing() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 9000..=9000, BOB, 9000)];
    let now = Instant::from_secs(1_000);
    let dataplane = Dataplane::new(Arc::new(config), Shard::SOLE, [7; 32], now);
    let mut steady = Loop { dataplane, now, batch: Batch::new(2048) };

    // Neighbours and flows first.
    for frames in [
        vec![(LAN0, arp_request(ALICE, GATEWAY_LAN))],
        vec![(LAN1, arp_request(BOB, GATEWAY_LAN))],
        vec![(WAN, arp_request(ISP, GATEWAY_WAN))],
        vec![(LAN0, tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0))],
        vec![(WAN, tcp(SERVER, 80, GATEWAY_WAN, 40_000, "SA", 9, 2))],
    ] {
        steady.run(&frames, 1);
    }
    let frames = steady_frames();
    steady.run(&frames, 1);

    let many: Vec<_> = (0..4).flat_map(|_| frames.clone()).collect();
    for size in [1, 32, 256] {
        assert_eq!(steady.run(&many, size), 0, "in batches of {size}");
    }
}
