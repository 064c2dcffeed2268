use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::mail::mx::Server;
use crate::mail::smtp::client::Status;

const NOW: UnixTime = UnixTime(1_000_000);

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
    let mut queue = Queue::default();
    let mut numbers = BTreeMap::<u64, u16>::new();
    for (message, recipient) in recipients {
        let number = numbers.entry(*message).or_default();
        queue.insert(&routes(), id(*message, *number), recipient, "", &Progress::default());
        *number += 1;
    }
    queue
}

fn message(age: u64) -> Message {
    let sender = ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap());
    Message { sender, accepted: UnixTime(NOW.0 - age) }
}

fn result(outcome: Outcome, scope: Scope, text: &str) -> Tried {
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
        may_be_delivered: false,
        is_dsn_passed_on: false,
    };
    Tried { report, server: Some("mx.far.example".to_owned()) }
}

fn delivered() -> Tried {
    result(Outcome::Delivered, Scope::Envelope, "250 OK")
}

fn failed() -> Tried {
    result(Outcome::Failed, Scope::Envelope, "550 no")
}

fn deferred() -> Tried {
    result(Outcome::Deferred, Scope::Envelope, "450 later")
}

fn unreachable() -> Tried {
    result(Outcome::Deferred, Scope::Host, "no connection")
}

/// What of a settlement concerns each entry, in words.
fn words(settlement: &Settlement) -> Vec<String> {
    let of_notice = |(notice, ends): &(Notice, Vec<QueueId>)| {
        let ends: Vec<_> = ends.iter().map(ToString::to_string).collect();
        format!("{:?} of {}, ends {}", notice.action, notice.recipients.len(), ends.join(" "))
            .trim_end()
            .to_owned()
    };
    let of_change = |change: &Change| match change {
        Change::Attempt(Attempt { entry, progress }) => {
            format!("{entry} try {} in {}", progress.tries, progress.due.saturating_sub(NOW.0))
        }
        Change::Done(Done { entry, reply }) => format!("{entry} done: {reply}"),
        other => panic!("{other:?}"),
    };
    settlement.notices.iter().map(of_notice).chain(settlement.changes.iter().map(of_change)).collect()
}

/// One job's settlement, which is then stored.
fn settle(queue: &mut Queue, age: u64, results: &[Tried]) -> Vec<String> {
    settle_at(queue, NOW, age, results)
}

fn settle_at(queue: &mut Queue, now: UnixTime, age: u64, results: &[Tried]) -> Vec<String> {
    let job = queue.next_job(now).expect("a job");
    assert_eq!(job.recipients.len(), results.len());
    let message = Message { accepted: UnixTime(now.0 - age), ..message(0) };
    let settlement = queue.settle(now, job.id, &message, results);
    store(queue, &settlement);
    queue.settled(job.id);
    words(&settlement)
}

/// Does as the store does.
fn store(queue: &mut Queue, settlement: &Settlement) {
    settlement.notices.iter().flat_map(|(_, ends)| ends).for_each(|id| queue.remove(*id));
    for change in &settlement.changes {
        match change {
            Change::Attempt(Attempt { entry: id, progress }) => {
                let address = queue.entries[id].address.to_string();
                let options = queue.entries[id].options.to_text();
                queue.insert(&routes(), *id, &address, &options, progress);
            }
            Change::Done(done) => queue.remove(done.entry),
            other => panic!("{other:?}"),
        }
    }
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
    assert_eq!(queue.due(), None);
    assert!(queue.is_under_way(id(1, 2)));
}

#[test]
fn each_recipient_has_its_own_end() {
    let mut queue =
        queue(&[(1, "a@far.example"), (1, "b@far.example"), (1, "c@far.example"), (1, "d@far.example")]);
    let said = settle(&mut queue, 60, &[delivered(), failed(), deferred(), failed()]);
    assert_eq!(said, ["Failed of 2, ends 1.1 1.3", "1.0 done: 250 OK", "1.2 try 1 in 300"]);
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.due(), Some(UnixTime(NOW.0 + 300)));
    assert_eq!(queue.next_job(UnixTime(NOW.0 + 299)), None);
    assert_eq!(queue.next_job(UnixTime(NOW.0 + 300)).unwrap().recipients[0].id, id(1, 2));
}

