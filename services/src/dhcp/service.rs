//! The async shells of server and client: an inbox of raw frames, the clock and the disk.

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
    /// The received frames: at least those for UDP port 67 (server) or 68 (client), and ARP: for a server, the answers
    /// to its probes.
    pub frames: Receiver,
    /// Sends a frame; `false` if it failed.
    pub transmit: T,
}

/// The file of a client's lease, which it requests again after a restart.
#[derive(Clone)]
pub struct LeaseFile {
    /// The disk.
    pub disk: Disk,
    /// The name of the file.
    pub file: &'static str,
}

/// Serves the segment of `port` until `stop` is ready or all senders of its frames are gone, and its request to the
/// disk is done. `work` runs requests to the disk, and other clients are served meanwhile. Several instances may serve
/// for one server.
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
        // Subscribed before other instances can finish with the disk.
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
            Input::Stop => {
                storing.finish().await;
                is_over = true;
                None
            }
            Input::Frame(incoming) => answer(&mut server.borrow_mut(), port.mac, clock.as_ref(), &incoming),
            Input::Timeout => {
                server.borrow_mut().handle_timeout(clock.now(), clock.unix_time());
                None
            }
            Input::Stored(done) => {
                storing.end(done);
                None
            }
        };
        let replies = std::iter::from_fn(|| server.borrow_mut().poll_reply());
        let replies: Vec<_> = replies.filter_map(|reply| reply.to_frame(port.mac)).collect();
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
        // Other tasks run before the next frame of a flood.
        yield_now().await;
    }
}

/// A server's request to the disk in progress. If it is dropped, the request is cancelled.
struct Storing {
    server: Rc<RefCell<Server>>,
    clock: Rc<dyn Clock>,
    job: Option<LocalFuture<'static, Result<server::Completion, JobFailed>>>,
}

impl Storing {
    /// Begins the next request to the disk.
    fn begin(&mut self, work: &dyn Work) {
        if self.job.is_none() {
            let request = self.server.borrow_mut().poll_request(self.clock.now());
            self.job = request.map(|request| Box::pin(work::run(work, move || request.perform())) as _);
        }
    }

