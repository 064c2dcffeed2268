//! However many workers a gateway has, its hosts notice nothing of it.
//!
//! With several workers most frames come to one that does not own them, and flows change their queue at random
//! instants (`world/queues.rs`). The same office with 1, 2 and 4 workers must keep every promise and come to the same
//! for every host. Which frames there are, and when, may differ: ports of mappings that are not free, for one.

use gatepost_sim::machine::pc::Diary;
use gatepost_sim::scenario::{Outcome, catalog};

/// With so many workers each.
const WORKERS: [u8; 3] = [1, 2, 4];

/// Runs a scenario of the catalog with so many workers; everything in it is as it should be.
#[track_caller]
fn outcome(name: &str, workers: u8) -> Outcome {
    let office = catalog::find(name).expect("a scenario").office(1, None).expect("it is long enough");
    let outcome = office.workers(workers).run(name, 1, None).expect("it can be built");
    assert!(outcome.passed(), "with {workers} workers: {outcome}");
    outcome
}

/// Runs a scenario with each number of workers, and compares what every host has to tell: that what worked works, and
/// what broke breaks, for the same hosts.
#[track_caller]
fn is_the_same(name: &str) {
    let outcomes = WORKERS.map(|workers| outcome(name, workers));
    let told = outcomes.each_ref().map(|outcome| {
        let pcs = outcome.account.pcs.iter().map(|pc| (pc.name.clone(), results(&pc.diary)));
        let visits = outcome.account.visits.iter().map(|visit| (visit.pages > 0, visit.failed));
        let expectations = outcome.expectations.iter().map(|(what, result)| (what.clone(), result.is_ok()));
        (pcs.collect::<Vec<_>>(), visits.collect::<Vec<_>>(), expectations.collect::<Vec<_>>())
    });
    for (told, workers) in told.iter().zip(WORKERS) {
        assert_eq!(*told, told[0], "with {workers} workers");
    }
    assert!(outcomes.iter().all(|outcome| outcome.account.open_ports == outcomes[0].account.open_ports));
}

/// What came of all that a PC tried.
fn results(diary: &Diary) -> impl PartialEq + std::fmt::Debug + use<> {
    let Diary { address, first_address, addresses_lost, pages_wrong, chats_broken, .. } = diary;
    let worked = [diary.lookups, diary.pages, diary.chat_lines, diary.hairpin_pages].map(|count| count > 0);
    (*address, *first_address, *addresses_lost, *pages_wrong, *chats_broken, worked)
}