/// RFC 5321, section 6.1: A message from the null return path ends without a word.
#[test]
fn rfc5321_6_1_a_message_from_the_null_return_path_ends_without_a_word() {
    for result in
        [failed(), Tried { report: Report { outcome: Outcome::Delivered, ..failed().report }, ..failed() }]
    {
        let mut queue = queue(&[(1, "a@far.example")]);
        let job = queue.next_job(NOW).unwrap();
        let message = Message { sender: ReversePath::Null, ..message(GIVE_UP_AFTER) };
        assert_eq!(words(&queue.settle(NOW, job.id, &message, &[result])), ["1.0 done: 550 no"]);
    }
}

/// RFC 3461, section 5.2.2: A success is told if it was asked for and the next server does not tell it.
#[test]
fn rfc3461_5_2_2_a_success_is_told_if_it_was_asked_for() {
    let with = |options: &str, result: Tried| {
        let mut queue = Queue::default();
        queue.insert(&routes(), id(1, 0), "a@far.example", options, &Progress::default());
        settle(&mut queue, 5 * 3600, &[result]).join("; ")
    };
    assert_eq!(with("NOTIFY=SUCCESS", delivered()), "Relayed of 1, ends 1.0");
    let mut passed_on = delivered();
    passed_on.report.is_dsn_passed_on = true;
    assert_eq!(with("NOTIFY=SUCCESS", passed_on), "1.0 done: 250 OK");
    assert_eq!(with("", delivered()), "1.0 done: 250 OK");
    assert_eq!(with("NOTIFY=NEVER", failed()), "1.0 done: 550 no");
    assert_eq!(with("NOTIFY=SUCCESS", failed()), "1.0 done: 550 no");
    assert_eq!(with("NOTIFY=FAILURE", deferred()), "1.0 try 1 in 300", "no warning");
    assert_eq!(with("NOTIFY=DELAY", deferred()), "Delayed of 1, ends; 1.0 try 1 in 300");
}

/// RFC 5321, section 4.5.4.1: After 4 hours the sender is warned once, after 5 days it is over.
#[test]
fn rfc5321_4_5_4_1_the_sender_is_warned_once_and_told_the_end() {
    let mut queue = queue(&[(1, "a@far.example")]);
    let (mut now, mut said) = (NOW, Vec::new());
    while !queue.is_empty() {
        now = now.max(queue.due().unwrap());
        let words = settle_at(&mut queue, now, now.0 - NOW.0, &[deferred()]);
        let notice = words[0].split(' ').next().unwrap();
        if matches!(notice, "Delayed" | "Failed") {
            said.push((notice.to_owned(), (now.0 - NOW.0) / 3600));
        }
    }
    assert_eq!(said, [("Delayed".to_owned(), 7), ("Failed".to_owned(), 123)]);
}

#[test]
fn while_there_is_no_way_out_no_try_is_burnt() {
    let mut queue = queue(&[(1, "a@far.example"), (2, "b@lan.example")]);
    queue.set_way_out(NOW, false);
    let job = queue.next_job(NOW).unwrap();
    assert_eq!(job.recipients[0].id, id(2, 0), "the LAN's server is there");
    assert_eq!(words(&queue.settle(NOW, job.id, &message(0), &[unreachable()])), ["2.0 try 1 in 300"]);
    queue.settled(job.id);
    queue.remove(id(2, 0));
    assert_eq!((queue.next_job(NOW), queue.due()), (None, None));
    // It breaks while a message is under way.
    queue.set_way_out(NOW, true);
    let job = queue.next_job(NOW).unwrap();
    queue.set_way_out(NOW, false);
    assert_eq!(queue.settle(NOW, job.id, &message(0), &[unreachable()]), Settlement::default());
    queue.settled(job.id);
    // Six days later it is tried at once, and not given up.
    let later = UnixTime(NOW.0 + 6 * 86_400);
    queue.set_way_out(later, true);
    for tries in 1..=TRIES_MIN {
        let now = later.max(queue.due().unwrap());
        let said = settle_at(&mut queue, now, now.0 - NOW.0, &[deferred()]);
        assert!(said.last().unwrap().starts_with(&format!("1.0 try {tries} ")), "{said:?}");
    }
    // Without a memory of the outage it has its tries all the same.
    let mut queue = self::queue(&[(1, "a@far.example")]);
    assert!(settle(&mut queue, GIVE_UP_AFTER, &[deferred()]).last().unwrap().starts_with("1.0 try 1 "));
}

