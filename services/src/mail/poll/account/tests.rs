use proptest::prelude::*;

use super::*;
use crate::cases;

const NOW: Instant = Instant::from_secs(1000);
const TODAY: u64 = 20_000;
const DELETING: Terms = Terms { leave_days: 0, message_octets_max: 1000 };
const LEAVING: Terms = Terms { leave_days: 14, message_octets_max: 1000 };

/// A listing of messages `uidl` or `uidl:size`; `-` has no name.
fn listing(messages: &str) -> Listing {
    let listed = |(number, text): (u32, &str)| {
        let (uidl, size) = text.split_once(':').unwrap_or((text, "10"));
        Listed { number, size: size.parse().unwrap(), uidl: (uidl != "-").then(|| uidl.to_owned()) }
    };
    let messages = (1..).zip(messages.split_whitespace()).map(listed).collect();
    Listing { messages, is_complete: true, has_uidls: true }
}

fn text(what: What, day: u64, name: Name) -> String {
    Remembered { what, day, name }.to_text()
}

fn fetched(day: u64, uidl: &str) -> String {
    text(What::Fetched, day, Name::Uidl(uidl.to_owned()))
}

fn planned(listing: &Listing, texts: &[String], terms: Terms, setbacks: &mut Setbacks) -> Plan {
    let memory = Memory::of(texts.iter().map(String::as_str));
    plan(listing, &memory, terms, setbacks, (NOW, TODAY)).unwrap()
}

/// What is done, as `fetch 1`.
fn steps(plan: &Plan) -> String {
    let of_step = |step: &Step| {
        let action = match step.action {
            Action::Fetch => "fetch",
            Action::Delete => "delete",
            Action::Tell => "tell",
        };
        format!("{action} {}", step.message.number)
    };
    plan.steps.iter().map(of_step).collect::<Vec<_>>().join(", ")
}

fn run(messages: &str, texts: &[String], terms: Terms) -> (String, Vec<String>) {
    let plan = planned(&listing(messages), texts, terms, &mut Setbacks::default());
    (steps(&plan), plan.forget)
}

#[test]
fn what_is_new_is_fetched_and_what_was_fetched_is_deleted_when_its_days_are_over() {
    let none = Vec::<String>::new();
    assert_eq!(run("a b", &[], DELETING), ("fetch 1, fetch 2".to_owned(), none.clone()));
    // 100 of 200 were fetched and the line broke; or DELE was acknowledged, and QUIT lost.
    assert_eq!(run("a b", &[fetched(TODAY, "a")], DELETING), ("delete 1, fetch 2".to_owned(), none.clone()));
    for (day, expected) in [(TODAY, ""), (TODAY - 13, ""), (TODAY - 14, "delete 1"), (0, "delete 1")] {
        assert_eq!(run("a", &[fetched(day, "a")], LEAVING), (expected.to_owned(), none.clone()), "{day}");
    }
    // A wrong clock deletes nothing before its time.
    assert_eq!(run("a", &[fetched(TODAY + 5, "a")], LEAVING).0, "");
    assert_eq!(run("a", &[fetched(u64::MAX, "a")], LEAVING).0, "");
}

#[test]
fn a_message_is_forgotten_when_a_complete_listing_has_it_no_more() {
    let texts =
        [fetched(TODAY, "a"), fetched(TODAY, "b"), text(What::Told, TODAY, Name::Uidl("c".to_owned()))];
    assert_eq!(run("a", &texts, LEAVING).1, [texts[1].clone(), texts[2].clone()]);
    assert_eq!(run("a b c:2000", &texts, LEAVING).1, Vec::<String>::new());
    assert_eq!(run("", &texts, LEAVING).1.len(), 3);
    let cut = Listing { is_complete: false, ..listing("a") };
    let plan = planned(&cut, &texts, LEAVING, &mut Setbacks::default());
    assert!(plan.forget.is_empty(), "the rest was not listed");
    // A damaged identifier belongs to no message.
    assert_eq!(run("a", &["x y z".to_owned()], LEAVING), ("fetch 1".to_owned(), vec!["x y z".to_owned()]));
}

#[test]
fn a_message_over_the_limit_stays_and_is_told_of_once() {
    assert_eq!(run("a:1000 b:1001", &[], DELETING).0, "fetch 1, tell 2");
    let told = text(What::Told, TODAY, Name::Uidl("b".to_owned()));
    let plan = planned(&listing("b:1001"), std::slice::from_ref(&told), DELETING, &mut Setbacks::default());
    assert_eq!((steps(&plan).as_str(), plan.too_long, plan.forget.len()), ("", 1, 0));
    // The limit was raised.
    assert_eq!(run("b:1000", &[told], DELETING).0, "fetch 1");
    // Without an identifier the account could not remember that it has reported this.
    assert_eq!(run("-:1001", &[], DELETING).0, "");
}

#[test]
fn messages_without_names_are_known_by_their_octets_and_not_left() {
    let digest = Name::Octets([7; 32]);
    let texts = [text(What::Fetched, TODAY, digest.clone())];
    let unnamed = Listing { has_uidls: false, ..listing("- -") };
    let plan_of = |listing: &Listing, terms| {
        let memory = Memory::of(texts.iter().map(String::as_str));
        assert!(memory.is_fetched(&digest));
        plan(listing, &memory, terms, &mut Setbacks::default(), (NOW, TODAY))
    };
    let plan = plan_of(&unnamed, DELETING).unwrap();
    assert_eq!((steps(&plan).as_str(), plan.forget.len()), ("fetch 1, fetch 2", 0));
    assert_eq!(plan.forget_after(&BTreeSet::from([digest.clone()])), Vec::<String>::new());
    assert_eq!(plan.forget_after(&BTreeSet::new()), texts);
    assert_eq!(plan_of(&listing(""), DELETING).unwrap().forget, texts);
    // A message that is not fetched may be it.
    let too_long = Listing { has_uidls: false, ..listing("- -:2000") };
    assert!(plan_of(&too_long, DELETING).unwrap().forget_after(&BTreeSet::new()).is_empty());

    assert_eq!(plan_of(&unnamed, LEAVING), Err(NeedsNames));
    // Two messages with one identifier among others.
    let plan = plan_of(&listing("a - -"), LEAVING).unwrap();
    assert_eq!((steps(&plan).as_str(), plan.nameless), ("fetch 1", 2));
}

