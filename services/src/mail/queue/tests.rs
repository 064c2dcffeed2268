use proptest::prelude::*;

use super::schedule::{GIVE_UP_AFTER, GIVE_UP_TRIES, TRIES_MIN};
use super::*;
use crate::cases;
use crate::mail::bounce::{Action, Addressee};
use crate::mail::smtp::client::Outcome;
use crate::mail::store::Unreadable;

const NOW: Now = Now { instant: Instant::from_secs(5000), time: UnixTime(1_700_000_000) };
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// So many seconds after [`NOW`].
fn at(secs: u64) -> Now {
    Now { instant: NOW.instant + Duration::from_secs(secs), time: UnixTime(NOW.time.0 + secs) }
}

/// The present as seconds after [`NOW`].
fn secs(instant: Option<Instant>) -> Option<u64> {
    instant.map(|instant| instant.since(NOW.instant).as_secs())
}

/// A queue with a way out.
fn empty() -> Queue {
    let mut queue = Queue::new(NOW);
    queue.set_connectivity(NOW, true);
    queue
}

fn insert(queue: &mut Queue, id: QueueId, recipient: &str, progress: &Progress) {
    assert_eq!(queue.insert(NOW, &routes(), id, recipient, "", progress), None);
}

/// The office's routes: `lan.example` is a server of the LAN.
fn routes() -> Routes {
    let server = Server { host: Host::Address([192, 168, 1, 40].into()), port: 25 };
    Routes { domains: [("lan.example".to_owned(), server)].into(), ..Routes::default() }
}

fn id(message: u64, recipient: u16) -> QueueId {
    QueueId { message, recipient }
}

/// A queue with these recipients, each with its message.
fn queue(recipients: &[(u64, &str)]) -> Queue {
    let mut queue = empty();
    let mut numbers = BTreeMap::<u64, u16>::new();
    for (message, recipient) in recipients {
        let number = numbers.entry(*message).or_default();
        insert(&mut queue, id(*message, *number), recipient, &Progress::default());
        *number += 1;
    }
    queue
}

fn message(age: u64) -> Message {
    let sender = ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap());
    Message { sender, accepted: UnixTime(NOW.time.0 - age) }
}

fn result(outcome: Outcome, scope: Scope, text: &str) -> DeliveryResult {
    let class = match outcome {
        Outcome::Delivered => 2,
        Outcome::Deferred => 4,
        Outcome::Failed => 5,
    };
    let report = Report {
        outcome,
        status: Status::new(class, 0, 0),
        text: text.to_owned(),
        is_reply: true,
        scope,
        is_one_too_many: false,
        is_of_recipient: false,
        may_be_delivered: false,
        is_dsn_passed_on: false,
    };
    DeliveryResult { report, server: Some("mx.far.example".to_owned()) }
}

fn delivered() -> DeliveryResult {
    result(Outcome::Delivered, Scope::Envelope, "250 OK")
}

fn failed() -> DeliveryResult {
    result(Outcome::Failed, Scope::Envelope, "550 no")
}

fn deferred() -> DeliveryResult {
    result(Outcome::Deferred, Scope::Envelope, "450 later")
}

fn unreachable() -> DeliveryResult {
    result(Outcome::Deferred, Scope::Host, "no connection")
}

/// What of a settlement concerns each entry, in words.
fn words(settlement: &Settlement) -> Vec<String> {
    let of_notice = |PendingNotice { notice, ends, postponed, .. }: &PendingNotice| {
        assert_eq!(ends.len(), postponed.len());
        let ends: Vec<_> = ends.iter().map(ToString::to_string).collect();
        let ends = if ends.is_empty() { String::new() } else { format!(", ends {}", ends.join(" ")) };
        format!("{:?} of {}{ends}", notice.action, notice.recipients.len())
    };
    let of_change = |change: &Change| match change {
        Change::Attempt(Attempt { entry, progress }) => {
            format!("{entry} try {} in {}", progress.tries, progress.due.saturating_sub(NOW.time.0))
        }
        Change::Done(Done { entry, reply, .. }) => format!("{entry} done: {reply}"),
        other => panic!("{other:?}"),
    };
    settlement.changes.iter().map(of_change).chain(settlement.notices.iter().map(of_notice)).collect()
}

/// One job's settlement, which is then stored.
fn settle(queue: &mut Queue, age: u64, results: &[DeliveryResult]) -> Vec<String> {
    settle_at(queue, NOW, age, results)
}

fn settle_at(queue: &mut Queue, now: Now, age: u64, results: &[DeliveryResult]) -> Vec<String> {
    let job = queue.next_job(now).expect("a job");
    let message = Message { accepted: UnixTime(now.time.0 - age), ..message(0) };
    words(&finish(queue, now, &job, &message, results))
}

