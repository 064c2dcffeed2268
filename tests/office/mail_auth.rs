//! Mail from outside with signatures by dkimpy, and the gateway's results.

use std::fs;

use crate::harness::programs::wait_for_listener;
use crate::harness::{Background, Directory, ISP, Office, WAN, run};

const SETTINGS: &str = "users = [{ name = 'anna' }]\nmail.disk_reserve = '1 MiB'\n\
                        mail.authentication = 'reject'\nfirewall.wan_services = ['smtp']";

/// Signs messages in the ways that there are, and sends them to the gateway. One is changed behind its signature.
const SIGN_AND_SEND: &str = r#"
import dkim, smtplib, sys
server, key = sys.argv[1], open(sys.argv[2], "rb").read()
seed = b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
body = b" Hello,\t\tAnna \r\n\r\n.\r\n..two\t\r\n \r\nover\r\n\r\n \r\n\r\n\r\n"
client = smtplib.SMTP(server)
client.local_hostname = "mail.far.example"

def message(subject):
    return (b"From: Anna \r\n  <a@far.example>\r\nTo:\tAnna <anna@office.example>\r\nDate: x\r\n"
            b"Subject: " + subject + b"\r\nX-Odd:  \t y\r\n\r\n" + body)

def send(message, sender="a@elsewhere.example"):
    client.sendmail(sender, ["anna@office.example"], message)

def signed(subject, algorithm, forms, **how):
    is_rsa = algorithm == b"rsa-sha256"
    selector, private = (b"one", key) if is_rsa else (b"two", seed)
    return dkim.sign(message(subject), selector, b"far.example", private, canonicalize=forms,
                     signature_algorithm=algorithm, **how) + message(subject)

for algorithm in [b"rsa-sha256", b"ed25519-sha256"]:
    for header in [b"simple", b"relaxed"]:
        for form in [b"simple", b"relaxed"]:
            subject = b"-".join([b"good", algorithm, header, form])
            send(signed(subject, algorithm, (header, form)))
send(signed(b"good-length", b"rsa-sha256", (b"relaxed", b"relaxed"), length=True))
send(message(b"unsigned-from-our-host"), sender="a@far.example")
for forged in [message(b"forged"), signed(b"forged", b"rsa-sha256", (b"relaxed", b"relaxed")).replace(b"Hello", b"Hullo")]:
    try:
        send(forged)
        raise SystemExit("it was taken")
    except smtplib.SMTPDataError as error:
        assert error.smtp_code == 550 and b"DMARC" in error.smtp_error, error
send(message(b"junk").replace(b"far.example", b"news.far.example"))
client.quit()
"#;

/// dnsmasq at the provider's, with the key of `far.example` and what that asks for.
fn name_server(office: &Office, key: &str) -> Background {
    // It is longer than one string can be.
    let (first, second) = key.split_at(200);
    let process = office.internet.spawn(&format!(
        "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --pid-file --no-resolv --no-hosts \
         --listen-address={ISP} --bind-interfaces --local=/example/ \
         --txt-record='one._domainkey.far.example,v=DKIM1; k=rsa; p={first},{second}' \
         --txt-record='two._domainkey.far.example,v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=' \
         --txt-record='far.example,v=spf1 ip4:{ISP} -all' --host-record=news.far.example,{ISP} \
         --txt-record='_dmarc.far.example,v=DMARC1; p=reject; sp=quarantine'"
    ));
    for protocol in ["udp", "tcp"] {
        wait_for_listener(&office.internet, protocol, 53);
    }
    process
}

#[test]
fn what_dkimpy_signs_is_verified_and_what_is_forged_is_refused() {
    let office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']"));
    let directory = Directory::new();
    let (key, script) = (directory.join("key"), directory.join("send.py"));
    fs::write(&script, SIGN_AND_SEND).expect("it can be written");
    let public = office.internet.sh(&format!(
        "openssl genrsa -traditional -out {0} 2048 2>/dev/null\n\
         openssl rsa -in {0} -pubout -outform DER 2>/dev/null | base64 -w0",
        key.display()
    ));
    let _names = name_server(&office, public.trim());
    let mut send = office.internet.command("/usr/bin/python3");
    run(send.arg(&script).arg(WAN.to_string()).arg(&key));
    let inbox = office.gateway().setup().inbox("anna").replace("\n\t", " ");
    let results: Vec<_> = inbox
        .split("\nReturn-Path: ")
        .skip(1)
        .map(|message| {
            let line =
                |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            (line("Subject: "), line("Authentication-Results: smtp.office.example; "))
        })
        .collect();
    assert_eq!(results.len(), 8 + 1 + 1 + 1, "{inbox}");
    let (good, others) = results.split_at(9);
    for (subject, result) in good {
        assert!(subject.starts_with("good-"), "{subject}");
        let passed = "dmarc=pass header.from=far.example; spf=none smtp.mailfrom=elsewhere.example; \
                      dkim=pass header.d=far.example header.s=";
        assert!(result.starts_with(passed), "{subject}: {result}");
    }
    assert_eq!(
        others,
        [
            (
                "unsigned-from-our-host",
                "dmarc=pass header.from=far.example; spf=pass smtp.mailfrom=far.example; dkim=none"
            ),
            (
                "junk",
                "dmarc=fail (p=quarantine) header.from=news.far.example; spf=none smtp.mailfrom=elsewhere.example; \
                 dkim=none"
            ),
        ]
    );
    let services = office.gateway().show("services");
    let counters = services["services"].as_array().expect("a list").iter();
    let smtp = counters
        .map(|service| &service["counters"])
        .find(|counters| counters["dkim_pass"].as_u64() > Some(0));
    let smtp = smtp.expect("a service that has verified a signature");
    assert_eq!((smtp["dkim_pass"].as_u64(), smtp["dkim_fail"].as_u64()), (Some(9), Some(1)), "{services}");
    assert_eq!(
        (smtp["dmarc_fail"].as_u64(), smtp["messages_junk"].as_u64()),
        (Some(3), Some(1)),
        "{services}"
    );
}