#[test]
fn what_failed_comes_last_and_not_before_it_is_due() {
    let mut setbacks = Setbacks::default();
    setbacks.failed(NOW, "uidl a");
    let all = listing("a b c");
    let planned = |setbacks: &mut Setbacks, now| {
        let plan = plan(&all, &Memory::default(), DELETING, setbacks, (now, TODAY)).unwrap();
        (steps(&plan), plan.waiting)
    };
    assert_eq!(planned(&mut setbacks, NOW), ("fetch 2, fetch 3".to_owned(), 1));
    let due = NOW + SETBACK_FIRST;
    assert_eq!(planned(&mut setbacks, due), ("fetch 2, fetch 3, fetch 1".to_owned(), 0));
    setbacks.failed(due, "uidl a");
    assert_eq!(planned(&mut setbacks, due + SETBACK_FIRST).1, 1, "it waits longer");
    for _ in 0..100 {
        setbacks.failed(due, "uidl a");
    }
    assert_eq!(planned(&mut setbacks, due + SETBACK_LONGEST).1, 0);
    setbacks.succeeded("uidl a");
    assert_eq!(planned(&mut setbacks, NOW).0, "fetch 1, fetch 2, fetch 3");
    // The account forgets identifiers that are gone, and some if there are too many.
    (0..SETBACKS_MAX + 5).for_each(|number| setbacks.failed(NOW, &format!("uidl {number}")));
    assert_eq!(setbacks.count(), SETBACKS_MAX);
    planned(&mut setbacks, NOW);
    assert_eq!(setbacks.count(), 0);
}

#[test]
fn a_connection_fetches_some_and_the_next_goes_on() {
    let names = |count: usize| (0..count).map(|number| format!("m{number} ")).collect::<String>();
    let plan = planned(&listing(&names(FETCHES_MAX)), &[], DELETING, &mut Setbacks::default());
    assert_eq!((plan.steps.len(), plan.is_more), (FETCHES_MAX, false));
    let many = listing(&names(FETCHES_MAX + 1));
    let plan =
        planned(&many, &[fetched(TODAY, "m0"), fetched(TODAY, "m1")], DELETING, &mut Setbacks::default());
    assert_eq!((plan.steps.len(), plan.is_more), (FETCHES_MAX + 1, false), "deletions are not counted");
    let plan = planned(&listing(&names(FETCHES_MAX + 9)), &[], DELETING, &mut Setbacks::default());
    assert_eq!((plan.steps.len(), plan.is_more), (FETCHES_MAX, true));
}

#[test]
fn what_is_remembered_is_read_as_it_was_written() {
    for name in [Name::Uidl("a b %".to_owned()), Name::Octets([0xab; 32])] {
        for what in [What::Fetched, What::Told] {
            let remembered = Remembered { what, day: TODAY, name: name.clone() };
            assert_eq!(Remembered::parse(&remembered.to_text()), Some(remembered));
        }
    }
    for wrong in [
        "",
        "fetched",
        "fetched x uidl a",
        "fetched 1 md5 a",
        "fetched 1 sha256 ab",
        "seen 1 uidl a",
        "fetched 1 uidl",
    ] {
        assert_eq!(Remembered::parse(wrong), None, "{wrong}");
    }
    assert_eq!(day_of(UnixTime(86_400 * 3 - 1)), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// Each message that is delivered is delivered once, whichever connections break and whichever deletions are
    /// forgotten.
    #[test]
    fn each_message_is_delivered_once_whatever_breaks(
        rounds in prop::collection::vec((0_usize..6, any::<bool>(), any::<bool>()), 1..12),
        leave_days in 0_u64..3,
    ) {
        let terms = Terms { leave_days, message_octets_max: 1000 };
        let mut there: Vec<String> = (0..5).map(|number| format!("m{number}")).collect();
        let mut kept: Vec<String> = Vec::new();
        let mut delivered = BTreeMap::<String, usize>::new();
        for (day, (broken_after, is_confirmed, _)) in (TODAY..).zip(rounds.iter().copied().chain([(9, true, true); 4])) {
            let listed = listing(&there.join(" "));
            let memory = Memory::of(kept.iter().map(String::as_str));
            let plan = plan(&listed, &memory, terms, &mut Setbacks::default(), (NOW, day)).unwrap();
            kept.retain(|text| !plan.forget.contains(text));
            let mut deleted = Vec::new();
            for step in plan.steps.iter().take(broken_after) {
                let uidl = step.message.uidl.clone().unwrap();
                if step.action == Action::Fetch {
                    *delivered.entry(uidl.clone()).or_default() += 1;
                    kept.push(fetched(day, &uidl));
                }
                if step.action == Action::Delete || leave_days == 0 {
                    deleted.push(uidl);
                }
            }
            if is_confirmed && broken_after >= plan.steps.len() {
                there.retain(|uidl| !deleted.contains(uidl));
            }
        }
        prop_assert_eq!(delivered.len(), 5);
        prop_assert!(delivered.values().all(|count| *count == 1), "{:?}", delivered);
        prop_assert!(there.is_empty());
    }
}
