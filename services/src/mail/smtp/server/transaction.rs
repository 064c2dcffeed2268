//! A message: its sender, its recipients, and its octets.

use std::time::Duration;

use gatepost_ground::Instant;

use super::{Action, Answer, Ask, OpenQuestion, Output, Phase, Recipient, Sender, Session};
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::sasl::Verdict;
use crate::mail::smtp::content::Content;
use crate::mail::smtp::dots::{DotReader, End};
use crate::mail::smtp::limits::{CHUNK_OCTETS, DATA_OCTETS_A_SECOND, DATA_PROGRESS_OCTETS, DATA_TIMEOUT};
use crate::mail::smtp::parameters::{MailParameters, RcptParameters};
use crate::mail::smtp::policy::{Policy, Role, Tls};
use crate::mail::smtp::reply::{
    BAD_LINE_ENDS, BDAT_BEGUN, ENDLESS, LOGIN_FIRST, NO_RECIPIENT, NO_RECIPIENT_LMTP, NO_SENDER,
    NOT_IMPLEMENTED, READY_FOR_DATA, RECIPIENT_OK, Rejection, Reply, SENDER_OK, TLS_FIRST, TOO_BIG,
    TOO_MANY_RECIPIENTS, TRANSACTION_OPEN,
};
use crate::mail::transfer::lines::ToCrlf;

/// From MAIL to the reply to the message.
#[derive(Debug)]
pub(super) struct Transaction {
    smtputf8: bool,
    recipients: usize,
    first_recipient: Option<ForwardPath>,
    body: Option<Body>,
    /// Whether the caller still has the transaction.
    is_held: bool,
}

impl Transaction {
    pub fn smtputf8(&self) -> bool {
        self.smtputf8
    }

    pub fn only_recipient(&self) -> Option<&ForwardPath> {
        self.first_recipient.as_ref().filter(|_| self.recipients == 1)
    }
}

/// The octets of a message being received.
#[derive(Debug)]
struct Body {
    content: Content,
    /// Makes LF CRLF, if that is done.
    line_ends: Option<ToCrlf>,
    /// Octets that were not passed on yet.
    chunk: Vec<u8>,
    /// The reason for its rejection; then its octets are discarded.
    failure: Option<Reply>,
    passed_over: u64,
    /// Until when more must have come, so that it does not take for ever.
    until: Instant,
    /// Octets that have not moved that yet.
    uncounted: usize,
}

impl Body {
    fn new(now: Instant, policy: &Policy) -> Self {
        Self {
            content: Content::new(policy.limits.message_octets_max),
            line_ends: policy.mends_line_ends().then(ToCrlf::default),
            chunk: Vec::new(),
            failure: None,
            passed_over: 0,
            until: now + DATA_TIMEOUT,
            uncounted: 0,
        }
    }

    /// So many octets have come, and the client has more time for the next.
    fn progresses(&mut self, now: Instant, octets: usize) {
        self.uncounted += octets;
        let seconds = (self.uncounted / DATA_OCTETS_A_SECOND) as u64;
        self.uncounted %= DATA_OCTETS_A_SECOND;
        self.until = (self.until + Duration::from_secs(seconds)).min(now + DATA_TIMEOUT);
    }

    /// The octets of the stream until a chunk is full.
    fn room(&self) -> usize {
        let room = CHUNK_OCTETS - self.chunk.len();
        match self.line_ends {
            _ if self.failure.is_some() => usize::MAX,
            // Each may become two, and a dot may have been held back.
            Some(_) => room.saturating_sub(1) / 2,
            None => room,
        }
    }

    fn is_chunk_full(&self) -> bool {
        self.room() == 0
    }

    fn take(&mut self, octets: &[u8]) {
        if self.failure.is_some() {
            self.passed_over += octets.len() as u64;
            return;
        }
        let from = self.chunk.len();
        match &mut self.line_ends {
            Some(line_ends) => line_ends.push(octets, &mut self.chunk),
            None => self.chunk.extend_from_slice(octets),
        }
        if let Err(fault) = self.content.push(&self.chunk[from..]) {
            self.fail(fault.into());
        }
    }

    fn fail(&mut self, failure: Reply) {
        self.failure = Some(failure);
        self.chunk = Vec::new();
    }
}

impl Session {
    pub(super) fn abort(&mut self, now: Instant) {
        if self.transaction.take().is_some_and(|transaction| transaction.is_held) {
            self.push(now, Output::Action(Action::Abort));
        }
    }

