//! Sessions with a mail server, without a network.

use super::*;
use crate::machine::post::{Arrived, Letter};

const RITA: &str = "rita@post-0.example";
const MESSAGE: &str = "Received: by us\r\nSubject: mark-1\r\n\r\n..dot\r\n.\r\n";

fn house(manner: Manner, post: &SharedPost) -> House {
    let letter =
        Letter { header: "Subject: mark-1\r\n".to_owned(), body: ".dot\r\n".to_owned(), ..Letter::default() };
    post.borrow_mut().write("mark-1", letter);
    _ = post.borrow_mut().begin("mark-1", BTreeSet::from([RITA.to_owned()]), Instant::ZERO);
    let manners = (Some(manner), Some(TlsManner::Off));
    MailServer::new("mx-0", vec!["post-0.example".to_owned()], manners, post, 1).house
}

/// A house that does TLS in that manner.
fn house_with(tls_manner: TlsManner, post: &SharedPost) -> House {
    let mut house = house(Manner::Prompt, post);
    house.tls = Some(TlsServer::new("mx-0.example.net", &mut StdRng::seed_from_u64(1)));
    house.tls_manner = tls_manner;
    house
}

/// The codes that the server says to these lines, as far as it says something.
fn codes(session: &mut Session, house: &mut House, lines: &[&str]) -> Vec<String> {
    for line in lines {
        session.unread.extend_from_slice(line.as_bytes());
        session.unread.extend_from_slice(b"\r\n");
    }
    _ = session.work(house);
    session.speak(house);
    let said = String::from_utf8(session.channel.unsent().to_vec()).expect("text");
    session.channel.sent(said.len());
    said.lines().map(|line| line[..4].trim_end().to_owned()).collect()
}

fn sends(house: &mut House, quits: bool) -> Vec<String> {
    let mut session = Session::begin(house);
    let to = format!("RCPT TO:<{RITA}>");
    let mut lines = vec!["EHLO us", "MAIL FROM:<anna@office.example>", &to, "DATA", MESSAGE.trim_end()];
    lines.extend(quits.then_some("QUIT"));
    let codes = codes(&mut session, house, &lines);
    house.ended(&session);
    codes
}

#[test]
fn what_is_taken_is_confirmed_by_quit_and_by_nothing_else() {
    let post = SharedPost::default();
    let mut house = house(Manner::Prompt, &post);
    house.has_pipelining = false;
    let taken = ["220", "250-", "250", "250", "250", "354", "250"];
    assert_eq!(sends(&mut house, false), taken);
    assert_eq!(post.borrow().arrived("mark-1", RITA), Arrived { confirmed: 0, unconfirmed: 1 });
    assert_eq!(post.borrow().hung_at("post-0.example"), [Instant::ZERO]);
    assert_eq!(sends(&mut house, true), [&taken[..], &["221"]].concat());
    assert_eq!(post.borrow().arrived("mark-1", RITA), Arrived { confirmed: 1, unconfirmed: 1 });
    assert_eq!((house.account.taken, house.account.unconfirmed), (2, 1));
    assert_eq!(post.borrow().hung_at("post-0.example").len(), 1);
    assert_eq!(post.borrow().faults(), [""; 0]);
}

#[test]
fn who_is_not_known_or_not_there_is_refused() {
    let post = SharedPost::default();
    let mut house = house(Manner::Greylisting, &post);
    let mut session = Session::begin(&mut house);
    let (rita, gone) = (format!("RCPT TO:<{RITA}>"), "RCPT TO:<gone@post-0.example>");
    let lines = ["MAIL FROM:<a@b>", &rita, &rita, gone, gone, "DATA"];
    assert_eq!(codes(&mut session, &mut house, &lines), ["220", "250", "450", "250", "450", "550", "354"]);
    assert_eq!((house.account.deferred, house.account.refused), (2, 1));
    let elsewhere = ["RSET", "MAIL FROM:<a@b>", "RCPT TO:<tess@post-1.example>"];
    let mut session = Session::begin(&mut house);
    assert_eq!(codes(&mut session, &mut house, &elsewhere), ["220", "250", "250", "550"]);
    assert!(post.borrow().faults()[0].contains("tess@post-1.example"));
}

