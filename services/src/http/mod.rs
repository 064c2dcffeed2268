//! HTTP/1.1 for the gateway's own pages, over the services' streams. (RFC 9110, RFC 9112)
//!
//! hyper parses and writes; this module decides what a client may do. One port serves both kinds of clients: the first
//! octet of a connection is that of a TLS handshake, or else the client speaks in clear and only learns the `https`
//! address of what it asked for.
//!
//! ```text
//!   stream ──▶ first octet ──▶ TLS ──▶ hyper ──▶ checks: Host, target, method, body ──▶ Site::answer
//!                         └─ in clear ─▶ hyper ──▶ checks ──▶ redirect to https
//! ```
//!
//! A request that could be read in two ways is refused, and its connection closed: the framing of a body is its
//! `Content-Length` alone (no form of a browser's has a `Transfer-Encoding`), so that nothing can be smuggled behind a
//! proxy; the host is one that the [`Site`] has, so that a foreign page whose name resolves to the gateway reads nothing
//! (DNS rebinding); paths are compared as they were sent, and name no files.
//!
//! The body of an answer may grow while it is sent ([`Body`]): events, and what is too large to be kept.
//!
//! Answers have no `Date`: the gateway's clock may be unsynchronised. (RFC 9110, section 6.6.1)

mod body;
mod connection;
mod exchange;
pub mod form;
mod host;
mod io;
mod multipart;
mod progress;
mod response;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

pub use hyper::{HeaderMap, Method, StatusCode, header};

pub use body::{Body, Broken, EventWriter, HEARTBEAT_TIME, PORTION_OCTETS_MAX, Writer};
pub use connection::{Conditions, End, serve};
pub use host::Host;
pub use response::Response;

/// The most octets of a request's head. hyper has no smaller buffer.
pub const HEAD_OCTETS_MAX: usize = 8192;

/// The most fields in a request's head; browsers send some twenty.
pub const FIELDS_MAX: usize = 64;

/// The most octets of a request's body unless the site has more [room](Site::room): a form's.
pub const BODY_OCTETS_MAX: usize = 16 * 1024;

/// How long a client may take for the first octet of a connection, and from a request's first octet to the end of its
/// head.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(15);

/// How long the body of a request and its answer may take together.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a client may take to read what fills its window.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a client may take to read a whole answer.
pub const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// How long an answer may grow. A stream of events then ends, and its browser asks for another; a download is broken off.
pub const GROWING_TIME_MAX: Duration = Duration::from_secs(3600);

/// The octets of a growing answer that a client has to read in each [`WRITE_TIME_MAX`] in which it has not read all that
/// there is.
pub const READ_OCTETS_MIN: usize = 16 * 1024;

/// How long a connection may be idle between two requests.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// The age at which a connection closes after its current request.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);

/// A request that has passed the checks.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, HEAD or POST.
    pub method: Method,
    /// The path as it was sent, which begins with a slash.
    pub path: String,
    /// The query without its question mark, as it was sent.
    pub query: Option<String>,
    /// The host that the client asked, one of the site's.
    pub host: Host,
    /// The fields of the head.
    pub fields: HeaderMap,
    /// The body, which is empty unless the method is POST.
    pub body: Vec<u8>,
    /// The client's address.
    pub peer: IpAddr,
}

impl Request {
    /// The value of the field `name`, if there is exactly one, in visible ASCII.
    pub fn field(&self, name: header::HeaderName) -> Option<&str> {
        let mut values = self.fields.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { value.to_str().ok() }
    }

    /// The value of the cookie `name`, the first of several. (RFC 6265, section 5.4)
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let fields = self.fields.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// The room for a body.
#[derive(Clone, Debug)]
pub struct Room {
    /// The most octets.
    pub octets_max: usize,
    /// Held until the request is answered, so that the site knows how many have such a room.
    pub held: Option<Rc<()>>,
}

impl Room {
    /// Room for so many octets, of which there is enough for every request.
    pub const fn of(octets_max: usize) -> Self {
        Self { octets_max, held: None }
    }
}

/// The site that a port serves.
pub trait Site: 'static {
    /// Whether one of the site's names or addresses is `name`: in lower case, without a port.
    fn is_called(&self, name: &str) -> bool;

    /// The name and port that clients should use, for the answer to a request for another host.
    fn canonical(&self) -> String;

    /// The room for the body of `request`, a POST whose body is not read yet.
    fn room(&self, request: &Request) -> Room {
        let _ = request;
        Room::of(BODY_OCTETS_MAX)
    }

    /// The answer to a request that came under TLS and passed the checks.
    fn answer(&self, request: Request) -> impl Future<Output = Response>;

    /// Counts a request of which the checks alone have made an answer.
    fn count(&self, checked: Checked);
}

/// The checks' answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The request in clear was redirected.
    Redirected,
    /// The request names no host of the site, or several.
    WrongHost,
    /// Something else is wrong with the request.
    Refused,
}