#[test]
fn a_way_has_a_few_jobs_at_a_time_and_one_while_nothing_is_reached() {
    let recipients: Vec<_> = (0..20).map(|message| (message, "a@far.example")).collect();
    let mut queue = queue(&recipients);
    let jobs: Vec<_> = std::iter::from_fn(|| queue.next_job(NOW)).collect();
    assert_eq!(jobs.len(), WAY_JOBS_MAX);
    for job in &jobs {
        let settlement = queue.settle(NOW, job.id, &message(0), &[unreachable()]);
        store(&mut queue, &settlement);
        queue.settled(job.id);
    }
    assert_eq!(queue.due(), Some(UnixTime(NOW.0 + 50)), "it rests");
    assert_eq!(queue.next_job(UnixTime(NOW.0 + 49)), None);
    let now = UnixTime(NOW.0 + 50);
    let probe = queue.next_job(now).unwrap();
    assert_eq!((queue.next_job(now), queue.due()), (None, None), "one at a time");
    let settlement = queue.settle(now, probe.id, &message(0), &[deferred()]);
    store(&mut queue, &settlement);
    queue.settled(probe.id);
    assert_eq!(std::iter::from_fn(|| queue.next_job(now)).count(), WAY_JOBS_MAX, "the server is there");
}

#[test]
fn ways_take_turns_and_all_together_are_bounded() {
    let names: Vec<_> = (0..20).map(|way| format!("a@far{way:02}.example")).collect();
    let recipients: Vec<_> = (0..200).map(|at| (at, names[at as usize % 20].as_str())).collect();
    let mut queue = queue(&recipients);
    let jobs: Vec<_> = std::iter::from_fn(|| queue.next_job(NOW)).collect();
    assert_eq!(jobs.len(), JOBS_MAX);
    let first: BTreeSet<_> = jobs[..20].iter().map(|job| job.way.clone()).collect();
    assert_eq!(first.len(), 20, "each once before any twice");
    assert_eq!(queue.due(), None);
    // A job has no more recipients than any server takes.
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
    assert_eq!(queue.next_job(UnixTime(NOW.0 + 86_400)), None);
    assert_eq!((queue.hold(NOW, id(1, 0), true), queue.delete(id(1, 0))), (None, None));
    store(&mut queue, &settlement);
    queue.settled(job.id);
    assert!(queue.is_empty() && queue.ways.is_empty() && queue.jobs.is_empty());
    // A job that did not come about leaves everything as it was.
    let mut queue = self::queue(&[(1, "a@far.example")]);
    let job = queue.next_job(NOW).unwrap();
    queue.settled(job.id);
    queue.settled(job.id);
    assert!(queue.next_job(NOW).is_some());
}

#[test]
fn an_entry_is_held_released_and_deleted() {
    let mut queue = queue(&[(1, "a@far.example")]);
    let hold = |queue: &mut Queue, is_held| {
        let change = queue.hold(NOW, id(1, 0), is_held).unwrap();
        store(queue, &Settlement { changes: vec![change], notices: Vec::new() });
    };
    settle(&mut queue, 0, &[deferred()]);
    hold(&mut queue, true);
    assert_eq!((queue.due(), queue.next_job(UnixTime(NOW.0 + 86_400))), (None, None));
    hold(&mut queue, false);
    assert_eq!(queue.due(), Some(NOW), "at once");
    assert_eq!(settle(&mut queue, 0, &[deferred()]), ["1.0 try 2 in 1800"]);
    let change = queue.delete(id(1, 0)).unwrap();
    store(&mut queue, &Settlement { changes: vec![change], notices: Vec::new() });
    assert!(queue.is_empty());
    assert_eq!((queue.hold(NOW, id(1, 0), true), queue.delete(id(1, 0))), (None, None));
}

/// RFC 5321, section 4.5.3.1.10: Recipients too many for one message go into the next at once, which is no further try.
#[test]
fn rfc5321_4_5_3_1_10_recipients_too_many_go_into_the_next_message() {
    let mut queue = queue(&[(1, "a@far.example"), (1, "b@far.example")]);
    let mut too_many = deferred();
    too_many.report.is_one_too_many = true;
    assert_eq!(settle(&mut queue, 0, &[delivered(), too_many]), ["1.0 done: 250 OK", "1.1 try 0 in 0"]);
    assert_eq!(queue.next_job(NOW).unwrap().recipients[0].id, id(1, 1));
}

