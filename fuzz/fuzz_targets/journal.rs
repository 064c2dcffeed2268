//! Any bytes as the journal of leases: they are read as leases or refused with the line to correct, and
//! what was read is there again after the next change.

#![no_main]

use std::net::Ipv4Addr;
use std::rc::Rc;

use gatepost_dataplane::{Instant, MacAddr};
use gatepost_services::clock::UnixTime;
use gatepost_services::dhcp::server::leases::{ClientKey, Grant, JOURNAL_FILE, Lease, Leases, LoadError};
use gatepost_services::store::{Disk, Memory};
use libfuzzer_sys::fuzz_target;

const NOW: Instant = Instant::from_secs(1);
const UNIX_NOW: UnixTime = UnixTime(1_700_000_000);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 9);
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fuzz_target!(|bytes: &[u8]| {
    let disk = Rc::new(Memory::new());
    disk.replace(JOURNAL_FILE, bytes).expect("a disk in memory");
    let mut leases = match open(&disk) {
        Ok(leases) => leases,
        Err(error) => return check_refusal(&error, bytes),
    };
    for lease in leases.iter() {
        let left = lease.until.0.saturating_sub(lease.since.0);
        assert!(lease.remaining(NOW).as_secs() <= left, "more is left than was given: {lease:?}");
    }
    let grant =
        Grant { address: ADDRESS, client: ClientKey::Mac(MAC), mac: MAC, source: MAC, hostname: None, lease_secs: 60 };
    leases.bind(NOW, UNIX_NOW, grant).expect("room for one more");
    let again = open(&disk).map_err(|error| error.to_string()).expect("the journal can be read again");
    assert_eq!(known(&again), known(&leases));
});

fn open(disk: &Rc<Memory>) -> Result<Leases, LoadError> {
    Leases::open(Rc::clone(disk) as Rc<dyn Disk>, NOW, UNIX_NOW)
}

fn check_refusal(error: &LoadError, bytes: &[u8]) {
    let LoadError::Record { line, reason } = error else {
        panic!("a disk in memory refuses nothing: {error}")
    };
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!((1..=lines).contains(line), "line {line} of {lines}");
    assert!(!reason.is_empty());
}

fn known(leases: &Leases) -> Vec<Lease> {
    leases.iter().cloned().collect()
}
