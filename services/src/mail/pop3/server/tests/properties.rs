//! Properties that hold for all input of a client.

use proptest::prelude::*;

use crate::cases;
use crate::mail::pop3::server::Policy;
use crate::mail::pop3::server::testing::*;
use crate::mail::smtp::Tls;

/// What a client may say, whole lines and parts of such.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::sample::select(vec![
        "USER anna\r\n",
        "PASS blue harbour 47\r\n",
        "PASS wrong\r\n",
        "AUTH PLAIN\r\n",
        "AUTH PLAIN AGFubmEAYmx1ZSBoYXJib3VyIDQ3\r\n",
        "AGFubmEAYmx1ZSBoYXJib3VyIDQ3\r\n",
        "*\r\n",
        "CAPA\r\n",
        "STLS\r\n",
        "STAT\r\n",
        "LIST\r\n",
        "UIDL 2\r\n",
        "RETR 1\r\n",
        "RETR 2\r\n",
        "TOP 1 1\r\n",
        "DELE 1\r\n",
        "DELE 2\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "\n",
        "\r\n",
        "\0",
    ]);
    lines.prop_map(|line| line.as_bytes().to_vec())
}

fn session(policy: Policy) -> Connection {
    Connection::new(policy, Office::with(&["a: 1\r\n\r\n.one\r\n", "a: 2\r\n\r\ntwo"]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(512)))]

    #[test]
    fn how_the_stream_is_cut_makes_no_difference(
        pieces in prop::collection::vec(piece(), 0..20),
        portions in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let stream = pieces.concat();
        let policy = Policy { plaintext_login: true, ..policy(Tls::Unavailable) };
        let mut whole = session(policy.clone());
        let said = whole.hears(&stream);
        let mut cut = session(policy);
        let (mut said_cut, mut rest, mut lens) = (String::new(), &stream[..], portions.iter().cycle());
        while !rest.is_empty() {
            let (portion, after) = rest.split_at(rest.len().min(*lens.next().unwrap()));
            said_cut += &cut.hears(portion);
            rest = after;
        }
        prop_assert_eq!(said, said_cut);
        prop_assert_eq!((whole.is_closed, whole.office.removed), (cut.is_closed, cut.office.removed));
    }

    #[test]
    fn only_quit_removes_and_only_what_was_marked(pieces in prop::collection::vec(piece(), 0..40)) {
        let mut connection = session(Policy { plaintext_login: true, ..policy(Tls::Unavailable) });
        let mut marked = Vec::new();
        for piece in pieces {
            let is_open = connection.session.has_inbox();
            let said = connection.hears(&piece);
            let is_ok = said.starts_with("+OK");
            match &piece[..] {
                b"DELE 1\r\n" if is_open && is_ok => marked.push(3),
                b"DELE 2\r\n" if is_open && is_ok => marked.push(6),
                b"RSET\r\n" if is_open && is_ok => marked.clear(),
                _ => {}
            }
            if connection.is_closed {
                break;
            }
            prop_assert!(connection.office.removed.is_empty());
        }
        marked.sort_unstable();
        for removed in &connection.office.removed {
            prop_assert!(connection.is_closed);
            prop_assert_eq!(removed, &marked);
        }
        prop_assert!(connection.office.removed.len() <= 1);
    }

    #[test]
    fn any_octets_are_taken(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut stranger = session(policy(Tls::Available));
        for line in String::from_utf8_lossy(&octets).split_inclusive('\n') {
            stranger.hears(line);
        }
        prop_assert!(!stranger.session.has_inbox());
    }
}
