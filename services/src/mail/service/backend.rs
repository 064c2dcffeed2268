//! The backend of a [`Session`].
//!
//! A session's message is an [`Incoming`] of the store from the answer to `Begin` on. Fields are prepended: `Received`,
//! which all of its recipients share, and missing ones. Each mailbox has header lines of its own (`Return-Path`,
//! `Delivered-To`, `X-Original-To`), and for a message from outside the results of its checks
//! (`Authentication-Results`), which are known only at its end.
//!
//! A recipient is accepted if the mailbox has room for the announced size; an alias, if those of all of its members
//! have: the sender retries for all of them, or gets a notice. Of the owners one is enough. Room is reserved for
//! received octets, and not for announced ones: a client that sends `SIZE=` for many mailboxes and no message does not
//! block other mail. So a mailbox can become full in the middle of a message. With LMTP its recipient is rejected and
//! the others get the message (RFC 2033, section 4.2); SMTP has one reply for all, and all are rejected.

use std::collections::BTreeSet;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;

use rand::Rng;
use tracing::{debug, info, warn};

use super::aliases::Receivers;
use super::authentication::{self, Authentication};
use super::away::Prepared;
use super::completion::{Completion, Fields};
use super::directory::{Directory, Place};
use super::head::Head;
use super::judging::{Judged, consult};
use super::remote::Delivered;
use super::shared::Shared;
use super::sorting::{Asked, Sorted};
use super::state::Opened;
use super::verdict::{self, Action, FIELDS_OCTETS_MAX, field_octets_max};
use crate::mail::MailEvent;
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::events::RECIPIENTS_SHOWN_MAX;
use crate::mail::judge::About;
use crate::mail::sasl::{Request, Verdict};
use crate::mail::smtp::server::{Answer, Ask, Recipient, Sender, Session};
use crate::mail::smtp::{Rejection, Role, date};
use crate::mail::srs;
use crate::mail::store::{
    Accept, Change, Delivery, Incoming, JUNK, MailboxId, Origin, RECIPIENTS_MAX, Remote, StoreError,
};
use crate::mail::trace::{self, Handed};
use crate::mail::{bounce, queue};
use crate::users::limit::source_of;

/// The room that a mailbox has to have for a message of unknown length.
pub const ROOM_OCTETS_MIN: u64 = 64 << 10;

/// The most octets of further addresses on the paths of one message, for traces and notices.
const ALSO_OCTETS_MAX: usize = 64 << 10;

/// Answers one session.
pub(super) struct Backend {
    shared: Rc<Shared>,
    peer: IpAddr,
    is_lan: bool,
    open: Option<Transaction>,
}

/// A message being received.
struct Transaction {
    id: String,
    sender: Sender,
    opened: Rc<Opened>,
    incoming: Incoming,
    /// The octets so far, or before the first one the announced size.
    octets: u64,
    deliveries: Vec<Delivery>,
    remotes: Vec<Remote>,
    /// The receivers of each accepted recipient.
    recipients: Vec<Taken>,
    /// The addresses of those.
    addresses: Vec<ForwardPath>,
    /// Whether the prepended fields are in the store.
    has_begun: bool,
    completion: Option<Completion>,
    /// The sender's DSN options for each mailbox: if several recipients lead to one, those of the first that requests a
    /// notice.
    wishes: Asked,
    /// The octets of further addresses so far, of which [`ALSO_OCTETS_MAX`] are stored.
    also_octets: usize,
    /// The recipients with a requested notice of local delivery, each with its index in `recipients`.
    asked: Vec<(usize, Recipient)>,
    /// Its header, as received, without removed fields.
    head: Head,
    /// The local addresses that forward it to remote ones.
    forwarders: Vec<Mailbox>,
    /// The client, if it is outside: then the message is authenticated.
    checked: Option<IpAddr>,
    authentication: Option<Authentication>,
}

/// The receivers of one recipient.
#[derive(Debug, Default)]
struct Taken {
    mailboxes: Vec<MailboxId>,
    /// The indexes in `remotes`.
    outside: Vec<usize>,
    /// Whether one of the mailboxes that has it is enough.
    is_of_owners: bool,
}

impl Backend {
    pub fn new(shared: Rc<Shared>, peer: IpAddr, is_lan: bool) -> Self {
        Self { shared, peer, is_lan, open: None }
    }

