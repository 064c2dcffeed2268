use std::time::Duration;

use crate::mail::smtp::server::Action;
use crate::mail::smtp::server::testing::{Line, lan, replies, wan};
use crate::mail::smtp::{
    COMMAND_LINE_OCTETS_MAX, COMMAND_TIMEOUT, DATA_OCTETS_A_SECOND, DATA_PROGRESS_OCTETS, DATA_TIMEOUT,
    LINE_DISCARD_OCTETS_MAX, Limits, Policy, TARPIT_MAX, Tls,
};

fn with_data() -> Line {
    with_message_by("DATA\r\n")
}

/// A session to which the octets of a message are to be sent next.
fn with_message_by(command: &str) -> Line {
    let mut line = Line::greeted(wan());
    line.dialogue(&[("MAIL FROM:<>", "250"), ("RCPT TO:<anna@office.example>", "250")]);
    line.send(command);
    line
}

/// RFC 5321, section 4.5.3.2.7: A client has five minutes for its next command, whole.
#[test]
fn rfc5321_4_5_3_2_7_a_client_has_five_minutes_for_a_command() {
    let mut line = Line::greeted(wan());
    let start = line.now;
    assert_eq!(line.session.deadline(), Some(start + COMMAND_TIMEOUT));
    line.now = start + Duration::from_secs(299);
    line.send("NOO");
    line.session.handle_timeout(line.now);
    line.settle();
    assert_eq!(line.session.deadline(), Some(start + COMMAND_TIMEOUT), "part of a command wins no time");
    line.send("P\r\n");
    assert_eq!(line.session.deadline(), Some(line.now + COMMAND_TIMEOUT));
    let said = line.time_out();
    assert!(said.starts_with("421 4.4.2") && line.is_closed(), "{said}");
    assert_eq!(line.session.deadline(), None);
}

/// RFC 5321, section 4.5.3.2.5: While a message comes its client has time, as long as it brings something.
#[test]
fn rfc5321_4_5_3_2_5_a_message_may_take_long_but_must_go_on() {
    let mut line = with_data();
    for _ in 0..100 {
        line.now = line.now + Duration::from_secs(60);
        line.session.handle_timeout(line.now);
        line.send("x".repeat(60 * DATA_OCTETS_A_SECOND));
        assert_eq!(line.session.deadline(), Some(line.now + DATA_TIMEOUT));
    }
    let deadline = line.session.deadline();
    line.now = line.now + Duration::from_secs(299);
    line.send("x".repeat(DATA_PROGRESS_OCTETS - 1));
    assert_eq!(line.session.deadline(), deadline, "that is too little");
    let said = line.time_out();
    assert!(said.starts_with("421 4.4.2"), "{said}");
    assert_eq!(line.actions, [Action::Abort, Action::Close]);
}

#[test]
fn a_message_that_trickles_in_is_given_up_though_much_of_it_came_at_once() {
    let octets = "x".repeat(2 * DATA_PROGRESS_OCTETS);
    for command in ["DATA\r\n", "BDAT 900000\r\n"] {
        let mut line = with_message_by(command);
        let start = line.now;
        line.send("x".repeat(600 << 10));
        while !line.is_closed() {
            line.now = line.now + Duration::from_secs(60);
            line.session.handle_timeout(line.now);
            line.send(&octets);
        }
        let took = line.now.since(start);
        // The client gains two seconds of each minute.
        let expected = DATA_TIMEOUT..DATA_TIMEOUT + Duration::from_secs(61);
        assert!(expected.contains(&took), "{took:?} of {command}");
    }
    let mut line = with_message_by("BDAT 1\r\nx");
    for _ in 0..5 {
        line.now = line.now + Duration::from_secs(61);
        line.session.handle_timeout(line.now);
        line.send("BDAT 1\r\nx");
    }
    assert!(line.is_closed(), "chunks are no excuse");
}

#[test]
fn a_handshake_that_does_not_come_about_is_given_up_in_silence() {
    let mut line = Line::greeted(Policy { tls: Tls::Available, ..wan() });
    line.dialogue(&[("STARTTLS", "220")]);
    assert_eq!(line.time_out(), "");
    assert!(line.is_closed());
}

