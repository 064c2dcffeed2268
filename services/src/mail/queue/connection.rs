//! One connection to another server: a [`Client`] over a stream, with the message and time.
//!
//! The connection is read while the client writes, as servers reply meanwhile, and a reply that came before the server
//! closed its side is read. The outcome of the message is returned before QUIT is sent ([`PendingQuit`]), so that a server
//! that is slow to answer QUIT does not delay its storage.

use std::future::{pending, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::clock::{Clock, sleep_until};
use crate::mail::smtp::client::{Client, FETCH_OCTETS, Output, Report};
use crate::net::Stream;
use crate::service::LocalFuture;
use crate::store::part_of;
use crate::tls::{Peer, Tls};
use crate::watch;
use crate::work::{self, Work};

/// How long a portion of the message may take to be read.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The time without progress after which a server that has responded counts as stuck, reported by [`send`].
pub const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How long the other side may take to hear that the connection ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of replies that are read at a time.
const REPLY_OCTETS: usize = 4 << 10;

/// Where a message is read from.
pub trait Source {
    /// At most `len` octets from `offset` on; none at the message's end.
    ///
    /// # Errors
    ///
    /// The message cannot be read.
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>>;
}

/// A message in memory.
impl Source for Vec<u8> {
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(ready(Ok(part_of(self, offset, len))))
    }
}

/// Makes the client's side of TLS handshakes.
pub trait StartTls {
    /// Runs the handshake over `stream`. The caller limits its duration.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    fn start_tls(&self, stream: Box<dyn Stream>) -> LocalFuture<'_, io::Result<Box<dyn Stream>>>;

    /// Whether the server has proved its name once the handshake is done.
    fn has_to_prove(&self) -> bool;
}

/// TLS to one server.
#[derive(Debug)]
pub struct TlsTo {
    /// The gateway's TLS.
    pub tls: Rc<Tls>,
    /// The server's name.
    pub name: String,
    /// Whether the server has to authenticate, as it has to before a password is sent. Others are accepted
    /// unauthenticated: encryption alone keeps out passive attackers. (RFC 7435)
    pub has_to_prove: bool,
}

impl StartTls for TlsTo {
    fn start_tls(&self, stream: Box<dyn Stream>) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        let peer = if self.has_to_prove { Peer::Named(&self.name) } else { Peer::Anybody(Some(&self.name)) };
        Box::pin(async move { Ok(Box::new(self.tls.connect(stream, peer).await?) as Box<dyn Stream>) })
    }

    fn has_to_prove(&self) -> bool {
        self.has_to_prove
    }
}

/// There is no TLS.
#[derive(Clone, Copy, Debug)]
pub struct NoTls;

impl StartTls for NoTls {
    fn start_tls(&self, _: Box<dyn Stream>) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::Error::other("this server has no TLS")) })
    }

    fn has_to_prove(&self) -> bool {
        false
    }
}

/// The environment of a connection.
#[derive(Clone)]
pub struct Environment {
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// Where keys are derived.
    pub work: Rc<dyn Work>,
    /// Makes the client's side of a TLS handshake.
    pub tls: Rc<dyn StartTls>,
}

/// A connection after its message, on which QUIT is still to be sent.
pub struct PendingQuit(Connection<'static>);

impl PendingQuit {
    /// Sends QUIT, and closes the connection. The server's answer does not matter.
    pub async fn send(self) {
        let Self(mut connection) = self;
        while !connection.settle().await {
            connection.step().await;
        }
    }
}

struct Connection<'a> {
    environment: Environment,
    /// Whether this side stops.
    stops: watch::Receiver<bool>,
    /// `None` after the message.
    message: Option<&'a dyn Source>,
    /// Called when the server is stuck; `None` once it was, or after the message.
    stuck: Option<&'a dyn Fn()>,
    /// The time of the last progress: a reply, or octets accepted; `None` before the greeting.
    moved: Option<Instant>,
    client: Client,
    /// `None` after a failed handshake.
    stream: Option<Box<dyn Stream>>,
    /// Octets to write; none once the server has stopped reading.
    unsent: Vec<u8>,
    /// How much of the message has been read.
    offset: u64,
    reports: Option<Vec<Report>>,
    /// Whether the server was left as this side stops.
    is_left: bool,
}

enum Event {
    Stop,
    Wrote(io::Result<usize>),
    Read(io::Result<Vec<u8>>),
    Due,
}

/// Sends the message of `client` over `stream`: returns the outcome for each recipient, and the connection. The
/// connection ends early when this side `stops`. `stuck` is called if the server, after its greeting, neither replies
/// nor accepts octets for [`STUCK_AFTER`]. The transaction continues all the same, within its timeouts.
pub async fn send(
    environment: &Environment,
    stops: watch::Receiver<bool>,
    stream: Box<dyn Stream>,
    client: Client,
    message: &dyn Source,
    stuck: Option<&dyn Fn()>,
) -> (Vec<Report>, PendingQuit) {
    let mut connection = Connection {
        environment: environment.clone(),
        stops,
        message: Some(message),
        stuck,
        moved: None,
        client,
        stream: Some(stream),
        unsent: Vec::new(),
        offset: 0,
        reports: None,
        is_left: false,
    };
    loop {
        let is_over = connection.settle().await;
        let reports = connection.reports.take();
        // A connection that is over has had reports before.
        if is_over || reports.is_some() {
            let Connection { environment, stops, client, stream, unsent, offset, is_left, .. } = connection;
            let rest = Connection {
                environment,
                stops,
                message: None,
                stuck: None,
                moved: None,
                client,
                stream,
                unsent,
                offset,
                reports: None,
                is_left,
            };
            return (reports.unwrap_or_default(), PendingQuit(rest));
        }
        connection.step().await;
    }
}

