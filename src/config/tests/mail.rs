//! `[mail]`.

use gatepost_services::mail::secret::Secret;

use super::*;
use crate::config::services::{Aliases, Authenticity, Mail, MailPorts};

const USERS: &str = "users = [{ name = 'alice' }, { name = 'bob' }]\n";

fn mail(text: &str) -> Mail {
    accepted(&format!("{USERS}{text}")).services.mail
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let mail = mail("");
    assert!(
        mail.enabled && !mail.plaintext_login && mail.relay_from.lan && mail.relay_from.networks.is_empty()
    );
    assert_eq!(mail.hostname, "smtp.office.example");
    assert_eq!((mail.message_octets_max, mail.disk_reserve), (25 << 20, 128 << 20));
    assert_eq!(mail.authenticity, Authenticity::Report);
    assert_eq!(
        mail.ports,
        MailPorts { smtp: 25, submission: 587, submissions: 465, lmtp: 0, pop3: 110, pop3s: 995 }
    );
    let shares = mail.shares;
    assert_eq!(
        (shares.lan_connections, shares.wan_connections, shares.wan_messages_a_minute),
        (200, 20, 100)
    );
    let domains: Vec<_> = mail.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(domains, ["office.example", "gatepost.office.example", "smtp.office.example"]);
    assert!(!accepted("").services.is_enabled("smtp"), "there is nobody to have any");
}

#[test]
fn mail_that_is_not_from_whom_it_says_is_reported_put_aside_or_refused() {
    let read = |value: &str| mail(&format!("mail.authentication = '{value}'")).authenticity;
    assert_eq!(read("report"), Authenticity::Report);
    assert_eq!(read("quarantine"), Authenticity::Quarantine);
    assert_eq!(read("reject"), Authenticity::Reject);
    assert_mistakes(
        &format!("{USERS}mail.authentication = ▸'discard'"),
        &["\"discard\" is not possible here; write \"report\", \"quarantine\" or \"reject\""],
    );
}

#[test]
fn domains_have_users_of_their_own_or_those_of_another() {
    let mail = mail(
        "mail.domains = [{ name = 'Shop.example', users = ['bob'] }, { name = 'old.example', alias_of = 'shop.example' },\n\
         { name = 'all.example' }, { name = 'same.example', alias_of = 'office.example' }]",
    );
    let domains: Vec<_> =
        mail.domains[3..].iter().map(|domain| (domain.name.as_str(), domain.users.clone())).collect();
    let bob = || Some(vec!["bob".to_owned()]);
    assert_eq!(
        domains,
        [("shop.example", bob()), ("old.example", bob()), ("all.example", None), ("same.example", None)]
    );
    assert_mistakes(
        &format!(
            "{USERS}[mail]\nenabled = true\nmax_message = ▸'1 KiB'\nrelay_from = ['lan', ▸'10.0.0.1']\n\
             domains = [{{ name = ▸'Office.example' }}, {{ name = 'a.example', users = [▸'carl'] }},\n\
             {{ name = ▸'a.example' }}, {{ name = 'b.example', alias_of = ▸'c.example' }},\n\
             {{ name = 'd.example', users = ['bob'], alias_of = ▸'a.example' }}]\nports = {{ smtp = ▸70000 }}\n▸verdict = ''"
        ),
        &[
            "\"1 KiB\" is too small; write at least \"1 MiB\"",
            "\"10.0.0.1\" has no prefix length; write \"10.0.0.1/32\" for this one address",
            "office.example is system.domain; remove it",
            "there is no user \"carl\"; write the name of a user",
            "the domain a.example is there twice (first in line 6, column 50); remove one",
            "there is no domain \"c.example\" before this one; write \"office.example\"",
            "the domain has users of its own and is another's alias; remove one of them",
            "70000 is out of range; write an integer from 0 to 65535",
            "unknown key \"verdict\" in [mail]; remove it, or write \"enabled\", \"hostname\", \"max_message\", \"judge\", \"relay_from\", \
             \"plaintext_login\", \"authentication\", \"disk_reserve\", \"ports\", \"limits\", \"domains\", \"catch_all\", \"aliases\", \"smarthost\", \"smarthost_user\", \"smarthost_password_file\", \"routes\", \"common_mailbox\", \"rules\" or \"keep_days\"",
        ],
    );
    assert_mistakes(
        "mail.enabled = ▸true",
        &["there is nobody to have mail; write a user, or enabled = false"],
    );
}

