use std::sync::Arc;

use gatepost_ground::Instant;

use super::*;
use crate::mail::address::ReversePath;
use crate::mail::bounce::ReportingMta;
use crate::mail::mx::Routes;
use crate::mail::queue::schedule::Now;
use crate::mail::queue::{DeliveryResult, Job, PendingNotice, Queue, Settlement};
use crate::mail::service::tests::lab::{self, Lab, simulate};
use crate::mail::smtp::client::{Outcome, Report, Scope, Status};
use crate::mail::smtp::{Notify, Role};
use crate::mail::store::tests::disk::{FakeDisk, Loss};
use crate::mail::store::{Accept, Attempt, Change, Delivery, Done};

const NOW: UnixTime = UnixTime(lab::NOW);
const NOW_BY_BOTH: Now = Now { instant: Instant::from_secs(1), time: NOW };
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
    let mut queue = Queue::new(NOW_BY_BOTH);
    queue.set_connectivity(NOW_BY_BOTH, true);
    store.look(|state| {
        for (id, entry) in state.queue() {
            queue.insert(
                NOW_BY_BOTH,
                &Routes::default(),
                id,
                &entry.recipient,
                &entry.options,
                &entry.progress,
            );
        }
    });
    queue
}

fn tried(outcome: Outcome, class: u8) -> DeliveryResult {
    let report = Report {
        outcome,
        status: Status::new(class, 1, 1),
        text: format!("{class}50 said the server"),
        is_reply: true,
        scope: Scope::Envelope,
        is_one_too_many: false,
        is_of_recipient: false,
        may_be_delivered: false,
        is_dsn_passed_on: false,
    };
    DeliveryResult { report, server: None }
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

/// The steps by which what came of a job is stored, in their order: changes first; the notices go to anna's mailbox.
fn steps(store: &MailStore, settlement: &Settlement, message: &[u8]) -> Vec<Change> {
    let anna = store.look(|state| state.mailbox_named("anna").map(|mailbox| mailbox.state().id)).unwrap();
    let of_notice = |PendingNotice { notice, ends, .. }: &PendingNotice| {
        let mta =
            ReportingMta { hostname: "smtp.office.example", domain: "office.example", id: "1", now: NOW };
        let deliveries = vec![Delivery { mailbox: anna, ..Delivery::default() }];
        let accept = Accept { time: NOW.0, deliveries, ends: ends.clone(), ..Accept::default() };
        Change::Accept(accept, notice.to_octets(&mta, message, true))
    };
    settlement.changes.iter().cloned().chain(settlement.notices.iter().map(of_notice)).collect()
}

/// What came of a job for b, c and d: failed, delivered, deferred.
fn settle(queue: &mut Queue) -> (Job, Settlement) {
    let job = queue.next_job(NOW_BY_BOTH).unwrap();
    let results = [tried(Outcome::Failed, 5), tried(Outcome::Delivered, 2), tried(Outcome::Deferred, 4)];
    let sender = ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap());
    let message = crate::mail::queue::Message { sender, accepted: NOW };
    let settlement = queue.settle(NOW_BY_BOTH, job.id, &message, &results);
    (job, settlement)
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
            assert_eq!(message.verify().await.unwrap(), Contents::default());
            store.change(Change::Done(Done::new(id, String::new()))).await.unwrap();
            assert!(matches!(StoredMessage::of(&store, id).await, Err(Unreadable::Gone)));
        }
    });
}

/// RFC 6152, section 3: What a message takes of a server is seen by its octets.
#[test]
fn rfc6152_3_what_a_message_takes_of_a_server_is_seen_by_its_octets() {
    for (text, is_8bit, has_8bit_header) in [
        ("Subject: x\r\n\r\nbody\r\n", false, false),
        ("Subject: x\r\n\r\nGrüße\r\n", true, false),
        ("Subject: Grüße\r\n\r\nbody\r\n", true, true),
        ("\r\nGrüße\r\n", true, false),
    ] {
        for portion in [1, 3, 1000] {
            let (mut contents, mut end) = (Contents::default(), HeaderEnd::default());
            text.as_bytes().chunks(portion).for_each(|part| contents.add(part, &mut end));
            assert_eq!(contents, Contents { is_8bit, has_8bit_header }, "{text:?} by {portion}");
        }
    }
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
        assert!(matches!(message.verify().await, Err(Unreadable::Damaged)), "before any server is asked");
        assert!(message.read(100, 10).await.is_ok(), "its parts are read");
    });
}

