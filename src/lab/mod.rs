//! The office on one machine: PCs and an internet in network namespaces, the gateway between them on
//! real TAP devices.
//!
//! Every host is a process of this program in namespaces of its own; the interface `eth0` of each is
//! the kernel's side of one of the gateway's TAP ports. The gateway is `gatepost run`, as anybody
//! would start it. What the hosts run, from DHCP client to web server, is the project's own services
//! over kernel sockets, so that the lab needs nothing but this binary and Linux. Nothing of it
//! outlives its processes, and they end with the lab, however it ends.
//!
//! ```text
//!   pc1 ── eth0 ┐                                        ┌ provider: DHCP, routing
//!   pc2 ── eth0 ┼─ LAN ── gatepost ── WAN ── eth0, internet ┼ name server
//!   pc3 ── eth0 ┘                                        └ web server
//! ```

mod checks;
mod device;
mod gateway;
mod host;
mod internet;
mod lookup;
mod member;
mod pc;
mod ping;
mod protocol;
mod raw_socket;
mod sandbox;
mod screen;
mod web;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use gatepost_dataplane::config::Mode;
use nix::sys::signal::{SigSet, Signal};

use self::checks::Office;
use self::gateway::Gateway;
pub use self::gateway::{SUBCOMMAND as GATEWAY_SUBCOMMAND, run as run_gateway};
pub use self::host::run as run_host;
use self::member::Member;
pub use self::member::SUBCOMMAND as HOST_SUBCOMMAND;
use self::protocol::{Request, Role};
use self::screen::Screen;
use crate::control::{self, What};
use crate::error::Error;

/// The most PCs that a lab can have: as many as the gateway has ports besides the WAN's.
pub const HOSTS_MAX: usize = 63;

/// What the lab is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether to end after everything was tried out.
    pub check: bool,
    /// How many PCs, 1 to [`HOSTS_MAX`].
    pub hosts: usize,
    /// A configuration in place of the built-in one; its ports and paths are the lab's all the same.
    pub config: Option<PathBuf>,
}

/// Builds the office, tries everything out and says whether all was well. Without `check` the office
/// then stays up until SIGINT or SIGTERM. It must be called while the process has one thread.
///
/// # Errors
///
/// The configuration is wrong, or this system or user cannot have such a lab.
pub fn run(options: &Options) -> Result<bool, Error> {
    let configuration = gateway::Configuration::new(options.hosts, options.config.as_deref())?;
    sandbox::enter()?;
    let mut screen = Screen::new();
    let config = &configuration.config;

    let (mode, lan) = (config.mode.name(), config.lan.address.trunc());
    let pcs = if options.hosts == 1 { "one PC".to_owned() } else { format!("{} PCs", options.hosts) };
    screen.line(&format!("An office of {pcs} on {lan}, its gateway in mode {mode}:"));
    let mut pcs = gateway::pc_names(options.hosts)
        .map(|name| Member::start(&name, &Role::Pc))
        .collect::<Result<Vec<_>, _>>()?;
    let provider = configuration.provider();
    let mut internet = match config.mode {
        Mode::LanOnly => None,
        Mode::Router | Mode::Nat | Mode::NatDmz => {
            Some(Member::start(internet::NAME, &Role::Internet(provider.clone()))?)
        }
    };
    let mut gateway = Gateway::start(&configuration)?;
    if let Some(internet) = &mut internet {
        internet.send(&Request::GoOnline);
    }
    gateway.wait_until_ready()?;
    if let Some(internet) = &mut internet {
        gateway.expect_online(&internet.response())?;
        gateway.wait_for_wan()?;
    }

    let mut office = Office {
        config,
        pcs: &mut pcs,
        internet: internet.as_mut(),
        provider_address: provider.address,
        wan_address: provider.customer,
        leases: Vec::new(),
    };
    let passed = checks::run(&mut office, |outcome| screen.outcome(outcome));
    if !passed {
        gateway.show_log();
    }
    if !options.check {
        // Only now: until the office is up, a signal ends the lab at once, and everything with it.
        let interrupted = watch_signals()?;
        explain(&screen, &gateway, &pcs, internet.as_ref());
        while stays_up(&interrupted, Duration::from_secs(1)) {
            screen.refresh(&control::render(What::Counters, gateway.ask(What::Counters)?)?);
        }
    }
    gateway.stop()?;
    Ok(passed)
}

/// Tells how to play with the office.
fn explain(screen: &Screen, gateway: &Gateway, pcs: &[Member], internet: Option<&Member>) {
    screen.line("\nThe office stays up; Ctrl-C ends it and leaves nothing behind. In another terminal:");
    for member in pcs.iter().chain(internet) {
        let what = format!("a shell on {}", member.name());
        // Not `--all`: an ordinary user may not enter those that the host shares with the machine.
        let enter = gateway::enter_command(member.pid());
        screen.line(&format!("  {what:<22} {enter} --net --uts --mount"));
    }
    let enter = gateway::enter_command(gateway.pid());
    for what in ["leases", "flows", "drops"] {
        let title = format!("the gateway's {what}");
        screen.line(&format!("  {title:<22} {enter} --mount {}", gateway.show_command(what)));
    }
    screen.line("");
}

/// Waits for `time`, or until the lab is told to end; says whether it goes on.
fn stays_up(interrupted: &Receiver<Signal>, time: Duration) -> bool {
    interrupted.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

/// Turns SIGINT and SIGTERM into a message, so that the lab ends in order.
fn watch_signals() -> Result<Receiver<Signal>, Error> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let blocked = signals.thread_block();
    blocked.map_err(|e| Error::failed("cannot watch for signals", e, "this is a bug; please report it"))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
