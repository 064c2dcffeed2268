//! Judges that answer, do not, or answer invalidly.

use std::cell::RefCell;
use std::net::SocketAddr;

use tokio::task::spawn_local;
use tokio::time::Instant;

use super::*;
use crate::mail::address::Mailbox;
use crate::mail::service::tests::lab::simulate;
use crate::mail::service::tests::wire::Wire;
use crate::net::Listener;

pub const RSPAMD: &str = "192.168.1.40:11333";
const CLAMD: &str = "192.168.1.40:3310";

fn about() -> About {
    About {
        id: "65e0.1".to_owned(),
        peer: Some("192.0.2.7".parse().unwrap()),
        peer_name: None,
        helo: Some("mx.far.example\r\nUser: evil".to_owned()),
        sender: "bob@far.example".to_owned(),
        recipients: vec![
            ForwardPath::Postmaster,
            ForwardPath::Mailbox(Mailbox::parse("anna@office.example").unwrap()),
        ],
        user: None,
    }
}

/// A judge at `at` who reads up to `end` and then says `answer`; none: nothing, ever. What it has read.
pub async fn start(
    wire: &Wire,
    at: &str,
    end: &'static [u8],
    answer: Option<&'static str>,
) -> Rc<RefCell<Vec<u8>>> {
    let listener = wire.listen(at.parse().unwrap()).await.unwrap();
    let read = Rc::<RefCell<Vec<u8>>>::default();
    let all = Rc::clone(&read);
    spawn_local(async move {
        while let Ok(mut stream) = listener.accept().await {
            let all = Rc::clone(&all);
            spawn_local(async move {
                while !all.borrow().ends_with(end) {
                    let mut octets = vec![0; 1000];
                    let len = stream.read(&mut octets).await.unwrap();
                    all.borrow_mut().extend_from_slice(&octets[..len]);
                    if len == 0 {
                        return;
                    }
                }
                match answer {
                    // In two portions.
                    Some(answer) => {
                        let (first, second) = answer.split_at(answer.len() / 2);
                        stream.write_all(first.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                        tokio::task::yield_now().await;
                        _ = stream.write_all(second.as_bytes()).await;
                    }
                    None => std::future::pending().await,
                }
            });
        }
    });
    read
}

fn judges(wire: &Wire, all: &[(Protocol, &str)]) -> Judges {
    let address = |(protocol, at): &(Protocol, &str)| {
        let at: SocketAddr = at.parse().unwrap();
        Address { protocol: *protocol, host: at.ip().to_string(), port: at.port() }
    };
    Judges::new(all.iter().map(address).collect(), wire.clone(), Resolver::none())
}

async fn judge(judges: &Judges, message: &[u8]) -> Judgement {
    judges.judge(&about(), &message.to_vec(), message.len() as u64).await
}

fn taken(fields: &str) -> JudgeVerdict {
    JudgeVerdict::Taken { fields: fields.to_owned() }
}

fn refused(is_temporary: bool, text: &str) -> JudgeVerdict {
    JudgeVerdict::Refused { is_temporary, text: text.to_owned() }
}

/// What an answer with this body comes to, in portions of every length.
fn read(body: &str) -> Result<JudgeVerdict, String> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nX: y\r\n\r\n{body}and more", body.len());
    let outcomes = [1, 7, answer.len()].map(|portion| {
        let mut reader = AnswerReader::default();
        for octets in answer.as_bytes().chunks(portion) {
            if reader.push(octets)? {
                break;
            }
        }
        reader.finish()
    });
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    outcomes[0].clone()
}