#[test]
fn the_wan_and_networks_have_the_ports_that_mail_is_served_on() {
    let config = accepted(&format!(
        "{USERS}firewall.wan_services = ['smtp', 'submission']\n\
         mail.ports = {{ smtp = 2525, submission = 0, submissions = 0 }}\naccess.smtp = {{ from = ['198.51.100.0/24'] }}"
    ));
    let open: Vec<_> =
        config.wan_services().map(|kind| (kind.name, config.services.ports_of(kind))).collect();
    assert_eq!(open, [("smtp", vec![(Protocol::TCP, 2525)])]);
    for (written, expected) in [
        ("submission = 0", vec![465]),
        ("submissions = 0", vec![587]),
        ("submission = 5870, submissions = 4650", vec![5870, 4650]),
    ] {
        let text = format!("{USERS}firewall.wan_services = ['submission']\nmail.ports = {{ {written} }}");
        let config = accepted(&text);
        let open = config.wan_services().flat_map(|kind| config.services.ports_of(kind));
        assert_eq!(open.map(|(_, port)| port).collect::<Vec<_>>(), expected, "{written}");
    }
    assert_eq!(config.access.to("smtp"), Some(&[net("198.51.100.0/24")][..]));
    assert_eq!(config.limited_services().map(|(kind, _)| kind.name).collect::<Vec<_>>(), ["smtp", "admin"]);
    let text = format!("{USERS}network.mode = 'nat'");
    let open: Vec<_> = accepted(&text).wan_services().map(|kind| kind.name).collect();
    assert_eq!(open, ["dns", "smtp", "submission", "pop3s"]);
    // The mail that these services accept could be read on its way, or comes from unauthenticated senders.
    assert_mistakes(
        &format!("{USERS}firewall.wan_services = [▸'pop3', 'pop3s', ▸'lmtp']"),
        &[
            "there is no service \"pop3\" for the WAN; remove it, or write \"dns\", \"ntp\", \"smtp\", \"submission\" or \"pop3s\"",
            "there is no service \"lmtp\" for the WAN; remove it, or write \"dns\", \"ntp\", \"smtp\", \"submission\" or \"pop3s\"",
        ],
    );
}

#[test]
fn what_no_gateway_could_serve_is_said_with_its_place() {
    let refused = |mail: &str, expected: &[&str]| assert_mistakes(&format!("{USERS}{mail}"), expected);
    refused(
        "mail.relay_from = ['lan', ▸'0.0.0.0/0', ▸'84.0.0.0/8', ▸'1.1.1.0/24', '192.0.2.0/24', '10.0.0.0/8']",
        &[
            "anybody in 0.0.0.0/0 could send to other domains; write smaller networks, which are the office's own",
            "anybody in 84.0.0.0/8 could send to other domains; write smaller networks, which are the office's own",
            "anybody in 1.1.1.0/24 could send to other domains; write smaller networks, which are the office's own",
        ],
    );
    refused("mail.ports.smtp = ▸465", &["port 465 is that of submissions; write another one"]);
    refused("mail.ports.smtp = ▸587", &["port 587 is that of submission; write another one"]);
    refused("mail.ports.submission = ▸25", &["port 25 is that of smtp; write another one"]);
    refused("mail.ports.submissions = ▸995", &["port 995 is that of pop3s; write another one"]);
    refused("mail.ports.lmtp = ▸53", &["port 53 is that of dns; write another one"]);
    refused(
        "mail.ports = { smtp = 2525, lmtp = ▸2525 }",
        &["port 2525 is that of smtp (first in line 2, column 23); write another one"],
    );
    for ports in ["smtp = 587, submission = 25", "smtp = 465, submissions = 0", "smtp = 0, lmtp = 25"] {
        mail(&format!("mail.ports = {{ {ports} }}"));
    }
}

