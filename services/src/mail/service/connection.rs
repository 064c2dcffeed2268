//! One connection: passes octets between stream and session, answers the session's questions, and runs its timers.
//!
//! The session controls reading: while it has an open question, or a delayed reply, nothing is read. Replies to
//! pipelined commands are written together (RFC 2920, section 3.2), except that they are flushed before a question that
//! may take long. An idle connection holds no buffer.

use std::future::{pending, poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::admission::Admitted;
use super::listeners::{Counted, Server};
use crate::clock::sleep_until;
use crate::net::Stream;
use crate::wait::first_of;

/// How long a client may take to receive a reply.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The timeout of a session's question, as when the disk fails. Then the connection ends without an answer: whether the
/// message is stored is unknown, and a client waits no longer. (RFC 5321, section 4.5.3.2.6)
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Octets that are read at a time.
const READ_OCTETS: usize = 16 << 10;

/// Octets of replies that wait for others at most.
const REPLIES_OCTETS_MAX: usize = 4096;

/// A session and its backend.
pub(super) trait Dialogue {
    /// A question.
    type Ask;

    /// The reply to a client whose connection is closed for one of another source.
    const LEAVES: &'static [u8];

    /// Handles received octets, and returns how many were consumed.
    fn receive(&mut self, now: Instant, octets: &[u8]) -> usize;
    /// Whether octets are consumed now.
    fn is_listening(&self) -> bool;
    /// The next action.
    fn poll(&mut self, now: Instant) -> Option<Wanted<Self::Ask>>;
    /// Whether the client gets the replies before this question first.
    fn takes_long(ask: &Self::Ask) -> bool;
    /// Answers a question.
    async fn answer(&mut self, ask: Self::Ask);
    /// Whether the client is in the midst of something.
    fn is_engaged(&self) -> bool;
    /// When [`Dialogue::handle_timeout`] is due.
    fn deadline(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    fn tls_started(&mut self, now: Instant);
    /// Ends as soon as the command at hand is answered.
    fn stop(&mut self, now: Instant);
    /// Handles the loss of the connection.
    fn lost(&mut self, now: Instant);
}

/// An action for the connection.
pub(super) enum Wanted<A> {
    /// Send these octets to the client.
    Reply(Vec<u8>),
    /// Answer this.
    Ask(A),
    /// Make the TLS handshake.
    StartTls,
    /// Flush, and close the connection.
    Close,
}

/// A connection in progress.
struct Connection<S: Server> {
    server: Rc<S>,
    /// `None` after a failed handshake.
    stream: Option<Box<dyn Stream>>,
    dialogue: S::Dialogue,
    admitted: Admitted,
    /// Replies that have not been sent.
    replies: Vec<u8>,
    /// Octets that the session has not consumed.
    rest: Vec<u8>,
}

/// An event of a connection.
enum Event {
    Read(io::Result<Vec<u8>>),
    Due,
    Stop,
    Leave,
}

/// Whether a connection continues.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    GoesOn,
    Closed,
}

/// Serves a client until it leaves or is sent away, or the service stops and the command at hand is answered.
pub(super) async fn serve<S: Server>(
    server: Rc<S>,
    stream: Box<dyn Stream>,
    dialogue: S::Dialogue,
    admitted: Admitted,
) {
    let stream = Some(stream);
    let mut connection =
        Connection { server, stream, dialogue, admitted, replies: Vec::new(), rest: Vec::new() };
    if connection.run().await.is_err() {
        connection.server.count(Counted::Lost);
        connection.lose();
    }
}

impl<S: Server> Connection<S> {
    async fn run(&mut self) -> io::Result<()> {
        let mut is_stopping = false;
        loop {
            if self.settle().await? == Course::Closed {
                return Ok(());
            }
            if self.replies.len() >= REPLIES_OCTETS_MAX {
                self.flush().await?;
            }
            if !self.rest.is_empty() {
                let taken = self.dialogue.receive(self.server.clock().now(), &self.rest);
                self.rest.drain(..taken);
                if taken > 0 {
                    continue;
                }
            }
            self.flush().await?;
            self.rest.shrink_to_fit();
            self.admitted.waits(self.dialogue.is_engaged());
            let event = self.next(is_stopping).await;
            self.admitted.works();
            match event {
                Event::Leave => {
                    self.leave().await;
                    return Ok(());
                }
                Event::Read(octets) => self.rest = octets?,
                Event::Due => self.dialogue.handle_timeout(self.server.clock().now()),
                Event::Stop => {
                    is_stopping = true;
                    self.dialogue.stop(self.server.clock().now());
                }
            }
        }
    }

    /// Waits for the next event.
    async fn next(&mut self, is_stopping: bool) -> Event {
        let Self { server, stream, dialogue, admitted, rest, .. } = self;
        let stop = async {
            if is_stopping {
                pending().await
            } else {
                server.finishing().await;
                Event::Stop
            }
        };
        let due = async {
            sleep_until(&**server.clock(), dialogue.deadline()).await;
            Event::Due
        };
        let octets = async {
            match stream {
                // Octets that the session does not consume wait.
                Some(stream) if rest.is_empty() && dialogue.is_listening() => Event::Read(read(stream).await),
                _ => pending().await,
            }
        };
        let leave = async {
            admitted.leaves().await;
            Event::Leave
        };
        first_of(leave, first_of(stop, first_of(due, octets))).await
    }

    /// Sends the reason, if there is room for it, without waiting for the client. The current message is aborted.
    async fn leave(&mut self) {
        self.server.count(Counted::Refused);
        if let Some(stream) = &mut self.stream {
            let told = async { _ = stream.write_all(<S::Dialogue as Dialogue>::LEAVES).await };
            first_of(told, ready(())).await;
        }
        self.lose();
    }

    /// Performs all actions that are due, collecting replies.
    async fn settle(&mut self) -> io::Result<Course> {
        while let Some(wanted) = self.dialogue.poll(self.server.clock().now()) {
            match wanted {
                Wanted::Reply(octets) => {
                    self.replies.extend(octets);
                    // A long reply comes in portions, each when the one before is written.
                    if self.replies.len() >= REPLIES_OCTETS_MAX {
                        self.flush().await?;
                    }
                }
                Wanted::Ask(ask) => {
                    // The client gets the earlier replies without waiting for these.
                    if S::Dialogue::takes_long(&ask) {
                        self.flush().await?;
                    }
                    timeout(ANSWER_TIMEOUT, self.dialogue.answer(ask)).await?;
                    self.admitted.progresses(self.server.clock().now());
                }
                Wanted::StartTls => {
                    self.flush().await?;
                    self.start_tls().await?;
                }
                Wanted::Close => {
                    self.flush().await?;
                    if let Some(stream) = &mut self.stream {
                        timeout(WRITE_TIMEOUT, stream.shutdown()).await??;
                    }
                    return Ok(Course::Closed);
                }
            }
        }
        Ok(Course::GoesOn)
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        if !self.replies.is_empty() {
            let replies = std::mem::take(&mut self.replies);
            timeout(WRITE_TIMEOUT, async {
                stream.write_all(&replies).await?;
                stream.flush().await
            })
            .await??;
        }
        Ok(())
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        let (Some(tls), Some(stream)) = (self.server.tls().cloned(), self.stream.take()) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.stream = Some(Box::new(tls.accept(stream).await?));
        self.dialogue.tls_started(self.server.clock().now());
        Ok(())
    }

    /// Handles the loss of the connection.
    fn lose(&mut self) {
        self.dialogue.lost(self.server.clock().now());
    }
}

/// Reads octets; the end of the stream is an error, as the client has not sent QUIT.
async fn read(stream: &mut Box<dyn Stream>) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut space = [0; READ_OCTETS];
        let mut buffer = ReadBuf::new(&mut space);
        task::ready!(Pin::new(&mut **stream).poll_read(context, &mut buffer))?;
        let octets = buffer.filled();
        let is_end = octets.is_empty();
        Poll::Ready(if is_end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(octets.to_vec()) })
    })
    .await
}
