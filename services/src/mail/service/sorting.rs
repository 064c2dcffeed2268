//! Carries out the users' [rules](crate::mail::rules) for a message that is about to be stored.
//!
//! Only a discarding rule loses a message: if it cannot be forwarded, as the address is unreachable, the target mailbox
//! full, or as it was here before, it stays in its mailbox.
//!
//! A message forwarded to a local user is filed in that user's inbox, without applying that user's rules, so rules
//! cannot loop here.

use std::collections::BTreeMap;
use std::rc::Rc;

use tracing::{debug, info, warn};

use super::directory::{Directory, Place};
use super::head::Head;
use super::remote::Remote;
use super::state::Opened;
use crate::clock::UnixTime;
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::header;
use crate::mail::queue;
use crate::mail::rules::{End, Rules, Seen};
use crate::mail::smtp::RcptParameters;
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::store::{self, Delivery, Incoming, MailboxId, RECIPIENTS_MAX};

/// The sender's DSN options for each local mailbox.
pub(in crate::mail) type Asked = BTreeMap<MailboxId, RcptParameters>;

/// The environment of sorting.
pub(in crate::mail) struct Sorter<'a> {
    /// The open mail store.
    pub opened: &'a Rc<Opened>,
    /// The directory of local receivers.
    pub directory: &'a Directory,
    /// The users' rules.
    pub rules: &'a Rules,
    /// The office's domain.
    pub domain: &'a str,
    /// The queue.
    pub remote: &'a dyn Remote,
    /// The time of day.
    pub now: UnixTime,
}

/// A message as it is stored.
#[derive(Debug, Default)]
pub(in crate::mail) struct Sorted {
    /// The mailboxes here.
    pub deliveries: Vec<Delivery>,
    /// The remote recipients.
    pub remotes: Vec<store::Remote>,
    /// The users who are away, and the addresses.
    pub away: Vec<String>,
    /// How many deliveries rules discarded.
    pub discarded: u64,
    /// How many addresses rules sent it on to.
    pub forwarded: u64,
    /// The rules' effects, as text.
    pub acts: Vec<String>,
}