    pub(super) fn mail(&mut self, now: Instant, path: ReversePath, parameters: MailParameters) {
        let needs_login = self.policy.role == Role::Submission && self.user.is_none();
        let refusal = if self.client.is_none() {
            Some(self.hello_first())
        } else if self.transaction.is_some() {
            Some(TRANSACTION_OPEN)
        } else if needs_login && self.policy.tls == Tls::Available && !self.policy.login_is_open() {
            Some(TLS_FIRST)
        } else if needs_login {
            Some(LOGIN_FIRST)
        } else if parameters.size.is_some_and(|size| size > self.policy.limits.message_octets_max) {
            Some(TOO_BIG)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.reply(now, &refusal);
        }
        let transaction = Transaction {
            smtputf8: parameters.smtputf8,
            recipients: 0,
            first_recipient: None,
            body: None,
            is_held: true,
        };
        let sender = Sender { path, parameters, user: self.user.clone() };
        self.ask(now, Ask::Begin(sender), OpenQuestion::Begin(transaction));
    }

    pub(super) fn rcpt(&mut self, now: Instant, path: ForwardPath, parameters: RcptParameters) {
        let Some(transaction) = &self.transaction else { return self.reply(now, &NO_SENDER) };
        if transaction.body.is_some() {
            return self.reply(now, &BDAT_BEGUN);
        }
        if transaction.recipients >= self.policy.limits.recipients_max {
            return self.reply(now, &TOO_MANY_RECIPIENTS);
        }
        let recipient = Recipient { path: path.clone(), parameters, may_relay: self.may_relay() };
        self.ask(now, Ask::Route(recipient), OpenQuestion::Route(path));
    }

    /// Why no message can come now.
    fn message_refusal(&self) -> Option<Reply> {
        match &self.transaction {
            None => Some(NO_SENDER),
            Some(Transaction { recipients: 0, .. }) if self.policy.role == Role::Lmtp => {
                Some(NO_RECIPIENT_LMTP)
            }
            Some(Transaction { recipients: 0, .. }) => Some(NO_RECIPIENT),
            Some(_) => None,
        }
    }

    pub(super) fn data(&mut self, now: Instant) {
        if let Some(refusal) = self.message_refusal() {
            return self.refuse_data(now, &refusal);
        }
        let body = self.transaction.as_mut().map(|transaction| &mut transaction.body);
        match body {
            Some(body @ None) => *body = Some(Body::new(now, &self.policy)),
            _ => return self.refuse_data(now, &BDAT_BEGUN),
        }
        self.phase = Phase::Data(DotReader::default());
        self.reply(now, &READY_FOR_DATA);
        self.waits_until = now + DATA_TIMEOUT;
    }

    /// Rejects DATA. A program that does not wait for the reply sends a message now, and a part of a web form's text
    /// could pass for commands. If these could relay mail, all later octets are discarded.
    fn refuse_data(&mut self, now: Instant, refusal: &Reply) {
        self.reply(now, refusal);
        if self.may_relay() {
            self.close(now);
        }
    }

    /// Whether the client may send to other domains.
    fn may_relay(&self) -> bool {
        self.policy.may_relay || self.user.is_some()
    }

    pub(super) fn bdat(&mut self, now: Instant, size: u64, is_last: bool) {
        if self.policy.role == Role::Lmtp {
            return self.refuse_bdat(now, size, NOT_IMPLEMENTED);
        }
        let refusal = self.message_refusal();
        if let Some(transaction) = &mut self.transaction {
            transaction.body.get_or_insert_with(|| Body::new(now, &self.policy));
        }
        self.begin_chunk(now, size, is_last, refusal);
    }

    pub(super) fn refuse_bdat(&mut self, now: Instant, size: u64, refusal: Reply) {
        self.begin_chunk(now, size, false, Some(refusal));
    }

    fn begin_chunk(&mut self, now: Instant, size: u64, is_last: bool, refusal: Option<Reply>) {
        if refusal.is_some() {
            // Its octets are lost, so earlier and later ones are no whole message.
            self.abort(now);
        }
        if refusal.is_some() && size > self.policy.limits.refused_octets_max {
            return self.end(now, &ENDLESS);
        }
        self.phase = Phase::Chunk { remaining: size, is_last, refusal };
        self.waits_until = now + DATA_TIMEOUT;
        self.finish_chunk(now);
    }

