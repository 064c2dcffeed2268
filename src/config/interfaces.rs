//! `[lan]` and `[wan]`: addresses and ports.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use gatepost_dataplane::config::Mode;
use gatepost_ground::PortId;
use gatepost_services::addresses::overlap;
use ipnet::Ipv4Net;
use toml::de::DeValue;

use super::address::{address, check_host_of, hosts, interface_address, is_private};
use super::diagnostic::{Problem, Report, Span};
use super::name::{device, namespace};
use super::provider::{self, ReadProvider};
use super::section::Section;
use super::value::{Node, boolean, choice, integer, list, parsed, quoted, unless_empty};
use super::{Driver, Lan, Netns, PortSpec, Wan, WanAddress};

const LAN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const LAN_PREFIX_LEN: u8 = 24;
/// From the largest network in private use (RFC 1918) to the smallest with two hosts besides the
/// network and the broadcast address.
const LAN_PREFIX_LENS: RangeInclusive<u8> = 8..=30;
/// A provider's segment may be a point-to-point link (RFC 3021), or a single address whose router is a neighbour.
const WAN_PREFIX_LENS: RangeInclusive<u8> = 1..=HOST_PREFIX_LEN;
const HOST_PREFIX_LEN: u8 = 32;
/// From the size that every host accepts (RFC 791) to the largest jumbo frame in common use.
const MTU_RANGE: RangeInclusive<u32> = 576..=9216;
const MTU: u32 = 1500;
/// The kernel's PID_MAX_LIMIT. (proc_sys_kernel(5))
const PID_MAX: u32 = 1 << 22;

/// The LAN, with what the checks of other sections need.
pub(super) struct ReadLan {
    pub lan: Lan,
    /// The LAN's address; `None` if it is wrong in the file.
    pub known_address: Option<Ipv4Net>,
    /// The position of the setting that drops other DHCP servers' messages.
    pub snooping: Option<Span>,
}

pub(super) fn read(lan: Section<'_>, wan: Section<'_>, mode: Mode, report: &Report) -> (ReadLan, Wan) {
    let (lan, lan_ports) = read_lan(lan, mode);
    let (wan, wan_ports) = read_wan(wan, mode, lan.known_address);
    let ports_in_use = if mode == Mode::LanOnly { lan_ports } else { [lan_ports, wan_ports].concat() };
    check_ports(&ports_in_use, report);
    (lan, wan)
}

fn read_lan(mut lan: Section<'_>, mode: Mode) -> (ReadLan, Vec<ReadPort>) {
    let default = Ipv4Net::new_assert(LAN_ADDRESS, LAN_PREFIX_LEN);
    let own = lan.setting("address", default, parsed(|text| interface_address(text, LAN_PREFIX_LENS)));
    let gateway = lan.setting("gateway", None, unless_empty(address));
    let ports = read_ports(&mut lan, "gp-lan0");
    let inspect_arp = lan.setting("inspect_arp", false, boolean);
    let dhcp_snooping = lan.setting("dhcp_snooping", false, boolean);

    if let (Some(own), Some((Some(gateway), span))) = (own.known(), gateway.written()) {
        if let Err(problem) = check_host_of("LAN", *own, *gateway) {
            lan.report(span, problem);
        } else if mode == Mode::LanOnly && *gateway == own.addr() {
            let what = format!("{gateway} is gatepost itself, which routes nothing in lan-only mode");
            lan.report(span, Problem::new(what, "write the address of the LAN's router, or \"\""));
        }
    }
    if let Some((own, span)) = own.written()
        && mode.translates()
        && !is_private(own.trunc())
    {
        let what = format!("the LAN {} is a public network, whose owners it cuts off", own.trunc());
        let remedy = "write a private one such as \"192.168.1.1/24\" or \"10.0.0.1/24\" (RFC 1918)";
        lan.warn(span, Problem::new(what, remedy));
    }
    if let (Some((Some(_), span)), true) = (gateway.written(), mode != Mode::LanOnly) {
        let what = format!("in mode {} DHCP clients get the gateway itself, not this", quoted(mode.name()));
        lan.warn(span, Problem::new(what, "write \"\", or mode = \"lan-only\""));
    }
    let snooping = dhcp_snooping.written().filter(|(is_on, _)| **is_on).map(|(_, span)| span);
    if ports.len() == 1 {
        let written = inspect_arp.written().filter(|(is_on, _)| **is_on).map(|(_, span)| span);
        for (key, span) in [("inspect_arp", written), ("dhcp_snooping", snooping.clone())] {
            if let Some(span) = span {
                let what =
                    format!("{key} is for what crosses from one LAN port to another, and there is one");
                lan.warn(span, Problem::new(what, "add ports, or remove it"));
            }
        }
    }
    lan.finish();
    let known_address = own.known().copied();
    let lan = Lan {
        address: own.value,
        former_address: None,
        ports: ports.iter().map(|port| port.spec.clone()).collect(),
        gateway: gateway.value,
        inspect_arp: inspect_arp.value,
        dhcp_snooping: dhcp_snooping.value,
    };
    (ReadLan { lan, known_address, snooping }, ports)
}