#[test]
fn forwards_and_mail_quarrel_about_the_ports_that_mail_is_served_on() {
    let forward = |services: &str, wan_port: &str| {
        format!(
            "{USERS}network.mode = 'nat'\nmail.ports.smtp = 2525\n{services}\n\
             [[firewall.forwards]]\nwan_port = {wan_port}\nto = '192.168.1.20:25'"
        )
    };
    let open = |wan_port: &str| -> Vec<_> {
        accepted(&forward("", wan_port)).wan_services().map(|kind| kind.name).collect()
    };
    assert_eq!(open("'25'"), ["dns", "smtp", "submission", "pop3s"]);
    assert_eq!(open("'2525'"), ["dns", "submission", "pop3s"]);
    let listed = "firewall.wan_services = ['smtp']";
    accepted(&forward(listed, "'25'"));
    assert_mistakes(
        &forward(listed, "▸'2525'"),
        &["the forward takes the port of a service in firewall.wan_services; \
           write another port, or remove the service"],
    );
}

#[test]
fn aliases_and_the_catch_all_are_addresses_at_the_offices_domain_unless_they_say_another() {
    let mail = mail(
        "[mail]\ndomains = [{ name = 'shop.example', users = ['bob'] }]\ncatch_all = 'admin'\n\
         aliases = [{ name = 'Sales', members = ['alice', 'bob@elsewhere.example'] },\n\
         { name = 'info@shop.example', members = ['sales', 'bob@shop.example'] }]",
    );
    let all = mail.aliases.all.iter().map(|alias| {
        let members: Vec<_> = alias.members.iter().map(ToString::to_string).collect();
        format!("{}: {}", alias.address, members.join(" "))
    });
    let all = all.collect::<Vec<_>>();
    assert_eq!(
        all,
        [
            "Sales@office.example: alice@office.example bob@elsewhere.example",
            "info@shop.example: sales@office.example bob@shop.example"
        ]
    );
    assert_eq!(mail.aliases.catch_all.map(|to| to.to_string()).as_deref(), Some("admin@office.example"));
    assert_eq!(self::mail("mail.catch_all = ''").aliases, Aliases::default());
}

#[test]
fn mistakes_in_aliases_are_told_where_they_stand() {
    assert_mistakes(
        &format!(
            "{USERS}[mail]\ncatch_all = ▸'carla'\naliases = [\n\
             {{ name = 'a', members = ['alice', ▸'b'] }}, {{ name = 'b', members = ['A@smtp.office.example'] }},\n\
             {{ name = 'sales', members = [▸'sales', ▸'allice', 'carl@elsewhere'] }},\n\
             {{ name = ▸'press@elsewhere.example', members = ['bob'] }}, {{ name = ▸'A@gatepost.office.example', members = ['bob'] }},\n\
             {{ name = ▸'c+d', members = ▸[] }}, ▸{{ name = 'e' }}, {{ name = 'f', members = [▸'a@[192.168.1.1]', ▸'b%c', ▸'d e'] }}]"
        ),
        &[
            "nobody has mail for carla@office.example; write the name of a user or of an alias, or an address elsewhere",
            "mail for this member goes round: a@office.example -> b@office.example -> a@office.example; remove one of these members",
            "sales@office.example names itself, and there is no user who is called so; name the users who have its mail",
            "nobody has mail for allice@office.example; write \"alice\"",
            "elsewhere.example is no domain of the office's; write a name without a domain, or the domain as one of [[mail.domains]], too",
            "the alias A@gatepost.office.example is there twice (first in line 5, column 10); name all members in one",
            "\"c+d\" has a detail behind the +, which belongs to every address; write \"c\"",
            "the alias has no members; name users, other aliases, or addresses elsewhere",
            "the alias has no members; write members = [\"alice\"]",
            "\"a@[192.168.1.1]\" is at a host and not at a domain; write a name, such as \"alice\", or an address, such as \"bob@elsewhere.example\"",
            "\"b%c\" is an address that other servers read a route in; write a name, such as \"alice\", or an address, such as \"bob@elsewhere.example\"",
            "\"d e\" is not a mail address; write a name, such as \"alice\", or an address, such as \"bob@elsewhere.example\"",
        ],
    );
}

