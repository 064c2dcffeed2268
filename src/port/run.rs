//! `gatepost run`: the gateway on real devices.
//!
//! Each worker's event loop has a thread; the main thread runs everything else. The lock on the state directory and
//! transient TAP devices go with the process, however it ends; only a control socket may stay, which the next start
//! replaces. Persistent TAP devices stay in their bridges for the next start; a start that fails creates none.

#![expect(clippy::disallowed_types, reason = "a process draws its seeds from the system")]

use std::cell::Cell;
use std::fmt;
use std::future;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use gatepost_dataplane::config::Mode;
use gatepost_ground::{InterfaceId, MacAddr};
use gatepost_services::admin::Code;
use gatepost_services::clock::Clock as _;
use gatepost_services::crypto::tls::KeySource;
use gatepost_services::store::{DeferredFiles, Files, OpenError, Storage};
use gatepost_services::wait::first_of;
use gatepost_services::watch;
use gatepost_services::work::{Threads, Work};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tracing::{error, info, warn};

use super::clock::SystemClock;
use super::config_file::RealFile;
use super::event_loop::{EventLoop, Handle};
use super::log::{self, LogLevel};
use super::notify::Manager;
use super::operator::Operator;
use super::panics;
use super::process::{Program, RunningProcess};
use super::tap::Tap;
use super::upkeep::{PortSupervisor, TapSpec};
use crate::backup::restore;
use crate::config::{Config, Source, WanAddress};
use crate::control::server::{ControlSocket, Operations as _};
use crate::error::Error;
use crate::gateway::worker::Worker;
use crate::gateway::{self, Environment};
use crate::process::Process;
use crate::transaction::{Archive, Editor, Keeper};

/// Runs the gateway until SIGTERM or SIGINT, over a restart that is asked for. Logs to stderr, as `level` says; prints `ready` on stdout once every port
/// and service answers, and notifies the service manager. At SIGHUP and `gatepost reload` it changes to what `source`
/// says then; `gatepost apply` changes the file, too.
///
/// # Errors
///
/// One sentence with the remedy: the part that could not be set up, of which nothing is left then, or the part that
/// broke down later.
pub fn run(source: Source, level: Option<LogLevel>) -> Result<(), Error> {
    let (config, warnings, text) = source.load_with_text()?;
    log::to_stderr(level);
    panics::limit_messages();
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_resources)?;
    let program = Program::of_process().map_err(no_resources)?;
    let ended = LocalSet::new().block_on(&runtime, serve(config, text, source))?;
    drop(runtime);
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Restarts => program.run_again().map(|never| match never {}),
    }
}

/// How a gateway has ended in order.
enum Ended {
    Stopped,
    /// It shall run again.
    Restarts,
}

