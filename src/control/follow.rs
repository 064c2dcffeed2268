//! `gatepost watch WHAT`: the gateway's events, as they happen, until Ctrl-C.
//!
//! The gateway keeps nothing for a watcher but its place in the ring of events. A watcher that reads too slowly falls
//! behind the ring, and is told how many events it has missed.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::drops::RecentDrop;
use super::watch::stop_signals;
use super::{Request, misunderstood, send, unasked, unprintable};
use crate::error::Error;

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Watched {
    /// Frames that are dropped, with the reason.
    Drops,
}

/// One line of the gateway to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A frame was dropped.
    Drop(RecentDrop),
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
        Ok(BufReader::new(stream))
    };
    let mut reader = begin().map_err(|error| unasked(socket, error))?;
    let mut line = String::new();
    loop {
        if reader.buffer().is_empty() {
            let mut watched = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(reader.get_ref().as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut watched, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(unasked(socket, error.into())),
                Ok(_) if watched[0].any().unwrap_or(true) => return Ok(()),
                Ok(_) => {}
            }
        }
        line.clear();
        if reader.read_line(&mut line).map_err(|error| unasked(socket, error))? == 0 {
            return Err(unasked(socket, io::Error::other("it has ended")));
        }
        let text = match serde_json::from_str(&line).map_err(|_| misunderstood(socket))? {
            Event::Error(why) => return Err(unasked(socket, io::Error::other(why))),
            _ if json => std::mem::take(&mut line),
            Event::Drop(drop) => format!("{drop}\n"),
            Event::Missed(count) => format!("missed {count} drops\n"),
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(unprintable(error)),
            Ok(()) => {}
        }
    }
}
