use hickory_proto::rr::RecordType;

use super::super::name::NameKey;
use super::super::testing::{name, question};
use super::*;

fn known(host: u8) -> Asker {
    Asker { address: IpAddr::from([192, 168, 1, host]), is_stranger: false }
}

fn stranger(host: u8) -> Asker {
    Asker { is_stranger: true, ..known(host) }
}

fn zone(text: &str) -> UpstreamZone {
    UpstreamZone::of(&NameKey::new(&name(text)))
}

/// A table, and the outcomes of queries.
#[derive(Default)]
struct Rig {
    table: WaitingTable<u32>,
    asked: u32,
    zone_fails: bool,
}

impl Rig {
    /// Queries `owner`: returns the query's number and the evicted exchange, or the exceeded limit.
    fn ask(&mut self, asker: Asker, owner: &str) -> Result<(u32, Option<String>), LimitReached> {
        self.asked += 1;
        let asked = question(owner, RecordType::A);
        let recycled = self.table.make_room(&asked, &zone(owner), self.zone_fails, asker)?;
        if let Some(recycled) = &recycled {
            assert!(self.table.take(recycled).count() > 0, "it is in the table");
        }
        self.table.insert(asked, zone(owner), asker, self.asked);
        assert!(self.table.exchanges.len() <= EXCHANGES_MAX);
        let waiting = self.table.exchanges.values().map(|exchange| exchange.questions.len());
        assert!(waiting.sum::<usize>() <= WAITING_MAX);
        Ok((self.asked, recycled.map(|question| question.name.to_string())))
    }

    /// Queries so many names of so many zones; all have room.
    fn fill(&mut self, asker: Asker, names: usize, zone: &str) {
        let host = asker.address;
        for n in 0..names {
            let owner = format!("n{n}-{}.{zone}", host.to_string().replace('.', "-"));
            assert!(matches!(self.ask(asker, &owner), Ok((_, None))), "{owner}");
        }
    }
}

/// A zone for each client, so that zones do not matter.
fn own_zone(part: usize, asker: Asker) -> String {
    format!("z{part}-{}.example.", asker.address.to_string().replace('.', "-"))
}

/// Fills the share that `asker` has of a busy table, without reaching the share of a zone.
fn fill_client(rig: &mut Rig, asker: Asker) {
    for part in 0..WAITING_PER_CLIENT_BUSY_MAX / EXCHANGES_PER_ZONE_MAX {
        rig.fill(asker, EXCHANGES_PER_ZONE_MAX, &own_zone(part, asker));
    }
}

#[test]
fn a_client_has_its_share_of_a_busy_table_and_no_more() {
    let mut rig = Rig::default();
    fill_client(&mut rig, known(2));
    fill_client(&mut rig, known(4));
    assert_eq!(rig.table.exchanges.len(), EXCHANGES_MAX / 2);
    assert_eq!(rig.ask(known(2), "www.shop.example."), Err(LimitReached::Client));
    assert!(rig.ask(known(3), "www.shop.example.").is_ok());
    assert_eq!(rig.ask(known(2), "www.shop.example."), Err(LimitReached::Client), "joining needs room too");
}

#[test]
fn a_client_may_have_more_while_few_others_ask() {
    let mut rig = Rig::default();
    let zones = EXCHANGES_MAX / 2 / EXCHANGES_PER_ZONE_MAX;
    for part in 0..zones {
        rig.fill(known(2), EXCHANGES_PER_ZONE_MAX, &own_zone(part, known(2)));
    }
    // It has filled the table itself; the other half is for others.
    assert_eq!(rig.ask(known(2), "www.shop.example."), Err(LimitReached::Client));
    for host in 3..=4 {
        fill_client(&mut rig, known(host));
    }
    assert_eq!(rig.table.exchanges.len(), EXCHANGES_MAX);
    let busiest = "n0-192-168-1-2.z0-192-168-1-2.example.";
    assert_eq!(rig.ask(known(5), "www.shop.example.").unwrap().1.as_deref(), Some(busiest));
}

#[test]
fn one_client_never_has_more_than_a_quarter_of_all_questions() {
    let mut rig = Rig::default();
    for n in 0..WAITING_PER_CLIENT_MAX {
        assert!(rig.ask(known(2), &format!("n{}.shop.example.", n % 8)).is_ok(), "{n}");
    }
    assert_eq!(rig.ask(known(2), "n0.shop.example."), Err(LimitReached::Client));
    assert!(rig.ask(known(3), "n0.shop.example.").is_ok());
}

#[test]
fn what_is_answered_makes_room() {
    let mut rig = Rig::default();
    let (first, _) = rig.ask(known(2), "www.shop.example.").unwrap();
    let (second, _) = rig.ask(known(3), "WWW.shop.example.").unwrap();
    let asked = question("www.shop.example.", RecordType::A);
    assert_eq!(rig.table.of(&asked).copied().collect::<Vec<_>>(), [first, second]);
    assert_eq!(rig.table.take(&asked).collect::<Vec<_>>(), [first, second]);
    assert_eq!(rig.table.of(&asked).count() + rig.table.take(&asked).count(), 0);
}

