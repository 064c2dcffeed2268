use crate::mail::smtp::server::Action;
use crate::mail::smtp::server::testing::{Line, lan, lmtp, replies, submissions, wan};
use crate::mail::smtp::{Policy, Role, Tls};

fn with_tls() -> Policy {
    Policy { tls: Tls::Available, ..wan() }
}

/// RFC 5321, section 4.1.1.1: EHLO is answered by the extensions, HELO by the name alone.
#[test]
fn rfc5321_4_1_1_1_ehlo_is_answered_by_the_extensions() {
    let mut line = Line::open(with_tls());
    let reply = line.say("EHLO a.example");
    let expected = "250-smtp.office.example\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n\
                    250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-CHUNKING\r\n250 STARTTLS\r\n";
    assert_eq!(reply, expected);
    assert_eq!(line.say("HELO a.example"), "250 smtp.office.example\r\n");
    let mut line = Line::open(submissions());
    assert!(line.say("EHLO a.example").ends_with("250 AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"));
}

/// RFC 5321, section 4.1.1.1: What a client calls itself; computers of users may call themselves anything.
#[test]
fn rfc5321_4_1_1_1_names_of_clients() {
    for name in ["a.example", "my_pc", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[IPV6:2a01::1]"] {
        assert!(Line::open(wan()).say(&format!("EHLO {name}")).starts_with("250-"), "{name}");
    }
    for name in ["PC OF ANNA", "192.168.1.10", "2a01::1", "-", "b\u{fc}ro", "(x)"] {
        assert!(Line::open(wan()).say(&format!("EHLO {name}")).starts_with("501 5.5.4"), "{name}");
        for hello in ["EHLO", "HELO"] {
            for policy in [lan(), submissions()] {
                assert!(Line::open(policy).say(&format!("{hello} {name}")).starts_with("250"), "{name}");
            }
        }
    }
    // Latin-1.
    assert!(Line::open(submissions()).send(b"EHLO PC-M\xdcLLER\r\n").starts_with("250-"));
    assert!(Line::open(lan()).send(b"EHLO B\xdcRO\r\n").starts_with("250-"));
    assert!(Line::open(wan()).send(b"EHLO B\xdcRO\r\n").starts_with("500 5.5.2"));
    Line::open(lan()).dialogue(&[("EHLO", "501 5.5.4"), ("HELO ", "501 5.5.4")]);
}

