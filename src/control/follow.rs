//! `gatepost watch WHAT`: the gateway's events, as they happen, until Ctrl-C.
//!
//! The gateway keeps nothing for a watcher but its place in the ring of events. A watcher that reads too slowly falls
//! behind the ring, and is told how many events it has missed.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use gatepost_services::watched::{DhcpEvent, DnsEvent, MailEvent};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::drops::RecentDrop;
use super::events::{FlowEvent, Timed};
use super::table::{counted, on_one_line};
use super::watch::stop_signals;
use super::{Request, misunderstood, parsed, send, unasked, unprintable};
use crate::error::Error;

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Watched {
    /// Frames that are dropped, with the reason.
    Drops,
    /// Messages of DHCP clients and the answers, with the reason.
    #[serde(rename = "dhcp")]
    #[value(name = "dhcp")]
    DhcpMessages,
    /// Clients' DNS queries: where the answer comes from, and how long it took.
    #[serde(rename = "dns")]
    #[value(name = "dns")]
    DnsQueries,
    /// Messages that are accepted, refused, delivered, sent or deferred, with the reason.
    Mail,
    /// Flows that are opened, and that end, with the reason.
    Flows,
}

/// One line of the gateway to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A frame was dropped.
    Drop(Box<RecentDrop>),
    /// A message of a DHCP client or of the server.
    #[serde(rename = "dhcp")]
    DhcpMessage(Timed<DhcpEvent>),
    /// A DNS query and its answer.
    #[serde(rename = "dns")]
    DnsQuery(Box<Timed<DnsEvent>>),
    /// Something has become of a message.
    Mail(Box<Timed<MailEvent>>),
    /// A flow is opened or has ended.
    Flow(Box<Timed<FlowEvent>>),
    /// So many events were forgotten before the watcher read them.
    Missed(u64),
    /// The gateway does not let the watcher go on, for this reason.
    Error(String),
}

/// Prints the events of the gateway behind `socket` on stdout, until SIGINT or SIGTERM, or until stdout is closed. As
/// JSON, each event is a line.
///
/// # Errors
///
/// No gateway runs there, it is not ours to ask, it ends, or too many watch it.
pub fn follow(socket: &Path, what: Watched, json: bool) -> Result<(), Error> {
    let stop = stop_signals("end it by SIGKILL")?;
    let begin = || {
        let mut stream = UnixStream::connect(socket)?;
        send(&mut stream, &Request::Watch(what))?;
        Ok(Lines { stream, pending: Vec::new() })
    };
    let mut lines = begin().map_err(|error| unasked(socket, error))?;
    while let Some(line) = lines.next(stop.as_fd()).map_err(|error| unasked(socket, error))? {
        let Ok(event) = serde_json::from_slice(&line) else {
            // Why there is nothing to watch.
            return Err(parsed(socket, &line).err().unwrap_or_else(|| misunderstood(socket)));
        };
        let text = match event {
            Event::Error(why) => return Err(unasked(socket, io::Error::other(why))),
            _ if json => line,
            event => format!("{}\n", on_one_line(&event.to_string())).into_bytes(),
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&text).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(unprintable(error)),
            Ok(()) => {}
        }
    }
    Ok(())
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(drop) => drop.fmt(f),
            Self::DhcpMessage(event) => event.fmt(f),
            Self::DnsQuery(event) => event.fmt(f),
            Self::Mail(event) => event.fmt(f),
            Self::Flow(event) => event.fmt(f),
            Self::Missed(count) => write!(f, "missed {}", counted(*count, "event", "events")),
            Self::Error(why) => f.write_str(why),
        }
    }
}

/// The longest line, in octets.
const LINE_LEN_MAX: usize = 64 << 10;

/// The lines of a gateway.
struct Lines {
    stream: UnixStream,
    /// What was read and not returned yet.
    pending: Vec<u8>,
}

impl Lines {
    /// The next line with its end; `None` once `stop` is readable.
    fn next(&mut self, stop: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.pending.iter().position(|octet| *octet == b'\n') {
                return Ok(Some(self.pending.drain(..=end).collect()));
            }
            if self.pending.len() > LINE_LEN_MAX {
                return Err(io::Error::other("its line is too long"));
            }
            let mut watched =
                [PollFd::new(stop, PollFlags::POLLIN), PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) if watched[0].any().unwrap_or(true) => return Ok(None),
                Ok(_) => {}
            }
            let mut chunk = [0; 8 << 10];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::Error::other("it has ended")),
                len => self.pending.extend_from_slice(&chunk[..len]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_followed_in_the_midst_of_a_line() {
        let pair = || UnixStream::pair().expect("a pair");
        let ((mut gateway, stream), (mut signal, stop)) = (pair(), pair());
        let mut lines = Lines { stream, pending: Vec::new() };
        gateway.write_all(b"one\ntwo\nthr").expect("room");
        for expected in ["one\n", "two\n"] {
            let line = lines.next(stop.as_fd()).expect("it can be read");
            assert_eq!(line.as_deref(), Some(expected.as_bytes()));
        }
        signal.write_all(b"!").expect("room");
        assert_eq!(lines.next(stop.as_fd()).expect("it can be read"), None);
    }

    #[test]
    fn a_line_without_an_end_is_not_read_for_ever() {
        let (mut gateway, stream) = UnixStream::pair().expect("a pair");
        let (_signal, stop) = UnixStream::pair().expect("a pair");
        let mut lines = Lines { stream, pending: vec![b'x'; LINE_LEN_MAX] };
        gateway.write_all(b"x").expect("room");
        assert!(lines.next(stop.as_fd()).is_err());
        drop(gateway);
        lines.pending.clear();
        assert!(lines.next(stop.as_fd()).is_err(), "it has ended");
    }
}
