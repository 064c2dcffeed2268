use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

use super::super::{DNS_PORT, WEB_ADDRESSES};
use super::tree::name;
use super::*;

/// The servers, and the time.
struct World {
    servers: NameServers,
    tree: SharedTree,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let tree: SharedTree = Rc::default();
        let servers = NameServers::new(Rc::clone(&tree), &mut StdRng::seed_from_u64(1));
        Self { servers, tree, now: Instant::ZERO }
    }

    /// What `resolver-0` answers, and after how long; `None` if it does not within a minute.
    fn ask(&mut self, asked: &str, record_type: RecordType) -> Option<(Message, Duration)> {
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(name(asked), record_type));
        let customer = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 100), DNS_PORT);
        let server = SocketAddrV4::new(RESOLVER_ADDRESSES[0], DNS_PORT);
        let caller = Caller::Datagram { customer, server };
        let (began, question) = (self.now, question.to_vec().unwrap());
        self.servers.ask(began, caller, RESOLVER_ADDRESSES[0], Transport::Udp, question);
        loop {
            let mut answer = None;
            self.servers.poll(self.now, |_, message| answer = Some(Message::from_vec(&message).unwrap()));
            if let Some(answer) = answer {
                return Some((answer, self.now.since(began)));
            }
            self.now =
                self.servers.poll_timeout().filter(|due| due.since(began) < Duration::from_secs(60))?;
        }
    }

    fn address(&mut self, asked: &str) -> Option<Ipv4Addr> {
        let (answer, _) = self.ask(asked, RecordType::A)?;
        answer.answers.iter().find_map(|record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
    }
}

#[test]
fn the_walk_goes_from_the_root_through_aliases_and_servers_without_glue() {
    let mut world = World::new();
    let (answer, took) = world.ask("site-14.example.", RecordType::A).unwrap();
    let owners: Vec<_> = answer.answers.iter().map(|record| record.name.to_ascii()).collect();
    assert_eq!(owners, ["site-14.example.", "site-14.cdn.example.net.", "web-2.example.com."]);
    assert!(took >= HOP * 14, "seven servers at least were asked: {took:?}");
    let (again, took) = world.ask("site-14.example.", RecordType::A).unwrap();
    assert_eq!((again.answers.len(), took), (3, Duration::ZERO), "from the cache");
}

#[test]
fn addresses_have_names_and_what_is_not_there_is_denied() {
    let mut world = World::new();
    let (answer, _) = world.ask(&reverse(WEB_ADDRESSES[1]), RecordType::PTR).unwrap();
    assert!(matches!(&answer.answers[0].data, RData::PTR(found) if found.0 == name("web-1.example.com.")));
    for (absent, code) in
        [("nobody.example.", ResponseCode::NXDomain), ("cdn.example.net.", ResponseCode::NoError)]
    {
        let (answer, _) = world.ask(absent, RecordType::A).unwrap();
        assert_eq!((answer.metadata.response_code, answer.authorities.len()), (code, 1), "{absent}");
    }
}

#[test]
fn a_name_that_moves_is_old_until_its_ttl_is_over() {
    let mut world = World::new();
    let [old, new, ..] = WEB_ADDRESSES;
    assert_eq!(world.address("site-0.example."), Some(old));
    world.tree.borrow_mut().move_name(world.now, "site-0.example");
    world.now = world.now + Duration::from_secs(50);
    assert_eq!(world.ask("site-0.example.", RecordType::A).unwrap().0.answers[0].ttl, 10);
    assert_eq!(world.address("site-0.example."), Some(old));
    world.now = world.now + Duration::from_secs(11);
    assert_eq!(world.address("site-0.example."), Some(new));
}

/// What `resolver-0`, in `mood`, answers to a question in this spelling, in the order of arrival.
fn answers_to(mood: DnsMood, asked: &str) -> Vec<Message> {
    let mut world = World::new();
    world.ask("site-0.example.", RecordType::A).expect("the cache has the answer from now on");
    world.servers.set_mood("resolver-0", mood);
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name(asked), RecordType::A));
    let server = SocketAddrV4::new(RESOLVER_ADDRESSES[0], DNS_PORT);
    let caller = Caller::Datagram { customer: server, server };
    world.servers.ask(world.now, caller, *server.ip(), Transport::Udp, question.to_vec().unwrap());
    let mut answers = Vec::new();
    for _ in 0..50 {
        world.servers.poll(world.now, |_, answer| answers.push(Message::from_vec(&answer).unwrap()));
        world.now = world.now + Duration::from_millis(1);
    }
    answers
}

#[test]
fn the_case_of_a_question_is_kept_lost_or_unknown_to_a_forger() {
    let spelled = |mood, asked| {
        let answers = answers_to(mood, asked);
        let spelled = answers.iter().map(|answer| {
            let is_kept = answer.queries[0].name.eq_case(&name(asked));
            (is_kept, answer.answers[0].data.ip_addr() == Some(WEB_ADDRESSES[0].into()))
        });
        spelled.collect::<Vec<_>>()
    };
    let mixed = "sITe-0.exAMple.";
    assert_eq!(spelled(DnsMood::Truthful, mixed), [(true, true)]);
    assert_eq!(spelled(DnsMood::LosingCase, mixed), [(false, true)]);
    assert_eq!(spelled(DnsMood::ForgedInLowerCase, mixed), [(false, false), (true, true)]);
    assert_eq!(spelled(DnsMood::ForgedInLowerCase, "site-0.example."), [(true, true)]);
}

#[test]
fn one_bad_authority_of_two_does_no_harm() {
    for mood in DnsMood::bad(Duration::from_secs(2)) {
        // A server of the zone that lies with the right identifier cannot be distinguished from an honest one.
        if mood == DnsMood::Rebinding {
            continue;
        }
        let mut world = World::new();
        for server in ["a.root", "b.gtld.net", "a.nic.example", "ns-1.example.net"] {
            world.servers.set_mood(server, mood);
        }
        assert_eq!(world.address("site-3.example."), Some(WEB_ADDRESSES[3]), "{mood:?}");
        assert_eq!(world.address("site-15.example."), Some(WEB_ADDRESSES[3]), "{mood:?}");
        assert_eq!(world.address("site-0.example."), Some(WEB_ADDRESSES[0]), "{mood:?}");
    }
}

#[test]
fn a_zone_without_a_server_is_a_failure_and_its_calm_the_end_of_it() {
    let mut world = World::new();
    world.servers.set_mood("authorities", DnsMood::Silent);
    let (answer, took) = world.ask("site-3.example.", RecordType::A).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(took < Duration::from_secs(3), "{took:?}");
    world.servers.calm();
    assert_eq!(world.address("site-3.example."), Some(WEB_ADDRESSES[3]));
}

#[test]
fn resolvers_and_authorities_are_called_by_name_or_all_at_once() {
    let count = |name| servers_called(name).count();
    assert_eq!(["resolver-0", "resolvers", "a.root", "authorities", "nobody"].map(count), [1, 2, 1, 9, 0]);
}