    /// The answer to `ask` of `session`.
    pub async fn answer(&mut self, session: &Session, ask: Ask) -> Answer {
        match ask {
            Ask::Begin(sender) => {
                let path = self.shared.state.events().is_watched().then(|| sender.path.clone());
                let begun = self.begin(sender).await;
                if let (Some(path), Err(refusal)) = (path, &begun) {
                    self.note(|peer| MailEvent { from: Some(bare(&path)), ..refused(peer, refusal) });
                }
                Answer::Begin(begun)
            }
            Ask::Route(recipient) => {
                let routed = self.route(&recipient).await;
                if let Err(refusal) = &routed {
                    self.note_refusal(refusal, || vec![bare_recipient(&recipient.path)]);
                }
                Answer::Route(routed)
            }
            Ask::Authenticate(request) => Answer::Authenticate(self.authenticate(request).await),
            Ask::Chunk(octets) => Answer::Chunk(self.chunk(session, &octets).await),
            Ask::Commit => Answer::Commit(self.commit(session).await),
        }
    }

    /// Whether a message is being received.
    pub fn has_message(&self) -> bool {
        self.open.is_some()
    }

    /// Notes the event that `event` makes of the client's address, if somebody watches.
    fn note(&self, event: impl FnOnce(String) -> MailEvent) {
        let shared = &self.shared;
        shared.state.events().note(shared.clock.now(), || event(self.peer.to_string()));
    }

    /// The current message, as an event names it; `None` if nobody watches.
    fn about_message(&self) -> Option<MailEvent> {
        let open = self.open.as_ref().filter(|_| self.shared.state.events().is_watched())?;
        Some(MailEvent {
            id: Some(open.id.clone()),
            peer: Some(self.peer.to_string()),
            from: Some(bare(&open.sender.path)),
            to: self.recipients(),
            ..MailEvent::default()
        })
    }

    /// Notes that the message `about` is accepted, and is in these mailboxes.
    fn note_kept(&self, about: MailEvent, mailboxes: Vec<String>, is_junk: bool) {
        let delivered = (!mailboxes.is_empty()).then(|| MailEvent {
            event: "delivered".to_owned(),
            to: mailboxes,
            reason: is_junk.then(|| "it is held to be junk".to_owned()),
            ..about.clone()
        });
        self.note(|_| MailEvent { event: "accepted".to_owned(), ..about });
        if let Some(delivered) = delivered {
            self.note(|_| delivered);
        }
    }

    /// Notes that the current message is refused for the recipients that `to` returns.
    fn note_refusal(&self, refusal: &Rejection, to: impl FnOnce() -> Vec<String>) {
        self.note(|peer| {
            let open = self.open.as_ref();
            let id = open.map(|open| open.id.clone());
            let from = open.map(|open| bare(&open.sender.path));
            MailEvent { id, from, to: to(), ..refused(peer, refusal) }
        });
    }

    /// The recipients of the current message, as an event names them.
    fn recipients(&self) -> Vec<String> {
        let addresses = self.open.iter().flat_map(|open| &open.addresses);
        addresses.take(RECIPIENTS_SHOWN_MAX).map(bare_recipient).collect()
    }

    /// Aborts the current message.
    pub fn abort(&mut self) {
        if self.open.take().is_some_and(|transaction| transaction.has_begun) {
            self.shared.stats.borrow_mut().messages_refused += 1;
        }
    }

    async fn begin(&mut self, sender: Sender) -> Result<(), Rejection> {
        let shared = &self.shared;
        self.check_sender(&sender)?;
        if !self.is_lan && !shared.state.rates.borrow_mut().admit(shared.clock.now(), self.peer) {
            shared.stats.borrow_mut().rate_limited += 1;
            return Err(Rejection::TooFast);
        }
        let opened = shared.state.ready().await.ok_or(Rejection::TryLater)?;
        let announced = sender.parameters.size.unwrap_or(0);
        if !opened.has_room(shared.settings.disk_reserve, announced).await {
            return Err(Rejection::NoRoom);
        }
        // Clients of the office have room that strangers do not have.
        let stranger = (!self.is_lan && sender.user.is_none()).then(|| source_of(self.peer));
        let incoming = opened.store.begin_from(0, stranger).map_err(|refused| refusal(&refused))?;
        let id = format!("{:x}.{:016x}", shared.clock.unix_time().0, shared.rng.borrow_mut().next_u64());
        let is_completed = shared.role != Role::Lmtp && (self.is_lan || sender.user.is_some());
        let completion = is_completed.then(|| Completion::new(self.fields(&id, &sender)));
        let is_checked = !self.is_lan
            && sender.user.is_none()
            && shared.role == Role::Mx
            && !shared.settings.relay_from.admits(self.peer, self.is_lan);
        self.open = Some(Transaction {
            id,
            sender,
            opened,
            incoming,
            octets: announced,
            deliveries: Vec::new(),
            remotes: Vec::new(),
            recipients: Vec::new(),
            addresses: Vec::new(),
            has_begun: false,
            completion,
            wishes: Asked::new(),
            also_octets: 0,
            asked: Vec::new(),
            head: Head::default(),
            forwarders: Vec::new(),
            checked: is_checked.then_some(self.peer),
            authentication: None,
        });
        Ok(())
    }