/// RFC 5321, section 6.1: After a crash at any moment an entry is in the queue, or its sender has a notice.
#[test]
fn rfc5321_6_1_an_entry_is_in_the_queue_or_its_sender_has_been_told() {
    simulate(async {
        let disk = Arc::<FakeDisk>::default();
        let lab = office(&disk).await;
        let store = lab.store();
        let recipients = &["b@far.example", "c@far.example", "d@far.example"];
        store.change(Change::Accept(accept(recipients), TEXT.to_vec())).await.unwrap();
        let (_, settlement) = settle(&mut queue(&store));
        for (stored, step) in steps(&store, &settlement, TEXT).into_iter().enumerate() {
            // The state if the power fails now: a delivered recipient is not tried again, from the first step on.
            let now = disk.fork();
            now.cut_power(Loss::All);
            let then = office(&Arc::new(now)).await;
            let left: Vec<_> =
                then.store().look(|state| state.queue().map(|(_, entry)| entry.recipient.clone()).collect());
            assert_eq!(left.contains(&"c@far.example".to_owned()), stored == 0, "{stored}: {left:?}");
            assert!(left.contains(&"b@far.example".to_owned()) && then.inbox("anna").await.is_empty());
            store.change(step).await.unwrap();
        }
        disk.cut_power(Loss::All);
        let again = office(&disk).await;
        let [bounce] = &again.inbox("anna").await[..] else { panic!("one notice") };
        assert!(bounce.contains("Final-Recipient: rfc822; b@far.example\r\nAction: failed"), "{bounce}");
        assert!(!bounce.contains("c@far.example") && bounce.contains("Subject: x"));
        let mut queue = self::queue(&again.store());
        let later = Now { instant: Instant::from_secs(301), time: UnixTime(NOW.0 + 300) };
        assert_eq!((queue.len(), queue.due(NOW_BY_BOTH)), (1, Some(later.instant)));
        let job = queue.next_job(later).unwrap();
        assert_eq!(job.recipients[0].address.to_string(), "d@far.example");
        assert!(job.recipients[0].options.rcpt.notify.is_some_and(|notify| notify.failure && !notify.delay));
    });
}

/// RFC 5321, section 6.1: A notice that the store has no room for costs nothing that is stored before it.
#[test]
fn rfc5321_6_1_a_notice_without_room_is_made_another_time() {
    simulate(async {
        let lab = office(&Arc::default()).await;
        let store = lab.store();
        let recipients = &["b@far.example", "c@far.example", "d@far.example"];
        store.change(Change::Accept(accept(recipients), TEXT.to_vec())).await.unwrap();
        let anna = store.look(|state| state.mailbox_named("anna").map(|mailbox| mailbox.state().clone()));
        let anna = anna.unwrap();
        let (id, name, folders) = (anna.id, anna.name, anna.folders);
        store.change(Change::SetMailbox { id, name, quota: 10, folders }).await.unwrap();
        let (_, settlement) = settle(&mut queue(&store));
        let mut steps = steps(&store, &settlement, TEXT);
        let notice = steps.pop().unwrap();
        for step in steps {
            store.change(step).await.unwrap();
        }
        let refused = store.change(notice).await.unwrap_err();
        assert!(is_refused_for_now(&refused), "{refused:?}");
        for change in settlement.notices[0].postponed.clone() {
            store.change(change).await.unwrap();
        }
        store.look(|state| {
            let left: Vec<_> =
                state.queue().map(|(_, entry)| (&*entry.recipient, entry.progress.tries)).collect();
            assert_eq!(left, [("b@far.example", 1), ("d@far.example", 1)]);
        });
        // The store rejects a change of an entry that is gone, which counts as stored.
        let entry = QueueId { message: 99, recipient: 0 };
        let gone = store.change(Change::Attempt(Attempt { entry, progress: Progress::default() })).await;
        assert!(matches!(gone, Err(StoreError::NoEntry(_))));
    });
}
