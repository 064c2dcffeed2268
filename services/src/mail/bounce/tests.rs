use super::*;
use crate::mail::smtp::Notify;
use crate::mail::smtp::client::{Scope, Status};

const NOW: UnixTime = UnixTime(1_709_210_096);
const MESSAGE: &[u8] = b"Subject: Lunch\r\nFrom: anna@office.example\r\n\r\nAt noon?\r\n";

fn sender() -> ReversePath {
    ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap())
}

fn report(outcome: Outcome, status: (u8, u16, u16), text: &str) -> Report {
    Report {
        outcome,
        status: Status::new(status.0, status.1, status.2),
        text: text.to_owned(),
        is_reply: true,
        scope: Scope::Envelope,
        is_one_too_many: false,
        is_of_recipient: false,
        may_be_delivered: false,
        is_dsn_passed_on: false,
    }
}

fn told(text: &str) -> RecipientStatus {
    RecipientStatus {
        recipient: Mailbox::parse("bob@far.example").unwrap(),
        orcpt: None,
        forwarded_by: None,
        report: report(Outcome::Failed, (5, 1, 1), text),
        server: Some("mx1.far.example".to_owned()),
    }
}

fn notice(action: Action, recipients: Vec<RecipientStatus>) -> Notice {
    Notice::of(&sender(), action, recipients, None, None, UnixTime(NOW.0 - 60)).unwrap()
}

fn text(notice: &Notice, message: &[u8]) -> String {
    let mta = ReportingMta { hostname: "smtp.office.example", domain: "office.example", id: "7.1", now: NOW };
    String::from_utf8(notice.to_octets(&mta, message, true)).unwrap()
}

/// The parts of a notice, each with its head.
fn parts(text: &str) -> Vec<&str> {
    let boundary = text.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    let delimiter = format!("--{boundary}");
    let parts: Vec<_> = text.split(delimiter.as_str()).skip(1).collect();
    assert_eq!(parts.last(), Some(&"--\r\n"));
    parts[..parts.len() - 1].to_vec()
}

/// RFC 3461, section 5.2.3: A requested DSN names the mailbox by the address that the sender has used.
#[test]
fn rfc3461_5_2_3_who_asked_is_told_of_a_delivery() {
    let orcpt = OriginalRecipient { address_type: "rfc822".to_owned(), address: "b@x.example".to_owned() };
    let status = RecipientStatus {
        recipient: Mailbox::parse("berta@office.example").unwrap(),
        orcpt: Some(orcpt),
        forwarded_by: None,
        report: Report::delivered(),
        server: None,
    };
    let text = text(&notice(Action::Delivered, vec![status]), MESSAGE);
    let parts = parts(&text);
    assert!(parts[0].contains("is in the mailbox of:\r\n\r\n    <berta@office.example>\r\n"), "{text}");
    let expected = "Original-Recipient: rfc822; b@x.example\r\nFinal-Recipient: rfc822; berta@office.example\r\n\
        Action: delivered\r\nStatus: 2.1.5\r\n\r\n";
    assert!(parts[1].ends_with(expected), "{text}");
    assert!(parts[2].contains("Subject: Lunch") && !parts[2].contains("At noon?"), "the header only: {text}");
    let asked = |success| RcptParameters {
        notify: Some(Notify { success, failure: true, delay: true }),
        ..RcptParameters::default()
    };
    assert!(Action::Delivered.is_wanted(&asked(true)) && !Action::Delivered.is_wanted(&asked(false)));
    assert!(!Action::Delivered.is_wanted(&RcptParameters::default()));
}

/// RFC 3464, section 2: A notice has what a person reads, what a program reads, and the message.
/// RFC 6522, section 3: A notice has what a person reads, what a program reads, and the message.
#[test]
fn rfc3464_2_and_rfc6522_3_a_notice_has_three_parts() {
    let text = text(&notice(Action::Failed, vec![told("550 5.1.1 no such user")]), MESSAGE);
    let head = "From: \"Mail at office.example\" <postmaster@office.example>\r\n\
        To: <anna@office.example>\r\n\
        Subject: Your message could not be delivered\r\n\
        Date: Thu, 29 Feb 2024 12:34:56 +0000\r\n\
        Message-ID: <7.1@smtp.office.example>\r\n\
        Auto-Submitted: auto-replied\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status;\r\n\
        \tboundary=\"=_7.1.";
    assert!(text.starts_with(head), "{text}");
    let [person, program, message] = parts(&text)[..] else { panic!("{text}") };
    assert!(person.contains("\r\n    <bob@far.example>\r\n    mx1.far.example said:\r\n"), "{person}");
    assert!(person.contains("\r\n        550 5.1.1 no such user\r\n"));
    let status = "\r\nContent-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; smtp.office.example\r\n\
        Arrival-Date: Thu, 29 Feb 2024 12:33:56 +0000\r\n\r\n\
        Final-Recipient: rfc822; bob@far.example\r\n\
        Action: failed\r\n\
        Status: 5.1.1\r\n\
        Remote-MTA: dns; mx1.far.example\r\n\
        Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n";
    assert_eq!(program, status);
    let whole = str::from_utf8(MESSAGE).unwrap();
    assert_eq!(message, format!("\r\nContent-Type: message/rfc822\r\n\r\n{whole}\r\n"));
}

