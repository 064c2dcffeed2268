//! Sessions with the account, without a network.

use super::*;
use crate::machine::post::Copies;

const OWNER: Address = Address { address: "berta@office.example", mailboxes: &["berta"] };
const LOGIN: Login = Login { user: "office", password: "secret" };

fn server(fault: Option<Fault>) -> (SharedPost, PopServer, Session) {
    let post = SharedPost::default();
    let mut server = PopServer::new(LOGIN, &OWNER, Duration::from_secs(10), &post, 7);
    server.house.is_calm = true;
    server.receive(Instant::from_secs(15));
    let mut session = Session::begin(&mut server.house);
    session.set_fault(fault);
    session.unsent.clear();
    (post, server, session)
}

fn says(server: &mut PopServer, session: &mut Session, line: &str) -> String {
    session.unread.extend_from_slice(format!("{line}\r\n").as_bytes());
    session.work(&mut server.house);
    String::from_utf8(std::mem::take(&mut session.unsent)).expect("text")
}

fn log_in(server: &mut PopServer, session: &mut Session) -> [String; 2] {
    ["USER office", "PASS secret"].map(|line| says(server, session, line))
}

fn copies(post: &SharedPost, mark: &str) -> (u32, u32) {
    let Copies { taken, unknown, .. } = post.borrow().letters()[mark].copies["berta"];
    (taken, unknown)
}

#[test]
fn a_message_is_listed_handed_out_and_gone_after_quit() {
    let (post, mut server, mut session) = server(None);
    assert_eq!(says(&mut server, &mut session, "LIST"), "-ERR not now\r\n");
    assert_eq!(log_in(&mut server, &mut session), ["+OK\r\n"; 2]);
    let Kept { uidl, mark, wire, .. } = server.house.messages[0].clone();
    let letter = post.borrow().letters()[&mark].clone();
    let size = letter.header.len() + 2 + letter.body.len();
    assert!(says(&mut server, &mut session, "LIST").starts_with(&format!("+OK\r\n1 {size}\r\n")));
    assert!(says(&mut server, &mut session, "UIDL").starts_with(&format!("+OK\r\n1 {uidl}\r\n")));
    assert_eq!(says(&mut server, &mut session, "RETR 1").as_bytes(), [b"+OK\r\n", &wire[..]].concat());
    assert_eq!(copies(&post, &mark), (0, 1), "it may be there");
    assert_eq!(says(&mut server, &mut session, "DELE 1"), "+OK\r\n");
    assert_eq!(copies(&post, &mark), (1, 0), "it has to be there");
    assert_eq!(says(&mut server, &mut session, "RETR 1"), "-ERR there is no such message\r\n");
    assert_eq!(says(&mut server, &mut session, "QUIT"), "+OK goodbye\r\n");
    assert!(session.is_over && server.house.messages.iter().all(|message| message.mark != mark));
    assert_eq!((server.house.account.fetched, server.house.account.deleted), (1, 1));
}

#[test]
fn a_session_is_broken_off_where_it_is_to_be() {
    for fault in [Fault::InUse, Fault::InMessage, Fault::BeforeDeletion, Fault::AfterDeletion] {
        let (_, mut server, mut session) = server(Some(fault));
        let before = server.house.messages.len();
        let [_, opened] = log_in(&mut server, &mut session);
        assert_eq!(opened.starts_with("+OK"), fault != Fault::InUse, "{fault:?}");
        let message = says(&mut server, &mut session, "RETR 1");
        let is_whole = fault != Fault::InMessage && fault != Fault::InUse;
        assert_eq!(message.ends_with("\r\n.\r\n"), is_whole, "{fault:?}");
        if !is_whole {
            continue;
        }
        assert_eq!(says(&mut server, &mut session, "DELE 1"), "+OK\r\n");
        assert_eq!(says(&mut server, &mut session, "QUIT"), "", "{fault:?}");
        let deleted = before - server.house.messages.len();
        assert_eq!(deleted, usize::from(fault == Fault::AfterDeletion), "{fault:?}");
        assert!(session.is_over && server.house.account.broken == 1);
    }
}