    /// An authenticated user must not send with the address of another user, or an unknown one, at a local domain.
    fn check_sender(&self, sender: &Sender) -> Result<(), Rejection> {
        let Some(user) = &sender.user else { return Ok(()) };
        if self.shared.directory.user(user).is_none() {
            return Err(Rejection::SenderDenied);
        }
        let ReversePath::Mailbox(mailbox) = &sender.path else { return Ok(()) };
        match self.find(&ForwardPath::Mailbox(mailbox.clone())) {
            Place::Here(reached) if reached.users.contains(&user.as_str()) => Ok(()),
            Place::Elsewhere => Ok(()),
            Place::Here(_) | Place::Nobody | Place::Route => Err(Rejection::SenderDenied),
        }
    }

    fn find(&self, path: &ForwardPath) -> Place<'_> {
        self.shared.find(path)
    }

    /// The header fields that the server adds to the message `id` if it lacks them.
    fn fields(&self, id: &str, sender: &Sender) -> Fields {
        let from = Some(bare(&sender.path)).filter(|from| !from.is_empty());
        let date = date(self.shared.clock.unix_time());
        Fields { from, date, message_id: format!("<{id}@{}>", self.shared.settings.hostname) }
    }

    async fn route(&mut self, recipient: &Recipient) -> Result<(), Rejection> {
        let Some(mut transaction) = self.open.take() else { return Err(Rejection::TryLater) };
        let result = self.add(&mut transaction, recipient).await;
        let mut stats = self.shared.stats.borrow_mut();
        // Otherwise strangers could cause notices to forged senders.
        let may_ask = self.is_lan || transaction.sender.user.is_some();
        let result = result.map(|taken| {
            let is_here = taken.outside.is_empty();
            if may_ask && is_here && bounce::Action::Delivered.is_wanted(&recipient.parameters) {
                transaction.asked.push((transaction.recipients.len(), recipient.clone()));
            }
            transaction.recipients.push(taken);
            transaction.addresses.push(recipient.path.clone());
        });
        match &result {
            Ok(()) => stats.recipients += 1,
            Err(Rejection::RelayDenied) => stats.relaying_refused += 1,
            Err(_) => stats.recipients_refused += 1,
        }
        self.open = Some(transaction);
        result
    }

    /// Adds the receivers of `recipient`: all of them, or none.
    async fn add(&self, transaction: &mut Transaction, recipient: &Recipient) -> Result<Taken, Rejection> {
        let returned = self.returned(transaction, recipient)?;
        let recipient = returned.as_ref().unwrap_or(recipient);
        if returned.is_some() && self.find(&recipient.path) == Place::Elsewhere {
            let remote = self.shared.remote.route(&transaction.sender, recipient)?;
            return Ok(transaction.push_remotes(vec![remote]));
        }
        let Some(reached) = self.shared.judge(recipient)? else {
            let remote = self.shared.remote.route(&transaction.sender, recipient)?;
            return Ok(transaction.push_remotes(vec![remote]));
        };
        let others = transaction.deliveries.len() + transaction.remotes.len();
        if others > 0 && others + reached.users.len() + reached.outside.len() > RECIPIENTS_MAX {
            let text = "too many recipients for one message".to_owned();
            return Err(Rejection::Policy { is_temporary: true, text });
        }
        let outside = self.route_outside(transaction, recipient, &reached)?;
        let others = transaction.deliveries.len();
        let mut mailboxes = Vec::new();
        let mut refusal = None;
        for name in &reached.users {
            match self.add_user(transaction, recipient, name).await {
                Ok(mailbox) => mailboxes.push(mailbox),
                Err(refused) => refusal = Some(refused),
            }
        }
        match refusal {
            Some(refusal) if !reached.is_of_owners || mailboxes.is_empty() => {
                let added = transaction.deliveries.split_off(others);
                transaction.incoming.give_back(|mailbox| added.iter().any(|one| one.mailbox == mailbox));
                return Err(refusal);
            }
            _ => {}
        }
        transaction.reach(recipient, &self.original(recipient), &mailboxes, others);
        if !outside.is_empty() {
            transaction.forwarders.extend(self.shared.directory.canonical(&recipient.path));
        }
        let taken = transaction.push_remotes(outside);
        Ok(Taken { mailboxes, is_of_owners: reached.is_of_owners, ..taken })
    }

    /// The queue entries for the remote members of the aliases of `recipient`. If one of them is unreachable the
    /// recipient is rejected: so its sender learns of it, and no member gets a second copy at the retry.
    fn route_outside(
        &self,
        transaction: &Transaction,
        recipient: &Recipient,
        reached: &Receivers<'_>,
    ) -> Result<Vec<Remote>, Rejection> {
        let by = self.shared.directory.canonical(&recipient.path).filter(|_| !reached.outside.is_empty());
        let Some(by) = by else { return Ok(Vec::new()) };
        self.check_return_path(transaction)?;
        let routed = reached.outside.iter().map(|mailbox| {
            // The office sends it there, whether the client may or not.
            let path = ForwardPath::Mailbox((*mailbox).clone());
            let member = Recipient { path, ..recipient.clone() };
            let remote = self.shared.remote.route(&transaction.sender, &member)?;
            Ok(queue::forwarded(remote, &by))
        });
        routed.collect()
    }

    /// Whether the return path can become one of the office's, for mail that is sent on.
    fn check_return_path(&self, transaction: &Transaction) -> Result<(), Rejection> {
        let ReversePath::Mailbox(sender) = &transaction.sender.path else { return Ok(()) };
        let shared = &self.shared;
        let rewritten =
            transaction.opened.srs.forward(sender, &shared.settings.domain, shared.clock.unix_time());
        if rewritten.is_some() || shared.directory.is_ours(&sender.domain) {
            return Ok(());
        }
        let text = "the sender's address is too long for mail that is sent on from here".to_owned();
        Err(Rejection::Policy { is_temporary: false, text })
    }

    /// The receiver of a bounce to an address that was made here for forwarded mail.
    fn returned(
        &self,
        transaction: &Transaction,
        recipient: &Recipient,
    ) -> Result<Option<Recipient>, Rejection> {
        let shared = &self.shared;
        let mailbox = match &recipient.path {
            ForwardPath::Mailbox(mailbox) if shared.directory.is_ours(&mailbox.domain) => mailbox,
            _ => return Ok(None),
        };
        if !srs::is_rewritten(&mailbox.local) {
            return Ok(None);
        }
        let refused = |text: String| Rejection::Policy { is_temporary: false, text };
        if transaction.sender.path != ReversePath::Null {
            return Err(refused(
                "only reports of failure, which come from <>, go to this address".to_owned(),
            ));
        }
        let original = transaction.opened.srs.reverse(&mailbox.local, shared.clock.unix_time());
        let original = original.map_err(|unknown| refused(unknown.to_string()))?;
        Ok(Some(Recipient { path: ForwardPath::Mailbox(original), ..recipient.clone() }))
    }

    async fn add_user(
        &self,
        transaction: &mut Transaction,
        recipient: &Recipient,
        name: &str,
    ) -> Result<MailboxId, Rejection> {
        let shared = &self.shared;
        let user = shared.directory.user(name).ok_or(Rejection::NoSuchMailbox)?;
        let mailbox = transaction.opened.mailbox_of(user).await.map_err(|refused| refusal(&refused))?;
        if transaction.deliveries.iter().any(|delivery| delivery.mailbox == mailbox) {
            return Ok(mailbox);
        }
        let (domain, original) = (&shared.settings.domain, self.original(recipient));
        let prefix = format!(
            "Return-Path: {}\r\nDelivered-To: {name}@{domain}\r\nX-Original-To: {original}\r\n",
            transaction.sender.path
        );
        let fields_octets = if transaction.checked.is_some() { FIELDS_OCTETS_MAX } else { 0 };
        let fields_octets = fields_octets as u64 + shared.judges.fields_octets_max();
        // The fields from verdicts are known only at its end.
        let prefix_octets = prefix.len() as u64 + fields_octets;
        let expected = transaction.sender.parameters.size.unwrap_or(ROOM_OCTETS_MIN);
        let room = transaction.incoming.check_room(mailbox, expected.saturating_add(prefix_octets));
        let reserved = room.and_then(|()| transaction.incoming.reserve(mailbox, prefix_octets));
        reserved.map_err(|refused| self.refusal(&refused, transaction.octets))?;
        let delivery = Delivery { mailbox, prefix: prefix.into_bytes(), ..Delivery::default() };
        transaction.deliveries.push(delivery);
        Ok(mailbox)
    }

    /// The address that the sender named.
    fn original(&self, recipient: &Recipient) -> String {
        match &recipient.path {
            ForwardPath::Postmaster => format!("postmaster@{}", self.shared.settings.domain),
            ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
        }
    }

    async fn authenticate(&self, request: Request) -> Verdict {
        let verdict = self.shared.state.authenticate(self.peer, request, &self.shared.rng).await;
        let mut stats = self.shared.stats.borrow_mut();
        match &verdict {
            Verdict::Accepted { .. } => stats.logins += 1,
            Verdict::Verifier { .. } => {}
            Verdict::Refused | Verdict::Unavailable => stats.logins_failed += 1,
        }
        verdict
    }

    async fn chunk(&mut self, session: &Session, octets: &[u8]) -> Result<(), Rejection> {
        let Some(transaction) = &mut self.open else { return Err(Rejection::TryLater) };
        let result = transaction.take(&self.shared, session, octets, false).await;
        result.map_err(|refused| self.fail(&refused))
    }

    async fn commit(&mut self, session: &Session) -> Vec<Result<String, Rejection>> {
        let Some(transaction) = &mut self.open else { return vec![Err(Rejection::TryLater)] };
        if let Err(refused) = transaction.take(&self.shared, session, b"", true).await {
            let recipients = transaction.recipients.len();
            return vec![Err(self.fail(&refused)); recipients];
        }
        if transaction.goes_round(&self.shared.directory) {
            let recipients = transaction.recipients.len();
            self.note_refusal(&Rejection::Loop, || self.recipients());
            self.abort();
            return vec![Err(Rejection::Loop); recipients];
        }
        let octets = transaction.octets;
        let has_room = transaction.check();
        let verdict = self.judge_message(session).await;
        if let Action::Refuse(refusal) = verdict.action {
            self.tell_of_refusal(&refusal);
            self.abort();
            return vec![Err(refusal); has_room.len()];
        }
        let outcome = self.keep(session, verdict).await;
        let of_each = has_room.into_iter().map(|has_room| match has_room {
            Ok(()) => outcome.clone(),
            Err(refused) => {
                self.shared.stats.borrow_mut().recipients_refused += 1;
                Err(self.refusal(&refused, octets))
            }
        });
        // For SMTP the first counts, and there all have room.
        of_each.collect()
    }

    /// The combined verdict on the complete message.
    async fn judge_message(&mut self, session: &Session) -> verdict::Verdict {
        let authenticated = self.authenticate_message().await;
        match authenticated.action {
            Action::Refuse(_) => authenticated,
            Action::Accept | Action::Junk => authenticated.and(self.consult(session).await),
        }
    }

    fn tell_of_refusal(&self, refusal: &Rejection) {
        let Some(Transaction { id, sender, addresses, .. }) = &self.open else { return };
        let (peer, recipients) = (self.peer, addresses.len());
        info!("{id} from {peer} ({}) for {recipients} is refused: {refusal}", sender.path);
        self.note_refusal(refusal, || self.recipients());
    }

    /// The judges' verdict on the message.
    async fn consult(&self, session: &Session) -> verdict::Verdict {
        let shared = &self.shared;
        let Some(transaction) = self.open.as_ref().filter(|_| !shared.judges.is_empty()) else {
            return verdict::Verdict::accept();
        };
        let sender = &transaction.sender;
        let about = About {
            id: transaction.id.clone(),
            peer: Some(self.peer),
            peer_name: shared.peer_name(self.peer),
            helo: session.client_name().map(str::to_owned),
            sender: bare(&sender.path),
            recipients: transaction.addresses.clone(),
            user: sender.user.clone(),
        };
        let message = (&transaction.incoming, transaction.octets);
        let octets_max = field_octets_max(transaction.deliveries.len());
        let Judged { verdict, silent } = consult(&shared.judges, &about, message, octets_max).await;
        let mut stats = shared.stats.borrow_mut();
        stats.judged += 1;
        stats.judges_silent += silent;
        stats.judged_away += u64::from(matches!(verdict.action, Action::Refuse(_)));
        verdict
    }

    /// The verdict of authentication.
    async fn authenticate_message(&mut self) -> verdict::Verdict {
        let Some(transaction) = &mut self.open else { return verdict::Verdict::accept() };
        let Some(authentication) = transaction.authentication.take() else {
            return verdict::Verdict::accept();
        };
        let results = authentication.finish().await;
        let shared = &self.shared;
        authentication::count(&mut shared.stats.borrow_mut(), &results);
        let octets_max = field_octets_max(transaction.deliveries.len());
        let field = results.to_field(&shared.settings.hostname, octets_max);
        authentication::verdict(shared.settings.authenticity, &results, field)
    }

    /// Stores the message durably. No rule is applied to suspected junk. To other messages rules are applied with their
    /// verdicts.
    async fn keep(&mut self, session: &Session, verdict: verdict::Verdict) -> Result<String, Rejection> {
        let about = self.about_message();
        let Some(mut transaction) = self.open.take() else { return Err(Rejection::TryLater) };
        let shared = &self.shared;
        transaction.leave_out_refused();
        let mut deliveries = mem::take(&mut transaction.deliveries);
        let remotes = mem::take(&mut transaction.remotes);
        let Transaction { id, sender, opened, incoming, head, wishes, .. } = &mut transaction;
        for delivery in &mut deliveries {
            delivery.prefix.extend_from_slice(verdict.fields.as_bytes());
        }
        let is_junk = verdict.action == Action::Junk;
        let head = head.below(&verdict.fields);
        let sorter = shared.sorter(opened);
        let sorted = if is_junk {
            opened.file(&mut deliveries, JUNK).await;
            Sorted { deliveries, remotes, ..Sorted::default() }
        } else {
            sorter.sort(incoming, (sender, wishes), &head, deliveries, remotes).await
        };
        let names = (id.as_str(), shared.settings.hostname.as_str());
        let answers = sorter.answers(&sorted.away, sender, (&head.fields(), None), names).await;
        let Sorted { deliveries, remotes, discarded, forwarded, acts, .. } = sorted;
        // Rules may have removed it from its mailboxes.
        transaction.deliveries = deliveries;
        let delivered = transaction.delivered(shared);
        let Transaction { id, sender, opened, incoming, octets, deliveries, .. } = transaction;
        let return_path = bare(&sender.path);
        let source = Handed {
            peer: self.peer.to_string(),
            helo: session.client_name().unwrap_or_default().to_owned(),
            id: id.clone(),
            user: sender.user,
        };
        if discarded > 0 && deliveries.is_empty() && remotes.is_empty() {
            // The only record of it, to which the identifier in the reply leads.
            let note = trace::discarded(&id, &source, &return_path, &head.fields(), &acts);
            if let Err(refused) = opened.store.change(Change::Note(note)).await {
                shared.stats.borrow_mut().messages_refused += 1;
                return Err(self.refusal(&refused, octets));
            }
            let mut stats = shared.stats.borrow_mut();
            stats.messages += 1;
            stats.messages_discarded += discarded;
            if let Some(about) = about {
                self.note(|_| MailEvent { event: "discarded".to_owned(), ..about });
            }
            return Ok(id);
        }
        let told = about.map(|about| (about, opened.names(&deliveries)));
        let accept = Accept {
            time: shared.clock.unix_time().0,
            source: source.to_string(),
            return_path,
            origin: Origin::Smtp,
            results: verdict.results(),
            deliveries,
            remotes,
            ..Accept::default()
        };
        match incoming.commit(accept).await {
            Ok(stored) => {
                let mut stats = shared.stats.borrow_mut();
                stats.messages += 1;
                stats.octets += octets;
                stats.messages_junk += u64::from(is_junk);
                stats.messages_discarded += discarded;
                stats.messages_forwarded += forwarded;
                debug!("{id} from {} is message {}", self.peer, stored.sequence.unwrap_or_default());
                opened.note(stored.sequence.and_then(|message| trace::note(message, &acts)));
                if let Some(delivered) = delivered {
                    shared.remote.delivered(delivered);
                }
                drop(stats);
                if let Some((about, mailboxes)) = told {
                    self.note_kept(about, mailboxes, is_junk);
                }
                self.answer_for(answers, &opened);
                Ok(id)
            }
            Err(refused) => {
                shared.stats.borrow_mut().messages_refused += 1;
                warn!("a message from {} is refused: {refused}", self.peer);
                let refusal = self.refusal(&refused, octets);
                if let Some((about, _)) = told {
                    self.note(|peer| MailEvent {
                        id: about.id,
                        from: about.from,
                        to: about.to,
                        ..self::refused(peer, &refusal)
                    });
                }
                Err(refusal)
            }
        }
    }

    /// Stores vacation answers, in a task of its own.
    fn answer_for(&self, answers: Vec<Prepared>, opened: &Rc<Opened>) {
        for answer in answers {
            let (shared, opened) = (Rc::clone(&self.shared), Rc::clone(opened));
            tokio::task::spawn_local(async move {
                let is_kept = answer.keep(&opened, shared.clock.unix_time()).await;
                shared.stats.borrow_mut().vacation_answers += u64::from(is_kept);
            });
        }
    }

    /// Aborts the message, which cannot be stored.
    fn fail(&mut self, refused: &StoreError) -> Rejection {
        let refusal = self.refusal(refused, self.open.as_ref().map_or(0, |transaction| transaction.octets));
        self.note_refusal(&refusal, || self.recipients());
        self.open = None;
        self.shared.stats.borrow_mut().messages_refused += 1;
        refusal
    }

    /// The reply if the store rejects a message of `octets`.
    fn refusal(&self, refused: &StoreError, octets: u64) -> Rejection {
        match refused {
            StoreError::MailboxFull(id) => {
                let opened = self.shared.state.opened();
                let quota = opened
                    .and_then(|opened| opened.store.look(|state| Some(state.mailbox(*id)?.state().quota)));
                // Not even an empty mailbox would have room.
                if quota.is_some_and(|quota| octets > quota) {
                    Rejection::OverQuota
                } else {
                    Rejection::MailboxFull
                }
            }
            refused => refusal(refused),
        }
    }
}

