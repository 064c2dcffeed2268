//! A host on the WAN that connects to a server of the office: through a forward, or as the default host.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fetch::{Closing, Visits};
use super::pc::when;
use super::stack::{Stack, turn};
use super::{Machine, Record};

const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x77, 0x77, 0x77]);
const VISIT_INTERVAL: Duration = Duration::from_secs(7);

/// The visitor.
pub struct Visitor {
    address: Ipv4Net,
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
        let mut this = Self { address, stack, rng, visits, closing: Closing::default(), due };
        this.move_to(address, office);
        this
    }

    fn work(&mut self, now: Instant) {
        for visits in &mut self.visits {
            visits.work(&mut self.stack, &mut self.rng, &mut self.closing, now);
        }
    }

    /// Has `address` of its network from now on, where the office has `office`.
    fn move_to(&mut self, address: Ipv4Net, office: Ipv4Addr) {
        self.address = address;
        self.stack.set_address(Some((address.addr(), address.prefix_len())));
        self.visits.iter_mut().for_each(|visits| visits.set_address(office));
    }
}

/// The results of a client on the WAN of a server of the office's.
#[derive(Clone, Debug)]
pub struct VisitAccount {
    /// Pages that came whole.
    pub pages: u64,
    /// Pages that did not.
    pub failed: u64,
    /// When the latest page came.
    pub last_page_at: Option<Instant>,
}

impl fmt::Display for VisitAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, failed, last_page_at } = self;
        write!(f, "{pages} pages, the last {}, and {failed} that failed", when(*last_page_at))
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
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.closing.forget(&mut self.stack, now);
        let visits = self.visits.iter().map(Visits::poll_timeout);
        self.due = visits.chain(self.closing.poll_timeout()).chain(self.stack.poll_timeout(now)).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Goes over to the other network as well, as the same host.
    fn on_renumber(&mut self, network: Ipv4Net, office: Ipv4Addr) {
        let host = self.address.addr().to_bits() - self.address.network().to_bits();
        let address = Ipv4Addr::from_bits(network.network().to_bits() + host);
        self.move_to(Ipv4Net::new(address, network.prefix_len()).expect("a network's own prefix"), office);
    }

    /// A [`VisitAccount`] of each port that it visits.
    fn record(&self) -> Arc<dyn Record> {
        let account = |visits: &Visits| VisitAccount {
            pages: visits.pages,
            failed: visits.failed,
            last_page_at: visits.last_page_at,
        };
        Arc::new(self.visits.iter().map(account).collect::<Vec<_>>())
    }
}
