//! `[[users.poll]]` and `[[mail.common_mailbox]]`.

use std::path::Path;
use std::time::Duration;

use gatepost_services::mail::poll::{Account, Receives};
use gatepost_services::mail::pop3::client::Encryption;
use gatepost_services::mail::secret::Secret;

use super::*;

const OF_ALICE: &str = "users = [{ name = 'alice', poll = [{ server = 'Pop.isp.example', username = 'alice77', \
                        password_file = 'alice-isp.secret' }] }]\n";

fn polled(text: &str) -> Vec<Account> {
    let config = Config::parse("/etc/gatepost/gatepost.toml", text);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    config.services.mail.polled
}

#[test]
fn a_user_s_mailbox_elsewhere_is_polled_by_the_defaults_of_the_reference() {
    let expected = Account {
        server: "pop.isp.example".to_owned(),
        port: 995,
        encryption: Encryption::Active,
        username: "alice77".to_owned(),
        password: Secret::File(Path::new("/etc/gatepost/alice-isp.secret").to_owned()),
        receives: Receives::Person("alice".to_owned()),
        every: Duration::from_secs(300),
        leave_days: 0,
    };
    assert_eq!(polled(OF_ALICE), [expected]);
    assert_eq!(polled("users = [{ name = 'alice' }]"), []);
}

#[test]
fn a_common_mailbox_is_for_everybody_and_has_what_names_nobody_go_somewhere() {
    let common = |more: &str| {
        let text = format!(
            "users = [{{ name = 'alice' }}]\n[[mail.common_mailbox]]\nserver = '192.168.1.40:110'\nusername = 'office'\n\
             password_file = '/run/secrets/office'\n{more}"
        );
        polled(&text).remove(0)
    };
    let account = common(
        "every_secs = 60\nleave_days = 7\ntls = 'required'\notherwise_to = 'admin'\nenvelope_header = 'X-For'",
    );
    assert_eq!((account.server.as_str(), account.port, account.leave_days), ("192.168.1.40", 110, 7));
    assert_eq!((account.encryption, account.every), (Encryption::Required, Duration::from_secs(60)));
    assert_eq!(account.password, Secret::File("/run/secrets/office".into()));
    let Receives::Everybody { otherwise_to: Some(to), envelope_field } = account.receives else {
        panic!("not everybody")
    };
    assert_eq!((to.to_string().as_str(), envelope_field.as_deref()), ("admin@office.example", Some("X-For")));
    let plain = common("otherwise_to = ''\nenvelope_header = ''");
    assert_eq!(plain.receives, Receives::Everybody { otherwise_to: None, envelope_field: None });
    assert_eq!(plain.encryption, Encryption::Opportunistic);
    assert_eq!(common("tls = 'never'").encryption, Encryption::Never);
    assert_eq!(common("tls = 'if-offered'").encryption, Encryption::Opportunistic);
}

#[test]
fn what_cannot_be_polled_is_said_with_its_place() {
    let example = "write a server such as \"pop.isp.example:995\" or \"192.168.1.40:110\"";
    assert_mistakes(
        "[[users]]\nname = 'alice'\n\
             poll = [▸▸▸{ }, { server = ▸'smtp.office.example:995', username = ▸'', password_file = ▸'', every_secs = ▸5, \
             leave_days = ▸-1, tls = ▸'require' },\n\
             { server = ▸'pop.example:0', username = 'a', password_file = 'b', ▸otherwise_to = 'alice' },\n\
             { server = 'pop.example', username = 'a', password_file = 'b', tls = ▸'never' },\n\
             { server = 'pop.example:110', username = ▸'a', password_file = 'b' }]",
        &[
            "the mailbox to poll has no server; write server = \"pop.isp.example:995\"",
            "the mailbox to poll has no username; write username = \"alice77\"",
            "the mailbox to poll has no password_file; write password_file = \"alice-isp.secret\"",
            &format!(
                "\"smtp.office.example:995\" is this server itself, and mail would come back to it; {example}"
            ),
            "\"\" is no name of a user there; write 1 to 200 octets without control characters",
            "\"\" is no path; write the path of a file with the password in its first line",
            "5 is out of range; write an integer from 60 to 86400",
            "-1 is out of range; write an integer from 0 to 3650",
            "\"require\" is not possible here; write \"required\"",
            &format!("\"pop.example:0\" has a port that there is not; {example}"),
            "unknown key \"otherwise_to\" in the mailbox to poll; remove it, or write \"server\", \"username\", \
             \"password_file\", \"every_secs\", \"leave_days\" or \"tls\"",
            "port 995 begins with TLS; remove tls, or write the server with port 110",
            "the mailbox of a on pop.example is polled twice (first in line 5, column 38); \
             remove one; a [[mail.common_mailbox]] can be for several",
        ],
    );
}

#[test]
fn whom_a_common_mailbox_is_otherwise_for_is_somebody_here() {
    let common = |name: &str, to: &str| {
        format!("{{ server = 'pop.example', username = '{name}', password_file = 'b', otherwise_to = {to} }}")
    };
    assert_mistakes(
        &format!(
            "users = [{{ name = 'alice' }}]\n[mail]\naliases = [{{ name = 'away', members = ['x@elsewhere.example'] }}]\n\
             common_mailbox = [{},\n{},\n{},\n{}, {{ server = 'pop.example', username = 'e', password_file = 'b', envelope_header = ▸'To: x' }}]",
            common("a", "▸'allice'"),
            common("b", "▸'bob@elsewhere.example'"),
            common("c", "▸'away'"),
            common("d", "'postmaster'"),
        ),
        &[
            "nobody has mail for allice@office.example; write \"alice\"",
            "bob@elsewhere.example is not ours, and a common mailbox is for users here; write the name of a user or of an alias",
            "away@office.example leads to other servers only, and a common mailbox is for users here; \
             write the name of a user, or of an alias that has one",
            "\"To: x\" is no name of a header; write one such as \"X-Envelope-To\"",
        ],
    );
}
