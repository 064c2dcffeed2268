//! One transaction: its envelope, its data, and its outcome.

use gatepost_ground::Instant;

use super::{
    Client, Command, DotWriter, Envelope, MESSAGE_TIMEOUT, Outcome, Output, PIPELINED_MAX, Phase, Queued,
    Report, Scope, ServerReply, Status, in_ascii,
};

/// After at least so many accepted recipients, a 452 or 552 without an enhanced code is about their number and not
/// about a mailbox. RFC 5321, section 4.5.3.1.8, requires servers to accept 100.
const TOO_MANY_MIN: usize = 10;

/// A message for this server.
#[derive(Debug)]
pub(super) struct Transaction {
    envelope: Envelope,
    recipients: Vec<Recipient>,
    mail: Mail,
    /// The index of the next recipient to send.
    next: usize,
    is_data_sent: bool,
}

/// The state of a recipient.
#[derive(Debug)]
enum Recipient {
    /// The server has not replied yet.
    Open,
    /// The server has accepted it.
    Taken,
    /// It has this outcome.
    Decided(Report),
}

/// The state of MAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mail {
    Unsent,
    Sent,
    Taken,
    Refused,
}

impl Transaction {
    pub(super) fn new(envelope: Envelope) -> Self {
        let recipients = envelope.recipients.iter().map(|_| Recipient::Open).collect();
        Self { envelope, recipients, mail: Mail::Unsent, next: 0, is_data_sent: false }
    }

    /// Decides the recipients that are not yet.
    pub(super) fn decide_all(&mut self, report: &Report) {
        for recipient in &mut self.recipients {
            if !matches!(recipient, Recipient::Decided(_)) {
                *recipient = Recipient::Decided(report.clone());
            }
        }
    }

    /// Sets the outcome of the accepted recipients.
    fn decide_taken(&mut self, report: &Report) {
        for recipient in &mut self.recipients {
            if matches!(recipient, Recipient::Taken) {
                *recipient = Recipient::Decided(report.clone());
            }
        }
    }

    fn taken(&self) -> usize {
        self.recipients.iter().filter(|recipient| matches!(recipient, Recipient::Taken)).count()
    }

    fn has_taken(&self) -> bool {
        self.taken() > 0
    }

    pub(super) fn into_reports(self) -> Vec<Report> {
        let unknown = || Report::deferred(Status::new(4, 0, 0), "it was not tried", Scope::Host);
        let report = |recipient| match recipient {
            Recipient::Decided(report) => report,
            Recipient::Open | Recipient::Taken => unknown(),
        };
        self.recipients.into_iter().map(report).collect()
    }
}

impl Client {
    /// Begins the transaction, if the server supports what the message needs.
    pub(super) fn begin_transaction(&mut self) {
        self.phase = Phase::Envelope;
        self.refuse_what_cannot_be_sent();
        self.pump();
    }

    fn refuse_what_cannot_be_sent(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        let (envelope, extensions, is_helo) = (&transaction.envelope, &self.extensions, self.is_helo);
        // Another server of the domain may have the extension (RFC 6152, section 3; RFC 6531, section 3.2). The
        // extensions of a server that supports only HELO are unknown: a middlebox may block EHLO.
        let lacks = |subject, detail, text: &str| {
            let report = Report::failed(Status::new(5, subject, detail), text);
            match is_helo {
                true => Report::deferred(Status::new(4, subject, detail), text, Scope::Extension),
                false => Report { scope: Scope::Extension, ..report },
            }
        };
        let refusal = match extensions.size {
            // RFC 1870, section 6.1
            Some(max @ 1..) if envelope.size > max => {
                let text = format!("the message has {} octets, and the server takes {max}", envelope.size);
                Some(lacks(3, 4, &text))
            }
            // RFC 6152, section 3
            _ if envelope.is_8bit && !extensions.has_8bitmime => {
                let text = "the message has octets above 127, which the server does not take";
                Some(lacks(6, 3, text))
            }
            // RFC 6531, section 3.2
            _ if envelope.needs_smtputf8() && !extensions.has_smtputf8 => {
                let text = "the sender or the header is outside of ASCII, which the server does not take";
                Some(lacks(6, 9, text))
            }
            _ => None,
        };
        if let Some(report) = refusal {
            return transaction.decide_all(&report);
        }
        if !extensions.has_smtputf8 {
            for (at, recipient) in envelope.recipients.iter().enumerate() {
                if in_ascii(&recipient.address).is_none() {
                    let text = "the address is outside of ASCII, which the server does not take";
                    transaction.recipients[at] = Recipient::Decided(lacks(6, 7, text));
                }
            }
        }
    }

    /// Sends the commands that may be sent now; ends the transaction when no reply is pending.
    pub(super) fn pump(&mut self) {
        let in_flight_max = if self.extensions.has_pipelining { PIPELINED_MAX } else { 1 };
        while self.awaited.len() < in_flight_max {
            let Some((line, command)) = self.next_command() else { break };
            self.push_send(line.as_bytes(), Some(command));
        }
        if self.awaited.is_empty() {
            self.conclude(true);
        }
    }