async fn serve(config: Config, text: Option<String>, source: Source) -> Result<Ended, Error> {
    let manager = Rc::new(Manager::from_environment());
    let mut stop = StopSignals::new().map_err(no_resources)?;
    let hangups = signal(SignalKind::hangup()).map_err(no_resources)?;
    let storage = open_state_dir(&config.system.state_dir)?;
    finish_restore(&*storage, source.written().0, text.as_deref().unwrap_or_default());
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
    let work: Rc<dyn Work> = Rc::new(Threads::start().map_err(no_resources)?);
    let (path, may_be_missing) = source.written();
    let file = RealFile::new(path, may_be_missing, Rc::clone(&work));
    file.sweep();
    let (storage_of_process, work_of_process) = (Arc::clone(&storage), Rc::clone(&work));
    let confirmed_state_dir = config.system.state_dir.clone();
    let environment = Environment {
        clock: Rc::new(clock),
        storage,
        work,
        rng: StdRng::try_from_rng(&mut SysRng).map_err(no_resources)?,
        keys: KeySource::System,
        wake_worker: Arc::new(move |worker| {
            if let Some(handle) = wakers.get(usize::from(worker)) {
                handle.wake();
            }
        }),
    };
    let remaining = remaining_ports(&specs);
    let summary = summary(&config, &ports, &source);
    let confirmed = (text, config.clone());
    let (workers, services) = gateway::build(config, ports, environment);
    // Devices become persistent only now, so that a failed start leaves none.
    for (spec, (_, tap)) in specs.iter().zip(workers.iter().take(1).flat_map(|worker| worker.ports().iter()))
    {
        spec.keep(tap);
    }
    let reloader = Box::new(services.reloader());
    let archive = Archive::new(services.disk());
    let keeper = Rc::new(Keeper::new(Box::new(file), confirmed, reloader, services.clock(), archive));
    services.pages().change(Rc::downgrade(&keeper));
    let process = Rc::new(RunningProcess {
        source: source.clone(),
        state_dir: confirmed_state_dir,
        storage: storage_of_process,
        work: work_of_process,
        clock: services.clock(),
        keeper: Rc::clone(&keeper),
        restart: watch::Sender::new(false),
    });
    services.pages().run_by(Rc::downgrade(&process) as Weak<dyn Process>);
    let mut restart = process.restart.subscribe();
    let operator = Rc::new(Operator {
        inspector: services.inspector(),
        keeper: Rc::clone(&keeper),
        manager: Rc::clone(&manager),
        codes: services.codes(),
        process,
    });
    let supervisors = PortSupervisor::for_workers(handles, specs, clock.now());
    let mut dataplane = DataplaneThreads::default();
    for (event_loop, (worker, supervisor)) in
        event_loops.into_iter().zip(workers.into_iter().zip(supervisors))
    {
        dataplane.start(event_loop, worker, supervisor, clock).map_err(no_resources)?;
    }
    let dataplane_ended = async {
        dataplane.ended().await;
        Ok(())
    };
    let serving = async {
        let requests = first_of(control.serve(Rc::clone(&operator)), reload_at(hangups, &operator));
        first_of(keeper.run(), requests).await;
        Ok(())
    };
    let ready = || {
        summary.iter().for_each(|line| info!("{line}"));
        announce(operator.codes.first());
        manager.ready();
    };
    let restarts = Cell::new(false);
    let stopped = async {
        let asked = async {
            restart.raised().await;
            // A manager that is told of an end would wait for it.
            manager.reloading();
            restarts.set(true);
        };
        let ends = async {
            stop.received().await;
            manager.stopping();
        };
        first_of(ends, asked).await;
    };
    let served = async { services.run(ready, stopped).await.map_err(Error::from) };
    let outcome = first_of(served, first_of(dataplane_ended, serving)).await;
    let ended = outcome.and(dataplane.stop());
    if !remaining.is_empty() {
        let config = source.option();
        info!("{remaining} stay for the next start; `gatepost ports remove{config}` takes them away");
    }
    ended?;
    if restarts.get() && !stop.is_received().await { Ok(Ended::Restarts) } else { Ok(Ended::Stopped) }
}

/// The lines with the gateway's mode, ports, services and control socket, printed at the start.
fn summary(config: &Config, ports: &[(String, Vec<Tap>)], source: &Source) -> Vec<String> {
    let on = |id: InterfaceId| {
        let of_side = config.ports().zip(ports).filter(|((interface, _), _)| *interface == id);
        let driver = |taps: &[Tap]| taps.first().map_or("", Tap::driver_name);
        let names: Vec<_> = of_side.map(|(_, (name, taps))| format!("{name} ({})", driver(taps))).collect();
        names.join(", ")
    };
    let mut lines = vec![
        format!("gatepost {} is a gateway in mode {}", env!("CARGO_PKG_VERSION"), config.mode.name()),
        format!("LAN {} on {}", config.lan.address, on(Config::LAN)),
    ];
    match config.wan.address {
        _ if config.mode == Mode::LanOnly => {}
        WanAddress::Leased => lines.push(format!("WAN by DHCP on {}", on(Config::WAN))),
        WanAddress::Static { address, .. } => {
            lines.push(format!("WAN address {address} on {}", on(Config::WAN)));
        }
    }
    lines.extend(config.details().iter().map(|detail| format!("{}: {}", detail.topic, detail.text)));
    lines.push(format!("ask it with `gatepost show status{}`", source.option()));
    lines
}

