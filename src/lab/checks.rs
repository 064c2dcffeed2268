//! The checks of the lab, in the order in which an office starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use gatepost_dataplane::config::Mode;
use gatepost_ground::wire::Protocol;
use gatepost_services::dns::special::is_private;
use gatepost_services::mail::service::office::SMTP;

use super::internet::{self, WEB_ADDRESS, WEB_NAME};
use super::mail::{Account, Letter, Way};
use super::mail_server;
use super::member::Member;
use super::protocol::{Page, Request, Response};
use super::speed::{Limit, Speed};
use crate::config::{Config, Firewall};

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The name of the check.
    pub title: &'static str,
    /// The observation, or the problem.
    pub result: Result<String, Failure>,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// These PCs did not go online: their names and responses.
    Offline(Vec<(String, Response)>),
    /// A host's response was not the expected one.
    Unexpected(Box<Unexpected>),
}

/// A host's request and its unexpected response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// The host's name.
    host: String,
    /// The request.
    request: Request,
    /// The response.
    got: Response,
    /// The expected response, if only one is right.
    expected: Option<Response>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline(hosts) => {
                let hosts: Vec<_> = hosts.iter().map(|(name, said)| format!("{name}: {said}")).collect();
                f.write_str(&hosts.join("; "))
            }
            Self::Unexpected(unexpected) => {
                let Unexpected { host, request, got, expected } = &**unexpected;
                write!(f, "{host} asked for {request}: {got}")?;
                expected.as_ref().map_or(Ok(()), |expected| write!(f, " instead of {expected}"))
            }
        }
    }
}

/// The state of the office during the checks.
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
    /// The PCs' addresses by DHCP, in order.
    pub leases: Vec<Ipv4Addr>,
    /// The mail accounts of the PCs' users, in the PCs' order; none if there is no mail.
    pub accounts: &'a [Account],
}

