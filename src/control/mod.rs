//! `gatepost show`: what a running gateway tells of itself, over its control socket.
//!
//! The socket is a Unix stream socket that only its owner may use. A client sends one line, for example
//! `{"show":"leases"}`, and gets one line back: `{"report":{...}}` with the [`report`] of that name, or
//! `{"error":"..."}`; then the gateway closes the connection. `--json` prints the report as it came:
//! its keys are stable, more may be added. Without it the same report is printed as a table.

pub mod report;
pub mod server;
mod table;

use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use report::{Counters, Drops, Flows, Leases, Neighbors, Status};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// What the gateway is, its addresses and its ports.
    Status,
    /// The addresses it has given out.
    Leases,
    /// The connections through it.
    Flows,
    /// The machines it knows on its segments.
    Neighbors,
    /// What happened to the frames.
    Counters,
    /// Why frames went no further.
    Drops,
}

/// The client's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    show: What,
}

/// The gateway's line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Response {
    Report(Value),
    Error(String),
}

/// How long the gateway may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An answer longer than this is not read, in octets.
const RESPONSE_LEN_MAX: u64 = 64 << 20;

/// Asks the gateway behind `socket` and prints what it says on stdout.
///
/// # Errors
///
/// No gateway runs there, it is not ours to ask, or it does not answer in its protocol.
pub fn show(socket: &Path, what: What, json: bool) -> Result<(), Error> {
    let report = ask(socket, what)?;
    let text = if json { format!("{report}\n") } else { render(what, report)? };
    let mut stdout = BufWriter::new(io::stdout().lock());
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed("cannot print the report", error, "look at where stdout goes"))
        }
        _ => Ok(()),
    }
}

/// Asks the gateway behind `socket` for one report.
///
/// # Errors
///
/// As [`show`].
pub fn ask(socket: &Path, what: What) -> Result<Value, Error> {
    let failed = |error: io::Error| {
        let what = format!("cannot ask the gateway at {}", socket.display());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Error::failed(what, "none is running there", "start it with `gatepost run`")
            }
            io::ErrorKind::PermissionDenied => Error::failed(what, error, "ask as the user that runs it"),
            // What a read that timed out is called on a Unix socket.
            io::ErrorKind::WouldBlock => Error::failed(what, "it does not answer", "see its log"),
            _ => Error::failed(what, error, "see its log"),
        }
    };
    let line = exchange(socket, what).map_err(failed)?;
    match serde_json::from_slice(&line).map_err(|error| failed(error.into()))? {
        Response::Report(report) => Ok(report),
        Response::Error(message) => Err(failed(io::Error::other(message))),
    }
}

fn exchange(socket: &Path, show: What) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut request = serde_json::to_vec(&Request { show })?;
    request.push(b'\n');
    stream.write_all(&request)?;
    let mut line = Vec::new();
    stream.take(RESPONSE_LEN_MAX).read_to_end(&mut line)?;
    Ok(line)
}

/// A report that was [asked](ask) for, as text for people.
///
/// # Errors
///
/// It is not a report of this version.
pub fn render(what: What, report: Value) -> Result<String, Error> {
    match what {
        What::Status => text::<Status>(report),
        What::Leases => text::<Leases>(report),
        What::Flows => text::<Flows>(report),
        What::Neighbors => text::<Neighbors>(report),
        What::Counters => text::<Counters>(report),
        What::Drops => text::<Drops>(report),
    }
}

fn text<R: DeserializeOwned + fmt::Display>(report: Value) -> Result<String, Error> {
    serde_json::from_value::<R>(report).map(|report| report.to_string()).map_err(|error| {
        Error::failed("cannot read the gateway's report", error, "use the version that runs, or --json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gateway_the_remedy_is_to_start_one() {
        let error = show(Path::new("/nonexistent/gatepost.sock"), What::Status, false);
        let message = error.expect_err("nobody there").to_string();
        assert!(message.contains("start it with `gatepost run`"), "{message}");
    }

    #[test]
    fn the_lines_are_as_documented() {
        let request: Request = serde_json::from_str(r#"{"show":"leases"}"#).expect("documented");
        assert_eq!(request.show, What::Leases);
        assert!(serde_json::from_str::<Request>(r#"{"show":"everything"}"#).is_err());
        let response = serde_json::to_string(&Response::Report(Value::Object(Default::default())));
        assert_eq!(response.expect("plain data"), r#"{"report":{}}"#);
        let response = serde_json::to_string(&Response::Error("busy".to_owned()));
        assert_eq!(response.expect("plain data"), r#"{"error":"busy"}"#);
    }
}