impl Sorter<'_> {
    /// Applies rules to the message of `sender` that begins with `head`, which has `deliveries` and `remotes`. `asked`
    /// has the sender's DSN options for each mailbox.
    pub async fn sort(
        &self,
        incoming: &mut Incoming,
        (sender, asked): (&Sender, &Asked),
        head: &Head,
        deliveries: Vec<Delivery>,
        remotes: Vec<store::Remote>,
    ) -> Sorted {
        let mut sorted = Sorted { remotes, ..Sorted::default() };
        if self.rules.is_empty() {
            return Sorted { deliveries, ..sorted };
        }
        let fields = head.fields();
        let seen = Seen::of(&fields);
        let before: Vec<_> = head.delivered_to(self.directory).collect();
        let came_for = deliveries.len();
        for mut delivery in deliveries {
            let name = self
                .opened
                .store
                .look(|state| state.mailbox(delivery.mailbox).map(|mailbox| mailbox.state().name.clone()));
            let Some(user) = name.as_deref().and_then(|name| self.directory.user(name)) else {
                sorted.deliveries.push(delivery);
                continue;
            };
            let decision = self.rules.decide(&user.name, &seen, &original_of(&delivery));
            let own = self.address_of(&user.name);
            let was_here = own.as_ref().is_some_and(|own| before.contains(own));
            let mut has_gone = !was_here;
            // RFC 3461, sections 5.2.7.2 and 5.2.7.3: a forward is treated like an alias.
            let parameters = asked.get(&delivery.mailbox).cloned().unwrap_or_default();
            let parameters =
                if decision.end == End::Gone { parameters } else { parameters.without_success() };
            for to in decision.forwards {
                let Some(own) = own.as_ref().filter(|_| !was_here) else { break };
                let context = Context { sender, parameters: &parameters, delivery: &delivery, own, came_for };
                match self.forward(incoming, &mut sorted, &context, to).await {
                    Ok(()) => {
                        sorted.forwarded += 1;
                        sorted.acts.push(format!("{}: a rule sent it on to {to}", user.name));
                    }
                    Err(why) => {
                        has_gone = false;
                        let name = &user.name;
                        sorted.acts.push(format!("{name}: a rule could not send it on to {to}: {why}"));
                        warn!("a message for {} is not sent on to {to}, and stays: {why}", user.name);
                    }
                }
            }
            if self.rules.vacations.contains_key(&user.name) && decision.end != End::Discarded {
                sorted.away.push(user.name.clone());
            }
            match decision.end {
                End::Discarded => {
                    sorted.discarded += 1;
                    sorted.acts.push(format!("{}: a rule discarded it", user.name));
                    info!("a message for {} is discarded by a rule", user.name);
                    continue;
                }
                End::Gone if has_gone => {
                    debug!("a message for {} is sent on by a rule, and does not stay", user.name);
                    continue;
                }
                End::Gone | End::Inbox => {}
                End::Folder(folder) => {
                    sorted.acts.push(format!("{}: a rule put it into {folder}", user.name));
                    delivery.folder = self.opened.folder_of(delivery.mailbox, folder).await;
                }
            }
            // A forwarded copy may be there already: the mailbox's own delivery replaces it.
            sorted.deliveries.retain(|other| other.mailbox != delivery.mailbox);
            sorted.deliveries.push(delivery);
        }
        sorted
    }

    /// The address of a user.
    pub(super) fn address_of(&self, user: &str) -> Option<Mailbox> {
        Mailbox::parse(&format!("{user}@{}", self.domain)).ok()
    }

    /// Sends a message on to `to`.
    async fn forward(
        &self,
        incoming: &mut Incoming,
        sorted: &mut Sorted,
        context: &Context<'_>,
        to: &Mailbox,
    ) -> Result<(), String> {
        let path = ForwardPath::Mailbox(to.clone());
        let (users, outside) = match self.directory.find(&path, |_| false) {
            Place::Here(reached) => (reached.users, reached.outside.into_iter().cloned().collect()),
            Place::Elsewhere => (Vec::new(), vec![to.clone()]),
            Place::Nobody | Place::Route => return Err("nobody has mail for that address".to_owned()),
        };
        let others = sorted.deliveries.len() + sorted.remotes.len() + context.came_for;
        if others + users.len() + outside.len() > RECIPIENTS_MAX {
            return Err("it has too many recipients".to_owned());
        }
        // First the step that can fail, so that a message that stays is not forwarded.
        let remotes = outside.iter().map(|to| self.route(context, to));
        let remotes = remotes.collect::<Result<Vec<_>, String>>()?;
        for user in users {
            self.deliver(incoming, sorted, context, user).await?;
        }
        for remote in remotes {
            if sorted.remotes.iter().all(|other| other.recipient != remote.recipient) {
                sorted.remotes.push(remote);
            }
        }
        Ok(())
    }

    fn route(&self, context: &Context<'_>, to: &Mailbox) -> Result<store::Remote, String> {
        let Context { sender, parameters, own, .. } = context;
        if let ReversePath::Mailbox(mailbox) = &sender.path
            && !self.directory.is_ours(&mailbox.domain)
            && self.opened.srs.forward(mailbox, self.domain, self.now).is_none()
        {
            return Err("the sender's address is too long".to_owned());
        }
        let path = ForwardPath::Mailbox(to.clone());
        let parameters = RcptParameters::clone(parameters);
        let recipient = Recipient { path, parameters, may_relay: false };
        match self.remote.route(sender, &recipient) {
            Ok(remote) => Ok(queue::forwarded(remote, own)),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    /// Has the message lie in the inbox of `user`, too.
    async fn deliver(
        &self,
        incoming: &mut Incoming,
        sorted: &mut Sorted,
        context: &Context<'_>,
        user: &str,
    ) -> Result<(), String> {
        let Context { sender, delivery, own, .. } = context;
        let user = self.directory.user(user).ok_or("there is no such user")?;
        let mailbox = self.opened.mailbox_of(user).await.map_err(|refused| refused.to_string())?;
        if sorted.deliveries.iter().any(|other| other.mailbox == mailbox) {
            return Ok(());
        }
        if mailbox == delivery.mailbox {
            sorted.deliveries.push(Delivery::clone(delivery));
            return Ok(());
        }
        let prefix = format!(
            "Return-Path: {}\r\nDelivered-To: {}@{}\r\nX-Original-To: {own}\r\n{}",
            sender.path,
            user.name,
            self.domain,
            rest_of(&delivery.prefix)
        );
        let reserved = incoming.reserve(mailbox, prefix.len() as u64);
        reserved.map_err(|refused| refused.to_string())?;
        sorted.deliveries.push(Delivery { mailbox, prefix: prefix.into_bytes(), ..Delivery::default() });
        Ok(())
    }
}

/// A message that is sent on.
struct Context<'a> {
    sender: &'a Sender,
    /// The sender's DSN options for the delivery.
    parameters: &'a RcptParameters,
    /// The delivery whose rule forwards it.
    delivery: &'a Delivery,
    /// The address of its receiver.
    own: &'a Mailbox,
    /// The number of its mailboxes.
    came_for: usize,
}

/// The address of a delivery, by its own header lines.
fn original_of(delivery: &Delivery) -> String {
    let fields = header::fields(&delivery.prefix);
    let original = fields.into_iter().find(|(name, _)| name == "x-original-to");
    original.map(|(_, value)| value).unwrap_or_default()
}

/// The fields of a delivery's own header lines after those about its path: the verdicts'.
fn rest_of(prefix: &[u8]) -> String {
    let prefix = String::from_utf8_lossy(prefix);
    let is_of_way = |line: &&str| {
        ["Return-Path: ", "Delivered-To: ", "X-Original-To: "].iter().any(|name| line.starts_with(name))
    };
    prefix.split_inclusive("\r\n").skip_while(is_of_way).collect()
}
