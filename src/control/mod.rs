//! The commands that ask a running gateway, such as `gatepost show`, over its control socket.
//!
//! The socket is a Unix stream socket that only its owner may use. A client sends one line and gets one
//! line back; then the gateway closes the connection.
//!
//! - `{"show":"leases"}`: `{"report":{...}}` with the [`report`] of that name. `--json` prints the report unchanged:
//!   its keys are stable, more may be added. Without it the same report is printed as a table.
//! - `{"mail":{...}}`: `{"report":{...}}` with the outcome of a [`mail::Request`].
//! - `"deliver"`: `"smtp"`, and then the gateway speaks SMTP on the connection, as on port 25 to the LAN. The client
//!   sends nothing before the greeting. So a message of any length comes in as it does everywhere else.
//! - `{"flush":{"name":"example.com"}}`: `{"flushed":3}` with the number of cached DNS answers that it removed for the
//!   name and those below it, or of all without a name; `{"undone":{...}}` with the reason.
//! - `{"end":{"protocol":"tcp","client":"192.168.1.10:40000","destination":"198.51.100.7:443"}}`: `{"ended":true}`, or
//!   `false` if there is no such flow.
//! - `{"explain":{...}}`: `{"report":{...}}` with the outcome for a packet; `{"undone":{...}}` if nobody knows it, or
//!   `{"refused":["...", ...]}` if the packet makes no sense.
//! - `"recent"`: `{"report":{...}}` with the last drops.
//! - `{"watch":"drops"}` (or `dhcp`, `dns`, `mail`, `flows`): a line for each [event](follow::Event), until the client closes the connection.
//! - `{"capture":{...}}`: `"capture"`, and then the octets of a file until the client closes its sending side and a
//!   little longer; `{"undone":{...}}` with the reason.
//! - `"code"`: `{"report":{...}}` with a [`code::ToldCode`], or `{"undone":{...}}` without pages.
//! - `{"reload":{}}`: `{"reloaded":"FILE"}`, or `{"refused":["...", ...]}` with the errors.
//! - `{"restart":{}}`: `"restarting"`, and then the gateway ends in order and runs again.
//! - `{"config":{"do":"set","key":"lan.inspect_arp","value":"true"}}` and so on: `{"report":{...}}` with the outcome of
//!   a [`transaction::Request`]; `{"refused":[...]}` with what is wrong in it or in the candidate, `{"failed":[...]}`
//!   with other reasons.
//!
//! A request about mail gets `{"off":{"why":"...","remedy":"..."}}` from a gateway without mail. A request that cannot
//! be answered gets `{"error":"..."}`.

pub mod capture;
pub mod code;
pub mod drops;
pub mod events;
pub mod explain;
pub mod filter;
pub mod flows;
pub mod follow;
pub mod mail;
pub mod mail_report;
pub mod mailboxes;
pub mod name_report;
pub mod report;
pub mod server;
pub mod table;
pub mod transaction;
mod watch;

use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use gatepost_services::mail::poll::ASKED_WITHIN;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::error::sysexits::{EX_NOPERM, EX_PROTOCOL, EX_TEMPFAIL};
use crate::traffic::report::Traffic;
use drops::RecentDrops;
use explain::{Asked, EX_UNANSWERED, Explained};
use mail_report::MailReport;
use mailboxes::Mailboxes;
use name_report::{Cache, Servers, Zone};
use report::{Counters, Drops, Flows, Leases, Log, Neighbors, Queue, Services, Status};
use table::counted;

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
    /// How much went over the WAN, and of each host: of an hour, a day, a month.
    Traffic,
    /// The machines it knows on its segments.
    Neighbors,
    /// What happened to the frames.
    Counters,
    /// Why frames went no further.
    Drops,
    /// What it serves itself, and where it listens.
    Services,
    /// The records of the office's DNS zones.
    Zone,
    /// The cached DNS answers.
    Cache,
    /// The DNS servers that it queries.
    #[serde(rename = "dns")]
    #[value(name = "dns")]
    NameServers,
    /// The mail for other servers.
    Queue,
    /// The mailboxes: what is in their folders, their quotas, whether a POP3 session has them.
    Mailboxes,
    /// The state of mail: polled remote mailboxes, queue, mailboxes, connections.
    Mail,
    /// The last lines of the log.
    Log,
}

/// The arguments of `gatepost show` and `gatepost lab show`: the question and the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Question {
    /// What to ask for.
    what: What,
    /// Print JSON, for programs; what fails is {"errors":["...", ...]}.
    #[arg(long)]
    json: bool,
    /// Ask again every second until Ctrl-C: in place on a terminal; with --json a line each.
    #[arg(long)]
    watch: bool,
    /// With drops: the last dropped frames themselves, up to 10,000, each with its reason, rule and ends.
    #[arg(long, conflicts_with = "watch")]
    recent: bool,
}