impl Transaction {
    /// Adds remote recipients to the message. A recipient that a client names several times gets one copy.
    fn push_remotes(&mut self, remotes: Vec<Remote>) -> Taken {
        let mut taken = Taken::default();
        for remote in remotes {
            let known = self.remotes.iter().position(|other| other.recipient == remote.recipient);
            taken.outside.push(known.unwrap_or(self.remotes.len()));
            match known.and_then(|at| self.remotes.get_mut(at)) {
                Some(known) => {
                    self.also_octets += remote.recipient.len() + remote.options.len();
                    if self.also_octets <= ALSO_OCTETS_MAX {
                        *known = queue::joined(mem::take(known), &remote);
                    }
                }
                None => self.remotes.push(remote),
            }
        }
        taken
    }

    /// Records that `recipient`, with the ORCPT `original`, leads to `mailboxes`. The first `known` deliveries were for
    /// earlier recipients.
    fn reach(&mut self, recipient: &Recipient, original: &str, mailboxes: &[MailboxId], known: usize) {
        for mailbox in mailboxes {
            let wish = self.wishes.entry(*mailbox).or_insert_with(|| recipient.parameters.clone());
            if wish.is_silent() {
                wish.clone_from(&recipient.parameters);
            }
        }
        let again = self.deliveries.iter_mut().take(known).filter(|one| mailboxes.contains(&one.mailbox));
        for delivery in again {
            self.also_octets += original.len();
            if self.also_octets <= ALSO_OCTETS_MAX {
                delivery.also_for.push(original.to_owned());
            }
        }
    }

