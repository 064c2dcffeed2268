//! What those see who watch mail.

use super::lab::*;
use crate::events::Watcher;
use crate::mail::MailEvent;

const MESSAGE: &str = "Subject: s\r\n\r\nbody\r\n";

fn told(watcher: &mut Watcher<MailEvent>) -> Vec<MailEvent> {
    watcher.take(100).events.into_iter().map(|(_, event)| event).collect()
}

#[test]
fn a_message_is_told_when_it_is_accepted_and_in_its_mailboxes() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut watcher = lab.state.events().watch();
        let recipients = ["anna@office.example", "berta@office.example"];
        let taken = lab.stranger().await.mail("a@b.example", &recipients, MESSAGE).await;
        let id = taken["250 2.6.0 taken as ".len()..].trim_end();
        let events = told(&mut watcher);
        let [accepted, delivered] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&accepted.event[..], accepted.id.as_deref()), ("accepted", Some(id)));
        assert_eq!(accepted.to, recipients);
        assert_eq!((&delivered.event[..], delivered.id.as_deref()), ("delivered", Some(id)));
        let shown = format!("delivered  {id}  <a@b.example> > anna, berta  from 8.8.4.4");
        assert_eq!(delivered.to_string(), shown);
    });
}

#[test]
fn what_is_refused_is_told_with_the_reason_in_the_reply() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut watcher = lab.state.events().watch();
        let mut client = lab.stranger().await;
        for recipient in ["nobody@office.example", "x@elsewhere.example"] {
            let reply = client.mail("a@b.example", &[recipient], MESSAGE).await;
            let events = told(&mut watcher);
            let [refused] = &events[..] else { panic!("{events:?}") };
            assert_eq!((&refused.event[..], &refused.to[..]), ("refused", &[recipient.to_owned()][..]));
            assert_eq!(refused.peer.as_deref(), Some("8.8.4.4"));
            let reason = refused.reason.as_deref().expect("a reason");
            assert!(reply.contains(reason), "{reply} {reason}");
            client.say("RSET").await;
        }
    });
}