impl Question {
    /// Whether the answer is asked for as JSON.
    pub fn is_for_programs(&self) -> bool {
        self.json
    }

    /// Asks the gateway behind `socket` and prints what it says on stdout, once or every second.
    ///
    /// # Errors
    ///
    /// No gateway runs there, it is not ours to ask, or it does not answer in its protocol.
    pub fn ask(&self, socket: &Path) -> Result<(), Error> {
        if self.recent {
            return match self.what {
                What::Drops => recent(socket, self.json),
                _ => Err(Error::usage("--recent is for drops only; write `gatepost show drops --recent`")),
            };
        }
        let show = if self.watch { watch::watch } else { show };
        show(socket, self.what, self.json)
    }
}

/// Why a running gateway does not return a report.
#[derive(Debug)]
pub enum ReportError {
    /// Its workers have as many questions to answer as they can keep.
    TooManyAsk,
    /// It ends.
    Stopping,
    /// The requested report is unavailable, for this reason.
    Unknown(String),
    /// The report has no form in JSON.
    Unprintable(serde_json::Error),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyAsk => f.write_str("too many ask at once; ask again"),
            Self::Stopping => f.write_str("the gateway is stopping"),
            Self::Unknown(why) => f.write_str(why),
            Self::Unprintable(error) => write!(f, "the report cannot be written: {error}"),
        }
    }
}

impl std::error::Error for ReportError {}

/// The client's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Request {
    Show(What),
    Mail(mail::Request),
    Deliver,
    Flush {
        name: Option<String>,
    },
    Explain(explain::Asked),
    /// End a flow.
    End(flows::FlowName),
    Recent,
    Watch(follow::Watched),
    Capture(capture::Wanted),
    Reload {
        /// The user who has become root, as `sudo` tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    Restart {
        /// As with a reload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    Config(transaction::Request),
    Code,
}

impl Request {
    /// Whether there is no answer without mail.
    fn is_of_mail(&self) -> bool {
        match self {
            Self::Show(what) => matches!(what, What::Queue | What::Mailboxes | What::Mail),
            Self::Mail(_) | Self::Deliver | Self::Watch(follow::Watched::Mail) => true,
            Self::Flush { .. }
            | Self::Explain(_)
            | Self::End(_)
            | Self::Recent
            | Self::Watch(_)
            | Self::Capture(_)
            | Self::Reload { .. }
            | Self::Restart { .. }
            | Self::Config(_)
            | Self::Code => false,
        }
    }

    /// How long the gateway may take to answer.
    fn answered_within(&self) -> Duration {
        match self {
            Self::Mail(mail::Request::Poll { .. }) => ASKED_WITHIN + ANSWER_WITHIN,
            Self::Config(request) => request.what.answered_within(),
            Self::Explain(_) => RESOLVED_WITHIN + ANSWER_WITHIN,
            Self::Show(_)
            | Self::Mail(_)
            | Self::Deliver
            | Self::Flush { .. }
            | Self::End(_)
            | Self::Recent
            | Self::Watch(_)
            | Self::Capture(_)
            | Self::Reload { .. }
            | Self::Restart { .. }
            | Self::Code => ANSWER_WITHIN,
        }
    }
}

/// The gateway's line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Response {
    Report(Value),
    /// A session of SMTP follows.
    Smtp,
    /// A capture follows.
    Capture,
    Flushed(usize),
    /// Whether there was such a flow.
    Ended(bool),
    Reloaded(String),
    Restarting,
    Refused(Vec<String>),
    Failed(Vec<String>),
    Undone {
        why: String,
        remedy: String,
    },
    /// It is about mail, which is disabled.
    Off(mail::Off),
    Error(String),
}

/// The timeout of an answer, besides the time that the gateway itself waits for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The time that the gateway may take for a name, with a few aliases.
const RESOLVED_WITHIN: Duration = Duration::from_secs(30);

/// An answer longer than this is not read, in octets.
const RESPONSE_LEN_MAX: u64 = 64 << 20;

/// The same of an answer that SMTP follows.
const ANSWER_LEN_MAX: usize = 64 << 10;

fn show(socket: &Path, what: What, json: bool) -> Result<(), Error> {
    let report = ask(socket, what)?;
    print(&if json { format!("{report}\n") } else { render(what, report)? })
}

