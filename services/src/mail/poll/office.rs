//! The delivery of fetched mail: its receivers, and its storage.

use std::cell::RefCell;
use std::rc::Rc;

use tracing::info;

use super::account::{Name, Remembered, What, day_of};
use super::distribute::{Distributed, Distribution, Found, Receiver, Rule, distribute};
use super::settings::{Account, Receives};
use super::stats::Stats;
use crate::clock::Clock;
use crate::events::Events;
use crate::mail::MailEvent;
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::header;
use crate::mail::judge::{About, Judges};
use crate::mail::rules::Rules;
use crate::mail::service::directory::{Directory, Place};
use crate::mail::service::head::Head;
use crate::mail::service::judging::{Judged, consult};
use crate::mail::service::remote::Remote;
use crate::mail::service::sorting::{Asked, Sorted, Sorter};
use crate::mail::service::state::Opened;
use crate::mail::service::verdict::{Action, Verdict, field_octets_max};
use crate::mail::smtp::Rejection;
use crate::mail::smtp::date;
use crate::mail::smtp::server::Sender;
use crate::mail::store::{
    Accept, Change, Delivery, Incoming, JUNK, MailboxId, Origin, StoreError, Stored, Uidls,
};
use crate::mail::trace;
use crate::words;

/// The office that mail is fetched for.
pub struct Office {
    /// The open mail store.
    pub opened: Rc<Opened>,
    /// The directory of local receivers.
    pub directory: Directory,
    /// The server's name, in Received fields.
    pub hostname: String,
    /// The office's domain.
    pub domain: String,
    /// Octets of a message at most.
    pub message_octets_max: u64,
    /// While the disk has room for fewer octets, nothing is fetched.
    pub disk_reserve: u64,
    /// The users' rules.
    pub rules: Rules,
    /// The judges.
    pub judges: Judges,
    /// The counters.
    pub stats: Rc<RefCell<Stats>>,
    /// The queue for messages that rules forward.
    pub remote: Rc<dyn Remote>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// The events of messages.
    pub events: Events<MailEvent>,
}

/// A message that has come whole.
pub(super) struct Arrived<'a> {
    pub incoming: Incoming,
    /// Its octets, as stored.
    pub octets: u64,
    pub header: &'a [u8],
    pub distributed: &'a Distributed,
}

impl Office {
    /// The receivers of the message of `account` that begins with `header`.
    pub fn receivers(&self, account: &Account, header: &[u8]) -> Distributed {
        match &account.receives {
            Receives::Person(user) => Distributed {
                rule: Rule::Account,
                field: None,
                receivers: vec![Receiver { user: user.clone(), address: None }],
                looked_at: Vec::new(),
            },
            Receives::Everybody { otherwise_to, envelope_field } => {
                let otherwise_to = otherwise_to.clone().map_or(ForwardPath::Postmaster, ForwardPath::Mailbox);
                // The users when the configuration was read.
                let otherwise_to = match self.find(&otherwise_to) {
                    Found::Users(users) => users,
                    Found::Nobody | Found::Elsewhere => Vec::new(),
                };
                let how = Distribution {
                    envelope_field: envelope_field.as_deref(),
                    account: &account.username,
                    otherwise_to: &otherwise_to,
                };
                let find = |mailbox: &Mailbox| self.find(&ForwardPath::Mailbox(mailbox.clone()));
                distribute(header, &how, find)
            }
        }
    }

    fn find(&self, path: &ForwardPath) -> Found {
        match self.directory.find(path, |_| false) {
            // It is distributed among users only, so an alias's members at other domains do not get it.
            Place::Here(reached) if !reached.users.is_empty() => {
                Found::Users(reached.users.into_iter().map(str::to_owned).collect())
            }
            Place::Here(_) | Place::Nobody | Place::Route => Found::Nobody,
            Place::Elsewhere => Found::Elsewhere,
        }
    }

    /// The fields to prepend to a message of `account`.
    pub(super) fn received(&self, account: &Account) -> String {
        let (server, hostname) = (&account.server, &self.hostname);
        format!(
            "Received: from {server}\r\n\tby {hostname} with POP3;\r\n\t{}\r\n",
            date(self.clock.unix_time())
        )
    }

