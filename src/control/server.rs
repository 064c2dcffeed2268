//! The running gateway's end of the control socket.
//!
//! At most [`CLIENTS_MAX`] clients are served at a time; the next ones wait in the kernel's queue. A
//! client that does not ask or read within [`CLIENT_PATIENCE`] is dropped.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_services::mail::service::local::Serving;
use nix::sys::stat::{Mode, umask};
use nix::unistd::User;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::capture::Wanted;
use super::code::ToldCode;
use super::drops::RecentDrops;
use super::explain::{Asked, Explained, Unexplained};
use super::flows::FlowName;
use super::follow::{Event, Watched};
use super::mail::{self, Undone};
use super::transaction;
use super::{ReportError, Request, Response, What};
use crate::error::Error;
use crate::transaction::Editor;

/// Clients that are served at a time.
pub const CLIENTS_MAX: usize = 8;

/// The watchers among them, so that others are served, too.
pub const WATCHERS_MAX: usize = 4;

/// How often a client that captures gets what is new.
const CAPTURE_INTERVAL: Duration = Duration::from_millis(50);

/// How often a watcher gets what is new.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// How long a client may take to ask, and then to read its answer.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// The longest request, in octets: the longest value of a setting, escaped.
const REQUEST_LEN_MAX: u64 = 256 << 10;

/// How long to wait before accepting again after the kernel had no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Carries out clients' requests.
pub trait Operations: 'static {
    /// A watcher's place among the events.
    type Watching;
    /// A running capture.
    type Capture: Capturing;

    /// Why mail is disabled in the configuration in force; `None` if it is enabled.
    fn mail_off(&self) -> Option<mail::Off>;

    /// The report `what`.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn report(&self, what: What) -> impl Future<Output = Result<Value, ReportError>>;

    /// Carries out a request about mail; returns the outcome.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn mail(&self, request: mail::Request) -> impl Future<Output = Result<Value, Undone>>;

    /// The handler for a program of this machine that submits mail.
    ///
    /// # Errors
    ///
    /// Why no mail is accepted.
    fn deliver(&self) -> Result<Serving, Undone>;

    /// What would become of a packet.
    ///
    /// # Errors
    ///
    /// The packet makes no sense, or nobody knows it.
    fn explain(&self, asked: Asked) -> impl Future<Output = Result<Explained, Unexplained>>;

    /// The last drops.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    fn recent_drops(&self) -> impl Future<Output = Result<RecentDrops, ReportError>>;

    /// A watcher's place behind the last event.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    fn watch(&self, what: Watched) -> impl Future<Output = Result<Self::Watching, ReportError>>;

    /// The events since `watching`, which moves on.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    fn new_events(
        &self,
        watching: &mut Self::Watching,
    ) -> impl Future<Output = Result<Vec<Event>, ReportError>>;

    /// Ends a flow. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    fn end_flow(&self, flow: &FlowName) -> impl Future<Output = Result<bool, ReportError>>;

    /// Begins a capture.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn capture(&self, wanted: &Wanted) -> impl Future<Output = Result<Self::Capture, Undone>>;

    /// Removes the cached DNS answers for `name` and the names below it, or all; returns their number.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn flush(&self, name: Option<&str>) -> Result<usize, Undone>;

    /// The code for the administration's pages.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn code(&self) -> impl Future<Output = Result<ToldCode, Undone>>;

    /// Ends the gateway in order, soon, and runs it again.
    fn restart(&self, by: &Editor);

    /// Reloads the configuration's file for `by`. Returns the file's name.
    ///
    /// # Errors
    ///
    /// Why nothing has changed.
    fn reload(&self, by: &Editor) -> impl Future<Output = Result<String, Error>>;

    /// Carries out a request of `by` about the configuration; returns the outcome.
    ///
    /// # Errors
    ///
    /// Why nothing has changed.
    fn config(&self, by: &Editor, what: transaction::What) -> impl Future<Output = Result<Value, Error>>;
}

/// A running capture, as parts of a file. Dropping it ends it.
pub trait Capturing {
    /// The octets since the last call; a part of them, if there are many.
    fn part(&mut self) -> Vec<u8>;

