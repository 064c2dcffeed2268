//! The gateway's certificate, as clients of its services see it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Output;

use crate::harness::{LAN, Office, gatepost, run};

const SETTINGS: &str = "users = [{ name = 'anna' }]\nmail.disk_reserve = '1 MiB'";
const PASSWORD: &str = "blue harbour 47";

/// Sends a message by each of the ways that a mail program has: STARTTLS, and TLS at once.
const PYTHON: &str = r#"
import smtplib, ssl, sys
server, authority, password = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.verify_flags |= ssl.VERIFY_X509_STRICT

def submit(client, subject):
    client.login("anna", password)
    client.sendmail("anna@office.example", ["anna@office.example"], f"Subject: {subject}\r\n\r\n" + "x" * 60 + "\r\n")
    print(client.sock.version())
    client.quit()

client = smtplib.SMTP(server, 587)
try:
    client.login("anna", password)
    raise SystemExit("a password in clear")
except smtplib.SMTPNotSupportedError:
    pass
client.starttls(context=context)
submit(client, "starttls")
submit(smtplib.SMTP_SSL(server, 465, context=context), "tls")
"#;

/// Whether a client that trusts `authority` is content with the server, and what it says.
fn s_client(office: &Office, authority: &str) -> (bool, String) {
    let Output { status, stdout, stderr } = office.pc(1).try_sh(&format!(
        "echo QUIT | openssl s_client -connect {LAN}:465 -CAfile {authority} -verify_return_error -verify_ip {LAN} \
         -ign_eof -crlf"
    ));
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn mail_programs_that_trust_the_office_s_authority_log_in_under_tls() {
    let office = Office::new(1, SETTINGS);
    let setup = office.gateway().setup();
    setup.set_password("anna", PASSWORD);
    let authority = setup.directory().join("authority.pem");
    let shown = run(gatepost(&["tls", "ca", "--config"]).arg(setup.config()));
    fs::write(&authority, &shown).expect("a file");
    let kept = fs::metadata(setup.directory().join("state/tls/own.json")).expect("it is kept");
    assert_eq!(kept.mode() & 0o777, 0o600);

    let script = setup.directory().join("submit.py");
    fs::write(&script, PYTHON).expect("a file");
    let (script, authority) = (script.display(), authority.display().to_string());
    let versions = office.pc(1).sh(&format!("/usr/bin/python3 {script} {LAN} {authority} '{PASSWORD}'"));
    assert_eq!(versions, "TLSv1.3\nTLSv1.3\n");
    let (is_content, said) = s_client(&office, &authority);
    assert!(is_content && said.contains("220 ") && said.contains("221 "), "{said}");

    let inbox = setup.inbox("anna");
    assert!(inbox.contains("Subject: starttls") && inbox.contains("Subject: tls"), "{inbox}");
    assert_eq!(inbox.matches(" with ESMTPSA id ").count(), 2, "{inbox}");
}

#[test]
fn a_certificate_of_the_administrator_s_is_shown_after_a_reload_and_a_wrong_one_is_refused() {
    let office = Office::new(1, SETTINGS);
    let setup = office.gateway().setup();
    let path = |name: &str| setup.directory().join(name).display().to_string();
    let make = |name: &str| {
        office.pc(1).sh(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=office \
             -addext subjectAltName=IP:{LAN} -keyout {} -out {} 2>&1",
            path(&format!("{name}.key")),
            path(&format!("{name}.pem"))
        ));
    };
    make("theirs");
    make("other");
    let (is_content, said) = s_client(&office, &path("theirs.pem"));
    assert!(!is_content && said.contains("verify error"), "{said}");

    // Relative paths start at the configuration.
    let disk_reserve = "mail.disk_reserve = '1 MiB'";
    let tls = "tls = { certificate = 'theirs.pem', key = 'theirs.key' }";
    setup.edit(disk_reserve, &format!("{disk_reserve}\n{tls}"));
    assert!(office.gateway().reload().status.success(), "{}", office.gateway().log());
    let (is_content, said) = s_client(&office, &path("theirs.pem"));
    assert!(is_content && said.contains("Verify return code: 0 (ok)"), "{said}");

    setup.edit("'theirs.key'", "'other.key'");
    let refused = office.gateway().reload();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(
        told.contains("other.key: the key is not that of the first certificate; write the key"),
        "{told}"
    );
    assert!(s_client(&office, &path("theirs.pem")).0, "the former one goes on");
    let log = office.gateway().log();
    assert!(!log.contains("PRIVATE") && !log.contains(PASSWORD), "{log}");
}

/// What testssl.sh calls severe. That a certificate names no list of revoked ones is true, and meant: the office's
/// authority revokes nothing, and what it has signed ends by itself.
const SEVERE: &str = r#"
import json, sys
for finding in json.load(open(sys.argv[1])):
    if finding["severity"] in ("HIGH", "CRITICAL", "FATAL") and finding["id"] != "cert_revocation":
        print(finding["severity"], finding["id"], finding["finding"])
"#;

#[test]
fn testssl_finds_nothing_severe() {
    let office = Office::new(1, SETTINGS);
    let setup = office.gateway().setup();
    let path = |name: &str| setup.directory().join(name).display().to_string();
    fs::write(path("authority.pem"), run(gatepost(&["tls", "ca", "--config"]).arg(setup.config())))
        .expect("a file");
    fs::write(path("severe.py"), SEVERE).expect("a file");
    fs::write(path("resolv.conf"), format!("nameserver {LAN}\n")).expect("a file");
    // It asks for names that do not exist. Its exit code counts findings, small ones too.
    let said = office.pc(1).sh(&format!(
        "unshare -m sh -c 'mount --bind {} /etc/resolv.conf; exec testssl --quiet --color 0 --warnings batch \
         --nodns min -p -s -f -P -S -U --add-ca {} --jsonfile {} {LAN}:465' || true",
        path("resolv.conf"),
        path("authority.pem"),
        path("found.json")
    ));
    let severe = office.pc(1).sh(&format!("/usr/bin/python3 {} {}", path("severe.py"), path("found.json")));
    assert_eq!(severe, "", "{said}");
    assert!(said.contains("TLS 1.3") && said.contains("Done "), "{said}");
}
