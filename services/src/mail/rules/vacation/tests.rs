use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::mail::header::fields;

const NOW: UnixTime = UnixTime(1_709_210_096);

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn is_annas(address: &Mailbox) -> bool {
    ["anna@office.example", "anna@shop.example"].contains(&address.to_string().as_str())
}

fn asked(sender: &str, header: &str) -> Result<String, Silence> {
    let path = match sender {
        "" => ReversePath::Null,
        sender => ReversePath::Mailbox(mailbox(sender)),
    };
    asks(&fields(header.as_bytes()), &path, is_annas).map(ToString::to_string)
}

const CARL: &str = "carl@b.example";
const TO_ANNA: &str = "To: Anna <anna@office.example>\r\n";

/// RFC 3834, section 2: A message that a person has sent to the user is answered.
#[test]
fn rfc3834_2_a_person_who_was_addressed_answers() {
    for header in [
        TO_ANNA,
        "To: x@y.example\r\nCC: bob@office.example, anna@shop.example\r\n",
        "Resent-To: anna@office.example\r\n",
        "Auto-Submitted: no\r\nTo: anna@office.example\r\n",
        "Auto-Submitted: No (by hand)\r\nTo: anna@office.example\r\n",
        "Precedence: first-class\r\nTo: anna@office.example\r\n",
    ] {
        assert_eq!(asked(CARL, header).as_deref(), Ok(CARL), "{header}");
    }
    for header in
        ["", "To: sales@office.example\r\n", "Subject: anna@office.example\r\n", "To: undisclosed:;\r\n"]
    {
        assert_eq!(asked(CARL, header), Err(Silence::NotAddressed), "{header}");
    }
}

/// RFC 3834, section 2: Messages of programs, of lists, and from the null sender are not answered.
#[test]
fn rfc3834_2_what_was_not_sent_by_a_person_is_not_answered() {
    assert_eq!(asked("", TO_ANNA), Err(Silence::NoSender));
    for sender in [
        "MAILER-DAEMON@b.example",
        "owner-list@b.example",
        "list-request@b.example",
        "list-owner@b.example",
        "list-bounces@b.example",
        "bounces+17-anna=office.example@b.example",
        "no-reply@b.example",
        "NoReply@b.example",
        "postmaster@b.example",
        "anna@office.example",
    ] {
        assert_eq!(asked(sender, TO_ANNA), Err(Silence::NotAPerson), "{sender}");
    }
    for (field, silence) in [
        ("Auto-Submitted: auto-replied", Silence::Automatic),
        ("AUTO-SUBMITTED: auto-generated; x=y", Silence::Automatic),
        ("Auto-Submitted:", Silence::Automatic),
        ("X-Auto-Response-Suppress: DR, OOF, AutoReply", Silence::Automatic),
        ("Precedence: BULK", Silence::List),
        ("Precedence: junk", Silence::List),
        ("Precedence: list (x)", Silence::List),
        ("List-Id: <a.b>", Silence::List),
        ("List-Unsubscribe: <mailto:a@b>", Silence::List),
    ] {
        assert_eq!(asked(CARL, &format!("{field}\r\n{TO_ANNA}")), Err(silence), "{field}");
        assert_eq!(asked(CARL, &format!("{TO_ANNA}{field}\r\n")), Err(silence), "{field}");
    }
}

/// RFC 3834, section 2: A sender is answered once in seven days.
#[test]
fn rfc3834_2_a_sender_is_answered_once_in_seven_days() {
    let (carl, dora) = (mailbox("Carl@b.example"), mailbox("dora@b.example"));
    let text = remembered(&carl, NOW);
    let later = |days: u64| UnixTime(NOW.0 + days * SECONDS_A_DAY);
    let at = |sender: &Mailbox, now| Memory::of([text.as_str()].into_iter(), sender, now);
    for days in 0..DAYS {
        assert!(at(&mailbox(CARL), later(days)).is_silent, "{days}");
        assert_eq!(at(&dora, later(days)), Memory::default(), "{days}");
    }
    let after = at(&carl, later(DAYS));
    assert_eq!((after.is_silent, after.old), (false, vec![text.clone()]));
    assert!(at(&carl, UnixTime(NOW.0 - SECONDS_A_DAY)).is_silent, "the clock was set back");
    assert!(!at(&carl, UnixTime(0)).is_silent, "the clock was wrong");
    assert_eq!(Memory::of(["nonsense"].into_iter(), &carl, NOW).old, ["nonsense"]);
    let many: Vec<_> =
        (0..SENDERS_MAX).map(|number| remembered(&mailbox(&format!("{number}@b.example")), NOW)).collect();
    assert!(
        Memory::of(many.iter().map(String::as_str), &carl, NOW).is_silent,
        "there is no room for another"
    );
    assert!(!Memory::of(many[1..].iter().map(String::as_str), &carl, NOW).is_silent);
}

