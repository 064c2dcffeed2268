//! Explanations: the stages decide on a packet as on any other, note their decisions, and change nothing.
//!
//! [`Dataplane::explain`](crate::Dataplane::explain) runs the stages over a shadow of the tables. The stages are
//! generic over what they run for ([`Run`]): on the packet path the observer has no size and its method no code, so
//! that the compiler makes the machine code of stages without an observer.

use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;
use gatepost_ground::{InterfaceId, MacAddr, PortId};

use crate::flow::{FlowError, State};
use crate::key::{Direction, Endpoint, FlowKey};
use crate::route::Route;
use crate::table::memory::{Memory, Own, Shadow};

/// What the stages run for.
pub trait Run: Memory {
    /// The observer of the stages.
    type Observer: Observer;
}

impl Run for Own {
    type Observer = Unobserved;
}

impl Run for Shadow<'_> {
    type Observer = Recorder;
}

/// Takes notes of the stages' decisions.
pub trait Observer {
    /// Notes the step that `step` returns.
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// The observer of the packet path, which notes nothing.
#[derive(Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    #[inline(always)]
    fn note(&mut self, _: impl FnOnce() -> Step) {}
}

/// The observer of an explanation. A packet passes each stage twice at most, so its steps are few.
#[derive(Debug, Default)]
pub struct Recorder {
    steps: Vec<Step>,
}

impl Observer for Recorder {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        let step = step();
        // Several stages look up the same route.
        if self.steps.last() != Some(&step) {
            self.steps.push(step);
        }
    }
}

impl Recorder {
    /// The steps, in their order.
    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

/// A decision of a stage about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The packet came in by this port of this interface.
    Entered {
        /// The interface.
        interface: InterfaceId,
        /// The port, or the number of a VLAN of a port.
        port: PortId,
    },
    /// The packet takes this route.
    Route {
        /// The address that was looked up.
        destination: Ipv4Addr,
        /// The interface that the route leads to.
        interface: InterfaceId,
        /// The router; `None` if the destination is in the interface's network.
        gateway: Option<Ipv4Addr>,
    },
    /// This rule decides about a packet that belongs to no flow.
    Rule(Rule),
    /// The packet belongs to a flow.
    Flow {
        /// The key of the flow's packets in its original direction, as they arrive.
        original: FlowKey,
        /// The key of the replies, as they arrive.
        reply: FlowKey,
        /// The state of the connection before the packet.
        state: State,
        /// The packet's direction.
        direction: Direction,
    },
    /// The packet opens a flow.
    Opened {
        /// The key of the flow's packets in its original direction, as they arrive.
        original: FlowKey,
        /// The key of the replies, as they arrive.
        reply: FlowKey,
    },
    /// The packet opens no flow, for this reason.
    Refused(FlowError),
    /// The packet is rewritten.
    Nat {
        /// The protocol.
        protocol: Protocol,
        /// Source and destination before.
        before: [Endpoint; 2],
        /// Source and destination after.
        after: [Endpoint; 2],
    },
    /// The packet has gone out to the WAN address, and comes in again there.
    Hairpin,
    /// The packet goes to this neighbour.
    NextHop {
        /// On this interface.
        interface: InterfaceId,
        /// The neighbour's address.
        address: Ipv4Addr,
        /// The neighbour's hardware address; `None` if it is not known, or is to be verified.
        mac: Option<MacAddr>,
    },
}

impl Step {
    /// The step of a packet to `destination` that takes `route`.
    pub(crate) fn route(destination: Ipv4Addr, route: Route) -> Self {
        Self::Route { destination, interface: route.interface, gateway: route.gateway }
    }
}

/// The rule that decides about a packet to an address of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The mode.
    Mode,
    /// The service of the gateway with this place in [`InboundRules::wan_services`].
    ///
    /// [`InboundRules::wan_services`]: crate::config::InboundRules::wan_services
    Service(u16),
    /// The forward with this place in [`InboundRules::forwards`](crate::config::InboundRules::forwards).
    Forward(u16),
    /// A mapping or a pinhole of an inside host has the port.
    Mapping,
    /// The default host, for all ports that nothing else has.
    DefaultHost,
    /// Stealth, by which the gateway answers no ping from outside; or it is off.
    Stealth,
    /// No rule: nothing has the port.
    Nothing,
}

/// What would become of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The stages' decisions, in their order.
    pub steps: Vec<Step>,
    /// The frames that the gateway would make at once because of the frame: ICMP errors, echo replies, resets,
    /// fragments, ARP replies. The ARP request for an unknown neighbour is not among them.
    pub made: u64,
}
