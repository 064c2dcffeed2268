//! Polling as a service, on paused time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::collect::Disposition;
use super::testing::{Server, message, serve};
use super::*;
use crate::dns::resolver::{Answerer, Resolver};
use crate::mail::pop3::client::Encryption;
use crate::mail::sasl::Password;
use crate::mail::secret::Secret;
use crate::mail::service::remote::NoRemote;
use crate::mail::service::tests::lab::{self, LAN, Lab, WAN, addresses, simulate};
use crate::mail::service::tests::wire::Wire;
use crate::mail::smtp::Role;
use crate::mail::store::tests::disk::FakeDisk;
use crate::net::{Listener, Net};
use crate::service::{Instance, LocalFuture, Service, State};

const POP: &str = "198.51.100.7";
const EVERY: Duration = Duration::from_secs(300);
/// Longer than the wait between two looks at any draw, and shorter than two of them.
const ONE_LOOK: Duration = Duration::from_secs(331);

/// The names of the world, each with its address. Without an address outside there is no answer.
struct World(BTreeMap<&'static str, &'static str>, crate::addresses::Subscription);

impl Answerer for World {
    fn ask(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        let has_way = self.1.borrow().ipv4(gatepost_ground::Role::Outside).next().is_some();
        let mut response = Message::response(0, OpCode::Query);
        let text = name.to_ascii();
        let found = self.0.get(text.trim_end_matches('.')).copied();
        response.metadata.response_code =
            if found.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain };
        if let (Some(address), RecordType::A) = (found, record_type) {
            let data = RData::A(A(address.parse().unwrap()));
            response.add_answer(Record::from_rdata(name, 60, data));
        }
        Box::pin(std::future::ready(has_way.then_some(response)))
    }
}

fn account(user: &str, server: &str) -> Account {
    Account {
        server: server.to_owned(),
        port: 110,
        encryption: Encryption::Opportunistic,
        username: format!("{user}77"),
        password: Secret::Known(Password("secret".to_owned())),
        receives: Receives::Person(user.to_owned()),
        every: EVERY,
        leave_days: 0,
    }
}

fn of_anna() -> Vec<Account> {
    vec![account("anna", "pop.isp.example")]
}

/// An instance, and the task that runs it.
type Running = (Rc<dyn Instance>, JoinHandle<()>);

/// An office that polls.
struct Office {
    lab: Lab,
    polls: Rc<Polls<Wire>>,
    polling: OfficePolling<Wire>,
    running: RefCell<Option<Running>>,
}

impl Office {
    async fn start(disk: &Arc<FakeDisk>, accounts: Vec<Account>) -> Self {
        let lab = Lab::start(disk, Role::Mx, lab::settings()).await;
        let names = [("pop.isp.example", POP), ("own.example", WAN), ("nas.office.example", "192.168.1.40")];
        let world = World(BTreeMap::from(names), lab.publisher.subscribe());
        lab.host.publish_resolver(Resolver::new(Rc::new(world)));
        let polls = Rc::new(Polls::new());
        let polling = OfficePolling::new(Rc::clone(&lab.state), Rc::clone(&polls), Rc::new(NoRemote));
        let office = Self { lab, polls, polling, running: RefCell::default() };
        office.go_over_to(accounts).await;
        office
    }

    /// Puts these accounts in force, as a reload does.
    async fn go_over_to(&self, accounts: Vec<Account>) {
        let settings = Settings { mail: lab::settings(), accounts };
        let prepared = Service::<Wire>::prepare(&self.polling, settings, &self.lab.host).await;
        let instance = prepared.unwrap_or_else(|error| panic!("{error}"));
        instance.activate();
        let running = spawn_local(instance.run());
        if let Some((former, running)) = self.running.replace(Some((instance, running))) {
            spawn_local(async move {
                // The former instance may stop late.
                sleep(Duration::from_secs(1)).await;
                former.stop().await;
                running.abort();
            });
        }
    }

    fn state(&self) -> String {
        match self.running.borrow().as_ref().unwrap().0.state() {
            State::Impaired(why) => why,
            other => format!("{other:?}"),
        }
    }

    fn count(&self, counter: &str) -> u64 {
        let counters = Service::<Wire>::counters(&self.polling);
        counters.into_iter().find(|(name, _)| *name == counter).expect(counter).1
    }
}