fn read_wan(mut wan: Section<'_>, mode: Mode, lan: Option<Ipv4Net>) -> (Wan, Vec<ReadPort>) {
    let own = wan.setting("address", None, parsed(wan_address));
    let gateway = wan.setting("gateway", None, unless_empty(address));
    let mtu = wan.setting("mtu", MTU, integer(MTU_RANGE));
    let ReadProvider { mac, dhcp_client, dhcp_only } = provider::read(&mut wan);
    let ports = read_ports(&mut wan, "gp-wan0");

    if let (Some((key, span)), Some(Some(_))) = (dhcp_only, own.known()) {
        let what = format!("wan.{key} is for the provider's DHCP server, and wan.address is static");
        wan.warn(span, Problem::new(what, "remove it, or write address = \"dhcp\""));
    }
    if let (Some((Some(own), span)), Some(lan)) = (own.written(), lan)
        && mode != Mode::LanOnly
        && overlap(*own, lan)
    {
        // RFC 4787, REQ-7: overlapping address spaces cannot be distinguished.
        let what = format!("the WAN {} and the LAN {} overlap", own.trunc(), lan.trunc());
        let remedy = format!("write another lan.address, such as {}", quoted(lan_apart_from(*own)));
        wan.report(span, Problem::new(what, remedy));
    }
    if let (Some(own), Some((Some(gateway), span))) = (own.known(), gateway.written())
        && let Err(problem) = check_wan_gateway(*own, *gateway, lan.filter(|_| mode != Mode::LanOnly))
    {
        wan.report(span, problem);
    }
    if let Some((Some(own), span)) = own.written() {
        if mode == Mode::LanOnly {
            let what = "in mode \"lan-only\" there is no WAN";
            wan.warn(span, Problem::new(what, "remove the address, or write another mode"));
        } else if gateway.known() == Some(&None) {
            let what = format!("without a gateway nothing beyond {} can be reached", own.trunc());
            let (first, last) = hosts(*own);
            let router = if first == own.addr() { last } else { first };
            let remedy = if router == own.addr() {
                "write the provider's router, which may be any address beside a prefix of 32".to_owned()
            } else {
                format!("write the provider's router, such as gateway = \"{router}\"")
            };
            wan.warn(span, Problem::new(what, remedy));
        }
    }
    wan.finish();
    let address = own
        .value
        .map_or(WanAddress::Leased, |address| WanAddress::Static { address, gateway: gateway.value });
    let specs = ports.iter().map(|port| port.spec.clone()).collect();
    let mtu = u16::try_from(mtu.value).expect("MTU_RANGE is one of u16");
    (Wan { ports: specs, address, mac, dhcp_client, mtu }, ports)
}

/// `None` for the provider's DHCP server.
fn wan_address(text: &str) -> Result<Option<Ipv4Net>, Problem> {
    if text == "dhcp" { Ok(None) } else { interface_address(text, WAN_PREFIX_LENS).map(Some) }
}

