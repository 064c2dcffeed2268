//! One connection: octets to a [`Session`] and back, its questions to the [`Desk`], and time.
//!
//! The session decides what is read: while it has a question open, or a reply that is held back, nothing is. The replies to
//! commands that come together go together (RFC 2920, section 3.2), but for those before a question that may take
//! long. An idle connection holds no buffer.

use std::future::{pending, poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::admission::Admitted;
use super::desk::Desk;
use super::shared::Shared;
use crate::clock::sleep_until;
use crate::mail::smtp::server::{Action, Ask, Output, Session};
use crate::net::Stream;
use crate::race::race;

/// How long a client may take to receive a reply.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a question of a session may be open, as when the disk fails. Then the connection ends without an answer: whether
/// the message is kept is not known, and a client waits no longer. // RFC 5321, section 4.5.3.2.6
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Octets that are read at a time.
const READ_OCTETS: usize = 16 << 10;

/// Octets of replies that wait for others at most.
const REPLIES_OCTETS_MAX: usize = 4096;

/// The reply to a client whose connection gives way to one of another source.
const LEAVES: &[u8] = b"421 4.3.2 too many connections; try again later\r\n";

/// A connection at work.
struct Connection {
    shared: Rc<Shared>,
    /// `None` in the midst of a handshake that failed.
    stream: Option<Box<dyn Stream>>,
    session: Session,
    desk: Desk,
    admitted: Admitted,
    /// Replies that have not been sent.
    replies: Vec<u8>,
    /// Octets that the session has not taken.
    rest: Vec<u8>,
}

/// What a connection waits for.
enum Event {
    Read(io::Result<Vec<u8>>),
    Due,
    Stop,
    Leave,
}

/// Whether a connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    GoesOn,
    Closed,
}

/// Serves a client until it leaves or is sent away, or the service stops and the command at hand is answered.
pub(super) async fn serve(
    shared: Rc<Shared>,
    stream: Box<dyn Stream>,
    session: Session,
    desk: Desk,
    admitted: Admitted,
) {
    let mut connection = Connection {
        shared: Rc::clone(&shared),
        stream: Some(stream),
        session,
        desk,
        admitted,
        replies: Vec::new(),
        rest: Vec::new(),
    };
    if connection.run().await.is_err() {
        shared.stats.borrow_mut().connections_lost += 1;
        connection.lose();
    }
}

impl Connection {
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
                let taken = self.session.receive(self.shared.clock.now(), &self.rest);
                self.rest.drain(..taken);
                if taken > 0 {
                    continue;
                }
            }
            self.flush().await?;
            self.rest.shrink_to_fit();
            self.admitted.waits(self.desk.has_message());
            let event = self.next(is_stopping).await;
            self.admitted.works();
            match event {
                Event::Leave => {
                    self.leave().await;
                    return Ok(());
                }
                Event::Read(octets) => self.rest = octets?,
                Event::Due => self.session.handle_timeout(self.shared.clock.now()),
                Event::Stop => {
                    is_stopping = true;
                    self.session.stop(self.shared.clock.now());
                }
            }
        }
    }

    /// Waits for whatever comes first.
    async fn next(&mut self, is_stopping: bool) -> Event {
        let Self { shared, stream, session, admitted, rest, .. } = self;
        let stop = async {
            if is_stopping {
                pending().await
            } else {
                shared.finishing().await;
                Event::Stop
            }
        };
        let due = async {
            sleep_until(&*shared.clock, session.deadline()).await;
            Event::Due
        };
        let octets = async {
            match stream {
                // What the session does not take waits.
                Some(stream) if rest.is_empty() && session.is_listening() => Event::Read(read(stream).await),
                _ => pending().await,
            }
        };
        let leave = async {
            admitted.leaves().await;
            Event::Leave
        };
        race(leave, race(stop, race(due, octets))).await
    }

    /// Says why, if there is room for that: nobody waits for the client. The message under way is forgotten.
    async fn leave(&mut self) {
        self.shared.stats.borrow_mut().connections_refused += 1;
        if let Some(stream) = &mut self.stream {
            let told = async { _ = stream.write_all(LEAVES).await };
            race(told, ready(())).await;
        }
        self.lose();
    }

    /// Does all that the session wants done now, but for replies that go with others.
    async fn settle(&mut self) -> io::Result<Course> {
        while let Some(output) = self.session.poll_output(self.shared.clock.now()) {
            match output {
                Output::Reply(octets) => self.replies.extend(octets),
                Output::Ask(ask) => {
                    // What these take, the client need not wait for the replies before.
                    if matches!(ask, Ask::Chunk(_) | Ask::Commit | Ask::Authenticate(_)) {
                        self.flush().await?;
                    }
                    let answer = self.desk.answer(&self.session, ask);
                    let answer = timeout(ANSWER_TIMEOUT, answer).await?;
                    let now = self.shared.clock.now();
                    self.admitted.progresses(now);
                    self.session.answer(now, answer);
                }
                Output::Action(Action::Abort) => self.desk.abort(),
                Output::Action(Action::StartTls) => {
                    self.flush().await?;
                    self.start_tls().await?;
                }
                Output::Action(Action::Close) => {
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
        let (Some(tls), Some(stream)) = (self.shared.tls.clone(), self.stream.take()) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.stream = Some(Box::new(tls.accept(stream).await?));
        self.session.tls_started(self.shared.clock.now());
        Ok(())
    }

    /// Takes note that the connection is gone.
    fn lose(&mut self) {
        let now = self.shared.clock.now();
        self.session.lost(now);
        while let Some(output) = self.session.poll_output(now) {
            if output == Output::Action(Action::Abort) {
                self.desk.abort();
            }
        }
    }
}

/// What has come; an end is an error, as the client has not said QUIT.
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