/// A server at `at` that has these messages.
async fn server(office: &Office, at: &str, messages: Vec<(String, String)>) -> Rc<RefCell<Server>> {
    let server = Rc::new(RefCell::new(Server { messages, ..Server::default() }));
    let listener = office.lab.wire.listen(format!("{at}:110").parse().unwrap()).await.unwrap();
    let served = Rc::clone(&server);
    spawn_local(async move {
        while let Ok(stream) = listener.accept().await {
            spawn_local(serve(Rc::clone(&served), stream));
        }
    });
    server
}

fn one() -> Vec<(String, String)> {
    vec![message(1, "From: far@elsewhere.example")]
}

fn logins(server: &Rc<RefCell<Server>>) -> usize {
    server.borrow().commands.iter().filter(|line| line.starts_with("USER ")).count()
}

#[test]
fn an_account_is_looked_at_soon_after_the_start_and_as_often_as_it_says() {
    simulate(async {
        let office = Office::start(&Arc::default(), of_anna()).await;
        let isp = server(&office, POP, one()).await;
        sleep(schedule::FIRST_WITHIN).await;
        assert_eq!(office.lab.inbox("anna").await.len(), 1);
        assert_eq!((logins(&isp), isp.borrow().messages.len()), (1, 0));
        for looks in 2..5 {
            sleep(ONE_LOOK).await;
            assert_eq!(logins(&isp), looks);
        }
        assert_eq!(
            (office.count("connections"), office.count("fetched"), office.count("deleted")),
            (4, 1, 1)
        );
        assert_eq!((office.count("failures"), office.state()), (0, "Running".to_owned()));
        let [standing] = &office.polls.standings()[..] else { panic!("one account") };
        assert_eq!(standing.account, "anna77@pop.isp.example");
        assert_eq!(
            (standing.server.as_str(), standing.user.as_deref()),
            ("pop.isp.example:110", Some("anna"))
        );
        assert_eq!((standing.fetched, standing.deleted, standing.is_connected), (1, 1, false));
        assert!(standing.schedule.last_success.is_some() && standing.schedule.last_failure.is_none());
    });
}

#[test]
fn an_account_that_fails_is_told_of_backs_off_and_stops_no_other() {
    simulate(async {
        let accounts = vec![account("anna", "pop.isp.example"), account("berta", "nas.office.example")];
        let office = Office::start(&Arc::default(), accounts).await;
        let isp = server(&office, POP, one()).await;
        isp.borrow_mut().refuses_login = Some("wrong password");
        let nas = server(&office, "192.168.1.40", one()).await;
        sleep(Duration::from_secs(6 * 3600)).await;
        assert!(logins(&isp) < 12 && logins(&nas) > 60, "{} {}", logins(&isp), logins(&nas));
        assert_eq!(office.lab.inbox("berta").await.len(), 1);
        let state = office.state();
        assert_eq!(
            state,
            "mail of anna77@pop.isp.example is not fetched: the login was refused: wrong password"
        );
        isp.borrow_mut().refuses_login = None;
        sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!((office.lab.inbox("anna").await.len(), office.state()), (1, "Running".to_owned()));
        let [anna, _] = &office.polls.standings()[..] else { panic!("two accounts") };
        let (_, why) = anna.schedule.last_failure.as_ref().unwrap();
        assert_eq!(why, "the login was refused: wrong password");
    });
}

#[test]
fn a_mailbox_that_another_program_has_open_is_no_reason_to_wait_longer() {
    simulate(async {
        let office = Office::start(&Arc::default(), of_anna()).await;
        let isp = server(&office, POP, one()).await;
        isp.borrow_mut().refuses_login = Some("[IN-USE] another client is there");
        sleep(schedule::FIRST_WITHIN + 6 * ONE_LOOK).await;
        assert!(logins(&isp) > 6, "{}", logins(&isp));
        assert!(office.state().contains("[IN-USE]"), "{}", office.state());
    });
}

