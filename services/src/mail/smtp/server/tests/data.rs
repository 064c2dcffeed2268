use gatepost_ground::Instant;

use crate::clock::UnixTime;
use crate::mail::smtp::server::testing::{Line, lan, lmtp, replies, submissions, wan};
use crate::mail::smtp::server::{Action, Answer, Ask, Output};
use crate::mail::smtp::{CHUNK_OCTETS, Limits, Policy, Rejection, Tls};

/// A session in which a sender and the recipient `anna` are accepted.
fn with_recipient(policy: Policy) -> Line {
    let mut line = Line::greeted(policy);
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<anna@office.example>", "250")]);
    line
}

/// A session that waits for a message's octets.
fn with_data(policy: Policy) -> Line {
    let mut line = with_recipient(policy);
    line.dialogue(&[("DATA", "354")]);
    line
}

fn delivered(line: &Line) -> Vec<&[u8]> {
    line.office.delivered.iter().map(|delivered| &delivered.message[..]).collect()
}

/// RFC 5321, section 4.5.2: Dots that were added are taken off, octet by octet too.
#[test]
fn rfc5321_4_5_2_dots_that_were_added_are_taken_off() {
    for (data, message) in [
        (&b"Subject: x\r\n\r\nhello\r\n.\r\n"[..], &b"Subject: x\r\n\r\nhello\r\n"[..]),
        (b"..x\r\n.\r\n", b".x\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".\r\n", b""),
        (b"Subject: \xfcber\r\n\r\n.\r\n", b"Subject: \xfcber\r\n\r\n"),
    ] {
        for portion in [1, 2, usize::MAX] {
            let mut line = with_data(wan());
            line.portion = portion;
            let said = line.send([data, b"NOOP\r\n"].concat());
            assert!(said.starts_with("250 2.6.0 taken as 1\r\n250 2.0.0"), "{said}");
            assert_eq!(delivered(&line), [message]);
        }
    }
}

/// RFC 5321, section 4.1.1.4: What another server might take for the end of data ends nothing.
///
/// The message is refused as a whole, by one reply, and the session goes on.
#[test]
fn rfc5321_4_1_1_4_smuggled_messages_are_refused() {
    for (name, end) in [
        ("LF.LF", &b"\n.\n"[..]),
        ("LF.CRLF", b"\n.\r\n"),
        ("CRLF.LF", b"\r\n.\n"),
        ("CR.CR", b"\r.\r"),
        ("CRLF.CR", b"\r\n.\r"),
        ("CR.CRLF", b"\r.\r\n"),
        ("LF.CR", b"\n.\r"),
        ("CRLF NUL.CRLF", b"\r\n\0.\r\n"),
        ("CRLF.CRCRLF", b"\r\n.\r\r\n"),
    ] {
        let evil: &[u8] = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@office.example>\r\nDATA\r\n";
        let stream = [b"Subject: x\r\n\r\nhello", end, evil, b"Subject: y\r\n\r\nhello\r\n.\r\n"].concat();
        for portion in [1, 3, usize::MAX] {
            let mut line = with_data(wan());
            line.portion = portion;
            let said = line.send(&stream);
            assert!(said.starts_with("550 5.6.0") && replies(&said) == 1, "{name}: {said}");
            assert!(line.office.delivered.is_empty() && !line.office.is_open());
            assert_eq!(line.actions, [Action::Abort], "{name}");
            line.portion = usize::MAX;
            line.dialogue(&[
                ("MAIL FROM:<>", "250"),
                ("RCPT TO:<bob@office.example>", "250"),
                ("DATA", "354"),
            ]);
            line.dialogue(&[("x\r\n.", "250 2.6.0")]);
        }
    }
}

/// RFC 5321, section 4.1.1.4: An end behind a bare CR or LF is answered, and nothing behind it is looked at.
#[test]
fn rfc5321_4_1_1_4_an_end_behind_a_bare_cr_or_lf_is_the_last_thing() {
    for (policy, expected) in [(wan(), 1), (lmtp(), 2)] {
        for (name, end) in [("CRCRLF.CRLF", &b"\r\r\n.\r\n"[..]), ("LF CRLF.CRLF", b"\n\r\n.\r\n")] {
            let evil: &[u8] = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@office.example>\r\nDATA\r\n";
            let stream = [b"Subject: x\r\n\r\nhello", end, evil, b"hello\r\n.\r\n"].concat();
            for portion in [1, 3, usize::MAX] {
                let mut line = with_recipient(policy.clone());
                line.dialogue(&[("RCPT TO:<bob@office.example>", "250"), ("DATA", "354")]);
                line.portion = portion;
                let said = line.send(&stream);
                assert!(said.starts_with("550 5.6.0") && replies(&said) == expected, "{name}: {said}");
                assert!(line.office.delivered.is_empty() && !line.office.is_open());
                assert_eq!(line.actions, [Action::Abort, Action::Close], "{name}");
            }
        }
    }
}

/// RFC 5321, section 4.1.1.4: A scanner of the office may end lines with LF; what is no end elsewhere is none for it either.
#[test]
fn rfc5321_4_1_1_4_lf_of_the_office_is_mended_and_ends_no_message() {
    let evil = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@office.example>\r\nDATA\r\nhello";
    for (end, mended) in [
        ("\n", "\r\n"),
        ("\n.\n", "\r\n.\r\n"),
        ("\n.\r\n", "\r\n.\r\n"),
        ("\r\n.\n", "\r\n\r\n"),
        ("\n\r\n.x\r\n", "\r\n\r\n.x\r\n"),
    ] {
        for portion in [1, 3, usize::MAX] {
            let mut line = with_data(lan());
            line.portion = portion;
            let said = line.send(format!("Subject: x\n\nhello{end}{evil}\r\n.\r\n"));
            assert!(said.starts_with("250 2.6.0") && replies(&said) == 1, "{end:?}: {said}");
            let expected = format!("Subject: x\r\n\r\nhello{mended}{evil}\r\n");
            assert_eq!(delivered(&line), [expected.as_bytes()], "{end:?} in {portion}");
            assert!(line.actions.is_empty());
        }
    }
    // The command waits for its reply here, and nothing behind it is parsed.
    for portion in [1, 3, usize::MAX] {
        let mut line = with_data(lan());
        line.portion = portion;
        let said = line.send(format!("Subject: x\n\nhello\n\r\n.\r\n{evil}\r\n.\r\n"));
        assert!(said.starts_with("250 2.6.0") && replies(&said) == 1, "{said}");
        assert_eq!(delivered(&line), [b"Subject: x\r\n\r\nhello\r\n\r\n"]);
        assert_eq!(line.actions, [Action::Close]);
    }
    for end in ["\r.\r", "\r\n.\r", "\r.\r\n", "\r\r\n.x\r\n"] {
        let mut line = with_data(lan());
        let said = line.send(format!("hello{end}{evil}\r\n.\r\n"));
        assert!(said.starts_with("550 5.6.0") && line.office.delivered.is_empty(), "{end:?}: {said}");
    }
    // No chunk exceeds the usual length.
    let mut line = with_data(lan());
    line.send([&b"\n".repeat(200_000)[..], b"\n\r\n.x\r\n".repeat(20_000).as_slice(), b".\r\n"].concat());
    assert_eq!(delivered(&line)[0].len(), 400_000 + 8 * 20_000);
}

/// Who does not wait for the reply to DATA may go on with the text of a web form.
#[test]
fn behind_data_that_is_refused_nothing_is_sent_to_the_world() {
    let text =
        "DATA\r\nRSET\r\nMAIL FROM:<evil@b.example>\r\nRCPT TO:<victim@b.example>\r\nDATA\r\nspam\r\n.\r\n";
    for portion in [1, usize::MAX] {
        let mut line = Line::greeted(lan());
        line.dialogue(&[("MAIL FROM:<a@office.example>", "250"), ("RCPT TO:<no@office.example>", "550")]);
        line.portion = portion;
        let said = line.send(text);
        assert!(said.starts_with("554 5.5.1") && replies(&said) == 1 && line.is_closed(), "{said}");
        assert!(line.office.delivered.is_empty() && !line.office.is_open());
    }
    let mut line = Line::greeted(wan());
    line.dialogue(&[("MAIL FROM:<>", "250"), ("RCPT TO:<no@office.example>", "550"), ("DATA", "554")]);
    line.dialogue(&[("RSET", "250"), ("NOOP", "250")]);
}

/// RFC 1870, section 6.2: What is too big is refused, at MAIL if it says so, else once all of it has come.
#[test]
fn rfc1870_6_2_what_is_too_big_is_refused_once() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[
        ("MAIL FROM:<a@b.example> SIZE=1000001", "552 5.3.4"),
        ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", "552 5.3.4"),
        ("MAIL FROM:<a@b.example> SIZE=10", "250"),
        ("RCPT TO:<anna@office.example>", "250"),
        ("DATA", "354"),
    ]);
    assert_eq!(line.send(vec![b'x'; 1_500_000]), "", "nothing is said before the end");
    assert_eq!(line.actions, [Action::Abort], "what came of it is not kept");
    let said = line.send("\r\n.\r\nNOOP\r\n");
    assert!(said.starts_with("552 5.3.4") && replies(&said) == 2, "{said}");
    // The announced size is no promise.
    line.dialogue(&[
        ("MAIL FROM:<> SIZE=1", "250"),
        ("RCPT TO:<anna@office.example>", "250"),
        ("DATA", "354"),
    ]);
    line.dialogue(&[("hello\r\n.", "250")]);
}

