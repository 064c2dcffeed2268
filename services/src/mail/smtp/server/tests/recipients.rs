use crate::mail::address::{Domain, ForwardPath, ReversePath};
use crate::mail::smtp::server::testing::{Line, lan, replies, wan};
use crate::mail::smtp::{Notify, OriginalRecipient, Return};

/// RFC 5321, section 3.6.1: No trick makes a relay of the server.
#[test]
fn rfc5321_3_6_1_no_trick_makes_a_relay_of_the_server() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250")]);
    for recipient in [
        "<a@b.example>",
        "<a%b.example@office.example>",
        "<b.example!a@office.example>",
        "<\"a@b.example\"@office.example>",
        "<\"a%b.example\"@office.example>",
        "<@office.example:a@b.example>",
        "<@office.example,@[203.0.113.10]:a@b.example>",
        "<a@[203.0.113.10]>",
        "<a%b.example@[203.0.113.10]>",
        "<a@[IPv6:::ffff:203.0.113.10]>",
        "<a@b.example@office.example>",
        "<a@b.example>@office.example",
        "<office.example!a@b.example>",
        "<a>",
        "<a@203.0.113.10>",
        "a@b.example",
        "<\"a@b.example\">",
    ] {
        let reply = line.say(&format!("RCPT TO:{recipient}"));
        assert!(reply.starts_with('5'), "{recipient}: {reply}");
    }
    line.dialogue(&[("DATA", "554 5.5.1")]);
    // The same mailbox, however it is written.
    line.dialogue(&[
        ("RCPT TO:<@b.example:anna@office.example>", "250"),
        ("RCPT TO:<\"anna\"@OFFICE.example>", "250"),
        ("RCPT TO:<anna@[203.0.113.10]>", "250"),
        ("RCPT TO:<anna@[IPv6:::ffff:203.0.113.10]>", "250"),
    ]);
}

/// RFC 5321, section 4.5.1: Postmaster is a mailbox, with a domain and without.
#[test]
fn rfc5321_4_5_1_postmaster_is_a_mailbox() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[
        ("MAIL FROM:<>", "250"),
        ("RCPT TO:<PostMaster>", "250"),
        ("RCPT TO:<anna>", "553 5.1.3"),
    ]);
    line.dialogue(&[("RCPT TO:<postmaster@office.example>", "250"), ("DATA", "354"), ("x\r\n.", "250")]);
    let delivered = &line.office.delivered[0];
    assert_eq!(delivered.sender.path, ReversePath::Null);
    assert_eq!(delivered.recipients[0].path, ForwardPath::Postmaster);
}

#[test]
fn the_office_may_send_anywhere_and_write_addresses_as_it_likes() {
    let mut line = Line::greeted(lan());
    line.dialogue(&[
        ("MAIL FROM: scanner", "250"),
        ("RCPT TO:a@b.example", "250"),
        ("RCPT TO: anna", "250"),
        ("RCPT TO:<@b.example:bob>", "250"),
        ("DATA", "354"),
        ("x\r\n.", "250"),
    ]);
    let delivered = &line.office.delivered[0];
    assert_eq!(delivered.sender.path.to_string(), "<scanner@office.example>");
    let recipients: Vec<_> =
        delivered.recipients.iter().map(|recipient| recipient.path.to_string()).collect();
    assert_eq!(recipients, ["<a@b.example>", "<anna@office.example>", "<bob@office.example>"]);
    let mut line = Line::greeted(wan());
    line.dialogue(&[("MAIL FROM:scanner", "501"), ("MAIL FROM:<scanner>", "553 5.1.7")]);
    line.dialogue(&[("MAIL FROM: <a@b.example>", "250"), ("RCPT TO: <anna@office.example>", "250")]);
}