/// A check; `None` if this office lacks what it tests.
type Check = fn(&mut Office<'_>) -> Option<Result<String, Failure>>;

const CHECKS: &[(&str, Check)] = &[
    ("lease", lease),
    ("name", name),
    ("ping", ping),
    ("web", web),
    ("forward", forward),
    ("hairpin", hairpin),
    ("stealth", stealth),
    ("mail", mail_inside),
    ("mail", mail_out),
    ("mail", mail_back),
    ("speed", speed),
];

/// The subject of the mail between two PCs.
const SUBJECT_INSIDE: &str = "From desk to desk";
/// The subject of the mail that goes out and comes back.
const SUBJECT_OUT: &str = "To the world and back";

/// The transfer in each direction that tests long transfers and their speed.
const TRANSFER: Limit = Limit { octets: 32 << 20, time: Duration::from_secs(5) };

/// Runs all checks of this office and passes each outcome to `report` as it is known. Returns whether all succeeded.
pub fn run(office: &mut Office<'_>, mut report: impl FnMut(&Outcome)) -> bool {
    let mut passed = true;
    for (title, check) in CHECKS {
        let Some(result) = check(office) else { continue };
        passed &= result.is_ok();
        report(&Outcome { title, result });
        if office.leases.is_empty() {
            // Without addresses, everything else would fail for the same reason.
            return false;
        }
    }
    passed
}

fn lease(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    for pc in office.pcs.iter_mut() {
        pc.send(&Request::GoOnline);
    }
    let mut leases = Vec::new();
    let mut missing = Vec::new();
    for pc in office.pcs.iter_mut() {
        match pc.response() {
            Response::Online(address) => leases.push(address),
            other => missing.push((pc.name().to_owned(), other)),
        }
    }
    Some(if missing.is_empty() {
        let list: Vec<_> = leases.iter().map(Ipv4Addr::to_string).collect();
        let list = list.join(", ");
        office.leases = leases;
        Ok(format!("every PC has an address: {list}"))
    } else {
        Err(Failure::Offline(missing))
    })
}

fn name(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    if !office.config.services.dns.enabled {
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
    if office.internet.is_some() && office.config.services.dns.use_upstream {
        questions.push((Request::Resolve(WEB_NAME.to_owned()), Response::Address(WEB_ADDRESS)));
    }
    let known = match questions.len() {
        2 => format!("{own} has its address"),
        _ => format!("{own} and {WEB_NAME} have their addresses"),
    };
    for (question, expected) in questions {
        if let Err(failure) = expect(pc, question, expected) {
            return Some(Err(failure));
        }
    }
    Some(Ok(format!("{known}, and {first} its name")))
}

fn ping(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    let mut targets = vec![office.config.lan.address.addr()];
    targets.extend(office.leases.get(1..)?.last());
    targets.extend(office.internet.as_ref().map(|_| WEB_ADDRESS));
    let pc = office.pcs.first_mut()?;
    for target in &targets {
        if let Err(failure) = expect(pc, Request::Ping(*target), Response::Done) {
            return Some(Err(failure));
        }
    }
    let list: Vec<_> = targets.iter().map(Ipv4Addr::to_string).collect();
    Some(Ok(format!("{} reaches {}", pc.name(), list.join(", "))))
}

fn web(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
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

fn forward(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    let (server, port) = forwarded_web(office)?;
    if let Err(failure) = expect(&mut office.pcs[server], Request::Serve, Response::Done) {
        return Some(Err(failure));
    }
    let target = SocketAddrV4::new(office.wan_address, port);
    let page = Page { host: office.pcs[server].name().to_owned(), client: office.provider_address };
    let internet = office.internet.as_deref_mut()?;
    Some(
        expect_page(internet, target, &page)
            .map(|()| format!("the internet reads {target} from {}", page.host)),
    )
}

fn hairpin(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    let (server, port) = forwarded_web(office)?;
    let client = (0..office.pcs.len()).rev().find(|index| *index != server)?;
    let target = SocketAddrV4::new(office.wan_address, port);
    // RFC 4787, REQ-9a: the source is the external address.
    let page = Page { host: office.pcs[server].name().to_owned(), client: office.wan_address };
    let client = &mut office.pcs[client];
    Some(
        expect_page(client, target, &page).map(|()| {
            format!("{} reads {target} from {}, which sees {}", client.name(), page.host, page.client)
        }),
    )
}

fn stealth(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    if office.config.mode != Mode::NatDmz || !office.config.firewall.stealth {
        return None;
    }
    let target = office.wan_address;
    let closed = closed_port(&office.config.firewall);
    let fetch = closed.map(|port| Request::Fetch(SocketAddrV4::new(target, port)));
    let internet = office.internet.as_deref_mut()?;
    for request in std::iter::once(Request::Ping(target)).chain(fetch) {
        if let Err(failure) = expect(internet, request, Response::Silence) {
            return Some(Err(failure));
        }
    }
    Some(Ok(match closed {
        Some(port) => format!("{target} answers neither a ping nor port {port}"),
        None => format!("{target} answers no ping"),
    }))
}

/// A PC sends mail to another PC's user, as a device does.
fn mail_inside(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    let to = receives_in_inbox(office)?.to_owned();
    let [receiver, sender, ..] = &mut *office.pcs else { return None };
    let letter = Letter { to: to.clone(), subject: SUBJECT_INSIDE.to_owned(), way: Way::Device };
    if let Err(failure) = expect(sender, Request::SendMail(letter), Response::Done) {
        return Some(Err(failure));
    }
    let (from, to_pc) = (sender.name(), receiver.name().to_owned());
    let seen = format!("{to_pc} fetches {from}'s mail to {to}, which never left the gateway");
    // Only one server is on its path.
    Some(expect_mail(receiver, SUBJECT_INSIDE, 1).map(|()| seen))
}

/// A PC sends mail to the internet, as mail programs do.
fn mail_out(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    if !sends_to_internet(office) {
        return None;
    }
    let (to, internet) = (mail_server::ECHO, office.internet.as_deref_mut()?);
    let pc = office.pcs.first_mut()?;
    let letter = Letter { to: to.to_owned(), subject: SUBJECT_OUT.to_owned(), way: Way::Submission };
    if let Err(failure) = expect(pc, Request::SendMail(letter), Response::Done) {
        return Some(Err(failure));
    }
    let seen = format!("{} sends {to} a mail, which {} has got", pc.name(), mail_server::NAME);
    Some(expect_mail(internet, SUBJECT_OUT, 2).map(|()| seen))
}

/// The mail that went out comes back, and is fetched.
fn mail_back(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    let config = office.config;
    let is_open = config.wan_services().any(|kind| kind.name == SMTP.name)
        && config.services.mail.ports.smtp == mail_server::SMTP_PORT
        && !is_private(office.wan_address.into());
    if !is_open || !sends_to_internet(office) {
        return None;
    }
    let to = receives_in_inbox(office)?;
    let pc = office.pcs.first_mut()?;
    let seen = format!("{} fetches what {} sends back to {to}", pc.name(), mail_server::NAME);
    Some(expect_mail(pc, SUBJECT_OUT, 3).map(|()| seen))
}

/// The address of the first PC's user, if its mail is filed in the user's inbox.
fn receives_in_inbox<'a>(office: &Office<'a>) -> Option<&'a str> {
    let mail = &office.config.services.mail;
    let address = &office.accounts.first()?.address;
    let is_alias = mail.aliases.all.iter().any(|alias| alias.address.to_string() == *address);
    (mail.rules.all.is_empty() && !is_alias).then_some(address)
}

/// Whether mail to the internet goes to the internet's mail server.
fn sends_to_internet(office: &Office<'_>) -> bool {
    let mail = &office.config.services.mail;
    let is_own = mail.domains.iter().any(|domain| mail_server::is_of_its_domain(&domain.name));
    let is_elsewhere = mail.smarthost.is_some() || mail.routes.contains_key(mail_server::DOMAIN);
    let is_found = office.internet.is_some() && office.config.services.dns.use_upstream;
    is_found && !office.accounts.is_empty() && !is_own && !is_elsewhere
}

/// Has `host` fetch the mail with `subject`, with so many servers on its path.
fn expect_mail(host: &mut Member, subject: &str, servers: usize) -> Result<(), Failure> {
    let request = Request::FetchMail(subject.to_owned());
    match host.ask(&request) {
        Response::Mail(hops) if hops.len() == servers => Ok(()),
        got => Err(unexpected(host, request, got, None)),
    }
}

fn speed(office: &mut Office<'_>) -> Option<Result<String, Failure>> {
    office.internet.as_ref()?;
    let pc = office.pcs.first_mut()?;
    let request = Request::Measure(WEB_ADDRESS, TRANSFER);
    Some(match pc.ask(&request) {
        Response::Speed(speed) => Ok(describe_speed(pc.name(), &speed)),
        got => Err(unexpected(pc, request, got, None)),
    })
}

/// How fast the host `name` is, in a sentence.
pub fn describe_speed(name: &str, speed: &Speed) -> String {
    format!("{name} downloads at {} and uploads at {}", speed.download.rate(), speed.upload.rate())
}

/// Sends `host` a request, and compares the response with `expected`.
fn expect(host: &mut Member, request: Request, expected: Response) -> Result<(), Failure> {
    let got = host.ask(&request);
    if got == expected {
        return Ok(());
    }
    Err(unexpected(host, request, got, Some(expected)))
}

fn unexpected(host: &Member, request: Request, got: Response, expected: Option<Response>) -> Failure {
    Failure::Unexpected(Box::new(Unexpected { host: host.name().to_owned(), request, got, expected }))
}

fn expect_page(client: &mut Member, server: SocketAddrV4, expected: &Page) -> Result<(), Failure> {
    expect(client, Request::Fetch(server), Response::Page(expected.clone()))
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

/// A well-known port that leads to no host on the LAN; `None` with a DMZ host.
fn closed_port(firewall: &Firewall) -> Option<u16> {
    let claims = || firewall.forwards.iter().flat_map(|forward| &forward.rules);
    let is_closed = |port: &u16| claims().all(|rule| !rule.wan_ports.contains(port));
    [80, 443, 22, 23].into_iter().find(is_closed).filter(|_| firewall.dmz_host.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_who_was_asked_for_what_and_what_came_of_it() {
        let offline = vec![("pc1".to_owned(), Response::Silence), ("pc2".to_owned(), Response::Done)];
        assert_eq!(Failure::Offline(offline).to_string(), "pc1: no answer; pc2: an answer");
        let page = |host: &str| Response::Page(Page { host: host.to_owned(), client: WEB_ADDRESS });
        let failure = |request, got, expected| {
            let unexpected = Unexpected { host: "pc1".to_owned(), request, got, expected };
            Failure::Unexpected(Box::new(unexpected)).to_string()
        };
        let fetch = Request::Fetch(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));
        assert_eq!(
            failure(fetch, page("pc2"), Some(page("pc3"))),
            format!(
                "pc1 asked for the page of 127.0.0.1:80: the page of pc2 for {WEB_ADDRESS} \
                 instead of the page of pc3 for {WEB_ADDRESS}"
            )
        );
        let name = Request::Resolve("pc2.office.example.".to_owned());
        assert_eq!(
            failure(name, Response::Silence, Some(Response::Address(Ipv4Addr::LOCALHOST))),
            "pc1 asked for the address of pc2.office.example.: no answer instead of 127.0.0.1"
        );
        let broken = Response::Failed("no route to host".to_owned());
        assert_eq!(
            failure(Request::Measure(WEB_ADDRESS, TRANSFER), broken, None),
            format!("pc1 asked for its speed to {WEB_ADDRESS}: no route to host")
        );
    }
}
