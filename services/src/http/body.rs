//! The body of an answer: whole, or growing while it is sent.
//!
//! The source of a growing body is a future that the body itself polls, and only while the connection has room for
//! another portion: so a slow client slows down the source, at most one portion waits, and the source ends with the
//! connection. Events end well whenever they end, as browsers ask again; a download that ends early is broken off, so
//! that its client does not take a part for the whole.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::time::sleep;

use super::progress::Progress;
use crate::task::LocalFuture;
use crate::wait::first_of;

/// The most octets of a growing body that wait for the connection.
pub const PORTION_OCTETS_MAX: usize = 16 * 1024;

/// How often a stream of events without events shows that it is alive: often enough for the state of a firewall on the
/// way, and so that a client that is gone is noticed.
pub const HEARTBEAT_TIME: Duration = Duration::from_secs(20);

/// A comment, which the receiver of events ignores. (HTML Standard, section 9.2.6)
const HEARTBEAT: &[u8] = b":\n\n";

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it is known.
    Whole(Bytes),
    /// It grows while it is sent.
    Growing(Growing),
}

/// A body that grows while it is sent.
pub struct Growing {
    /// `None` once it has ended.
    source: Option<LocalFuture<'static, Result<(), Broken>>>,
    portion: Portion,
    /// Of events: the time to the next heartbeat, once that runs.
    heartbeat: Option<LocalFuture<'static, ()>>,
    is_events: bool,
}

/// The portion that waits for the connection.
type Portion = Rc<RefCell<Option<Bytes>>>;

/// The answer is incomplete, and cannot be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer cannot be completed")
    }
}

impl std::error::Error for Broken {}

/// Adds to a growing body.
#[derive(Debug)]
pub struct Writer {
    portion: Portion,
}

/// Adds events to a growing body. (HTML Standard, section 9.2)
#[derive(Debug)]
pub struct EventWriter {
    writer: Writer,
}

impl Writer {
    /// Adds `octets`; returns when all of them but the last portion are with the connection.
    pub async fn send(&mut self, octets: impl Into<Bytes>) {
        let mut octets = octets.into();
        while !octets.is_empty() {
            let mut portion = Some(octets.split_to(octets.len().min(PORTION_OCTETS_MAX)));
            // Nothing wakes this: the body is polled when the connection has room, and it polls its source.
            poll_fn(|_| {
                let mut waiting = self.portion.borrow_mut();
                if waiting.is_some() {
                    return Poll::Pending;
                }
                *waiting = portion.take();
                Poll::Ready(())
            })
            .await;
        }
    }
}

impl EventWriter {
    /// Adds an event with this name, of which the receiver gets the lines of `data`.
    pub async fn send(&mut self, name: &str, data: &str) {
        let mut event = format!("event: {name}\n");
        for line in data.lines() {
            event.push_str("data: ");
            event.push_str(line);
            event.push('\n');
        }
        event.push('\n');
        self.writer.send(event).await;
    }
}

impl Body {
    /// A body that `source` writes. If that fails, the connection is broken off.
    pub fn download<F>(source: impl FnOnce(Writer) -> F) -> Self
    where
        F: Future<Output = Result<(), Broken>> + 'static,
    {
        let portion = Portion::default();
        let source = source(Writer { portion: Rc::clone(&portion) });
        Self::growing(source, portion, false)
    }

    /// A body of the events that `source` writes.
    pub fn events<F>(source: impl FnOnce(EventWriter) -> F) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let portion = Portion::default();
        let written = source(EventWriter { writer: Writer { portion: Rc::clone(&portion) } });
        let source = async {
            written.await;
            Ok(())
        };
        Self::growing(source, portion, true)
    }

    fn growing(
        source: impl Future<Output = Result<(), Broken>> + 'static,
        portion: Portion,
        is_events: bool,
    ) -> Self {
        Self::Growing(Growing { source: Some(Box::pin(source)), portion, heartbeat: None, is_events })
    }

    /// The same body, which ends at the latest when `over` does. A body that is whole does not end early.
    pub fn until(self, over: impl Future<Output = ()> + 'static) -> Self {
        match self {
            Self::Growing(Growing { source: Some(source), portion, is_events, .. }) => {
                let over = async move {
                    over.await;
                    if is_events { Ok(()) } else { Err(Broken) }
                };
                Self::growing(first_of(over, source), portion, is_events)
            }
            ended => ended,
        }
    }

    /// Whether it is a growing body of events.
    pub fn is_events(&self) -> bool {
        matches!(self, Self::Growing(Growing { is_events: true, .. }))
    }

    /// Whether it grows.
    pub fn is_growing(&self) -> bool {
        matches!(self, Self::Growing(_))
    }

    /// The octets of a body that is whole; none of one that grows.
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Whole(octets) => octets,
            Self::Growing(_) => &[],
        }
    }
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing").field("is_events", &self.is_events).finish_non_exhaustive()
    }
}

impl Growing {
    fn poll_portion(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(source) = self.source.as_mut().filter(|_| self.portion.borrow().is_none())
            && let Poll::Ready(ended) = source.as_mut().poll(context)
        {
            self.source = None;
            if let Err(broken) = ended {
                return Poll::Ready(Some(Err(broken)));
            }
        }
        if let Some(portion) = self.portion.take() {
            self.heartbeat = None;
            return Poll::Ready(Some(Ok(portion)));
        }
        if self.source.is_none() {
            return Poll::Ready(None);
        }
        if self.is_events {
            let heartbeat = self.heartbeat.get_or_insert_with(|| Box::pin(sleep(HEARTBEAT_TIME)));
            if heartbeat.as_mut().poll(context).is_ready() {
                self.heartbeat = None;
                return Poll::Ready(Some(Ok(Bytes::from_static(HEARTBEAT))));
            }
        }
        Poll::Pending
    }
}

/// A body on its way to a client.
pub(super) struct Outgoing {
    body: Body,
    /// The connection's, if the body grows.
    progress: Option<Rc<Progress>>,
}

impl Outgoing {
    /// `body`, which goes to the client of `progress`.
    pub fn new(body: Body, progress: &Rc<Progress>) -> Self {
        let progress = body.is_growing().then(|| Rc::clone(progress));
        Self { body, progress }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.body {
            Body::Whole(octets) if octets.is_empty() => Poll::Ready(None),
            Body::Whole(octets) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(octets))))),
            Body::Growing(growing) => {
                growing.poll_portion(context).map(|portion| portion.map(|portion| portion.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Body::Whole(octets) if octets.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Body::Whole(octets) => SizeHint::with_exact(octets.len() as u64),
            Body::Growing(_) => SizeHint::default(),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.answered();
        }
    }
}
