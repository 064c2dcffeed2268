//! What the gateway's own services have counted since the gateway began, over all reloads.

use std::cell::RefCell;
use std::rc::Rc;

use gatepost_services::dns;
use gatepost_services::net::stack::{Stack, StackCounters};

use super::uplink::Uplink;

gatepost_ground::counters! {
    /// What became of the frames that the dataplane delivered to the DHCP server and the DHCP client.
    pub struct DhcpCounters {
        /// Frames that the DHCP server on the LAN got.
        pub to_server: u64,
        /// Frames for the DHCP server that were dropped because too many of their port waited for it.
        pub to_server_dropped_queue_full: u64,
        /// Frames that the DHCP client on the WAN got.
        pub to_client: u64,
        /// Frames for the DHCP client that were dropped because too many of their port waited for it.
        pub to_client_dropped_queue_full: u64,
        /// Frames for a DHCP server or client that the gateway has not.
        pub unwanted: u64,
    }
}

/// The services that count. Who starts them tells of them here.
#[derive(Default)]
pub struct ServiceCounters {
    stack: RefCell<Option<Stack>>,
    /// Has the name service, if there is one.
    uplink: RefCell<Option<Rc<Uplink>>>,
    /// What the name services before that one counted.
    dns_before: RefCell<dns::Stats>,
    dhcp: RefCell<DhcpCounters>,
}

impl ServiceCounters {
    /// The host stack is there.
    pub fn stack_began(&self, stack: &Stack) {
        *self.stack.borrow_mut() = Some(stack.clone());
    }

    /// A name service is there, in `uplink`. It counts on from where the one before stopped.
    pub fn dns_began(&self, uplink: &Rc<Uplink>) {
        self.dns_ended();
        *self.uplink.borrow_mut() = Some(Rc::clone(uplink));
    }

    /// The name service is there no more.
    pub fn dns_ended(&self) {
        let sum = dns::Stats { cached_records: 0, ..self.dns() };
        self.uplink.borrow_mut().take();
        *self.dns_before.borrow_mut() = sum;
    }

    /// Counts frames of DHCP's.
    pub fn count_dhcp(&self, count: impl FnOnce(&mut DhcpCounters)) {
        count(&mut self.dhcp.borrow_mut());
    }

    /// What the host stack counted.
    pub fn host_stack(&self) -> StackCounters {
        self.stack.borrow().as_ref().map(Stack::counters).unwrap_or_default()
    }

    /// What the name service counted.
    pub fn dns(&self) -> dns::Stats {
        let mut sum = self.dns_before.borrow().clone();
        if let Some(dns) = self.uplink.borrow().as_ref().and_then(|uplink| uplink.dns.as_ref()) {
            sum += &dns.stats();
        }
        sum
    }

    /// What was counted of DHCP's frames.
    pub fn dhcp(&self) -> DhcpCounters {
        self.dhcp.borrow().clone()
    }
}
