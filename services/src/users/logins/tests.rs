use std::cell::Cell;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::*;
use crate::clock::UnixTime;
use crate::store::Memory;
use crate::users::Role;
use crate::work::{AtOnce, Job};

const HOME: &str = "192.168.1.10";

struct At(Cell<u64>);

impl Clock for At {
    fn now(&self) -> Instant {
        Instant::from_secs(self.0.get())
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(self.0.get())
    }
}

/// A job, and the channel for its completion.
type Held = (Job, oneshot::Sender<()>);

/// Runs the held jobs.
fn do_held(work: &Counting) {
    let held = work.held.borrow_mut().replace(Vec::new()).unwrap_or_default();
    for (job, ended) in held {
        job();
        _ = ended.send(());
    }
}

/// Counts jobs, and runs each at once or on request.
#[derive(Default)]
struct Counting {
    jobs: Cell<usize>,
    held: RefCell<Option<Vec<Held>>>,
}

impl Work for Counting {
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
        self.jobs.set(self.jobs.get() + 1);
        match &mut *self.held.borrow_mut() {
            Some(held) => {
                let (sender, ended) = oneshot::channel();
                held.push((job, sender));
                Box::pin(async move { _ = ended.await })
            }
            None => {
                job();
                Box::pin(ready(()))
            }
        }
    }
}

struct Office {
    storage: Arc<Memory>,
    work: Rc<Counting>,
    clock: Rc<At>,
    logins: Logins,
}

fn user(name: &str) -> User {
    User { name: name.to_owned(), full_name: String::new(), role: Role::User, quota: 1 << 30 }
}

fn prepared(password: &str) -> Prepared {
    Prepared::new(password).unwrap()
}

impl Office {
    /// Anna has a password, Berta none.
    fn new() -> Self {
        let (storage, work) = (Arc::new(Memory::default()), Rc::new(Counting::default()));
        let clock = Rc::new(At(Cell::new(1000)));
        let mut rng = StdRng::seed_from_u64(1);
        let (disk, jobs, time) = (Arc::clone(&storage), Rc::clone(&work), Rc::clone(&clock));
        let costs = (Limits::default(), Cost::LEAST);
        let logins = Logins::new(disk, jobs, time, costs, [7; 32], &mut rng);
        logins.set_users(&[user("anna"), user("berta")], &["Office.example"]);
        let office = Self { storage, work, clock, logins };
        office.set_password("anna", "blue harbour 47", 2);
        office
    }

    fn set_password(&self, user: &str, password: &str, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let verifiers = Verifiers::of(&prepared(password), Cost::LEAST, &mut rng).unwrap();
        self.storage.replace(&passwords::file_of(user), &verifiers.to_file().unwrap()).unwrap();
    }

    /// The result of a login, and the number of its jobs.
    async fn login(&self, name: &str, password: &str) -> (Outcome, usize) {
        let before = self.work.jobs.get();
        let outcome = self.logins.password(HOME.parse().unwrap(), name, password).await;
        (outcome, self.work.jobs.get() - before)
    }
}

fn accepted(user: &str) -> Outcome {
    Outcome::Accepted { user: user.to_owned() }
}

#[tokio::test]
async fn a_right_password_is_checked_once_in_ten_minutes() {
    let office = Office::new();
    assert_eq!(office.login("anna", "blue harbour 47").await, (accepted("anna"), 2));
    assert_eq!(office.login("Anna", "blue harbour 47").await, (accepted("anna"), 1));
    assert_eq!(office.login("anna", "blue harbour 48").await, (Outcome::Refused, 2));
    office.clock.0.set(1599);
    assert_eq!(office.login("anna", "blue harbour 47").await, (accepted("anna"), 1));
    office.clock.0.set(1600);
    assert_eq!(office.login("anna", "blue harbour 47").await, (accepted("anna"), 2));
}