    fn next_command(&mut self) -> Option<(String, Command)> {
        let transaction = self.transaction.as_mut()?;
        if transaction.mail == Mail::Refused || transaction.is_data_sent {
            return None;
        }
        let is_open = |recipient: &Recipient| matches!(recipient, Recipient::Open);
        let next = transaction.recipients.iter().skip(transaction.next).position(is_open);
        let next = next.map(|skipped| transaction.next + skipped);
        if transaction.mail == Mail::Unsent {
            next?;
            if std::mem::take(&mut self.needs_reset) {
                return Some(("RSET\r\n".to_owned(), Command::Reset));
            }
            transaction.mail = Mail::Sent;
            return Some((transaction.envelope.mail(&self.extensions), Command::Mail));
        }
        if let Some(at) = next {
            transaction.next = at + 1;
            return Some((transaction.envelope.rcpt(at, &self.extensions), Command::Rcpt(at)));
        }
        // RFC 2920, section 3.1: DATA may be the last of a group, all of whose replies are evaluated.
        let may_be_taken = self.awaited.iter().any(|command| matches!(command, Command::Rcpt(_)));
        if !may_be_taken && !transaction.has_taken() {
            return None;
        }
        transaction.is_data_sent = true;
        Some(("DATA\r\n".to_owned(), Command::Data))
    }

    pub(super) fn mail_answered(&mut self, reply: &ServerReply) {
        let Some(transaction) = &mut self.transaction else { return };
        if reply.is_positive() {
            transaction.mail = Mail::Taken;
        } else if reply.is_negative() {
            transaction.mail = Mail::Refused;
            transaction.decide_all(&mail_refused(reply));
        } else {
            return self.answered_wrongly(Command::Mail, reply);
        }
        self.pump();
    }

    pub(super) fn rcpt_answered(&mut self, reply: &ServerReply, at: usize) {
        let Some(transaction) = &mut self.transaction else { return };
        let taken = transaction.taken();
        if !reply.is_positive() && !reply.is_negative() {
            return self.answered_wrongly(Command::Rcpt(at), reply);
        }
        // Once MAIL is rejected, later replies are meaningless.
        if let Some(recipient @ Recipient::Open) = transaction.recipients.get_mut(at) {
            *recipient = if reply.is_positive() {
                Recipient::Taken
            } else {
                Recipient::Decided(recipient_refused(reply, taken))
            };
        }
        self.pump();
    }

    pub(super) fn data_answered(&mut self, now: Instant, reply: &ServerReply) {
        let Some(transaction) = &mut self.transaction else { return };
        if reply.code == 354 {
            if transaction.has_taken() {
                self.message_until = now + MESSAGE_TIMEOUT;
                self.phase = Phase::Data { writer: DotWriter::default(), is_fetching: false };
                self.outputs.push_back(Queued::Output(Output::Fetch));
            } else {
                // RFC 2920, section 3.1: an empty message, without recipients.
                self.push_send(b".\r\n", Some(Command::End { is_void: true }));
            }
        } else if reply.is_negative() {
            transaction.decide_taken(&Report::of_reply(reply, Scope::Envelope));
            self.conclude(true);
        } else {
            self.answered_wrongly(Command::Data, reply);
        }
    }

    pub(super) fn end_answered(&mut self, reply: &ServerReply, is_void: bool) {
        let Some(transaction) = &mut self.transaction else { return };
        if !is_void && !reply.is_positive() && !reply.is_negative() {
            return self.answered_wrongly(Command::End { is_void }, reply);
        }
        if !is_void {
            let is_dsn_passed_on = reply.is_positive() && self.extensions.has_dsn;
            let report = Report { is_dsn_passed_on, ..Report::of_reply(reply, Scope::Envelope) };
            transaction.decide_taken(&report);
        }
        self.conclude(false);
    }

    fn answered_wrongly(&mut self, command: Command, reply: &ServerReply) {
        // It counts as not answered.
        self.awaited.push_front(command);
        let text =
            format!("the server answered {} by what is no answer: {}", command.name(), reply.to_text());
        self.break_off(&text);
    }

    /// Reports the outcome of the message. `is_unfinished`: the server may still wait for its data.
    fn conclude(&mut self, is_unfinished: bool) {
        let Some(transaction) = self.transaction.take() else { return };
        self.needs_reset |= is_unfinished && transaction.mail == Mail::Taken;
        self.phase = Phase::Ready;
        self.outputs.push_back(Queued::Output(Output::Reports(transaction.into_reports())));
    }
}

/// The report of a rejected MAIL.
fn mail_refused(reply: &ServerReply) -> Report {
    let report = Report::of_reply(reply, Scope::Envelope);
    match reply.code {
        // RFC 3207, section 4; RFC 4954, section 6: TLS or a login is required, which is not the message's fault.
        530 | 534 | 538 => {
            let status = Status { class: 4, ..report.status };
            Report { outcome: Outcome::Deferred, status, scope: Scope::Host, ..report }
        }
        _ => report,
    }
}

/// The report of a rejected recipient; `taken` is the number of recipients accepted before.
fn recipient_refused(reply: &ServerReply, taken: usize) -> Report {
    let mut report = Report { is_of_recipient: true, ..Report::of_reply(reply, Scope::Envelope) };
    let is_about_number = match reply.status() {
        None => taken >= TOO_MANY_MIN,
        Some(status) => (status.subject, status.detail) == (5, 3) && taken > 0,
    };
    if matches!(reply.code, 452 | 552) && is_about_number {
        // RFC 5321, section 4.5.3.1.10: 552 of old servers means 452.
        report.outcome = Outcome::Deferred;
        report.status = Status::new(4, 5, 3);
        report.is_one_too_many = true;
    }
    report
}
