//! Somebody on the WAN who visits a server of the office's: through a forward, or as the default machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::wire::{IpCidr, Ipv4Cidr};

use super::Machine;
use super::fetch::{Closing, Visits};
use super::stack::Stack;

const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x77, 0x77, 0x77]);
const VISIT_INTERVAL: Duration = Duration::from_secs(7);

/// The visitor.
pub struct Visitor {
    stack: Stack,
    rng: StdRng,
    visits: Vec<Visits>,
    closing: Closing,
    due: Option<Instant>,
}

impl Visitor {
    /// A visitor at `address` of its network, to the office's `ports`.
    pub fn new(address: Ipv4Net, office: Ipv4Addr, ports: &[u16], seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let stack = Stack::new(MAC, rng.random());
        let visits = ports.iter().map(|port| Visits::new((office, *port), VISIT_INTERVAL)).collect();
        let due = (!ports.is_empty()).then_some(Instant::ZERO);
        let mut this = Self { stack, rng, visits, closing: Closing::default(), due };
        this.move_to(address, office);
        this
    }

    /// Moves to another network of the provider's, where the office has gone too.
    pub fn move_to(&mut self, address: Ipv4Net, office: Ipv4Addr) {
        let cidr = Ipv4Cidr::new(address.addr(), address.prefix_len());
        self.stack.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.push(IpCidr::Ipv4(cidr)).expect("there is room for one address");
        });
        self.visits.iter_mut().for_each(|visits| visits.set_address(office));
    }

    /// What it has to tell of each port that it visits.
    pub fn visits(&self) -> &[Visits] {
        &self.visits
    }
}

impl Machine for Visitor {
    fn mac(&self) -> MacAddr {
        MAC
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        for visits in &mut self.visits {
            visits.work(&mut self.stack, &mut self.rng, &mut self.closing, now);
        }
        self.stack.poll(now);
        self.closing.forget(&mut self.stack, now);
        self.stack.drain(transmit);
        let visits = self.visits.iter().map(Visits::poll_timeout);
        self.due = visits.chain(self.closing.poll_timeout()).chain(self.stack.poll_timeout(now)).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}
