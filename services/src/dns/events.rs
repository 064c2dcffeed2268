//! The server's events, for those who watch it: the queries with their answers.
//!
//! They are kept nowhere: see [`events`](crate::events).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Record;
use serde::{Deserialize, Serialize};

use super::message::{Answer, Request};
use super::name::text;

/// The most records of an answer in an event.
pub const RECORDS_MAX: usize = 8;
/// The most characters of one.
const RECORD_CHARS_MAX: usize = 256;

/// A query that was answered, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsEvent {
    /// The client; the gateway's own address for its other services.
    pub client: IpAddr,
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Where the answer comes from: `zone`, `cache`, `stale` (an expired answer), `upstream`; or `refused`, `failed`
    /// (SERVFAIL), `limited` (no answer, by the rate limit of the client's network).
    pub source: String,
    /// The response code, such as `NOERROR` or `NXDOMAIN`.
    pub code: String,
    /// The upstream server that has answered.
    pub server: Option<SocketAddr>,
    /// The data of the answer's first records, with their types.
    pub answers: Vec<String>,
    /// Microseconds from the query to the answer.
    pub took_micros: u64,
    /// Why it is so, in words.
    pub reason: Option<String>,
}

impl fmt::Display for DnsEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, name, record_type, source, code, server, answers, took_micros, reason } = self;
        write!(f, "{client:15}  {record_type:5} {name}  {source}")?;
        server.as_ref().map_or(Ok(()), |server| write!(f, " {server}"))?;
        write!(f, "  {code}  {}.{:03} ms", took_micros / 1_000, took_micros % 1_000)?;
        if !answers.is_empty() {
            write!(f, "  {}", answers.join(", "))?;
        }
        reason.as_ref().map_or(Ok(()), |reason| write!(f, "  ({reason})"))
    }
}

/// What is known of a query that is being resolved, besides its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story {
    /// When the query came.
    pub since: Instant,
    /// The upstream server that has answered.
    pub server: Option<SocketAddr>,
    /// Whether an expired answer is given.
    pub is_stale: bool,
    /// Why it is answered as it is.
    pub why: Option<&'static str>,
}

impl Story {
    /// That of a query that has come `now`.
    pub fn new(now: Instant) -> Self {
        Self { since: now, server: None, is_stale: false, why: None }
    }

    /// The event of the answer to `request` of `client`, whose farthest source is `source`.
    pub fn event(
        &self,
        now: Instant,
        client: IpAddr,
        request: &Request,
        answer: &Answer,
        source: &str,
    ) -> DnsEvent {
        let source = match answer.code {
            ResponseCode::Refused => "refused",
            ResponseCode::ServFail => "failed",
            _ if self.is_stale => "stale",
            _ => source,
        };
        let why = self.why.or(match source {
            "refused" => Some("the client may ask for the office's own names only"),
            "failed" => Some("no DNS server has answered"),
            "limited" => Some("the client's network has had too many answers"),
            _ => None,
        });
        let shown = |record: &Record| {
            let text = format!("{} {}", record.record_type(), record.data);
            text.chars().take(RECORD_CHARS_MAX).collect()
        };
        DnsEvent {
            client,
            name: text(&request.name),
            record_type: request.record_type.to_string(),
            source: source.to_owned(),
            code: format!("{:?}", answer.code).to_uppercase(),
            server: self.server.filter(|_| source == "upstream"),
            answers: answer.answers.iter().take(RECORDS_MAX).map(shown).collect(),
            took_micros: micros(now.since(self.since)),
            reason: why.map(str::to_owned),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