/// RFC 5321, section 3.3: One recipient that is refused is refused alone.
#[test]
fn rfc5321_3_3_one_recipient_is_refused_alone() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[
        ("MAIL FROM:<a@b.example>", "250"),
        ("RCPT TO:<full@office.example>", "452 4.2.2"),
        ("RCPT TO:<later@office.example>", "451 4.3.0"),
        ("RCPT TO:<nobody@office.example>", "550 5.1.1"),
        ("RCPT TO:<anna@office.example>", "250"),
        ("RCPT TO:<x@elsewhere.example>", "550 5.7.1"),
        ("DATA", "354"),
        ("x\r\n.", "250"),
    ]);
    assert_eq!(line.office.delivered[0].recipients.len(), 1);
}

/// RFC 5321, section 4.5.3.1.10: Of ten thousand recipients those beyond the maximum are asked to come later.
#[test]
fn rfc5321_4_5_3_1_10_recipients_beyond_the_maximum() {
    for policy in [wan(), lan()] {
        let max = policy.limits.recipients_max;
        let mut line = Line::greeted(policy);
        line.dialogue(&[("MAIL FROM:<a@b.example>", "250")]);
        let said = line.send("RCPT TO:<anna@office.example>\r\n".repeat(10_000));
        assert_eq!(said.lines().filter(|line| line.starts_with("250 2.1.5")).count(), max);
        assert_eq!(said.lines().filter(|line| line.starts_with("452 4.5.3")).count(), 10_000 - max);
        assert_eq!(replies(&line.send("DATA\r\nx\r\n.\r\n")), 2);
        assert_eq!(line.office.delivered[0].recipients.len(), max);
    }
}

/// RFC 3461, section 5: The DSN parameters of the sender are passed on to delivery.
#[test]
fn rfc3461_5_what_the_sender_wants_to_be_told() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[
        ("MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B1 BODY=8BITMIME SIZE=3", "250"),
        ("RCPT TO:<anna@office.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Anna@office.example", "250"),
        ("RCPT TO:<bob@office.example> NOTIFY=SOMETIMES", "501 5.5.4"),
        ("RCPT TO:<bob@office.example> FOO=1", "555 5.5.4"),
        ("DATA", "354"),
        ("x\r\n.", "250"),
    ]);
    let delivered = &line.office.delivered[0];
    let sender = &delivered.sender.parameters;
    assert_eq!((sender.ret, sender.envid.as_deref()), (Some(Return::Headers), Some("QQ+1")));
    assert!(sender.is_8bit && sender.size == Some(3));
    let parameters = &delivered.recipients[0].parameters;
    assert_eq!(parameters.notify, Some(Notify { success: true, failure: false, delay: true }));
    let orcpt = OriginalRecipient { address_type: "rfc822".into(), address: "Anna@office.example".into() };
    assert_eq!(parameters.orcpt, Some(orcpt));
}

/// RFC 6531, section 3.5: Addresses outside of ASCII are for messages with SMTPUTF8.
#[test]
fn rfc6531_3_5_addresses_outside_of_ascii_need_smtputf8() {
    let mut line = Line::greeted(lan());
    line.dialogue(&[
        ("MAIL FROM:<jürgen@b.example>", "553 5.6.7"),
        ("MAIL FROM:<a@b.example>", "250"),
        ("RCPT TO:<jürgen@büro.example>", "553 5.6.7"),
        ("RSET", "250"),
        ("MAIL FROM:<jürgen@b.example> SMTPUTF8", "250"),
        ("RCPT TO:<jürgen@büro.example>", "250"),
        ("DATA", "354"),
        ("x\r\n.", "250"),
    ]);
    let delivered = &line.office.delivered[0];
    assert!(delivered.sender.parameters.smtputf8);
    let ForwardPath::Mailbox(mailbox) = &delivered.recipients[0].path else { panic!("a mailbox") };
    assert_eq!(mailbox.domain, Domain::Name("büro.example".to_owned()));
    assert!(line.send(b"MAIL FROM:<j\xfcrgen@b.example> SMTPUTF8\r\n").starts_with("500 5.5.2"), "no UTF-8");
}
