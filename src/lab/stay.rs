//! The running office: suggested commands, traffic, and keys, until its user ends it.

use std::env;
use std::os::fd::AsFd;
use std::time::Duration;

use gatepost_services::clock::Clock;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::checks::describe_speed;
use super::gateway::Gateway;
use super::internet::{WEB_ADDRESS, WEB_NAME};
use super::mail_server::ECHO;
use super::member::Member;
use super::protocol::{Request, Response};
use super::screen::{Line, Page, Screen, Style};
use super::speed::Limit;
use super::terminal::Keyboard;
use super::traffic::{Traffic, counter_lines};
use crate::control::What;
use crate::error::Error;
use crate::port::clock::SystemClock;

/// How often the page is drawn, in milliseconds.
const PERIOD_MILLIS: u16 = 1_000;
/// How long a speed test takes in each direction.
const SPEED: Limit = Limit { octets: u64::MAX, time: Duration::from_secs(3) };
/// The keys and what they do.
const KEYS: &str = "keys: q quit   s speed test of pc1   c what the gateway counts   t traffic";

/// What the page shows of the office.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Traffic,
    Counters,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// Some time has passed.
    Tick,
    /// These keys were pressed.
    Keys(Vec<u8>),
    /// The speed test has ended.
    Measured,
    /// The lab is to end.
    End,
}

/// Keeps the office up until SIGINT, SIGTERM or the key `q`.
///
/// # Errors
///
/// The gateway has ended, or the system has no means to watch for signals.
pub fn stay_up(
    screen: &mut Screen,
    gateway: &Gateway,
    pcs: &mut [Member],
    internet: Option<&Member>,
    has_mail: bool,
) -> Result<(), Error> {
    // Only now: until the office is up, a signal ends the lab at once, and everything with it.
    let signals = watch_signals().map_err(unwatchable)?;
    let mut keyboard = Keyboard::open();
    let clock = SystemClock::new();
    let hosts = pcs.iter().chain(internet).map(|host| (host.name().to_owned(), host.pid()));
    let mut traffic = Traffic::new(clock.now(), hosts);
    let mut page =
        Page { hints: hints(pcs, internet.is_some(), has_mail, keyboard.is_some()), ..Page::default() };
    page.keys = Line::of(Style::Title, if keyboard.is_some() { KEYS } else { "Ctrl-C ends it" });
    if !screen.is_terminal() {
        page.hints.iter().for_each(|hint| screen.line(hint));
        screen.line(&Line::plain("The office stays up until SIGINT or SIGTERM, and leaves nothing behind."));
    }
    let (mut view, mut is_measuring) = (View::Traffic, false);
    loop {
        traffic.look(clock.now());
        let counters = gateway.ask(What::Counters)?;
        let rows = screen.view_rows(&page);
        let lines = match view {
            View::Traffic => traffic.lines(rows),
            View::Counters => counter_lines(&counters, &gateway.ask(What::Drops)?, rows),
        };
        screen.draw(&page, &lines);
        let measuring = pcs.first().filter(|_| is_measuring);
        match next_event(&signals, &mut keyboard, measuring).map_err(unwatchable)? {
            Event::Tick => {}
            Event::End => break,
            Event::Measured => {
                is_measuring = false;
                page.status = pcs.first_mut().map_or_else(Line::default, measured);
            }
            Event::Keys(keys) => {
                for key in keys {
                    match key.to_ascii_lowercase() {
                        b'q' => {
                            screen.leave();
                            return Ok(());
                        }
                        b'c' => view = View::Counters,
                        b't' => view = View::Traffic,
                        b's' if internet.is_none() => {
                            page.status = Line::of(Style::Bad, "There is no internet to measure with.");
                        }
                        b's' if !is_measuring => {
                            if let Some(pc) = pcs.first_mut() {
                                pc.send(&Request::Measure(WEB_ADDRESS, SPEED));
                                page.status =
                                    Line::plain(format!("{} downloads, then uploads ...", pc.name()));
                                is_measuring = true;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    screen.leave();
    Ok(())
}

/// Waits until something happens. A keyboard that has come to its end is taken away.
fn next_event(
    signals: &SignalFd,
    keyboard: &mut Option<Keyboard>,
    measuring: Option<&Member>,
) -> nix::Result<Event> {
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut watched = vec![watch(signals.as_fd())];
    watched.extend(measuring.map(|member| watch(member.fd())));
    watched.extend(keyboard.as_ref().map(|keyboard| watch(keyboard.fd())));
    match poll(&mut watched, PollTimeout::from(PERIOD_MILLIS)) {
        // A terminal that changes its size interrupts: the page is drawn anew.
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    let is_ready: Vec<_> = watched.iter().map(|fd| fd.any().unwrap_or(false)).collect();
    Ok(match (&is_ready[..], &*keyboard) {
        ([true, ..], _) => Event::End,
        ([_, true, ..], _) if measuring.is_some() => Event::Measured,
        ([.., true], Some(open)) => match open.keys() {
            Some(keys) => Event::Keys(keys),
            None => {
                *keyboard = None;
                Event::Tick
            }
        },
        _ => Event::Tick,
    })
}

/// What came of the speed test.
fn measured(pc: &mut Member) -> Line {
    match pc.response() {
        Response::Speed(speed) => Line::of(Style::Good, describe_speed(pc.name(), &speed)),
        other => Line::of(Style::Bad, format!("The speed test of {} failed: {other}", pc.name())),
    }
}

/// What to try in another terminal, with a title.
fn hints(pcs: &[Member], has_internet: bool, has_mail: bool, has_keys: bool) -> Vec<Line> {
    let (Some(first), Some(last)) = (pcs.first().map(Member::name), pcs.last().map(Member::name)) else {
        return Vec::new();
    };
    // Short, so that they fit beside a program that was started by its path.
    let mut hints = vec![
        (format!("on {first} ping {last}"), "without ping: a shell"),
        ("show leases".to_owned(), "or flows, drops, ..."),
    ];
    if has_mail && has_internet {
        hints.push((format!("send {first} {ECHO}"), "a mail that comes back"));
    }
    if has_mail {
        hints.push((format!("fetch {first}"), "the mail that has come"));
    }
    if has_internet {
        hints.push((format!("on {last} curl {}", WEB_NAME.trim_end_matches('.')), "a page from outside"));
        // There is a key for it.
        if !has_keys {
            hints.push(("speed".to_owned(), "how fast a PC is"));
        }
    }
    let program = env::args().next().unwrap_or_else(|| "gatepost".to_owned());
    let sudo = if env::var_os("SUDO_UID").is_some() { "sudo " } else { "" };
    let commands: Vec<_> =
        hints.iter().map(|(command, _)| format!("  {sudo}{program} lab {command}")).collect();
    let width = commands.iter().map(String::len).max().unwrap_or(0);
    let mut lines = vec![Line::of(Style::Title, "Try in another terminal:")];
    lines.extend(commands.iter().zip(hints).map(|(command, (_, explanation))| {
        let mut line = Line::plain(format!("{command:<width$}  "));
        line.push(Style::Faint, explanation);
        line
    }));
    lines
}

/// Has SIGINT and SIGTERM read instead of ending the process, so that the lab ends in order.
fn watch_signals() -> nix::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

fn unwatchable(errno: Errno) -> Error {
    Error::failed("cannot watch for signals and keys", errno, "this is a bug; please report it")
}
