//! What is answered to commands, and what to lines that are none.

use std::time::Duration;

use crate::mail::pop3::server::testing::*;
use crate::mail::pop3::server::{COMMANDS_BEFORE_LOGIN_MAX, ERRORS_MAX, IDLE_TIMEOUT, NotFetched, Policy};
use crate::mail::smtp::Tls;

const THREE: [&str; 3] = ["a: 1\r\n\r\none\r\n", "a: 2\r\n\r\ntwo\r\n", "a: 3\r\n\r\nthree!\r\n"];

/// RFC 1939, section 5: STAT and LIST count messages and octets, without those that are marked as deleted.
#[test]
fn rfc1939_5_stat_and_list_leave_out_what_is_marked() {
    let mut anna = Connection::of_anna(Office::with(&THREE));
    anna.dialogue(&[
        ("STAT", "+OK 3 42\r\n"),
        ("LIST 3", "+OK 3 16\r\n"),
        ("list 4", "-ERR"),
        ("LIST 0", "-ERR"),
    ]);
    assert_eq!(anna.says("LIST"), "+OK 3 messages (42 octets)\r\n1 13\r\n2 13\r\n3 16\r\n.\r\n");
    anna.dialogue(&[("DELE 2", "+OK"), ("DELE 2", "-ERR"), ("RETR 2", "-ERR"), ("STAT", "+OK 2 29\r\n")]);
    anna.dialogue(&[("LIST 2", "-ERR"), ("UIDL 2", "-ERR"), ("TOP 2 0", "-ERR"), ("LIST 3", "+OK 3 16\r\n")]);
    assert_eq!(anna.says("LIST"), "+OK 2 messages (29 octets)\r\n1 13\r\n3 16\r\n.\r\n");
    anna.dialogue(&[("RSET", "+OK"), ("STAT", "+OK 3 42\r\n"), ("NOOP", "+OK\r\n")]);
    assert_eq!(Connection::of_anna(Office::default()).says("LIST"), "+OK 0 messages (0 octets)\r\n.\r\n");
}

/// RFC 1939, section 7: UIDL names a message by what stays its own for ever.
#[test]
fn rfc1939_7_uidl_names_a_message_by_what_stays_its_own() {
    let mut anna = Connection::of_anna(Office::with(&THREE));
    let name = |number: u32, uid: u32| format!("{number} {VALIDITY}.{uid}\r\n");
    assert_eq!(anna.says("UIDL 2"), format!("+OK {}", name(2, 6)));
    anna.says("DELE 1");
    let listed = anna.says("UIDL");
    assert_eq!(listed, format!("+OK 2 messages (29 octets)\r\n{}{}.\r\n", name(2, 6), name(3, 9)));
    // Between 1 and 70 printable characters.
    let longest = format!("{}.{}", u32::MAX, u32::MAX);
    assert!(longest.len() <= 70 && longest.bytes().all(|octet| octet.is_ascii_graphic()));
}

/// RFC 1939, section 6: QUIT removes what is marked, and nothing else does.
#[test]
fn rfc1939_6_quit_removes_what_is_marked_and_nothing_else_does() {
    let mut anna = Connection::of_anna(Office::with(&THREE));
    anna.dialogue(&[("DELE 1", "+OK"), ("DELE 3", "+OK"), ("QUIT", "+OK")]);
    assert_eq!((anna.office.removed, anna.is_closed), (vec![vec![3, 9]], true));
    let mut nothing = Connection::of_anna(Office::with(&THREE));
    nothing.dialogue(&[("DELE 1", "+OK"), ("RSET", "+OK"), ("QUIT", "+OK")]);
    assert_eq!(nothing.office.removed, [Vec::<u32>::new()], "the inbox is let go");
    let mut lost = Connection::of_anna(Office::with(&THREE));
    lost.says("DELE 1");
    lost.session.lost();
    assert_eq!(lost.hears(""), "");
    assert!(lost.office.removed.is_empty() && lost.is_closed);
    let mut stopped = Connection::of_anna(Office::with(&THREE));
    stopped.says("DELE 1");
    stopped.session.stop(stopped.now);
    assert!(stopped.hears("").starts_with("-ERR [SYS/TEMP]"));
    assert!(stopped.office.removed.is_empty() && stopped.is_closed);
    let mut stranger = Connection::new(policy(Tls::Active), Office::default());
    stranger.dialogue(&[("QUIT", "+OK")]);
    assert!(stranger.office.removed.is_empty() && stranger.is_closed);
}

/// RFC 1939, section 6: QUIT gets -ERR if marked messages could not be removed, and the connection ends.
#[test]
fn rfc1939_6_a_client_is_told_if_messages_could_not_be_removed() {
    let office = Office { refuses_removal: true, ..Office::with(&THREE) };
    let mut anna = Connection::of_anna(office);
    anna.dialogue(&[("DELE 1", "+OK"), ("QUIT", "-ERR [SYS/TEMP]")]);
    assert!(anna.is_closed);
}

/// RFC 1939, section 3: Silence of ten minutes ends the session without a word, and nothing is removed.
#[test]
fn rfc1939_3_silence_of_ten_minutes_ends_the_session_without_a_word() {
    assert!(IDLE_TIMEOUT >= Duration::from_secs(600));
    let just_before = IDLE_TIMEOUT - Duration::from_secs(1);
    let mut anna = Connection::of_anna(Office::with(&THREE));
    anna.says("DELE 1");
    for _ in 0..3 {
        assert_eq!(anna.waits(just_before), "");
        anna.dialogue(&[("NOOP", "+OK")]);
    }
    anna.hears("NOO");
    assert_eq!((anna.waits(just_before).as_str(), anna.is_closed), ("", false));
    anna.hears("P");
    assert_eq!((anna.waits(Duration::from_secs(1)).as_str(), anna.is_closed), ("", true));
    assert!(anna.office.removed.is_empty());
    // Silence does not count while a question is open.
    let mut waiting = Connection::of_anna(Office::with(&THREE));
    waiting.leaves_open = true;
    waiting.says("RETR 1");
    assert_eq!(waiting.session.deadline(), None);
}

