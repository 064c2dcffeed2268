//! Mail fetched from remote mailboxes: Dovecot's, in the internet.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::programs::wait_for_listener;
use crate::harness::{Background, Directory, Office, SERVER, eventually, gatepost, run};

/// The user and group that Dovecot's mailboxes belong to: `mail`.
const OWNER: &str = "8:8";
const NAME: &str = "pop.isp.example";

const SETTINGS: &str = "mail.disk_reserve = '1 MiB'\nmail.max_message = '1 MiB'\n\
                        dns.records = [{ name = 'pop.isp.example.', type = 'A', value = '198.51.100.80' }]\n";

/// Dovecot, with a certificate for its name by an authority of the test's.
struct Dovecot {
    process: Option<Background>,
    directory: Directory,
}

impl Dovecot {
    /// Makes all that it needs; it does not run yet.
    fn new() -> Self {
        let directory = Directory::new();
        let this = Self { process: None, directory };
        let here = this.directory.path().display().to_string();
        let openssl = format!(
            "cd {here}
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=Test authority' \
               -addext basicConstraints=critical,CA:TRUE -keyout authority.key -out authority.pem 2>&1
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={NAME} -keyout key.pem -out request.pem 2>&1
             printf 'subjectAltName=DNS:{NAME}\\n' >extensions
             openssl x509 -req -in request.pem -CA authority.pem -CAkey authority.key -days 30 -extfile extensions \
               -out certificate.pem 2>&1
             chmod 755 .
             mkdir mail
             chown {OWNER} mail"
        );
        run(Command::new("sh").args(["-ec", &openssl]));
        let config = format!(
            "protocols = pop3\nlisten = {SERVER}\nbase_dir = {here}/run\nstate_dir = {here}/state\nlog_path = {here}/log\n\
             ssl = yes\nssl_cert = <{here}/certificate.pem\nssl_key = <{here}/key.pem\nfirst_valid_uid = 8\n\
             mail_location = maildir:{here}/mail/%u\n\
             passdb {{\n  driver = static\n  args = password=secret\n}}\n\
             userdb {{\n  driver = static\n  args = uid=8 gid=8 home={here}/mail\n}}\n"
        );
        fs::write(this.directory.join("dovecot.conf"), config).expect("a file");
        this
    }

    /// Starts it, and has the gateway look at its mailboxes, which are empty: so the next look that is due is minutes
    /// away.
    fn start(&mut self, office: &Office) {
        let config = self.directory.join("dovecot.conf");
        self.process = Some(office.internet.spawn(&format!("dovecot -F -c {}", config.display())));
        wait_for_listener(&office.internet, "tcp", 995);
        wait_for_listener(&office.internet, "tcp", 110);
        poll(office, &[]);
    }

    /// Puts messages into a mailbox, in this order.
    fn put(&self, user: &str, texts: &[String]) {
        let maildir = self.directory.join("mail").join(user);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(maildir.join(part)).expect("a directory");
        }
        for (number, text) in (1000..).zip(texts) {
            fs::write(maildir.join("new").join(format!("{number}")), text).expect("a file");
        }
        let mail = self.directory.join("mail").display().to_string();
        run(Command::new("chown").args(["-R", OWNER, &mail]));
    }

    /// How many messages a mailbox has.
    fn left(&self, user: &str) -> usize {
        let count = |part: &str| {
            let directory = self.directory.join("mail").join(user).join(part);
            fs::read_dir(directory).map_or(0, Iterator::count)
        };
        count("new") + count("cur")
    }
}