/// Settles a job, with what is known of it or these results, and stores that.
fn finish(
    queue: &mut Queue,
    now: Now,
    job: &Job,
    message: &Message,
    results: &[DeliveryResult],
) -> Settlement {
    let results = job.known.as_deref().unwrap_or(results);
    let settlement = queue.settle(now, job.id, message, results);
    store(queue, now, &settlement);
    queue.settled(now, job.id);
    settlement
}

/// Does as the store does that has room for everything.
fn store(queue: &mut Queue, now: Now, settlement: &Settlement) {
    settlement.changes.iter().for_each(|change| apply(queue, now, change));
    settlement.notices.iter().flat_map(|pending| &pending.ends).for_each(|id| queue.remove(*id));
}

fn apply(queue: &mut Queue, now: Now, change: &Change) {
    match change {
        Change::Attempt(Attempt { entry: id, progress }) => {
            // The store rejects a change of an entry that it does not have.
            let Some(entry) = queue.entries.get(id) else { return };
            let (address, options) = (entry.address.to_string(), entry.options.to_text());
            assert_eq!(queue.insert(now, &routes(), *id, &address, &options, progress), None);
        }
        Change::Done(done) => queue.remove(done.entry),
        other => panic!("{other:?}"),
    }
}

/// The administrator's change, stored.
fn change(queue: &mut Queue, now: Now, change: Option<(JobId, Change)>) {
    let (job, change) = change.expect("it can be changed");
    apply(queue, now, &change);
    queue.settled(now, job);
}

#[test]
fn recipients_of_a_message_that_go_the_same_way_share_a_job() {
    let mut queue =
        queue(&[(1, "a@far.example"), (1, "b@other.example"), (1, "c@far.example"), (2, "d@far.example")]);
    let jobs: Vec<_> = std::iter::from_fn(|| queue.next_job(NOW)).collect();
    let recipients = |job: &Job| job.recipients.iter().map(|recipient| recipient.id).collect::<Vec<_>>();
    let mut all: Vec<_> = jobs.iter().map(recipients).collect();
    all.sort();
    assert_eq!(all, [vec![id(1, 0), id(1, 2)], vec![id(1, 1)], vec![id(2, 0)]]);
    assert_eq!(queue.due(NOW), None);
    assert!(queue.is_under_way(id(1, 2)));
}

#[test]
fn each_recipient_has_its_own_end() {
    let mut queue =
        queue(&[(1, "a@far.example"), (1, "b@far.example"), (1, "c@far.example"), (1, "d@far.example")]);
    let said = settle(&mut queue, 60, &[delivered(), failed(), deferred(), failed()]);
    assert_eq!(said, ["1.0 done: 250 OK", "1.2 try 1 in 300", "Failed of 2, ends 1.1 1.3"]);
    assert_eq!(queue.len(), 1);
    assert_eq!(secs(queue.due(NOW)), Some(300));
    assert_eq!([at(1), at(299), at(301)].map(|now| queue.secs_to_due(now, id(1, 2))), [299, 1, 0]);
    assert_eq!(queue.next_job(at(299)), None);
    assert_eq!(queue.next_job(at(300)).unwrap().recipients[0].id, id(1, 2));
}

/// RFC 5321, section 6.1: A failed notice is reported to the postmaster, and to no sender.
#[test]
fn rfc5321_6_1_of_a_notice_that_fails_the_postmaster_is_told() {
    let of = |result: DeliveryResult| {
        let mut queue = queue(&[(1, "a@far.example")]);
        let job = queue.next_job(NOW).unwrap();
        let message = Message { sender: ReversePath::Null, ..message(GIVE_UP_AFTER) };
        queue.settle(NOW, job.id, &message, &[result])
    };
    let settlement = of(failed());
    assert_eq!(words(&settlement), ["Failed of 1, ends 1.0"]);
    assert_eq!(settlement.notices[0].notice.to, Addressee::Postmaster);
    assert_eq!(words(&of(delivered())), ["1.0 done: 250 OK"]);
    assert_eq!(words(&of(deferred())), ["1.0 try 1 in 300"], "no warning");
}