    /// Whether a message of that size fits into the mailbox of the account's user. For a common account this is checked
    /// once its header is there.
    pub(super) async fn check_room(&self, account: &Account, octets: u64) -> Result<(), StoreError> {
        let Receives::Person(user) = &account.receives else { return Ok(()) };
        let mailbox = self.mailbox_of(user).await?;
        self.opened.store.check_room(mailbox, octets)
    }

    async fn mailbox_of(&self, user: &str) -> Result<MailboxId, StoreError> {
        let user = self.directory.user(user).ok_or(StoreError::NoRecipient)?;
        self.opened.mailbox_of(user).await
    }

    /// The deliveries to those receivers, with `from` in their header lines.
    async fn deliveries(&self, distributed: &Distributed) -> Result<Vec<Delivery>, StoreError> {
        let mut deliveries: Vec<Delivery> = Vec::new();
        for Receiver { user, address } in &distributed.receivers {
            let mailbox = self.mailbox_of(user).await?;
            let mut prefix = format!("Delivered-To: {user}@{}\r\n", self.domain);
            if let Some(address) = address {
                prefix += &format!("X-Original-To: {address}\r\n");
            }
            if distributed.rule != Rule::Account {
                prefix += &distributed.to_header();
            }
            deliveries.push(Delivery { mailbox, prefix: prefix.into_bytes(), ..Delivery::default() });
        }
        Ok(deliveries)
    }

    /// Stores a message in the mailboxes of all receivers, and remembers it as fetched. If one mailbox is full, it is
    /// stored in none: it is not fetched again for a single one. A message that a judge rejects is filed as junk, as
    /// its sender cannot be notified; no rule is applied to it.
    pub(super) async fn keep(
        &self,
        account: &Account,
        Arrived { mut incoming, octets, header, distributed }: Arrived<'_>,
        name: Name,
    ) -> Result<Stored, StoreError> {
        let mut deliveries = self.deliveries(distributed).await?;
        for Delivery { mailbox, prefix, .. } in &deliveries {
            // The fields from judges are known later.
            incoming.reserve(*mailbox, prefix.len() as u64 + self.judges.fields_octets_max())?;
        }
        let return_path = header::fields(header).into_iter().find(|(name, _)| name == "return-path");
        let return_path = return_path.and_then(|(_, value)| header::address_in(&value));
        let accept = self.accept(account, What::Fetched, name);
        let return_path_text = return_path.as_ref().map(ToString::to_string).unwrap_or_default();
        let id = format!("{:x}.{:08x}", accept.time, crc32fast::hash(header));
        let about = About {
            id: id.clone(),
            peer: None,
            peer_name: None,
            helo: None,
            sender: return_path_text.clone(),
            recipients: self.recipients(distributed),
            user: None,
        };
        let verdict = self.judge(account, &about, (&incoming, octets)).await;
        let is_junk = verdict.action != Action::Accept;
        for Delivery { prefix, .. } in &mut deliveries {
            prefix.extend_from_slice(verdict.fields.as_bytes());
        }
        let path = return_path.map_or(ReversePath::Null, ReversePath::Mailbox);
        let sender = Sender { path, parameters: Default::default(), user: None };
        let head = Head::of(header).below(&verdict.fields);
        let has_receivers = !deliveries.is_empty();
        let sorter = self.sorter();
        let sorted = if is_junk {
            self.opened.file(&mut deliveries, JUNK).await;
            Sorted { deliveries, ..Sorted::default() }
        } else {
            // There are no DSN requests in POP3.
            let sender = (&sender, &Asked::new());
            sorter.sort(&mut incoming, sender, &head, deliveries, Vec::new()).await
        };
        let (elsewhere, names) = (account.address(), (id.as_str(), self.hostname.as_str()));
        let about = (&head.fields()[..], elsewhere.as_ref());
        let answers = sorter.answers(&sorted.away, &sender, about, names).await;
        let Sorted { deliveries, remotes, acts, .. } = sorted;
        let is_discarded = has_receivers && deliveries.is_empty() && remotes.is_empty();
        if let (true, Origin::Polled { account, uidl }) = (is_discarded, &accept.origin) {
            // Rules have discarded it for all: it need not be fetched again.
            let note = trace::discarded(account, &accept.source, &return_path_text, &head.fields(), &acts);
            self.opened.store.change(Change::Note(note)).await?;
            let uidls = Uidls { account: account.clone(), uidls: vec![uidl.clone()] };
            return self.opened.store.change(Change::Seen(uidls)).await;
        }
        let told = self.events.is_watched().then(|| MailEvent {
            id: Some(id.clone()),
            peer: Some(account.key()),
            from: Some(return_path_text.clone()),
            to: self.opened.names(&deliveries),
            reason: is_junk.then(|| "it is held to be junk".to_owned()),
            ..MailEvent::new("delivered")
        });
        let accept = Accept { return_path: return_path_text, deliveries, remotes, ..accept };
        let stored = incoming.commit(accept).await?;
        if let Some(told) = told {
            self.events.note(self.clock.now(), || told);
        }
        self.opened.note(stored.sequence.and_then(|message| trace::note(message, &acts)));
        for answer in answers {
            let (opened, now) = (Rc::clone(&self.opened), self.clock.unix_time());
            tokio::task::spawn_local(async move { answer.keep(&opened, now).await });
        }
        Ok(stored)
    }