/// RFC 5321, section 4.5.5: A failure of a message from the null return path is reported to the postmaster, and to no sender.
#[test]
fn rfc5321_4_5_5_the_postmaster_is_told_of_a_notice_that_failed() {
    for action in [Action::Failed, Action::Delayed, Action::Relayed] {
        let notice = Notice::of(&ReversePath::Null, action, vec![told("550 no")], None, None, NOW);
        assert_eq!(notice.is_some(), action == Action::Failed);
        if let Some(notice) = notice {
            let text = text(&notice, MESSAGE);
            assert!(text.contains("\r\nTo: <postmaster@office.example>\r\n"), "{text}");
            assert!(text.contains("from the null return path") && !text.contains("you sent"), "{text}");
        }
        assert_eq!(Notice::of(&sender(), action, vec![], None, None, NOW), None);
    }
}

/// RFC 3461, section 4.1: The sender gets the requested DSNs, by default those of failures and delays.
#[test]
fn rfc3461_4_1_the_sender_is_told_of_what_it_asked_for() {
    let wanted = |notify: Option<[bool; 3]>| {
        let notify = notify.map(|[success, failure, delay]| Notify { success, failure, delay });
        let parameters = RcptParameters { notify, orcpt: None };
        [Action::Relayed, Action::Failed, Action::Delayed].map(|action| action.is_wanted(&parameters))
    };
    assert_eq!(wanted(None), [false, true, true]);
    assert_eq!(wanted(Some([false; 3])), [false; 3], "NEVER");
    for asked in [[true, false, false], [false, true, false], [false, false, true], [true, true, false]] {
        assert_eq!(wanted(Some(asked)), asked);
    }
}

/// RFC 3461, section 4.3: RET=HDRS brings back the header, and so do reports that are none of failure.
#[test]
fn rfc3461_4_3_ret_hdrs_brings_back_the_header() {
    let of = |action, ret| Notice::of(&sender(), action, vec![told("550 no")], ret, None, NOW).unwrap();
    for (notice, is_whole) in [
        (of(Action::Failed, None), true),
        (of(Action::Failed, Some(Return::Full)), true),
        (of(Action::Failed, Some(Return::Headers)), false),
        (of(Action::Delayed, Some(Return::Full)), false),
        (of(Action::Relayed, None), false),
    ] {
        let text = text(&notice, MESSAGE);
        assert_eq!(text.contains("message/rfc822") && text.contains("At noon?"), is_whole);
        assert_ne!(text.contains("text/rfc822-headers"), is_whole);
        assert!(text.contains("Subject: Lunch\r\n"));
        assert_eq!(notice.wants_whole(100), is_whole);
    }
    let notice = of(Action::Failed, Some(Return::Full));
    assert!(notice.wants_whole(WHOLE_OCTETS_MAX) && !notice.wants_whole(WHOLE_OCTETS_MAX + 1));
    let long = [MESSAGE, &b"x".repeat(50 << 10)].concat();
    assert!(!text(&notice, &long).contains("At noon?"), "of a long one it has the header");
    // A header without end is cut.
    let endless = b"X-Long: y\r\n".repeat(10_000);
    let text = text(&of(Action::Failed, Some(Return::Headers)), &endless);
    assert!(text.len() < HEADER_OCTETS_MAX + 4000 && text.contains("X-Long: y\r\n\r\n--=_7.1."));
}

/// RFC 3461, section 6.3: ENVID and ORCPT come back as they were.
#[test]
fn rfc3461_6_3_envid_and_orcpt_come_back() {
    let mut notice = notice(Action::Failed, vec![told("550 no")]);
    notice.envid = Some("QQ+314".into());
    let orcpt = OriginalRecipient { address_type: "rfc822".into(), address: "bob+x@x.example".into() };
    notice.recipients[0].orcpt = Some(orcpt);
    let text = text(&notice, MESSAGE);
    assert!(text.contains("\r\n\r\nOriginal-Envelope-Id: QQ+314\r\nReporting-MTA:"), "{text}");
    assert!(text.contains("\r\n\r\nOriginal-Recipient: rfc822; bob+x@x.example\r\nFinal-Recipient:"));
}

