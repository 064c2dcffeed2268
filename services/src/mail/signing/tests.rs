//! Stored keys, and their signatures.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use data_encoding::BASE64;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::{Instant, timeout};

use super::keeper::AGAIN_AFTER;
use super::*;
use crate::crypto::tls::KeySource;
use crate::store::testing::Breakable;
use crate::store::{Disk, Monitored, Storage};
use crate::work::AtOnce;

fn own() -> Vec<String> {
    ["office.example", "shop.example", "sales.office.example"].map(str::to_owned).to_vec()
}

fn keys() -> Arc<Keys> {
    Arc::new(Keys::make(KeySource::Seed, &mut StdRng::seed_from_u64(1)))
}

fn read(message: &str) -> Option<Unsigned> {
    let read = |portion| {
        let mut reading = Reading::new();
        message.as_bytes().chunks(portion).for_each(|octets| reading.push(octets));
        reading.finish()
    };
    let (whole, cut) = (read(message.len().max(1)), read(1));
    let signed = |unsigned: &Option<Unsigned>| unsigned.as_ref().and_then(|it| it.sign(&keys(), "x.example"));
    assert_eq!(signed(&whole), signed(&cut), "{message:?}");
    whole
}

fn domain(message: &str) -> Option<String> {
    read(message)?.domain(&own()).map(str::to_owned)
}

/// RFC 6376, section 5.1: The author's domain signs, and no other.
#[test]
fn rfc6376_5_1_the_author_s_domain_signs_and_no_other() {
    for (from, signs) in [
        ("anna@office.example", Some("office.example")),
        ("\"Anna, of us\" <Anna@Office.Example>", Some("office.example")),
        ("Anna\r\n\t<anna@shop.example>", Some("shop.example")),
        ("root@pc1.office.example", Some("office.example")),
        ("x@deep.sales.office.example", Some("sales.office.example")),
        ("anna@elsewhere.example", None),
        ("anna@notoffice.example", None),
        ("anna@example", None),
        ("anna@[192.168.1.1]", None),
        ("anna", None),
        ("", None),
    ] {
        assert_eq!(domain(&format!("From: {from}\r\n\r\n")).as_deref(), signs, "{from}");
    }
    assert_eq!(domain("From: a@office.example\r\nFrom: b@office.example\r\n\r\n"), None);
    assert_eq!(domain("Subject: a\r\n\r\nFrom: a@office.example\r\n"), None);
}

#[test]
fn names_of_servers_sign_as_their_domain() {
    let domain = |name: &str, same_as: Option<&str>| MailDomain {
        name: name.to_owned(),
        same_as: same_as.map(str::to_owned),
        ..MailDomain::default()
    };
    let office = Some("office.example");
    let all = [
        domain("office.example", None),
        domain("gatepost.office.example", office),
        domain("mx.host.example", office),
        domain("shop.example", office),
        domain("sales.office.example", None),
    ];
    let signing = ["office.example", "mx.host.example", "shop.example", "sales.office.example"];
    assert_eq!(signing_domains(&all), signing);
}

/// The tags of a signature's field.
fn tags(field: &str) -> Vec<(String, String)> {
    let value = field.strip_prefix("DKIM-Signature:").unwrap();
    let tags = value.split(';').map(|tag| {
        let (name, value) = tag.split_once('=').unwrap();
        (name.trim().to_owned(), value.split_whitespace().collect())
    });
    tags.collect()
}

fn tag(field: &str, name: &str) -> String {
    tags(field).into_iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("no {name}=: {field}")).1
}

const MESSAGE: &str = "Received: from pc1\r\nFrom: anna@office.example\r\nTo: a@x.example\r\nTo: b@x.example\r\n\
    Subject: Lunch\r\nX-Own: no\r\n\r\nAt noon?\r\n\r\n";

/// RFC 6376, section 3.5: A signature has these tags.
#[test]
fn rfc6376_3_5_a_signature_has_these_tags() {
    let field = read(MESSAGE).unwrap().sign(&keys(), "office.example").unwrap();
    let names: Vec<_> = tags(&field).into_iter().map(|(name, _)| name).collect();
    // RFC 6376, section 8.2: no l=.
    assert_eq!(names, ["v", "a", "c", "d", "s", "h", "bh", "b"]);
    assert_eq!(tag(&field, "v"), "1");
    assert_eq!(tag(&field, "a"), "ed25519-sha256");
    assert_eq!(tag(&field, "c"), "relaxed/relaxed");
    assert_eq!(tag(&field, "d"), "office.example");
    assert_eq!(tag(&field, "s"), keys().iter().next().unwrap().selector());
    let body = BASE64.encode(&crate::crypto::sha256(b"At noon?\r\n"));
    assert_eq!(tag(&field, "bh"), body);
    assert_eq!(BASE64.decode(tag(&field, "b").as_bytes()).map(|signature| signature.len()), Ok(64));
    assert!(field.ends_with("\r\n") && !field.contains("\r\n\r\n"), "{field}");
}

