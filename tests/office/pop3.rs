//! Mail that users fetch by POP3, with the programs that they have.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::harness::{Directory, LAN, Namespace, Office, Setup, WAN, gatepost, run};

const SETTINGS: &str = "users = [{ name = 'anna' }, { name = 'bert' }]\n\
                        mail.disk_reserve = '1 MiB'";
const PASSWORD: &str = "blue harbour 47";

/// The beginning of the scripts below.
const PYTHON: &str = r#"
import base64, poplib, socket, ssl, sys
server, authority, password = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.verify_flags |= ssl.VERIFY_X509_STRICT
plain = base64.b64encode(f"\0anna\0{password}".encode()).decode()

def login(client, name="anna"):
    client.user(name)
    client.pass_(password)
    return client

def over_tls(name="anna"):
    return login(poplib.POP3_SSL(server, context=context), name)

def refused(what, *arguments):
    try:
        what(*arguments)
    except poplib.error_proto as error:
        return str(error.args[0])
    raise SystemExit(f"not refused: {what} {arguments}")

def message(client, number):
    return b"".join(line + b"\r\n" for line in client.retr(number)[1])
"#;

/// A session by each of the ways to begin one, and all that a program can ask.
const SESSIONS: &str = r#"
client = poplib.POP3(server)
assert "STLS" in client.capa() and "USER" not in client.capa(), client.capa()
assert "-ERR a login needs TLS" in refused(client.user, "anna")
assert "-ERR a login needs TLS" in refused(client._shortcmd, "AUTH PLAIN " + plain)
client.stls(context=context)
assert "STLS" not in client.capa() and client.capa()["SASL"] == ["SCRAM-SHA-256", "PLAIN", "LOGIN"], client.capa()
assert refused(login, client, "bert").startswith("b'-ERR [AUTH]"), "bert has no password"
login(client, "anna@office.example")

messages, octets = client.stat()
assert messages == 4, messages
sizes = [int(line.split()[1]) for line in client.list()[1]]
assert sum(sizes) == octets and client.list(2) == f"+OK 2 {sizes[1]}".encode()
names = [line.split()[1] for line in client.uidl()[1]]
assert len(set(names)) == 4 and client.uidl(3).split()[2] == names[2]
assert [len(message(client, number)) for number in range(1, 5)] == sizes
whole = message(client, 2)
header, body = whole.split(b"\r\n\r\n", 1)
assert body == b".\r\n..two\r\n\r\n\xff\xfe raw\r\n.\r\n", body
assert client.top(2, 0)[1] == header.split(b"\r\n") + [b""]
assert client.top(2, 2)[1] == header.split(b"\r\n") + [b"", b".", b"..two"]
assert refused(client.retr, 5) and refused(client.list, 0) and refused(client.top, 1, -1)

# It is this session's alone, on both ports.
assert "[IN-USE]" in refused(over_tls)

# What is marked is there again after RSET, and after a connection that was lost.
client.dele(1)
assert client.stat()[0] == 3 and refused(client.retr, 1)
client.rset()
assert client.stat() == (messages, octets)
client.dele(1)
client.noop()
client.sock.shutdown(socket.SHUT_RDWR)
client.close()
while True:
    try:
        client = over_tls()
        break
    except poplib.error_proto as error:
        assert b"[IN-USE]" in error.args[0], error
assert client.stat() == (messages, octets)
assert [line.split()[1] for line in client.uidl()[1]] == names
client.quit()

# By a mechanism.
client = poplib.POP3_SSL(server, context=context)
assert client._shortcmd("AUTH PLAIN " + plain).startswith(b"+OK 4 ")
client.quit()
client = poplib.POP3_SSL(server, context=context)
assert client._shortcmd("AUTH LOGIN") == b"+ VXNlcm5hbWU6"
assert client._shortcmd(base64.b64encode(b"anna").decode()) == b"+ UGFzc3dvcmQ6"
assert client._shortcmd(base64.b64encode(password.encode()).decode()).startswith(b"+OK 4 ")
client.dele(2)
client.quit()
print(b" ".join(names[:1] + names[2:]).decode())
"#;

/// The same names, and the same messages, after a start.
const NAMES: &str = r#"
client = over_tls()
print(b" ".join(line.split()[1] for line in client.uidl()[1]).decode())
client.quit()
"#;

/// An office whose user has a password, and the settings of mail programs.
struct Mail {
    office: Office,
    authority: String,
    scratch: Directory,
}

impl Mail {
    fn new(settings: &str) -> Self {
        let office = Office::new(1, settings);
        let setup = office.gateway().setup();
        setup.set_password("anna", PASSWORD);
        let scratch = Directory::new();
        let authority = scratch.join("authority.pem");
        fs::write(&authority, run(gatepost(&["tls", "ca", "--config"]).arg(setup.config()))).expect("a file");
        Self { office, authority: authority.display().to_string(), scratch }
    }