    /// The last octets.
    fn finish(self) -> Vec<u8>;
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
    pub async fn serve(&self, operations: Rc<impl Operations>) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let watchers = Rc::new(Semaphore::new(WATCHERS_MAX));
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
            let (operations, watchers) = (Rc::clone(&operations), Rc::clone(&watchers));
            spawn_local(async move {
                if let Err(error) = converse(stream, &*operations, &watchers).await {
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

/// One request and its answer. A session of SMTP continues in a task of its own, and does not count among the clients.
async fn converse(
    mut stream: UnixStream,
    operations: &impl Operations,
    watchers: &Semaphore,
) -> io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(REQUEST_LEN_MAX));
    timeout(CLIENT_PATIENCE, reader.read_line(&mut line)).await??;
    let request = serde_json::from_str::<Request>(&line);
    if request.as_ref().is_ok_and(Request::is_of_mail)
        && let Some(off) = operations.mail_off()
    {
        return tell(&mut stream, &Response::Off(off)).await;
    }
    let response = match request {
        Ok(Request::Show(what)) => match operations.report(what).await {
            Ok(report) => Response::Report(report),
            Err(error) => Response::Error(error.to_string()),
        },
        Ok(Request::Mail(request)) => match operations.mail(request).await {
            Ok(report) => Response::Report(report),
            Err(undone) => undone.into(),
        },
        Ok(Request::Deliver) => match operations.deliver() {
            Ok(serving) => {
                tell(&mut stream, &Response::Smtp).await?;
                spawn_local(serving(Box::new(stream)));
                return Ok(());
            }
            Err(undone) => undone.into(),
        },
        Ok(Request::Flush { name }) => match operations.flush(name.as_deref()) {
            Ok(answers) => Response::Flushed(answers),
            Err(undone) => undone.into(),
        },
        Ok(Request::End(flow)) => match operations.end_flow(&flow).await {
            Ok(was_there) => Response::Ended(was_there),
            Err(error) => Response::Error(error.to_string()),
        },
        Ok(Request::Explain(asked)) => match operations.explain(asked).await {
            Ok(explained) => report(&explained),
            Err(Unexplained::Unanswered(undone)) => undone.into(),
            Err(Unexplained::Wrong(mistake)) => Response::Refused(vec![mistake]),
        },
        Ok(Request::Code) => match operations.code().await {
            Ok(code) => report(&code),
            Err(undone) => undone.into(),
        },
        Ok(Request::Recent) => match operations.recent_drops().await {
            Ok(drops) => report(&drops),
            Err(error) => Response::Error(error.to_string()),
        },
        Ok(Request::Watch(what)) => {
            let Ok(_place) = watchers.try_acquire() else {
                let why = format!("{WATCHERS_MAX} watch or capture already; end one of them");
                return tell(&mut stream, &Response::Error(why)).await;
            };
            return watch(stream, what, operations).await;
        }
        Ok(Request::Capture(wanted)) => {
            let Ok(_place) = watchers.try_acquire() else {
                let why = format!("{WATCHERS_MAX} watch or capture already; end one of them");
                return tell(&mut stream, &Response::Error(why)).await;
            };
            match operations.capture(&wanted).await {
                Ok(capture) => {
                    tell(&mut stream, &Response::Capture).await?;
                    return pass_on(stream, capture, wanted.secs).await;
                }
                Err(undone) => undone.into(),
            }
        }
        Ok(Request::Reload { by }) => match operations.reload(&peer(&stream, by)?).await {
            Ok(file) => Response::Reloaded(file),
            Err(error) => Response::Refused(error.messages().to_vec()),
        },
        Ok(Request::Restart { by }) => {
            operations.restart(&peer(&stream, by)?);
            Response::Restarting
        }
        Ok(Request::Config(transaction::Request { what, by })) => {
            match operations.config(&peer(&stream, by)?, what).await {
                Ok(report) => Response::Report(report),
                Err(error) if error.is_usage() => Response::Refused(error.messages().to_vec()),
                Err(error) => Response::Failed(error.messages().to_vec()),
            }
        }
        Err(error) => Response::Error(format!("not a request: {error}")),
    };
    tell(&mut stream, &response).await
}

/// The answer with this report.
fn report(report: &impl Serialize) -> Response {
    serde_json::to_value(report).map_or_else(|error| Response::Error(error.to_string()), Response::Report)
}

/// The user at the other end. A process of root may work for another user, `by`.
fn peer(stream: &UnixStream, by: Option<String>) -> io::Result<Editor> {
    let uid = stream.peer_cred()?.uid();
    let user = User::from_uid(uid.into()).ok().flatten();
    let name = user.map_or_else(|| format!("user {uid}"), |user| user.name);
    Ok(Editor::new(&match by.filter(|_| uid == 0) {
        Some(by) => format!("{by} (as {name})"),
        None => name,
    }))
}

/// Sends the client each event from now on, until it closes the connection.
///
/// The client's place among the events is all that is kept for it. While the client does not read, the gateway waits,
/// and the rings of events go on; after [`CLIENT_PATIENCE`] the client loses its place among the watchers.
async fn watch(stream: UnixStream, what: Watched, operations: &impl Operations) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let unanswered = |error: ReportError| Event::Error(error.to_string());
    let mut watching = match operations.watch(what).await {
        Ok(watching) => watching,
        Err(error) => return tell(&mut to, &unanswered(error)).await,
    };
    loop {
        // A client sends nothing more, and closes the connection when it has seen enough.
        if timeout(WATCH_INTERVAL, from.read(&mut [0])).await.is_ok() {
            return Ok(());
        }
        let events = match operations.new_events(&mut watching).await {
            Ok(events) => events,
            // Others ask, too. The events stay in the rings meanwhile.
            Err(ReportError::TooManyAsk) => Vec::new(),
            Err(error) => return tell(&mut to, &unanswered(error)).await,
        };
        for event in &events {
            tell(&mut to, event).await?;
        }
    }
}

/// Sends the client the file of a capture, until it closes its sending side or the time is over. While the client does
/// not read, frames wait and are lost; after [`CLIENT_PATIENCE`] the capture ends.
async fn pass_on(stream: UnixStream, mut capture: impl Capturing, secs: Option<u64>) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let left = secs.map(Duration::from_secs);
    let end = async {
        match left {
            Some(left) => _ = timeout(left, from.read(&mut [0])).await,
            None => _ = from.read(&mut [0]).await,
        }
    };
    let mut end = pin!(end);
    while timeout(CAPTURE_INTERVAL, &mut end).await.is_err() {
        let part = capture.part();
        timeout(CLIENT_PATIENCE, to.write_all(&part)).await??;
    }
    timeout(CLIENT_PATIENCE, to.write_all(&capture.finish())).await??;
    to.shutdown().await
}

