//! The running gateway's end of the control socket.
//!
//! At most [`CLIENTS_MAX`] clients are served at a time; the next ones wait in the kernel's queue. A
//! client that does not ask or read within [`CLIENT_PATIENCE`] is dropped.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Request, Response, What};
use crate::error::Error;

/// Clients that are served at a time.
pub const CLIENTS_MAX: usize = 8;

/// How long a client may take to ask, and then to read its answer.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// A question longer than this is none, in octets.
const REQUEST_LEN_MAX: u64 = 1024;

/// How long to wait before accepting again after the kernel had no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers what clients ask.
pub trait Reporter: 'static {
    /// The report that is called `what`.
    ///
    /// # Errors
    ///
    /// Why there is none, in one sentence.
    fn report(&self, what: What) -> impl Future<Output = Result<Value, String>>;
}

/// The control socket, listening. Dropping it removes it from the file system.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, with mode 0600, in place of what a crashed gateway has left there. It must be
    /// called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// Another gateway answers there, or there is something else than a socket, or the directory takes
    /// no file.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let what = format!("cannot listen on the control socket {}", path.display());
        if StdUnixStream::connect(path).is_ok() {
            let remedy = "stop it, or set another system.control_socket";
            return Err(Error::failed(what, "another gateway answers there", remedy));
        }
        let listener = bind_private(path).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                Error::failed(&what, "there is a file that is no socket", "remove it, or set another path")
            }
            _ => Error::failed(&what, error, "set system.control_socket to a path that we may write"),
        })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves clients for ever. It must be called in a [`tokio::task::LocalSet`].
    pub async fn serve(&self, reporter: impl Reporter) {
        let reporter = Rc::new(reporter);
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("control socket: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let reporter = Rc::clone(&reporter);
            spawn_local(async move {
                if let Err(error) = converse(stream, &*reporter).await {
                    debug!("control client: {error}");
                }
                drop(place);
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove the control socket {}: {error}", self.path.display());
        }
    }
}

/// Binds the socket so that there is no moment at which others could connect.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

/// One question and its answer.
async fn converse(stream: UnixStream, reporter: &impl Reporter) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    timeout(CLIENT_PATIENCE, BufReader::new(reader.take(REQUEST_LEN_MAX)).read_line(&mut line)).await??;
    let response = match serde_json::from_str::<Request>(&line) {
        Ok(Request { show }) => match reporter.report(show).await {
            Ok(report) => Response::Report(report),
            Err(message) => Response::Error(message),
        },
        Err(error) => Response::Error(format!("not a request: {error}")),
    };
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    timeout(CLIENT_PATIENCE, writer.write_all(&line)).await??;
    Ok(())
}