    fn pc(&self) -> &Namespace {
        self.office.pc(1)
    }

    /// A file with this text; its name.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.scratch.join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// The same for a file that its owner alone may read, as these programs ask for.
    fn secret(&self, name: &str, text: &str) -> String {
        let file = self.file(name, text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file of one's own");
        file
    }

    /// The line that runs a Python script that speaks with `server`.
    fn script(&self, text: &str, server: Ipv4Addr) -> String {
        let file = self.file("script.py", format!("{PYTHON}{text}"));
        format!("timeout 60 /usr/bin/python3 {file} {server} {} '{PASSWORD}'", self.authority)
    }

    /// Runs a shell line on the PC, which asks the gateway for names.
    #[track_caller]
    fn by_name(&self, line: &str) -> String {
        self.pc().sh(&self.with_names(line))
    }

    /// That line.
    fn with_names(&self, line: &str) -> String {
        let names = self.file("resolv.conf", format!("nameserver {LAN}\n"));
        let script =
            self.scratch.script("by-name", &format!("set -e\nmount --bind {names} /etc/resolv.conf\n{line}"));
        format!("unshare --mount {script}")
    }

    /// Runs a Python script on the PC.
    #[track_caller]
    fn python(&self, text: &str) -> String {
        self.pc().sh(&self.script(text, LAN))
    }
}

/// The subjects in what a program has fetched, in their order.
fn subjects(mail: &str) -> Vec<&str> {
    mail.lines().filter_map(|line| line.strip_prefix("Subject: ")).collect()
}

#[test]
fn what_users_send_in_the_office_is_fetched_with_poplib_and_curl() {
    let mut mail = Mail::new(SETTINGS);
    let Mail { authority, .. } = &mail;
    mail.pc().sh(&format!(
        "swaks --server {LAN} --from bert@office.example --to anna@office.example --header 'Subject: swaks'"
    ));
    let odd =
        mail.file("odd", b"From: c@d.example\r\nSubject: odd\r\n\r\n.\r\n..two\r\n\r\n\xff\xfe raw\r\n.\r\n");
    mail.pc().sh(&format!(
        "curl -sS --mail-from c@d.example --mail-rcpt anna@office.example -T {odd} smtp://{LAN}/pc1"
    ));
    mail.by_name(&format!(
        "yes 'a line of a long message' | head -n 30000 | s-nail -n -S v15-compat -S nosave -S tls-ca-file={authority} \
         -S mta='smtps://anna:{}@smtp.office.example' -S smtp-auth=plain -S from=anna@office.example -s s-nail \
         anna@office.example",
        PASSWORD.replace(' ', "%20")
    ));
    mail.pc().sh(&format!(
        "printf 'Subject: msmtp\n\nhello\n' | timeout 20 msmtp --host={LAN} --port=587 --tls=on \
         --tls-trust-file={authority} --auth=scram-sha-256 --user=anna --passwordeval=\"echo '{PASSWORD}'\" \
         --from=anna@office.example anna@office.example"
    ));
    let names = mail.python(SESSIONS);
    for (url, options) in [
        (format!("pop3s://{LAN}/2"), ""),
        (format!("pop3://{LAN}/2"), "--ssl-reqd --login-options AUTH=PLAIN"),
    ] {
        let fetched =
            mail.pc().sh(&format!("curl -sS --cacert {authority} {options} --user 'anna:{PASSWORD}' {url}"));
        assert_eq!(subjects(&fetched), ["s-nail"]);
        assert_eq!(fetched.lines().filter(|line| *line == "a line of a long message").count(), 30_000);
    }

    let (_, setup) = mail.office.stop(Signal::SIGKILL);
    assert_eq!(subjects(&setup.inbox("anna")), ["swaks", "s-nail", "msmtp"], "one was deleted by QUIT");
    mail.office.start(setup);
    mail.office.give_static_addresses();
    assert_eq!(mail.python(NAMES), names);
    let services = mail.office.gateway().show("services");
    let log = mail.office.gateway().log();
    assert!(!log.contains(PASSWORD), "{log}");
    let of = |name: &str| {
        let all = services["services"].as_array().expect("a list");
        all.iter().find(|service| service["name"] == name).expect("it is listed")["counters"].clone()
    };
    assert_eq!(of("pop3s")["logins"], 1, "{services}");
}

#[test]
fn what_programs_of_users_fetch_is_what_is_there() {
    let mail = Mail::new(SETTINGS);
    let Mail { authority, .. } = &mail;
    for subject in ["one", "two"] {
        mail.pc().sh(&format!(
            "swaks --server {LAN} --from bert@office.example --to anna@office.example --header 'Subject: {subject}' \
             --body '.\n.dots {subject}'"
        ));
    }
    let directory = mail.scratch.path().display().to_string();
    let read = |name: &str| fs::read_to_string(mail.scratch.join(name)).unwrap_or_default();
    // By STLS, and what was fetched before is known by its name.
    let fetchmail = mail.secret(
        "fetchmailrc",
        &format!(
            "set idfile '{directory}/fetched'\npoll pop.office.example protocol pop3 port 110 uidl user anna password '{PASSWORD}' \
             sslproto 'tls1.2+' sslcertck sslcertfile {authority} keep \
             mda 'cat >>{directory}/fetchmail'\n"
        ),
    );
    let fetchmail =
        format!("HOME={directory} timeout 20 fetchmail -f {fetchmail} --nodetach --nosyslog -v 2>&1");
    mail.by_name(&fetchmail);
    let again = mail.pc().try_sh(&mail.with_names(&fetchmail));
    assert_eq!(again.status.code(), Some(1), "nothing new: {}", String::from_utf8_lossy(&again.stdout));
    // On port 995, without sending the password.
    let mpop = mail.secret(
        "mpoprc",
        &format!(
            "account office\nhost pop.office.example\nport 995\ntls on\ntls_starttls off\ntls_trust_file {authority}\n\
             auth scram-sha-256\nuser anna\npassword \"{PASSWORD}\"\nkeep on\ndelivery mbox {directory}/mpop\n\
             uidls_file {directory}/uidls\n"
        ),
    );
    mail.by_name(&format!("timeout 20 mpop -C {mpop} office"));
    // And deletes.
    let getmail = mail.secret(
        "getmailrc",
        &format!(
            "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = pop.office.example\nusername = anna\npassword = {PASSWORD}\n\
             ca_certs = {authority}\n[destination]\ntype = MDA_external\npath = /usr/bin/tee\n\
             arguments = ('-a', '{directory}/getmail')\nallow_root_commands = true\n[options]\ndelete = true\n"
        ),
    );
    mail.by_name(&format!("timeout 20 getmail --getmaildir={directory} --rcfile={getmail} 2>&1"));
    for program in ["fetchmail", "mpop", "getmail"] {
        let fetched = read(program);
        assert_eq!(subjects(&fetched), ["one", "two"], "{program}: {fetched}");
        assert!(
            fetched.contains("\n.\n.dots one\n") && fetched.contains("\n.\n.dots two\n"),
            "{program}: {fetched}"
        );
    }
    assert_eq!(subjects(&mail.office.gateway().setup().inbox("anna")), [] as [&str; 0]);
}

const CLEAR: &str = r#"
client = poplib.POP3(server)
assert "USER" in client.capa(), client.capa()
print(login(client).stat()[0])
client.quit()
"#;

#[test]
fn a_password_in_clear_is_taken_where_the_file_says_so_and_from_the_wan_tls_alone_is_served() {
    let mail = Mail::new(SETTINGS);
    let refused = mail.pc().try_sh(&mail.script(CLEAR, LAN));
    assert!(!refused.status.success());
    let is_open = |port: u16| {
        mail.office.internet.succeeds(&format!("socat -u OPEN:/dev/null TCP:{WAN}:{port},connect-timeout=2"))
    };
    assert_eq!((is_open(110), is_open(995)), (false, false));

    let setup: &Setup = mail.office.gateway().setup();
    let reserve = "mail.disk_reserve = '1 MiB'";
    setup.edit(
        reserve,
        &format!("{reserve}\nmail.plaintext_login = 'lan'\nfirewall.wan_services = ['pop3s']"),
    );
    assert!(mail.office.gateway().reload().status.success(), "{}", mail.office.gateway().log());
    assert_eq!(mail.python(CLEAR), "0\n");
    assert_eq!((is_open(110), is_open(995)), (false, true));
    let Mail { authority, .. } = &mail;
    let outside = |user: &str, name: &str| {
        mail.office.internet.try_sh(&format!(
            "curl -sS --cacert {authority} --resolve {name}:995:{WAN} --user '{user}:{PASSWORD}' pop3s://{name}/"
        ))
    };
    let fetched = outside("anna", "pop.office.example");
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    // curl: 67 is a login that was denied, 60 a certificate that is another's.
    assert_eq!(outside("bert", "pop.office.example").status.code(), Some(67));
    assert_eq!(outside("anna", "pop.elsewhere.example").status.code(), Some(60));
    setup.edit("['pop3s']", "['pop3']");
    let refused = mail.office.gateway().reload();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("there is no service \"pop3\" for the WAN"), "{told}");
}
