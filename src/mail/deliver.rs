//! `gatepost mail deliver`.
//!
//! The message is read whole before the gateway is asked, so that a slow program holds no session. Then the project's
//! own SMTP client sends it over the control socket.
//!
//! Programs call it in place of sendmail, so it exits with the codes of sysexits(3) that these expect: 75 has them come
//! again later, all others do not.

use std::io::{self, Read};
use std::rc::Rc;

use gatepost_services::clock::Clock;
use gatepost_services::mail::address::{Mailbox, ReversePath};
use gatepost_services::mail::queue::connection::{Environment, NoTls, send};
use gatepost_services::mail::smtp::client::{
    Client, Encryption, Envelope, EnvelopeRecipient, Outcome, Report, Settings,
};
use gatepost_services::mail::transfer::lines::ToCrlf;
use gatepost_services::watch;
use gatepost_services::work::AtOnce;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::runtime;

use super::{Options, asked, mailbox, print, print_json};
use crate::config::Config;
use crate::control;
use crate::control::table::{self, on_one_line};
use crate::error::Error;
use crate::error::sysexits::{EX_CONFIG, EX_DATAERR, EX_IOERR, EX_NOUSER, EX_TEMPFAIL, EX_USAGE};
use crate::port::clock::SystemClock;

/// What `--json` prints. The keys are stable, more may be added.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Delivered {
    recipients: Vec<Told>,
}

/// The reply to one recipient.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Told {
    recipient: String,
    taken: bool,
    /// Whether a rejection is temporary.
    temporary: bool,
    reply: String,
}

/// Submits the message on standard input. It returns `Ok` if all recipients are accepted.
pub(super) fn run(options: &Options, from: Option<&str>, recipients: &[String]) -> Result<bool, Error> {
    let config = options.load().map_err(|error| error.with_code(EX_CONFIG))?;
    let sender = sender(&config, from)?;
    let recipients = recipients.iter().map(|text| mailbox(&config, text));
    let recipients = recipients.collect::<Result<Vec<_>, _>>().map_err(|error| error.with_code(EX_NOUSER))?;
    let message = read(&mut io::stdin().lock(), config.services.mail.message_octets_max)?;
    let reports = exchange(&config, envelope(sender, &recipients, &message), message)?;
    let delivered = Delivered {
        recipients: recipients
            .iter()
            .zip(&reports)
            .map(|(recipient, report)| told(recipient, report))
            .collect(),
    };
    if options.json {
        print_json(&delivered)?;
    } else if let Some(told) = delivered.recipients.iter().find(|told| told.taken) {
        // It has the name by which the message can be traced, and is the same for all.
        print(&told.reply);
    }
    refused(&reports, &delivered).map_or(Ok(true), Err)
}

/// The return path.
fn sender(config: &Config, from: Option<&str>) -> Result<ReversePath, Error> {
    match from {
        Some("" | "<>") => Ok(ReversePath::Null),
        from => {
            let sender = mailbox(config, from.unwrap_or("postmaster")).map(ReversePath::Mailbox);
            sender.map_err(|error| error.with_code(EX_USAGE))
        }
    }
}

/// Reads the message, and converts its line ends to CRLF. One of more than `octets_max` octets is rejected, and so is
/// one with a bare CR, as by the SMTP server: programs differ in its meaning.
fn read(input: &mut impl Read, octets_max: u64) -> Result<Vec<u8>, Error> {
    let mut octets = Vec::new();
    let unreadable = |error: io::Error| {
        Error::failed("cannot read the message", error, "look at where stdin comes from").with_code(EX_IOERR)
    };
    input.take(octets_max.saturating_add(1)).read_to_end(&mut octets).map_err(unreadable)?;
    let mut message = Vec::with_capacity(octets.len());
    ToCrlf::default().push(&octets, &mut message);
    let refused = |why: &str, remedy: &str| {
        Error::failed("the message is not submitted", why, remedy).with_code(EX_DATAERR)
    };
    // A length in memory fits.
    if message.len() as u64 > octets_max {
        let why = format!("it has more than {}, with CRLF at the ends of lines", table::octets(octets_max));
        return Err(refused(&why, "send less, or set another mail.max_message"));
    }
    let mut crs = message.iter().enumerate().filter(|(_, octet)| **octet == b'\r');
    if crs.any(|(at, _)| message.get(at + 1) != Some(&b'\n')) {
        return Err(refused("it has a CR that is no line's end", "end lines with LF or CRLF"));
    }
    Ok(message)
}

fn envelope(sender: ReversePath, recipients: &[Mailbox], message: &[u8]) -> Envelope {
    let recipient =
        |address: &Mailbox| EnvelopeRecipient { address: address.clone(), parameters: Default::default() };
    Envelope {
        sender,
        // A length in memory fits.
        size: message.len() as u64,
        is_8bit: !message.is_ascii(),
        // As with programs on the LAN, the value is not relied on.
        has_utf8_header: false,
        ret: None,
        envid: None,
        recipients: recipients.iter().map(recipient).collect(),
    }
}

/// The reply to each recipient.
fn exchange(config: &Config, envelope: Envelope, message: Vec<u8>) -> Result<Vec<Report>, Error> {
    let broken = |error: io::Error| {
        Error::failed("the message is not submitted", error, "try again").with_code(EX_TEMPFAIL)
    };
    let stream = asked(config, control::deliver)?;
    stream.set_nonblocking(true).map_err(broken)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    runtime.block_on(async {
        let stream = Box::new(UnixStream::from_std(stream).map_err(broken)?);
        let clock = Rc::new(SystemClock::new());
        let settings = Settings {
            hostname: "localhost".to_owned(),
            encryption: Encryption::Never,
            login: None,
            is_verified: false,
        };
        let client = Client::new(clock.now(), settings, envelope);
        let environment = Environment { clock, work: Rc::new(AtOnce), tls: Rc::new(NoTls) };
        let never = watch::Sender::new(false);
        let (reports, quit) = send(&environment, never.subscribe(), stream, client, &message, None).await;
        quit.send().await;
        Ok(reports)
    })
}