/// RFC 3464, section 2.3: Delays say until when it is tried; what took too long has a status of its own.
#[test]
fn rfc3464_2_3_delays_and_what_took_too_long() {
    let mut delayed = notice(Action::Delayed, vec![told("450 4.2.0 later")]);
    delayed.recipients[0].report = report(Outcome::Deferred, (4, 2, 0), "450 4.2.0 later");
    delayed.until = Some(UnixTime(NOW.0 + 86_400));
    let warning = text(&delayed, MESSAGE);
    let fields = "Action: delayed\r\nStatus: 4.2.0\r\nRemote-MTA: dns; mx1.far.example\r\n\
        Diagnostic-Code: smtp; 450 4.2.0 later\r\nWill-Retry-Until: Fri, 1 Mar 2024 12:34:56 +0000\r\n";
    assert!(warning.contains(fields), "{warning}");
    assert!(warning.contains("You need not send it again"));
    let failed = Notice { action: Action::Failed, until: None, ..delayed };
    assert!(text(&failed, MESSAGE).contains("Action: failed\r\nStatus: 5.4.7\r\n"));
    // A local failure has no code of a server.
    let mut own = failed;
    own.recipients[0].server = None;
    own.recipients[0].report.is_reply = false;
    let text = text(&own, MESSAGE);
    assert!(
        text.contains("The reason is:") && !text.contains("Diagnostic-Code") && !text.contains("Remote-MTA")
    );
}

/// RFC 5322, section 2.2: What others say becomes no field, no line and no part.
#[test]
fn rfc5322_2_2_what_others_say_becomes_no_field() {
    let evil = "550 x\x1b[2J\r\nStatus: 2.0.0\r\n\r\n--=_7.1\r\nContent-Type: text/html";
    let mut notice = notice(Action::Failed, vec![told(evil)]);
    notice.envid = Some("a\r\nb".into());
    notice.recipients[0].server = Some("mx\r\nX: y".into());
    notice.recipients[0].report.text += &"long ".repeat(1000);
    let message = [MESSAGE, b"--=_7.1--\r\n"].concat();
    let text = text(&notice, &message);
    assert_eq!(parts(&text).len(), 3, "{text}");
    assert_eq!(text.matches("\r\nStatus: ").count(), 1);
    assert!(!text.contains("\r\nX: y") && !text.contains("\r\nb"));
    assert!(text.lines().all(|line| line.len() <= 998));
    assert!(!text.contains('\x1b'), "a terminal is told nothing");
}

/// RFC 6533, section 4: Addresses outside of ASCII come in a report that says so.
/// RFC 6522, section 3: The whole names the type of the report.
#[test]
fn rfc6533_4_and_rfc6522_3_addresses_outside_of_ascii_come_in_a_report_that_says_so() {
    let mut notice = notice(Action::Failed, vec![told("550 no")]);
    assert!(!notice.is_internationalized());
    notice.recipients[0].recipient = Mailbox::parse("jürgen@far.example").unwrap();
    assert!(notice.is_internationalized());
    let text = text(&notice, MESSAGE);
    assert!(text.contains("message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"));
    assert!(text.contains("multipart/report; report-type=global-delivery-status;\r\n"));
    assert!(text.contains("Final-Recipient: utf-8; jürgen@far.example\r\n"));
}

/// RFC 2045, section 6.4: What holds a part of 8bit says so.
/// RFC 6533, section 4: A message outside of ASCII is message/global.
#[test]
fn rfc2045_6_4_and_rfc6533_4_what_holds_a_part_of_8bit_says_so() {
    let notice = notice(Action::Failed, vec![told("550 no")]);
    let headers = Notice { is_whole: false, ..notice.clone() };
    let of = |notice: &Notice, message: &str| {
        let text = text(notice, message.as_bytes());
        let head = text.split("\r\n\r\n").next().unwrap();
        assert_eq!(head.contains("\r\nContent-Transfer-Encoding: 8bit\r\n"), !text.is_ascii(), "{text}");
        let part = parts(&text)[2];
        part.split("\r\n\r\n").next().unwrap().trim().replace("\r\n", "; ")
    };
    let eight_bit = "; Content-Transfer-Encoding: 8bit";
    assert_eq!(of(&notice, "Subject: Gruss\r\n\r\nhi\r\n"), "Content-Type: message/rfc822");
    let (header, body) = ("Subject: Grüße\r\n\r\nhi\r\n", "Subject: x\r\n\r\nGrüße\r\n");
    assert_eq!(of(&notice, header), format!("Content-Type: message/global{eight_bit}"));
    assert_eq!(of(&headers, header), format!("Content-Type: message/global-headers{eight_bit}"));
    assert_eq!(of(&notice, body), format!("Content-Type: message/rfc822{eight_bit}"));
    assert_eq!(of(&headers, body), "Content-Type: text/rfc822-headers");
}