    /// Stores further octets of the message, after the prepended fields.
    async fn take(
        &mut self,
        shared: &Shared,
        session: &Session,
        octets: &[u8],
        is_end: bool,
    ) -> Result<(), StoreError> {
        let mut kept = Vec::new();
        if !self.has_begun {
            self.has_begun = true;
            // The received size replaces the announced one.
            self.octets = 0;
            let received = session.received(&self.id, shared.clock.unix_time());
            kept.extend(received.unwrap_or_default().into_bytes());
            if let Some(peer) = self.checked {
                let now = shared.clock.unix_time();
                let client = (peer, session.client_name().unwrap_or_default());
                let hostname = &shared.settings.hostname;
                let path = &self.sender.path;
                let begun = Authentication::begin(&shared.resolver, hostname, now, client, path);
                self.authentication = Some(begun);
            }
        }
        let before = kept.len();
        match (&mut self.authentication, &mut self.completion) {
            (Some(authentication), _) => {
                authentication.push(octets, &mut kept);
                if is_end {
                    authentication.end(&mut kept);
                }
                // Without forged fields of this server.
                self.head.take(&kept[before..]);
            }
            (None, Some(completion)) => {
                self.head.take(octets);
                completion.push(octets, &mut kept);
            }
            (None, None) => {
                self.head.take(octets);
                kept.extend_from_slice(octets);
            }
        }
        if is_end && let Some(completion) = self.completion.take() {
            completion.finish(&mut kept);
        }
        self.octets += kept.len() as u64;
        self.leave_out_full(kept.len() as u64, shared.role)?;
        if kept.is_empty() {
            return Ok(());
        }
        let octets = kept.len() as u64;
        if !self.opened.has_room(shared.settings.disk_reserve, octets).await {
            return Err(StoreError::NoRoom);
        }
        self.opened.takes_room(octets);
        self.incoming.chunk(&kept).await
    }

