//! The [`Server`](super::server::Server) on sockets.
//!
//! Each listening address has a UDP socket and a TCP listener; each attempt over UDP has a socket of its own on a
//! random port, and attempts over TCP share connections ([`upstream`]). Tasks pass their events to the server and
//! perform its outputs at once; no task waits while it borrows the state. Responses go through a queue per socket or
//! connection. One task runs the timers. All tasks end with the [`Service`].

mod upstream;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::config::{Config, ConfigError};
use super::connections::{Admission, ConnectionId, ConnectionTable};
use super::events::DnsEvent;
use super::forwarder::AttemptId;
use super::inspection::{CacheContent, Inspected, LocalZones, ServerState};
use super::message::{QueryFlags, Question, Transport};
use super::resolver::Answerer;
use super::server::{Client, Output, Scope, Server};
use super::stats::Stats;
use super::upstream_connections::{self, UpstreamConnections};
use crate::clock::Clock;
use crate::events::Events;
use crate::lan_hosts::LocalNames;
use crate::net::{Listener, Net, Stream, UdpSocket};
use crate::service::LocalFuture;
use crate::task::Task;
use crate::wait::first_of;
use crate::watch;

/// The most queries of one TCP connection in progress; further ones are not read.
pub const QUERIES_PER_CONNECTION_MAX: usize = 16;

/// The timeout of an idle or stalled TCP connection: longer than the longest exchange, so that no answer is lost by it
/// (RFC 7766, section 6.2.3).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most responses that wait for a UDP socket; further ones are dropped.
pub const UDP_REPLIES_MAX: usize = 1_024;

/// The longest query, and the longest response to a UDP query.
const DATAGRAM_OCTETS_MAX: usize = 4_096;

/// The DNS service on a network.
pub struct Service<N: Net> {
    shared: Rc<Shared<N>>,
    _timer: Task,
}

struct Shared<N> {
    net: N,
    /// The gateway's own address, the client address of its services.
    own: IpAddr,
    clock: Rc<dyn Clock>,
    state: RefCell<State>,
    deadline_moved: Notify,
    /// Whether the service accepts no more queries.
    finishing: watch::Sender<bool>,
    /// Notified of an input to the server.
    told: Notify,
}

struct State {
    server: Server,
    /// The queues of responses, by the number that [`Client::socket`] has.
    replies: BTreeMap<u64, Replies>,
    sockets_opened: u64,
    replies_lost: u64,
    connections_recycled: u64,
    connections_refused: u64,
    listeners: BTreeMap<SocketAddr, [Task; 3]>,
    /// The attempts over UDP.
    attempts: BTreeMap<AttemptId, Task>,
    upstream_table: UpstreamConnections,
    upstream_connections: BTreeMap<upstream_connections::ConnectionId, upstream::Connection>,
}

impl State {
    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout().into_iter().chain(self.upstream_table.poll_timeout()).min()
    }
}

type Replies = mpsc::Sender<(SocketAddr, Vec<u8>)>;

impl<N: Net> Service<N> {
    /// A service without listening sockets. The caller must be in a context that can spawn local tasks, such as a
    /// `tokio::task::LocalSet`. `rng` must be unpredictable.
    ///
    /// # Errors
    ///
    /// A name or a record in `config` that DNS does not allow.
    pub fn new(
        net: N,
        clock: Rc<dyn Clock>,
        rng: StdRng,
        config: Config,
        leases: Rc<dyn LocalNames>,
    ) -> Result<Self, ConfigError> {
        let own = config.lan.addr().into();
        let state = RefCell::new(State {
            server: Server::new(config, leases, rng)?,
            replies: BTreeMap::new(),
            sockets_opened: 0,
            replies_lost: 0,
            connections_recycled: 0,
            connections_refused: 0,
            listeners: BTreeMap::new(),
            attempts: BTreeMap::new(),
            upstream_table: UpstreamConnections::default(),
            upstream_connections: BTreeMap::new(),
        });
        let shared = Rc::new(Shared {
            net,
            own,
            clock,
            state,
            deadline_moved: Notify::new(),
            finishing: watch::Sender::new(false),
            told: Notify::new(),
        });
        let timer = Task::spawn(Rc::clone(&shared).keep_time());
        Ok(Self { shared, _timer: timer })
    }

