//! The system calls of `Files`, compared with the guarantees of `Storage` about power cuts.
//!
//! # Theory of operation
//!
//! A process of its own uses a directory of the machine, and strace(1) records its system calls (`calls.rs`). They are
//! replayed on a model of a file system that loses all that was not flushed (`file_system.rs`), cut at every call. All
//! states that the model can leave are compared with those that the documentation of `Storage` allows (`promise.rs`),
//! which knows no system calls. So a sync that is missing, or comes too late, shows without a power cut.
//!
//! The simulation's disk is tested in the same way: it leaves only what `Storage` allows, and everything that the model
//! of the file system can leave (`simulated.rs`). Otherwise the simulation would find less than an office would.

mod calls;
mod file_system;
mod operation;
mod promise;
mod simulated;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use self::calls::{Call, Event, Script, record};
use self::file_system::FileSystem;
use self::operation::{Operation, sequences};
use self::promise::{Left, Promises};

/// The state directory in the root of the file system. It is made when it is first used.
const STATE: &str = "state";

/// A directory of the machine, removed when its test ends.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("storage-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a directory of the test's");
        Self(path)
    }

    /// The calls of `Files` for operations, the first of which opens the directory.
    fn record(&self, operations: &[Operation]) -> Vec<Event> {
        record(&self.0, &Script::Files(self.0.join(STATE), operations.to_vec()))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test's own directory");
    }
}

/// Cuts the power after each of the calls.
///
/// # Errors
///
/// The difference from what `Storage` guarantees, in a sentence.
fn check<'a>(
    root: &Root,
    operations: impl IntoIterator<Item = &'a Operation>,
    events: &[Event],
) -> Result<FileSystem, String> {
    let (mut disk, mut promises) = (FileSystem::new(), Promises::default());
    let mut begun = operations.into_iter();
    let mut current = &Operation::Restart;
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Begin => {
                current = begun.next().expect("an operation of the script");
                promises.begin(current);
            }
            Event::End(true) => promises.succeed(current),
            Event::End(false) => {}
            Event::Call(call) => disk.apply(call, &root.0),
        }
        for names in disk.left_names() {
            let kept = names.iter().filter_map(|(path, inode)| {
                let name = path.strip_prefix('/')?.strip_prefix(STATE)?.strip_prefix('/')?;
                (!name.starts_with('.')).then(|| (name.to_owned(), disk.left_contents(*inode)))
            });
            let left = kept.collect();
            if !promises.allow(&left) {
                let so_far: Vec<_> = events[..=at].iter().map(|event| format!("{event:?}")).collect();
                return Err(format!("a power cut can leave {}, after\n{}", show(&left), so_far.join("\n")));
            }
        }
    }
    assert_eq!(begun.count(), 0, "all of it was done");
    Ok(disk)
}

fn show(left: &Left) -> String {
    let files = left.iter().map(|(name, contents)| {
        let contents: Vec<_> =
            contents.iter().map(|content| format!("{:?}", content.escape_ascii().to_string())).collect();
        format!("{name}: {}", contents.join(" or "))
    });
    format!("{{{}}}", files.collect::<Vec<_>>().join("; "))
}

/// The process that the other tests trace.
#[test]
fn traced() {
    calls::carry_out();
}

#[test]
fn a_power_cut_after_any_system_call_leaves_what_storage_promises_and_the_simulation_leaves_no_less() {
    let all = Config::default();
    // Each starts a process.
    let config = Config { cases: (all.cases / 4).max(1), failure_persistence: None, ..all };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&sequences(), |operations| {
        let root = Root::new();
        let events = root.record(&operations);
        let disk = check(&root, &operations, &events).map_err(TestCaseError::fail)?;
        simulated::check(&operations, &disk).map_err(TestCaseError::fail)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_file_that_is_replaced_beside_a_gateway_has_the_old_content_or_the_new() {
    let root = Root::new();
    let replace = |content: &str| {
        let script = Script::Beside(root.0.join(STATE), "own/a".to_owned(), content.to_owned());
        record(&root.0, &script)
    };
    // The second process finds the directories there.
    let mut events = replace("one");
    events.extend(replace("two"));
    let operations = ["one", "two"].map(|content| Operation::Replace("own/a".to_owned(), content.to_owned()));
    let outcome = check(&root, &operations, &events);
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn a_sync_covers_what_an_earlier_process_has_written() {
    let root = Root::new();
    let append = |content: &str| Operation::Append("a".to_owned(), content.to_owned());
    let sync = Operation::Sync("a".to_owned());
    let operations = [Operation::Restart, append("<0>"), Operation::Restart, sync];
    let outcome = check(&root, &operations, &root.record(&operations));
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

/// The calls of `Files` to replace a file.
fn replacement(root: &Root) -> (Vec<Operation>, Vec<Event>) {
    let replace = |content: &str| Operation::Replace("a".to_owned(), content.to_owned());
    let operations = vec![Operation::Restart, replace("old"), replace("new")];
    let events = root.record(&operations);
    (operations, events)
}

/// Whether it is told that a power cut leaves what it must not once `events` are so.
fn is_told(root: &Root, operations: &[Operation], events: &[Event]) -> bool {
    check(root, operations, events).is_err()
}

#[test]
fn a_replacement_without_a_sync_that_it_needs_is_told() {
    let root = Root::new();
    let (operations, events) = replacement(&root);
    assert!(!is_told(&root, &operations, &events));
    let syncs =
        events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Call(Call::Sync { .. })));
    let told = syncs.map(|(at, _)| {
        let without = [&events[..at], &events[at + 1..]].concat();
        is_told(&root, &operations, &without)
    });
    let told: Vec<_> = told.collect();
    // Of the new file; of its first name and once more of the file, which nobody needs here; of its last name.
    let replacement = [true, false, false, true];
    // The name of the state directory itself comes before.
    assert_eq!(told, [&[true][..], &replacement, &replacement].concat());
}

#[test]
fn a_file_that_is_renamed_before_it_is_synced_is_told() {
    let root = Root::new();
    let (operations, mut events) = replacement(&root);
    let rename = events.iter().rposition(|event| matches!(event, Event::Call(Call::Rename { .. })));
    let write = events.iter().rposition(|event| matches!(event, Event::Call(Call::Write { .. })));
    let (write, rename) = write.zip(rename).expect("a replacement");
    let renaming = events.remove(rename);
    events.insert(write + 1, renaming);
    assert!(is_told(&root, &operations, &events));
}