    /// The notice of local delivery that the sender has requested. (RFC 3461, section 5.2.3)
    fn delivered(&self, shared: &Shared) -> Option<Delivered> {
        let ReversePath::Mailbox(sender) = &self.sender.path else { return None };
        let checked = self.check();
        let has_it = |(at, _): &&(usize, Recipient)| checked.get(*at).is_some_and(Result::is_ok);
        let recipient = |(_, recipient): &(usize, Recipient)| {
            let mailbox = match &recipient.path {
                ForwardPath::Mailbox(mailbox) => mailbox.clone(),
                ForwardPath::Postmaster => {
                    Mailbox::parse(&format!("postmaster@{}", shared.settings.domain)).ok()?
                }
            };
            Some((mailbox, recipient.parameters.orcpt.clone()))
        };
        let recipients: Vec<_> = self.asked.iter().filter(has_it).filter_map(recipient).collect();
        (!recipients.is_empty()).then(|| Delivered {
            sender: sender.clone(),
            recipients,
            envid: self.sender.parameters.envid.clone(),
            accepted: shared.clock.unix_time(),
            header: self.head.octets().to_vec(),
        })
    }

    /// Whether an address here that sends the message on has done so before.
    fn goes_round(&self, directory: &Directory) -> bool {
        !self.forwarders.is_empty()
            && self.head.delivered_to(directory).any(|before| self.forwarders.contains(&before))
    }

