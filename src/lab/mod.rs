//! The office on one machine: PCs and an internet in network namespaces, the gateway between them on
//! real TAP devices.
//!
//! Every host is a process of this program in namespaces of its own; the interface `eth0` of each is the kernel's
//! side of one of the gateway's TAP ports. The gateway is `gatepost run`, as on any machine. What the hosts run, from
//! DHCP client to web server, is the project's own services over kernel sockets, so that the lab needs nothing but
//! this binary and Linux. Nothing of it outlives its processes, and they end with the lab, however it ends. A lab
//! that stays up is used from other terminals (`gatepost lab show`, `on`, `speed`, `send`, `fetch`), which find its
//! processes in `/proc`.
//!
//! ```text
//!   pc1 ── eth0 ┐                                        ┌ provider: DHCP, routing
//!   pc2 ── eth0 ┼─ LAN ── gatepost ── WAN ── eth0, internet ┼ name server
//!   pc3 ── eth0 ┘                                        ├ mail server
//!                                                        └ web server
//! ```

mod accounts;
mod arguments;
mod capture;
mod checks;
mod device;
mod enter;
mod gateway;
mod host;
mod internet;
mod lookup;
mod mail;
mod mail_server;
mod member;
mod pc;
mod ping;
mod protocol;
mod raw_socket;
mod running;
mod sandbox;
mod screen;
mod speed;
mod stay;
pub(crate) mod terminal;
mod traffic;
mod web;

use std::io;
use std::time::Duration;

use gatepost_dataplane::config::Mode;
use gatepost_services::mail::address::Mailbox;
use tokio::runtime;

pub use self::arguments::Arguments;
use self::arguments::{Command, Options};
use self::capture::{Capture, CaptureFile};
use self::checks::Office;
use self::gateway::{Configuration, Gateway};
pub use self::gateway::{SUBCOMMAND as GATEWAY_SUBCOMMAND, run as run_gateway};
pub use self::host::run as run_host;
use self::internet::{WEB_ADDRESS, WEB_NAME};
use self::mail::{Letter, MailProgram, Way};
use self::member::Member;
pub use self::member::SUBCOMMAND as HOST_SUBCOMMAND;
use self::protocol::{Provider, Request, Role};
use self::running::RunningLab;
use self::screen::{Line, Screen};
use self::speed::Limit;
use crate::error::Error;

/// The most PCs that a lab can have: as many as the gateway has ports besides the WAN's.
pub const HOSTS_MAX: usize = 63;

/// Builds an office, or asks the one that runs. It must be called while the process has one thread. It says
/// whether all was well.
///
/// # Errors
///
/// The configuration is wrong, or this system or user cannot have such a lab; or none runs that could be asked, or
/// it cannot do what it is asked for.
pub fn run(arguments: Arguments) -> Result<bool, Error> {
    match arguments.command {
        None => run_office(&arguments.options),
        Some(Command::Show { question, lab }) => {
            question.ask(&RunningLab::find(lab.pid)?.control_socket()).map(|()| true)
        }
        Some(Command::On { lab, host, command }) => {
            Err(enter::run_in(RunningLab::find(lab.pid)?.host(&host)?, &command).into())
        }
        Some(Command::Speed { host, secs, lab }) => measure(&RunningLab::find(lab.pid)?, &host, secs),
        Some(Command::Send { host, to, lab }) => send(&RunningLab::find(lab.pid)?, &host, to),
        Some(Command::Fetch { host, lab }) => fetch(&RunningLab::find(lab.pid)?, &host),
    }
}

/// Builds the office, tries everything out and says whether all was well. Without `check` the office then stays up
/// until its user ends it.
fn run_office(options: &Options) -> Result<bool, Error> {
    let hosts = usize::from(options.hosts);
    let configuration = Configuration::new(hosts, options.config.as_deref())?;
    // Before the lab has a `/run` of its own, where the file may be.
    let capture = options.capture.clone().map(CaptureFile::create).transpose()?;
    sandbox::enter()?;
    let mut screen = Screen::new();
    let config = &configuration.config;

    let (mode, lan) = (config.mode.name(), config.lan.address.trunc());
    let pcs = if hosts == 1 { "one PC".to_owned() } else { format!("{hosts} PCs") };
    screen.title(&format!("An office of {pcs} on {lan}, its gateway in mode {mode}:"));
    let mut pcs = gateway::pc_names(hosts)
        .map(|name| Member::start(&name, &Role::Pc))
        .collect::<Result<Vec<_>, _>>()?;
    let provider = configuration.provider();
    let mut internet = match config.mode {
        Mode::LanOnly => None,
        Mode::Router | Mode::Nat | Mode::NatDmz => {
            Some(Member::start(internet::NAME, &Role::Internet(provider.clone()))?)
        }
    };
    let capture = capture.map(|file| Capture::begin(file, pcs.iter().chain(&internet))).transpose()?;
    let mut gateway = Gateway::start(&configuration)?;
    if let Some(internet) = &mut internet {
        internet.send(&Request::GoOnline);
    }
    gateway.wait_until_ready()?;
    if let Some(internet) = &mut internet {
        gateway.expect_online(internet.response())?;
        gateway.wait_for_wan()?;
    }

    let accounts = accounts::of(config)?;
    let accounts: Vec<_> = accounts.iter().cycle().take(pcs.len()).cloned().collect();
    for (pc, account) in pcs.iter_mut().zip(&accounts) {
        // What is wrong with it shows when it is used.
        pc.ask(&Request::UseAccount(account.clone()));
    }

    let mut office = Office {
        config,
        pcs: &mut pcs,
        internet: internet.as_mut(),
        provider_address: provider.address,
        wan_address: provider.customer,
        leases: Vec::new(),
        accounts: &accounts,
    };
    let passed = checks::run(&mut office, |outcome| screen.outcome(outcome));
    let leases = office.leases;
    if let Some(capture) = &capture {
        capture.name(config.lan.address.addr(), &config.system.hostname);
        pcs.iter().zip(&leases).for_each(|(pc, lease)| capture.name(*lease, pc.name()));
        if internet.is_some() {
            name_internet(capture, &provider);
        }
    }
    if !passed {
        gateway.show_log();
    }
    if !options.check {
        let has_mail = !accounts.is_empty();
        stay::stay_up(&mut screen, &gateway, &mut pcs, internet.as_ref(), has_mail)?;
    }
    gateway.stop()?;
    if let Some(capture) = capture {
        screen.line(&Line::plain(capture.finish()?));
    }
    Ok(passed)
}