/// RFC 5321, section 4.5.3.1.7: A message of exactly the maximum is taken.
#[test]
fn rfc5321_4_5_3_1_7_a_message_of_the_maximum_is_taken() {
    for (len, expected) in [(100, "250 2.6.0"), (101, "552 5.3.4")] {
        let mut line = with_data(Policy { limits: Limits::wan(100), ..wan() });
        let said = line.send(format!("{}\r\n.\r\n", "x".repeat(len - 2)));
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn long_headers_pass_and_no_more_than_a_chunk_is_held() {
    for portion in [100_000, usize::MAX] {
        let mut line = with_data(Policy { limits: Limits::wan(100 << 20), ..wan() });
        line.portion = portion;
        let long = format!("X-Long: {}\r\n", "x".repeat(100 << 10));
        let many = "X-Many: y\r\n".repeat(100_000);
        let message = format!("{long}{many}\r\nbody\r\n");
        assert!(line.send(&message).is_empty());
        assert!(line.session.transaction.as_ref().is_some(), "it is under way");
        assert!(line.send(".\r\n").starts_with("250"));
        assert_eq!(delivered(&line), [message.as_bytes()]);
    }
}

/// RFC 5321, section 6.3: A message that goes round in a loop is refused.
#[test]
fn rfc5321_6_3_a_loop_is_refused() {
    let mut line = with_data(wan());
    let header = "Received: from a by b\r\n".repeat(101);
    let said = line.send(format!("{header}\r\nbody\r\n.\r\n"));
    assert!(said.starts_with("554 5.4.6") && replies(&said) == 1, "{said}");
    assert!(line.office.delivered.is_empty());
}

/// RFC 3030, section 2: A message in chunks, which are taken as they are.
#[test]
fn rfc3030_2_a_message_in_chunks() {
    for portion in [1, usize::MAX] {
        let mut line = with_recipient(wan());
        line.portion = portion;
        let said = line.send("BDAT 7\r\n.\r\nab\r\nBDAT 0\r\nBDAT 5 LAST\r\nc\r\n.\nNOOP\r\n");
        assert!(said.ends_with(
            "550 5.6.0 the message has a CR or an LF that is no line's end, or a NUL\r\n250 2.0.0 OK\r\n"
        ));
        let mut line = with_recipient(wan());
        line.portion = portion;
        let said = line.send("BDAT 7\r\n.\r\nab\r\nBDAT 0\r\nBDAT 5 LAST\r\n.\r\nx\r\nOOP\r\n");
        assert!(said.starts_with("250 2.0.0 7 octets so far\r\n250 2.0.0 7 octets so far\r\n"), "{said}");
        assert!(said.contains("550 5.6.0"), "it ends with CR: {said}");
        let mut line = with_recipient(wan());
        line.portion = portion;
        let said = line.send("BDAT 7\r\n.\r\nab\r\nBDAT 6 LAST\r\n.\r\nc\r\nNOOP\r\n");
        assert!(said.ends_with("250 2.6.0 taken as 1\r\n250 2.0.0 OK\r\n"), "{said}");
        assert_eq!(delivered(&line), [b".\r\nab\r\n.\r\nc\r\n"]);
    }
}

/// RFC 3030, section 2: The octets of a chunk are read even if it is invalid, and it gets one reply.
#[test]
fn rfc3030_2_octets_of_a_refused_chunk_are_taken() {
    let reset = "RSET\r\n";
    let len = reset.len();
    let mut line = Line::open(wan());
    line.dialogue(&[(&format!("BDAT {len} LAST\r\nRSET"), "503 5.5.1"), ("EHLO a.example", "250-")]);
    line.dialogue(&[(&format!("BDAT {len}\r\nRSET"), "503 5.5.1")]);
    // After a refused recipient; what follows is no whole message.
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<no@office.example>", "550")]);
    line.dialogue(&[(&format!("BDAT {len}\r\nRSET"), "554 5.5.1"), ("RCPT TO:<anna@office.example>", "503")]);
    line.dialogue(&[("BDAT 0 LAST", "503 5.5.1")]);
    // An error in the middle of a message.
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<anna@office.example>", "250")]);
    line.dialogue(&[
        (&format!("BDAT {len}\r\nRSET"), "250"),
        (&format!("BDAT {len} X\r\nRSET"), "501 5.5.4"),
    ]);
    line.dialogue(&[(&format!("BDAT {len} LAST\r\nRSET"), "503 5.5.1")]);
    assert!(line.office.delivered.is_empty() && !line.office.is_open());
    // A line that is no text.
    for bad in [&b"\xff"[..], b"\x07", "\u{fffd}".as_bytes(), &[b'x'; 4000]] {
        let said = line.send([b"bdat  6 ", bad, b"\r\nRSET\r\n"].concat());
        assert!(said.starts_with('5') && replies(&said) == 1, "{bad:?}: {said}");
    }
    // Too big.
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<anna@office.example>", "250")]);
    let said =
        line.send([b"BDAT 1500000\r\n", &vec![b'x'; 1_500_000][..], b"BDAT 6 LAST\r\nRSET\r\n"].concat());
    assert!(said.starts_with("552 5.3.4") && said.contains("\r\n503 5.5.1") && replies(&said) == 2, "{said}");
    // An empty message.
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<anna@office.example>", "250")]);
    line.dialogue(&[("BDAT 0 LAST", "250 2.6.0")]);
    assert_eq!(delivered(&line), [b""]);
}

/// RFC 3030, section 2: DATA, MAIL and RCPT do not come between chunks.
#[test]
fn rfc3030_2_nothing_comes_between_chunks() {
    let mut line = with_recipient(wan());
    line.dialogue(&[
        ("BDAT 3\r\na", "250"),
        ("DATA", "503 5.5.1"),
        ("RCPT TO:<bob@office.example>", "503 5.5.1"),
        ("MAIL FROM:<>", "503 5.5.1"),
        ("NOOP", "250"),
        ("BDAT 3 LAST\r\nb", "250 2.6.0"),
    ]);
    assert_eq!(delivered(&line), [b"a\r\nb\r\n"]);
    let mut line = with_recipient(wan());
    line.dialogue(&[("BDAT 3\r\na", "250"), ("RSET", "250"), ("BDAT 3 LAST\r\nb", "503")]);
    assert!(line.office.delivered.is_empty() && !line.office.is_open());
}

/// RFC 3030, section 2: A BDAT without a number of octets ends the session.
#[test]
fn rfc3030_2_without_a_number_the_session_ends() {
    for wrong in ["BDAT LAST".to_owned(), "BDAT 6\u{7}".to_owned(), format!("BDAT 6 {}", "x".repeat(20_000))]
    {
        let mut line = with_recipient(wan());
        let said = line.send(format!("{wrong}\r\nRSET\r\nMAIL FROM:<>\r\n"));
        assert!(said.starts_with("421") && replies(&said) == 1 && line.is_closed(), "{said}");
    }
}

/// RFC 2033, section 4.2: After the data there is one reply for each recipient that was accepted.
#[test]
fn rfc2033_4_2_one_reply_for_each_recipient() {
    let recipients = [
        ("MAIL FROM:<a@b.example>", "250"),
        ("RCPT TO:<anna@office.example>", "250"),
        ("RCPT TO:<no@office.example>", "550"),
        ("RCPT TO:<bob@office.example>", "250"),
    ];
    let mut line = Line::greeted(lmtp());
    line.dialogue(&recipients);
    line.dialogue(&[("DATA", "354")]);
    assert_eq!(line.send("x\r\n.\r\n"), "250 2.6.0 taken as 1\r\n".repeat(2));
    line.dialogue(&recipients);
    line.dialogue(&[("DATA", "354")]);
    let said = line.send("x\ny\r\n.\r\n");
    assert!(said.starts_with("550 5.6.0") && replies(&said) == 2, "{said}");
    // CHUNKING is not offered; a chunk is read to its end and gets one reply.
    line.dialogue(&recipients);
    line.dialogue(&[("BDAT 3\r\nx", "502 5.5.1"), ("BDAT 3 LAST\r\nx", "502 5.5.1")]);
    assert!(!line.office.is_open());
    line.dialogue(&recipients);
    line.dialogue(&[("DATA", "354")]);
    line.office.commit_refusals = vec![Rejection::MailboxFull];
    let said = line.send("x\r\n.\r\n");
    assert!(said.starts_with("452 4.2.2") && said.contains("\r\n451 4.3.0"), "none is left without: {said}");
}

/// RFC 5321, section 4.2.5: A message is accepted only when it is durable, and otherwise rejected temporarily.
#[test]
fn rfc5321_4_2_5_a_message_is_taken_only_when_it_is_safe() {
    let mut line = with_data(wan());
    let now = line.now;
    assert_eq!(line.session.receive(now, b"x\r\n.\r\nNOOP\r\n"), 6);
    assert_eq!(line.session.poll_output(now), Some(Output::Ask(Ask::Chunk(b"x\r\n".to_vec()))));
    assert_eq!(line.session.poll_output(now), None);
    line.session.answer(now, Answer::Chunk(Ok(())));
    assert_eq!(line.session.poll_output(now), Some(Output::Ask(Ask::Commit)));
    for _ in 0..3 {
        assert_eq!(line.session.receive(now, b"NOOP\r\n"), 0);
        assert_eq!(line.session.poll_output(now), None, "nothing is said before it is safe");
    }
    line.session.answer(now, Answer::Commit(vec![Err(Rejection::NoRoom)]));
    let Some(Output::Reply(reply)) = line.session.poll_output(now) else { panic!("a reply") };
    assert!(reply.starts_with(b"452 4.3.1"));
}

#[test]
fn a_full_disk_is_told_before_the_data_or_after_it() {
    let mut line = Line::greeted(wan());
    line.office.room = 100_000;
    line.dialogue(&[
        ("MAIL FROM:<a@b.example> SIZE=200000", "452 4.3.1"),
        ("MAIL FROM:<a@b.example>", "250"),
    ]);
    line.dialogue(&[("RCPT TO:<anna@office.example>", "250"), ("DATA", "354")]);
    assert_eq!(line.send("x".repeat(3 * CHUNK_OCTETS)), "");
    assert!(line.actions.is_empty(), "the other side has forgotten it already");
    line.dialogue(&[("\r\n.", "452 4.3.1"), ("MAIL FROM:<a@b.example>", "250")]);
    line.dialogue(&[("RCPT TO:<anna@office.example>", "250"), ("BDAT 196608", "")][..1]);
    let said = line.send([b"BDAT 196608\r\n", &vec![b'x'; 196_608][..], b"NOOP\r\n"].concat());
    assert!(said.starts_with("452 4.3.1") && replies(&said) == 2, "{said}");
}

#[test]
fn what_never_ends_ends_the_session() {
    let policy = Policy { limits: Limits { refused_octets_max: 100_000, ..Limits::wan(1000) }, ..wan() };
    for portion in [10_000, usize::MAX] {
        let mut line = with_data(policy.clone());
        line.portion = portion;
        let said = line.send(vec![b'x'; 200_000]);
        assert!(said.starts_with("421 4.5.2") && replies(&said) == 1 && line.is_closed(), "{said}");
        assert!(!line.office.is_open());
    }
    let mut line = Line::greeted(policy);
    line.dialogue(&[("BDAT 100001", "421 4.5.2")]);
    assert!(line.is_closed());
}

#[test]
fn a_connection_that_breaks_leaves_no_transaction() {
    for sent in ["", "DATA\r\n", "DATA\r\nx\r\n", "BDAT 5\r\nx"] {
        let mut line = with_recipient(wan());
        line.send(sent);
        line.session.lost(line.now);
        line.settle();
        assert_eq!(line.actions, [Action::Abort, Action::Close], "{sent}");
        assert_eq!((line.session.deadline(), line.session.receive(line.now, b"NOOP\r\n")), (None, 6));
    }
    // There is no question yet.
    let mut line = with_data(wan());
    line.session.receive(line.now, b".\r\n");
    line.session.lost(line.now);
    assert_eq!(line.session.poll_output(line.now), Some(Output::Action(Action::Abort)));
    // It is being committed.
    let mut line = with_data(wan());
    line.session.receive(line.now, b".\r\n");
    assert_eq!(line.session.poll_output(line.now), Some(Output::Ask(Ask::Commit)));
    line.session.lost(line.now);
    assert_eq!(line.session.poll_output(line.now), Some(Output::Action(Action::Close)));
    line.session.answer(line.now, Answer::Commit(vec![Ok("1".to_owned())]));
    assert_eq!(line.session.poll_output(line.now), None);
    // A question about the sender is open, or not read yet.
    let mut line = Line::greeted(wan());
    line.session.receive(line.now, b"MAIL FROM:<>\r\n");
    line.session.lost(line.now);
    assert_eq!(line.session.poll_output(line.now), Some(Output::Action(Action::Close)));
    let mut line = Line::greeted(wan());
    line.session.receive(line.now, b"MAIL FROM:<>\r\n");
    assert!(matches!(line.session.poll_output(line.now), Some(Output::Ask(Ask::Begin(_)))));
    line.session.lost(line.now);
    assert_eq!(line.session.poll_output(line.now), Some(Output::Action(Action::Abort)));
}

/// RFC 5321, section 3.8: A server that stops answers the command at hand, and says so.
#[test]
fn rfc5321_3_8_a_server_that_stops_says_so() {
    let mut line = Line::greeted(wan());
    line.session.stop(Instant::from_secs(1001));
    line.now = Instant::from_secs(1001);
    line.settle();
    assert!(line.is_closed());
    let mut line = Line::greeted(Policy { tls: Tls::Available, ..wan() });
    line.dialogue(&[("STARTTLS", "220")]);
    line.session.stop(line.now);
    line.settle();
    assert!(line.is_closed(), "nothing can be said in clear any more");
    let mut line = with_data(wan());
    line.session.stop(line.now);
    let said = line.send("x\r\n.\r\n");
    assert!(said.starts_with("250 2.6.0") && said.contains("\r\n421 4.3.2") && line.is_closed(), "{said}");
    assert_eq!(delivered(&line), [b"x\r\n"]);
    // A rejected message, or a part of one, is answered without a question.
    for (before, after, expected) in
        [("DATA\r\nx\ny", "\r\n.\r\n", "550 5.6.0"), ("BDAT 5\r\nab", "c\r\n", "250 2.0.0")]
    {
        let mut line = with_recipient(wan());
        line.send(before);
        line.session.stop(line.now);
        let said = line.send(after);
        assert!(said.starts_with(expected) && said.contains("\r\n421 4.3.2") && line.is_closed(), "{said}");
        assert!(!line.office.is_open());
    }
}

/// RFC 5321, section 4.4: The Received field names the recipient only if there is one.
#[test]
fn rfc5321_4_4_the_received_field_names_one_recipient_only() {
    let mut line = with_recipient(lan());
    let field = |line: &Line| line.session.received("7", UnixTime(0)).expect("a message is under way");
    assert!(field(&line).contains("\r\n\tfor <anna@office.example>;"), "{}", field(&line));
    assert!(
        field(&line).contains("from a.example ([192.168.1.10])\r\n\tby smtp.office.example with ESMTP id 7")
    );
    line.dialogue(&[("RCPT TO:<bob@office.example>", "250")]);
    assert!(!field(&line).contains("for <"));
    line.dialogue(&[("RSET", "250")]);
    assert_eq!(line.session.received("7", UnixTime(0)), None);
    let mut line = Line::greeted(submissions());
    line.dialogue(&[("AUTH PLAIN AGFubmEAc2VjcmV0", "235"), ("MAIL FROM:<anna> SMTPUTF8", "250")]);
    assert!(field(&line).contains(" with UTF8SMTPSA id 7"), "{}", field(&line));
}