    /// Reserves room for further octets. A full mailbox does not get the message.
    fn leave_out_full(&mut self, octets: u64, role: Role) -> Result<(), StoreError> {
        let full = self.incoming.make_room(octets);
        if full.is_empty() {
            return Ok(());
        }
        self.deliveries.retain(|delivery| !full.contains(&delivery.mailbox));
        let checked = self.check();
        match role {
            Role::Lmtp if checked.iter().any(Result::is_ok) => Ok(()),
            _ => checked.into_iter().find(Result::is_err).unwrap_or(Ok(())),
        }
    }

    /// Removes receivers that belong to rejected recipients alone: the sender retries for those.
    fn leave_out_refused(&mut self) {
        let checked = self.check();
        if checked.iter().all(Result::is_ok) {
            return;
        }
        let (mut mailboxes, mut outside) = (BTreeSet::<MailboxId>::new(), BTreeSet::<usize>::new());
        for (taken, _) in self.recipients.iter().zip(checked).filter(|(_, checked)| checked.is_ok()) {
            mailboxes.extend(&taken.mailboxes);
            outside.extend(&taken.outside);
        }
        self.deliveries.retain(|delivery| mailboxes.contains(&delivery.mailbox));
        let mut places = 0..;
        self.remotes.retain(|_| places.next().is_some_and(|place| outside.contains(&place)));
    }