    /// Listens on `local`, a specific address, over UDP and TCP. Returns the address, which differs from `local` if its
    /// port is 0.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if the address is in use, or another error of the network.
    pub async fn listen(&self, local: SocketAddr) -> io::Result<SocketAddr> {
        let socket = Rc::new(self.shared.net.bind_udp(local).await?);
        let local = socket.local_addr();
        let listener = self.shared.net.listen(local).await?;
        let (replies, outgoing) = mpsc::channel(UDP_REPLIES_MAX);
        let place = ReplyPlace::open(&self.shared, replies);
        let tasks = [
            Task::spawn(receive(Rc::clone(&self.shared), Rc::clone(&socket), place)),
            Task::spawn(send(socket, outgoing)),
            Task::spawn(accept(Rc::clone(&self.shared), listener)),
        ];
        self.shared.state.borrow_mut().listeners.insert(local, tasks);
        Ok(local)
    }

    /// Closes the sockets of `local` and its TCP connections. Afterwards the address is free.
    pub async fn stop_listening(&self, local: SocketAddr) {
        let tasks = self.shared.state.borrow_mut().listeners.remove(&local);
        for task in tasks.into_iter().flatten() {
            task.end().await;
        }
    }

    /// The listening addresses.
    pub fn listens(&self) -> BTreeSet<SocketAddr> {
        self.shared.state.borrow().listeners.keys().copied().collect()
    }

    /// Accepts no more queries, answers the pending ones, and closes all connections. It takes no longer than the
    /// longest exchange with upstream servers, and `IDLE_TIMEOUT` for connections. Afterwards the addresses are free.
    pub async fn finish(&self) {
        self.shared.finishing.send_replace(true);
        let listeners = std::mem::take(&mut self.shared.state.borrow_mut().listeners);
        for task in listeners.into_values().flatten() {
            task.ended().await;
        }
    }

    /// Notes events among `events` from now on.
    pub fn set_events(&self, events: Events<DnsEvent>) {
        self.shared.state.borrow_mut().server.set_events(events);
    }

    /// Replaces the upstream servers.
    pub fn set_upstreams(&self, upstreams: Vec<SocketAddr>) {
        self.shared.handle(|server, _| server.set_upstreams(upstreams));
    }

    /// Sets the gateway's addresses on the WAN.
    pub fn set_wan_addresses(&self, wan: Vec<IpAddr>) {
        self.shared.handle(|server, _| server.set_wan_addresses(wan));
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let state = self.shared.state.borrow();
        Stats {
            replies_lost: state.replies_lost,
            connections_recycled: state.connections_recycled,
            connections_refused: state.connections_refused,
            ..state.server.stats()
        }
    }
}

impl<N: Net> Inspected for Service<N> {
    fn zones(&self) -> LocalZones {
        self.shared.state.borrow().server.zones()
    }

    fn cache(&self, max: usize) -> CacheContent {
        self.shared.state.borrow().server.cache(self.shared.clock.now(), max)
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<Name> {
        self.shared.state.borrow().server.name_of(address)
    }

    fn servers(&self) -> Vec<ServerState> {
        self.shared.state.borrow().server.server_states(self.shared.clock.now())
    }

    fn flush(&self, zone: Option<&Name>) -> usize {
        self.shared.state.borrow_mut().server.flush(zone)
    }
}

impl<N: Net> Answerer for Service<N> {
    /// The gateway is a client like those of the LAN.
    fn ask(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.ask_in(Scope::All, name, record_type)
    }

    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.ask_in(Scope::World, name, record_type)
    }
}

