//! Requests and connections for tests.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, LocalSet};

use super::{Conditions, End, HeaderMap, Host, Request, Site, serve};
use crate::clock::{Clock, UnixTime};
use crate::net::Stream;
use crate::tls::testing::{NOW, Pipe, pair, pipe};
use crate::tls::{Peer, Tls};
use crate::watch;

/// The site's name and port in tests; the port is that of the test's connections.
pub(crate) const CANONICAL: &str = "admin.office.example:465";

/// A request without fields.
pub(crate) fn request(method: &str, path: &str) -> Request {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (path, None),
    };
    Request {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        path: path.to_owned(),
        query,
        host: Host::parse(CANONICAL).expect("a host"),
        fields: HeaderMap::new(),
        body: Vec::new(),
        peer: IpAddr::from([192, 168, 1, 10]),
    }
}

/// Runs `test` in simulated time, which passes when everybody waits.
pub(crate) fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let bounded = async {
        tokio::time::timeout(Duration::from_secs(30 * 24 * 3600), test).await.expect("the test ends")
    };
    LocalSet::new().block_on(&runtime.expect("a runtime"), bounded)
}

/// A clock of simulated time.
pub(crate) struct Simulated(tokio::time::Instant);

impl Simulated {
    /// A clock that shows 1000 s at the call, and from then on runs with tokio's time.
    pub fn clock() -> Rc<dyn Clock> {
        Rc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for Simulated {
    fn now(&self) -> Instant {
        Instant::from_secs(1000) + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(NOW.0 + self.0.elapsed().as_secs())
    }
}

/// A server, and what its clients need.
pub(crate) struct Lab<H> {
    pub site: Rc<H>,
    pub conditions: Conditions,
    pub client: Tls,
    pub finish: watch::Sender<bool>,
}

impl<H: Site> Lab<H> {
    /// A server of `site` by this clock.
    pub fn new(site: Rc<H>, clock: Rc<dyn Clock>) -> Self {
        let (tls, client) = pair(&clock);
        let finish = watch::Sender::new(false);
        let conditions = Conditions { tls: Rc::new(tls), clock, finishing: finish.subscribe() };
        Self { site, conditions, client, finish }
    }

    /// A connection in clear: the client's end, and the server's task.
    pub fn connect(&self) -> (Pipe, JoinHandle<End>) {
        let (client, server) = pipe(crate::tls::testing::PORTION_MAX);
        let (site, conditions) = (Rc::clone(&self.site), self.conditions.clone());
        (client, tokio::task::spawn_local(async move { serve(server, &*site, &conditions).await }))
    }

    /// A connection under TLS.
    pub async fn connect_tls(&self) -> (impl Stream + use<H>, JoinHandle<End>) {
        let (client, task) = self.connect();
        (self.client.connect(client, Peer::Named("admin.office.example")).await.expect("a handshake"), task)
    }

    /// All that comes in answer to `octets` under TLS until the server closes the connection.
    pub async fn ask(&self, octets: &str) -> String {
        let (mut stream, _) = self.connect_tls().await;
        talk(&mut stream, octets).await
    }

    /// All that comes in answer to `octets` in clear.
    pub async fn ask_in_clear(&self, octets: &str) -> String {
        talk(&mut self.connect().0, octets).await
    }
}

/// All that `stream` says after `octets`.
pub(crate) async fn talk(stream: &mut impl Stream, octets: &str) -> String {
    // A server may refuse what is not yet written.
    _ = stream.write_all(octets.as_bytes()).await;
    _ = stream.flush().await;
    let mut heard = Vec::new();
    _ = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).expect("text")
}