#[tokio::test]
async fn another_password_counts_at_once_and_the_former_no_more() {
    let office = Office::new();
    assert_eq!(office.login("anna", "blue harbour 47").await.0, accepted("anna"));
    office.set_password("anna", "red harbour 48", 3);
    assert_eq!(office.login("anna", "blue harbour 47").await.0, Outcome::Refused);
    assert_eq!(office.login("anna", "red harbour 48").await.0, accepted("anna"));
}

#[tokio::test]
async fn the_mark_of_a_login_changes_with_the_password() {
    let office = Office::new();
    let home = HOME.parse().unwrap();
    let login = async |password| office.logins.marked_password(home, "anna", password).await;
    let (outcome, before) = login("blue harbour 47").await;
    assert!(outcome == accepted("anna") && before.is_some());
    assert_eq!(login("blue harbour 47").await.1, before);
    assert_eq!(login("red harbour 48").await, (Outcome::Refused, None));
    office.set_password("anna", "blue harbour 47", 3);
    let (outcome, after) = login("blue harbour 47").await;
    assert!(outcome == accepted("anna") && after.is_some() && after != before, "the same one, set again");
}

#[test]
fn names_that_strangers_enter_are_cut_in_the_log_and_their_lines_limited() {
    let (lines, ()) = crate::test_log::Log::of(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let office = Office::new();
            office.storage.replace(&passwords::file_of(passwords::NOBODY), b"damaged").unwrap();
            for number in 0..50 {
                office.clock.0.set(1000 + number);
                let name = format!("a\n\u{1b}[2J{}", "x".repeat(200));
                let outcome = office.logins.password([192, 168, 1, number as u8].into(), &name, "b").await;
                assert_eq!(outcome, Outcome::Unavailable);
            }
        });
    });
    assert_eq!(lines.len(), usize::try_from(WARNINGS_MAX).unwrap(), "{lines:?}");
    assert!(lines.iter().all(|line| line.len() < 200 && !line.contains(['\n', '\u{1b}'])), "{lines:?}");
}

#[tokio::test]
async fn who_is_not_among_the_users_is_refused_after_a_check_like_others() {
    let office = Office::new();
    assert_eq!(office.login("berta", "blue harbour 47").await, (Outcome::Refused, 2), "she has no password");
    assert_eq!(office.login("clara", "blue harbour 47").await, (Outcome::Refused, 2), "she is not there");
    assert_eq!(office.login("anna", "blue harbour 47").await.0, accepted("anna"));
    office.logins.set_users(&[user("berta")], &[]);
    assert_eq!(
        office.login("anna", "blue harbour 47").await.0,
        Outcome::Refused,
        "what is remembered is no use"
    );
    assert_eq!(office.login("anna", "blue\0harbour").await.0, Outcome::Refused);
}

#[tokio::test]
async fn failures_are_limited_and_right_logins_are_not() {
    let office = Office::new();
    for _ in 0..100 {
        assert_eq!(office.login("anna", "blue harbour 47").await.0, accepted("anna"));
    }
    for number in 0..10 {
        assert_eq!(office.login("ANNA", &format!("wrong {number}")).await.0, Outcome::Refused);
    }
    let (outcome, jobs) = office.login("anna", "blue harbour 47").await;
    assert!(matches!(outcome, Outcome::TooMany(_)) && jobs == 0, "{outcome:?}");
    let elsewhere = "198.51.100.7".parse().unwrap();
    assert_eq!(office.logins.password(elsewhere, "anna", "blue harbour 47").await, accepted("anna"));
}