/// RFC 6376, section 8.15: A second From that is added later breaks the signature.
#[test]
fn rfc6376_8_15_a_second_from_breaks_the_signature() {
    let field = read(MESSAGE).unwrap().sign(&keys(), "office.example").unwrap();
    assert_eq!(tag(&field, "h"), "From:From:Subject:To:To");
}

/// RFC 5322, section 2.1.1: No line of a signature is longer than 78 characters.
#[test]
fn rfc5322_2_1_1_no_line_of_a_signature_is_longer_than_78_characters() {
    let fields = SIGNED_FIELDS.map(|name| format!("{name}: a@office.example\r\n")).concat();
    let keys = Arc::new(Keys::make(KeySource::System, &mut StdRng::seed_from_u64(1)));
    let both = read(&format!("{fields}\r\nbody\r\n")).unwrap().sign(&keys, "office.example").unwrap();
    assert_eq!(both.matches("DKIM-Signature:").count(), 2);
    assert!(both.starts_with("DKIM-Signature: v=1; a=rsa-sha256;"), "{both}");
    for line in both.split("\r\n") {
        assert!(line.len() <= 78, "{line}");
    }
    let last = both.rfind("DKIM-Signature:").unwrap();
    let listed = tag(&both[last..], "h");
    assert_eq!(listed, format!("From:{}", SIGNED_FIELDS.join(":")));
}

/// RFC 6376, section 5.3: What is changed on its way is not signed.
#[test]
fn rfc6376_5_3_what_is_changed_on_its_way_is_not_signed() {
    const FROM: &str = "From: a@office.example\r\n";
    for body in ["a\nb\r\n", "a\rb\r\n", "a\r", "\r\r\n", "\n"] {
        assert!(read(&format!("{FROM}\r\n{body}")).is_none(), "{body:?}");
    }
    for body in ["", "no end", "a\r\n.\r\n", "\r\n\r\n", "\u{fc}\r\n"] {
        assert!(read(&format!("{FROM}\r\n{body}")).is_some(), "{body:?}");
    }
    assert!(read(FROM).is_some(), "a header alone");
    let many = |count: usize| read(&format!("{FROM}{}\r\n", "To: b\r\n".repeat(count))).unwrap();
    assert!(many(SIGNED_FIELDS_MAX - 2).sign(&keys(), "office.example").is_some());
    assert!(many(SIGNED_FIELDS_MAX - 1).sign(&keys(), "office.example").is_none());
    assert!(read(&format!("{FROM}X: {}\r\n\r\n", "y".repeat(300_000))).is_none());
}

/// RFC 6376, section 3.6.1: A record has version, type and key, and another key has another name.
#[test]
fn rfc6376_3_6_1_a_record_has_version_type_and_key() {
    let keys = Keys::make(KeySource::System, &mut StdRng::seed_from_u64(1));
    let records: Vec<_> = keys.records(&own()).collect();
    assert_eq!(records.len(), 6);
    assert!(
        records[0].text.starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"),
        "{:?}",
        records[0]
    );
    assert!(records[0].text.len() > 255);
    assert!(records[1].text.starts_with("v=DKIM1; k=ed25519; p="), "{:?}", records[1]);
    assert_eq!(records[0].name, format!("{}._domainkey.office.example", records[0].selector));
    assert_eq!(records[2].domain, "shop.example");
    let others = Keys::make(KeySource::System, &mut StdRng::seed_from_u64(2));
    for other in others.records(&own()) {
        assert!(records.iter().all(|record| record.name != other.name));
    }
}

/// A gateway's disk, and its keys.
struct Gateway {
    disk: Arc<Breakable>,
    watched: Arc<Monitored>,
    keeper: Rc<KeyKeeper>,
    keeping: Keeping,
}