/// RFC 1939, section 3: What does not belong there is answered by -ERR, and changes nothing.
#[test]
fn rfc1939_3_what_does_not_belong_there_is_refused() {
    let mut stranger = Connection::new(policy(Tls::Active), Office::with(&THREE));
    for line in ["STAT", "LIST", "UIDL", "RETR 1", "DELE 1", "TOP 1 1", "NOOP", "RSET"] {
        stranger.dialogue(&[(line, "-ERR log in first")]);
    }
    stranger.dialogue(&[("", "-ERR"), ("EHLO x", "-ERR"), ("PASS x", "-ERR USER"), ("USER", "-ERR")]);
    assert!(stranger.hears("CAPA\n").starts_with("-ERR lines end"));
    assert!(stranger.hears("NO\0OP\r\n").starts_with("-ERR a line is text"));
    assert!(stranger.hears(b"NO\xffOP\r\n").starts_with("-ERR a line is text"));
    assert!(stranger.says(&"x".repeat(20_000)).starts_with("-ERR the line is too long"));
    stranger.dialogue(&[("USER anna", "+OK"), ("CAPA", "+OK"), (&format!("PASS {PASSWORD}"), "-ERR USER")]);
    stranger.dialogue(&[("USER anna", "+OK"), (&format!("PASS {PASSWORD}"), "+OK 3 messages (42 octets)")]);
    let line = format!("USER {}", "x".repeat(600));
    stranger.dialogue(&[("USER anna", "-ERR"), ("AUTH PLAIN", "-ERR"), ("STLS", "-ERR"), (&line, "-ERR")]);
    stranger.dialogue(&[("RETR x", "-ERR"), ("TOP 1", "-ERR"), ("STAT", "+OK 3")]);
    assert!(
        stranger.hears(vec![b'x'; 100_000]).starts_with("-ERR the line has no end") && stranger.is_closed
    );
}

#[test]
fn a_client_that_never_logs_in_or_errs_without_end_is_sent_away() {
    let mut stranger = Connection::new(policy(Tls::Active), Office::default());
    for _ in 0..COMMANDS_BEFORE_LOGIN_MAX {
        stranger.dialogue(&[("CAPA", "+OK")]);
    }
    stranger.dialogue(&[("CAPA", "-ERR too many commands")]);
    assert!(stranger.is_closed);
    let mut anna = Connection::of_anna(Office::default());
    for _ in 0..ERRORS_MAX {
        anna.dialogue(&[("RETR 1", "-ERR there is no such message"), ("NOOP", "+OK")]);
    }
    anna.dialogue(&[("RETR 1", "-ERR too many errors")]);
    assert!(anna.is_closed);
    // An unreadable message is no error of the client.
    let office = Office { unreadable: vec![(3, NotFetched::Damaged)], ..Office::with(&THREE) };
    let mut anna = Connection::of_anna(office);
    for _ in 0..=ERRORS_MAX {
        anna.dialogue(&[("RETR 1", "-ERR [SYS/PERM]")]);
    }
    assert!(!anna.is_closed);
}

/// RFC 2449, section 5: CAPA lists what there is, before and after the login, and under TLS.
#[test]
fn rfc2449_5_capa_lists_what_there_is() {
    let always = "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n.\r\n";
    let logins = "USER\r\nSASL SCRAM-SHA-256 PLAIN LOGIN\r\n";
    let lan = |tls| Policy { plaintext_login: true, ..policy(tls) };
    for (policy, expected) in [
        (policy(Tls::Unavailable), always.to_owned()),
        (policy(Tls::Available), format!("STLS\r\n{always}")),
        (policy(Tls::Active), format!("{logins}{always}")),
        (lan(Tls::Unavailable), format!("{logins}{always}")),
        (lan(Tls::Available), format!("{logins}STLS\r\n{always}")),
    ] {
        let said = Connection::new(policy, Office::default()).says("CAPA");
        assert_eq!(said.split_once("\r\n").unwrap().1, expected);
    }
    let said = Connection::of_anna(Office::default()).says("CAPA");
    assert_eq!(said.split_once("\r\n").unwrap().1, format!("{logins}{always}"), "the same behind the login");
}

/// RFC 2449, section 6.6: Commands that come together are answered one after the other.
#[test]
fn rfc2449_6_6_commands_that_come_together_are_answered_in_order() {
    let mut anna = Connection::new(policy(Tls::Active), Office::with(&THREE));
    let said = anna.hears(format!(
        "USER anna\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nTOP 2 0\r\nQUIT\r\nSTAT\r\n"
    ));
    let expected = "+OK now PASS\r\n+OK 3 messages (42 octets)\r\n+OK 3 42\r\n+OK 13 octets\r\na: 1\r\n\r\n\
                    one\r\n.\r\n+OK message 1 is deleted by QUIT\r\n+OK\r\na: 2\r\n\r\n.\r\n+OK bye\r\n";
    assert_eq!(said, expected);
    assert!(anna.is_closed && anna.office.removed == [[3]]);
}
