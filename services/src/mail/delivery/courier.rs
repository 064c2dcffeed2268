//! Carries one message to a server of its next hop.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;
use tracing::{info, warn};

use super::driver::Active;
use super::outgoing::Outgoing;
use super::results::JobResults;
use crate::dns::resolver::{self, Resolver};
use crate::mail::address::ReversePath;
use crate::mail::bounce::HEADER_OCTETS_MAX;
use crate::mail::mx::{Answer, MxRecord, NextHop, NoAnswer, Question, Search, Step, Target};
use crate::mail::queue::connection::{Environment, NoTls, PendingQuit, Source, StartTls, TlsTo, send};
use crate::mail::queue::{DeliveryResult, Job, StoredMessage};
use crate::mail::sasl::client::Credentials;
use crate::mail::signing::Reading;
use crate::mail::smtp::RcptParameters;
use crate::mail::smtp::client::{
    Client, Encryption, Envelope, EnvelopeRecipient, Outcome, Report, Scope, Settings, Status, TLS_FAILED,
};
use crate::mail::store::Unreadable;
use crate::net::{Net, Stream};

/// The timeout of establishing a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The port at which connections begin with TLS. (RFC 8314, section 3.3)
const TLS_PORT: u16 = 465;
/// The subject of status codes that are about logins and TLS. (RFC 3463, section 3.8)
const SECURITY: u16 = 7;
/// The octets of a message that are read at a time to analyse it.
const PORTION: usize = 1 << 20;

/// The properties of a message's octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Its beginning, which a notice can bring back: up to [`HEADER_OCTETS_MAX`].
    pub head: Vec<u8>,
    /// Whether it has octets above 127.
    pub is_8bit: bool,
    /// Whether its header has.
    pub is_header_8bit: bool,
}

impl Content {
    /// Reads all of `message`, so that one that is damaged is sent to no server; and has `reading` read it, too.
    pub async fn of(message: &StoredMessage, reading: &mut Option<Reading>) -> Result<Self, Unreadable> {
        let mut content = Self::default();
        let mut header = HeaderEnd::default();
        let mut offset = 0;
        loop {
            let part = message.part(offset, PORTION).await?;
            if part.is_empty() {
                return Ok(content);
            }
            // A length in memory fits.
            offset += part.len() as u64;
            let room = HEADER_OCTETS_MAX.saturating_sub(content.head.len());
            content.head.extend_from_slice(&part[..part.len().min(room)]);
            content.is_8bit |= !part.is_ascii();
            if let Some(reading) = reading {
                reading.push(&part);
            }
            let in_header = header.take(&part);
            content.is_header_8bit |= !part[..in_header].is_ascii();
        }
    }
}

/// Finds the empty line after a header that comes in parts.
#[derive(Debug, Default)]
struct HeaderEnd {
    /// Octets of the line at hand, as far as it has been read.
    line: usize,
    is_over: bool,
}

impl HeaderEnd {
    /// How many octets of `part` are the header's.
    fn take(&mut self, part: &[u8]) -> usize {
        if self.is_over {
            return 0;
        }
        for (at, octet) in part.iter().enumerate() {
            match octet {
                b'\n' if self.line == 0 => {
                    self.is_over = true;
                    return at;
                }
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => self.line += 1,
            }
        }
        part.len()
    }
}

/// What came of a job for each recipient, and the connections on which QUIT is to be said once that is stored: one for
/// each server that has taken the message, and the last one.
pub(super) struct Carried {
    pub results: Vec<DeliveryResult>,
    pub quits: Vec<PendingQuit>,
}

/// Sends `message`, whose return path is `sender`. `stuck` is called if a server is [stuck](send).
pub(super) async fn carry<N: Net>(
    active: &Active<N>,
    job: &Job,
    message: &Outgoing<'_>,
    content: &Content,
    sender: &ReversePath,
    stuck: &dyn Fn(),
) -> Carried {
    let mut rng = active.rng();
    let mut quits = Vec::new();
    // Of a server that has taken nothing.
    let mut former: Option<PendingQuit> = None;
    let routes = active.routes();
    let targets =
        match find(&active.resolver, Search::start(&routes, &job.next_hop, &mut rng), &mut rng).await {
            Ok(targets) => targets,
            Err(report) => {
                let results = vec![DeliveryResult { report, server: None }; job.recipients.len()];
                return Carried { results, quits };
            }
        };
    let mut results = JobResults::new(job.recipients.len());
    for target in targets {
        let mut encryption = active.encryption(&job.next_hop, &target);
        let mut has_failed_tls = false;
        // A second time without TLS, if that failed.
        loop {
            let places = results.open();
            if places.is_empty() || active.is_stopping() {
                quits.extend(former);
                return Carried { results: results.finish(), quits };
            }
            if let Some(former) = former.take() {
                former.send().await;
            }
            let envelope = envelope(job, &places, message, content, sender);
            let hop = Hop { target: &target, next_hop: &job.next_hop, encryption, stuck };
            let (reports, quit) = connect_and_send(active, &hop, envelope, message, &mut rng).await;
            let is_taken = reports.iter().any(|report| report.outcome == Outcome::Delivered);
            if is_taken {
                quits.extend(quit);
            } else {
                former = quit;
            }
            match encryption {
                Encryption::Never if !is_taken => active.forget_without_tls(&target),
                Encryption::Never if has_failed_tls => active.remember_without_tls(&target),
                _ => {}
            }
            let is_tls_in_the_way = results.take(&places, &target.name, reports);
            if !is_tls_in_the_way || encryption != Encryption::Opportunistic {
                break;
            }
            (encryption, has_failed_tls) = (Encryption::Never, true);
        }
    }
    quits.extend(former);
    Carried { results: results.finish(), quits }
}