impl Gateway {
    fn start(disk: &Arc<Breakable>, seed: u64) -> Self {
        let watched = Arc::new(Monitored::new(Arc::clone(disk) as _));
        let keeping = Keeping {
            disk: Disk::new(Arc::clone(&watched) as _, Rc::new(AtOnce)),
            work: Rc::new(AtOnce),
            from: KeySource::Seed,
            rng: StdRng::seed_from_u64(seed).into(),
        };
        Self { disk: Arc::clone(disk), watched, keeper: Rc::default(), keeping }
    }

    fn new() -> Self {
        Self::start(&Arc::default(), 1)
    }

    fn restarted(&self) -> Self {
        Self::start(&self.disk, 2)
    }

    /// The selector, once there is a key.
    async fn selector(&self) -> String {
        self.keeper.keep(&self.keeping).await.iter().next().unwrap().selector().to_owned()
    }

    fn problems(&self) -> String {
        self.watched.problems().join("\n")
    }
}

#[tokio::test]
async fn keys_are_made_once_and_are_there_after_a_restart() {
    let gateway = Gateway::new();
    let selector = gateway.selector().await;
    assert_eq!(gateway.selector().await, selector);
    assert_eq!(gateway.restarted().selector().await, selector);
    let stored = gateway.disk.read(FILE).unwrap().unwrap();
    assert_eq!(damage(&stored), None);
    assert_eq!(keys_in(&stored).unwrap().iter().next().unwrap().selector(), selector);
}

/// A full disk: no mail is signed by a key that would be another one after a restart.
#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_written_sign_nothing_until_they_are() {
    let gateway = Gateway::new();
    gateway.disk.is_broken.store(true, Ordering::Relaxed);
    assert!(timeout(AGAIN_AFTER * 3, gateway.selector()).await.is_err());
    assert!(gateway.keeper.keys().is_none());
    assert!(gateway.problems().contains("without DKIM signatures"), "{}", gateway.problems());
    gateway.disk.is_broken.store(false, Ordering::Relaxed);
    let before = Instant::now();
    let selector = gateway.selector().await;
    assert!(before.elapsed() <= AGAIN_AFTER);
    assert_eq!(gateway.problems(), "");
    assert_eq!(gateway.restarted().selector().await, selector);
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_read_are_not_replaced() {
    let gateway = Gateway::new();
    let selector = gateway.selector().await;
    let restarted = gateway.restarted();
    restarted.disk.is_unreadable.store(true, Ordering::Relaxed);
    assert!(timeout(AGAIN_AFTER * 3, restarted.selector()).await.is_err());
    assert!(restarted.problems().contains("cannot be read"), "{}", restarted.problems());
    restarted.disk.is_unreadable.store(false, Ordering::Relaxed);
    assert_eq!(restarted.selector().await, selector);
}

#[tokio::test(start_paused = true)]
async fn of_damaged_keys_a_copy_is_kept_and_others_are_called_otherwise() {
    let gateway = Gateway::new();
    let selector = gateway.selector().await;
    let mut stored = gateway.disk.read(FILE).unwrap().unwrap();
    stored[20] ^= 1;
    gateway.disk.write(FILE, &stored).unwrap();
    assert!(damage(&stored).is_some());
    let restarted = gateway.restarted();
    restarted.disk.is_broken.store(true, Ordering::Relaxed);
    assert!(timeout(AGAIN_AFTER * 3, restarted.selector()).await.is_err());
    assert_eq!(restarted.disk.read(FILE).unwrap().as_ref(), Some(&stored), "it is all there is");
    restarted.disk.is_broken.store(false, Ordering::Relaxed);
    assert_ne!(restarted.selector().await, selector);
    assert_eq!(restarted.disk.read("dkim/keys.json.damaged").unwrap(), Some(stored));
    assert!(restarted.problems().contains("gatepost mail dkim"), "{}", restarted.problems());
}

#[test]
fn what_is_no_key_is_told_without_a_word_of_it() {
    for (json, why) in [
        ("", "it makes no sense at octet 0 of its content"),
        ("[]", "there is no key in it"),
        (r#"[{"algorithm":"rsa-sha1","key":"AAAA"}]"#, "a key in it cannot be read"),
        (r#"[{"algorithm":"rsa-sha256","key":"?"}]"#, "a key in it cannot be read"),
        (r#"[{"algorithm":"ed25519-sha256","key":"AAAA"}]"#, "a key in it is none"),
    ] {
        assert_eq!(Keys::parse(json.as_bytes()).err().as_deref(), Some(why), "{json}");
    }
}