impl Connection<'_> {
    /// Waits for the next event, and handles it.
    async fn step(&mut self) {
        match self.next().await {
            Event::Wrote(Ok(len @ 1..)) => {
                self.unsent.drain(..len);
                self.moved = self.moved.map(|_| self.environment.clock.now());
            }
            Event::Wrote(_) => {
                // Its earlier replies can still be read.
                self.client.deaf(self.environment.clock.now());
                self.unsent.clear();
            }
            Event::Read(Ok(octets)) if !octets.is_empty() => {
                self.moved = Some(self.environment.clock.now());
                self.client.receive(self.environment.clock.now(), &octets);
            }
            Event::Read(_) => self.client.lost(),
            Event::Due => {
                let now = self.environment.clock.now();
                if self.stuck_at().is_some_and(|at| at <= now)
                    && let Some(stuck) = self.stuck.take()
                {
                    stuck();
                }
                self.client.handle_timeout(now);
            }
            Event::Stop => {
                self.is_left = true;
                self.client.leave();
            }
        }
    }

    /// Does all that can be done now, up to the reports; true: the connection is over.
    async fn settle(&mut self) -> bool {
        loop {
            // Pending octets are written first, unless the connection has ended.
            if !self.unsent.is_empty() && !self.client.is_closed() {
                return false;
            }
            let Some(output) = self.client.poll_output(self.environment.clock.now()) else {
                if self.client.is_ready() {
                    self.client.quit();
                    continue;
                }
                return false;
            };
            match output {
                Output::Send(octets) => self.unsent = octets,
                Output::Fetch => self.fetch().await,
                Output::Derive(derivation) => {
                    match work::run(&*self.environment.work, move || derivation.run()).await {
                        Ok(key) => self.client.derived(&key),
                        Err(_) => self.client.lost(),
                    }
                }
                Output::StartTls => self.start_tls().await,
                Output::Reports(reports) => {
                    self.reports = Some(reports);
                    return false;
                }
                Output::Close => {
                    if let Some(mut stream) = self.stream.take() {
                        // Nothing depends on it any more.
                        _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
                    }
                    return true;
                }
            }
        }
    }

    async fn fetch(&mut self) {
        let Some(message) = self.message else { return self.client.data_failed("the message is over") };
        let read = timeout(READ_TIMEOUT, message.read(self.offset, FETCH_OCTETS)).await;
        match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(octets) if octets.is_empty() => self.client.data_ended(),
            Ok(octets) => {
                // A length in memory fits.
                self.offset += octets.len() as u64;
                self.client.data(&octets);
            }
            Err(error) => {
                tracing::warn!(%error, "a queued message cannot be read");
                self.client.data_failed("the message cannot be read now");
            }
        }
    }

    async fn start_tls(&mut self) {
        let Some(stream) = self.stream.take() else { return self.client.lost() };
        let now = self.environment.clock.now();
        let time = self.client.deadline().map_or(Duration::ZERO, |deadline| deadline.since(now));
        match timeout(time, self.environment.tls.start_tls(stream)).await {
            Ok(Ok(stream)) => {
                self.stream = Some(stream);
                self.client.tls_started(self.environment.clock.now(), self.environment.tls.has_to_prove());
            }
            Ok(Err(error)) => self.client.tls_failed(&error.to_string()),
            Err(_) => self.client.tls_failed("the TLS handshake took too long"),
        }
    }

    /// When the server becomes stuck, if that is to be reported.
    fn stuck_at(&self) -> Option<Instant> {
        self.stuck.and(self.moved).map(|moved| moved + STUCK_AFTER)
    }

    /// Waits for the next event.
    async fn next(&mut self) -> Event {
        let deadline = self.client.deadline().into_iter().chain(self.stuck_at()).min();
        let Self { environment, stops, stream, unsent, client, is_left, .. } = self;
        let Some(stream) = stream else { return Event::Read(Ok(Vec::new())) };
        let mut stops = stops.clone();
        let is_left = *is_left;
        let mut stopped = pin!(async move {
            // If the sender is gone, there is no stop any more.
            if is_left || stops.wait_for(|stops| *stops).await.is_err() {
                pending::<()>().await;
            }
        });
        let mut due = pin!(sleep_until(&*environment.clock, deadline));
        poll_fn(|context| {
            if !unsent.is_empty() {
                if let Poll::Ready(wrote) = Pin::new(&mut **stream).poll_write(context, unsent) {
                    return Poll::Ready(Event::Wrote(wrote));
                }
            } else if !client.is_deaf()
                && let Poll::Ready(Err(error)) = Pin::new(&mut **stream).poll_flush(context)
            {
                return Poll::Ready(Event::Read(Err(error)));
            }
            let mut space = [0; REPLY_OCTETS];
            let mut buffer = ReadBuf::new(&mut space);
            if let Poll::Ready(read) = Pin::new(&mut **stream).poll_read(context, &mut buffer) {
                return Poll::Ready(Event::Read(read.map(|()| buffer.filled().to_vec())));
            }
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Stop);
            }
            due.as_mut().poll(context).map(|()| Event::Due)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
