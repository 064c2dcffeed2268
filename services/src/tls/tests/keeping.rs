//! Certificates that are made, stored, renewed and read from files.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::super::keeper::{
    AUTHORITIES_KEPT_MAX, CHECK_INTERVAL, Certificate, Environment, Files, OWN_FILE, Source, authority_in,
    damage,
};
use super::super::testing::{SetClock, crypto};
use super::*;
use crate::store::testing::Breakable;
use crate::store::{Disk, Memory, Monitored, Storage};
use crate::work::AtOnce;

/// A gateway's disk, clock and TLS.
pub(super) struct Gateway {
    storage: Arc<Monitored>,
    pub environment: Environment,
    clock: SetClock,
}

impl Gateway {
    /// A gateway that starts with the content of `storage`.
    fn start(storage: &Arc<Monitored>, clock: &SetClock) -> Self {
        let tls = Rc::new(Tls::new(crypto(), Rc::new(clock.clone())));
        let disk = Disk::new(Arc::clone(storage) as _, Rc::new(AtOnce));
        let (work, kind) = (Rc::new(AtOnce), KeyKind::Ed25519);
        let environment = Environment { tls, disk, work, clock: Rc::new(clock.clone()), kind };
        Self { storage: Arc::clone(storage), environment, clock: clock.clone() }
    }

    pub fn new() -> Self {
        Self::start(&Arc::new(Monitored::new(Arc::new(Memory::new()))), &SetClock::at(NOW))
    }

    fn restarted(&self) -> Self {
        Self::start(&self.storage, &self.clock)
    }

    async fn prepare(&self, source: &Source, seed: u64) -> Result<Certificate, String> {
        let prepared = Certificate::prepare(source.clone(), self.environment.clone(), rng(seed)).await;
        prepared.map_err(|refused| format!("{}; {}", refused.why, refused.remedy))
    }

    async fn activate(&self, source: &Source, seed: u64) -> Certificate {
        let certificate = self.prepare(source, seed).await.expect("a certificate");
        certificate.activate();
        certificate
    }

    /// Whether a client that trusts `authority` accepts the server.
    async fn accepts(&self, authority: &str) -> bool {
        let client = Tls::new(crypto(), Rc::new(self.clock.clone()));
        client.set_authorities(&Authorities::from_pem(authority.as_bytes()).unwrap());
        handshake(&self.environment.tls, &client, Peer::Named("192.168.1.1")).await.1.is_ok()
    }

    fn own_authority(&self) -> String {
        self.environment.tls.own_authority().expect("an authority of its own")
    }

    pub fn problems(&self) -> String {
        self.storage.problems().join("\n")
    }

    fn stored(&self) -> Vec<u8> {
        self.storage.read(OWN_FILE).unwrap().expect("it is kept")
    }
}

fn own() -> Source {
    Source { names: names(), files: None }
}

fn of_domain(domain: &str) -> Source {
    Source { names: Names { domain: domain.into(), ..names() }, files: None }
}

#[tokio::test]
async fn an_authority_is_made_once_and_is_there_after_a_restart() {
    let gateway = Gateway::new();
    gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    assert!(gateway.accepts(&authority).await);
    assert_eq!(authority_in(&gateway.stored(), &names(), NOW), Ok(Some(authority.clone())));
    assert_eq!(damage(&gateway.stored()), None);
    let stored = gateway.stored();
    let restarted = gateway.restarted();
    restarted.activate(&own(), 2).await;
    assert_eq!(restarted.own_authority(), authority);
    assert!(restarted.accepts(&authority).await);
    assert!(restarted.stored() == stored, "nothing was due");
    assert_eq!(gateway.problems(), "");
}

#[tokio::test]
async fn a_certificate_is_renewed_thirty_days_before_its_end_and_its_authority_is_not() {
    let gateway = Gateway::new();
    let certificate = gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    let first = gateway.stored();
    gateway.clock.0.set(UnixTime(NOW.0 + 60 * DAY - 1));
    certificate.look().await;
    assert!(gateway.stored() == first, "it is not due");
    for days in (60..20_000).step_by(59) {
        gateway.clock.0.set(UnixTime(NOW.0 + days * DAY));
        certificate.look().await;
        // The clients' certificate of it is valid for twenty years.
        let lasts = days < 20 * 365 - 90;
        assert_eq!(gateway.own_authority() == authority, lasts, "after {days} days");
        assert!(gateway.accepts(&gateway.own_authority()).await, "after {days} days");
        if !lasts {
            break;
        }
    }
    assert!(gateway.stored() != first);
}

