//! `gatepost run`: the gateway on real devices.
//!
//! Each worker's event loop has a thread, the main thread runs everything else. What is set up goes with the
//! process, however it ends: the lock on the state directory and TAP devices that are not persistent with their
//! file descriptors; only a control socket may stay, which the next start replaces. Persistent TAP devices stay as
//! they are, for the next start to find their bridges and hosts; a start that fails makes none.

#![expect(clippy::disallowed_types, reason = "a process draws its seeds from the system")]

use std::fmt;
use std::future;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use gatepost_dataplane::MacAddr;
use gatepost_services::clock::Clock as _;
use gatepost_services::race::race;
use gatepost_services::store::{Files, OpenError};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tracing::{Level, error, info};

use super::clock::SystemClock;
use super::event_loop::{EventLoop, Handle};
use super::operator::Operator;
use super::tap::Tap;
use super::upkeep::{Caretaker, TapSpec};
use crate::config::Config;
use crate::control::server::{ControlSocket, Operations as _};
use crate::error::Error;
use crate::gateway::worker::Worker;
use crate::gateway::{self, Environment};

/// Runs the gateway until SIGTERM or SIGINT. Logs to stderr; prints `ready` on stdout once every port and
/// service answers. At SIGHUP and `gatepost reload` it goes over to what `file`, where `config` is from, says
/// then.
///
/// # Errors
///
/// One sentence with the remedy: what could not be set up, and then nothing of it is left, or what broke
/// down later.
pub fn run(config: Config, file: Option<PathBuf>) -> Result<(), Error> {
    log_to_stderr();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_resources)?;
    LocalSet::new().block_on(&runtime, serve(config, file))
}

fn log_to_stderr() {
    let log = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // Whoever runs the gateway inside of a bigger program may have set up a log already.
    _ = log.try_init();
}