#[test]
fn judges_are_one_or_several() {
    let judges = |line: &str| {
        let judges = mail(&format!("[mail]\n{line}")).judges;
        judges.iter().map(|judge| format!("{:?} {judge}", judge.protocol)).collect::<Vec<_>>()
    };
    assert_eq!(judges(""), [] as [&str; 0]);
    assert_eq!(judges("judge = ''"), [] as [&str; 0]);
    assert_eq!(judges("judge = 'http://192.168.1.40/'"), ["Rspamd 192.168.1.40:11333"]);
    assert_eq!(
        judges("judge = ['http://Rspamd.office.example:8080', 'clamd://10.0.0.7']"),
        ["Rspamd rspamd.office.example:8080", "Clamd 10.0.0.7:3310"]
    );
    let example =
        "write a judge such as \"http://192.168.1.40:11333\" (rspamd) or \"clamd://192.168.1.40:3310\"";
    for (text, what) in [
        ("192.168.1.40", "does not say what the judge speaks"),
        ("https://a.example", "names what no judge speaks"),
        ("http://a.example:0", "has a port that there is not"),
        ("http://a.example/x", "has no name or IPv4 address of a server"),
        ("clamd://127.0.0.1", "has the address of no other server"),
        ("clamd://", "has no name or IPv4 address of a server"),
    ] {
        let told = format!("\"{text}\" {what}; {example}");
        assert_mistakes(&format!("{USERS}mail.judge = ▸'{text}'"), &[&told]);
        assert_mistakes(&format!("{USERS}mail.judge = ['http://a.example', ▸'{text}']"), &[&told]);
    }
}

#[test]
fn mail_leaves_by_routes_and_a_smarthost() {
    let mail = mail(
        "[mail]\nsmarthost = 'SMTP.isp.example'\nroutes = [{ domain = 'Old.example', to = '192.168.1.40:25' },\n\
         { domain = 'new.example', to = 'mx.new.example:2525' }, { domain = 'plain.example', to = '10.0.0.7' }]",
    );
    let text = |server: &gatepost_services::mail::mx::Server| format!("{:?} {}", server.host, server.port);
    assert_eq!(mail.smarthost.as_ref().map(text).as_deref(), Some("Name(\"smtp.isp.example\") 587"));
    let routes: Vec<_> = mail.routes.iter().map(|(domain, to)| format!("{domain} {}", text(to))).collect();
    assert_eq!(
        routes,
        [
            "new.example Name(\"mx.new.example\") 2525",
            "old.example Address(192.168.1.40) 25",
            "plain.example Address(10.0.0.7) 25"
        ]
    );
    let example = "write a server such as \"smtp.isp.example:587\" or \"192.168.1.40:25\"";
    assert_mistakes(
        &format!(
            "{USERS}[mail]\nsmarthost = ▸'smtp.office.example:25'\n\
             routes = [{{ domain = ▸'office.example', to = '192.168.1.40' }}, {{ domain = 'a.example', to = ▸'127.0.0.1' }},\n\
             {{ domain = 'b.example', to = ▸'b.example:0' }}, {{ domain = 'c.example', to = ▸'a b' }},\n\
             {{ domain = 'd.example', to = 'x.example' }}, {{ domain = ▸'D.example', to = 'y.example' }}]"
        ),
        &[
            &format!(
                "\"smtp.office.example:25\" is this server itself, and mail would come back to it; {example}"
            ),
            "office.example is a domain of this server, whose mail is delivered here; remove the route, or the domain",
            &format!("\"127.0.0.1\" is the address of no other server; {example}"),
            &format!("\"b.example:0\" has a port that there is not; {example}"),
            &format!("\"a b\" is no name or IPv4 address of a server; {example}"),
            "d.example has two routes; remove one",
        ],
    );
}