impl<N: Net> Service<N> {
    fn ask_in(&self, scope: Scope, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        Box::pin(async move {
            let (replies, mut response) = mpsc::channel(1);
            let place = ReplyPlace::open(&self.shared, replies);
            let address = SocketAddr::new(self.shared.own, 0);
            let client = Client { address, transport: Transport::Tcp, socket: place.number };
            let question = Question { name, record_type, dnssec_ok: false, checking_disabled: false };
            let query = question.query(0, QueryFlags::default());
            self.shared.handle(|server, now| server.handle_query_in(scope, now, client, &query));
            let (_, response) = response.recv().await?;
            Some(question.read_response(0, &response)?.message)
        })
    }
}

impl<N: Net> Drop for Service<N> {
    /// Breaks the cycle of tasks that hold the state, which holds the tasks.
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        state.listeners.clear();
        state.attempts.clear();
        state.upstream_connections.clear();
    }
}

impl<N: Net> Shared<N> {
    /// Passes an input to the server and performs its outputs.
    fn handle(self: &Rc<Self>, tell: impl FnOnce(&mut Server, Instant)) {
        let mut state = self.state.borrow_mut();
        let deadline = state.poll_timeout();
        tell(&mut state.server, self.clock.now());
        while let Some(output) = state.server.poll_output() {
            match output {
                Output::Reply { client, message } => {
                    if let Some(replies) = state.replies.get(&client.socket) {
                        // A full queue drops it.
                        let is_lost = replies.try_send((client.address, message)).is_err();
                        state.replies_lost += u64::from(is_lost);
                    }
                }
                Output::Attempt(query) => self.begin(&mut state, query),
                Output::Close(attempt) => self.end(&mut state, attempt),
            }
        }
        if state.poll_timeout() != deadline {
            self.deadline_moved.notify_one();
        }
        self.told.notify_waiters();
    }

    /// Waits until the service accepts no more queries.
    async fn finishing(&self) {
        self.finishing.subscribe().raised().await;
    }

    /// Waits until no query waits for upstream servers.
    async fn idle(&self) {
        loop {
            let told = self.told.notified();
            if self.state.borrow().server.is_idle() {
                return;
            }
            told.await;
        }
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let deadline = self.state.borrow().poll_timeout();
            let moved = self.deadline_moved.notified();
            match deadline {
                None => moved.await,
                Some(deadline) => {
                    if timeout(deadline.since(self.clock.now()), moved).await.is_err() {
                        self.handle(Server::handle_timeout);
                        self.close_idle();
                    }
                }
            }
        }
    }
}

async fn receive<N: Net>(shared: Rc<Shared<N>>, socket: Rc<N::Udp>, place: ReplyPlace<N>) {
    let mut buffer = [0; DATAGRAM_OCTETS_MAX];
    while let Some((len, address)) = unless(shared.finishing(), socket.recv_from(&mut buffer)).await {
        let client = Client { address, transport: Transport::Udp, socket: place.number };
        shared.handle(|server, now| server.handle_query(now, client, &buffer[..len]));
    }
    // The queue of responses must exist until the last of them is in it.
    shared.idle().await;
}

/// The output of `work`, unless it fails or `end` is ready first.
async fn unless<T>(end: impl Future<Output = ()>, work: impl Future<Output = io::Result<T>>) -> Option<T> {
    let ended = async {
        end.await;
        None
    };
    first_of(ended, async { work.await.ok() }).await
}

async fn send<U: UdpSocket>(socket: Rc<U>, mut outgoing: mpsc::Receiver<(SocketAddr, Vec<u8>)>) {
    while let Some((address, message)) = outgoing.recv().await {
        // A client that cannot be reached retransmits.
        _ = socket.send_to(&message, address).await;
    }
}