fn answer(full_name: &str, text: &str, header: &str) -> String {
    let (from, to) = (mailbox("anna@office.example"), mailbox(CARL));
    let answer =
        Answer { from: &from, full_name, text, to: &to, message_id: "<1@smtp.office.example>", now: NOW };
    String::from_utf8(answer.to_octets(&fields(header.as_bytes()))).unwrap()
}

/// RFC 3834, section 3: The answer says of what it is one.
/// RFC 3834, section 5: The answer says that it is one.
#[test]
fn rfc3834_3_the_answer_says_that_it_is_one_and_of_what() {
    let header =
        "Subject: Lunch\r\nMessage-ID: <2@b.example>\r\nReferences: <0@b.example>\r\n <1@b.example>\r\n";
    assert_eq!(
        answer("Anna \"A\"", "I am away.\n\nAnna\n", header),
        "From: \"Anna \\\"A\\\"\" <anna@office.example>\r\nTo: <carl@b.example>\r\nSubject: Auto: Lunch\r\n\
         Date: Thu, 29 Feb 2024 12:34:56 +0000\r\nMessage-ID: <1@smtp.office.example>\r\n\
         In-Reply-To: <2@b.example>\r\nReferences: <0@b.example>\r\n\t<1@b.example>\r\n\t<2@b.example>\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\nI am away.\r\n\r\nAnna\r\n"
    );
    let bare = answer("", "x", "Message-ID: no id\r\n");
    assert!(
        bare.starts_with("From: anna@office.example\r\n")
            && bare.contains("\r\nSubject: Auto: your message\r\n"),
        "{bare}"
    );
    assert!(!bare.contains("In-Reply-To") && !bare.contains("References"), "{bare}");
}

#[test]
fn what_is_outside_of_ascii_is_encoded() {
    let text = answer("Jürgen", "Bin bis Montag weg.\nGrüße", "Subject: =?utf-8?q?M=C3=A4rz?= und =?x\r\n");
    assert!(text.is_ascii(), "{text}");
    let seen: Vec<_> = fields(text.as_bytes())
        .into_iter()
        .map(|(name, value)| (name, decoded(&value).into_owned()))
        .collect();
    let value = |wanted: &str| seen.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
    assert_eq!(value("from"), "Jürgen <anna@office.example>");
    assert_eq!(value("subject"), "Auto: März und =?x");
    let body = text.split_once("\r\n\r\n").unwrap().1.replace("\r\n", "");
    assert_eq!(BASE64.decode(body.as_bytes()).unwrap(), "Bin bis Montag weg.\r\nGrüße\r\n".as_bytes());
}

#[test]
fn lines_stay_short_whatever_was_sent() {
    let ids = "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.example> ".repeat(100);
    let subject = "ü".repeat(4000);
    let text = answer(
        &"ü".repeat(120),
        &"x".repeat(5000),
        &format!("Subject: {subject}\r\nReferences: {ids}\r\nMessage-ID: <a@b>\r\n"),
    );
    assert!(text.lines().all(|line| line.len() < 998), "{text}");
    assert!(text.contains("\r\nReferences: <a@b>\r\n"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// Whatever comes, the answer is a message with one header, and no program answers it: neither does this one.
    #[test]
    fn an_answer_is_never_answered(subject in "\\PC{0,80}", id in "\\PC{0,40}", text in "\\PC{0,200}", name in "\\PC{0,40}") {
        let header = vec![("subject".to_owned(), subject), ("message-id".to_owned(), id)];
        let (from, to) = (mailbox("anna@office.example"), mailbox(CARL));
        let answer = Answer { from: &from, full_name: &name, text: &text, to: &to, message_id: "<1@x>", now: NOW };
        let octets = answer.to_octets(&header);
        prop_assert!(octets.is_ascii());
        let read = fields(&octets);
        let names: Vec<_> = read.iter().map(|(name, _)| name.as_str()).filter(|name| !["in-reply-to", "references"].contains(name)).collect();
        prop_assert_eq!(names, [
            "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type", "content-transfer-encoding",
        ]);
        prop_assert_eq!(header::addresses(&read[0].1), [from]);
        let dora = ReversePath::Mailbox(mailbox("dora@c.example"));
        let silence = asks(&read, &dora, |address| address.to_string() == CARL);
        prop_assert_eq!(silence, Err(Silence::Automatic));
    }
}