/// The output of `gatepost mail poll` as JSON. It fails if an account did.
fn poll(office: &Office, options: &[&str]) -> Value {
    let mut command = gatepost(&["mail", "poll", "--json"]);
    let output = command.args(options).arg("--config").arg(office.gateway().setup().config()).output();
    let output = output.expect("it runs");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// The errors of the accounts, empty where there is none.
fn errors(polled: &Value) -> Vec<&str> {
    let accounts = polled["accounts"].as_array().expect("a list").iter();
    accounts.map(|account| account["error"].as_str().unwrap_or_default()).collect()
}

fn write_password(directory: &Path) {
    fs::write(directory.join("isp.secret"), "secret\n").expect("a file");
}

/// An office that polls accounts of `settings`, and their server.
fn office(settings: &str) -> (Office, Dovecot) {
    let dovecot = Dovecot::new();
    let authority = dovecot.directory.join("authority.pem");
    let trusted = format!("tls.authorities = '{}'", authority.display());
    let office = Office::new(1, &format!("{SETTINGS}{trusted}\n{settings}"));
    write_password(office.gateway().setup().directory().path());
    (office, dovecot)
}

fn subjects(inbox: &str) -> Vec<&str> {
    inbox.lines().filter_map(|line| line.strip_prefix("Subject: ")).collect()
}

fn message(subject: &str, header: &str) -> String {
    format!("{header}Subject: {subject}\n\nhello\n")
}

#[test]
fn what_is_in_mailboxes_elsewhere_comes_over_tls_and_is_distributed_and_left_as_is_said() {
    let (office, mut dovecot) = office(
        "users = [{ name = 'anna', poll = [{ server = 'pop.isp.example', username = 'anna77', password_file = 'isp.secret', \
         leave_days = 3 }] }, { name = 'bert' }]\n\
         mail.common_mailbox = [{ server = 'pop.isp.example:110', username = 'office', password_file = 'isp.secret', \
         tls = 'required', otherwise_to = 'anna' }]",
    );
    dovecot.start(&office);
    dovecot.put("anna77", &[message("left", "From: a@elsewhere.example\n")]);
    let of_office = [
        message("envelope", "X-Envelope-To: bert@office.example\nTo: anna@office.example\n"),
        message("both", "To: anna@office.example\nCc: Bert <bert@office.example>\n"),
        message("nobody", "To: list@lists.example\n"),
    ];
    dovecot.put("office", &of_office);

    let dry = poll(&office, &["--dry-run"]);
    assert_eq!(errors(&dry), ["", ""], "{dry}");
    let of_office = dry["accounts"][1]["messages"].as_array().expect("a list").iter().map(|message| {
        let users = message["receivers"].as_array().expect("a list").iter();
        let users: Vec<_> = users.map(|receiver| receiver["user"].as_str().expect("a name")).collect();
        let text = |key: &str| message[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} ({}): {}", text("action"), text("rule"), text("header"), users.join(" "))
    });
    let expected = [
        "fetch envelope (X-Envelope-To): bert",
        "fetch addressees (To, Cc): anna bert",
        "fetch otherwise (-): anna",
    ];
    assert_eq!(of_office.collect::<Vec<_>>(), expected);
    assert_eq!((dovecot.left("anna77"), dovecot.left("office")), (1, 3));

    for _ in 0..2 {
        let polled = poll(&office, &[]);
        assert_eq!(errors(&polled), ["", ""], "{polled}");
    }
    let setup = office.gateway().setup();
    let mut of_anna = subjects(&setup.inbox("anna")).into_iter().map(str::to_owned).collect::<Vec<_>>();
    of_anna.sort();
    assert_eq!(of_anna, ["both", "left", "nobody"]);
    assert_eq!(subjects(&setup.inbox("bert")), ["envelope", "both"]);
    assert_eq!((dovecot.left("anna77"), dovecot.left("office")), (1, 0));
    let shown = office.gateway().show("mail");
    assert_eq!(shown["accounts"][0]["account"], "anna77@pop.isp.example");
    assert!(
        shown["accounts"][0]["last_success_secs"].is_u64() && shown["accounts"][0]["state"] == "waits",
        "{shown}"
    );
    assert_eq!(
        (&shown["mailboxes"]["messages"], &shown["queue"]["total"]),
        (&5.into(), &0.into()),
        "{shown}"
    );
    assert!(office.gateway().show_text("mail").contains("anna77@pop.isp.example"));
}

#[test]
fn a_server_that_does_not_prove_its_name_gets_no_password() {
    let (office, mut dovecot) = office(
        "users = [{ name = 'anna', poll = [{ server = 'pop.isp.example', username = 'anna77', password_file = 'isp.secret' },\n\
         { server = '198.51.100.80:110', username = 'anna78', password_file = 'isp.secret' }] }]",
    );
    dovecot.start(&office);
    dovecot.put("anna77", &[message("one", "")]);
    // The certificate is for the name, not for the address.
    let polled = poll(&office, &[]);
    let errors = errors(&polled);
    assert!(errors[0].is_empty() && errors[1].contains("certificate is not trusted"), "{polled}");
    let log = dovecot.directory.read("log");
    assert!(log.contains("anna77") && !log.contains("anna78"), "{log}");
    let services = office.gateway().show("services");
    let polling = services["services"].as_array().expect("a list").iter().find(|of| of["name"] == "polling");
    assert!(
        polling.expect("it is there")["problem"].as_str().is_some_and(|why| why.contains("anna78")),
        "{services}"
    );
}

#[test]
fn a_message_that_is_too_large_stays_there_and_is_told_of_once() {
    let (office, mut dovecot) = office(
        "users = [{ name = 'anna', poll = [{ server = 'pop.isp.example', username = 'anna77', password_file = 'isp.secret' }] }]",
    );
    let large = format!("X-Long: {}\n", "x".repeat(900)).repeat(1400);
    dovecot.start(&office);
    dovecot.put("anna77", &[message("large", &large), message("small", "")]);
    for _ in 0..2 {
        assert_eq!(errors(&poll(&office, &[])), [""]);
    }
    let inbox = office.gateway().setup().inbox("anna");
    assert_eq!(subjects(&inbox), ["A message is too long to be fetched", "small"], "{inbox}");
    assert_eq!(dovecot.left("anna77"), 1);
}

#[test]
fn what_was_being_fetched_when_the_gateway_was_killed_comes_once() {
    const COUNT: usize = 400;
    let (mut office, mut dovecot) = office(
        "users = [{ name = 'anna', poll = [{ server = 'pop.isp.example', username = 'anna77', password_file = 'isp.secret' }] }]",
    );
    let text = |number: usize| message(&number.to_string(), "") + &"and so on\n".repeat(800);
    dovecot.start(&office);
    dovecot.put("anna77", &(0..COUNT).map(text).collect::<Vec<_>>());
    let mut polling = gatepost(&["mail", "poll", "--config"]);
    polling.arg(office.gateway().setup().config()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut polling = polling.spawn().expect("it runs");
    let fetched = eventually("the first messages", || {
        let count = subjects(&office.gateway().setup().inbox("anna")).len();
        (count > 0).then_some(count)
    });
    let (_, setup) = office.stop(Signal::SIGKILL);
    assert!(!polling.wait().expect("it ends").success() || fetched == COUNT);
    office.start(setup);
    office.give_static_addresses();
    let polled = poll(&office, &[]);
    assert_eq!(errors(&polled), [""], "{polled}");
    let inbox = office.gateway().setup().inbox("anna");
    let mut numbers: Vec<usize> =
        subjects(&inbox).iter().filter_map(|subject| subject.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    assert_eq!(dovecot.left("anna77"), 0);
}