async fn accept<N: Net>(shared: Rc<Shared<N>>, listener: N::Listener) {
    let table = Rc::new(RefCell::new(ConnectionTable::default()));
    let mut connections = JoinSet::new();
    let mut handles: BTreeMap<ConnectionId, AbortHandle> = BTreeMap::new();
    while let Some(stream) = unless(shared.finishing(), listener.accept()).await {
        while connections.try_join_next().is_some() {}
        handles.retain(|_, handle| !handle.is_finished());
        let admission = table.borrow_mut().admit(shared.clock.now(), stream.peer_addr().ip());
        let Some(Admission { id, closes }) = admission else {
            shared.state.borrow_mut().connections_refused += 1;
            continue;
        };
        if let Some(closed) = closes {
            shared.state.borrow_mut().connections_recycled += 1;
            if let Some(handle) = handles.remove(&closed) {
                handle.abort();
            }
        }
        let connection = ConnectionPlace { table: Rc::clone(&table), clock: Rc::clone(&shared.clock), id };
        handles.insert(id, connections.spawn_local(serve_connection(Rc::clone(&shared), stream, connection)));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Reads queries and writes answers independently, in any order (RFC 7766, section 6.2.1.1).
async fn serve_connection<N: Net>(shared: Rc<Shared<N>>, stream: N::Stream, connection: ConnectionPlace) {
    let address = stream.peer_addr();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (replies, mut outgoing) = mpsc::channel(QUERIES_PER_CONNECTION_MAX);
    let place = ReplyPlace::open(&shared, replies);
    let slots = Semaphore::new(QUERIES_PER_CONNECTION_MAX);
    let read = async {
        let client = Client { address, transport: Transport::Tcp, socket: place.number };
        while let Ok(Ok(slot)) = timeout(IDLE_TIMEOUT, slots.acquire()).await
            && let Ok(Some(query)) =
                timeout(IDLE_TIMEOUT, unless(shared.finishing(), read_message(&mut reader))).await
        {
            // The answer returns the slot. A client whose queries get no answer runs out of slots.
            slot.forget();
            connection.begin();
            shared.handle(|server, now| server.handle_query(now, client, &query));
        }
        // A client that has closed its sending side still gets its answers.
        let all = u32::try_from(QUERIES_PER_CONNECTION_MAX).expect("a small number");
        _ = timeout(IDLE_TIMEOUT, slots.acquire_many(all)).await;
        drop(place);
    };
    let write = async {
        while let Some((_, message)) = outgoing.recv().await {
            match timeout(IDLE_TIMEOUT, write_message(&mut writer, &message)).await {
                Ok(Ok(())) => {
                    connection.end();
                    slots.add_permits(1);
                }
                _ => return slots.close(),
            }
        }
        _ = writer.shutdown().await;
    };
    tokio::join!(read, write);
}

async fn read_message(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let len = reader.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    reader.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes length and message in one segment (RFC 7766, section 8).
async fn write_message(writer: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend(len.to_be_bytes());
    framed.extend(message);
    writer.write_all(&framed).await?;
    writer.flush().await
}

/// The registration of a queue of responses, removed on drop.
struct ReplyPlace<N: Net> {
    shared: Rc<Shared<N>>,
    number: u64,
}

impl<N: Net> ReplyPlace<N> {
    fn open(shared: &Rc<Shared<N>>, replies: Replies) -> Self {
        let mut state = shared.state.borrow_mut();
        state.sockets_opened += 1;
        let number = state.sockets_opened;
        state.replies.insert(number, replies);
        Self { shared: Rc::clone(shared), number }
    }
}

impl<N: Net> Drop for ReplyPlace<N> {
    fn drop(&mut self) {
        self.shared.state.borrow_mut().replies.remove(&self.number);
    }
}

/// The registration of a connection in the table of its listening address, removed on drop.
struct ConnectionPlace {
    table: Rc<RefCell<ConnectionTable>>,
    clock: Rc<dyn Clock>,
    id: ConnectionId,
}

impl ConnectionPlace {
    fn begin(&self) {
        self.table.borrow_mut().begin(self.clock.now(), self.id);
    }

    fn end(&self) {
        self.table.borrow_mut().end(self.clock.now(), self.id);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.table.borrow_mut().remove(self.id);
    }
}

#[cfg(test)]
mod tests;