#[test]
fn without_a_way_out_servers_of_the_lan_are_polled_and_the_others_when_it_is_there() {
    simulate(async {
        let accounts = vec![account("anna", "pop.isp.example"), account("berta", "192.168.1.40")];
        let office = Office::start(&Arc::default(), accounts).await;
        office.lab.publisher.publish(addresses(LAN, &[]));
        let isp = server(&office, POP, one()).await;
        server(&office, "192.168.1.40", one()).await;
        sleep(Duration::from_secs(3600)).await;
        assert_eq!((office.lab.inbox("berta").await.len(), logins(&isp)), (1, 0));
        assert_eq!((office.count("failures"), office.state()), (0, "Running".to_owned()));
        assert!(office.polls.standings()[0].schedule.waits_for_connectivity);
        office.lab.publisher.publish(addresses(LAN, &[WAN]));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(office.lab.inbox("anna").await.len(), 1);
    });
}

#[test]
fn an_account_that_leads_to_the_gateway_itself_is_refused() {
    simulate(async {
        let office = Office::start(&Arc::default(), vec![account("anna", "own.example")]).await;
        let own = server(&office, WAN, one()).await;
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(own.borrow().commands.len(), 0);
        assert!(office.state().contains("own.example is at 203.0.113.10, which is this gateway itself"));
    });
}

#[test]
fn whoever_asks_has_all_accounts_looked_at_at_once() {
    simulate(async {
        let accounts = vec![account("anna", "pop.isp.example"), account("berta", "own.example")];
        let office = Office::start(&Arc::default(), accounts).await;
        let isp = server(&office, POP, Vec::new()).await;
        sleep(schedule::FIRST_WITHIN).await;
        isp.borrow_mut().messages = one();
        let counted = office.count("failures");
        let looked = office.polls.look_at_all(true).await;
        assert_eq!(office.count("failures"), counted, "a dry run is no look");
        assert_eq!(looked[0].collected.seen[0].disposition, Disposition::Fetched);
        assert!(looked[1].error.as_deref().unwrap().contains("this gateway itself"), "{looked:?}");
        assert!(office.lab.inbox("anna").await.is_empty());
        assert_eq!(isp.borrow().messages.len(), 1);
        let looked = office.polls.look_at_all(false).await;
        assert_eq!((looked[0].collected.fetched, &looked[0].error), (1, &None));
        assert_eq!(office.lab.inbox("anna").await.len(), 1);
        let accounts: Vec<_> = looked.iter().map(|looked| looked.account.as_str()).collect();
        assert_eq!(accounts, ["anna77@pop.isp.example", "berta77@own.example"]);
        // The report names an account with an unreadable password.
        let none = Account { password: Secret::File("/nonexistent/secret".into()), ..of_anna().remove(0) };
        office.go_over_to(vec![none]).await;
        let looked = office.polls.look_at_all(false).await;
        let why = looked[0].error.as_deref().unwrap();
        assert!(why.contains("the password file /nonexistent/secret cannot be read"), "{why}");
    });
}

#[test]
fn another_configuration_keeps_what_is_known_and_one_without_accounts_polls_nothing() {
    simulate(async {
        let office = Office::start(&Arc::default(), of_anna()).await;
        let isp = server(&office, POP, one()).await;
        sleep(schedule::FIRST_WITHIN).await;
        assert_eq!(logins(&isp), 1);
        let before = office.polls.standings();
        office.go_over_to(of_anna()).await;
        assert_eq!(office.polls.standings(), before);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(logins(&isp), 1, "it is not due");
        // A changed file is read.
        let changed = Account { leave_days: 3, ..of_anna().remove(0) };
        office.go_over_to(vec![changed]).await;
        sleep(schedule::FIRST_WITHIN).await;
        assert_eq!(logins(&isp), 2);
        office.go_over_to(Vec::new()).await;
        sleep(Duration::from_secs(3600)).await;
        assert_eq!((logins(&isp), office.state()), (2, "Off".to_owned()));
        assert!(office.polls.standings().is_empty() && office.polls.look_at_all(false).await.is_empty());
    });
}

#[test]
fn two_configurations_are_never_at_one_account_together() {
    simulate(async {
        let office = Office::start(&Arc::default(), of_anna()).await;
        let all = (1..=50).map(|number| message(number, "From: far@elsewhere.example")).collect();
        let isp = server(&office, POP, all).await;
        isp.borrow_mut().delay = Duration::from_secs(1);
        sleep(schedule::FIRST_WITHIN + Duration::from_secs(5)).await;
        assert!(office.polls.standings()[0].is_connected);
        office.go_over_to(of_anna()).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(isp.borrow().together_max, 1);
        assert_eq!((office.lab.inbox("anna").await.len(), isp.borrow().messages.len()), (50, 0));
        assert!(logins(&isp) >= 2, "the former one ended behind its message");
    });
}