fn told(recipient: &Mailbox, report: &Report) -> Told {
    Told {
        recipient: recipient.to_string(),
        taken: report.outcome == Outcome::Delivered,
        temporary: report.outcome == Outcome::Deferred,
        reply: on_one_line(&report.text),
    }
}

/// That not all recipients have the message, if that is so: a sentence for each of those.
fn refused(reports: &[Report], delivered: &Delivered) -> Option<Error> {
    let refused = delivered.recipients.iter().filter(|told| !told.taken);
    let sentences: Vec<_> = refused
        .map(|Told { recipient, temporary, reply, .. }| {
            let remedy = match temporary {
                true => "hand it in again later, for this recipient alone",
                false => "mend that, and hand it in again for this recipient alone",
            };
            format!("{recipient} does not have the message: {reply}; {remedy}")
        })
        .collect();
    let is_any = |outcome| reports.iter().any(|report| report.outcome == outcome);
    let is_refused = |report: &Report| report.outcome == Outcome::Failed && report.is_of_recipient;
    let code = match () {
        () if is_any(Outcome::Deferred) => EX_TEMPFAIL,
        () if reports.iter().any(is_refused) => EX_NOUSER,
        () => EX_DATAERR,
    };
    (!sentences.is_empty()).then(|| Error::mistakes(sentences).with_code(code).reported())
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use gatepost_services::mail::smtp::client::{Scope, Status};

    use super::*;

    fn report(outcome: Outcome, is_of_recipient: bool) -> Report {
        let class = match outcome {
            Outcome::Delivered => 2,
            Outcome::Deferred => 4,
            Outcome::Failed => 5,
        };
        Report {
            outcome,
            status: Status::new(class, 1, 1),
            text: format!("{class}50 {class}.1.1 said"),
            is_reply: true,
            scope: Scope::Envelope,
            is_one_too_many: false,
            is_of_recipient,
            may_be_delivered: false,
            is_dsn_passed_on: false,
        }
    }

    #[test]
    fn the_exit_code_and_a_sentence_say_what_was_not_taken() {
        let taken = report(Outcome::Delivered, false);
        let unknown = report(Outcome::Failed, true);
        let spam = report(Outcome::Failed, false);
        let later = report(Outcome::Deferred, true);
        let outcome = |reports: &[&Report]| {
            let reports: Vec<_> = reports.iter().copied().cloned().collect();
            let anna = Mailbox::parse("anna@office.example").expect("an address");
            let delivered =
                Delivered { recipients: reports.iter().map(|report| told(&anna, report)).collect() };
            refused(&reports, &delivered)
        };
        assert_eq!(outcome(&[&taken, &taken]), None);
        for (reports, code, sentences) in [
            (&[&taken, &unknown][..], EX_NOUSER, 1),
            (&[&spam, &spam], EX_DATAERR, 2),
            (&[&spam, &unknown], EX_NOUSER, 2),
            (&[&unknown, &later, &taken], EX_TEMPFAIL, 2),
        ] {
            let error = outcome(reports).expect("not all are taken");
            assert_eq!((error.exit_code(), error.messages().len()), (ExitCode::from(code), sentences));
        }
        let error = outcome(&[&unknown]).expect("it is not taken").to_string();
        let expected = "anna@office.example does not have the message: 550 5.1.1 said; mend that, and hand it in \
                        again for this recipient alone";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_message_has_lines_of_smtp_and_a_bounded_length() {
        assert_eq!(read(&mut &b"a: b\n\n.\r\nc"[..], 12), Ok(b"a: b\r\n\r\n.\r\nc".to_vec()));
        let long = read(&mut &b"a: b\n\n.\r\nc"[..], 11).expect_err("with CRLF it is longer");
        assert_eq!(long.exit_code(), ExitCode::from(EX_DATAERR));
        let endless = read(&mut io::repeat(b'x'), 1000).expect_err("it is bounded");
        assert!(endless.to_string().contains("more than 1000 B"), "{endless}");
        for bare in ["a: b\n\nc\rd\n", "a: b\r\r\n", "a: b\n\r"] {
            let refused = read(&mut bare.as_bytes(), 1000).expect_err("that is no end of a line");
            assert_eq!(refused.exit_code(), ExitCode::from(EX_DATAERR), "{bare:?}");
            assert!(refused.to_string().contains("a CR that is no line's end"), "{refused}");
        }
    }

    #[test]
    fn who_does_not_say_from_whom_is_the_postmaster() {
        let config = Config::parse("t.toml", "users = [{ name = 'anna' }]").expect("a configuration");
        let path = |from| sender(&config, from).map(|path| path.to_string());
        assert_eq!(path(None), Ok("<postmaster@office.example>".to_owned()));
        assert_eq!(path(Some("anna")), Ok("<anna@office.example>".to_owned()));
        assert_eq!(path(Some("<>")), Ok("<>".to_owned()));
        let wrong = path(Some("a b")).expect_err("that is no address");
        assert_eq!(wrong.exit_code(), ExitCode::from(EX_USAGE));
    }
}