/// Prints the last drops.
fn recent(socket: &Path, json: bool) -> Result<(), Error> {
    let Response::Report(report) = converse(socket, &Request::Recent)? else {
        return Err(misunderstood(socket));
    };
    print(&if json { format!("{report}\n") } else { text::<RecentDrops>(report)? })
}

/// Prints what would become of a packet, by the gateway behind `socket`. Returns whether the packet passes.
///
/// # Errors
///
/// The packet makes no sense, or its name has no address: exit code 2. No gateway or no DNS server answers, the workers
/// disagree, or the answer cannot be printed: [`EX_UNANSWERED`].
pub fn explain(socket: &Path, asked: Asked, json: bool) -> Result<bool, Error> {
    let response =
        converse(socket, &Request::Explain(asked)).map_err(|error| error.with_code(EX_UNANSWERED))?;
    let report = match response {
        Response::Report(report) => report,
        Response::Refused(mistakes) => return Err(Error::mistakes(mistakes)),
        Response::Undone { why, remedy } => {
            return Err(Error::failed("nobody knows it", why, remedy).with_code(EX_UNANSWERED));
        }
        _ => return Err(misunderstood(socket).with_code(EX_UNANSWERED)),
    };
    explained_to(&mut io::stdout().lock(), report, json)
}

/// Prints an explanation on `stdout`. Returns whether the packet passes.
fn explained_to(stdout: &mut impl Write, report: Value, json: bool) -> Result<bool, Error> {
    print_explained(stdout, report, json).map_err(|error| error.with_code(EX_UNANSWERED))
}

fn print_explained(stdout: &mut impl Write, report: Value, json: bool) -> Result<bool, Error> {
    let passes = report.get("passes").and_then(Value::as_bool);
    write_to(stdout, &if json { format!("{report}\n") } else { text::<Explained>(report)? })?;
    let unsaid = "it does not say whether the packet passes";
    passes
        .ok_or_else(|| Error::failed("cannot read the gateway's report", unsaid, "use the version that runs"))
}

/// Prints a report on stdout. A closed stdout is no error.
fn print(text: &str) -> Result<(), Error> {
    write_to(&mut io::stdout().lock(), text)
}

fn write_to(stdout: &mut impl Write, text: &str) -> Result<(), Error> {
    let mut stdout = BufWriter::new(stdout);
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unprintable(error)),
        _ => Ok(()),
    }
}

fn unprintable(error: io::Error) -> Error {
    Error::failed("cannot print the report", error, "look at where stdout goes")
}

/// Requests one report from the gateway behind `socket`.
///
/// # Errors
///
/// As [`Question::ask`].
pub fn ask(socket: &Path, what: What) -> Result<Value, Error> {
    match converse(socket, &Request::Show(what))? {
        Response::Report(report) => Ok(report),
        _ => Err(misunderstood(socket)),
    }
}

/// Sends a request about mail to the gateway behind `socket`; returns the outcome.
///
/// # Errors
///
/// As [`Question::ask`], or why it does not.
pub fn mail(socket: &Path, request: mail::Request) -> Result<Value, Error> {
    match converse(socket, &Request::Mail(request))? {
        Response::Report(report) => Ok(report),
        Response::Undone { why, remedy } => Err(Error::failed("the gateway did not do it", why, remedy)),
        _ => Err(misunderstood(socket)),
    }
}

/// Has the gateway behind `socket` take mail: the connection on which it speaks SMTP from now on.
///
/// # Errors
///
/// As [`Question::ask`], or why it accepts no mail; with a code of [`sysexits`](crate::error::sysexits).
pub fn deliver(socket: &Path) -> Result<UnixStream, Error> {
    let exchange = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        send(&mut stream, &Request::Deliver)?;
        let (mut line, mut octet) = (Vec::new(), [0]);
        // SMTP follows the line, and is not read here.
        while line.last() != Some(&b'\n') && line.len() < ANSWER_LEN_MAX {
            stream.read_exact(&mut octet)?;
            line.extend(octet);
        }
        Ok((stream, line))
    };
    let (stream, line) = exchange().map_err(|error| undelivered(socket, error))?;
    match parsed(socket, &line).map_err(|error| error.with_code(EX_TEMPFAIL))? {
        Response::Smtp => Ok(stream),
        Response::Undone { why, remedy } => {
            Err(Error::failed("the gateway takes no mail", why, remedy).with_code(EX_TEMPFAIL))
        }
        _ => Err(misunderstood(socket).with_code(EX_PROTOCOL)),
    }
}

/// Why the gateway could not be asked to accept mail.
fn undelivered(socket: &Path, error: io::Error) -> Error {
    let may_not = error.kind() == io::ErrorKind::PermissionDenied;
    unasked(socket, error).with_code(if may_not { EX_NOPERM } else { EX_TEMPFAIL })
}