#[test]
fn a_login_at_the_smarthost_has_a_user_and_a_file() {
    let login = mail(
        "[mail]\nsmarthost = 'a.example'\nsmarthost_user = 'office'\nsmarthost_password_file = '/etc/isp'",
    );
    let login = login.smarthost_login.expect("a login");
    assert_eq!((login.user.as_str(), login.password), ("office", Secret::File("/etc/isp".into())));
    assert_eq!(mail("[mail]\nsmarthost_user = ''\nsmarthost_password_file = ''").smarthost_login, None);
    for (text, mistake) in [
        (
            "smarthost = 'a.example'\nsmarthost_user = ▸'a'",
            "mail.smarthost_password_file is missing; write the path of a file with the password in its first line, or remove \
             the user",
        ),
        (
            "smarthost = 'a.example'\nsmarthost_password_file = ▸'a'",
            "mail.smarthost_user is missing; write the user, or remove the password's file",
        ),
        (
            "smarthost_user = ▸'a'\nsmarthost_password_file = 'b'",
            "there is no smarthost to log in at; write mail.smarthost, or remove the user and its password's file",
        ),
        (
            "smarthost = 'a.example'\nsmarthost_user = ▸\"a\\nb\"\nsmarthost_password_file = 'b'",
            "\"a\\nb\" is no name of a user there; write 1 to 255 octets without control characters",
        ),
    ] {
        assert_mistakes(&format!("{USERS}[mail]\n{text}"), &[mistake]);
    }
}

#[test]
fn rules_and_days_are_read_as_the_reference_writes_them() {
    let mail = mail(
        "[mail]\nkeep_days = { Inbox = 90, 'Old mail' = 7 }\naliases = [{ name = 'sales', members = ['alice', 'bob'] }]\n\
         [[mail.rules]]\nuser = 'alice'\nheader = 'List-Id'\ncontains = 'announce'\nfolder = 'Lists'\n\
         [[mail.rules]]\nto = 'press@'\nfrom = 'agency'\nforward = 'bob@elsewhere.example'\n\
         [[mail.rules]]\nuser = 'bob'\nforward = 'alice'\nkeep = false\n\
         [[mail.rules]]\nheader = 'X-Spam'\ndiscard = true\n[[mail.rules]]\nuser = 'alice'\nforward = 'sales'",
    );
    let all: Vec<_> =
        mail.rules.all.iter().map(|rule| format!("{:?} {:?}", rule.user, rule.action)).collect();
    assert!(all[0].starts_with("Some(\"alice\") File(\"Lists\")"), "{all:?}");
    for (at, user, part) in
        [(1, "None", "elsewhere.example"), (2, "bob", "office.example"), (4, "alice", "sales")]
    {
        assert!(all[at].contains(user) && all[at].contains("Forward") && all[at].contains(part), "{all:?}");
    }
    assert!(all[1].contains("keeps: true") && all[2].contains("keeps: false"), "{all:?}");
    assert_eq!(all[3], "None Discard");
    let when = &mail.rules.all[1].when;
    assert_eq!((when.to.as_deref(), when.from.as_deref()), (Some("press@"), Some("agency")));
    let days: Vec<_> = mail.keep_days.iter().map(|(name, days)| format!("{name} {days}")).collect();
    assert_eq!(days, ["inbox 90", "junk 30", "old mail 7"]);
    let defaults = self::mail("");
    assert!(defaults.rules.is_empty());
    assert_eq!(defaults.keep_days.get("junk"), Some(&30));
}

