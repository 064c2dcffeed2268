//! Server and client at work: the state machines on an inbox of raw frames, the clock and the disk.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::rc::Rc;

use gatepost_ground::MacAddr;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;

use super::client::{self, Client, Event, Lease, Output};
use super::frame::{Arp, Datagram};
use super::inbox::{Incoming, Receiver};
use super::message;
use super::server::{self, Origin, Server};
use crate::clock::{Clock, UnixTime, sleep_until};
use crate::service::LocalFuture;
use crate::store::{Disk, Topic, sealed};
use crate::wait::first_of;
use crate::work::{self, JobFailed, Work};

/// An interface to an Ethernet segment.
pub struct Port<T> {
    /// Its hardware address.
    pub mac: MacAddr,
    /// The frames that it receives: at least those for UDP ports 67 (for a server) or 68 (for a client),
    /// and ARP: for a server, the answers to its probes.
    pub frames: Receiver,
    /// Sends a frame; `false` if it could not.
    pub transmit: T,
}

/// Where a client keeps its address, to ask for it again after a restart.
#[derive(Clone)]
pub struct Memory {
    /// The disk.
    pub disk: Disk,
    /// The name of the file.
    pub file: &'static str,
}

/// Serves the segment of `port` until `stop` is ready or all senders of its frames are gone, and what it does with the
/// disk then is done. What takes long is done by `work`, and all but those whom it is done for are served meanwhile.
/// Several may serve for one server.
pub async fn serve<T: Fn(&[u8]) -> bool>(
    server: Rc<RefCell<Server>>,
    mut port: Port<T>,
    clock: Rc<dyn Clock>,
    work: Rc<dyn Work>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let disk_free = server.borrow().disk_free();
    let mut is_over = false;
    let mut storing = Storing { server: Rc::clone(&server), clock: Rc::clone(&clock), job: None };
    loop {
        storing.begin(&*work);
        // Before others can be done with the disk.
        let freed = disk_free.notified();
        let due = server.borrow().poll_timeout();
        let timeout = sleep_until(&*clock, due);
        let stored = async {
            match &mut storing.job {
                Some(job) => Some(job.await),
                None => {
                    freed.await;
                    None
                }
            }
        };
        let answer = match next(stop.as_mut(), &mut port.frames, timeout, stored).await {
            Happening::Stop => {
                storing.finish().await;
                is_over = true;
                None
            }
            Happening::Frame(incoming) => {
                answer(&mut server.borrow_mut(), port.mac, clock.as_ref(), &incoming)
            }
            Happening::Timeout => {
                server.borrow_mut().handle_timeout(clock.now(), clock.unix_time());
                None
            }
            Happening::Stored(done) => {
                storing.end(done);
                None
            }
        };
        let own = server.borrow().config().server_address;
        let replies = std::iter::from_fn(|| server.borrow_mut().poll_reply());
        let replies: Vec<_> = replies.filter_map(|reply| reply.to_frame(port.mac, own)).collect();
        let probes = std::iter::from_fn(|| server.borrow_mut().poll_probe());
        let probes = probes.map(|address| Arp::probe_frame(port.mac, address));
        for frame in answer.into_iter().chain(replies).chain(probes) {
            if !(port.transmit)(&frame) {
                tracing::debug!("an answer was not sent: the port is busy");
            }
        }
        if is_over {
            return;
        }
        // Whoever else waits comes before the next of a flood.
        yield_now().await;
    }
}

/// What the server waits for while it serves. If it is cut off meanwhile, the request is given up.
struct Storing {
    server: Rc<RefCell<Server>>,
    clock: Rc<dyn Clock>,
    job: Option<LocalFuture<'static, Result<server::Done, JobFailed>>>,
}

impl Storing {
    /// Begins what is to be done with the disk now.
    fn begin(&mut self, work: &dyn Work) {
        if self.job.is_none() {
            let request = self.server.borrow_mut().poll_request(self.clock.now());
            self.job = request.map(|request| Box::pin(work::run(work, move || request.perform())) as _);
        }
    }

    /// Ends it, if it is done.
    fn end(&mut self, done: Option<Result<server::Done, JobFailed>>) {
        if let Some(done) = done {
            self.job = None;
            self.server.borrow_mut().handle_done(self.clock.now(), self.clock.unix_time(), done);
        }
    }

    /// Waits until it is done.
    async fn finish(&mut self) {
        if let Some(job) = &mut self.job {
            let done = job.await;
            self.end(Some(done));
        }
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        if self.job.take().is_some()
            && let Ok(mut server) = self.server.try_borrow_mut()
        {
            server.handle_done(self.clock.now(), self.clock.unix_time(), Err(JobFailed));
        }
    }
}

/// Gets and keeps an address on the segment of `port`, and tells `on_event` of it, until `stop` is ready
/// or all senders of its frames are gone. A client with a memory keeps its lease for its next start, one without gives
/// it back.
pub async fn run_client<T: Fn(&[u8]) -> bool>(
    (config, rng): (client::Config, StdRng),
    memory: Option<Memory>,
    mut port: Port<T>,
    clock: Rc<dyn Clock>,
    mut on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) {
    let remembered = match &memory {
        Some(memory) => memory.recall(clock.unix_time()).await,
        None => None,
    };
    let mut client = Client::new(config, rng, remembered);
    let mut stop = pin!(stop);
    let mut keeping = Keeping::new(memory);
    let mut drain = |client: &mut Client, keeping: &mut Keeping| {
        while let Some(output) = client.poll_output() {
            match output {
                Output::Transmit(frame) if !(port.transmit)(&frame) => {
                    tracing::debug!("a message was not sent: the port is busy");
                }
                Output::Transmit(_) => {}
                Output::Event(event) => {
                    keeping.note(Remembered::of(&event, clock.unix_time()));
                    on_event(event);
                }
            }
        }
    };
    while let Some(due) = client.poll_timeout() {
        let timeout = tokio::time::sleep(due.since(clock.now()));
        match next(stop.as_mut(), &mut port.frames, timeout, keeping.kept()).await {
            Happening::Stop => break,
            Happening::Frame(incoming) => client.handle_frame(clock.now(), &incoming.frame),
            Happening::Timeout => client.handle_timeout(clock.now()),
            Happening::Stored(()) => keeping.go_on(),
        }
        drain(&mut client, &mut keeping);
    }
    if keeping.memory.is_none() {
        client.release();
        drain(&mut client, &mut keeping);
    }
}