/// Has the gateway behind `socket` remove the cached DNS answers for `name` and the names below it, or all, and says on
/// stdout how many these were.
///
/// # Errors
///
/// No gateway runs there, or the user may not control it, or `name` is no domain name.
pub fn flush(socket: &Path, name: Option<String>) -> Result<(), Error> {
    match converse(socket, &Request::Flush { name })? {
        Response::Flushed(answers) => {
            // If stdout is closed, the exit code still reports the outcome.
            _ = writeln!(
                io::stdout(),
                "{} removed from the DNS cache",
                counted(answers, "answer", "answers")
            );
            Ok(())
        }
        Response::Undone { why, remedy } => Err(Error::failed("the DNS cache is as it was", why, remedy)),
        _ => Err(misunderstood(socket)),
    }
}

/// Makes the gateway behind `socket` read its configuration again, and says so on stdout.
///
/// # Errors
///
/// No gateway runs there, or the user may not control it, or it continues as before: what is wrong with its
/// configuration.
pub fn reload(socket: &Path) -> Result<(), Error> {
    match converse(socket, &Request::Reload { by: by_sudo() })? {
        Response::Reloaded(file) => {
            // If stdout is closed, the exit code still reports the outcome.
            _ = writeln!(io::stdout(), "{file} is in force");
            Ok(())
        }
        Response::Refused(mistakes) => Err(Error::mistakes(mistakes)),
        _ => Err(misunderstood(socket)),
    }
}

/// Makes the gateway behind `socket` end in order and run again, and says so on stdout.
///
/// # Errors
///
/// No gateway runs there, or the user may not control it.
pub fn restart(socket: &Path) -> Result<(), Error> {
    match converse(socket, &Request::Restart { by: by_sudo() })? {
        Response::Restarting => {
            // If stdout is closed, the exit code still reports the outcome.
            _ = writeln!(io::stdout(), "the gateway restarts");
            Ok(())
        }
        _ => Err(misunderstood(socket)),
    }
}

/// The user who has become root by `sudo`. It counts for root only, who could be anybody anyway.
fn by_sudo() -> Option<String> {
    std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty() && name != "root")
}

fn converse(socket: &Path, request: &Request) -> Result<Response, Error> {
    let line = exchange(socket, request).map_err(|error| unasked(socket, error))?;
    parsed(socket, &line)
}

/// The gateway's answer.
fn parsed(socket: &Path, line: &[u8]) -> Result<Response, Error> {
    match serde_json::from_slice(line).map_err(|error| unasked(socket, error.into()))? {
        Response::Error(message) => Err(unasked(socket, io::Error::other(message))),
        Response::Off(off) => Err(off.into()),
        response => Ok(response),
    }
}

/// Why the gateway could not be asked.
fn unasked(socket: &Path, error: io::Error) -> Error {
    let what = format!("cannot ask the gateway at {}", socket.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::failed(what, "none is running there", "start it with `gatepost run`")
        }
        io::ErrorKind::PermissionDenied => {
            Error::failed(what, "only the user that runs it may, and root", "ask as one of these")
        }
        // A timeout on a Unix socket has this kind.
        io::ErrorKind::WouldBlock => Error::failed(what, "it does not answer", "see its log"),
        _ => Error::failed(what, error, "see its log"),
    }
}

/// Whether a gateway that is ours to ask is behind `socket`.
pub fn is_there(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn misunderstood(socket: &Path) -> Error {
    let what = format!("cannot ask the gateway at {}", socket.display());
    Error::failed(what, "it answers something else", "use the version that runs")
}

fn exchange(socket: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(request.answered_within()))?;
    send(&mut stream, request)?;
    let mut line = Vec::new();
    stream.take(RESPONSE_LEN_MAX).read_to_end(&mut line)?;
    Ok(line)
}

fn send(stream: &mut UnixStream, request: &Request) -> io::Result<()> {
    let mut request = serde_json::to_vec(request)?;
    request.push(b'\n');
    stream.write_all(&request)
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
        What::Traffic => text::<Traffic>(report),
        What::Neighbors => text::<Neighbors>(report),
        What::Counters => text::<Counters>(report),
        What::Drops => text::<Drops>(report),
        What::Services => text::<Services>(report),
        What::Zone => text::<Zone>(report),
        What::Cache => text::<Cache>(report),
        What::NameServers => text::<Servers>(report),
        What::Queue => text::<Queue>(report),
        What::Mailboxes => text::<Mailboxes>(report),
        What::Mail => text::<MailReport>(report),
        What::Log => text::<Log>(report),
    }
}