    /// Handles its outcome, if it is done.
    fn end(&mut self, done: Option<Result<server::Completion, JobFailed>>) {
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

/// Acquires and maintains an address on the segment of `port`, and passes events to `on_event`, until `stop` is ready
/// or all senders of its frames are gone; then it releases the lease. A client that is dropped instead keeps the lease:
/// with `lease_file` its next start requests the same address.
pub async fn run_client<T: Fn(&[u8]) -> bool>(
    (config, rng): (client::Config, StdRng),
    lease_file: Option<LeaseFile>,
    mut port: Port<T>,
    clock: Rc<dyn Clock>,
    mut on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) {
    let identity = identity(&config);
    let stored = match &lease_file {
        Some(lease_file) => lease_file.recall(&identity, clock.unix_time()).await,
        None => None,
    };
    let mut client = Client::new(config, rng, stored);
    let mut stop = pin!(stop);
    let mut writer = LeaseWriter::new(lease_file);
    let mut drain = |client: &mut Client, writer: &mut LeaseWriter| {
        while let Some(output) = client.poll_output() {
            match output {
                Output::Transmit(frame) if !(port.transmit)(&frame) => {
                    tracing::debug!("a message was not sent: the port is busy");
                }
                Output::Transmit(_) => {}
                Output::Event(event) => {
                    if matches!(event, Event::Configured(_) | Event::Lost) {
                        writer.note(StoredLease::of(&event, &identity, clock.unix_time()));
                    }
                    on_event(event);
                }
            }
        }
    };
    while let Some(due) = client.poll_timeout() {
        let timeout = tokio::time::sleep(due.since(clock.now()));
        match next(stop.as_mut(), &mut port.frames, timeout, writer.written()).await {
            Input::Stop => break,
            Input::Frame(incoming) => client.handle_frame(clock.now(), &incoming.frame),
            Input::Timeout => client.handle_timeout(clock.now()),
            Input::Stored(()) => writer.go_on(),
        }
        drain(&mut client, &mut writer);
    }
    client.release();
    drain(&mut client, &mut writer);
    writer.finish().await;
}

enum Input<T> {
    Stop,
    Frame(Incoming),
    Timeout,
    /// The request to the disk is done.
    Stored(T),
}

/// Waits for the next input. Timers take precedence over frames, so that a flood cannot stop the client's clock.
async fn next<T>(
    stop: Pin<&mut impl Future<Output = ()>>,
    frames: &mut Receiver,
    timeout: impl Future<Output = ()>,
    stored: impl Future<Output = T>,
) -> Input<T> {
    let stopped = async {
        stop.await;
        Input::Stop
    };
    let received = async { frames.recv().await.map_or(Input::Stop, Input::Frame) };
    let timed_out = async {
        timeout.await;
        Input::Timeout
    };
    let stored = async { Input::Stored(stored.await) };
    first_of(stopped, first_of(stored, first_of(timed_out, received))).await
}

fn answer(server: &mut Server, mac: MacAddr, clock: &dyn Clock, incoming: &Incoming) -> Option<Vec<u8>> {
    if let Some(arp) = Arp::parse(&incoming.frame) {
        let by = Origin { mac: arp.sender_mac, port: incoming.port };
        server.handle_arp(clock.now(), clock.unix_time(), arp.sender, by);
        return None;
    }
    // The dataplane has verified that it is for the server.
    let datagram = Datagram::parse(&incoming.frame)?;
    let message = message::decode(datagram.payload)
        .inspect_err(|error| tracing::debug!(%error, from = %datagram.source_mac, "not a DHCP message"))
        .ok()?;
    let origin = Origin { mac: datagram.source_mac, port: incoming.port };
    let reply = server.handle_message(clock.now(), clock.unix_time(), origin, &message)?;
    reply.to_frame(mac)
}

/// The content of a client's file; `null` if there is no lease.
#[derive(Debug, Serialize, Deserialize)]
struct StoredLease {
    address: Ipv4Addr,
    /// Unix seconds.
    until: u64,
    /// The client's identity; `None` in a file of an earlier version.
    #[serde(default)]
    client: Option<String>,
}

/// What a server knows a client by. A lease is of no use to a client with another one.
fn identity(config: &client::Config) -> String {
    let id = config.client_id.iter().flatten().map(|octet| format!("{octet:02x}"));
    [config.mac.to_string()].into_iter().chain(id).collect::<Vec<_>>().join(" ")
}

impl StoredLease {
    /// The content after `event`.
    fn of(event: &Event, client: &str, unix_now: UnixTime) -> Option<Self> {
        match event {
            Event::Configured(Lease { address, lease_secs, .. }) => {
                let until = unix_now.0.saturating_add((*lease_secs).into());
                Some(Self { address: address.addr(), until, client: Some(client.to_owned()) })
            }
            Event::Lost | Event::Remarked(_) | Event::Refused(_) => None,
        }
    }
}

/// Stores the client's lease while the client runs. Of the changes during a write only the latest is written next.
struct LeaseWriter {
    lease_file: Option<LeaseFile>,
    writing: Option<LocalFuture<'static, ()>>,
    next: Option<Option<StoredLease>>,
}

impl LeaseWriter {
    fn new(lease_file: Option<LeaseFile>) -> Self {
        Self { lease_file, writing: None, next: None }
    }

    /// Schedules a write of `stored`.
    fn note(&mut self, stored: Option<StoredLease>) {
        self.next = Some(stored);
        if self.writing.is_none() {
            self.go_on();
        }
    }

    /// Begins the next write.
    fn go_on(&mut self) {
        let write = self.lease_file.clone().zip(self.next.take());
        self.writing =
            write.map(|(lease_file, next)| Box::pin(async move { lease_file.keep(next).await }) as _);
    }

    /// Waits until all writes are done.
    async fn finish(&mut self) {
        while let Some(writing) = &mut self.writing {
            writing.await;
            self.go_on();
        }
    }

    /// Waits until the current write is done; for ever if there is none.
    async fn written(&mut self) {
        match &mut self.writing {
            Some(writing) => writing.await,
            None => pending().await,
        }
    }
}

impl LeaseFile {
    async fn recall(&self, client: &str, unix_now: UnixTime) -> Option<Ipv4Addr> {
        let stored = self.read().await.unwrap_or_else(|error| {
            tracing::warn!(file = self.file, %error, "the former lease is forgotten");
            None
        });
        let is_own = |stored: &StoredLease| stored.client.as_deref().is_none_or(|known| known == client);
        stored.filter(|stored| unix_now.0 < stored.until && is_own(stored)).map(|stored| stored.address)
    }

    async fn read(&self) -> io::Result<Option<StoredLease>> {
        let Some(content) = self.disk.read(self.file).await? else { return Ok(None) };
        let why = match parse(&content) {
            Ok(stored) => return Ok(stored),
            Err(why) => why,
        };
        let copy = self.disk.set_aside(self.file, content).await?;
        let problem =
            format!("{} is damaged: {why}; it is forgotten, and a copy written as {copy}", self.file);
        self.disk.report(Topic::WanLeaseDamaged, Some(problem));
        Ok(None)
    }

    async fn keep(&self, stored: Option<StoredLease>) {
        let written = match serde_json::to_vec(&stored) {
            Ok(content) => self.disk.replace(self.file, sealed::seal(&content)).await,
            Err(error) => Err(error.into()),
        };
        let problem = written.err().map(|error| {
            format!(
                "{} cannot be written: {error}; the WAN's lease will be forgotten at a restart",
                self.file
            )
        });
        self.disk.report(Topic::WanLeaseNotKept, problem);
    }

    /// The damage of a client's file with this content, if there is any.
    pub fn damage(content: &[u8]) -> Option<String> {
        parse(content).err()
    }
}

fn parse(content: &[u8]) -> Result<Option<StoredLease>, String> {
    let payload = sealed::unseal(content).map_err(|damage| damage.to_string())?;
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
