//! `gatepost capture`: the frames that pass the gateway, as a file that Wireshark opens, until Ctrl-C.
//!
//! The gateway sends the octets of the file, and its last blocks once the client has closed its sending side. The
//! client passes on whole blocks only, and so never leaves a file that ends within one.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::table::counted;
use super::watch::stop_signals;
use super::{ANSWER_LEN_MAX, Request, Response, misunderstood, parsed, send, unasked};
use crate::error::Error;
use crate::pcapng::Blocks;

/// A side of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// The office's side.
    Lan,
    /// The internet's side.
    Wan,
}

impl Interface {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }
}

/// The frames that are captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Wanted {
    /// Capture on this side only.
    #[arg(long)]
    pub interface: Option<Interface>,
    /// Capture what is from or to this address.
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<Ipv4Addr>,
    /// Capture what meets this condition, such as "udp and port 53 and not net 192.168.1.0/24".
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: Option<u64>,
}

/// What has passed through a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passed {
    frames: u64,
    lost: u64,
    /// Whether the gateway has said at the end how many were lost.
    is_whole: bool,
}

/// Captures at the gateway behind `socket` to the file `output`, or to stdout for `-`, until SIGINT or SIGTERM, until
/// the time is over, or until the reader of stdout has closed it. Says on stderr how many frames it has.
///
/// # Errors
///
/// The filter is not understood, no gateway runs there, it is not ours to ask, it ends, or the file cannot be written.
pub fn capture(socket: &Path, wanted: Wanted, output: &Path) -> Result<(), Error> {
    if let Some(filter) = &wanted.filter {
        Filter::parse(filter).map_err(|why| Error::usage(format!("--filter is not understood: {why}")))?;
    }
    let is_stdout = output == Path::new("-");
    if is_stdout && io::stdout().is_terminal() {
        return Err(Error::usage("a capture is nothing for a terminal; write -o FILE, or a pipe after it"));
    }
    let stop = stop_signals("end it by SIGKILL")?;
    let stream = begin(socket, wanted)?;
    let name = if is_stdout { PathBuf::from("stdout") } else { output.to_owned() };
    let unwritable = |error: io::Error| {
        let what = format!("cannot capture to {}", name.display());
        Error::failed(what, error, "name a file in a directory of yours with room")
    };
    let mut to: Box<dyn Write> = match is_stdout {
        true => Box::new(io::stdout().lock()),
        false => Box::new(File::create(output).map_err(unwritable)?),
    };
    let Passed { frames, lost, .. } =
        match pass(stream, &mut to, &stop).map_err(|error| unasked(socket, error))? {
            Ok(passed) => passed,
            // The reader has seen enough.
            Err(error) if is_stdout && error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(unwritable(error)),
        };
    let lost = match lost {
        0 => String::new(),
        lost => {
            format!("; {} lost, as they came faster than they could be written", counted(lost, "is", "are"))
        }
    };
    // If stderr is closed, the file still has all of it.
    _ = writeln!(io::stderr(), "{} has {}{lost}", name.display(), counted(frames, "frame", "frames"));
    Ok(())
}

/// Has the gateway begin; returns the connection, on which the file follows.
fn begin(socket: &Path, wanted: Wanted) -> Result<UnixStream, Error> {
    let exchange = || {
        let mut stream = UnixStream::connect(socket)?;
        send(&mut stream, &Request::Capture(wanted))?;
        let (mut line, mut octet) = (Vec::new(), [0]);
        // The file follows the line, and is not read here.
        while line.last() != Some(&b'\n') && line.len() < ANSWER_LEN_MAX {
            stream.read_exact(&mut octet)?;
            line.extend(octet);
        }
        io::Result::Ok((stream, line))
    };
    let (stream, line) = exchange().map_err(|error| unasked(socket, error))?;
    match parsed(socket, &line)? {
        Response::Capture => Ok(stream),
        Response::Undone { why, remedy } => Err(Error::failed("nothing is captured", why, remedy)),
        _ => Err(misunderstood(socket)),
    }
}

/// Passes the file on to `to` until it ends, which it does soon after `stop` is readable. The inner error is the
/// writer's.
fn pass(
    mut stream: UnixStream,
    to: &mut impl Write,
    stop: &impl AsFd,
) -> io::Result<Result<Passed, io::Error>> {
    let (mut blocks, mut passed) = (Blocks::default(), Passed::default());
    let mut is_stopped = false;
    let mut chunk = vec![0; 64 << 10];
    loop {
        let mut watched =
            [PollFd::new(stream.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        let count = if is_stopped { 1 } else { 2 };
        match poll(&mut watched[..count], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !is_stopped && watched[1].any().unwrap_or(true) {
            is_stopped = true;
            stream.shutdown(Shutdown::Write)?;
        }
        if !watched[0].any().unwrap_or(true) {
            continue;
        }
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return match passed.is_whole {
                true => Ok(Ok(passed)),
                false => Err(io::Error::other("it has ended")),
            };
        }
        blocks.push(chunk.get(..len).unwrap_or_default());
        while let Some(block) = blocks.take()? {
            passed.frames += u64::from(block.is_frame());
            if let Some(lost) = block.lost() {
                (passed.lost, passed.is_whole) = (passed.lost + lost, true);
            }
            if let Err(error) = to.write_all(block.octets()) {
                return Ok(Err(error));
            }
        }
        if let Err(error) = to.flush() {
            return Ok(Err(error));
        }
    }
}