    /// For each recipient, whether all of its receivers (or one of the owners) still get the message.
    fn check(&self) -> Vec<Result<(), StoreError>> {
        let getting: BTreeSet<_> = self.deliveries.iter().map(|delivery| delivery.mailbox).collect();
        let check = |taken: &Taken| {
            let mut lacking = taken.mailboxes.iter().filter(|mailbox| !getting.contains(mailbox));
            let is_enough = taken.is_of_owners && taken.mailboxes.iter().any(|one| getting.contains(one));
            match lacking.next() {
                Some(full) if !is_enough => Err(StoreError::MailboxFull(*full)),
                _ => Ok(()),
            }
        };
        self.recipients.iter().map(check).collect()
    }
}

/// The address of a return path without brackets.
fn bare(path: &ReversePath) -> String {
    match path {
        ReversePath::Null => String::new(),
        ReversePath::Mailbox(mailbox) => mailbox.to_string(),
    }
}

/// A recipient's address without brackets.
fn bare_recipient(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
    }
}

/// The event that a message of `peer` is refused.
fn refused(peer: String, refusal: &Rejection) -> MailEvent {
    MailEvent { peer: Some(peer), reason: Some(refusal.to_string()), ..MailEvent::new("refused") }
}

/// The client's reply for a rejection by the store.
pub(super) fn refusal(refused: &StoreError) -> Rejection {
    match refused {
        StoreError::NoRoom => Rejection::NoRoom,
        StoreError::MailboxFull(_) => Rejection::MailboxFull,
        // Of its recipients and their header lines there are too many for one record.
        StoreError::TooMuch(_) => {
            let text = "too many recipients for one message".to_owned();
            Rejection::Policy { is_temporary: true, text }
        }
        _ => Rejection::TryLater,
    }
}