/// Sends the client a line.
async fn tell(to: &mut (impl AsyncWrite + Unpin), what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    timeout(CLIENT_PATIENCE, to.write_all(&line)).await?
}

impl From<Undone> for Response {
    fn from(Undone { why, remedy }: Undone) -> Self {
        Self::Undone { why, remedy }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a client is another process, which waits for its answer")]

    use std::io::{BufRead, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener as StdUnixListener;
    use std::process::ExitCode;

    use serde_json::json;
    use tokio::runtime;
    use tokio::task::{LocalSet, spawn_blocking};

    use super::*;
    use crate::config::Config;
    use crate::control::drops::RecentDrop;
    use crate::control::{ask, flush, reload};
    use crate::error::sysexits::EX_UNAVAILABLE;

    struct Echo {
        has_mail: bool,
    }

    /// A capture of octets that count up, and then 255.
    struct Numbers(u8);

    impl Capturing for Numbers {
        fn part(&mut self) -> Vec<u8> {
            self.0 += 1;
            vec![self.0]
        }

        fn finish(self) -> Vec<u8> {
            vec![255]
        }
    }

    impl Operations for Echo {
        type Watching = u64;
        type Capture = Numbers;

        fn mail_off(&self) -> Option<mail::Off> {
            mail::Off::by(&Config::default()).filter(|_| !self.has_mail)
        }

        async fn report(&self, what: What) -> Result<Value, ReportError> {
            match what {
                What::Status => Ok(json!({ "hostname": "gatepost" })),
                _ => Err(ReportError::TooManyAsk),
            }
        }

        async fn mail(&self, _: mail::Request) -> Result<Value, Undone> {
            Err(Undone { why: "there is none".to_owned(), remedy: "write some".to_owned() })
        }

        fn deliver(&self) -> Result<Serving, Undone> {
            Ok(Box::new(|mut stream| {
                Box::pin(async move { stream.write_all(b"220 here").await.expect("the client reads") })
            }))
        }

        async fn explain(&self, _: Asked) -> Result<Explained, Unexplained> {
            Err(Unexplained::Wrong("it makes no sense".to_owned()))
        }

        async fn recent_drops(&self) -> Result<RecentDrops, ReportError> {
            Ok(RecentDrops { total: 3, drops: Vec::new() })
        }

        async fn watch(&self, what: Watched) -> Result<u64, ReportError> {
            assert_eq!(what, Watched::Drops);
            Ok(7)
        }

        /// One drop at each call, of which every other was missed.
        async fn new_events(&self, next: &mut u64) -> Result<Vec<Event>, ReportError> {
            let drop = RecentDrop { age_ms: *next, ..RecentDrop::default() };
            *next += 2;
            Ok(vec![Event::Missed(1), Event::Drop(Box::new(drop))])
        }

        async fn end_flow(&self, flow: &FlowName) -> Result<bool, ReportError> {
            Ok(flow.protocol == "tcp")
        }

        async fn capture(&self, wanted: &Wanted) -> Result<Numbers, Undone> {
            let wrong = || Undone { why: "it is wrong".to_owned(), remedy: "write another".to_owned() };
            if wanted.filter.is_none() { Ok(Numbers(0)) } else { Err(wrong()) }
        }

        fn flush(&self, name: Option<&str>) -> Result<usize, Undone> {
            let absent = || Undone { why: "it has no cache".to_owned(), remedy: "see the log".to_owned() };
            name.map(str::len).ok_or_else(absent)
        }

        async fn code(&self) -> Result<ToldCode, Undone> {
            Err(Undone { why: "there are no pages".to_owned(), remedy: "make some".to_owned() })
        }

        fn restart(&self, _: &Editor) {}

        async fn reload(&self, _: &Editor) -> Result<String, Error> {
            Err(Error::mistakes(["one", "two"]))
        }

        async fn config(&self, by: &Editor, what: transaction::What) -> Result<Value, Error> {
            match what {
                transaction::What::Diff => Ok(json!({ "by": by.name() })),
                transaction::What::Confirm => Err(Error::several(vec!["too late".to_owned()])),
                _ => Err(Error::mistakes(["wrong"])),
            }
        }
    }

    /// A path for one test's socket, removed on drop.
    struct SocketPath(PathBuf);

    impl SocketPath {
        fn new(test: &str) -> Self {
            Self(std::env::temp_dir().join(format!("gatepost-control-{test}-{}", std::process::id())))
        }
    }

    impl Drop for SocketPath {
        fn drop(&mut self) {
            _ = fs::remove_file(&self.0);
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn clients_are_answered_and_the_socket_goes_with_the_server() {
        let path = SocketPath::new("answer");
        run(async {
            let socket = ControlSocket::bind(&path.0).expect("a free path");
            let mode = fs::metadata(&path.0).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let server = spawn_local(async move { socket.serve(Rc::new(Echo { has_mail: true })).await });
            for (what, expected) in
                [(What::Status, Ok("gatepost")), (What::Flows, Err("too many ask at once"))]
            {
                let asked = path.0.clone();
                let answer = spawn_blocking(move || ask(&asked, what)).await.expect("no panic");
                match (answer, expected) {
                    (Ok(report), Ok(hostname)) => assert_eq!(report["hostname"], hostname),
                    (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{error}"),
                    (answer, _) => panic!("{answer:?}"),
                }
            }
            let asked = path.0.clone();
            let request = mail::Request::Queue { action: mail::QueueAction::Hold, id: "1".to_owned() };
            let undone =
                spawn_blocking(move || crate::control::mail(&asked, request)).await.expect("no panic");
            let error = Error::failed("the gateway did not do it", "there is none", "write some");
            assert_eq!(undone, Err(error));
            let asked = path.0.clone();
            let delivered = move || {
                let mut said = String::new();
                crate::control::deliver(&asked)
                    .expect("it takes mail")
                    .read_to_string(&mut said)
                    .map(|_| said)
            };
            let said = spawn_blocking(delivered).await.expect("no panic");
            assert_eq!(said.expect("it can be read"), "220 here", "all that follows the answer");
            for (name, flushed) in [(Some("example"), None), (None, Some("the DNS cache is as it was"))] {
                let asked = path.0.clone();
                let name = name.map(str::to_owned);
                let answer = spawn_blocking(move || flush(&asked, name)).await.expect("no panic");
                let error = flushed.map(|what| Error::failed(what, "it has no cache", "see the log"));
                assert_eq!(answer.err(), error);
            }
            let asked = path.0.clone();
            let config = move |what| transaction::request(&asked, what);
            let answers = spawn_blocking(move || {
                [transaction::What::Diff, transaction::What::Confirm, transaction::What::Discard].map(config)
            });
            let [told, failed, wrong] = answers.await.expect("no panic");
            assert!(told.expect("it is answered")["by"].is_string(), "the peer is known");
            assert_eq!(failed, Err(Error::several(vec!["too late".to_owned()])));
            assert_eq!(wrong, Err(Error::mistakes(["wrong"])));
            let asked = path.0.clone();
            let refused = spawn_blocking(move || reload(&asked)).await.expect("no panic");
            assert_eq!(refused, Err(Error::mistakes(["one", "two"])));
            server.abort();
            assert!(server.await.expect_err("aborted").is_cancelled());
            assert!(!path.0.exists());
        });
    }

    #[test]
    fn a_watcher_gets_what_is_new_and_leaves_room_for_others() {
        let path = SocketPath::new("watch");
        run(async {
            let socket = ControlSocket::bind(&path.0).expect("a free path");
            let server = spawn_local(async move { socket.serve(Rc::new(Echo { has_mail: true })).await });
            let asked = path.0.clone();
            let watch = move || {
                let mut stream = StdUnixStream::connect(&asked).expect("it listens");
                stream.write_all(b"{\"watch\":\"drops\"}\n").expect("it reads");
                let mut lines = std::io::BufReader::new(stream);
                let mut next = move || {
                    let mut line = String::new();
                    lines.read_line(&mut line).expect("it answers");
                    serde_json::from_str::<Event>(&line).expect("an event")
                };
                (next(), next)
            };
            let others = path.0.clone();
            spawn_blocking(move || {
                let mut watchers: Vec<_> = (0..WATCHERS_MAX).map(|_| watch()).collect();
                let (first, next) = &mut watchers[0];
                assert_eq!(*first, Event::Missed(1));
                for age_ms in [7, 9] {
                    assert_eq!(next(), Event::Drop(Box::new(RecentDrop { age_ms, ..RecentDrop::default() })));
                    assert_eq!(next(), Event::Missed(1));
                }
                assert!(matches!(watch().0, Event::Error(why) if why.contains("watch or capture already")));
                assert!(ask(&others, What::Status).is_ok(), "others are served");
                watchers.clear();
                while matches!(watch().0, Event::Error(_)) {}
            })
            .await
            .expect("no panic");
            server.abort();
        });
    }

    #[test]
    fn a_capture_ends_with_its_last_octets_once_its_client_has_seen_enough() {
        let path = SocketPath::new("capture");
        run(async {
            let socket = ControlSocket::bind(&path.0).expect("a free path");
            let server = spawn_local(async move { socket.serve(Rc::new(Echo { has_mail: true })).await });
            let asked = path.0.clone();
            let begin = move |request: &[u8]| {
                let mut stream = StdUnixStream::connect(&asked).expect("it listens");
                stream.write_all(request).expect("it reads");
                let mut lines = std::io::BufReader::new(stream);
                let mut line = String::new();
                lines.read_line(&mut line).expect("it answers");
                (line, lines)
            };
            spawn_blocking(move || {
                let (line, mut stream) = begin(b"{\"capture\":{}}\n");
                let mut octets = vec![0; 3];
                stream.read_exact(&mut octets).expect("a capture");
                stream.get_ref().shutdown(Shutdown::Write).expect("it is open");
                stream.read_to_end(&mut octets).expect("its end");
                assert_eq!(
                    (&line[..], &octets[..3], octets.last()),
                    ("\"capture\"\n", &[1, 2, 3][..], Some(&255))
                );
                let (_, mut stream) = begin(b"{\"capture\":{\"secs\":1}}\n");
                octets.clear();
                stream.read_to_end(&mut octets).expect("its end");
                assert_eq!(octets.last(), Some(&255), "it ends by itself");
                let (undone, _) = begin(b"{\"capture\":{\"filter\":\"\"}}\n");
                assert!(undone.starts_with("{\"undone\":{\"why\":\"it is wrong\""), "{undone}");
                let open: Vec<_> = (0..WATCHERS_MAX).map(|_| begin(b"{\"capture\":{}}\n")).collect();
                let (refused, _) = begin(b"{\"capture\":{}}\n");
                assert!(refused.contains("watch or capture already"), "{refused}");
                drop(open);
            })
            .await
            .expect("no panic");
            server.abort();
        });
    }

    #[test]
    fn a_watcher_that_does_not_read_loses_its_place() {
        let paused = || runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = paused().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            let watching = watch(ours, Watched::Drops, &Echo { has_mail: true });
            let ended = timeout(Duration::from_secs(24 * 60 * 60), watching).await.expect("it ends");
            assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
            drop(theirs);
        });
    }

    #[test]
    fn without_mail_all_that_is_about_it_is_answered_alike() {
        let path = SocketPath::new("off");
        run(async {
            let socket = ControlSocket::bind(&path.0).expect("a free path");
            let server = spawn_local(async move { socket.serve(Rc::new(Echo { has_mail: false })).await });
            let asked = path.0.clone();
            let answers = spawn_blocking(move || {
                let request = || mail::Request::Poll { dry_run: true };
                let shown = [What::Queue, What::Mailboxes, What::Mail].map(|what| ask(&asked, what).err());
                let done = crate::control::mail(&asked, request()).err();
                let delivered = crate::control::deliver(&asked).err();
                assert!(ask(&asked, What::Status).is_ok());
                shown.into_iter().chain([done, delivered]).collect::<Vec<_>>()
            });
            let expected = Error::from(mail::Off::by(&Config::default()).expect("nobody has mail"));
            assert_eq!(expected.exit_code(), ExitCode::from(EX_UNAVAILABLE));
            assert!(expected.to_string().starts_with("mail is off: "), "{expected}");
            for answer in answers.await.expect("no panic") {
                assert_eq!(answer.as_ref(), Some(&expected));
            }
            server.abort();
            assert!(server.await.expect_err("aborted").is_cancelled());
        });
    }

    #[test]
    fn a_crashed_gateways_socket_is_replaced_and_a_living_ones_is_not() {
        let path = SocketPath::new("stale");
        run(async {
            drop(StdUnixListener::bind(&path.0).expect("a free path"));
            assert!(path.0.exists(), "a socket nobody listens on");
            let living = ControlSocket::bind(&path.0).expect("it replaces the stale one");
            let error = ControlSocket::bind(&path.0).expect_err("one listens").to_string();
            assert!(error.contains("another gateway answers there"), "{error}");
            drop(living);
            fs::write(&path.0, "a file").expect("a free path");
            let error = ControlSocket::bind(&path.0).expect_err("no socket").to_string();
            assert!(error.contains("a file that is no socket"), "{error}");
            assert_eq!(fs::read(&path.0).expect("still there"), b"a file");
        });
    }
}
