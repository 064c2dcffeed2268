//! What the lab tries out, in the order in which an office comes to life.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use gatepost_dataplane::config::Mode;
use gatepost_ground::wire::Protocol;

use super::internet::{self, WEB_ADDRESS, WEB_NAME};
use super::member::Member;
use super::protocol::{Page, Request, Response};
use super::speed::{Limit, Speed};
use crate::config::{Config, Firewall};

/// What became of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was tried.
    pub title: &'static str,
    /// What was seen, or what was wrong.
    pub result: Result<String, String>,
}

/// The office as far as the checks have seen it.
#[derive(Debug)]
pub struct Office<'a> {
    /// The configuration under test.
    pub config: &'a Config,
    /// The PCs, first to last; at least one.
    pub pcs: &'a mut [Member],
    /// The internet; `None` where the mode has no WAN.
    pub internet: Option<&'a mut Member>,
    /// The provider's own address on the WAN.
    pub provider_address: Ipv4Addr,
    /// The gateway's address on the WAN.
    pub wan_address: Ipv4Addr,
    /// What the PCs got by DHCP, in their order.
    pub leases: Vec<Ipv4Addr>,
}

/// A check, if this office has what it tries.
type Check = fn(&mut Office<'_>) -> Option<Result<String, String>>;

const CHECKS: &[(&str, Check)] = &[
    ("lease", lease),
    ("name", name),
    ("ping", ping),
    ("web", web),
    ("forward", forward),
    ("hairpin", hairpin),
    ("stealth", stealth),
    ("speed", speed),
];

/// What is transferred in each direction to see that long transfers pass, and how fast.
const TRANSFER: Limit = Limit { octets: 32 << 20, time: Duration::from_secs(5) };

/// Tries everything that this office has and hands each outcome to `report` as it is known.
/// Says whether all was well.
pub fn run(office: &mut Office<'_>, mut report: impl FnMut(&Outcome)) -> bool {
    let mut passed = true;
    for (title, check) in CHECKS {
        let Some(result) = check(office) else { continue };
        passed &= result.is_ok();
        report(&Outcome { title, result });
        if office.leases.is_empty() {
            // Without addresses, everything else would only fail the same way.
            return false;
        }
    }
    passed
}

fn lease(office: &mut Office<'_>) -> Option<Result<String, String>> {
    for pc in office.pcs.iter_mut() {
        pc.send(&Request::GoOnline);
    }
    let mut leases = Vec::new();
    let mut missing = Vec::new();
    for pc in office.pcs.iter_mut() {
        match pc.response() {
            Response::Online(address) => leases.push(address),
            other => missing.push(format!("{}: {}", pc.name(), describe(&other))),
        }
    }
    Some(if missing.is_empty() {
        let list: Vec<_> = leases.iter().map(Ipv4Addr::to_string).collect();
        let list = list.join(", ");
        office.leases = leases;
        Ok(format!("every PC has an address: {list}"))
    } else {
        Err(missing.join("; "))
    })
}

fn name(office: &mut Office<'_>) -> Option<Result<String, String>> {
    if !office.config.dns.enabled {
        return None;
    }
    let own = format!("{}.{}.", office.pcs.last()?.name(), office.config.system.domain);
    let address = *office.leases.last()?;
    let (pc, leases) = (office.pcs.first_mut()?, &office.leases);
    let first = *leases.first()?;
    let mut questions = vec![
        (Request::Resolve(own.clone()), Response::Address(address)),
        (
            Request::ResolveAddress(first),
            Response::Name(format!("{}.{}", pc.name(), office.config.system.domain)),
        ),
    ];
    if office.internet.is_some() && office.config.dns.use_upstream {
        questions.push((Request::Resolve(WEB_NAME.to_owned()), Response::Address(WEB_ADDRESS)));
    }
    for (question, expected) in &questions {
        let got = pc.ask(question);
        if got != *expected {
            return Some(Err(format!("{question:?}: {} instead of {}", describe(&got), describe(expected))));
        }
    }
    let known = match questions.len() {
        2 => format!("{own} has its address"),
        _ => format!("{own} and {WEB_NAME} have their addresses"),
    };
    Some(Ok(format!("{known}, and {first} its name")))
}

fn ping(office: &mut Office<'_>) -> Option<Result<String, String>> {
    let mut targets = vec![office.config.lan.address.addr()];
    targets.extend(office.leases.get(1..)?.last());
    targets.extend(office.internet.as_ref().map(|_| WEB_ADDRESS));
    let pc = office.pcs.first_mut()?;
    for target in &targets {
        match pc.ask(&Request::Ping(*target)) {
            Response::Done => {}
            other => return Some(Err(format!("{target}: {}", describe(&other)))),
        }
    }
    let list: Vec<_> = targets.iter().map(Ipv4Addr::to_string).collect();
    Some(Ok(format!("{} reaches {}", pc.name(), list.join(", "))))
}

fn web(office: &mut Office<'_>) -> Option<Result<String, String>> {
    office.internet.as_ref()?;
    let expected =
        if office.config.mode.translates() { office.wan_address } else { *office.leases.first()? };
    let pc = office.pcs.first_mut()?;
    let page = Page { host: internet::NAME.to_owned(), client: expected };
    let server = SocketAddrV4::new(WEB_ADDRESS, 80);
    Some(
        expect_page(pc, server, &page)
            .map(|()| format!("{} reads {server}, which sees {expected}", pc.name())),
    )
}

fn forward(office: &mut Office<'_>) -> Option<Result<String, String>> {
    let (server, port) = forwarded_web(office)?;
    if let Err(why) = serve(&mut office.pcs[server]) {
        return Some(Err(why));
    }
    let target = SocketAddrV4::new(office.wan_address, port);
    let page = Page { host: office.pcs[server].name().to_owned(), client: office.provider_address };
    let internet = office.internet.as_deref_mut()?;
    Some(
        expect_page(internet, target, &page)
            .map(|()| format!("the internet reads {target} from {}", page.host)),
    )
}

fn hairpin(office: &mut Office<'_>) -> Option<Result<String, String>> {
    let (server, port) = forwarded_web(office)?;
    let client = (0..office.pcs.len()).rev().find(|index| *index != server)?;
    let target = SocketAddrV4::new(office.wan_address, port);
    // RFC 4787 REQ-9a: the source is the external address.
    let page = Page { host: office.pcs[server].name().to_owned(), client: office.wan_address };
    let client = &mut office.pcs[client];
    Some(
        expect_page(client, target, &page).map(|()| {
            format!("{} reads {target} from {}, which sees {}", client.name(), page.host, page.client)
        }),
    )
}

fn stealth(office: &mut Office<'_>) -> Option<Result<String, String>> {
    if office.config.mode != Mode::NatDmz || !office.config.firewall.stealth {
        return None;
    }
    let target = office.wan_address;
    let closed = closed_port(&office.config.firewall);
    let fetch = closed.map(|port| Request::Fetch(SocketAddrV4::new(target, port)));
    let internet = office.internet.as_deref_mut()?;
    for request in std::iter::once(Request::Ping(target)).chain(fetch) {
        match internet.ask(&request) {
            Response::Silence => {}
            other => return Some(Err(format!("{request:?}: {}", describe(&other)))),
        }
    }
    Some(Ok(match closed {
        Some(port) => format!("{target} answers neither a ping nor port {port}"),
        None => format!("{target} answers no ping"),
    }))
}

fn speed(office: &mut Office<'_>) -> Option<Result<String, String>> {
    office.internet.as_ref()?;
    let pc = office.pcs.first_mut()?;
    Some(match pc.ask(&Request::Measure(WEB_ADDRESS, TRANSFER)) {
        Response::Speed(speed) => Ok(describe_speed(pc.name(), &speed)),
        other => Err(format!("{WEB_ADDRESS}: {}", describe(&other))),
    })
}

/// How fast the host `name` is, in a sentence.
pub fn describe_speed(name: &str, speed: &Speed) -> String {
    format!("{name} downloads at {} and uploads at {}", speed.download.rate(), speed.upload.rate())
}

fn expect_page(client: &mut Member, server: SocketAddrV4, expected: &Page) -> Result<(), String> {
    match client.ask(&Request::Fetch(server)) {
        Response::Page(page) if page == *expected => Ok(()),
        Response::Page(page) => Err(format!(
            "{server}: {} saw {}, instead of {} {}",
            page.host, page.client, expected.host, expected.client
        )),
        other => Err(format!("{server}: {}", describe(&other))),
    }
}

fn serve(pc: &mut Member) -> Result<(), String> {
    match pc.ask(&Request::Serve) {
        Response::Done => Ok(()),
        other => Err(format!("{}: {}", pc.name(), describe(&other))),
    }
}

/// The PC that a forward leads to on port 80, and the forward's first WAN port, if the internet may use it.
fn forwarded_web(office: &Office<'_>) -> Option<(usize, u16)> {
    office.internet.as_ref()?;
    if !office.config.mode.translates() {
        return None;
    }
    let rules = office.config.firewall.forwards.iter().flat_map(|forward| &forward.rules);
    rules
        .filter(|rule| rule.protocol == Protocol::TCP && rule.to_port == 80)
        .filter(|rule| rule.from.iter().any(|net| net.contains(&office.provider_address)))
        .find_map(|rule| {
            let pc = office.leases.iter().position(|lease| *lease == rule.to)?;
            Some((pc, *rule.wan_ports.start()))
        })
}

/// A well-known port that nobody on the LAN is asked at. With a DMZ host there is none.
fn closed_port(firewall: &Firewall) -> Option<u16> {
    let claims = || firewall.forwards.iter().flat_map(|forward| &forward.rules);
    let is_closed = |port: &u16| claims().all(|rule| !rule.wan_ports.contains(port));
    [80, 443, 22, 23].into_iter().find(is_closed).filter(|_| firewall.dmz_host.is_none())
}

/// What came of a request, in a few words.
pub fn describe(response: &Response) -> String {
    match response {
        Response::Silence => "no answer".to_owned(),
        Response::Failed(why) => why.clone(),
        Response::Address(address) | Response::Online(address) => address.to_string(),
        Response::Name(name) => name.clone(),
        Response::Page(page) => format!("the page of {} for {}", page.host, page.client),
        Response::Speed(speed) => format!("{} down, {} up", speed.download.rate(), speed.upload.rate()),
        Response::Ready | Response::Done => "an answer".to_owned(),
    }
}
