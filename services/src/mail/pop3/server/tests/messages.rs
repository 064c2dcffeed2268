//! Messages on their way out.

use crate::mail::pop3::server::testing::*;
use crate::mail::pop3::server::{NotFetched, PART_OCTETS};

/// RFC 1939, section 3: A line that begins with a dot gets one more, which sizes do not include.
#[test]
fn rfc1939_3_a_line_that_begins_with_a_dot_gets_one_more() {
    let mut anna =
        Connection::of_anna(Office::with(&[".\r\n..x\r\n\r\n.\r\n.y\r\nz.\r\n", "a: b\r\n\r\nno end", ""]));
    assert_eq!(anna.says("LIST 1"), "+OK 1 21\r\n");
    assert_eq!(anna.says("RETR 1"), "+OK 21 octets\r\n..\r\n...x\r\n\r\n..\r\n..y\r\nz.\r\n.\r\n");
    assert_eq!(anna.says("TOP 1 1"), "+OK\r\n..\r\n...x\r\n\r\n..\r\n.\r\n");
    assert_eq!(anna.says("RETR 2"), "+OK 14 octets\r\na: b\r\n\r\nno end\r\n.\r\n");
    assert_eq!(anna.says("RETR 3"), "+OK 0 octets\r\n.\r\n");
    assert_eq!(anna.office.forgotten, 4);
}

/// RFC 1939, section 7: TOP of more lines than there are is the whole message; of none the header.
#[test]
fn rfc1939_7_top_of_some_lines() {
    let mut anna = Connection::of_anna(Office::with(&["a: b\r\n\r\none\r\ntwo\r\n"]));
    assert_eq!(anna.says("TOP 1 0"), "+OK\r\na: b\r\n\r\n.\r\n");
    assert_eq!(anna.says("TOP 1 1"), "+OK\r\na: b\r\n\r\none\r\n.\r\n");
    for many in ["2", "3", "99999999999999999999"] {
        assert_eq!(anna.says(&format!("TOP 1 {many}")), "+OK\r\na: b\r\n\r\none\r\ntwo\r\n.\r\n");
    }
}

#[test]
fn a_long_message_comes_in_portions() {
    let long =
        format!("a: b\r\n\r\n{}", ".2345678901234567890123456789012345678901234567890\r\n".repeat(10_000));
    assert!(long.len() > 5 * PART_OCTETS);
    let mut anna = Connection::of_anna(Office::with(&[&long]));
    let said = anna.says("RETR 1");
    let stuffed = long.replace("\r\n.", "\r\n..");
    assert_eq!(said, format!("+OK {} octets\r\n{stuffed}.\r\n", long.len()));
}

/// RFC 1939, section 3: A dot is found at the start of a line wherever a portion ends.
#[test]
fn rfc1939_3_a_dot_is_found_at_the_start_of_a_line_wherever_a_portion_ends() {
    for before in PART_OCTETS - 6..PART_OCTETS + 2 {
        let long = format!("a: b\r\n\r\n{}\r\n.x.\r\nno line: ..\r\n", "y".repeat(before - 8));
        let mut anna = Connection::of_anna(Office::with(&[&long]));
        let stuffed = long.replace("\r\n.", "\r\n..");
        assert_eq!(anna.says("RETR 1"), format!("+OK {} octets\r\n{stuffed}.\r\n", long.len()));
        assert_eq!(anna.says("TOP 1 3"), format!("+OK\r\n{stuffed}.\r\n"));
        // A dot at the beginning of a portion is in the middle of a line.
        let long = format!("a: b\r\n\r\n{}.x\r\n", "y".repeat(before - 8));
        let mut anna = Connection::of_anna(Office::with(&[&long]));
        assert_eq!(anna.says("RETR 1"), format!("+OK {} octets\r\n{long}.\r\n", long.len()));
    }
}

#[test]
fn a_message_that_cannot_be_read_is_an_error_of_its_own() {
    let unreadable = vec![(3, NotFetched::Damaged), (6, NotFetched::Gone), (9, NotFetched::TryLater)];
    let office = Office { unreadable, ..Office::with(&["1", "2", "3", "4\r\n"]) };
    let mut anna = Connection::of_anna(office);
    anna.dialogue(&[("RETR 1", "-ERR [SYS/PERM]"), ("TOP 1 0", "-ERR [SYS/PERM]")]);
    anna.dialogue(&[("RETR 2", "-ERR the message is not there"), ("RETR 3", "-ERR [SYS/TEMP]")]);
    anna.dialogue(&[
        ("RETR 4", "+OK 3 octets\r\n4\r\n.\r\n"),
        ("DELE 1", "+OK"),
        ("DELE 2", "+OK"),
        ("QUIT", "+OK"),
    ]);
    assert_eq!(anna.office.removed, [[3, 6]], "a client can remove what it cannot read");
}

#[test]
fn a_message_that_breaks_off_never_looks_whole() {
    let long = "x\r\n".repeat(PART_OCTETS);
    let office = Office { fails_from: Some(PART_OCTETS as u64), ..Office::with(&[&long]) };
    let mut anna = Connection::of_anna(office);
    let said = anna.says("RETR 1");
    assert!(said.starts_with("+OK") && !said.ends_with("\r\n.\r\n") && anna.is_closed);
    assert!(anna.office.removed.is_empty());
}

#[test]
fn a_session_that_is_stopped_in_a_message_sends_it_to_its_end() {
    let mut anna = Connection::of_anna(Office::with(&["a: b\r\n"]));
    anna.leaves_open = true;
    assert_eq!(anna.says("RETR 1"), "");
    anna.session.stop(anna.now);
    assert!(!anna.is_closed);
    anna.leaves_open = false;
    let answer = anna.office.answer(super::super::Ask::Fetch(3));
    anna.session.answer(anna.now, answer);
    let said = anna.hears("");
    assert!(said.starts_with("+OK 6 octets\r\na: b\r\n.\r\n-ERR [SYS/TEMP]") && anna.is_closed, "{said}");
}

#[test]
fn a_listing_of_many_messages_comes_in_portions() {
    let office =
        Office { stored: (1..=5000).map(|uid| (uid, b"ab".to_vec())).collect(), ..Office::default() };
    let mut anna = Connection::of_anna(office);
    let now = anna.now;
    assert_eq!(anna.session.receive(now, b"UIDL\r\n"), 6);
    let mut longest = 0;
    let mut said = Vec::new();
    while let Some(super::super::Output::Reply(octets)) = anna.session.poll_output(now) {
        longest = longest.max(octets.len());
        said.extend(octets);
    }
    let said = String::from_utf8(said).unwrap();
    assert!(longest < 5000 && said.ends_with(&format!("\r\n5000 {VALIDITY}.5000\r\n.\r\n")));
    assert_eq!(said.lines().count(), 5002);
}