enum Happening<T> {
    Stop,
    Frame(Incoming),
    Timeout,
    /// The disk has done what it was asked for.
    Stored(T),
}

/// Waits for whatever happens first. Who floods the port with frames must not stop the client's clock: what
/// is due goes before them.
async fn next<T>(
    stop: Pin<&mut impl Future<Output = ()>>,
    frames: &mut Receiver,
    timeout: impl Future<Output = ()>,
    stored: impl Future<Output = T>,
) -> Happening<T> {
    let stopped = async {
        stop.await;
        Happening::Stop
    };
    let received = async { frames.recv().await.map_or(Happening::Stop, Happening::Frame) };
    let timed_out = async {
        timeout.await;
        Happening::Timeout
    };
    let stored = async { Happening::Stored(stored.await) };
    first_of(stopped, first_of(stored, first_of(timed_out, received))).await
}

fn answer(server: &mut Server, mac: MacAddr, clock: &dyn Clock, incoming: &Incoming) -> Option<Vec<u8>> {
    if let Some(arp) = Arp::parse(&incoming.frame) {
        server.handle_arp(clock.now(), clock.unix_time(), arp.sender, arp.sender_mac);
        return None;
    }
    // The dataplane has seen that it is for the server.
    let datagram = Datagram::parse(&incoming.frame)?;
    let message = message::decode(datagram.payload)
        .inspect_err(|error| tracing::debug!(%error, from = %datagram.source_mac, "not a DHCP message"))
        .ok()?;
    let origin = Origin { mac: datagram.source_mac, port: incoming.port };
    let reply = server.handle_message(clock.now(), clock.unix_time(), origin, &message)?;
    reply.to_frame(mac, server.config().server_address)
}

/// What a client's file holds; `null` if there is no lease.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    address: Ipv4Addr,
    /// Unix seconds.
    until: u64,
}

impl Remembered {
    /// What to keep after `event`.
    fn of(event: &Event, unix_now: UnixTime) -> Option<Self> {
        match event {
            Event::Configured(Lease { address, lease_secs, .. }) => {
                let until = unix_now.0.saturating_add((*lease_secs).into());
                Some(Self { address: address.addr(), until })
            }
            Event::Lost => None,
        }
    }
}

/// Keeps what a client has, while the client goes on. What changes while a former state is written is written next,
/// the latest alone.
struct Keeping {
    memory: Option<Memory>,
    writing: Option<LocalFuture<'static, ()>>,
    next: Option<Option<Remembered>>,
}

impl Keeping {
    fn new(memory: Option<Memory>) -> Self {
        Self { memory, writing: None, next: None }
    }

    /// Has `remembered` written as soon as may be.
    fn note(&mut self, remembered: Option<Remembered>) {
        self.next = Some(remembered);
        if self.writing.is_none() {
            self.go_on();
        }
    }

    /// Writes what is to be written next.
    fn go_on(&mut self) {
        let write = self.memory.clone().zip(self.next.take());
        self.writing = write.map(|(memory, next)| Box::pin(async move { memory.keep(next).await }) as _);
    }

    /// Waits until what is written now has been; for ever if nothing is.
    async fn kept(&mut self) {
        match &mut self.writing {
            Some(writing) => writing.await,
            None => pending().await,
        }
    }
}

impl Memory {
    async fn recall(&self, unix_now: UnixTime) -> Option<Ipv4Addr> {
        let remembered = self.read().await.unwrap_or_else(|error| {
            tracing::warn!(file = self.file, %error, "the former lease is forgotten");
            None
        });
        remembered.filter(|remembered| unix_now.0 < remembered.until).map(|remembered| remembered.address)
    }

    async fn read(&self) -> io::Result<Option<Remembered>> {
        let Some(content) = self.disk.read(self.file).await? else { return Ok(None) };
        let why = match parse(&content) {
            Ok(remembered) => return Ok(remembered),
            Err(why) => why,
        };
        let copy = self.disk.set_aside(self.file, content).await?;
        let problem = format!("{} is damaged: {why}; it is forgotten, and a copy kept as {copy}", self.file);
        self.disk.report(Topic::WanLeaseDamaged, Some(problem));
        Ok(None)
    }

    async fn keep(&self, remembered: Option<Remembered>) {
        let kept = match serde_json::to_vec(&remembered) {
            Ok(content) => self.disk.replace(self.file, sealed::seal(&content)).await,
            Err(error) => Err(error.into()),
        };
        let problem = kept.err().map(|error| {
            format!(
                "{} cannot be written: {error}; the WAN's lease will be forgotten at a restart",
                self.file
            )
        });
        self.disk.report(Topic::WanLeaseNotKept, problem);
    }

    /// What is wrong with the content of a client's file, if anything is.
    pub fn damage(content: &[u8]) -> Option<String> {
        parse(content).err()
    }
}

fn parse(content: &[u8]) -> Result<Option<Remembered>, String> {
    let payload = sealed::unseal(content).map_err(|damage| damage.to_string())?;
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