    /// The judges' verdict on a message of `account`.
    async fn judge(&self, account: &Account, about: &About, message: (&Incoming, u64)) -> Verdict {
        if self.judges.is_empty() {
            return Verdict::accept();
        }
        let octets_max = field_octets_max(about.recipients.len());
        let Judged { mut verdict, silent } = consult(&self.judges, about, message, octets_max).await;
        let mut stats = self.stats.borrow_mut();
        stats.judged += 1;
        stats.judges_silent += silent;
        if let Action::Refuse(Rejection::Policy { is_temporary: true, .. }) = verdict.action {
            // There is no sender to retry, so a temporary rejection becomes acceptance.
            verdict.action = Action::Accept;
        }
        if let Action::Refuse(refusal) = &verdict.action {
            stats.judged_away += 1;
            let (key, recipients) = (account.key(), about.recipients.len());
            info!("{} of {key} from <{}> for {recipients} is junk: {refusal}", about.id, about.sender);
        }
        verdict
    }

    /// The addresses of the receivers.
    fn recipients(&self, distributed: &Distributed) -> Vec<ForwardPath> {
        let addresses = distributed.receivers.iter().filter_map(|Receiver { user, address }| {
            address.clone().or_else(|| Mailbox::parse(&format!("{user}@{}", self.domain)).ok())
        });
        addresses.map(ForwardPath::Mailbox).collect()
    }

    /// The sorter for the receivers' rules.
    fn sorter(&self) -> Sorter<'_> {
        Sorter {
            opened: &self.opened,
            directory: &self.directory,
            rules: &self.rules,
            domain: &self.domain,
            remote: &*self.remote,
            now: self.clock.unix_time(),
        }
    }

    fn accept(&self, account: &Account, what: What, name: Name) -> Accept {
        let now = self.clock.unix_time();
        let uidl = Remembered { what, day: day_of(now), name }.to_text();
        let origin = Origin::Polled { account: account.key(), uidl };
        Accept { time: now.0, source: format!("{} by POP3", account.server), origin, ..Accept::default() }
    }

    /// Notifies the receiver that a message of `octets` is too long and stays on the server. The record of the notice
    /// remembers that.
    pub(super) async fn tell(
        &self,
        account: &Account,
        name: Name,
        octets: u64,
    ) -> Result<Stored, StoreError> {
        let distributed = self.receivers(account, b"");
        let deliveries = self.deliveries(&distributed).await?;
        let Self { domain, hostname, message_octets_max, .. } = self;
        let to: Vec<_> =
            distributed.receivers.iter().map(|receiver| format!("{}@{domain}", receiver.user)).collect();
        let now = self.clock.unix_time();
        let accept = Accept { deliveries, ..self.accept(account, What::Told, name.clone()) };
        let called = match name {
            Name::Uidl(uidl) => uidl,
            Name::Octets(_) => String::new(),
        };
        let message = format!(
            "From: postmaster@{domain}\r\nTo: {}\r\nDate: {}\r\nMessage-ID: <{}.{octets}.poll@{hostname}>\r\n\
            Subject: A message is too long to be fetched\r\nAuto-Submitted: auto-generated\r\n\
            MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
            A message in the mailbox {} on {} has {octets} octets,\r\n\
            and messages here may have {message_octets_max} ({}). It stays there.\r\n\r\n\
            Its name there (UIDL): {called}\r\n",
            to.join(",\r\n\t"),
            date(now),
            now.0,
            account.username,
            account.server,
            words::octets(*message_octets_max),
        );
        self.opened.store.change(Change::Accept(accept, message.into_bytes())).await
    }
}