/// RFC 3461, section 5.2.2: A requested DSN of success is sent if the next server does not send it.
#[test]
fn rfc3461_5_2_2_a_success_is_told_if_it_was_asked_for() {
    let with = |options: &str, result: DeliveryResult| {
        let mut queue = empty();
        queue.insert(NOW, &routes(), id(1, 0), "a@far.example", options, &Progress::default());
        settle(&mut queue, 5 * HOUR, &[result]).join("; ")
    };
    assert_eq!(with("NOTIFY=SUCCESS", delivered()), "1.0 done: 250 OK; Relayed of 1");
    let mut passed_on = delivered();
    passed_on.report.is_dsn_passed_on = true;
    assert_eq!(with("NOTIFY=SUCCESS", passed_on), "1.0 done: 250 OK");
    assert_eq!(with("", delivered()), "1.0 done: 250 OK");
    assert_eq!(with("NOTIFY=NEVER", failed()), "1.0 done: 550 no");
    assert_eq!(with("NOTIFY=SUCCESS", failed()), "1.0 done: 550 no");
    assert_eq!(with("NOTIFY=FAILURE", deferred()), "1.0 try 1 in 300", "no warning");
    assert_eq!(with("NOTIFY=DELAY", deferred()), "1.0 try 1 in 300; Delayed of 1");
}

/// RFC 5321, section 4.5.4.1: After 4 hours the sender is warned once, after 5 days it is over.
#[test]
fn rfc5321_4_5_4_1_the_sender_is_warned_once_and_told_the_end() {
    let mut queue = queue(&[(1, "a@far.example")]);
    let (mut now, mut said) = (NOW, Vec::new());
    while !queue.is_empty() {
        now = at(secs(queue.due(now)).unwrap().max(now.time.0 - NOW.time.0));
        let words = settle_at(&mut queue, now, now.time.0 - NOW.time.0, &[deferred()]);
        let notice = words.last().unwrap().split(' ').next().unwrap();
        if matches!(notice, "Delayed" | "Failed") {
            said.push((notice.to_owned(), (now.time.0 - NOW.time.0) / HOUR));
        }
    }
    assert_eq!(said, [("Delayed".to_owned(), 4), ("Failed".to_owned(), 123)]);
}

#[test]
fn while_there_is_no_way_out_no_try_is_burnt() {
    let mut queue = queue(&[(1, "a@far.example"), (2, "b@lan.example")]);
    queue.set_connectivity(NOW, false);
    let job = queue.next_job(NOW).unwrap();
    assert_eq!(job.recipients[0].id, id(2, 0), "the LAN's server is there");
    let said = words(&finish(&mut queue, NOW, &job, &message(0), &[unreachable()]));
    assert_eq!(said, ["2.0 try 1 in 300"]);
    queue.remove(id(2, 0));
    assert_eq!((queue.next_job(NOW), secs(queue.due(NOW))), (None, Some(4 * HOUR)), "a warning");
    // The WAN goes down during a delivery.
    queue.set_connectivity(NOW, true);
    let job = queue.next_job(NOW).unwrap();
    queue.set_connectivity(NOW, false);
    assert_eq!(finish(&mut queue, NOW, &job, &message(0), &[unreachable()]), Settlement::default());
    // The sender gets a warning meanwhile, which is no try.
    let said = settle_at(&mut queue, at(4 * HOUR), 4 * HOUR, &[]);
    assert_eq!(said, ["1.0 try 0 in 0", "Delayed of 1"]);
    assert_eq!((queue.next_job(at(DAY)), queue.due(at(DAY))), (None, None), "once");
    // Six days later the queue tries at once, and does not give up.
    queue.set_connectivity(at(6 * DAY), true);
    for tries in 1..=TRIES_MIN {
        let now = at(secs(queue.due(at(6 * DAY))).unwrap().max(6 * DAY));
        let said = settle_at(&mut queue, now, now.time.0 - NOW.time.0, &[deferred()]);
        assert!(said.last().unwrap().starts_with(&format!("1.0 try {tries} ")), "{said:?}");
    }
}

#[test]
fn a_server_that_a_route_names_is_looked_for_without_a_way_out_and_that_is_no_try() {
    let named = |name: &str| Server { host: Host::Name(name.to_owned()), port: 25 };
    let routes = Routes {
        domains: [("named.example".to_owned(), named("mail.office.example"))].into(),
        smarthost: Some(named("smtp.isp.example")),
        ..Routes::default()
    };
    let mut queue = empty();
    for (message, recipient) in [(1, "a@named.example"), (2, "b@named.example"), (3, "c@far.example")] {
        queue.insert(NOW, &routes, id(message, 0), recipient, "", &Progress::default());
    }
    queue.set_connectivity(NOW, false);
    let next = |queue: &mut Queue, now| queue.next_job(now).map(|job| (job.recipients[0].id, job));
    let (first, job) = next(&mut queue, NOW).unwrap();
    let (second, other) = next(&mut queue, NOW).unwrap();
    assert_eq!((first, second, next(&mut queue, NOW)), (id(1, 0), id(2, 0), None), "not by the smarthost");
    // It is on the LAN.
    let said = words(&finish(&mut queue, NOW, &job, &message(0), &[delivered()]));
    assert_eq!(said, ["1.0 done: 250 OK"]);
    // Or it cannot be found now, however often that is.
    let mut job = other;
    for minutes in 1..=2 * u64::from(GIVE_UP_TRIES) {
        let now = at((minutes - 1) * 60);
        assert_eq!(finish(&mut queue, now, &job, &message(0), &[unreachable()]), Settlement::default());
        // As what is stored is taken note of after each job.
        queue.insert(now, &routes, id(2, 0), "b@named.example", "", &Progress::default());
        assert_eq!(next(&mut queue, at(minutes * 60 - 1)), None);
        job = next(&mut queue, at(minutes * 60)).unwrap().1;
    }
    // With an address outside that is a try, and the next one, too.
    let now = at(10 * HOUR);
    queue.set_connectivity(now, true);
    let said = words(&finish(&mut queue, now, &job, &message(0), &[unreachable()]));
    assert!(said[0].starts_with("2.0 try 1 in "), "{said:?}");
}

