//! Judges: external filters such as rspamd and clamd, which scan each message before the reply to its end.
//!
//! rspamd returns an action for a message ([`http`]), clamd whether it has found malware ([`clamd`]). A judge gets the
//! message as it is stored, in portions, so that it is never in memory as a whole; all judges run in parallel. One that
//! does not answer within [`ASKED_WITHIN`] does not delay mail: the message is accepted, with a header field that says
//! so.
//!
//! | judge | outcome for the message |
//! | --- | --- |
//! | rspamd: `no action` | accepted, with `X-Spam-Status: No` |
//! | `add header`, `rewrite subject` | accepted, with `X-Spam-Status: Yes` and `X-Spam-Flag: YES` |
//! | `greylist`, `soft reject` | rejected temporarily (451) |
//! | `reject` | rejected permanently (550) |
//! | clamd: `OK` | accepted |
//! | `FOUND` | rejected permanently (550) |
//! | anything else, or no answer | accepted, with `X-Gatepost-Judge` and the reason |

pub mod clamd;
pub mod http;
#[cfg(test)]
pub(in crate::mail) mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use self::http::AnswerReader;
use crate::dns::resolver::Resolver;
use crate::mail::address::ForwardPath;
use crate::mail::queue::connection::Source;
use crate::net::{Net, Stream};
use crate::service::LocalFuture;
use crate::wait::all_of;

/// The timeout of a judge in all: rspamd's own is 8 s.
pub const ASKED_WITHIN: Duration = Duration::from_secs(30);

/// The most messages that a service has judged at a time. Others wait, which counts towards [`ASKED_WITHIN`].
pub const ASKED_MAX: usize = 50;

/// The longest message that is judged, in octets.
pub const JUDGED_OCTETS_MAX: u64 = 64 << 20;

/// The most judges.
pub const JUDGES_MAX: usize = 4;

/// The most octets of the fields that one judge adds: a host name, and [`TOLD_CHARS_MAX`].
const FIELDS_OCTETS_MAX: u64 = 1024;

/// Octets of a message that go out at a time.
const PORTION: usize = 64 << 10;

/// The most characters of a judge's text that are used.
const TOLD_CHARS_MAX: usize = 200;

/// The protocol of a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// That of rspamd.
    Rspamd,
    /// That of clamd.
    Clamd,
}

/// The address of a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The protocol.
    pub protocol: Protocol,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The envelope of a message.
#[derive(Clone, Debug)]
pub struct About {
    /// The server's identifier of the message.
    pub id: String,
    /// The client's address; `None` if the message was fetched.
    pub peer: Option<IpAddr>,
    /// The name of that host, if it is confirmed.
    pub peer_name: Option<String>,
    /// The client's HELO name.
    pub helo: Option<String>,
    /// Its return path, without angle brackets.
    pub sender: String,
    /// Its recipients.
    pub recipients: Vec<ForwardPath>,
    /// The authenticated user.
    pub user: Option<String>,
}

/// A judge's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgeVerdict {
    /// The message is accepted.
    Taken {
        /// With these fields before it, each with its line end.
        fields: String,
    },
    /// The message is rejected.
    Refused {
        /// Whether a later try can succeed.
        is_temporary: bool,
        /// The reason.
        text: String,
    },
}

/// The combined verdict of all judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub opinion: JudgeVerdict,
    /// How many judges had no opinion.
    pub silent: u64,
}

/// Makes connections.
trait Connect {
    fn connect(&self, remote: SocketAddr) -> LocalFuture<'_, io::Result<Box<dyn Stream>>>;
}

struct By<N>(N);

impl<N: Net> Connect for By<N> {
    fn connect(&self, remote: SocketAddr) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move { Ok(Box::new(self.0.connect(remote).await?) as Box<dyn Stream>) })
    }
}

/// The judges by one configuration.
pub struct Judges {
    all: Vec<Address>,
    network: Rc<dyn Connect>,
    resolver: Resolver,
    asked: Semaphore,
}

impl Judges {
    /// The judges at these addresses, reached by `net`; `resolver` resolves their names.
    pub fn new<N: Net>(all: Vec<Address>, net: N, resolver: Resolver) -> Self {
        Self { all, network: Rc::new(By(net)), resolver, asked: Semaphore::new(ASKED_MAX) }
    }

    /// Whether there are no judges.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Octets of the fields that they may put before a message, at most.
    pub fn fields_octets_max(&self) -> u64 {
        self.all.len() as u64 * FIELDS_OCTETS_MAX
    }