#[tokio::test]
async fn a_certificate_of_a_wrong_clock_is_made_anew_and_its_authority_stays() {
    for wrong in [0, NOW.0 + 30 * 365 * DAY] {
        let gateway = Gateway::new();
        gateway.clock.0.set(UnixTime(wrong));
        let certificate = gateway.activate(&own(), 1).await;
        let authority = gateway.own_authority();
        assert!(gateway.accepts(&authority).await);
        gateway.clock.0.set(NOW);
        assert!(!gateway.accepts(&authority).await);
        certificate.look().await;
        assert_eq!(gateway.own_authority(), authority);
        assert!(gateway.accepts(&authority).await, "made at {wrong}");
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_takes_the_authority_away_for_no_longer() {
    let gateway = Gateway::new();
    gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    gateway.clock.0.set(UnixTime(NOW.0 + 30 * 365 * DAY));
    let restarted = gateway.restarted();
    let certificate = restarted.activate(&own(), 2).await;
    assert!(restarted.own_authority() != authority, "it has ended");
    restarted.clock.0.set(NOW);
    certificate.look().await;
    assert_eq!(restarted.own_authority(), authority);
    assert!(restarted.accepts(&authority).await);
    let in_file = authority_in(&restarted.stored(), &names(), NOW);
    assert_eq!(in_file, Ok(Some(authority.clone())), "people are given the one that serves");
    let again = restarted.restarted();
    again.activate(&own(), 3).await;
    assert_eq!(again.own_authority(), authority);
}

#[tokio::test]
async fn a_clock_beyond_what_any_authority_lasts_pushes_none_out() {
    let gateway = Gateway::new();
    let certificate = gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    gateway.clock.0.set(UnixTime(NOW.0 + 124 * 365 * DAY));
    certificate.look().await;
    let stored = gateway.stored();
    for _ in 0..AUTHORITIES_KEPT_MAX {
        certificate.look().await;
    }
    assert!(gateway.stored() == stored, "it is written once");
    // A gateway that starts then has no better certificate.
    let restarted = gateway.restarted();
    let certificate = restarted.activate(&own(), 2).await;
    assert_eq!(restarted.own_authority(), authority);
    restarted.clock.0.set(NOW);
    certificate.look().await;
    assert_eq!(restarted.own_authority(), authority);
    assert!(restarted.accepts(&authority).await);
    let new = Gateway::new();
    new.clock.0.set(UnixTime(NOW.0 + 124 * 365 * DAY));
    new.activate(&own(), 3).await;
}

#[tokio::test]
async fn other_addresses_take_another_certificate_and_another_domain_an_authority_that_is_there_again_later()
{
    let gateway = Gateway::new();
    gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    let moved =
        Source { names: Names { addresses: ["10.0.0.1".parse().unwrap()].into(), ..names() }, files: None };
    gateway.activate(&moved, 2).await;
    assert_eq!(gateway.own_authority(), authority);
    assert!(!gateway.accepts(&authority).await, "the former address is not its own");
    gateway.activate(&of_domain("other.example"), 3).await;
    let other = gateway.own_authority();
    assert!(other != authority && gateway.accepts(&other).await && !gateway.accepts(&authority).await);
    let restarted = gateway.restarted();
    restarted.activate(&own(), 4).await;
    assert_eq!(restarted.own_authority(), authority);
    assert!(restarted.accepts(&authority).await);
    // The least recently used ones are removed.
    for number in 0..8 {
        restarted.activate(&of_domain(&format!("d{number}.example")), 5 + number).await;
    }
    restarted.activate(&own(), 20).await;
    assert!(restarted.own_authority() != authority);
    assert_eq!(authority_in(&restarted.stored(), &of_domain("d0.example").names, NOW), Ok(None));
    assert!(authority_in(&restarted.stored(), &of_domain("d1.example").names, NOW).unwrap().is_some());
}

#[tokio::test]
async fn a_configuration_that_is_refused_elsewhere_takes_nothing_away() {
    let gateway = Gateway::new();
    let certificate = gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    gateway.prepare(&of_domain("other.example"), 2).await.expect("prepared, and dropped");
    assert_eq!(gateway.own_authority(), authority);
    certificate.look().await;
    assert_eq!(gateway.own_authority(), authority);
    assert!(gateway.accepts(&authority).await);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_another_authority_made() {
    let gateway = Gateway::new();
    gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    let mut damaged = gateway.stored();
    damaged[40] ^= 1;
    gateway.storage.write(OWN_FILE, &damaged).unwrap();
    let restarted = gateway.restarted();
    restarted.activate(&own(), 2).await;
    assert!(restarted.own_authority() != authority);
    assert!(restarted.accepts(&restarted.own_authority()).await);
    assert!(
        gateway.problems().contains("tls/own.json is damaged: its checksum is wrong"),
        "{}",
        gateway.problems()
    );
    assert!(gateway.storage.read("tls/own.json.damaged").unwrap().expect("a copy") == damaged);
    assert!(damage(&damaged).is_some());
}

#[test]
fn what_is_told_of_a_damaged_file_quotes_no_key() {
    let told = damage(&crate::store::sealed::seal(br#"[{"authority":"SECRET","leaf":"SECRET"}]"#)).unwrap();
    assert!(!told.contains("SECRET"), "{told}");
}

fn breakable() -> (Arc<Breakable>, Gateway) {
    let disk = Arc::new(Breakable::default());
    let gateway = Gateway::start(&Arc::new(Monitored::new(Arc::clone(&disk) as _)), &SetClock::at(NOW));
    (disk, gateway)
}

#[tokio::test]
async fn an_authority_that_cannot_be_written_serves_and_is_written_as_soon_as_it_can_be() {
    let (disk, gateway) = breakable();
    disk.is_broken.store(true, Ordering::Relaxed);
    let certificate = gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    assert!(gateway.problems().contains("there will be another authority after a restart"));
    certificate.look().await;
    assert_eq!(gateway.own_authority(), authority);
    disk.is_broken.store(false, Ordering::Relaxed);
    certificate.look().await;
    assert_eq!(gateway.problems(), "");
    let restarted = gateway.restarted();
    restarted.activate(&own(), 2).await;
    assert_eq!(restarted.own_authority(), authority);
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_not_overwritten_and_serves_again_when_it_can_be() {
    let (disk, gateway) = breakable();
    gateway.activate(&own(), 1).await;
    let authority = gateway.own_authority();
    disk.is_unreadable.store(true, Ordering::Relaxed);
    let restarted = gateway.restarted();
    let certificate = restarted.activate(&own(), 2).await;
    let meanwhile = restarted.own_authority();
    assert!(meanwhile != authority && restarted.accepts(&meanwhile).await);
    assert!(gateway.problems().contains("tls/own.json cannot be read"), "{}", gateway.problems());
    certificate.look().await;
    assert_eq!(restarted.own_authority(), meanwhile, "one stand-in is enough");
    disk.is_unreadable.store(false, Ordering::Relaxed);
    certificate.look().await;
    assert_eq!(restarted.own_authority(), authority);
    assert!(restarted.accepts(&authority).await);
    assert_eq!(gateway.problems(), "");
}

/// The administrator's directory, removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-environment-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The files, as a configuration names them.
    fn source(&self) -> Source {
        let (certificate, key) = (self.0.join("chain.pem"), self.0.join("key.pem"));
        Source { names: names(), files: Some(Files { certificate, key }) }
    }

    /// Writes a certificate that was made at the time `now` with a key of `seed`; returns its authority's.
    fn issue(&self, seed: u64, now: UnixTime) -> String {
        let authority = Authority::make(KeyKind::Ed25519, &names(), now, &mut rng(seed)).unwrap();
        let leaf = authority.sign(KeyKind::Ed25519, &names(), now, &mut rng(seed + 100)).unwrap();
        fs::write(self.0.join("chain.pem"), leaf.certificate_pem()).unwrap();
        fs::write(self.0.join("key.pem"), leaf.key_pem()).unwrap();
        authority.certificate_pem()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn files_that_are_no_good_refuse_a_configuration_and_the_former_certificate_goes_on() {
    let (gateway, directory) = (Gateway::new(), Directory::new("refused"));
    let authority = directory.issue(1, NOW);
    gateway.activate(&directory.source(), 1).await;
    assert_eq!(gateway.environment.tls.own_authority(), None);
    assert!(gateway.accepts(&authority).await);
    let path = |name: &str| directory.0.join(name).display().to_string();
    let (chain, key) = (path("chain.pem"), path("key.pem"));
    let good = fs::read(&key).unwrap();

    fs::write(&key, leaf(&self::authority(), NOW).key_pem()).unwrap();
    let refused = gateway.prepare(&directory.source(), 2).await.unwrap_err();
    assert!(
        refused.starts_with(&format!("{key}: the key is not that of the first certificate; ")),
        "{refused}"
    );
    fs::remove_file(&key).unwrap();
    let refused = gateway.prepare(&directory.source(), 3).await.unwrap_err();
    assert!(refused.starts_with(&format!("{key} cannot be read: No such file")), "{refused}");
    fs::create_dir(&key).unwrap();
    let refused = gateway.prepare(&directory.source(), 3).await.unwrap_err();
    assert!(refused.starts_with(&format!("{key} cannot be read: it is not a regular file")), "{refused}");
    fs::remove_dir(&key).unwrap();
    fs::write(&key, vec![b'-'; 1 << 21]).unwrap();
    let refused = gateway.prepare(&directory.source(), 3).await.unwrap_err();
    assert!(refused.starts_with(&format!("{key} cannot be read: it is far too long")), "{refused}");
    fs::write(&key, &good).unwrap();
    gateway.clock.0.set(UnixTime(NOW.0 + 91 * DAY));
    let refused = gateway.prepare(&directory.source(), 4).await.unwrap_err();
    assert_eq!(
        refused,
        format!("{chain}: the certificate has expired on 27 Feb 2027; renew the certificate")
    );

    gateway.clock.0.set(NOW);
    assert!(gateway.accepts(&authority).await);
    gateway.prepare(&directory.source(), 5).await.expect("good again");
}

#[tokio::test]
async fn files_that_change_are_taken_within_a_minute_if_they_are_good() {
    tokio::time::pause();
    let (gateway, directory) = (Gateway::new(), Directory::new("changed"));
    let first = directory.issue(1, NOW);
    let certificate = gateway.activate(&directory.source(), 1).await;
    let second = directory.issue(2, NOW);
    assert!(gateway.accepts(&first).await && !gateway.accepts(&second).await);
    fs::write(directory.0.join("key.pem"), "half of").unwrap();
    certificate.look().await;
    assert!(gateway.accepts(&first).await);
    assert!(
        gateway
            .problems()
            .contains("key.pem: there is no key that can be read; the certificate that was there")
    );
    let third = directory.issue(3, NOW);
    let ran = timeout(CHECK_INTERVAL + Duration::from_secs(1), Rc::new(certificate).run()).await;
    ran.expect_err("it never ends");
    assert!(gateway.accepts(&third).await && !gateway.accepts(&first).await);
    assert_eq!(gateway.problems(), "");
}

#[tokio::test]
async fn a_certificate_that_nobody_renews_is_told_of_two_weeks_before_its_end() {
    let (gateway, directory) = (Gateway::new(), Directory::new("warned"));
    directory.issue(1, NOW);
    let certificate = gateway.activate(&directory.source(), 1).await;
    gateway.clock.0.set(UnixTime(NOW.0 + 76 * DAY));
    certificate.look().await;
    assert_eq!(gateway.problems(), "");
    gateway.clock.0.set(UnixTime(NOW.0 + 76 * DAY + 1));
    certificate.look().await;
    assert!(gateway.problems().ends_with("ends on 27 Feb 2027; renew it"), "{}", gateway.problems());
    gateway.clock.0.set(UnixTime(NOW.0 + 91 * DAY));
    certificate.look().await;
    assert!(gateway.problems().contains("has expired on 27 Feb 2027; the certificate that was there"));
    directory.issue(2, gateway.clock.0.get());
    certificate.look().await;
    assert_eq!(gateway.problems(), "");
}

#[tokio::test]
async fn at_the_start_the_own_authority_stands_in_for_files_that_are_no_good() {
    let (gateway, directory) = (Gateway::new(), Directory::new("stood-in"));
    let theirs = directory.issue(1, NOW);
    gateway.clock.0.set(UnixTime(NOW.0 + 91 * DAY));
    let certificate = gateway.activate(&directory.source(), 1).await;
    assert!(gateway.accepts(&gateway.own_authority()).await);
    let problems = gateway.problems();
    assert!(
        problems.contains("has expired on 27 Feb 2027; the office's own authority is used instead"),
        "{problems}"
    );
    // It is renewed as usual, and its problem is still reported.
    gateway.clock.0.set(UnixTime(NOW.0 + 200 * DAY));
    certificate.look().await;
    assert!(gateway.accepts(&gateway.own_authority()).await);
    let problems = gateway.problems();
    assert!(problems.contains("2027; the office's own authority is used instead"), "{problems}");
    // A clock that is set after startup has the same effect.
    gateway.clock.0.set(NOW);
    certificate.look().await;
    assert!(gateway.accepts(&theirs).await);
    assert_eq!(gateway.environment.tls.own_authority(), None);
    assert_eq!(gateway.problems(), "");
}