/// RFC 5321, section 4.5.4.1: A clock that is wrong neither hides a message for years nor gives it up.
#[test]
fn rfc5321_4_5_4_1_a_wrong_clock_neither_hides_nor_gives_up() {
    // It was ahead by thirty years when the message was stored.
    let mut queue = empty();
    let ahead = Progress { tries: 1, due: NOW.time.0 + 30 * 365 * DAY, ..Progress::default() };
    insert(&mut queue, id(1, 0), "a@far.example", &ahead);
    assert_eq!(secs(queue.due(NOW)), Some(0));
    assert!(queue.next_job(NOW).is_some());
    // The clock is corrected while the message waits, and its next hop rests.
    let mut queue = self::queue(&[(1, "a@far.example")]);
    let wrong = Now { time: UnixTime(NOW.time.0 + 30 * 365 * DAY), ..NOW };
    let job = queue.next_job(wrong).unwrap();
    finish(&mut queue, wrong, &job, &message(0), &[unreachable()]);
    assert_eq!(secs(queue.due(NOW)), Some(300));
    // It was ahead by some minutes: what was not tried yet does not wait, and what was waits as long as it would have.
    for (tries, ahead, due) in
        [(0, 1, 0), (0, 3 * HOUR, 0), (1, 200, 200), (1, 400, 0), (2, 400, 400), (5, 4 * HOUR, 4 * HOUR)]
    {
        let mut queue = empty();
        let ahead = Progress { tries, due: NOW.time.0 + ahead, ..Progress::default() };
        insert(&mut queue, id(1, 0), "a@far.example", &ahead);
        assert_eq!(secs(queue.due(NOW)), Some(due), "{ahead:?}");
    }
    // It is put right before a warning is stored: the next try is due when it was.
    let mut queue = self::queue(&[(1, "a@far.example")]);
    for _ in 0..5 {
        let now = at(secs(queue.due(NOW)).unwrap());
        settle_at(&mut queue, now, 0, &[deferred()]);
    }
    let warned = queue.entries[&id(1, 0)].warn_at;
    let later = |instant| Now { instant, time: UnixTime(NOW.time.0 + 30 * 365 * DAY) };
    let due = queue.entries[&id(1, 0)].due;
    assert!(warned < due);
    let job = queue.next_job(later(warned)).unwrap();
    finish(&mut queue, later(warned), &job, &message(0), &[]);
    assert_eq!(queue.entries[&id(1, 0)].due, due);
    // It stood in 1970 when the message was accepted.
    let mut queue = empty();
    insert(&mut queue, id(1, 0), "a@far.example", &Progress { tries: 2, ..Progress::default() });
    let said = settle(&mut queue, NOW.time.0 - 100, &[deferred()]);
    assert_eq!(said, ["1.0 try 3 in 3600", "Delayed of 1"]);
}

#[test]
fn after_a_holiday_the_first_hiccup_gives_nothing_up() {
    for tries in [2, GIVE_UP_TRIES] {
        let mut queue = empty();
        let before = Progress { tries, due: NOW.time.0 - 6 * DAY, is_warned: true, ..Progress::default() };
        insert(&mut queue, id(1, 0), "a@far.example", &before);
        let said = settle(&mut queue, 6 * DAY, &[deferred()]);
        assert!(said[0].starts_with(&format!("1.0 try {}", tries + 1)), "{said:?}");
    }
    // A process that never runs for long gives up in the end.
    let mut queue = empty();
    let before = Progress { tries: 2 * GIVE_UP_TRIES, ..Progress::default() };
    insert(&mut queue, id(1, 0), "a@far.example", &before);
    assert_eq!(settle(&mut queue, 60 * DAY, &[deferred()]), ["Failed of 1, ends 1.0"]);
}

