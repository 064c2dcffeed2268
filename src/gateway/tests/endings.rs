//! How services end: one by itself, those of a former configuration, and all of them with the gateway.

use gatepost_services::net::stack::Stack;
use gatepost_services::own_time::OwnTime;
use gatepost_services::service::{Host, Instance, Kind, Listening, LocalFuture, OnWan, State, Unprepared};

use super::*;
use crate::admin::AdminPages;
use crate::gateway::generation::{CUT_SHORT_AFTER, STOP_WITHIN};
use crate::gateway::services::list::{Entry, List};
use crate::gateway::services::{FORMER_MAX, ServicesError, TaskEnd};

/// The calls of the instances, in order.
type Notes = Rc<RefCell<Vec<&'static str>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    ForEver,
    Returns,
    Panics,
}

/// A service that runs as the test wants, and notes when an instance is stopped and when its stop is over.
#[derive(Clone)]
struct Scripted {
    kind: &'static Kind,
    run: Run,
    /// Whether an instance takes for ever to stop.
    lingers: bool,
    notes: Notes,
}

const fn kind(name: &'static str) -> Kind {
    Kind {
        name,
        ports: &[],
        on_wan: OnWan::Never,
        is_limited_by_network: false,
        has_logins: false,
        about: "Nothing",
        counters: &[],
    }
}

const FIRST: Kind = kind("first");
const SECOND: Kind = kind("second");

impl Scripted {
    fn new(kind: &'static Kind, notes: &Notes) -> Self {
        Self { kind, run: Run::ForEver, lingers: false, notes: Rc::clone(notes) }
    }
}

impl Entry for Scripted {
    fn kind(&self) -> &'static Kind {
        self.kind
    }

    fn prepare<'a>(
        &'a self,
        _: &Config,
        _: &'a Host<Stack>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        Box::pin(async { Ok(Rc::new(self.clone()) as Rc<dyn Instance>) })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// Notes when it is dropped.
struct Over(Notes);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.borrow_mut().push("over");
    }
}

impl Instance for Scripted {
    fn activate(&self) {}

    fn run(&self) -> LocalFuture<'static, ()> {
        match self.run {
            Run::ForEver => Box::pin(pending()),
            Run::Returns => Box::pin(async {}),
            Run::Panics => Box::pin(async { panic!("as the test wants") }),
        }
    }

    fn state(&self) -> State {
        State::Running
    }

    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let Self { kind, lingers, notes, .. } = self.clone();
        Box::pin(async move {
            notes.borrow_mut().push(kind.name);
            let _over = Over(notes);
            if lingers {
                pending::<()>().await;
            }
        })
    }
}

/// An office with `services` beside those of every gateway, which the list has first.
fn office(services: impl IntoIterator<Item = Scripted>) -> (Office, Services) {
    let (office, mut all) = Office::new("");
    let own_time = Rc::new(OwnTime::new(Rc::clone(&all.resources.clock)));
    let mut list =
        List::new(all.resources.identity, &all.resources.link, own_time, Rc::<AdminPages>::default());
    services.into_iter().for_each(|service| list.push(Box::new(service)));
    all.resources.list = Rc::new(list);
    (office, all)
}

#[test]
fn a_service_that_ends_by_itself_ends_the_gateway_with_an_error() {
    for run in [Run::Returns, Run::Panics] {
        simulate(async move {
            let notes = Notes::default();
            let (_office, services) = office([Scripted { run, ..Scripted::new(&FIRST, &notes) }]);
            let error = services.run(|| (), pending()).await.expect_err("a service has ended");
            let ServicesError::BrokenDown(end) = &error else { panic!("{error:?}") };
            assert_eq!(matches!(end, TaskEnd::Returned), run == Run::Returns, "{end:?}");
            let told = crate::error::Error::from(error).to_string();
            assert!(told.contains("a service broke down"), "{told}");
        });
    }
}

#[test]
fn services_are_stopped_in_order_and_the_gateway_waits_for_none_of_them_long() {
    simulate(async {
        let notes = Notes::default();
        let (_office, services) = office([&FIRST, &SECOND].map(|kind| Scripted::new(kind, &notes)));
        services.run(|| (), async {}).await.expect("it was told to end");
        assert_eq!(notes.take(), ["second", "over", "first", "over"]);

        let (_office, services) = office([Scripted { lingers: true, ..Scripted::new(&FIRST, &notes) }]);
        let begun = tokio::time::Instant::now();
        services.run(|| (), async {}).await.expect("it was told to end");
        assert_eq!((notes.take(), begun.elapsed()), (vec!["first", "over"], CUT_SHORT_AFTER));
    });
}

#[test]
fn what_a_former_service_does_not_finish_in_time_is_cut_off() {
    simulate(async {
        let notes = Notes::default();
        let lingers = Scripted { lingers: true, ..Scripted::new(&SECOND, &notes) };
        let (mut office, services) = office([Scripted::new(&FIRST, &notes), lingers]);
        let reloader = services.reloader();
        spawn_local(services.run(|| (), pending()));
        office.pass(Duration::from_millis(10)).await;
        reloader.reload(Config::parse("test", "").expect("valid")).await.expect("it is taken");
        office.pass(STOP_WITHIN - Duration::from_secs(1)).await;
        assert_eq!(notes.take(), ["second", "first", "over"], "no other one waits for it");
        office.pass(Duration::from_secs(2)).await;
        assert_eq!(notes.take(), ["over"]);
    });
}

#[test]
fn with_one_former_configuration_too_many_all_are_cut_off() {
    simulate(async {
        let notes = Notes::default();
        let (mut office, services) = office([Scripted { lingers: true, ..Scripted::new(&FIRST, &notes) }]);
        let reloader = services.reloader();
        spawn_local(services.run(|| (), pending()));
        office.pass(Duration::from_millis(10)).await;
        for _ in 0..FORMER_MAX {
            reloader.reload(Config::parse("test", "").expect("valid")).await.expect("it is taken");
            office.pass(Duration::from_millis(10)).await;
        }
        assert_eq!(notes.take(), ["first"; FORMER_MAX]);
        reloader.reload(Config::parse("test", "").expect("valid")).await.expect("it is taken");
        office.pass(Duration::from_millis(10)).await;
        let mut expected = vec!["over"; FORMER_MAX];
        expected.push("first");
        assert_eq!(notes.take(), expected);
    });
}
