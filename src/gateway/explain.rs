//! `gatepost explain`: asks the workers what would become of a packet.
//!
//! The worker that receives the packet explains it first, and then each worker that the packet is handed over to, as it
//! would happen to the packet. Each explains it on its own tables and changes nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use gatepost_dataplane::config::Interface;
use gatepost_dataplane::explain::Step;
use gatepost_dataplane::key::{Endpoint, FlowKey};
use gatepost_dataplane::{Batch, DropReason, Ingress, Verdict};
use gatepost_ground::wire::{Protocol, ethernet};
use gatepost_ground::{MacAddr, PortId, Role};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::drops::{NamedRule, describe, shown};
use super::inspector::{Inspector, flow_state};
use super::probe;
use super::query::{ExplanationAnswer, Query};
use super::requests::RequestError;
use crate::config::Config;
use crate::control::explain::{Asked, Explained, Stage, Transport, Unexplained};
use crate::control::mail::Undone;

/// The port of a client that is not given: the first of the range for clients. (RFC 6335, section 6)
const CLIENT_PORT: u16 = 49_152;

/// The most stages of a packet's handoff: with the receiver, the owner, the owner of a hairpin's port, the owner again,
/// and the receiver of the hairpin. One is to spare.
pub(super) const HANDOFF_STAGES_MAX: usize = 6;

/// The hardware address of a sender that is not known; the first octet says that nobody has assigned it.
const UNKNOWN_SENDER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xfe]);

impl From<RequestError> for Unexplained {
    fn from(error: RequestError) -> Self {
        Self::Unanswered(Undone { why: error.to_string(), remedy: "ask again".to_owned() })
    }
}

/// A packet's way into the gateway.
struct Entry {
    ingress: Ingress,
    source: MacAddr,
    destination: MacAddr,
}

impl Inspector {
    /// What would become of a packet.
    ///
    /// # Errors
    ///
    /// The workers do not answer, or hand the packet over to each other without an end. DNS does not answer, or knows
    /// no address for the name.
    pub async fn explain(&self, asked: &Asked) -> Result<Explained, Unexplained> {
        self.explain_within(asked, HANDOFF_STAGES_MAX).await
    }

    /// As [`Inspector::explain`], for a packet that is decided on after at most `stages_max` stages of its handoff.
    pub(super) async fn explain_within(
        &self,
        asked: &Asked,
        stages_max: usize,
    ) -> Result<Explained, Unexplained> {
        let to = self.resolve(&asked.to).await?;
        let protocol = match asked.protocol {
            Transport::Tcp => Protocol::TCP,
            Transport::Udp => Protocol::UDP,
            Transport::Icmp => Protocol::ICMP,
        };
        let source = SocketAddrV4::new(asked.from, asked.from_port.unwrap_or(CLIENT_PORT));
        let destination = SocketAddrV4::new(to, asked.to_port.unwrap_or(0));
        let Entry { ingress, source: sender, destination: receiver } = self.entry(asked.from, to).await?;
        let link =
            ethernet::Header { destination: receiver, source: sender, ether_type: ethernet::EtherType::IPV4 };
        let wrong = |_| Unexplained::Wrong("the packet cannot be built; write other addresses".to_owned());
        let octets = probe::frame(link, protocol, [source, destination]).map_err(wrong)?;

        let config = self.config();
        let mut stages = Vec::new();
        if ingress == Ingress::Stack {
            stages.push(stage("interface", "the gateway itself sends it", []));
        }
        let (mut worker, mut ingress, mut octets) = (0, ingress, octets);
        let (mut verdict, mut made) = (Verdict::Pending, 0);
        for _ in 0..stages_max {
            let ExplanationAnswer { explanation, batch } = self
                .requests
                .put_to(worker, |reply| Query::Explain { batch: batch_of(ingress, &octets), reply })
                .await?;
            made += explanation.made;
            stages.extend(explanation.steps.iter().map(|step| self.stage_of(step, &config)));
            let Some(slot) = batch.slots().first() else { break };
            verdict = slot.verdict;
            let Verdict::HandOver(owner) = verdict else { break };
            stages.push(stage(
                "worker",
                format!("worker {owner} goes on with it"),
                [("worker", json!(owner))],
            ));
            (worker, ingress, octets) = (owner.into(), slot.ingress, slot.frame.bytes().to_vec());
        }
        let ends = [source, destination].map(|end| Endpoint::new(*end.ip(), end.port()));
        let [from, to] = ends.map(|end| shown(protocol, end));
        // A change of the configuration reaches the workers one after the other.
        let (name, meaning) = self.outcome(verdict, &stages).ok_or_else(|| {
            let (why, remedy) = ("the workers disagree".to_owned(), "ask again".to_owned());
            Unexplained::Unanswered(Undone { why, remedy })
        })?;
        Ok(Explained {
            protocol: protocol.to_string().to_lowercase(),
            from,
            to,
            stages,
            verdict: name.to_owned(),
            passes: !matches!(verdict, Verdict::Drop(_)),
            reason: match verdict {
                Verdict::Drop(reason) => Some(reason.name().to_owned()),
                _ => None,
            },
            meaning,
            made,
        })
    }