/// Tells the names of what is beyond the gateway.
fn name_internet(capture: &Capture, provider: &Provider) {
    capture.name(provider.customer, "gatepost-wan");
    capture.name(provider.address, "provider");
    for server in &provider.name_servers {
        capture.name(*server, "ns.example.net");
    }
    capture.name(WEB_ADDRESS, WEB_NAME.trim_end_matches('.'));
    capture.name(mail_server::ADDRESS, mail_server::NAME);
}

/// Measures how fast `host` transfers to and from the internet of `lab`, from inside of that host.
fn measure(lab: &RunningLab, host: &str, secs: u64) -> Result<bool, Error> {
    let what = "cannot measure the lab's speed";
    if !lab.has_internet() {
        return Err(Error::failed(
            what,
            "it has no internet in mode lan-only",
            "start a lab in another mode",
        ));
    }
    if host == internet::NAME {
        return Err(Error::usage("the internet is what a PC's speed is measured with; name a PC"));
    }
    enter::enter(lab.host(host)?)?;
    let failed = |why: &dyn std::fmt::Display| Error::failed(what, why, "see the gateway's `lab show drops`");
    let limit = Limit { octets: u64::MAX, time: Duration::from_secs(secs) };
    let measured = in_runtime(speed::measure(WEB_ADDRESS, limit)).map_err(|error| failed(&error))?;
    let speed = measured.ok_or_else(|| failed(&"its internet does not answer"))?;
    Screen::new().line(&Line::plain(checks::describe_speed(host, &speed)));
    Ok(true)
}

/// Sends a mail to `to` by the mail program of `host`.
fn send(lab: &RunningLab, host: &str, to: String) -> Result<bool, Error> {
    if let Err(error) = Mailbox::parse(&to) {
        return Err(Error::usage(format!("{to:?}: {error}; write an address, such as echo@example.net")));
    }
    let mut program = mail_program(lab, host)?;
    let letter = Letter { to, subject: format!("A mail from {host}"), way: Way::Submission };
    let said = match in_runtime(program.send(&letter)) {
        Ok(true) => {
            let (from, to) = (program.address(), &letter.to);
            let line = format!("{host} has sent a mail from {from} to {to}: {:?}", letter.subject);
            Screen::new().line(&Line::plain(line));
            return Ok(true);
        }
        Ok(false) => "the gateway does not answer".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Error::failed(
        format!("{} is not sent the mail", letter.to),
        said,
        "write another address, or see the gateway's `lab show services`",
    ))
}

/// Fetches the mail of the user of `host`, and prints it.
fn fetch(lab: &RunningLab, host: &str) -> Result<bool, Error> {
    let mut program = mail_program(lab, host)?;
    let messages = in_runtime(program.take(|_| true)).map_err(|error| {
        Error::failed(
            format!("the mail of {host} is not fetched"),
            error,
            "see the gateway's `lab show services`",
        )
    })?;
    let screen = Screen::new();
    if messages.is_empty() {
        screen.line(&Line::plain(format!("There is no mail for {}.", program.address())));
    }
    for message in messages {
        // The sender's text must not control the terminal.
        let is_shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        screen.line(&Line::plain(message.chars().filter(is_shown).collect::<String>()));
    }
    Ok(true)
}

/// The mail program of `host`, inside of which this process is from now on.
fn mail_program(lab: &RunningLab, host: &str) -> Result<MailProgram, Error> {
    enter::enter(lab.host(host)?)?;
    let what = || format!("cannot use the mail program of {host}");
    let account = mail::kept_account().map_err(|error| Error::failed(what(), error, "name a PC"))?;
    let account = account.ok_or_else(|| {
        let remedy = "name a PC of a lab whose gateway has users";
        Error::failed(what(), "nobody has an account there", remedy)
    })?;
    MailProgram::new(host, account).map_err(|error| Error::failed(what(), error, "start the lab again"))
}

/// Does what takes time, on this thread.
fn in_runtime<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