#[test]
fn a_zone_has_its_share_and_its_busiest_client_gives_way() {
    let mut rig = Rig::default();
    rig.fill(known(2), EXCHANGES_PER_ZONE_MAX, "silent.example.");
    assert_eq!(rig.ask(known(2), "more.silent.example."), Err(LimitReached::Zone));
    assert!(rig.ask(known(2), "www.shop.example.").is_ok(), "another zone");
    let oldest = Some("n0-192-168-1-2.silent.example.".to_owned());
    assert_eq!(rig.ask(known(3), "www.silent.example.").unwrap().1, oldest);
    assert!(
        rig.ask(known(4), "www.silent.example.").is_ok_and(|(_, recycled)| recycled.is_none()),
        "it joins"
    );
}

#[test]
fn a_zone_that_fails_has_less() {
    let mut rig = Rig { zone_fails: true, ..Rig::default() };
    rig.fill(known(2), EXCHANGES_PER_FAILING_ZONE_MAX, "silent.example.");
    assert_eq!(rig.ask(known(2), "more.silent.example."), Err(LimitReached::Zone));
    assert!(rig.ask(known(3), "www.silent.example.").unwrap().1.is_some());
}

#[test]
fn a_full_table_is_shared_out_among_those_who_ask() {
    let mut rig = Rig::default();
    let clients = EXCHANGES_MAX / WAITING_PER_CLIENT_BUSY_MAX;
    let hosts = || (0_u8..).map(|host| known(10 + host)).take(clients);
    hosts().for_each(|host| fill_client(&mut rig, host));
    // A newcomer evicts from each in turn, the busiest first, until it has as many.
    let newcomer = known(2);
    let mut got = 0;
    while let Ok((_, recycled)) = rig.ask(newcomer, &format!("n.zone{got}.example.")) {
        assert!(recycled.is_some());
        got += 1;
    }
    assert!((EXCHANGES_MAX / (clients + 1) - 1..=EXCHANGES_MAX / (clients + 1)).contains(&got), "{got}");
    assert_eq!(rig.ask(newcomer, "one.more.example."), Err(LimitReached::Table));
}

#[test]
fn an_exchange_that_a_quiet_client_waits_for_stays() {
    let mut rig = Rig::default();
    rig.ask(known(2), "www.silent.example.").unwrap();
    rig.ask(known(3), "www.silent.example.").unwrap();
    rig.fill(known(2), EXCHANGES_PER_ZONE_MAX - 1, "silent.example.");
    let second = Some("n0-192-168-1-2.silent.example.".to_owned());
    assert_eq!(rig.ask(known(4), "more.silent.example.").unwrap().1, second);
}

#[test]
fn strangers_have_half_and_give_way_first() {
    let mut rig = Rig::default();
    for host in 0..EXCHANGES_OF_STRANGERS_MAX {
        let host = u8::try_from(host).unwrap();
        assert!(rig.ask(stranger(host), &format!("n.zone{host}.example.")).is_ok());
    }
    assert_eq!(rig.ask(stranger(200), "www.shop.example."), Err(LimitReached::Table), "all are alike");
    assert_eq!(rig.ask(known(201), "www.shop.example.").unwrap().1, None);
    let first = "n.zone0.example.";
    assert_eq!(rig.ask(stranger(200), first).unwrap().1, None, "it joins");
    // Among strangers, too, the one with the most is evicted.
    rig.table.take(&question("n.zone7.example.", RecordType::A)).for_each(drop);
    assert!(rig.ask(stranger(8), "www.other.example.").is_ok());
    assert_eq!(rig.ask(stranger(200), "n.zone9.example.").unwrap().1, None);
    let oldest = Some("n.zone8.example.".to_owned());
    rig.ask(stranger(8), "m.zone8.example.")
        .map_or_else(|limit| assert_eq!(limit, LimitReached::Table), drop);
    assert_eq!(rig.ask(stranger(201), "x.shop.example.").unwrap().1, oldest);
}

#[test]
fn a_known_client_comes_before_strangers_in_a_zone() {
    let mut rig = Rig { zone_fails: true, ..Rig::default() };
    for host in 0..EXCHANGES_PER_FAILING_ZONE_MAX {
        let host = u8::try_from(host).unwrap();
        assert!(rig.ask(stranger(host), &format!("n{host}.silent.example.")).is_ok());
    }
    assert_eq!(rig.ask(stranger(200), "www.silent.example."), Err(LimitReached::Zone));
    assert!(rig.ask(known(201), "www.silent.example.").unwrap().1.is_some());
    assert!(rig.ask(known(201), "ftp.silent.example.").unwrap().1.is_some());
}

#[test]
fn questions_that_join_are_bounded_in_all() {
    let mut rig = Rig::default();
    let clients = WAITING_MAX / WAITING_PER_CLIENT_BUSY_MAX;
    for host in 0..clients {
        for n in 0..WAITING_PER_CLIENT_BUSY_MAX {
            let (owner, host) = (format!("n{n}.zone{}.example.", n % 8), u8::try_from(host).unwrap());
            assert_eq!(rig.ask(known(host), &owner).unwrap().1, None);
        }
    }
    let newcomer = rig.ask(known(200), "n1.zone1.example.").unwrap();
    assert_eq!(newcomer.1, Some("n0.zone0.example.".to_owned()), "never the one that it joins");
}