/// The servers that a search finds.
async fn find(
    resolver: &Resolver,
    (mut search, mut step): (Search<'_>, Step),
    rng: &mut StdRng,
) -> Result<Vec<Target>, Report> {
    loop {
        step = match step {
            Step::Ask(question) => search.answer(ask(resolver, question).await, rng),
            Step::Targets(targets) => return Ok(targets),
            Step::None(report) => return Err(report),
        };
    }
}

async fn ask(resolver: &Resolver, question: Question) -> Answer {
    let why = |error| match error {
        resolver::NoAnswer::NoName => NoAnswer::NoName,
        resolver::NoAnswer::NoData => NoAnswer::NoData,
        resolver::NoAnswer::Unavailable => NoAnswer::Unavailable,
    };
    match question {
        Question::Mx(name) => {
            let found = resolver.mail_exchanges(&name).await.map_err(why);
            let record = |mx: resolver::MailExchange| MxRecord { preference: mx.preference, host: mx.host };
            Answer::Mx(found.map(|records| records.into_iter().map(record).collect()))
        }
        Question::Addresses(name) => Answer::Addresses(resolver.addresses(&name).await.map_err(why)),
    }
}

/// One server, and how it is spoken to.
struct Hop<'a> {
    target: &'a Target,
    next_hop: &'a NextHop,
    encryption: Encryption,
    stuck: &'a dyn Fn(),
}

fn envelope(
    job: &Job,
    places: &[usize],
    message: &Outgoing<'_>,
    content: &Content,
    sender: &ReversePath,
) -> Envelope {
    let recipients = places.iter().filter_map(|place| job.recipients.get(*place));
    let first = job.recipients.first().map(|recipient| recipient.options.clone()).unwrap_or_default();
    Envelope {
        sender: sender.clone(),
        size: message.len(),
        is_8bit: content.is_8bit,
        // A header with such octets whose sender did not request SMTPUTF8 is sent unchanged.
        has_utf8_header: content.is_header_8bit && first.smtputf8,
        ret: first.ret,
        envid: first.envid,
        recipients: recipients
            .map(|recipient| EnvelopeRecipient {
                address: recipient.address.clone(),
                parameters: RcptParameters { orcpt: recipient.options.original(), ..recipient.options.rcpt },
            })
            .collect(),
    }
}

async fn connect_and_send<N: Net>(
    active: &Active<N>,
    hop: &Hop<'_>,
    envelope: Envelope,
    message: &dyn Source,
    rng: &mut StdRng,
) -> (Vec<Report>, Option<PendingQuit>) {
    let recipients = envelope.recipients.len();
    let all = |report: Report| (vec![report; recipients], None);
    let login = match active.credentials(hop.next_hop, rng).await {
        Ok(login) => login,
        Err(report) => return all(report),
    };
    let has_login = login.is_some();
    let tls: Rc<dyn StartTls> = match &active.tls {
        Some(tls) => {
            let name = hop.target.name.trim_start_matches('[').trim_end_matches(']').to_owned();
            Rc::new(TlsTo { tls: Rc::clone(tls), name, has_to_prove: login.is_some() })
        }
        None => Rc::new(NoTls),
    };
    let stream = match timeout(CONNECT_TIMEOUT, connect(active, hop, &tls)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(report)) => {
            if has_login {
                active.judge_login(hop.target, &report);
            }
            return all(report);
        }
        Err(_) => return all(unreachable(hop.target, "it did not answer in time")),
    };
    active.count(|stats| stats.connections += 1);
    let settings = Settings {
        hostname: active.settings.hostname.clone(),
        encryption: hop.encryption,
        login,
        is_verified: tls.has_to_prove(),
    };
    let environment = Environment { clock: Rc::clone(&active.clock), work: Rc::clone(&active.work), tls };
    let client = Client::new(active.clock.now(), settings, envelope);
    let stops = active.stopping.subscribe();
    let (reports, quit) = send(&environment, stops, stream, client, message, Some(hop.stuck)).await;
    if let Some(report) = reports.first().filter(|_| has_login) {
        active.judge_login(hop.target, report);
    }
    debug_assert_eq!(reports.len(), recipients, "each recipient has a report");
    (reports, Some(quit))
}