#[test]
fn each_action_of_rspamd_has_its_meaning() {
    let body =
        |action: &str| format!(r#"{{"action":"{action}","score":7.5,"required_score":15.0,"symbols":{{}}}}"#);
    let no = "X-Spam-Status: No, score=7.50 required=15.00\r\n";
    let yes = "X-Spam-Status: Yes, score=7.50 required=15.00\r\nX-Spam-Flag: YES\r\n";
    for (action, opinion) in [
        ("no action", taken(no)),
        ("something new", taken(no)),
        ("add header", taken(yes)),
        ("rewrite subject", taken(yes)),
        ("greylist", refused(true, "try again later")),
        ("soft reject", refused(true, "try again later")),
        ("reject", refused(false, "the message is taken for spam")),
    ] {
        assert_eq!(read(&body(action)), Ok(opinion), "{action}");
    }
    let told = r#"{"action":"reject","messages":{"smtp_message":"Gtube pattern","x":{"y":1}}}"#;
    assert_eq!(read(told), Ok(refused(false, "Gtube pattern")));
    assert_eq!(read(r#"{"action":"no action"}"#), Ok(taken("X-Spam-Status: No\r\n")));
    let skipped = r#"{"is_skipped":true,"action":"no action","required_score":null}"#;
    assert_eq!(read(skipped), Ok(taken("X-Spam-Status: No\r\n")));
    for nonsense in ["", "{}", "[]", r#"{"action":1}"#, "{\"error\":\"x\"}"] {
        assert_eq!(read(nonsense), Err("its answer cannot be read".to_owned()), "{nonsense}");
    }
}

#[test]
fn what_is_no_answer_is_said() {
    let read = |octets: &str| {
        let mut reader = AnswerReader::default();
        reader.push(octets.as_bytes()).and_then(|_| reader.finish())
    };
    for (octets, why) in [
        ("", "it hung up"),
        ("HTTP/1.1 200 OK\r\nContent-", "it hung up"),
        ("220 mx.example ESMTP\r\n\r\n", "its answer is no HTTP"),
        ("HTTP/1.1 403 Forbid\u{7}den\r\n\r\n", "it answers: 403 Forbid?den"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its answer has no length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "it hung up in the midst of its answer"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "its answer comes in chunks, which this server does not read",
        ),
    ] {
        assert_eq!(read(octets), Err(why.to_owned()), "{octets:?}");
    }
    assert!(read("HTTP/1.0 200 OK\r\n\r\n{\"action\":\"reject\"}").is_ok(), "up to the end");
    assert_eq!(read(&"x".repeat(20 << 10)), Err("its answer is no HTTP".to_owned()));
    assert_eq!(read(&"x".repeat(2 << 20)), Err("its answer is too long".to_owned()));
}

#[test]
fn each_line_of_clamd_has_its_meaning() {
    let found = "the message has malicious software in it: Eicar-Test-Signature";
    for (line, opinion) in [
        ("stream: OK\0", Ok(taken(""))),
        ("stream: OK\n", Ok(taken(""))),
        ("stream: Eicar-Test-Signature FOUND\0", Ok(refused(false, found))),
        ("INSTREAM size limit exceeded. ERROR\0", Err("it answers: INSTREAM size limit exceeded. ERROR")),
        ("stream: x ERROR\0", Err("it answers: x ERROR")),
        ("\0", Err("it hung up")),
        ("", Err("it hung up")),
    ] {
        assert_eq!(clamd::read(line.as_bytes()), opinion.map_err(str::to_owned), "{line:?}");
    }
}

#[test]
fn rspamd_gets_the_message_with_what_is_known_of_it() {
    simulate(async {
        let wire = Wire::default();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"action\":\"no action\"}";
        let message =
            [b"Subject: a\r\n\r\n".to_vec(), b"x".repeat(200_000), b"\r\nlast\r\n".to_vec()].concat();
        let came = start(&wire, RSPAMD, b"\r\nlast\r\n", Some(answer)).await;
        let judgement = judge(&judges(&wire, &[(Protocol::Rspamd, RSPAMD)]), &message).await;
        assert_eq!(judgement, Judgement { opinion: taken("X-Spam-Status: No\r\n"), silent: 0 });
        let came = came.borrow();
        let end = came.windows(4).position(|octets| octets == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(came[end..], message[..]);
        assert_eq!(
            std::str::from_utf8(&came[..end]).unwrap(),
            "POST /checkv2 HTTP/1.1\r\nHost: 192.168.1.40:11333\r\nIP: 192.0.2.7\r\n\
             Helo: mx.far.example??User: evil\r\nFrom: bob@far.example\r\nRcpt: postmaster\r\n\
             Rcpt: anna@office.example\r\nQueue-Id: 65e0.1\r\nContent-Length: 200022\r\nConnection: close\r\n\r\n"
        );
    });
}

#[test]
fn clamd_gets_the_message_in_chunks() {
    simulate(async {
        let wire = Wire::default();
        let message = b"y".repeat(PORTION + 5);
        let came = start(&wire, CLAMD, b"y\0\0\0\0", Some("stream: OK\0")).await;
        let judgement = judge(&judges(&wire, &[(Protocol::Clamd, CLAMD)]), &message).await;
        assert_eq!(judgement, Judgement { opinion: taken(""), silent: 0 });
        let first = [b"zINSTREAM\0\0\x01\0\0".to_vec(), b"y".repeat(PORTION)].concat();
        assert_eq!(*came.borrow(), [first, b"\0\0\0\x05yyyyy\0\0\0\0".to_vec()].concat());
    });
}

#[test]
fn a_judge_that_does_not_answer_holds_nothing_up() {
    simulate(async {
        let wire = Wire::default();
        let all = judges(&wire, &[(Protocol::Rspamd, RSPAMD), (Protocol::Clamd, CLAMD)]);
        let Judgement { opinion, silent } = judge(&all, b"x").await;
        let JudgeVerdict::Taken { fields } = opinion else { panic!("{opinion:?}") };
        assert_eq!((fields.matches("X-Gatepost-Judge: 192.168.1.40:").count(), silent), (2, 2), "{fields}");
        // One judge is silent, the other one hangs up: neither waits for the other one.
        start(&wire, RSPAMD, b"x", None).await;
        start(&wire, CLAMD, b"\0\0\0\0", Some("")).await;
        let before = Instant::now();
        let Judgement { opinion, silent } = judge(&all, b"x").await;
        assert_eq!((before.elapsed(), silent), (ASKED_WITHIN, 2));
        assert_eq!(
            opinion,
            taken(
                "X-Gatepost-Judge: 192.168.1.40:11333 has no opinion: it did not answer in time\r\n\
                 X-Gatepost-Judge: 192.168.1.40:3310 has no opinion: it hung up\r\n"
            )
        );
        assert!((opinion_octets(&opinion) as u64) < all.fields_octets_max());
        // An unknown name.
        let unknown = Address { protocol: Protocol::Clamd, host: "av.example".to_owned(), port: 3310 };
        let unknown = Judges::new(vec![unknown], wire.clone(), Resolver::none());
        assert_eq!(judge(&unknown, b"x").await.silent, 1);
        let long = all.judge(&about(), &Vec::new(), JUDGED_OCTETS_MAX + 1).await;
        assert_eq!((long.silent, before.elapsed()), (2, ASKED_WITHIN), "nobody is asked");
    });
}

fn opinion_octets(opinion: &JudgeVerdict) -> usize {
    match opinion {
        JudgeVerdict::Taken { fields } => fields.len(),
        JudgeVerdict::Refused { text, .. } => text.len(),
    }
}

#[test]
fn the_stricter_judge_counts() {
    simulate(async {
        let wire = Wire::default();
        let soft = "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"action\":\"soft reject\"}";
        start(&wire, RSPAMD, b"x", Some(soft)).await;
        start(&wire, CLAMD, b"\0\0\0\0", Some("stream: Worm FOUND\0")).await;
        let (rspamd, clamd) = ((Protocol::Rspamd, RSPAMD), (Protocol::Clamd, CLAMD));
        let found = refused(false, "the message has malicious software in it: Worm");
        for (all, opinion) in [
            (vec![rspamd, clamd], found.clone()),
            (vec![clamd, rspamd], found),
            (vec![rspamd], refused(true, "try again later")),
            (vec![], taken("")),
        ] {
            assert_eq!(judge(&judges(&wire, &all), b"x").await.opinion, opinion, "{all:?}");
        }
    });
}
