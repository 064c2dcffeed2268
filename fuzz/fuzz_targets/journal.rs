//! Any bytes as the journal of leases: what can be read counts, what is damaged is told with its line and set
//! aside, and what is known is there again, undamaged, after the next change.
//!
//! A first octet of 1 has each line sealed, so that what is behind a checksum is reached.

#![no_main]

use std::net::Ipv4Addr;
use std::sync::Arc;

use gatepost_services::clock::UnixTime;
use gatepost_services::dhcp::server::leases::{ClientKey, Grant, JOURNAL_FILE, Lease, Leases};
use gatepost_services::store::{Memory, Monitored, Storage, sealed};
use libfuzzer_sys::fuzz_target;
use gatepost_ground::{Instant, MacAddr};

const NOW: Instant = Instant::from_secs(1);
const UNIX_NOW: UnixTime = UnixTime(1_700_000_000);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 9);
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fuzz_target!(|bytes: &[u8]| {
    let content = match bytes {
        [1, lines @ ..] => lines.split(|byte| *byte == b'\n').flat_map(sealed::seal).collect(),
        _ => bytes.to_vec(),
    };
    let disk = Arc::new(Memory::new());
    disk.replace(JOURNAL_FILE, &content).expect("a disk in memory");
    let (mut leases, problems) = open(&disk);
    let damages = Leases::damages(&content);
    assert_eq!(damages.is_empty(), problems.is_empty(), "{damages:?}: {problems:?}");
    let lines = content.split(|byte| *byte == b'\n').count();
    for damage in &damages {
        assert!((1..=lines).contains(&damage.line), "{damage} of {lines}");
        assert!(!damage.reason.is_empty());
    }
    let copy = disk.read(&format!("{JOURNAL_FILE}.damaged")).expect("a disk in memory");
    assert_eq!(copy, (!damages.is_empty()).then_some(content));
    for lease in leases.iter() {
        let left = lease.until.0.saturating_sub(lease.since.0);
        assert!(lease.remaining(NOW).as_secs() <= left, "more is left than was given: {lease:?}");
    }
    let (client, mac) = (ClientKey::Mac(MAC), MAC);
    let grant = Grant { address: ADDRESS, client, mac, source: MAC, hostname: None, lease_secs: 60 };
    leases.bind(NOW, UNIX_NOW, grant).expect("room for one more");
    leases.settle(NOW, UNIX_NOW).expect("a disk in memory");
    let (again, problems) = open(&disk);
    assert_eq!((known(&again), problems), (known(&leases), Vec::new()));
});

/// What the disk holds, and what is told of it.
fn open(disk: &Arc<Memory>) -> (Leases, Vec<String>) {
    let monitored = Arc::new(Monitored::new(Arc::clone(disk) as Arc<dyn Storage>));
    let leases = Leases::open(Arc::clone(&monitored) as Arc<dyn Storage>, NOW, UNIX_NOW);
    (leases, monitored.problems())
}

fn known(leases: &Leases) -> Vec<Lease> {
    leases.iter().cloned().collect()
}