/// The SCRAM-SHA-256 verifier of a name, and whether it is a decoy.
async fn scram(office: &Office, name: &str) -> (ScramVerifier, bool) {
    match office.logins.scram_verifier(HOME.parse().unwrap(), name).await {
        Scram::Verifier { verifier, is_decoy } => (verifier, is_decoy),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn by_scram_nobody_can_tell_who_is_a_user() {
    let (office, after_restart) = (Office::new(), Office::new());
    let before = office.work.jobs.get();
    let (verifier, is_decoy) = scram(&office, "Anna").await;
    assert!(!is_decoy);
    let mut salts = vec![verifier.salt];
    for name in ["berta", "clara", "dora", "\u{e9}mile"] {
        let (decoy, is_decoy) = scram(&office, name).await;
        assert!(is_decoy && decoy.iterations == verifier.iterations);
        assert!(scram(&office, &name.to_uppercase()).await.0 == decoy, "a name has one salt");
        assert!(scram(&after_restart, name).await.0 == decoy, "after a restart too");
        salts.push(decoy.salt);
    }
    assert_eq!(office.work.jobs.get() - before, 9, "each takes one job");
    salts.sort();
    salts.dedup();
    assert_eq!(salts.len(), 5, "two names have two salts");
}

#[tokio::test]
async fn by_scram_a_login_counts_as_a_failure_until_there_is_a_proof() {
    let office = Office::new();
    let home = HOME.parse().unwrap();
    for _ in 0..100 {
        scram(&office, "anna").await;
        assert_eq!(office.logins.scram_proved(home, "anna"), accepted("anna"));
    }
    for _ in 0..10 {
        scram(&office, "anna").await;
    }
    assert!(matches!(office.logins.scram_verifier(home, "anna").await, Scram::TooMany(_)));
    assert!(matches!(office.login("anna", "blue harbour 47").await.0, Outcome::TooMany(_)), "one limit");
    office.logins.set_users(&[], &[]);
    assert_eq!(office.logins.scram_proved(home, "anna"), Outcome::Refused, "she has gone meanwhile");
}

#[tokio::test]
async fn the_same_wrong_password_again_is_no_further_guess() {
    let office = Office::new();
    for name in ["anna", "clara"] {
        assert_eq!(office.login(name, "green harbour 46").await, (Outcome::Refused, 2));
        for _ in 0..1000 {
            assert_eq!(office.login(name, "green harbour 46").await, (Outcome::Refused, 1), "{name}");
        }
    }
    assert_eq!(office.login("anna", "blue harbour 47").await.0, accepted("anna"));
    office.clock.0.set(1000 + 3600);
    assert_eq!(office.login("anna", "green harbour 46").await, (Outcome::Refused, 2), "it was forgotten");
    office.set_password("anna", "green harbour 46", 3);
    assert_eq!(office.login("anna", "green harbour 46").await.0, accepted("anna"), "it is right now");
}

#[tokio::test]
async fn a_user_is_called_by_the_address_too_and_is_one_user() {
    let office = Office::new();
    assert_eq!(office.login("Anna@OFFICE.example", "blue harbour 47").await.0, accepted("anna"));
    for name in ["anna@elsewhere.example", "anna@", "@office.example", "anna@office.example@office.example"] {
        assert_eq!(office.login(name, "blue harbour 47").await.0, Outcome::Refused, "{name}");
    }
    let names = ["anna", "ANNA@office.example"];
    for (number, name) in names.iter().cycle().take(10).enumerate() {
        assert_eq!(office.login(name, &format!("wrong {number}")).await.0, Outcome::Refused);
    }
    for name in names {
        assert!(matches!(office.login(name, "blue harbour 47").await.0, Outcome::TooMany(_)), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_failure_of_the_user_s() {
    let office = Office::new();
    office.storage.replace(&passwords::file_of("anna"), b"2 00000000 {}\n").unwrap();
    for _ in 0..100 {
        assert_eq!(office.login("anna", "blue harbour 47").await.0, Outcome::Unavailable);
    }
    office.set_password("anna", "blue harbour 47", 2);
    assert_eq!(office.login("anna", "blue harbour 47").await.0, accepted("anna"));
}

#[tokio::test]
async fn few_are_checked_at_a_time_and_a_flood_is_turned_away() {
    let office = Office::new();
    *office.work.held.borrow_mut() = Some(Vec::new());
    let source = |number: usize| format!("10.0.{number}.1").parse().unwrap();
    let mut all: Vec<_> = (0..LOGINS_MAX + 1)
        .map(|number| Box::pin(office.logins.password(source(number), "clara", "wrong")))
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    let ready = all.iter_mut().filter_map(|login| match login.as_mut().poll(&mut context) {
        std::task::Poll::Ready(outcome) => Some(outcome),
        std::task::Poll::Pending => None,
    });
    assert_eq!(ready.collect::<Vec<_>>(), [Outcome::Unavailable]);
    assert_eq!(office.work.jobs.get(), LOGINS_MAX, "files are read");
    do_held(&office.work);
    all.truncate(LOGINS_MAX);
    assert!(all.iter_mut().all(|login| login.as_mut().poll(&mut context).is_pending()));
    assert_eq!(office.work.jobs.get(), LOGINS_MAX + CHECKS);
    drop(all);
    *office.work.held.borrow_mut() = None;
    let mut login = pin!(office.login("anna", "blue harbour 47"));
    assert_eq!(login.as_mut().await.0, accepted("anna"), "who has gone has no place any more");
}

#[test]
fn who_hangs_up_has_no_more_checked_than_who_waits() {
    let office = Office::new();
    *office.work.held.borrow_mut() = Some(Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    let mut turned_away = 0;
    for number in 0..2 * LOGINS_MAX {
        let source = format!("10.{}.{}.1", number / 256, number % 256).parse().unwrap();
        let mut login = Box::pin(office.logins.password(source, "clara", "wrong"));
        turned_away += usize::from(login.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!(office.work.jobs.get(), LOGINS_MAX, "the files are read although nobody waits");
    assert_eq!(turned_away, LOGINS_MAX);
    do_held(&office.work);
    for number in 0..2 * LOGINS_MAX {
        let before = office.work.jobs.get();
        let source = format!("10.{}.{}.2", number / 256, number % 256).parse().unwrap();
        let mut login = Box::pin(office.logins.password(source, "clara", "wrong"));
        assert!(login.as_mut().poll(&mut context).is_pending(), "a job that has ended makes room");
        let read = office.work.held.borrow_mut().as_mut().and_then(Vec::pop);
        let (job, ended) = read.expect("a file is read");
        job();
        _ = ended.send(());
        assert!(login.as_mut().poll(&mut context).is_pending());
        let is_first = number < CHECKS;
        let expected = if is_first { 2 } else { 1 };
        assert_eq!(office.work.jobs.get() - before, expected, "the first checks run although nobody waits");
    }
}

#[test]
fn of_too_many_remembered_the_oldest_is_forgotten() {
    let mut remembered = PasswordCache { key: [0; 32], until: BTreeMap::new() };
    let tag = |number: usize| crypto::sha256(&number.to_be_bytes());
    let at = |number: usize| Instant::from_secs(number as u64);
    (1..=CACHED_MAX + 1).for_each(|number| remembered.add(at(number), tag(number)));
    assert_eq!(remembered.until.len(), CACHED_MAX);
    assert!(!remembered.has(Instant::ZERO, &tag(1)) && remembered.has(Instant::ZERO, &tag(2)));
    assert!(!remembered.has(at(2), &tag(2)), "its time is over");
}

#[tokio::test]
async fn a_job_that_breaks_down_is_no_answer() {
    struct Broken;
    impl Work for Broken {
        fn start(&self, _: Job) -> Pin<Box<dyn Future<Output = ()>>> {
            AtOnce.start(Box::new(|| {}))
        }
    }
    let mut rng = StdRng::seed_from_u64(1);
    let clock = Rc::new(At(Cell::new(1)));
    let costs = (Limits::default(), Cost::LEAST);
    let logins = Logins::new(Arc::new(Memory::default()), Rc::new(Broken), clock, costs, [7; 32], &mut rng);
    assert_eq!(logins.password(HOME.parse().unwrap(), "anna", "x").await, Outcome::Unavailable);
}