async fn serve(config: Config, file: Option<PathBuf>) -> Result<(), Error> {
    let mut stop = StopSignals::new().map_err(no_resources)?;
    let hangups = signal(SignalKind::hangup()).map_err(no_resources)?;
    let disk = open_state_dir(&config.system.state_dir)?;
    let control = ControlSocket::bind(&config.system.control_socket)?;
    let (specs, workers) = (tap_specs(&config), config.system.workers);
    let ports = specs
        .iter()
        .map(|spec| Ok((spec.port.to_string(), spec.open_for(workers)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let event_loops =
        (0..workers).map(|_| EventLoop::new()).collect::<io::Result<Vec<_>>>().map_err(no_resources)?;
    let handles: Vec<_> = event_loops.iter().map(EventLoop::handle).collect();
    let wakers = handles.clone();
    let clock = SystemClock::new();
    let environment = Environment {
        clock: Rc::new(clock),
        disk: Rc::new(disk),
        rng: StdRng::try_from_rng(&mut SysRng).map_err(no_resources)?,
        wake_worker: Arc::new(move |worker| {
            if let Some(handle) = wakers.get(usize::from(worker)) {
                handle.wake();
            }
        }),
    };
    let remaining = remaining_ports(&specs);
    let (workers, services) = gateway::build(config, ports, environment)?;
    // Only now, so that nothing is left of a start that fails.
    for (spec, (_, tap)) in specs.iter().zip(workers.iter().take(1).flat_map(|worker| worker.ports().iter()))
    {
        spec.keep(tap);
    }
    let operator = Rc::new(Operator { inspector: services.inspector(), reloader: services.reloader(), file });
    let caretakers = Caretaker::for_workers(handles, specs, clock.now());
    let mut dataplane = DataplaneThreads::default();
    for (event_loop, (worker, caretaker)) in event_loops.into_iter().zip(workers.into_iter().zip(caretakers))
    {
        dataplane.start(event_loop, worker, caretaker, clock).map_err(no_resources)?;
    }
    let dataplane_ended = async {
        dataplane.ended().await;
        Ok(())
    };
    let serving = async {
        race(control.serve(Rc::clone(&operator)), reload_at(hangups, &operator)).await;
        Ok(())
    };
    let outcome = race(services.run(announce, stop.received()), race(dataplane_ended, serving)).await;
    let ended = outcome.and(dataplane.stop());
    if !remaining.is_empty() {
        let config = file_option(operator.file.as_deref());
        info!("{remaining} stay for the next start; `gatepost ports remove{config}` takes them away");
    }
    ended
}

/// The ports whose devices outlive the gateway, for people; empty if there are none.
fn remaining_ports(specs: &[TapSpec]) -> String {
    let names: Vec<_> =
        specs.iter().filter(|spec| spec.port.persist).map(|spec| spec.port.to_string()).collect();
    if names.is_empty() { String::new() } else { format!("TAP devices {}", names.join(", ")) }
}

/// How a command is told of the configuration `file`.
fn file_option(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| format!(" --config {}", file.display()))
}

fn open_state_dir(path: &Path) -> Result<Files, Error> {
    Files::open(path).map_err(|error| {
        let what = format!("cannot use the state directory {}", path.display());
        match error {
            OpenError::InUse => Error::failed(what, error, "stop it, or set another system.state_dir"),
            OpenError::Io(_) => {
                Error::failed(what, error, "run as root, or set system.state_dir to a directory that we own")
            }
        }
    })
}

fn tap_specs(config: &Config) -> Vec<TapSpec> {
    let dataplane = config.dataplane(MacAddr::ZERO, MacAddr::ZERO, None, None);
    let mtu = |segment| dataplane.interface(segment).mtu;
    config.ports().map(|(segment, port)| TapSpec { port: port.clone(), mtu: mtu(segment) }).collect()
}

/// Tells whoever waits on stdout; nobody has to.
fn announce() {
    let mut stdout = io::stdout().lock();
    _ = writeln!(stdout, "ready").and_then(|()| stdout.flush());
    info!("ready");
}

fn no_resources(error: impl fmt::Display) -> Error {
    Error::failed("cannot start the gateway", error, "see what the process may use (`ulimit -a`)")
}

/// Reads the configuration again at every signal, for ever.
async fn reload_at(mut signals: Signal, operator: &Operator) {
    while signals.recv().await.is_some() {
        if let Err(refusal) = operator.reload().await {
            refusal.messages().iter().for_each(|message| error!("{message}"));
            error!("nothing has changed");
        }
    }
}

/// The signals that end the gateway.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first of them.
    async fn received(&mut self) {
        let terminate = async {
            self.terminate.recv().await;
            "SIGTERM"
        };
        let interrupt = async {
            self.interrupt.recv().await;
            "SIGINT"
        };
        let name = race(terminate, interrupt).await;
        info!("stopping: {name}");
    }
}

/// The threads of the event loops. Dropping them ends them all, too.
#[derive(Default)]
struct DataplaneThreads {
    threads: Vec<(Arc<Handle>, JoinHandle<io::Result<()>>)>,
    alive: Vec<oneshot::Receiver<()>>,
}

impl DataplaneThreads {
    fn start(
        &mut self,
        event_loop: EventLoop,
        worker: Worker<Tap>,
        caretaker: Caretaker,
        clock: SystemClock,
    ) -> io::Result<()> {
        let handle = event_loop.handle();
        let (alive, ended) = oneshot::channel();
        let name = format!("dataplane-{}", self.threads.len());
        let thread = thread::Builder::new().name(name).spawn(move || {
            // Dropped when the thread ends, in whatever way.
            let _alive: oneshot::Sender<()> = alive;
            event_loop.run(worker, caretaker, clock)
        })?;
        self.threads.push((handle, thread));
        self.alive.push(ended);
        Ok(())
    }

    /// Waits until one of them has ended by itself, which none should.
    async fn ended(&mut self) {
        future::poll_fn(|context| {
            let has_ended = |thread: &mut oneshot::Receiver<()>| Pin::new(thread).poll(context).is_ready();
            if self.alive.iter_mut().any(has_ended) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Ends them all. What broke the first before is the error.
    fn stop(&mut self) -> Result<(), Error> {
        self.threads.iter().for_each(|(handle, _)| handle.stop());
        let broken = |why: &dyn fmt::Display| Error::failed("the dataplane broke down", why, "see the log");
        let ended = self.threads.drain(..).map(|(_, thread)| match thread.join() {
            Ok(result) => result.map_err(|error| broken(&error)),
            Err(_) => Err(broken(&"it panicked")),
        });
        ended.fold(Ok(()), Result::and)
    }
}

impl Drop for DataplaneThreads {
    fn drop(&mut self) {
        // What broke is told by whoever stops them in order.
        _ = self.stop();
    }
}