/// RFC 3464, section 2.3.6: What a server says in other letters leaves the report what it is.
#[test]
fn rfc3464_2_3_6_what_a_server_says_in_other_letters_leaves_the_report_as_it_is() {
    let text = text(&notice(Action::Failed, vec![told("550 5.1.1 Empfänger unbekannt")]), MESSAGE);
    assert!(text.is_ascii() && text.contains("Content-Type: message/delivery-status\r\n"), "{text}");
    assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 Empf?nger unbekannt\r\n"));
}

/// RFC 2045, section 2.7: Long lines and NULs do not come back as they were.
#[test]
fn rfc2045_2_7_long_lines_and_nuls_do_not_come_back() {
    let long = format!("X-Long: {}\r\nSubject: x\r\n\r\nbody\r\n", "y".repeat(100_000));
    for message in
        [long.as_str(), "Subject: a\0b\r\n\r\nbody\r\n", &format!("Subject: x\r\n\r\n{}", "z".repeat(999))]
    {
        let text = text(&notice(Action::Failed, vec![told("550 no")]), message.as_bytes());
        assert!(text.contains("text/rfc822-headers") && text.contains("\r\nSubject: "), "the header only");
        assert!(!text.contains('\0') && text.split("\r\n").all(|line| line.len() <= 998));
    }
}

/// RFC 2046, section 5.1.1: A boundary is short, whatever the message has.
#[test]
fn rfc2046_5_1_1_a_boundary_is_short_whatever_the_message_has() {
    for message in [format!("=_7.1{}", "=".repeat(40_000)), String::new()] {
        let text = text(&notice(Action::Failed, vec![told("550 no")]), message.as_bytes());
        let boundary = text.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(boundary.len() <= 70 && parts(&text).len() == 3, "{boundary}");
    }
    let first = boundary(&"7".repeat(100), &[b"x"]);
    assert!(first.len() <= 60 && first.starts_with("=_7"));
    assert_eq!(boundary("7.1", &[b"x"]), boundary("7.1", &[b"x"]), "drawn from the message");
    assert_ne!(boundary("7.1", &[b"x"]), boundary("7.1", &[b"y"]));
    let foreseen = boundary("7.1", &[b""]);
    assert_eq!(
        boundary("7.1", &[foreseen.as_bytes(), b""]),
        format!("{foreseen}.1"),
        "a server can have said it"
    );
}

#[test]
fn a_long_line_of_the_header_is_cut_and_keeps_its_end() {
    for end in ["\r\n", "\n"] {
        let long = |letter: &str| format!("X: {}{end}", letter.repeat(2000));
        let message = format!("{}{}\r\n\r\nx\r\n", long("a"), long("b"));
        let text = text(&notice(Action::Failed, vec![told("550 no")]), message.as_bytes());
        for letter in ["a", "b"] {
            let cut = format!("X: {}{end}", letter.repeat(LINE_OCTETS_MAX - 3));
            assert!(text.contains(&cut), "{end:?}");
        }
    }
}

#[test]
fn several_recipients_are_told_of_in_one_notice() {
    let mut other = told("552 5.2.2 full");
    other.recipient = Mailbox::parse("carl@far.example").unwrap();
    other.report.status = Status::new(5, 2, 2);
    let text = text(&notice(Action::Failed, vec![told("550 5.1.1 no such user"), other]), MESSAGE);
    assert_eq!(text.matches("\r\n\r\nFinal-Recipient: ").count(), 2);
    assert!(text.contains("Status: 5.1.1\r\n") && text.contains("Status: 5.2.2\r\n"));
}

#[test]
fn long_texts_are_wrapped_between_words() {
    assert_eq!(wrap(""), [""]);
    assert_eq!(wrap("a b"), ["a b"]);
    let words = "word ".repeat(40);
    let lines = wrap(&words);
    assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= LINE_CHARS));
    assert_eq!(lines.join(" "), words.trim_end());
    assert_eq!(wrap(&"x".repeat(200)).concat(), "x".repeat(200));
}