    /// The judges' verdict on a message of so many octets. If one rejects it, it is rejected; permanently, if one does
    /// so permanently.
    pub async fn judge(&self, about: &About, message: &dyn Source, octets: u64) -> Judgement {
        let asks = self.all.iter().map(|judge| -> LocalFuture<'_, Result<JudgeVerdict, String>> {
            Box::pin(self.ask_in_time(judge, about, message, octets))
        });
        let opinions = all_of(asks.collect()).await;
        let mut judgement = Judgement { opinion: JudgeVerdict::Taken { fields: String::new() }, silent: 0 };
        for (judge, opinion) in self.all.iter().zip(opinions) {
            let opinion = opinion.unwrap_or_else(|why| {
                judgement.silent += 1;
                let why = printable(&why);
                warn!("the judge at {judge} has no opinion of {}: {why}", about.id);
                JudgeVerdict::Taken { fields: format!("X-Gatepost-Judge: {judge} has no opinion: {why}\r\n") }
            });
            judgement.opinion = judgement.opinion.and(opinion);
        }
        judgement
    }

    async fn ask_in_time(
        &self,
        judge: &Address,
        about: &About,
        message: &dyn Source,
        octets: u64,
    ) -> Result<JudgeVerdict, String> {
        if octets > JUDGED_OCTETS_MAX {
            return Err("the message is too long for it".to_owned());
        }
        let asked = timeout(ASKED_WITHIN, self.ask(judge, about, message, octets)).await;
        asked.unwrap_or_else(|_| Err("it did not answer in time".to_owned()))
    }

    async fn ask(
        &self,
        judge: &Address,
        about: &About,
        message: &dyn Source,
        octets: u64,
    ) -> Result<JudgeVerdict, String> {
        // It is never closed.
        let _place = self.asked.acquire().await.map_err(|error| error.to_string())?;
        let remote = self.find(judge).await?;
        let stream = self.network.connect(remote).await;
        let mut stream = stream.map_err(|error| format!("no connection: {error}"))?;
        let sent = send(&mut *stream, judge, about, message, octets).await;
        // An answer that came before the judge closed its side counts.
        match (receive(&mut *stream, judge.protocol).await, sent) {
            (Ok(opinion), _) => Ok(opinion),
            (Err(_), Err(error)) => Err(error.to_string()),
            (Err(why), Ok(())) => Err(why),
        }
    }

    async fn find(&self, judge: &Address) -> Result<SocketAddr, String> {
        let address = match judge.host.parse() {
            Ok(address) => IpAddr::V4(address),
            Err(_) => {
                let found = self.resolver.ipv4(&judge.host).await.map_err(|why| why.to_string())?;
                IpAddr::V4(*found.first().ok_or("its name has no address")?)
            }
        };
        Ok(SocketAddr::new(address, judge.port))
    }
}

impl JudgeVerdict {
    /// Both: the stricter one, and the fields of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Taken { fields }, Self::Taken { fields: more }) => Self::Taken { fields: fields + &more },
            (one, other) if one.strictness() < other.strictness() => other,
            (one, _) => one,
        }
    }

    fn strictness(&self) -> u8 {
        match self {
            Self::Taken { .. } => 0,
            Self::Refused { is_temporary: true, .. } => 1,
            Self::Refused { is_temporary: false, .. } => 2,
        }
    }
}

/// Sends the message.
async fn send(
    stream: &mut dyn Stream,
    judge: &Address,
    about: &About,
    message: &dyn Source,
    octets: u64,
) -> io::Result<()> {
    match judge.protocol {
        Protocol::Rspamd => stream.write_all(&http::head(&judge.to_string(), about, octets)).await?,
        Protocol::Clamd => stream.write_all(clamd::COMMAND).await?,
    }
    let mut offset = 0;
    loop {
        let part = message.read(offset, PORTION).await?;
        if part.is_empty() {
            break;
        }
        if judge.protocol == Protocol::Clamd {
            stream.write_all(&clamd::chunk_head(part.len())).await?;
        }
        stream.write_all(&part).await?;
        // A length in memory fits.
        offset += part.len() as u64;
    }
    if offset != octets {
        return Err(io::Error::other("the message could not be read"));
    }
    if judge.protocol == Protocol::Clamd {
        stream.write_all(&clamd::END).await?;
    }
    stream.flush().await
}

/// Reads a judge's answer.
async fn receive(stream: &mut dyn Stream, protocol: Protocol) -> Result<JudgeVerdict, String> {
    let (mut reader, mut line) = (AnswerReader::default(), Vec::new());
    let mut octets = vec![0; 16 << 10];
    loop {
        let len = stream.read(&mut octets).await.map_err(|error| error.to_string())?;
        let came = &octets[..len];
        let is_whole = match protocol {
            Protocol::Rspamd => reader.push(came)?,
            Protocol::Clamd => {
                line.extend_from_slice(came);
                line.contains(&0) || line.len() > clamd::LINE_OCTETS_MAX
            }
        };
        if is_whole || len == 0 {
            break;
        }
    }
    match protocol {
        Protocol::Rspamd => reader.finish(),
        Protocol::Clamd => clamd::read(&line),
    }
}

/// A judge's text as one line of printable ASCII.
fn printable(text: &str) -> String {
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    text.chars().take(TOLD_CHARS_MAX).map(|c| if is_printable(c) { c } else { '?' }).collect()
}