/// Checks the provider's router, which is in the network of `own`; or, beside a single address, anywhere but in the LAN.
fn check_wan_gateway(own: Option<Ipv4Net>, gateway: Ipv4Addr, lan: Option<Ipv4Net>) -> Result<(), Problem> {
    let Some(own) = own else {
        let what = "wan.gateway is set, but wan.address is \"dhcp\"";
        return Err(Problem::new(what, "write \"\", or a static wan.address"));
    };
    if gateway == own.addr() {
        let what = format!("{gateway} is the gateway's own address");
        return Err(Problem::new(what, "write the address of the provider's router"));
    }
    if own.prefix_len() < HOST_PREFIX_LEN {
        return check_host_of("WAN", own, gateway);
    }
    match lan.filter(|lan| lan.contains(&gateway)) {
        Some(lan) => {
            let what = format!("{gateway} is in the LAN {}", lan.trunc());
            Err(Problem::new(what, "write the address of the provider's router, or another lan.address"))
        }
        None => Ok(()),
    }
}

/// A usual LAN that does not overlap with `wan`.
fn lan_apart_from(wan: Ipv4Net) -> Ipv4Net {
    let usual = [LAN_ADDRESS, Ipv4Addr::new(10, 0, 0, 1)].map(|own| Ipv4Net::new_assert(own, LAN_PREFIX_LEN));
    let [first, second] = usual;
    if overlap(first, wan) { second } else { first }
}

/// A port, with its position unless it is the default port.
#[derive(Clone, Debug)]
struct ReadPort {
    spec: PortSpec,
    span: Option<Span>,
}

/// The ports under `ports`; none if they are wrong in the file.
fn read_ports(section: &mut Section<'_>, default_tap: &str) -> Vec<ReadPort> {
    let spec = PortSpec { tap: default_tap.to_owned(), netns: None, driver: Driver::Auto, persist: true };
    let ports =
        section.setting("ports", vec![ReadPort { spec, span: None }], list(PortId::COUNT_MAX, read_port));
    if let Some(([], span)) = ports.written().map(|(ports, span)| (ports.as_slice(), span)) {
        let remedy = format!("write at least one, such as [{{ tap = {} }}]", quoted(default_tap));
        section.report(span, Problem::new("there is no port", remedy));
    }
    ports.known().cloned().unwrap_or_default()
}

fn read_port<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<ReadPort> {
    let mut port = Section::element(node, "the port", report)?;
    let drivers = [("auto", Driver::Auto), ("offload", Driver::Offload), ("plain", Driver::Plain)];
    let tap = port.required("tap", "\"gp-lan0\"", parsed(device));
    let netns = port.setting("netns", None, |node, report| read_netns(node, report).map(Some));
    let driver = port.setting("driver", Driver::Auto, choice(&drivers));
    // A device in another namespace goes with the gateway, so that the namespace can be removed.
    let persist = port.setting("persist", netns.value.is_none(), boolean);
    port.finish();
    let spec = PortSpec { tap: tap?.0, netns: netns.value, driver: driver.value, persist: persist.value };
    Some(ReadPort { spec, span: Some(node.span()) })
}

/// A name, a path, or a process id, as a number or as text.
fn read_netns(node: &Node<'_>, report: &Report) -> Option<Netns> {
    if matches!(node.get_ref(), DeValue::Integer(_)) {
        return integer(1..=PID_MAX)(node, report).map(Netns::Pid);
    }
    parsed(|text| match text.parse() {
        Ok(pid) if (1..=PID_MAX).contains(&pid) => Ok(Netns::Pid(pid)),
        _ => namespace(text),
    })(node, report)
}

/// Checks the ports of both sides against each other.
fn check_ports(ports: &[ReadPort], report: &Report) {
    for (index, port) in ports.iter().enumerate() {
        let twin = ports[..index]
            .iter()
            .find(|earlier| (&earlier.spec.tap, &earlier.spec.netns) == (&port.spec.tap, &port.spec.netns));
        if let Some(span) = twin.and_then(|twin| port.span.clone().or(twin.span.clone())) {
            let place =
                port.spec.netns.as_ref().map_or("here".to_owned(), |netns| format!("in netns {netns}"));
            let what = format!("two ports {place} are called {}", quoted(&port.spec.tap));
            let first = twin.and_then(|twin| twin.span.clone()).filter(|first| *first != span);
            report.add_again(span, first, Problem::new(what, "write another tap or netns"));
        }
    }
    if let Some(span) = ports.get(PortId::COUNT_MAX).and_then(|excess| excess.span.clone()) {
        let what = "LAN and WAN have too many ports together";
        report.add(span, Problem::new(what, format!("write at most {}", PortId::COUNT_MAX)));
    }
}
