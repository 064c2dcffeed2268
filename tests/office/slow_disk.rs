//! A gateway whose disk does not complete a sync: only those wait that depend on it.

use std::fs;
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::programs::{dig, pings};
use crate::harness::slow_disk::SlowDisk;
use crate::harness::{ISP, Office, eventually};
use crate::state::lease;

/// Questions that are answered while one sync runs.
const QUESTIONS: usize = 5;
/// The reports to the administrator meanwhile.
const SILENT: &str = "the disk does not answer";

/// Opens the gate of a disk when it is dropped.
struct Opens<'a>(&'a SlowDisk);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.open_gate();
    }
}

#[test]
fn a_sync_delays_no_name_and_no_packet() {
    let mut office = Office::bare(3, "");
    let (_, setup) = office.stop(Signal::SIGTERM);
    let state = setup.directory().join("state");
    fs::remove_dir_all(&state).expect("it is there");
    fs::create_dir(&state).expect("it can be made");
    let disk = SlowDisk::mount(&state);
    office.start(setup);
    assert_eq!(lease(&office, 1, "anna"), Some(86_400));
    office.give_static_address(3);
    disk.close_gate();
    thread::scope(|scope| {
        // Whoever waits for the disk ends with the test, also if that fails.
        let _opens = Opens(&disk);
        let newcomer = scope.spawn(|| {
            let secs = eventually("a lease", || lease(&office, 2, "berta"));
            (secs, disk.is_open())
        });
        eventually("a sync", || disk.is_syncing().then_some(()));
        let is_answered = || !dig(office.pc(3), "anna.office.example").is_empty();
        let is_served = (0..QUESTIONS).all(|_| is_answered()) && pings(office.pc(3), "", ISP);
        // A gateway that waits for its disk does not report either.
        let leases = is_served.then(|| office.gateway().show("leases")["leases"].as_array().map(Vec::len));
        let (was_open, has_lease) = (disk.is_open(), newcomer.is_finished());
        let is_told = || office.gateway().show("status")["problems"].to_string().contains(SILENT);
        eventually("a word of the disk", || is_told().then_some(()));
        disk.open_gate();
        eventually("a word that it answers", || (!is_told()).then_some(()));
        assert!(is_served, "while a sync ran");
        assert_eq!((was_open, has_lease, leases), (false, false, Some(Some(1))));
        assert_eq!(newcomer.join().expect("it does not panic"), (86_400, true));
    });
    assert!(!dig(office.pc(3), "berta.office.example").is_empty());
}