/// The ports whose devices outlive the gateway, for people; empty if there are none.
fn remaining_ports(specs: &[TapSpec]) -> String {
    let names: Vec<_> =
        specs.iter().filter(|spec| spec.port.persist).map(|spec| spec.port.to_string()).collect();
    if names.is_empty() { String::new() } else { format!("TAP devices {}", names.join(", ")) }
}

/// The storage under `path`. If it cannot be used, the gateway runs without it and logs that.
fn open_state_dir(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    match Files::open(path) {
        Ok(files) => Ok(Arc::new(files)),
        Err(OpenError::Io(error)) => {
            warn!(
                "cannot use the state directory {}: {error}; nothing is kept over a restart, and no new DHCP client \
                 gets a lease; it is tried again",
                path.display()
            );
            Ok(Arc::new(DeferredFiles::new(path)))
        }
        Err(OpenError::InUse) => {
            let what = format!("cannot use the state directory {}", path.display());
            Err(Error::failed(what, OpenError::InUse, "stop it, or set another system.state_dir"))
        }
    }
}

/// Restores the rest of a backup whose restore was interrupted. The gateway runs without the rest if it cannot be
/// written, as an office without a gateway is worse; the next start tries it again.
fn finish_restore(storage: &dyn Storage, file: &Path, configuration: &str) {
    if let Err(error) = restore::finish(storage, file, configuration) {
        error!("a restore of a backup may be unfinished: {error}; see to the disk, and restart the gateway");
    }
}

fn tap_specs(config: &Config) -> Vec<TapSpec> {
    let dataplane = config.dataplane(MacAddr::ZERO, MacAddr::ZERO, None, None);
    let mtu = |interface| dataplane.interface(interface).mtu;
    config.ports().map(|(interface, port)| TapSpec { port: port.clone(), mtu: mtu(interface) }).collect()
}

/// Prints `ready` on stdout, which need not be read, and the code of the first run, if there is one: the log may be off.
fn announce(first_run: Option<(Code, String)>) {
    let mut stdout = io::stdout().lock();
    let told = writeln!(stdout, "ready").and_then(|()| match first_run {
        Some((code, site)) => {
            writeln!(stdout, "nobody owns this gateway yet: open {site} and enter the code {code}")
        }
        None => Ok(()),
    });
    _ = told.and_then(|()| stdout.flush());
}

fn no_resources(error: impl fmt::Display) -> Error {
    Error::failed("cannot start the gateway", error, "see what the process may use (`ulimit -a`)")
}

/// Reads the configuration again at every signal. Never returns.
async fn reload_at(mut signals: Signal, operator: &Operator) {
    while signals.recv().await.is_some() {
        if let Err(refusal) = operator.reload(&Editor::new("SIGHUP")).await {
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

    /// Waits for the first signal.
    async fn received(&mut self) {
        let terminate = async {
            self.terminate.recv().await;
            "SIGTERM"
        };
        let interrupt = async {
            self.interrupt.recv().await;
            "SIGINT"
        };
        let name = first_of(terminate, interrupt).await;
        info!("stopping: {name}");
    }

    /// Whether one has come since, as while a restart was under way.
    async fn is_received(&mut self) -> bool {
        let received = async {
            self.received().await;
            true
        };
        first_of(received, future::ready(false)).await
    }
}

/// The threads of the event loops. Dropping this ends all threads.
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
        supervisor: PortSupervisor,
        clock: SystemClock,
    ) -> io::Result<()> {
        let handle = event_loop.handle();
        let (alive, ended) = oneshot::channel();
        let name = format!("dataplane-{}", self.threads.len());
        let thread = thread::Builder::new().name(name).spawn(move || {
            // The sender is dropped when the thread ends, even by a panic.
            let _alive: oneshot::Sender<()> = alive;
            event_loop.run(worker, supervisor, clock)
        })?;
        self.threads.push((handle, thread));
        self.alive.push(ended);
        Ok(())
    }

    /// Waits until a thread has ended by itself, which none should.
    async fn ended(&mut self) {
        future::poll_fn(|context| {
            let has_ended = |thread: &mut oneshot::Receiver<()>| Pin::new(thread).poll(context).is_ready();
            if self.alive.iter_mut().any(has_ended) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Ends all threads. Returns the first error of a thread.
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
        // The orderly stop reports errors.
        _ = self.stop();
    }
}
