//! Programs of this machine that hand mail in.

use tokio::task::spawn_local;

use super::lab::*;
use crate::mail::service::{RelayFrom, Settings};
use crate::service::State;

/// A program of this machine that has received the greeting and sent EHLO.
async fn program(lab: &Lab) -> Client {
    let serving = lab.state.serve_local().expect("there is mail");
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    spawn_local(serving(Box::new(theirs)));
    let mut client = Client::over(ours);
    assert!(client.reply().await.starts_with("220 smtp.office.example "));
    client.dialogue(&[("EHLO localhost", "250-smtp.office.example")]).await;
    client
}

#[test]
fn a_program_of_this_machine_is_served_as_the_lan_is_and_may_send_anywhere() {
    simulate(async {
        let nobody = RelayFrom { lan: false, networks: Vec::new() };
        let lab = Lab::smtp().await;
        lab.go_over_to(Settings { relay_from: nobody, ..settings() }).await;
        let mut client = program(&lab).await;
        let taken = client.mail("root@office.example", &["anna@office.example"], "Subject: a\r\n\r\n").await;
        assert!(taken.starts_with("250 2.6.0 taken as "), "{taken}");
        let inbox = lab.inbox("anna").await;
        assert!(inbox[0].contains("Received: from localhost ([127.0.0.1])"), "{inbox:?}");
        assert!(inbox[0].contains("\r\nDate: ") && inbox[0].contains("\r\nFrom: root@office.example\r\n"));
        // The lab has no outgoing queue; a host of the LAN gets an earlier rejection.
        let refused = client.mail("", &["a@far.example"], "").await;
        assert!(refused.contains("this server delivers to its own mailboxes only"), "{refused}");
        let refused = lab.pc().await.mail("", &["a@far.example"], "").await;
        assert!(!refused.contains("its own mailboxes only"), "{refused}");
        assert_eq!(lab.count("connections"), 2);
        client.dialogue(&[("RSET", "250"), ("QUIT", "221")]).await;
        assert!(client.is_closed().await);
    });
}

#[test]
fn a_program_of_this_machine_is_served_whichever_ports_are() {
    simulate(async {
        let lab = Lab::smtp().await;
        lab.go_over_to(Settings { port: 0, ..settings() }).await;
        assert_eq!(lab.instance().state(), State::Off, "it listens nowhere");
        let mut client = program(&lab).await;
        assert!(client.mail("", &["anna@office.example"], "").await.starts_with("250 "));
    });
}

#[test]
fn a_program_of_this_machine_is_served_by_what_is_in_force() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut former = program(&lab).await;
        lab.go_over_to(Settings { message_octets_max: 1 << 20, ..settings() }).await;
        assert!(former.reply().await.starts_with("421 "), "it is sent away as all others are");
        let mut client = program(&lab).await;
        assert!(client.say("MAIL FROM:<> SIZE=2000000").await.starts_with("552 "));
        lab.put_in_force(Settings { enabled: false, ..settings() }).await;
        assert!(client.reply().await.starts_with("421 "));
        assert!(client.is_closed().await);
        while lab.state.serve_local().is_some() {
            tokio::task::yield_now().await;
        }
    });
}