    /// How a packet from `from` to `to` comes to the gateway.
    async fn entry(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<Entry, RequestError> {
        let plan = self.plan.load();
        let is_own = |address: Ipv4Addr| {
            plan.interfaces.iter().any(|of| of.addresses.iter().any(|net| net.addr() == address))
        };
        if is_own(from) {
            let nobody = MacAddr::ZERO;
            return Ok(Entry { ingress: Ingress::Stack, source: nobody, destination: nobody });
        }
        let has_sender = |of: &Interface| of.addresses.iter().any(|net| net.contains(&IpAddr::V4(from)));
        let inside = plan.interfaces_of(Role::Inside).find(|(_, of)| has_sender(of)).map(|(id, _)| id);
        let outside = plan.interfaces_of(Role::Outside).next().map(|(id, _)| id);
        let outside = outside.filter(|id| !plan.ports_of(*id).is_empty());
        let id = inside.or(outside).unwrap_or(Config::LAN);
        let interface = plan.interface(id);
        let answer = self.requests.put(Query::Neighbors).await?;
        let leased =
            self.current.borrow().lan_hosts.leases().into_iter().map(|host| (host.address, host.mac));
        let leased: Vec<_> = leased.collect();
        let mac_of = |address: Ipv4Addr| {
            let lease = leased.iter().find(|(of, _)| *of == address).map(|(_, mac)| *mac);
            let known = answer.neighbors.iter().find(|of| of.interface == id && of.ip == address);
            lease.or_else(|| known.and_then(|of| of.mac))
        };
        // A packet from beyond the network comes from its router.
        let sender = if has_sender(interface) { Some(from) } else { interface.gateway.v4 };
        let source = sender.and_then(mac_of).unwrap_or(UNKNOWN_SENDER);
        let station = answer.stations.iter().find(|(of, station)| *of == id && station.mac == source);
        let first = plan.ports_of(id).iter().next().unwrap_or(PortId(0));
        // Neighbours of one network send each other frames, which a bridge carries. An interface may have two networks,
        // and the gateway routes between them.
        let has_both = |net: &IpNet| [from, to].iter().all(|address| net.contains(&IpAddr::V4(*address)));
        let are_neighbors = inside.is_some() && interface.addresses.iter().any(has_both) && !is_own(to);
        let destination = Some(to).filter(|_| are_neighbors).and_then(mac_of);
        Ok(Entry {
            ingress: Ingress::Port(station.map_or(first, |(_, station)| station.port)),
            source,
            destination: destination.unwrap_or(interface.mac()),
        })
    }

    fn stage_of(&self, step: &Step, config: &Config) -> Stage {
        let name = Config::interface_name;
        match *step {
            Step::Entered { interface, port } => {
                let port = config.ports().nth(port.0.into()).map(|(_, port)| port.to_string());
                let text = format!("it comes in by the {}", name(interface));
                stage("interface", text, [("interface", json!(name(interface))), ("port", json!(port))])
            }
            Step::Route { destination, interface, gateway } => {
                let by = gateway.map_or("directly".to_owned(), |gateway| format!("by the router {gateway}"));
                let text = format!("{destination} is on the {}, reached {by}", name(interface));
                let details = [
                    ("destination", json!(destination)),
                    ("interface", json!(name(interface))),
                    ("gateway", json!(gateway)),
                ];
                stage("route", text, details)
            }
            Step::Rule(rule) => {
                let NamedRule { name, place } = describe(rule, config);
                let text = place.as_ref().map_or_else(|| name.clone(), |place| format!("{name} ({place})"));
                stage("rule", text, [("rule", json!(name)), ("place", json!(place))])
            }
            Step::Flow { original, reply, state, .. } => {
                let state = flow_state(state);
                let text = format!("of a flow that is {state}: {}", keys(&original, &reply));
                stage("flow", text, [("state", json!(state))])
            }
            Step::Opened { original, reply } => {
                let text = format!("it opens a flow: {}", keys(&original, &reply));
                stage("flow", text, [("state", json!("new"))])
            }
            Step::Refused(error) => {
                let reason = DropReason::from(error);
                stage("flow", format!("it opens none: {reason}"), [("state", json!("refused"))])
            }
            Step::Nat { protocol, before, after } => {
                let [before, after] = [before, after].map(|ends| ends.map(|end| shown(protocol, end)));
                let text = if before == after {
                    "unchanged".to_owned()
                } else {
                    format!("{} becomes {}", before.join(" > "), after.join(" > "))
                };
                stage("nat", text, [("before", json!(before)), ("after", json!(after))])
            }
            Step::Hairpin => stage("hairpin", "it comes in again at the WAN address", []),
            Step::NextHop { interface, address, mac } => {
                let mac = mac.map(|mac| mac.to_string());
                let known = mac.as_deref().unwrap_or("whose hardware address ARP asks for");
                let text = format!("{address} on the {}, {known}", name(interface));
                let details =
                    [("interface", json!(name(interface))), ("address", json!(address)), ("mac", json!(mac))];
                stage("neighbor", text, details)
            }
        }
    }

    /// The name and the meaning of a verdict; `None` if it decides nothing.
    fn outcome(&self, verdict: Verdict, stages: &[Stage]) -> Option<(&'static str, String)> {
        let port = |id: PortId| {
            let config = self.config();
            let port = config.ports().nth(id.0.into()).map(|(_, port)| port.to_string());
            port.unwrap_or_else(|| "a port".to_owned())
        };
        let passed_nothing = !stages.iter().any(|stage| stage.stage == "neighbor");
        Some(match verdict {
            Verdict::Transmit(id) if passed_nothing => {
                ("transmitted", format!("bridged, out by {}", port(id)))
            }
            Verdict::Transmit(id) => ("transmitted", format!("passes, out by {}", port(id))),
            Verdict::Flood { .. } => ("flooded", "passes, out by several ports".to_owned()),
            Verdict::Local(_) => ("local", "passes, to the gateway itself".to_owned()),
            Verdict::Consumed => ("consumed", "passes; the gateway has dealt with it".to_owned()),
            Verdict::Hold => ("held", "passes if the neighbour answers; until then it is held".to_owned()),
            Verdict::Drop(reason) => ("dropped", format!("dropped, {reason}: {}", reason.meaning())),
            Verdict::Pending | Verdict::HandOver(_) => return None,
        })
    }
}

/// A batch with the one frame of a question.
fn batch_of(ingress: Ingress, octets: &[u8]) -> Box<Batch> {
    let mut batch = Box::new(Batch::new(octets.len().max(FRAME_CAPACITY)));
    let read = |buffer: &mut [u8]| {
        let room = buffer.get_mut(..octets.len()).ok_or(())?;
        room.copy_from_slice(octets);
        Ok::<_, ()>(octets.len())
    };
    let is_taken = batch.receive(ingress, read);
    debug_assert_eq!(is_taken, Ok(true), "a batch has room for one frame");
    batch
}

/// Room for an ICMP error about the packet, in octets.
const FRAME_CAPACITY: usize = 1514;

fn stage<const N: usize>(name: &str, text: impl Into<String>, details: [(&str, Value); N]) -> Stage {
    let details: Map<_, _> = details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Stage { stage: name.to_owned(), text: text.into(), details }
}

/// Both directions of a flow.
fn keys(original: &FlowKey, reply: &FlowKey) -> String {
    let [a, b, c, d] = [original.source, original.destination, reply.source, reply.destination]
        .map(|end| shown(original.protocol, end));
    format!("{a} > {b}, back {c} > {d}")
}