#[test]
fn before_the_way_out_is_known_nothing_is_tried() {
    let mut queue = Queue::new(NOW);
    insert(&mut queue, id(1, 0), "a@far.example", &Progress::default());
    assert_eq!(queue.next_job(NOW), None);
    queue.set_connectivity(NOW, true);
    assert!(queue.next_job(NOW).is_some());
}

#[test]
fn a_next_hop_has_a_few_jobs_at_a_time_and_one_while_nothing_is_reached() {
    let recipients: Vec<_> = (0..20).map(|message| (message, "a@far.example")).collect();
    let mut queue = queue(&recipients);
    let jobs: Vec<_> = std::iter::from_fn(|| queue.next_job(NOW)).collect();
    assert_eq!(jobs.len(), HOP_JOBS_MAX);
    finish(&mut queue, NOW, &jobs[0], &message(0), &[unreachable()]);
    assert_eq!(queue.next_job(NOW), None, "it rests");
    for job in &jobs[1..] {
        finish(&mut queue, NOW, job, &message(0), &[deferred()]);
    }
    assert_eq!(std::iter::from_fn(|| queue.next_job(NOW)).count(), HOP_JOBS_MAX, "the server is there");
}

/// RFC 5321, section 4.5.3.2.6: The outcome of one message is waited for, and other messages do not wait with it.
#[test]
fn rfc5321_4_5_3_2_6_while_all_jobs_of_a_next_hop_are_stuck_one_more_goes() {
    let recipients: Vec<_> = (0..20).map(|message| (message, "a@far.example")).collect();
    let mut queue = queue(&recipients);
    let jobs: Vec<_> = std::iter::from_fn(|| queue.next_job(NOW)).collect();
    jobs[1..].iter().for_each(|job| queue.stuck(job.id));
    assert_eq!(queue.next_job(NOW), None, "the first may go on");
    queue.stuck(jobs[0].id);
    queue.stuck(jobs[0].id);
    let further = queue.next_job(NOW).unwrap();
    assert_eq!(queue.next_job(NOW), None, "one");
    finish(&mut queue, NOW, &further, &message(0), &[delivered()]);
    // The queue tries an unreachable server again after its rest, although the others are still stuck.
    let further = queue.next_job(NOW).unwrap();
    finish(&mut queue, NOW, &further, &message(0), &[unreachable()]);
    assert_eq!((queue.next_job(NOW), secs(queue.due(NOW))), (None, Some(10)));
    let further = queue.next_job(at(10)).unwrap();
    queue.stuck(further.id);
    assert_eq!(
        queue.next_job(at(DAY)).map(|job| job.known.is_some()),
        Some(true),
        "all are bounded: a warning"
    );
    finish(&mut queue, at(10), &further, &message(0), &[deferred()]);
    for job in &jobs {
        finish(&mut queue, at(10), job, &message(0), &[deferred()]);
    }
    assert_eq!(std::iter::from_fn(|| queue.next_job(at(10))).count(), HOP_JOBS_MAX);
    assert_eq!(queue.hops.values().map(|state| state.stuck).sum::<usize>(), 0);
}

/// RFC 5321, section 4.5.4.1: Of a server that does not answer all messages are deferred, and all senders warned in time.
#[test]
fn rfc5321_4_5_4_1_entries_of_a_dead_server_share_the_outcome_of_a_try() {
    let messages = 3000;
    let recipients: Vec<_> = (0..messages).map(|message| (message, "a@far.example")).collect();
    let mut queue = queue(&recipients);
    let (mut now, mut connections, mut warned) = (0, 0, BTreeMap::new());
    while warned.len() < recipients.len() {
        let Some(job) = queue.next_job(at(now)) else {
            now = secs(queue.due(at(now))).unwrap();
            continue;
        };
        if job.known.is_none() {
            connections += 1;
            now += 60;
        }
        let settlement = finish(&mut queue, at(now), &job, &message(0), &[unreachable()]);
        for pending in settlement.notices {
            assert_eq!(pending.notice.action, Action::Delayed);
            assert!(warned.insert(job.recipients[0].id, now).is_none());
        }
    }
    assert!(warned.values().all(|at| (4 * HOUR..4 * HOUR + 60).contains(at)), "{:?}", warned.values().max());
    assert!(connections < 4 * 60, "one in two minutes: {connections}");
    assert!(queue.entries.values().all(|entry| entry.progress.tries >= 4), "all share the outcome");
    // A server that answers again ends that.
    now = secs(queue.due(at(now))).unwrap().max(now + 300);
    let job = loop {
        let job = queue.next_job(at(now)).unwrap();
        match job.known {
            Some(_) => _ = finish(&mut queue, at(now), &job, &message(0), &[]),
            None => break job,
        }
    };
    finish(&mut queue, at(now), &job, &message(0), &[deferred()]);
    assert!(std::iter::from_fn(|| queue.next_job(at(now))).all(|job| job.known.is_none()));
}

