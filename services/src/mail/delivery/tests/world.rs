//! Where the world delivers mail for the office's domains.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::world::{AGAIN_AFTER, EVERY, Finding, domains_to_ask, find};
use super::*;
use crate::mail::service::directory::MailDomain;
use crate::service::{Instance, State};

fn of(entries: &[(&'static str, &'static str)]) -> Resolver {
    Resolver::new(Rc::new(World(entries.iter().copied().collect())))
}

async fn found(entries: &[(&'static str, &'static str)]) -> Finding {
    let own: BTreeSet<IpAddr> = [WAN.parse().unwrap()].into();
    find(&of(entries).of_world(), "office.example", &own).await
}

#[test]
fn servers_are_compared_by_their_addresses() {
    simulate(async {
        let elsewhere =
            |names: &[&str]| Finding::Elsewhere(names.iter().copied().map(str::to_owned).collect());
        let mx = ("office.example MX", "10 mx.isp.example., 20 b.isp.example.");
        let (theirs, ours) = (("mx.isp.example A", MX1), ("b.isp.example A", WAN));
        assert_eq!(found(&[mx, theirs]).await, elsewhere(&["mx.isp.example"]));
        assert_eq!(found(&[mx, theirs, ours]).await, Finding::Here, "one of several");
        assert_eq!(found(&[mx]).await, Finding::Nowhere, "no server has an address");
        assert_eq!(found(&[("office.example MX", "0 .")]).await, Finding::Nowhere);
        assert_eq!(found(&[("office.example A", WAN)]).await, Finding::Here, "without MX");
        assert_eq!(found(&[("office.example A", MX1)]).await, elsewhere(&["office.example"]));
        assert_eq!(found(&[]).await, Finding::Nowhere);
        let nobody = find(&Resolver::none(), "office.example", &BTreeSet::new()).await;
        assert_eq!(nobody, Finding::Unknown);
    });
}

#[test]
fn all_domains_are_asked_for_and_no_names_of_the_gateway() {
    let domain = |name: &str, same_as: Option<&str>| MailDomain {
        name: name.to_owned(),
        same_as: same_as.map(str::to_owned),
        ..MailDomain::default()
    };
    let office = Some("office.example");
    let domains = [
        domain("office.example", None),
        domain("smtp.office.example", office),
        domain("shop.example", None),
        domain("old.example", office),
        domain("sub.office.example", None),
    ];
    let expected = ["office.example", "shop.example", "old.example", "sub.office.example"];
    assert_eq!(domains_to_ask(&domains), expected);
}

async fn start(office: &Office, entries: &[(&'static str, &'static str)]) -> Rc<dyn Instance> {
    office.lab.host.publish_resolver(of(entries));
    let prepared = Service::<Wire>::prepare(&office.delivery, settings(), &office.lab.host).await;
    let instance = prepared.unwrap_or_else(|error| panic!("{error}"));
    instance.activate();
    spawn_local(instance.run());
    sleep(Duration::from_secs(1)).await;
    instance
}

const TOLD: &str =
    "the world delivers office.example to mx.isp.example; poll it, or set the MX, or do not claim the domain";

#[test]
fn that_the_worlds_mx_is_somebody_elses_is_told_while_it_is_so_and_the_wan_is_up() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let theirs = [("office.example MX", "10 mx.isp.example."), ("mx.isp.example A", MX1)];
        let instance = start(&office, &theirs).await;
        assert!(matches!(instance.state(), State::Impaired(why) if why == TOLD));
        let ours =
            start(&office, &[("office.example MX", "10 mx.isp.example."), ("mx.isp.example A", WAN)]).await;
        assert!(matches!(ours.state(), State::Running));
        // Nothing is known without an address outside, or with a private one.
        for wan in [&[][..], &["10.0.0.2"]] {
            office.lab.publisher.publish(addresses(LAN, wan));
            let instance = start(&office, &theirs).await;
            assert!(matches!(instance.state(), State::Running), "{wan:?}");
            office.lab.publisher.publish(addresses(LAN, &[WAN]));
            sleep(Duration::from_secs(1)).await;
            assert!(matches!(instance.state(), State::Impaired(_)), "the WAN is up");
        }
        // A provider with another address, to which the MX record leads.
        let instance = start(&office, &theirs).await;
        office.lab.publisher.publish(addresses(LAN, &[MX1]));
        sleep(Duration::from_secs(1)).await;
        assert!(matches!(instance.state(), State::Running));
    });
}

/// A DNS whose answers change, and which counts the MX queries.
struct Changing {
    answers: RefCell<Option<World>>,
    asked: Cell<usize>,
}

impl Answerer for Changing {
    fn ask(&self, _: Name, _: RecordType) -> LocalFuture<'_, Option<Message>> {
        panic!("our own zone says what is configured");
    }

    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        let is_counted = record_type == RecordType::MX && name.to_ascii() == "office.example.";
        self.asked.set(self.asked.get() + usize::from(is_counted));
        let answers = self.answers.borrow().as_ref().map(|world| World(world.0.clone()));
        Box::pin(async move { answers?.ask(name, record_type).await })
    }
}

#[test]
fn the_world_is_asked_every_six_hours_and_soon_again_without_an_answer() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let world = Rc::new(Changing { answers: RefCell::new(None), asked: Cell::new(0) });
        office.lab.host.publish_resolver(Resolver::new(Rc::clone(&world) as _));
        let prepared = Service::<Wire>::prepare(&office.delivery, settings(), &office.lab.host).await;
        let instance = prepared.unwrap_or_else(|error| panic!("{error}"));
        spawn_local(instance.run());
        sleep(Duration::from_secs(1)).await;
        assert_eq!((world.asked.get(), matches!(instance.state(), State::Running)), (1, true));
        let theirs =
            World(BTreeMap::from([("office.example MX", "10 mx.isp.example."), ("mx.isp.example A", MX1)]));
        *world.answers.borrow_mut() = Some(theirs);
        sleep(AGAIN_AFTER).await;
        assert_eq!((world.asked.get(), matches!(instance.state(), State::Impaired(_))), (2, true));
        sleep(EVERY - Duration::from_secs(60)).await;
        assert_eq!(world.asked.get(), 2);
        *world.answers.borrow_mut() = None;
        sleep(Duration::from_secs(90)).await;
        assert_eq!(world.asked.get(), 3);
        assert!(matches!(instance.state(), State::Impaired(_)), "what was known stays without an answer");
    });
}