    pub(super) fn receive_data(&mut self, now: Instant, octets: &[u8]) -> usize {
        let (Phase::Data(reader), Some(body)) = (&mut self.phase, body_of(&mut self.transaction)) else {
            return 0;
        };
        let had_failed = body.failure.is_some();
        let portion = &octets[..octets.len().min(body.room())];
        let (taken, end) = reader.read(portion, &mut |octets| body.take(octets));
        if end == Some(End::Doubtful) && body.failure.is_none() && body.line_ends.is_none() {
            body.fail(BAD_LINE_ENDS);
        }
        self.after_octets(now, taken, had_failed);
        // Client and relays may disagree on whether commands follow a doubtful end.
        self.ends_behind_message = end == Some(End::Doubtful);
        if end.is_some() && !matches!(self.phase, Phase::Closed) {
            self.finish_message(now);
        }
        taken
    }

    pub(super) fn receive_chunk(&mut self, now: Instant, octets: &[u8]) -> usize {
        let Phase::Chunk { remaining, refusal, .. } = &mut self.phase else { return 0 };
        let mut taken = octets.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
        let mut had_failed = true;
        if let (None, Some(body)) = (refusal, body_of(&mut self.transaction)) {
            had_failed = body.failure.is_some();
            taken = taken.min(body.room());
            body.take(&octets[..taken]);
        }
        *remaining -= taken as u64;
        self.after_octets(now, taken, had_failed);
        if self.asked.is_none() {
            self.finish_chunk(now);
        }
        taken
    }

    /// Handles octets of a message: moves the deadline, passes a full chunk on, aborts a failed message.
    fn after_octets(&mut self, now: Instant, taken: usize, had_failed: bool) {
        self.progress += taken;
        if self.progress >= DATA_PROGRESS_OCTETS {
            self.progress = 0;
            self.waits_until = now + DATA_TIMEOUT;
        }
        let Some(transaction) = &mut self.transaction else { return };
        let Some(body) = &mut transaction.body else { return };
        body.progresses(now, taken);
        if body.passed_over > self.policy.limits.refused_octets_max {
            self.end(now, &ENDLESS);
        } else if body.failure.is_some() && !had_failed {
            transaction.is_held = false;
            self.push(now, Output::Action(Action::Abort));
        } else if body.is_chunk_full() {
            let chunk = std::mem::take(&mut body.chunk);
            self.ask(now, Ask::Chunk(chunk), OpenQuestion::Chunk);
        }
    }

    /// The deadline for more octets of the current message.
    pub(super) fn message_until(&self) -> Option<Instant> {
        Some(self.transaction.as_ref()?.body.as_ref()?.until)
    }

    /// The client could bring nothing for so long.
    pub(super) fn prolong_message(&mut self, waited: Duration) {
        if let Some(body) = body_of(&mut self.transaction) {
            body.until = body.until + waited;
        }
    }

    /// Replies to a complete chunk.
    fn finish_chunk(&mut self, now: Instant) {
        let Phase::Chunk { remaining: 0, is_last, refusal } = &mut self.phase else { return };
        let (is_last, refusal) = (*is_last, refusal.take());
        if let Some(refusal) = refusal {
            self.phase = Phase::Command;
            return self.reply(now, &refusal);
        }
        if is_last {
            return self.finish_message(now);
        }
        self.phase = Phase::Command;
        let failure = body_of(&mut self.transaction).and_then(|body| body.failure.take());
        if let Some(failure) = failure {
            self.transaction = None;
            return self.reply(now, &failure);
        }
        let octets = body_of(&mut self.transaction).map_or(0, |body| body.content.octets());
        self.reply(now, &Reply::chunk_taken(octets));
    }

    /// Handles the end of a message.
    fn finish_message(&mut self, now: Instant) {
        self.phase = Phase::Command;
        let Some(transaction) = &mut self.transaction else { return };
        let Some(body) = &mut transaction.body else { return };
        if let Some(failure) = body.failure.take() {
            return self.conclude_with(now, &failure);
        }
        if let Err(fault) = body.content.finish() {
            self.push(now, Output::Action(Action::Abort));
            return self.conclude_with(now, &fault.into());
        }
        let chunk = std::mem::take(&mut body.chunk);
        if chunk.is_empty() {
            self.ask(now, Ask::Commit, OpenQuestion::Commit);
        } else {
            self.ask(now, Ask::Chunk(chunk), OpenQuestion::LastChunk);
        }
    }

