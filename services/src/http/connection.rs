//! One connection, from its first octet to its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use gatepost_ground::Instant;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::time::timeout;

use super::exchange::{Context, exchange};
use super::io::{Begun, Io};
use super::progress::Progress;
use super::{FIELDS_MAX, HEAD_OCTETS_MAX, HEAD_TIME_MAX, Site};
use crate::clock::{Clock, sleep_until};
use crate::net::Stream;
use crate::task::LocalFuture;
use crate::tls::Tls;
use crate::wait::first_of;
use crate::watch;

/// The first octet of a TLS connection: the content type of a handshake. (RFC 8446, section 5.1)
const HANDSHAKE: u8 = 22;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One side closed it between two requests, or it was idle for too long.
    Closed,
    /// The client was too slow.
    TimedOut,
    /// The client broke it off, or what it sent is neither TLS nor HTTP.
    Lost,
}

/// What the connections of a site share.
#[derive(Clone)]
pub struct Conditions {
    /// TLS with the site's certificate.
    pub tls: Rc<Tls>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// Whether the site shall take no further requests.
    pub finishing: watch::Receiver<bool>,
}

/// Serves `site` on a connection until its end.
pub async fn serve<S: Stream, H: Site>(stream: S, site: &H, conditions: &Conditions) -> End {
    let mut finishing = conditions.finishing.clone();
    let stopped = async {
        finishing.raised().await;
        Err(End::Closed)
    };
    let begun = async {
        match timeout(HEAD_TIME_MAX, Begun::wait(stream)).await {
            Ok(Ok(Some(begun))) => Ok(begun),
            Ok(Ok(None)) => Err(End::Closed),
            Ok(Err(_)) => Err(End::Lost),
            Err(_) => Err(End::TimedOut),
        }
    };
    let (first, begun) = match first_of(stopped, begun).await {
        Ok(begun) => begun,
        Err(end) => return end,
    };
    if first != HANDSHAKE {
        return converse(begun, site, conditions, false).await;
    }
    match conditions.tls.accept(begun).await {
        Ok(stream) => converse(stream, site, conditions, true).await,
        Err(crate::tls::HandshakeError::TimedOut) => End::TimedOut,
        Err(_) => End::Lost,
    }
}

/// Answers the requests on a connection.
async fn converse<S: Stream, H: Site>(
    stream: S,
    site: &H,
    conditions: &Conditions,
    is_encrypted: bool,
) -> End {
    let peer = stream.peer_addr().ip().to_canonical();
    let port = stream.local_addr().port();
    let progress = Rc::new(Progress::new(Rc::clone(&conditions.clock)));
    let service = service_fn(|request| {
        progress.answering();
        let progress = &progress;
        async move {
            let context = Context {
                peer,
                port,
                is_encrypted,
                is_last: progress.is_old(),
                finishing: conditions.finishing.clone(),
                progress: Rc::clone(progress),
            };
            Ok::<_, Infallible>(exchange(request, site, context).await)
        }
    });
    let io = Io { stream, progress: Rc::clone(&progress) };
    let connection = http1::Builder::new()
        .max_header_size(HEAD_OCTETS_MAX)
        .max_buf_size(HEAD_OCTETS_MAX)
        .max_headers(FIELDS_MAX)
        // The deadlines are those of `Progress`.
        .header_read_timeout(None)
        .auto_date_header(false)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut finishing = conditions.finishing.clone();
    let mut stopped = pin!(finishing.raised());
    let mut is_stopping = false;
    let mut alarm = Alarm::new(&*conditions.clock);
    poll_fn(|context| {
        if !is_stopping && stopped.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(if ended.is_ok() { End::Closed } else { End::Lost });
        }
        let end = if progress.is_idle() { End::Closed } else { End::TimedOut };
        alarm.poll(progress.deadline(), context).map(|()| end)
    })
    .await
}

/// An alarm at a time that changes.
struct Alarm<'a> {
    clock: &'a dyn Clock,
    set: Option<(Instant, LocalFuture<'a, ()>)>,
}

impl<'a> Alarm<'a> {
    fn new(clock: &'a dyn Clock) -> Self {
        Self { clock, set: None }
    }

    /// Ready once it is `due`.
    fn poll(&mut self, due: Instant, context: &mut std::task::Context<'_>) -> Poll<()> {
        let clock = self.clock;
        if self.set.as_ref().is_none_or(|(set, _)| *set != due) {
            self.set = Some((due, Box::pin(sleep_until(clock, Some(due)))));
        }
        match &mut self.set {
            Some((_, sleep)) => sleep.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}
