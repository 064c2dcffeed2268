//! Folders of mailboxes.

use std::sync::Arc;

use super::lab::*;
use crate::mail::smtp::Role;
use crate::mail::store::tests::disk::Loss;
use crate::mail::store::{Accept, Change, Delivery, FOLDERS_MAX, FolderId, INBOX, JUNK, MailboxId};

fn folders(lab: &Lab, id: MailboxId) -> Vec<String> {
    lab.store().look(|state| state.mailbox(id).unwrap().state().folders.clone())
}

#[test]
fn a_folder_is_made_when_something_is_filed_into_it_and_stays() {
    simulate(async {
        let lab = Lab::smtp().await;
        let opened = lab.state.opened().unwrap();
        let id = opened.mailbox_of(&user("anna")).await.unwrap();
        let mut deliveries = [Delivery { mailbox: id, ..Delivery::default() }];
        opened.file(&mut deliveries, JUNK).await;
        assert_eq!(
            (deliveries[0].folder, folders(&lab, id)),
            (FolderId(1), vec!["INBOX".into(), JUNK.into()])
        );
        let accept = Accept { deliveries: deliveries.to_vec(), ..Accept::default() };
        lab.store().change(Change::Accept(accept, b"a: b\r\n\r\n".to_vec())).await.unwrap();
        assert_eq!(opened.folder_of(id, JUNK).await, FolderId(1));
        assert_eq!(opened.folder_of(id, "Inbox").await, INBOX, "it is called so in any case");
        assert_eq!(opened.folder_of(id, "Lists").await, FolderId(2));
        lab.disk.cut_power(Loss::All);
        let again = Lab::start(&lab.disk, Role::Mx, settings()).await;
        assert_eq!(folders(&again, id), ["INBOX", JUNK, "Lists"]);
        let filed = |entry: &FolderId| *entry == FolderId(1);
        let entries: Vec<_> = again
            .store()
            .look(|state| state.mailbox(id).unwrap().entries().iter().map(|entry| entry.folder).collect());
        assert!(entries.len() == 1 && entries.iter().all(filed), "{entries:?}");
    });
}

#[test]
fn what_is_for_a_folder_that_cannot_be_made_lies_in_the_inbox() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, settings()).await;
        let opened = lab.state.opened().unwrap();
        let id = opened.mailbox_of(&user("anna")).await.unwrap();
        for number in 1..FOLDERS_MAX {
            assert_eq!(usize::from(opened.folder_of(id, &format!("f{number}")).await.0), number);
        }
        let mut deliveries = [Delivery { mailbox: id, folder: FolderId(3), ..Delivery::default() }];
        opened.file(&mut deliveries, "one too many").await;
        assert_eq!(deliveries[0].folder, INBOX);
        assert_eq!(folders(&lab, id).len(), FOLDERS_MAX);
    });
}