#[test]
fn next_hops_take_turns_and_all_together_are_bounded() {
    let names: Vec<_> = (0..20).map(|hop| format!("a@far{hop:02}.example")).collect();
    let recipients: Vec<_> = (0..200).map(|at| (at, names[at as usize % 20].as_str())).collect();
    let mut queue = queue(&recipients);
    let jobs: Vec<_> = std::iter::from_fn(|| queue.next_job(NOW)).collect();
    assert_eq!(jobs.len(), JOBS_MAX);
    let first: BTreeSet<_> = jobs[..20].iter().map(|job| job.next_hop.clone()).collect();
    assert_eq!(first.len(), 20, "each once before any twice");
    assert_eq!(secs(queue.due(NOW)), Some(4 * HOUR), "a warning");
    let later = at(4 * HOUR);
    assert_eq!(std::iter::from_fn(|| queue.next_job(later)).count(), KNOWN_JOBS_MAX);
    assert_eq!(queue.due(later), None);
    // A job has no more recipients than every server accepts.
    let recipients: Vec<_> = (0..150).map(|_| (1, "a@far.example")).collect();
    let mut queue = self::queue(&recipients);
    assert_eq!(queue.next_job(NOW).unwrap().recipients.len(), JOB_RECIPIENTS_MAX);
    assert_eq!(queue.next_job(NOW).unwrap().recipients.len(), 50);
}

#[test]
fn nobody_is_tried_again_before_what_became_of_it_is_stored() {
    let mut queue = queue(&[(1, "a@far.example")]);
    let job = queue.next_job(NOW).unwrap();
    let settlement = queue.settle(NOW, job.id, &message(0), &[delivered()]);
    assert_eq!(queue.next_job(at(DAY)), None);
    assert_eq!((queue.hold(NOW, id(1, 0), true), queue.delete(id(1, 0))), (None, None));
    store(&mut queue, NOW, &settlement);
    queue.settled(NOW, job.id);
    assert!(queue.is_empty() && queue.hops.is_empty() && queue.jobs.is_empty() && queue.unwarned.is_empty());
    // A job that did not start is tried again, and does not spin.
    let mut queue = self::queue(&[(1, "a@far.example")]);
    let job = queue.next_job(NOW).unwrap();
    queue.settled(NOW, job.id);
    queue.settled(NOW, job.id);
    assert_eq!((queue.next_job(at(59)), secs(queue.due(NOW))), (None, Some(60)));
    assert!(queue.next_job(at(60)).is_some());
    // Nor does a warning.
    let mut queue = self::queue(&[(1, "a@lan.example")]);
    let job = queue.next_job(NOW).unwrap();
    finish(&mut queue, NOW, &job, &message(0), &[deferred()]);
    let warning = queue.next_job(at(4 * HOUR)).unwrap();
    assert!(warning.known.is_some());
    queue.settled(at(4 * HOUR), warning.id);
    assert_eq!(secs(queue.unwarned.first().map(|(at, _)| *at)), Some(4 * HOUR + 60));
}

#[test]
fn a_notice_that_nobody_takes_now_is_made_again_by_a_further_try() {
    let mut queue = queue(&[(1, "a@far.example"), (1, "b@far.example")]);
    let job = queue.next_job(NOW).unwrap();
    let settlement = queue.settle(NOW, job.id, &message(0), &[failed(), delivered()]);
    settlement.changes.iter().for_each(|change| apply(&mut queue, NOW, change));
    let [PendingNotice { postponed, .. }] = &settlement.notices[..] else { panic!("one notice") };
    postponed.iter().for_each(|change| apply(&mut queue, NOW, change));
    queue.settled(NOW, job.id);
    assert_eq!((queue.len(), secs(queue.due(NOW))), (1, Some(300)));
    assert_eq!(queue.entries[&id(1, 0)].progress.reply, "550 no");
    assert_eq!(settle_at(&mut queue, at(300), 300, &[failed()]), ["Failed of 1, ends 1.0"]);
}