fn text<R: DeserializeOwned + fmt::Display>(report: Value) -> Result<String, Error> {
    serde_json::from_value::<R>(report).map(|report| report.to_string()).map_err(|error| {
        Error::failed("cannot read the gateway's report", error, "use the version that runs, or --json")
    })
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::*;

    #[test]
    fn without_a_gateway_the_remedy_is_to_start_one() {
        let error = show(Path::new("/nonexistent/gatepost.sock"), What::Status, false);
        let message = error.expect_err("nobody there").to_string();
        assert!(message.contains("start it with `gatepost run`"), "{message}");
    }

    #[test]
    fn who_may_not_ask_is_told_who_may() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let told = unasked(Path::new("/run/gatepost.sock"), denied()).to_string();
        let expected = "cannot ask the gateway at /run/gatepost.sock: only the user that runs it may, and root; ask as \
                        one of these";
        assert_eq!(told, expected);
        for (error, code) in [
            (denied(), EX_NOPERM),
            (io::ErrorKind::NotFound.into(), EX_TEMPFAIL),
            (io::ErrorKind::WouldBlock.into(), EX_TEMPFAIL),
        ] {
            assert_eq!(undelivered(Path::new("x"), error).exit_code(), ExitCode::from(code));
        }
    }

    #[test]
    fn an_explanation_that_cannot_be_printed_is_no_dropped_packet() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let report = |passes: bool| serde_json::json!({ "passes": passes });
        for (json, passes) in [(true, true), (true, false), (false, true)] {
            let error = explained_to(&mut Full, report(passes), json).expect_err("it cannot be printed");
            assert_eq!(error.exit_code(), ExitCode::from(EX_UNANSWERED), "{error}");
        }
        let error = explained_to(&mut Vec::new(), serde_json::json!({}), true).expect_err("it says nothing");
        assert_eq!(error.exit_code(), ExitCode::from(EX_UNANSWERED), "{error}");
        assert_eq!(explained_to(&mut Vec::new(), report(false), true), Ok(false));
    }

    #[test]
    fn the_lines_are_as_documented() {
        let request: Request = serde_json::from_str(r#"{"show":"leases"}"#).expect("documented");
        assert_eq!(request, Request::Show(What::Leases));
        for (line, by) in
            [(r#"{"reload":{}}"#, None), (r#"{"reload":{"by":"anna"}}"#, Some("anna".to_owned()))]
        {
            let request = Request::Reload { by };
            assert_eq!(serde_json::from_str::<Request>(line).expect("documented"), request);
            assert_eq!(serde_json::to_string(&request).expect("plain data"), line);
        }
        let of_dns = serde_json::from_str::<Request>(r#"{"show":"dns"}"#).expect("documented");
        assert_eq!(of_dns, Request::Show(What::NameServers));
        assert!(serde_json::from_str::<Request>(r#"{"show":"everything"}"#).is_err());
        let request = serde_json::from_str(r#"{"mail":{"queue":{"action":"hold","id":"12.0"}}}"#);
        let command = mail::Request::Queue { action: mail::QueueAction::Hold, id: "12.0".to_owned() };
        assert_eq!(request.ok(), Some(Request::Mail(command)));
        let request =
            serde_json::from_str::<Request>(r#"{"mail":{"poll":{"dry_run":true}}}"#).expect("documented");
        assert_eq!(request, Request::Mail(mail::Request::Poll { dry_run: true }));
        let of_a_name = serde_json::from_str(r#"{"flush":{"name":"example.com"}}"#);
        assert_eq!(of_a_name.ok(), Some(Request::Flush { name: Some("example.com".to_owned()) }));
        let all = serde_json::from_str(r#"{"flush":{}}"#);
        assert_eq!(all.ok(), Some(Request::Flush { name: None }));
        assert_eq!(serde_json::from_str::<Request>("\"deliver\"").expect("documented"), Request::Deliver);
        assert_eq!(serde_json::to_string(&Response::Smtp).expect("plain data"), "\"smtp\"");
        assert!(request.answered_within() > ASKED_WITHIN, "it is waited for as long as it can take");
        let response = serde_json::to_string(&Response::Report(Value::Object(Default::default())));
        assert_eq!(response.expect("plain data"), r#"{"report":{}}"#);
        let response = serde_json::to_string(&Response::Error("busy".to_owned()));
        assert_eq!(response.expect("plain data"), r#"{"error":"busy"}"#);
        let response = serde_json::to_string(&Response::Refused(vec!["wrong".to_owned()]));
        assert_eq!(response.expect("plain data"), r#"{"refused":["wrong"]}"#);
    }
}