#[test]
fn a_reply_is_lost_behind_a_message_that_is_taken_or_dropped() {
    for (manner, is_taken) in [(Manner::LosingReplies, true), (Manner::ClosingAfterData, false)] {
        let post = SharedPost::default();
        let mut house = house(manner, &post);
        let lost =
            (0..20).filter(|_| sends(&mut house, true).last().is_some_and(|code| code == "354")).count();
        assert!((1..20).contains(&lost), "{manner:?}: {lost}");
        let MailServerAccount { taken, unconfirmed, dropped, .. } = house.account;
        let lost = lost as u64;
        let expected = if is_taken { (20, lost, 0) } else { (20 - lost, 0, lost) };
        assert_eq!((taken, unconfirmed, dropped), expected, "{manner:?}");
    }
}

#[test]
fn a_slow_server_says_one_thing_after_the_other_and_a_busy_one_nothing_good_for_an_hour() {
    let post = SharedPost::default();
    let mut slow = house(Manner::Slow, &post);
    let mut session = Session::begin(&mut slow);
    assert!(codes(&mut session, &mut slow, &["EHLO us"]).is_empty());
    slow.now = session.poll_timeout(slow.now).expect("it will say something");
    assert_eq!(
        codes(&mut session, &mut slow, &[]),
        [""; 0],
        "EHLO is answered later, and the greeting with it"
    );
    let mut busy = house(Manner::Busy, &post);
    assert!((0..20).all(|_| sends(&mut busy, true).iter().any(|code| code.starts_with('4'))));
    busy.now = Instant::from_secs(3_601);
    assert!(sends(&mut busy, true).iter().all(|code| !code.starts_with('4')));
}

#[test]
fn tls_is_offered_once_and_begins_behind_220() {
    let post = SharedPost::default();
    let mut sound = house_with(TlsManner::Sound, &post);
    sound.has_pipelining = false;
    let mut session = Session::begin(&mut sound);
    assert_eq!(codes(&mut session, &mut sound, &["EHLO us"]), ["220", "250-", "250-", "250"]);
    assert_eq!(codes(&mut session, &mut sound, &["STARTTLS"]), ["220"]);
    assert!(session.channel.has_begun() && !session.channel.is_encrypted());
    session.receive(&mut sound, b"no ClientHello at all\r\n");
    let alert = session.channel.unsent().len();
    session.channel.sent(alert);
    assert!(alert > 0 && session.way() == Way::Close);
    let mut unavailable = house_with(TlsManner::Unavailable, &post);
    let mut session = Session::begin(&mut unavailable);
    let in_clear = ["STARTTLS", "MAIL FROM:<a@b>"];
    assert_eq!(codes(&mut session, &mut unavailable, &in_clear[..1]), ["220", "454"]);
    assert_eq!(codes(&mut session, &mut unavailable, &in_clear[1..]), ["250"]);
    assert_eq!(post.borrow().faults(), [""; 0]);
    let mut session = Session::begin(&mut sound);
    assert_eq!(codes(&mut session, &mut sound, &["STARTTLS", "NOOP"]), ["220", "220"]);
    assert!(post.borrow().faults()[0].contains("in clear behind STARTTLS"));
}

#[test]
fn who_is_silent_or_garbles_says_nothing_of_tls() {
    let post = SharedPost::default();
    for (manner, says) in [(TlsManner::Silent, &[][..]), (TlsManner::Garbled, &["500"])] {
        let mut house = house_with(manner, &post);
        let mut session = Session::begin(&mut house);
        assert_eq!(codes(&mut session, &mut house, &["STARTTLS"]), ["220", "220"]);
        session.receive(&mut house, b"a ClientHello");
        assert_eq!(codes(&mut session, &mut house, &[]), says, "{manner:?}");
        assert_eq!(session.way() == Way::Close, manner == TlsManner::Garbled);
    }
}

#[test]
fn who_goes_by_an_answer_that_came_in_clear_is_told() {
    let post = SharedPost::default();
    let mut house = house_with(TlsManner::Injecting, &post);
    let mut session = Session::begin(&mut house);
    session.has_injected = true;
    assert!(codes(&mut session, &mut house, &["EHLO us"]).is_empty());
    session.receive(&mut house, b"MAIL FROM:<a@b>\r\n");
    assert!(post.borrow().faults()[0].contains("before it has said anything"));
}