#[test]
fn what_was_fetched_before_the_gateway_was_killed_does_not_come_again() {
    simulate(async {
        let before = Office::start(&Arc::default(), of_anna()).await;
        let all = (1..=20).map(|number| message(number, "From: far@elsewhere.example")).collect();
        let isp = server(&before, POP, all).await;
        isp.borrow_mut().delay = Duration::from_secs(1);
        while before.lab.inbox("anna").await.len() < 7 {
            sleep(Duration::from_secs(1)).await;
        }
        let disk = Arc::new(before.lab.disk.fork());
        let left = isp.borrow().messages.clone();
        assert_eq!(left.len(), 20, "nothing is deleted before QUIT");
        let after = Office::start(&disk, of_anna()).await;
        let isp = server(&after, POP, left).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!((after.lab.inbox("anna").await.len(), isp.borrow().messages.len()), (20, 0));
        let retrieved = isp.borrow().commands.iter().filter(|line| line.starts_with("RETR")).count();
        assert!(retrieved <= 13, "{retrieved}");
    });
}

#[test]
fn more_accounts_than_are_connected_to_at_a_time_wait_for_their_turn() {
    simulate(async {
        let accounts = (0..CONNECTIONS_MAX + 3)
            .map(|number| Account { username: format!("anna{number}"), ..of_anna().remove(0) })
            .collect();
        let office = Office::start(&Arc::default(), accounts).await;
        let isp = server(&office, POP, Vec::new()).await;
        isp.borrow_mut().delay = Duration::from_secs(20);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(isp.borrow().together, CONNECTIONS_MAX);
        sleep(Duration::from_secs(190)).await;
        assert_eq!((logins(&isp), isp.borrow().together_max), (CONNECTIONS_MAX + 3, CONNECTIONS_MAX));
    });
}

#[test]
fn of_too_many_who_ask_those_that_came_last_are_told_to_ask_again() {
    simulate(async {
        let office = Rc::new(Office::start(&Arc::default(), of_anna()).await);
        let isp = server(&office, POP, Vec::new()).await;
        isp.borrow_mut().delay = Duration::from_secs(10);
        sleep(schedule::FIRST_WITHIN + Duration::from_secs(5)).await;
        assert!(office.polls.standings()[0].is_connected);
        let asked: Vec<_> = (0..=ASKED_MAX)
            .map(|_| {
                let office = Rc::clone(&office);
                spawn_local(async move { office.polls.look_at_all(false).await.remove(0).error })
            })
            .collect();
        let mut refused = Vec::new();
        for asked in asked {
            refused.extend(asked.await.unwrap());
        }
        assert_eq!(refused, ["too many wait for it; ask again"]);
        assert_eq!(logins(&isp), 2, "one look is for all of them");
        // The caller of a longer look gets an error, and the look goes on.
        isp.borrow_mut().messages =
            (1..=50).map(|number| message(number, "To: anna@office.example")).collect();
        let looked = office.polls.look_at_all(false).await;
        assert!(looked[0].error.as_deref().unwrap().contains("goes on"), "{looked:?}");
        sleep(Duration::from_secs(1800)).await;
        assert_eq!(office.lab.inbox("anna").await.len(), 50);
    });
}

#[test]
fn a_connection_that_has_taken_long_deletes_what_it_has_and_the_next_one_goes_on() {
    simulate(async {
        let office = Office::start(&Arc::default(), of_anna()).await;
        let all = (1..=100).map(|number| message(number, "From: far@elsewhere.example")).collect();
        let isp = server(&office, POP, all).await;
        isp.borrow_mut().delay = Duration::from_secs(60);
        sleep(ENOUGH_AFTER + Duration::from_secs(400)).await;
        let left = isp.borrow().messages.len();
        assert!(left < 80, "{left} are left");
        assert!(office.lab.inbox("anna").await.len() >= 100 - left);
        sleep(4 * ENOUGH_AFTER).await;
        assert_eq!(office.lab.inbox("anna").await.len(), 100);
        assert_eq!((isp.borrow().messages.len(), office.count("failures")), (0, 0));
    });
}
