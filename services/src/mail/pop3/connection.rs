//! A connection to a remote mailbox: a [`Session`] over a stream, with timers.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::client::{Output, Session, Settings};
use crate::clock::sleep_until;
use crate::mail::queue::connection::Environment;
use crate::net::Stream;
use crate::work;

/// Octets that are read at a time.
const READ_OCTETS: usize = 16 << 10;
/// How long the other side may take to hear that the connection ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection.
pub struct Connection {
    /// The protocol session.
    pub session: Session,
    environment: Environment,
    /// `None` after a failed handshake.
    stream: Option<Box<dyn Stream>>,
}

impl Connection {
    /// A connection over the new `stream`.
    pub fn new(environment: Environment, stream: Box<dyn Stream>, settings: Settings) -> Self {
        Self { session: Session::new(environment.clock.now(), settings), environment, stream: Some(stream) }
    }

    /// The session's next output that is not for the connection itself: no [`Output::Send`], [`Output::Derive`] or
    /// [`Output::StartTls`]. Behind [`Output::Close`] it is not to be called.
    pub async fn next(&mut self) -> Output {
        loop {
            while let Some(output) = self.session.poll_output(self.environment.clock.now()) {
                match output {
                    Output::Send(octets) => self.send(&octets).await,
                    Output::Derive(derivation) => {
                        match work::run(&*self.environment.work, move || derivation.run()).await {
                            Ok(key) => self.session.derived(&key),
                            Err(_) => self.session.lost(),
                        }
                    }
                    Output::StartTls => self.start_tls().await,
                    output => return output,
                }
            }
            match self.read().await {
                None => self.session.handle_timeout(self.environment.clock.now()),
                Some(Ok(octets)) if !octets.is_empty() => {
                    self.session.receive(self.environment.clock.now(), &octets);
                }
                Some(_) => self.session.lost(),
            }
        }
    }

    /// Closes the connection.
    pub async fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            // Nothing depends on it any more.
            _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
        }
    }

    /// How long the server has from now on.
    fn time(&self) -> Duration {
        let now = self.environment.clock.now();
        self.session.deadline().map_or(Duration::ZERO, |deadline| deadline.since(now))
    }

    async fn send(&mut self, octets: &[u8]) {
        let time = self.time();
        let Some(stream) = &mut self.stream else { return self.session.lost() };
        let written = timeout(time, async {
            stream.write_all(octets).await?;
            stream.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            self.session.lost();
        }
    }

    async fn start_tls(&mut self) {
        let time = self.time();
        let Some(stream) = self.stream.take() else { return self.session.lost() };
        match timeout(time, self.environment.tls.start_tls(stream)).await {
            Ok(Ok(stream)) => {
                self.stream = Some(stream);
                self.session.tls_started(self.environment.clock.now());
            }
            Ok(Err(error)) => self.session.tls_failed(&error.to_string()),
            Err(_) => self.session.tls_failed("the TLS handshake took too long"),
        }
    }

    /// Reads from the server; `None` at the deadline.
    async fn read(&mut self) -> Option<io::Result<Vec<u8>>> {
        let Self { environment, stream, session, .. } = self;
        let Some(stream) = stream else { return Some(Ok(Vec::new())) };
        let mut due = pin!(sleep_until(&*environment.clock, session.deadline()));
        poll_fn(|context| {
            let mut space = [0; READ_OCTETS];
            let mut buffer = ReadBuf::new(&mut space);
            if let Poll::Ready(read) = Pin::new(&mut **stream).poll_read(context, &mut buffer) {
                return Poll::Ready(Some(read.map(|()| buffer.filled().to_vec())));
            }
            due.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}