#[test]
fn other_routes_lead_what_waits_elsewhere() {
    let mut queue = queue(&[(1, "a@far.example"), (2, "b@far.example")]);
    let job = queue.next_job(NOW).unwrap();
    let server = Server { host: Host::Name("smtp.isp.example".to_owned()), port: 587 };
    let routes = Routes { smarthost: Some(server.clone()), ..routes() };
    queue.reroute(&routes);
    let next = queue.next_job(NOW).unwrap();
    assert_eq!(next.way, Way::Server { server, is_smarthost: true });
    queue.settled(job.id);
    queue.settled(next.id);
    assert_eq!(queue.ways.len(), 1, "nothing goes the other way any more");
    queue.insert(&routes, id(9, 0), "no address", "", &Progress::default());
    assert_eq!(queue.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// Whatever happens, no entry is in two jobs or lost, and all come to their end.
    #[test]
    fn all_entries_come_to_their_end(steps in prop::collection::vec((0_u8..8, 0_u64..30, 0_usize..5), 0..120)) {
        let domains = ["far.example", "lan.example", "other.example"];
        let (mut queue, mut now) = (Queue::default(), NOW);
        let (mut open, mut alive): (Vec<Job>, BTreeSet<QueueId>) = (Vec::new(), BTreeSet::new());
        let outcomes = [delivered(), failed(), deferred(), unreachable(), deferred()];
        for (step, number, which) in steps {
            let entry_id = id(number, u16::try_from(which).unwrap());
            match step {
                0 | 1 if !alive.contains(&entry_id) => {
                    let address = format!("a@{}", domains[which % 3]);
                    let due = Progress { due: now.0 + number, ..Progress::default() };
                    queue.insert(&routes(), entry_id, &address, "", &due);
                    alive.insert(entry_id);
                }
                2 => now = UnixTime(now.0 + number * 100),
                3 => queue.set_way_out(now, number % 3 != 0),
                4 => {
                    if let Some(change) = queue.hold(now, entry_id, number % 2 == 0) {
                        store(&mut queue, &Settlement { changes: vec![change], notices: Vec::new() });
                    }
                }
                5 if !open.is_empty() => {
                    let job = open.swap_remove(which % open.len());
                    let results = vec![outcomes[which].clone(); job.recipients.len()];
                    let settlement = queue.settle(now, job.id, &message(0), &results);
                    store(&mut queue, &settlement);
                    queue.settled(job.id);
                    alive.retain(|id| queue.entries.contains_key(id));
                }
                6 => queue.reroute(&routes()),
                _ => {
                    if let Some(job) = queue.next_job(now) {
                        for recipient in &job.recipients {
                            prop_assert!(alive.contains(&recipient.id));
                            prop_assert!(!open.iter().flat_map(|job| &job.recipients).any(|other| other.id == recipient.id));
                            prop_assert!(!queue.entries[&recipient.id].progress.is_held);
                        }
                        open.push(job);
                    } else if let Some(due) = queue.due() {
                        prop_assert!(due > now);
                    }
                }
            }
            prop_assert!(queue.entries.keys().eq(&alive), "none is lost and none comes back");
            let jobs: usize = queue.ways.values().map(|state| state.jobs).sum();
            prop_assert_eq!(jobs, open.len());
        }
        // In the end all is released and goes.
        open.drain(..).for_each(|job| queue.settled(job.id));
        queue.set_way_out(now, true);
        for id in alive {
            if let Some(change) = queue.hold(now, id, false) {
                store(&mut queue, &Settlement { changes: vec![change], notices: Vec::new() });
            }
        }
        while !queue.is_empty() {
            now = now.max(queue.due().expect("something is due"));
            let job = queue.next_job(now).expect("it is due");
            let settlement = queue.settle(now, job.id, &message(0), &vec![delivered(); job.recipients.len()]);
            store(&mut queue, &settlement);
            queue.settled(job.id);
        }
        prop_assert!(queue.ways.is_empty() && queue.jobs.is_empty());
    }
}
