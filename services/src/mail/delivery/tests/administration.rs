//! What the administrator sees and changes.

use super::super::inspection::{Action, LISTED_MAX, Unchanged};
use super::*;
use crate::mail::store::{Accept, Change, Remote};
use crate::store::SILENT;

/// Accepts a message for any recipients, as if under another configuration.
async fn accept(office: &Office, recipients: impl IntoIterator<Item = String>) -> u64 {
    let remote = |(number, recipient)| Remote { number, recipient, ..Remote::default() };
    let remotes = (0..).zip(recipients).map(remote).collect();
    let accept = Accept { return_path: ANNA.to_owned(), remotes, ..Accept::default() };
    let stored = office.lab.store().change(Change::Accept(accept, MAIL.into())).await.unwrap();
    stored.sequence.unwrap()
}

#[test]
fn the_administrator_sees_holds_releases_and_deletes_what_is_queued() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let driver = &office.driver;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("RCPT TO:<bob", "450 4.2.0 bob is full");
        mx1.say("RCPT TO:<carl", "450 4.2.0 carl is full");
        assert!(office.mail(ANNA, &[BOB, "carl@far.example"]).await.starts_with("250"));
        sleep(Duration::from_secs(10)).await;
        let list = driver.list().await.unwrap();
        assert_eq!((list.total, list.entries.len()), (2, 2));
        let [bob, carl] = &list.entries[..] else { panic!("{list:?}") };
        assert_eq!((bob.sender.as_str(), bob.recipient.as_str(), bob.progress.tries), (ANNA, BOB, 1));
        assert!(bob.size > MAIL.len() as u64 && bob.age_secs >= 10 && !bob.is_under_way, "{bob:?}");
        assert!(bob.next_try_secs.is_some_and(|secs| (250..300).contains(&secs)), "{bob:?}");
        assert_eq!(bob.progress.reply, "450 4.2.0 bob is full");

        let (of_bob, of_carl) = (bob.id.to_string().parse().unwrap(), carl.id.to_string().parse().unwrap());
        let message = bob.id.message.to_string().parse().unwrap();
        let changed = driver.change(Action::Hold, message).await.unwrap();
        assert_eq!((changed.changed.len(), changed.under_way.len()), (2, 0));
        sleep(Duration::from_secs(24 * 3600)).await;
        let held = driver.list().await.unwrap();
        assert!(held.entries.iter().all(|entry| entry.progress.is_held && entry.next_try_secs.is_none()));
        assert_eq!(mx1.connections.get(), 1, "nothing was tried");
        driver.change(Action::Delete, of_carl).await.unwrap();
        driver.change(Action::Release, of_bob).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!((mx1.taken(), driver.stats().queued), (1, 0), "at once");
        assert!(!mx1.commands.borrow()[4..].concat().contains("carl"));
        let gone = driver.change(Action::Release, message).await;
        assert!(matches!(gone, Err(Unchanged::NoEntry(_))), "{gone:?}");
    });
}

#[test]
fn while_the_disk_does_not_answer_the_queue_is_shown_as_far_as_it_is_known_and_why() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(60)).await;
        office.lab.gate.set_open(false);
        let (driver, disk) = (Rc::clone(&office.driver), Arc::clone(&office.lab.disk));
        let listing = spawn_local(async move { driver.list().await.unwrap() });
        sleep(Duration::from_secs(10)).await;
        assert!(!listing.is_finished(), "it may answer yet");
        disk.be_silent(true);
        let list = listing.await.unwrap();
        assert_eq!((list.problem.as_deref(), list.total), (Some(SILENT), 1));
        assert_eq!((list.entries[0].recipient.as_str(), list.entries[0].sender.as_str()), (BOB, ""));
        disk.be_silent(false);
        office.lab.gate.set_open(true);
        let list = office.driver.list().await.unwrap();
        assert_eq!((list.problem, list.entries[0].sender.as_str()), (None, ANNA));
    });
}

#[test]
fn what_is_being_sent_is_not_changed_and_what_cannot_be_sent_can_be_deleted() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let driver = &office.driver;
        let mx1 = office.send_and_fail_to_sync().await;
        sleep(Duration::from_secs(60)).await;
        let list = driver.list().await.unwrap();
        assert!(list.entries[0].is_under_way && mx1.taken() == 1, "{list:?}");
        let message = list.entries[0].id.message.to_string().parse().unwrap();
        for action in [Action::Hold, Action::Release, Action::Delete] {
            let changed = driver.change(action, message).await.unwrap();
            assert_eq!((changed.changed.len(), changed.under_way.len()), (0, 1), "{action:?}");
        }
        office.lab.disk.fail_to_sync(false);
        office.until_empty().await;

        let message = accept(&office, ["no address".to_owned()]).await.to_string().parse().unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(driver.list().await.unwrap().entries[0].progress.is_held);
        let changed = driver.change(Action::Release, message).await.unwrap();
        assert_eq!((changed.changed.len(), changed.unreadable.len()), (0, 1));
        let changed = driver.change(Action::Delete, message).await.unwrap();
        assert_eq!(changed.changed.len(), 1);
        assert_eq!(driver.list().await.unwrap().total, 0);
    });
}

#[test]
fn a_change_that_the_store_refuses_leaves_the_entry_as_it_was() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("RCPT", "450 4.2.0 later");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(10)).await;
        let id = office.driver.list().await.unwrap().entries[0].id.to_string().parse().unwrap();
        office.lab.disk.fail_to_sync(true);
        let driver = Rc::clone(&office.driver);
        let change = spawn_local(async move { driver.change(Action::Delete, id).await });
        // The answer comes once the store has removed all of it.
        sleep(Duration::from_secs(60)).await;
        office.lab.disk.fail_to_sync(false);
        let refused = change.await.unwrap();
        assert!(matches!(refused, Err(Unchanged::Refused(_))), "{refused:?}");
        office.until_empty().await;
        assert_eq!(mx1.taken(), 1, "it is tried all the same");
    });
}

#[test]
fn a_list_is_bounded_and_says_how_much_there_is() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        office.lab.publisher.publish(addresses(LAN, &[]));
        let recipients = |count: usize| (0..count).map(|number| format!("u{number}@far.example"));
        for _ in 0..2 {
            accept(&office, recipients(LISTED_MAX * 3 / 5)).await;
        }
        let list = office.driver.list().await.unwrap();
        assert_eq!((list.total, list.entries.len()), (LISTED_MAX * 6 / 5, LISTED_MAX));
        // Only the first of the records is read: it lists all recipients.
        let list = office.driver.list_within(LISTED_MAX, 1).await.unwrap();
        assert_eq!(list.entries.len(), LISTED_MAX * 3 / 5);
    });
}

#[test]
fn nothing_is_known_of_the_queue_of_a_gateway_without_mail() {
    simulate(async {
        let driver = DeliveryDriver::<Wire>::new();
        assert!(matches!(driver.list().await, Err(Unchanged::Off)));
        assert!(matches!(driver.change(Action::Hold, "1".parse().unwrap()).await, Err(Unchanged::Off)));
    });
}