#[test]
fn a_message_that_cannot_be_read_is_held_or_waits() {
    let of = |error: &Unreadable| {
        let mut queue = queue(&[(1, "a@far.example"), (1, "b@far.example")]);
        let job = queue.next_job(NOW).unwrap();
        let settlement = queue.unreadable(NOW, job.id, error);
        store(&mut queue, NOW, &settlement);
        queue.settled(NOW, job.id);
        let entry = &queue.entries[&id(1, 1)];
        (secs(queue.due(NOW)), entry.progress.is_held, entry.progress.reply.clone())
    };
    assert_eq!(of(&Unreadable::Damaged), (None, true, "the message is damaged".to_owned()));
    let failed = Unreadable::Io(std::io::Error::other("/var/lib: bad block"));
    assert_eq!(of(&failed), (Some(300), false, "the message cannot be read now".to_owned()));
    assert_eq!(of(&Unreadable::Gone), (Some(60), false, String::new()));
    // An address that cannot be read is held in the store, once.
    let mut queue = empty();
    let change = queue.insert(NOW, &routes(), id(9, 0), "no address", "", &Progress::default());
    let Some(Change::Attempt(Attempt { entry, progress })) = change else { panic!("{change:?}") };
    assert!(entry == id(9, 0) && progress.is_held && progress.reply == "the address cannot be read");
    assert_eq!(queue.insert(NOW, &routes(), id(9, 0), "no address", "", &progress), None);
    assert!(queue.is_empty());
}

#[test]
fn an_entry_is_held_released_and_deleted() {
    let mut queue = queue(&[(1, "a@far.example")]);
    settle(&mut queue, 0, &[deferred()]);
    let held = queue.hold(NOW, id(1, 0), true);
    change(&mut queue, NOW, held);
    assert_eq!((queue.due(NOW), queue.next_job(at(DAY))), (None, None));
    // Released after six days, for which nothing counts.
    let now = at(6 * DAY);
    let released = queue.hold(now, id(1, 0), false);
    change(&mut queue, now, released);
    assert_eq!(queue.due(now), Some(now.instant), "at once");
    assert_eq!(queue.entries[&id(1, 0)].since, now.instant);
    let deleted = queue.delete(id(1, 0));
    change(&mut queue, now, deleted);
    assert!(queue.is_empty() && queue.unwarned.is_empty());
    assert_eq!((queue.hold(now, id(1, 0), true), queue.delete(id(1, 0))), (None, None));
}

#[test]
fn what_is_released_is_tried_at_once_though_its_server_did_not_answer() {
    let mut queue = queue(&[(1, "a@far.example")]);
    for round in 0..u64::from(DEAD_AFTER) {
        let now = at(round * DAY);
        let job = queue.next_job(now).unwrap();
        let settlement = queue.settle(now, job.id, &message(0), &[unreachable()]);
        store(&mut queue, now, &settlement);
        queue.settled(now, job.id);
    }
    let now = at(u64::from(DEAD_AFTER - 1) * DAY + 1);
    assert_eq!(queue.next_job(now), None);
    let released = queue.hold(now, id(1, 0), false);
    change(&mut queue, now, released);
    let job = queue.next_job(now).expect("it is due");
    assert_eq!(job.known, None, "a server is asked");
}

#[test]
fn what_the_administrator_changes_is_not_tried_meanwhile() {
    let mut queue = queue(&[(1, "a@far.example"), (2, "a@far.example")]);
    let (hold, _) = queue.hold(NOW, id(1, 0), true).unwrap();
    let (delete, _) = queue.delete(id(2, 0)).unwrap();
    assert_eq!((queue.next_job(NOW), queue.due(NOW)), (None, None));
    assert_eq!((queue.hold(NOW, id(1, 0), true), queue.delete(id(2, 0))), (None, None));
    // The store rejects both.
    queue.settled(NOW, hold);
    queue.settled(NOW, delete);
    assert_eq!(std::iter::from_fn(|| queue.next_job(NOW)).count(), 2);
}

/// RFC 5321, section 4.5.3.1.10: Recipients too many for one message go into the next at once, which is no further try.
#[test]
fn rfc5321_4_5_3_1_10_recipients_too_many_go_into_the_next_message() {
    for (age, tries) in [(0, 0), (5 * HOUR, 0), (GIVE_UP_AFTER, 2 * GIVE_UP_TRIES)] {
        let mut queue = empty();
        for number in 0..2 {
            let progress = Progress { tries, ..Progress::default() };
            insert(&mut queue, id(1, number), "a@far.example", &progress);
        }
        let mut too_many = deferred();
        too_many.report.is_one_too_many = true;
        let said = settle(&mut queue, age, &[delivered(), too_many]);
        assert_eq!(said, ["1.0 done: 250 OK".to_owned(), format!("1.1 try {tries} in 0")]);
        assert_eq!(queue.next_job(NOW).unwrap().recipients[0].id, id(1, 1));
    }
}