/// RFC 5321, section 4.1.4: Commands before their time.
#[test]
fn rfc5321_4_1_4_commands_before_their_time() {
    let mut line = Line::open(wan());
    line.dialogue(&[
        ("MAIL FROM:<a@b.example>", "503 5.5.1"),
        ("RCPT TO:<anna@office.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("NOOP", "250 2.0.0"),
        ("RSET", "250 2.0.0"),
        ("VRFY anna", "252 2.0.0"),
        ("EXPN all", "502 5.5.1"),
        ("HELP me", "214 2.0.0"),
        ("FOO", "500 5.5.1"),
        ("EHLO a.example", "250-"),
        ("RCPT TO:<anna@office.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("MAIL FROM:<a@b.example>", "250 2.1.0"),
        ("MAIL FROM:<a@b.example>", "503 5.5.1"),
        ("DATA", "554 5.5.1"),
        ("RCPT TO:<anna@office.example>", "250 2.1.5"),
        ("QUIT", "221 2.0.0"),
    ]);
    assert_eq!(line.actions, [Action::Abort, Action::Close]);
}

/// RFC 5321, section 4.1.1.10: QUIT within a message gives it up.
#[test]
fn rfc5321_4_1_1_10_quit_gives_a_message_up() {
    let mut line = Line::greeted(wan());
    line.dialogue(&[("MAIL FROM:<>", "250"), ("QUIT", "221 2.0.0")]);
    assert_eq!(line.actions, [Action::Abort, Action::Close]);
    assert_eq!(line.send("NOOP\r\n"), "", "nothing comes behind it");
}

/// RFC 5321, section 4.1.1.5: RSET and a further EHLO give a message up, one that is refused does not.
#[test]
fn rfc5321_4_1_1_5_rset_and_ehlo_give_a_message_up() {
    let mut line = Line::greeted(wan());
    for again in ["RSET", "EHLO a.example", "HELO a.example"] {
        line.dialogue(&[("MAIL FROM:<>", "250"), (again, "250"), ("MAIL FROM:<>", "250"), ("RSET", "250")]);
    }
    assert_eq!(line.office.aborted, 6);
    line.dialogue(&[
        ("MAIL FROM:<>", "250"),
        ("EHLO 1.2.3.4", "501"),
        ("RCPT TO:<anna@office.example>", "250"),
    ]);
    line.dialogue(&[("RSET x", "501"), ("RCPT TO:<bob@office.example>", "250")]);
}

/// RFC 2920, section 3.2: Commands that come together are answered one by one, in their order.
#[test]
fn rfc2920_3_2_commands_that_come_together_are_answered_in_order() {
    let flight = "EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<no1@office.example>\r\n\
                  RCPT TO:<no2@office.example>\r\nRCPT TO:<no3@office.example>\r\nDATA\r\nRSET\r\nQUIT\r\n";
    for portion in [1, 5, 100, flight.len()] {
        let mut line = Line::open(wan());
        line.portion = portion;
        let said = line.send(flight);
        let codes: Vec<_> =
            said.lines().filter(|line| !line.starts_with("250-")).map(|line| &line[..3]).collect();
        assert_eq!(codes, ["250", "250", "550", "550", "550", "554", "250", "221"], "{said}");
    }
}

/// RFC 3207, section 4.2: Under TLS nothing of before is known.
#[test]
fn rfc3207_4_2_under_tls_nothing_of_before_is_known() {
    let mut line = Line::greeted(with_tls());
    line.dialogue(&[("MAIL FROM:<>", "250"), ("STARTTLS", "220 2.0.0")]);
    assert_eq!(line.actions, [Action::Abort, Action::StartTls]);
    line.session.tls_started(line.now);
    line.dialogue(&[("MAIL FROM:<>", "503 5.5.1"), ("STARTTLS", "503 5.5.1")]);
    let reply = line.say("EHLO a.example");
    assert!(!reply.contains("STARTTLS"), "{reply}");
    line.dialogue(&[("MAIL FROM:<>", "250")]);
    assert!(Line::greeted(wan()).say("STARTTLS").starts_with("502 5.5.1"));
}

/// RFC 3207, section 5: What comes behind STARTTLS in clear is thrown away, and the connection ends.
#[test]
fn rfc3207_5_what_comes_behind_starttls_in_clear_is_thrown_away() {
    for injected in ["RSET\r\n", "X", "MAIL FROM:<evil@b.example>\r\nRCPT TO:<anna@office.example>\r\n"] {
        for portion in [1, 3, usize::MAX] {
            let mut line = Line::greeted(with_tls());
            line.portion = portion;
            let said = line.send(format!("STARTTLS\r\n{injected}"));
            assert_eq!((replies(&said), &said[..3]), (1, "220"), "{said}");
            assert!(line.is_closed(), "{:?}", line.actions);
            assert!(!line.office.is_open());
            line.session.tls_started(line.now);
            assert_eq!(line.say("NOOP"), "", "it is over");
        }
    }
    // Octets in the same segment as STARTTLS are seen before the handshake.
    let mut line = Line::greeted(with_tls());
    line.send("STARTTLS\r\nX");
    assert_eq!(line.actions, [Action::Close]);
}

/// RFC 6409, section 4.3: Submission is for users who have logged in.
#[test]
fn rfc6409_4_3_submission_is_for_users_who_have_logged_in() {
    let mut line = Line::greeted(submissions());
    line.dialogue(&[
        ("MAIL FROM:<anna@office.example>", "530 5.7.0"),
        ("AUTH PLAIN AGFubmEAc2VjcmV0", "235 2.7.0"),
    ]);
    line.dialogue(&[
        ("MAIL FROM:<anna>", "250"),
        ("RCPT TO:<x@elsewhere.example>", "250"),
        ("RCPT TO:<bob>", "250"),
    ]);
    assert_eq!(line.session.user(), Some("anna"));
    let mut line = Line::greeted(Policy { tls: Tls::Available, ..submissions() });
    assert!(line.say("MAIL FROM:<a@b.example>").contains("STARTTLS"), "it says what to do");
}

/// RFC 2033, section 4.1: LMTP has a greeting of its own.
#[test]
fn rfc2033_4_1_lmtp_has_a_greeting_of_its_own() {
    let mut line = Line::open(lmtp());
    line.dialogue(&[
        ("EHLO a.example", "500 5.5.1"),
        ("HELO a.example", "500 5.5.1"),
        ("MAIL FROM:<>", "503 5.5.1"),
        ("LHLO a.example", "250-"),
        ("MAIL FROM:<>", "250"),
        // RFC 2033, section 4.2
        ("DATA", "503 5.5.1"),
    ]);
    assert!(Line::open(wan()).say("LHLO a.example").starts_with("500 5.5.1"));
    assert!(!Line::open(lmtp()).say("LHLO a.example").contains("CHUNKING"));
}

/// RFC 5321, section 2.3.8: A command line with a bare LF ends the session; other strange octets are refused.
#[test]
fn rfc5321_2_3_8_command_lines_end_with_crlf() {
    let mut line = Line::greeted(wan());
    assert!(line.send("NO\0OP\r\n").starts_with("500 5.5.2"));
    assert!(line.send("NOOP\rNOOP\r\n").starts_with("500 5.5.2"));
    assert!(line.send("NOOP\r\r\n").starts_with("500 5.5.2"));
    let said = line.send("RSET x\nMAIL FROM:<a@b.example>\r\n");
    assert!(said.starts_with("421 4.5.2") && replies(&said) == 1 && line.is_closed(), "{said}");
    assert!(!line.office.is_open());
    // A device of the office shows its user a permanent rejection.
    let mut line = Line::open(lan());
    assert!(line.send("EHLO scanner\n").starts_with("500 5.5.2") && line.is_closed());
}

#[test]
fn a_form_of_a_browser_is_no_mail() {
    let mut line = Line::open(lan());
    let said = line.send("POST / HTTP/1.1\r\nHost: mail\r\n\r\nEHLO a\r\nMAIL FROM:<a@b.example>\r\n");
    assert!(said.starts_with("421") && replies(&said) == 1 && line.is_closed(), "{said}");
}

#[test]
fn the_role_decides_and_not_the_port() {
    let policy = Policy { role: Role::Submission, mechanisms: Vec::new(), ..lan() };
    Line::greeted(policy).dialogue(&[("MAIL FROM:<anna>", "530 5.7.0"), ("AUTH PLAIN", "502 5.5.1")]);
}