async fn connect<N: Net>(
    active: &Active<N>,
    hop: &Hop<'_>,
    tls: &Rc<dyn StartTls>,
) -> Result<Box<dyn Stream>, Report> {
    let connected = active.net.connect(hop.target.address).await;
    if connected.is_err() {
        active.count(|stats| stats.connections_failed += 1);
    }
    let stream = connected.map_err(|error| unreachable(hop.target, &error.to_string()))?;
    let stream: Box<dyn Stream> = Box::new(stream);
    if hop.encryption != Encryption::Active {
        return Ok(stream);
    }
    let untrusted = |error: io::Error| Report::deferred(TLS_FAILED, error.to_string(), Scope::Host);
    tls.start_tls(stream).await.map_err(untrusted)
}

fn unreachable(target: &Target, why: &str) -> Report {
    let text = format!("no connection to {} at {}: {why}", target.name, target.address);
    Report::deferred(Status::new(4, 4, 1), text, Scope::Host)
}

impl<N: Net> Active<N> {
    /// How a server is spoken to: one that is sent a password never in clear.
    fn encryption(&self, next_hop: &NextHop, target: &Target) -> Encryption {
        let is_configured = matches!(next_hop, NextHop::Server { .. });
        if is_configured && target.address.port() == TLS_PORT {
            Encryption::Active
        } else if self.login(next_hop).is_some() {
            Encryption::Required
        } else if self.tls.is_some() && !self.without_tls.borrow().has(self.clock.now(), target.address) {
            Encryption::Opportunistic
        } else {
            Encryption::Never
        }
    }

    /// Sends to `target` in clear for a day: TLS with it fails, and it accepts mail without.
    fn remember_without_tls(&self, target: &Target) {
        let Target { name, address } = target;
        info!("no TLS comes about with {name} at {address}: mail goes there in clear for a day");
        self.without_tls.borrow_mut().remember(self.clock.now(), *address);
    }

    /// Tries TLS again with `target`, which rejected a message in clear: it may require TLS.
    fn forget_without_tls(&self, target: &Target) {
        self.without_tls.borrow_mut().forget(target.address);
    }

    /// The credentials for a server that requires a login.
    async fn credentials(&self, next_hop: &NextHop, rng: &mut StdRng) -> Result<Option<Credentials>, Report> {
        let Some(login) = self.login(next_hop) else { return Ok(None) };
        match login.password.read(&*self.work).await {
            Ok(password) => Ok(Some(Credentials { user: login.user.clone(), password, nonce: rng.random() })),
            Err(why) => {
                self.is_in_trouble(Some(format!("no mail leaves by the smarthost: {why}")));
                // Where the file is does not concern the senders.
                let text = "this server has no password for the smarthost";
                Err(Report::deferred(Status::new(4, 7, 0), text, Scope::Host))
            }
        }
    }

    /// Records the result of a login at the smarthost `target`, so that the administrator learns of a failure.
    fn judge_login(&self, target: &Target, report: &Report) {
        let is_of_login =
            report.scope == Scope::Host && report.status.subject == SECURITY && !report.is_reply;
        if is_of_login {
            let (name, why) = (&target.name, &report.text);
            self.is_in_trouble(Some(format!("no mail leaves by the smarthost {name}: {why}")));
        } else if !matches!(report.scope, Scope::Host | Scope::Tls) {
            self.is_in_trouble(None);
        }
    }

    fn is_in_trouble(&self, trouble: Option<String>) {
        let before = self.trouble.replace(trouble.clone());
        match trouble {
            Some(trouble) if before.as_ref() != Some(&trouble) => warn!("{trouble}"),
            None if before.is_some() => info!("mail leaves by the smarthost again"),
            _ => {}
        }
    }

    pub(super) fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.borrow_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_with_an_empty_line_wherever_parts_are_cut() {
        let message = b"A: b\r\nC: d\r\n\r\nbody \xfc\r\n";
        for cut in 0..message.len() {
            let mut header = HeaderEnd::default();
            let taken = header.take(&message[..cut]) + header.take(&message[cut..]);
            assert!((12..=13).contains(&taken), "{cut}: {taken}");
        }
        assert_eq!(HeaderEnd::default().take(b"\r\nbody"), 1);
        assert_eq!(HeaderEnd::default().take(b"A: b"), 4);
    }
}
