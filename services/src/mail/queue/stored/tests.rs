use std::sync::Arc;

use super::*;
use crate::mail::address::ReversePath;
use crate::mail::bounce::Teller;
use crate::mail::mx::Routes;
use crate::mail::queue::{Queue, Settlement, Tried};
use crate::mail::service::tests::lab::{self, Lab, simulate};
use crate::mail::smtp::client::{Outcome, Report, Scope, Status};
use crate::mail::smtp::{Notify, Role};
use crate::mail::store::tests::disk::{FakeDisk, Loss};
use crate::mail::store::{Accept, Change, Delivery, Done};

const NOW: UnixTime = UnixTime(lab::NOW);
const TEXT: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

/// A message of anna's for these recipients.
fn accept(recipients: &[&str]) -> Accept {
    let rcpt =
        RcptParameters { notify: Some(Notify { success: false, failure: true, delay: false }), orcpt: None };
    let of = |text: &&str| remote(&Mailbox::parse(text).unwrap(), &MailParameters::default(), &rcpt, NOW);
    Accept {
        time: NOW.0,
        return_path: "anna@office.example".to_owned(),
        remotes: recipients.iter().map(of).collect(),
        ..Accept::default()
    }
}

async fn office(disk: &Arc<FakeDisk>) -> Lab {
    Lab::start(disk, Role::Mx, lab::settings()).await
}

/// The queue as the store has it.
fn queue(store: &MailStore) -> Queue {
    let mut queue = Queue::default();
    store.look(|state| {
        for (id, entry) in state.queue() {
            queue.insert(&Routes::default(), id, &entry.recipient, &entry.options, &entry.progress);
        }
    });
    queue
}

fn tried(outcome: Outcome, class: u8) -> Tried {
    let report = Report {
        outcome,
        status: Status::new(class, 1, 1),
        text: format!("{class}50 said the server"),
        is_reply: true,
        scope: Scope::Envelope,
        is_one_too_many: false,
        may_be_delivered: false,
        is_dsn_passed_on: false,
    };
    Tried { report, server: None }
}

/// All octets of a message, in parts.
async fn whole(message: &StoredMessage) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    loop {
        let part = message.read(octets.len() as u64, 10_000).await?;
        if part.is_empty() {
            return Ok(octets);
        }
        octets.extend(part);
    }
}

/// Has the store do what came of a job, notices first: they go to anna's mailbox.
async fn keep(store: &MailStore, settlement: &Settlement, message: &[u8]) {
    let anna = store.look(|state| state.mailbox_named("anna").map(|mailbox| mailbox.state().id)).unwrap();
    for (notice, ends) in &settlement.notices {
        let teller = Teller { hostname: "smtp.office.example", domain: "office.example", id: "1", now: NOW };
        let deliveries = vec![Delivery { mailbox: anna, ..Delivery::default() }];
        let accept = Accept { time: NOW.0, deliveries, ends: ends.clone(), ..Accept::default() };
        store.change(Change::Accept(accept, notice.to_octets(&teller, message, true))).await.unwrap();
    }
    for change in &settlement.changes {
        store.change(change.clone()).await.unwrap();
    }
}

#[test]
fn a_message_is_read_as_it_was_accepted_short_and_long() {
    simulate(async {
        let lab = office(&Arc::default()).await;
        let store = lab.store();
        for text in [TEXT.to_vec(), b"line\r\n".repeat(100_000)] {
            let mut incoming = store.begin(text.len() as u64).unwrap();
            incoming.chunk(&text).await.unwrap();
            let stored = incoming.commit(accept(&["b@far.example", "c@far.example"])).await.unwrap();
            let id = QueueId { message: stored.sequence.unwrap(), recipient: 1 };
            let message = StoredMessage::of(&store, id).await.unwrap();
            assert_eq!(message.message().accept.return_path, "anna@office.example");
            assert!(message.message().prefix.is_empty());
            assert!(whole(&message).await.unwrap() == text);
            assert!(whole(&message).await.unwrap() == text, "a second server is sent it, too");
            store.change(Change::Done(Done { entry: id, reply: String::new() })).await.unwrap();
            assert!(matches!(StoredMessage::of(&store, id).await, Err(Unreadable::Gone)));
        }
    });
}

#[test]
fn a_damaged_message_is_never_read_to_its_end() {
    simulate(async {
        let lab = office(&Arc::default()).await;
        let store = lab.store();
        let text = b"line\r\n".repeat(100_000);
        let mut incoming = store.begin(text.len() as u64).unwrap();
        incoming.chunk(&text).await.unwrap();
        let stored = incoming.commit(accept(&["b@far.example"])).await.unwrap();
        let id = QueueId { message: stored.sequence.unwrap(), recipient: 0 };
        let message = StoredMessage::of(&store, id).await.unwrap();
        let BodyOctets::File { file, .. } = &message.message().body else { panic!("it is long") };
        lab.disk.damage(file, |octets| octets[300_000] ^= 1);
        assert!(whole(&message).await.is_err());
        assert!(message.read(100, 10).await.is_ok(), "its parts are read");
    });
}

/// RFC 5321, section 6.1: After a crash at any moment an entry is in the queue, or its sender has been told.
#[test]
fn rfc5321_6_1_an_entry_is_in_the_queue_or_its_sender_has_been_told() {
    simulate(async {
        let disk = Arc::<FakeDisk>::default();
        let lab = office(&disk).await;
        let store = lab.store();
        let recipients = &["b@far.example", "c@far.example", "d@far.example"];
        store.change(Change::Accept(accept(recipients), TEXT.to_vec())).await.unwrap();
        let mut queue = queue(&store);
        let job = queue.next_job(NOW).unwrap();
        let results = [tried(Outcome::Failed, 5), tried(Outcome::Delivered, 2), tried(Outcome::Deferred, 4)];
        let sender = ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap());
        let message = crate::mail::queue::Message { sender, accepted: NOW };
        let settlement = queue.settle(NOW, job.id, &message, &results);
        // Nothing of it is stored.
        let before = disk.fork();
        before.cut_power(Loss::All);
        assert_eq!(self::queue(&office(&Arc::new(before)).await.store()).len(), 3);
        keep(&store, &settlement, TEXT).await;
        disk.cut_power(Loss::All);
        let again = office(&disk).await;
        let [bounce] = &again.inbox("anna").await[..] else { panic!("one notice") };
        assert!(bounce.contains("Final-Recipient: rfc822; b@far.example\r\nAction: failed"), "{bounce}");
        assert!(!bounce.contains("c@far.example") && bounce.contains("Subject: x"));
        let mut queue = self::queue(&again.store());
        assert_eq!((queue.len(), queue.due()), (1, Some(UnixTime(NOW.0 + 300))));
        let job = queue.next_job(UnixTime(NOW.0 + 300)).unwrap();
        assert_eq!(job.recipients[0].address.to_string(), "d@far.example");
        assert!(job.recipients[0].options.rcpt.notify.is_some_and(|notify| notify.failure && !notify.delay));
    });
}