#[test]
fn mistakes_in_rules_and_days_are_told_where_they_stand() {
    let does = "write folder = \"Lists\", forward = \"bob@elsewhere.example\" or discard = true";
    assert_mistakes(
        &format!(
            "{USERS}[mail]\nrules = [\n\
             {{ user = ▸'allice', folder = 'a' }}, ▸{{ user = 'alice' }}, ▸{{ discard = false, header = 'a' }},\n\
             ▸{{ folder = 'a', forward = 'bob' }}, ▸{{ forward = 'bob', discard = true }}, ▸{{ discard = true }},\n\
             {{ contains = ▸'a', folder = 'b' }}, {{ keep = ▸false, folder = 'b' }}, {{ header = ▸'a b', folder = 'c' }},\n\
             {{ to = ▸' ', folder = 'c' }}, {{ from = ▸\"a\\nb\", folder = 'c' }}, {{ folder = ▸' c' }},\n\
             {{ forward = ▸'carla' }}, {{ forward = ▸'a b' }}, {{ user = 'bob', forward = ▸'bob+x' }}, {{ folder = 'x', ▸foler = 1 }}]"
        ),
        &[
            "there is no user \"allice\"; write \"alice\"",
            &format!("the rule does nothing; {does}"),
            &format!("the rule does nothing; {does}"),
            "the rule does several things; write a rule for each, a forward with keep = true first",
            "the rule does several things; write a rule for each, a forward with keep = true first",
            "the rule discards all mail; write what it is for: header, to or from",
            "contains says nothing without a header; write header = \"Subject\", too",
            "keep belongs to forward; remove it",
            "\"a b\" is no name of a header field; write one such as \"Subject\" or \"List-Id\"",
            "there is nothing to look for; write a part of what is in the header",
            "\"a\\nb\" is in no header; write at most 256 octets without control characters",
            "\" c\" is no name of a folder; write one such as \"Lists\"",
            "nobody has mail for carla@office.example; write the name of a user or of an alias, or an address elsewhere",
            "\"a b\" is not a mail address; write a name, such as \"alice\", or an address, such as \"bob@elsewhere.example\"",
            "the rule sends mail of bob on to bob; write another address, or remove the rule",
            "unknown key \"foler\" in the rule; write \"folder\"",
        ],
    );
    assert_mistakes(
        &format!("{USERS}mail.keep_days = {{ inbox = ▸'a', ▸INBOX = 1, junk = ▸-1, ▸'' = 1 }}"),
        &[
            "a text instead of an integer; write an integer",
            "the folder \"INBOX\" is there twice; remove one",
            "-1 is out of range; write an integer from 0 to 36500",
            "\"\" is no name of a folder; write one such as \"Lists\"",
        ],
    );
    assert_mistakes(
        &format!("{USERS}mail.keep_days = ▸30"),
        &["an integer instead of a table; write a table"],
    );
}

#[test]
fn who_is_away_answers() {
    let text = "[[users]]\nname = 'alice'\nvacation = \"I am away.\\nAlice\"\n\
                [[users]]\nname = 'bob'\nvacation = ''";
    let mail = accepted(text).services.mail;
    let vacations: Vec<_> = mail.rules.vacations.iter().collect();
    assert_eq!(vacations, [(&"alice".to_owned(), &"I am away.\nAlice".to_owned())]);
    assert_mistakes(
        "[[users]]\nname = 'alice'\nvacation = ▸\"a\\u0007\"",
        &["the answer is too long, or has control characters; write at most 8192 octets of text"],
    );
}