/// RFC 5321, section 4.5.3.1.4: A command line that is too long is refused, and the next is read.
#[test]
fn rfc5321_4_5_3_1_4_a_line_that_is_too_long_is_refused() {
    let mut line = Line::greeted(wan());
    let of_len = |len: usize| format!("NOOP {}", "x".repeat(len - "NOOP \r\n".len()));
    line.dialogue(&[
        (&of_len(COMMAND_LINE_OCTETS_MAX), "250"),
        (&of_len(COMMAND_LINE_OCTETS_MAX + 1), "500 5.5.2"),
        (&of_len(LINE_DISCARD_OCTETS_MAX), "500 5.5.2"),
        ("NOOP", "250"),
    ]);
    let said = line.send("x".repeat(LINE_DISCARD_OCTETS_MAX + 20_000));
    assert!(said.starts_with("421 4.5.2") && replies(&said) == 1 && line.is_closed(), "{said}");
}

/// RFC 5321, section 4.5.3.1.4: Parameters of extensions make a command line longer, and it is taken.
#[test]
fn rfc5321_4_5_3_1_4_parameters_make_a_line_longer() {
    let mut line = Line::greeted(wan());
    let (local, x) = ("l".repeat(64), "x".repeat(490));
    line.dialogue(&[
        (&format!("MAIL FROM:<{local}@b.example> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL AUTH={x}"), "250"),
        (&format!("RCPT TO:<anna@office.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{x}"), "250"),
    ]);
}

#[test]
fn errors_are_forgiven_only_so_often() {
    let Limits { errors_max, unknown_commands_max, idle_commands_max, .. } = wan().limits;
    for (command, max) in
        [("RCPT TO:<a@b.example>", errors_max), ("FOO", unknown_commands_max), ("NOOP", idle_commands_max)]
    {
        let mut line = Line::open(wan());
        let said = line.send(format!("{command}\r\n").repeat(max as usize + 10));
        assert_eq!(replies(&said), max as usize + 1, "{command}");
        assert!(said.lines().last().is_some_and(|last| last.starts_with("421 4.7.0")), "{said}");
        assert!(line.is_closed());
    }
    // A message makes up for them.
    let mut line = Line::greeted(wan());
    for _ in 0..10 {
        line.send("FOO\r\n".repeat(unknown_commands_max as usize - 1));
        line.dialogue(&[("MAIL FROM:<>", "250"), ("RCPT TO:<anna@office.example>", "250"), ("DATA", "354")]);
        line.dialogue(&[("x\r\n.", "250")]);
    }
}

#[test]
fn what_is_refused_for_now_is_refused_only_so_often() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250")]);
    let max = wan().limits.temporary_max as usize;
    let said = line.send("RCPT TO:<later@office.example>\r\n".repeat(max + 10));
    assert_eq!(replies(&said), max + 1);
    assert!(said.lines().last().is_some_and(|last| last.starts_with("421 4.7.0")) && line.is_closed());
}

#[test]
fn who_guesses_addresses_waits_longer_and_longer() {
    let mut line = Line::greeted(Policy { limits: Limits::wan(1000), ..wan() });
    line.dialogue(&[("MAIL FROM:<a@b.example>", "250")]);
    let mut held_back = Vec::new();
    for n in 0..20 {
        line.held_back = Duration::ZERO;
        line.dialogue(&[(&format!("RCPT TO:<guess{n}@office.example>"), "550 5.1.1")]);
        held_back.push(line.held_back.as_secs());
    }
    assert_eq!(held_back[..6], [0, 0, 0, 1, 2, 3]);
    assert!(held_back.is_sorted() && held_back.iter().all(|secs| *secs <= TARPIT_MAX.as_secs()));
    // The server reads nothing meanwhile, and the client has its five minutes afterwards.
    let mut line = Line::greeted(Policy { limits: Limits::wan(1000), ..wan() });
    line.send("FOO\r\n".repeat(3));
    assert_eq!(line.session.receive(line.now, b"FOO\r\nNOOP\r\n"), 5);
    assert_eq!(line.session.poll_output(line.now), None);
    let due = line.session.deadline().expect("a reply is held back");
    assert_eq!(due.since(line.now), Duration::from_secs(1));
    line.session.handle_timeout(due);
    assert_eq!(line.session.receive(due, b"NOOP\r\n"), 0, "first the reply");
    assert!(line.session.poll_output(due).is_some());
    assert_eq!(line.session.deadline(), Some(due + COMMAND_TIMEOUT));
    // A program of the office gets its errors at once.
    let mut line = Line::greeted(lan());
    line.send("RSET x\r\n".repeat(100));
    assert_eq!((line.held_back, line.is_closed()), (Duration::ZERO, false));
}