#[test]
fn other_routes_lead_what_waits_elsewhere() {
    let mut queue = queue(&[(1, "a@far.example"), (2, "b@far.example")]);
    let job = queue.next_job(NOW).unwrap();
    let server = Server { host: Host::Name("smtp.isp.example".to_owned()), port: 587 };
    let routes = Routes { smarthost: Some(server.clone()), ..routes() };
    queue.reroute(&routes);
    let next = queue.next_job(NOW).unwrap();
    assert_eq!(next.next_hop, NextHop::Server { server, is_smarthost: true });
    queue.settled(NOW, job.id);
    queue.settled(NOW, next.id);
    assert_eq!(queue.hops.len(), 1, "nothing goes the other way any more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// Whatever happens, no entry is in two jobs or lost, nothing spins, and all come to their end. The sender is
    /// warned once at most, and gets a notice of each end; the store sometimes rejects notices.
    #[test]
    fn all_entries_come_to_their_end(steps in prop::collection::vec((0_u8..8, 0_u64..30, 0_usize..5), 0..120)) {
        let domains = ["far.example", "lan.example", "other.example"];
        let (mut queue, mut now) = (empty(), NOW);
        let (mut open, mut alive): (Vec<Job>, BTreeSet<QueueId>) = (Vec::new(), BTreeSet::new());
        let outcomes = [delivered(), failed(), deferred(), unreachable(), deferred()];
        let mut warned = BTreeSet::new();
        for (step, number, which) in steps {
            let entry_id = id(number, u16::try_from(which).unwrap());
            match step {
                0 | 1 if !alive.contains(&entry_id) => {
                    let address = format!("{which}@{}", domains[which % 3]);
                    let due = Progress { due: now.time.0 + number, ..Progress::default() };
                    queue.insert(now, &routes(), entry_id, &address, "", &due);
                    alive.insert(entry_id);
                    warned.remove(&entry_id);
                }
                2 => now = at(now.time.0 - NOW.time.0 + number * number * 20),
                3 => queue.set_connectivity(now, number % 3 != 0),
                4 => {
                    let held = queue.hold(now, entry_id, number % 2 == 0);
                    if held.is_some() {
                        change(&mut queue, now, held);
                    }
                }
                5 if !open.is_empty() => {
                    let job = open.swap_remove(which % open.len());
                    let results = vec![outcomes[which].clone(); job.recipients.len()];
                    let results = job.known.clone().unwrap_or(results);
                    let settlement = queue.settle(now, job.id, &message(0), &results);
                    settlement.changes.iter().for_each(|change| apply(&mut queue, now, change));
                    for pending in settlement.notices {
                        if pending.notice.action == Action::Delayed {
                            for told in &pending.notice.recipients {
                                let at = job.recipients.iter().find(|other| other.address == told.recipient);
                                prop_assert!(warned.insert(at.unwrap().id), "warned twice");
                            }
                        } else if number % 2 == 0 {
                            pending.ends.iter().for_each(|id| queue.remove(*id));
                        } else {
                            pending.postponed.iter().for_each(|change| apply(&mut queue, now, change));
                        }
                    }
                    queue.settled(now, job.id);
                    alive.retain(|id| queue.entries.contains_key(id));
                }
                6 if !open.is_empty() && number % 2 == 0 => queue.stuck(open[which % open.len()].id),
                6 => queue.reroute(&routes()),
                _ => {
                    if let Some(job) = queue.next_job(now) {
                        for recipient in &job.recipients {
                            prop_assert!(alive.contains(&recipient.id));
                            prop_assert!(!open.iter().flat_map(|job| &job.recipients).any(|other| other.id == recipient.id));
                            prop_assert!(!queue.entries[&recipient.id].progress.is_held);
                        }
                        open.push(job);
                    } else if let Some(due) = queue.due(now) {
                        prop_assert!(due > now.instant);
                    }
                }
            }
            prop_assert!(queue.entries.keys().eq(&alive), "none is lost and none comes back");
            let jobs: usize = queue.hops.values().map(|state| state.jobs).sum();
            prop_assert_eq!(jobs, open.iter().filter(|job| job.known.is_none()).count());
            prop_assert!(queue.hops.values().all(|state| state.stuck <= state.jobs && state.jobs <= HOP_JOBS_MAX + 1));
        }
        // In the end all is released and goes.
        open.drain(..).for_each(|job| queue.settled(now, job.id));
        queue.set_connectivity(now, true);
        for id in alive {
            let released = queue.hold(now, id, false);
            change(&mut queue, now, released);
        }
        while !queue.is_empty() {
            let due = secs(queue.due(now)).expect("something is due");
            now = at(due.max(now.time.0 - NOW.time.0));
            let job = queue.next_job(now).expect("it is due");
            let results = vec![delivered(); job.recipients.len()];
            finish(&mut queue, now, &job, &message(0), &results);
        }
        prop_assert!(queue.hops.is_empty() && queue.jobs.is_empty() && queue.unwarned.is_empty());
    }
}
