//! What those see who watch the server.

use super::*;
use crate::dns::events::RECORDS_MAX;
use crate::events::{Events, Watcher};

fn watched(config: Config) -> (Rig, Watcher<DnsEvent>) {
    let mut rig = Rig::new(config);
    let events = Events::default();
    let watcher = events.watch();
    rig.server.set_events(events);
    (rig, watcher)
}

/// The one new event.
#[track_caller]
fn told(watcher: &mut Watcher<DnsEvent>) -> DnsEvent {
    let mut new = watcher.take(9).events;
    assert_eq!(new.len(), 1, "{new:?}");
    new.remove(0).1
}

#[test]
fn a_query_is_told_with_the_source_of_its_answer_and_its_time() {
    let (mut rig, mut watcher) = watched(office());
    rig.send(PC, "www.shop.example.", RecordType::A);
    assert!(watcher.take(9).events.is_empty(), "it is not answered yet");
    let sent = rig.sent();
    rig.now = rig.now + std::time::Duration::from_micros(7_005);
    let records = (0..20).map(|host| a("www.shop.example.", 60, &format!("203.0.113.{host}"))).collect();
    rig.upstream(&sent, ResponseCode::NoError, records, vec![]);
    let upstream = rig.server.config.upstreams[0];
    let event = told(&mut watcher);
    assert_eq!((&event.source[..], event.server, event.took_micros), ("upstream", Some(upstream), 7_005));
    assert_eq!((event.answers.len(), &event.answers[0][..]), (RECORDS_MAX, "A 203.0.113.0"));
    let text = event.to_string();
    assert!(text.starts_with("192.168.1.50     A     www.shop.example  upstream 203.0.113.53:53"), "{text}");
    assert!(text.contains("NOERROR  7.005 ms  A 203.0.113.0, A 203.0.113.1"), "{text}");
    rig.replied();

    rig.ask(PC, "www.shop.example.", RecordType::A);
    let event = told(&mut watcher);
    assert_eq!((&event.source[..], event.server, event.took_micros), ("cache", None, 0));
    rig.ask(PC, "pc1.office.example.", RecordType::A);
    assert_eq!(told(&mut watcher).source, "zone");
    rig.ask(OUTSIDE, "www.shop.example.", RecordType::A);
    let event = told(&mut watcher);
    assert_eq!((&event.source[..], &event.code[..]), ("refused", "REFUSED"));
    assert_eq!(event.client, Rig::client(OUTSIDE).address.ip());
}

#[test]
fn what_fails_is_told_with_the_reason() {
    let (mut rig, mut watcher) = watched(office());
    rig.learn("www.shop.example.", 60, "203.0.113.7");
    told(&mut watcher);
    rig.server.set_upstreams(Vec::new());
    rig.now = rig.now + std::time::Duration::from_secs(100);
    rig.ask(PC, "www.shop.example.", RecordType::A);
    let stale = told(&mut watcher);
    let why = Some("no DNS server can be asked, or too many names are waited for");
    assert_eq!((&stale.source[..], stale.reason.as_deref()), ("stale", why));
    rig.ask(PC, "other.shop.example.", RecordType::A);
    let failed = told(&mut watcher);
    assert_eq!((&failed.source[..], failed.reason.as_deref()), ("failed", why));
}