    pub(super) fn take_answer(&mut self, now: Instant, answer: Answer) {
        let asked = self.asked.take();
        let later = || Err(Rejection::TryLater);
        match (asked, answer) {
            (Some(OpenQuestion::Begin(transaction)), answer) => match begin(answer) {
                Ok(()) => {
                    self.transaction = Some(transaction);
                    self.reply(now, &SENDER_OK);
                }
                Err(refusal) => self.reply(now, &Reply::from(&refusal)),
            },
            (Some(OpenQuestion::Route(path)), answer) => match route(answer) {
                Ok(()) => {
                    if let Some(transaction) = &mut self.transaction {
                        transaction.recipients += 1;
                        transaction.first_recipient.get_or_insert(path);
                    }
                    self.reply(now, &RECIPIENT_OK);
                }
                Err(refusal) => self.reply(now, &Reply::from(&refusal)),
            },
            (Some(OpenQuestion::Login), Answer::Authenticate(verdict)) => self.login_answered(now, verdict),
            (Some(OpenQuestion::Login), _) => self.login_answered(now, misplaced(Verdict::Unavailable)),
            (Some(OpenQuestion::Chunk), answer) => self.chunk_answered(now, chunk(answer)),
            (Some(OpenQuestion::LastChunk), answer) => match chunk(answer) {
                Ok(()) => self.ask(now, Ask::Commit, OpenQuestion::Commit),
                Err(refusal) => self.conclude_with(now, &Reply::from(&refusal)),
            },
            (Some(OpenQuestion::Commit), Answer::Commit(results)) => self.conclude(now, results),
            (Some(OpenQuestion::Commit), _) => self.conclude(now, misplaced(vec![later()])),
            (None, _) => misplaced(()),
        }
    }

    fn chunk_answered(&mut self, now: Instant, result: Result<(), Rejection>) {
        self.waits_until = now + DATA_TIMEOUT;
        if let (Err(refusal), Some(transaction)) = (result, &mut self.transaction) {
            transaction.is_held = false;
            if let Some(body) = &mut transaction.body {
                body.fail(Reply::from(&refusal));
            }
        }
        self.finish_chunk(now);
    }

    /// Rejects the whole message, with LMTP for each recipient. (RFC 2033, section 4.2)
    fn conclude_with(&mut self, now: Instant, failure: &Reply) {
        let recipients = self.transaction.take().map_or(0, |transaction| transaction.recipients);
        let times = if self.policy.role == Role::Lmtp { recipients } else { 1 };
        self.reply_times(now, failure, times);
        self.end_behind_message(now);
    }

    fn end_behind_message(&mut self, now: Instant) {
        if self.ends_behind_message {
            self.close(now);
        }
    }

    /// Replies with the message's outcome.
    fn conclude(&mut self, now: Instant, results: Vec<Result<String, Rejection>>) {
        let recipients = self.transaction.take().map_or(0, |transaction| transaction.recipients);
        let replies_len = if self.policy.role == Role::Lmtp { recipients } else { 1 };
        let is_taken = results.iter().any(Result::is_ok);
        let missing = std::iter::repeat_with(|| Err(Rejection::TryLater));
        let mut replies = results.into_iter().chain(missing).take(replies_len).map(|result| match result {
            Ok(id) => Reply::taken(&id),
            Err(refusal) => Reply::from(&refusal),
        });
        if is_taken {
            // An accepted message resets the client's counts.
            self.errors = super::ErrorCounts {
                login_failures: self.errors.login_failures,
                ..super::ErrorCounts::default()
            };
            self.say(now, replies.flat_map(|reply| reply.to_octets()).collect());
        } else if replies_len == 1 {
            let reply = replies.next().unwrap_or_else(|| Reply::from(&Rejection::TryLater));
            self.reply(now, &reply);
        } else {
            self.say(now, replies.flat_map(|reply| reply.to_octets()).collect());
        }
        self.end_behind_message(now);
    }
}

fn body_of(transaction: &mut Option<Transaction>) -> Option<&mut Body> {
    transaction.as_mut()?.body.as_mut()
}

/// The default for an answer to another question.
fn misplaced<T>(instead: T) -> T {
    debug_assert!(false, "the answer is to another question");
    instead
}

fn begin(answer: Answer) -> Result<(), Rejection> {
    if let Answer::Begin(result) = answer { result } else { misplaced(Err(Rejection::TryLater)) }
}

fn route(answer: Answer) -> Result<(), Rejection> {
    if let Answer::Route(result) = answer { result } else { misplaced(Err(Rejection::TryLater)) }
}

fn chunk(answer: Answer) -> Result<(), Rejection> {
    if let Answer::Chunk(result) = answer { result } else { misplaced(Err(Rejection::TryLater)) }
}
