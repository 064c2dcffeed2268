//! Vacation answers. (RFC 3834)
//!
//! The answer, and that its sender need not be answered again, are stored together, the latter first: a crash can cost
//! an answer, and makes no second one.

use tracing::{debug, warn};

use super::directory::Place;
use super::sorting::Sorter;
use super::state::Opened;
use crate::clock::UnixTime;
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::rules::vacation::{Answer, Memory, asks, remembered};
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::store::{Accept, Change, Delivery, Origin, Uidls};

/// The prefix of a user's name in the key of the user's stored answers.
const ACCOUNT: &str = "vacation of ";

/// An answer that is to be stored.
pub(in crate::mail) struct Prepared {
    user: String,
    to: Mailbox,
    accept: Accept,
    octets: Vec<u8>,
}

impl Sorter<'_> {
    /// The answers of the users `away` to the message `id` of `sender`, which has the header `fields`. `elsewhere` is
    /// the address of the remote mailbox that it was fetched from, if it was.
    pub async fn answers(
        &self,
        away: &[String],
        sender: &Sender,
        (fields, elsewhere): (&[(String, String)], Option<&Mailbox>),
        (id, hostname): (&str, &str),
    ) -> Vec<Prepared> {
        let mut prepared = Vec::new();
        for name in away {
            let Some((user, text)) = self.directory.user(name).zip(self.rules.vacations.get(name)) else {
                continue;
            };
            let is_own = |address: &Mailbox| {
                elsewhere.is_some_and(|own| is_same(own, address)) || self.directory.is_own(address, name)
            };
            let to = match asks(fields, &sender.path, is_own) {
                Ok(to) => to,
                Err(why) => {
                    debug!("{id} is not answered for {name}: {why:?}");
                    continue;
                }
            };
            let Some(accept) = self.accept_for(to, name).await else { continue };
            let Some(from) = self.address_of(name) else { continue };
            let message_id = format!("<{id}.{name}@{hostname}>");
            let answer = Answer {
                from: &from,
                full_name: &user.full_name,
                text,
                to,
                message_id: &message_id,
                now: self.now,
            };
            let octets = answer.to_octets(fields);
            prepared.push(Prepared { user: name.clone(), to: to.clone(), accept, octets });
        }
        prepared
    }

    /// The envelope of an answer of `user` to `to`; `None` if it reaches nobody, or the user.
    async fn accept_for(&self, to: &Mailbox, user: &str) -> Option<Accept> {
        let mut accept = Accept {
            time: self.now.0,
            source: "an answer of somebody who is away".to_owned(),
            origin: Origin::Local,
            ..Accept::default()
        };
        let path = ForwardPath::Mailbox(to.clone());
        match self.directory.find(&path, |_| false) {
            Place::Here(reached) if reached.users.contains(&user) => {}
            Place::Here(reached) => {
                for name in reached.users {
                    let mailbox = self.opened.mailbox_of(self.directory.user(name)?).await.ok()?;
                    let prefix = format!("Return-Path: <>\r\nDelivered-To: {name}@{}\r\n", self.domain);
                    let delivery = Delivery { mailbox, prefix: prefix.into_bytes(), ..Delivery::default() };
                    accept.deliveries.push(delivery);
                }
            }
            Place::Elsewhere => {
                let sender = Sender { path: ReversePath::Null, parameters: Default::default(), user: None };
                // The office sends it.
                let recipient = Recipient { path, parameters: Default::default(), may_relay: true };
                accept.remotes.extend(self.remote.route(&sender, &recipient));
            }
            Place::Nobody | Place::Route => {}
        }
        let reaches_somebody = !accept.deliveries.is_empty() || !accept.remotes.is_empty();
        reaches_somebody.then_some(accept)
    }
}

/// Whether two addresses are one, as people write them.
fn is_same(one: &Mailbox, other: &Mailbox) -> bool {
    one.to_string().to_lowercase() == other.to_string().to_lowercase()
}

impl Prepared {
    /// Stores the answer, unless its sender was answered a short while ago. Whether it did.
    pub async fn keep(self, opened: &Opened, now: UnixTime) -> bool {
        let Self { user, to, accept, octets } = self;
        let account = format!("{ACCOUNT}{user}");
        let text = remembered(&to, now);
        let key = (account.clone(), to.to_string().to_lowercase());
        let memory = opened.store.look(|state| Memory::of(state.seen(&account), &to, now));
        // Another message of the same sender may be at it.
        if memory.is_silent || !opened.answering.borrow_mut().insert(key.clone()) {
            return false;
        }
        let uidls = |uidls| Uidls { account: account.clone(), uidls };
        let old = (!memory.old.is_empty()).then(|| Change::Forget(uidls(memory.old)));
        let seen = Change::Seen(uidls(vec![text]));
        let changes = old.into_iter().chain([seen, Change::Accept(accept, octets)]);
        let outcomes = opened.store.change_all(changes).await;
        opened.answering.borrow_mut().remove(&key);
        match outcomes.last() {
            Some(Ok(_)) => true,
            Some(Err(refused)) => {
                warn!("a vacation answer of {user} cannot be stored: {refused}");
                false
            }
            None => false,
        }
    }
}
