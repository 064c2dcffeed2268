//! One message: its envelope, its data, and what became of it.

use super::{
    Client, Command, DotWriter, Envelope, Outcome, Output, PIPELINED_MAX, Phase, Queued, Report, Scope,
    ServerReply, Status,
};

/// A message for this server.
#[derive(Debug)]
pub(super) struct Transaction {
    envelope: Envelope,
    recipients: Vec<Recipient>,
    mail: Mail,
    /// The index of the recipient whom the client names next.
    next: usize,
    is_data_sent: bool,
}

/// How a recipient stands.
#[derive(Debug)]
enum Recipient {
    /// The server has not said.
    Open,
    /// The server takes it.
    Taken,
    /// This is what became of it.
    Decided(Report),
}

/// How MAIL stands.
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

    /// Decides the recipients that the server took.
    fn decide_taken(&mut self, report: &Report) {
        for recipient in &mut self.recipients {
            if matches!(recipient, Recipient::Taken) {
                *recipient = Recipient::Decided(report.clone());
            }
        }
    }

    fn has_taken(&self) -> bool {
        self.recipients.iter().any(|recipient| matches!(recipient, Recipient::Taken))
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
    /// Begins with the message, if the server can take such a one.
    pub(super) fn begin_transaction(&mut self) {
        self.phase = Phase::Envelope;
        self.refuse_what_cannot_be_sent();
        self.pump();
    }

    fn refuse_what_cannot_be_sent(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        let (envelope, extensions) = (&transaction.envelope, &self.extensions);
        let refusal = match extensions.size {
            // RFC 1870, section 6.1
            Some(max @ 1..) if envelope.size > max => {
                let text = format!("the message has {} octets, and the server takes {max}", envelope.size);
                Some(Report::failed(Status::new(5, 3, 4), text))
            }
            // RFC 6152, section 3
            _ if envelope.is_8bit && !extensions.has_8bitmime => {
                let text = "the message has octets above 127, which the server does not take";
                Some(Report::failed(Status::new(5, 6, 3), text))
            }
            // RFC 6531, section 3.2
            _ if envelope.needs_smtputf8() && !extensions.has_smtputf8 => {
                let text = "the sender or the header is outside of ASCII, which the server does not take";
                Some(Report::failed(Status::new(5, 6, 9), text))
            }
            _ => None,
        };
        if let Some(report) = refusal {
            return transaction.decide_all(&report);
        }
        if !extensions.has_smtputf8 {
            for (at, recipient) in envelope.recipients.iter().enumerate() {
                if !recipient.address.is_ascii() {
                    let text = "the address is outside of ASCII, which the server does not take";
                    let report = Report::failed(Status::new(5, 6, 7), text);
                    transaction.recipients[at] = Recipient::Decided(report);
                }
            }
        }
    }

    /// Sends the commands whose time has come; ends the transaction when there is nothing to wait for.
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
        // RFC 2920, section 3.1: DATA may be the last of a group, whose replies are all looked at.
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
            transaction.decide_all(&Report::of_reply(reply, Scope::Envelope));
        } else {
            return self.answered_wrongly(Command::Mail, reply);
        }
        self.pump();
    }

    pub(super) fn rcpt_answered(&mut self, reply: &ServerReply, at: usize) {
        let Some(transaction) = &mut self.transaction else { return };
        let has_taken = transaction.has_taken();
        if !reply.is_positive() && !reply.is_negative() {
            return self.answered_wrongly(Command::Rcpt(at), reply);
        }
        // Once MAIL is refused, nothing that follows means anything.
        if let Some(recipient @ Recipient::Open) = transaction.recipients.get_mut(at) {
            *recipient = if reply.is_positive() {
                Recipient::Taken
            } else {
                Recipient::Decided(recipient_refused(reply, has_taken))
            };
        }
        self.pump();
    }

    pub(super) fn data_answered(&mut self, reply: &ServerReply) {
        let Some(transaction) = &mut self.transaction else { return };
        if reply.code == 354 {
            if transaction.has_taken() {
                self.phase = Phase::Data { writer: DotWriter::default(), is_fetching: false };
                self.outputs.push_back(Queued::Output(Output::Fetch));
            } else {
                // RFC 2920, section 3.1: an empty message, which goes to nobody.
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

    /// Tells what became of the message. `is_unfinished`: the server may still wait for its data.
    fn conclude(&mut self, is_unfinished: bool) {
        let Some(transaction) = self.transaction.take() else { return };
        self.needs_reset |= is_unfinished && transaction.mail == Mail::Taken;
        self.phase = Phase::Ready;
        self.outputs.push_back(Queued::Output(Output::Reports(transaction.into_reports())));
    }
}

/// What a refusal of a recipient means; `has_taken`: the server took some before.
fn recipient_refused(reply: &ServerReply, has_taken: bool) -> Report {
    let mut report = Report::of_reply(reply, Scope::Envelope);
    let is_about_number = match reply.status() {
        None => true,
        Some(status) => (status.subject, status.detail) == (5, 3),
    };
    if matches!(reply.code, 452 | 552) && is_about_number {
        // RFC 5321, section 4.5.3.1.10: 552 of old servers means 452.
        report.outcome = Outcome::Deferred;
        report.status = Status::new(4, 5, 3);
        report.is_one_too_many = has_taken;
    }
    report
}
