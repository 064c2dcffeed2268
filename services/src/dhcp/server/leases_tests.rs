//! The lease table against a naive model, with power cuts, and at its limits.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::dhcp::server::journal::{JOURNAL_FILE, JOURNAL_SLACK_RECORDS, RESERVE_LEN_MIN};
use crate::store::testing::Breakable;
use crate::store::{Memory, Monitored};

const UNIX: UnixTime = UnixTime(1_700_000_000);

/// Changes that are written at once.
impl Leases {
    fn bind_now(&mut self, now: Instant, unix_now: UnixTime, grant: Grant) -> io::Result<()> {
        self.bind(now, unix_now, grant)?;
        self.settle(now, unix_now)
    }

    fn release_now(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr) -> io::Result<()> {
        self.release(now, unix_now, address)?;
        self.settle(now, unix_now)
    }

    fn forget_now(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr) -> io::Result<()> {
        self.forget(now, unix_now, address)?;
        self.settle(now, unix_now)
    }

    fn quarantine_now(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        by: Claimant,
        secs: u32,
    ) -> io::Result<()> {
        self.quarantine(now, unix_now, address, by, secs)?;
        self.settle(now, unix_now)
    }

    fn read_again(&mut self, now: Instant) {
        self.settle(now, UNIX).unwrap();
    }
}

fn client(number: u8) -> ClientKey {
    ClientKey::Mac(MacAddr([2, 0, 0, 0, 0, number]))
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, number)
}

fn grant(number: u8, to: u8, secs: u32) -> Grant {
    let mac = MacAddr([2, 0, 0, 0, 0, to]);
    let hostname = (!to.is_multiple_of(3)).then(|| format!("pc{}", to / 2));
    Grant { address: address(number), client: client(to), mac, source: mac, hostname, lease_secs: secs }
}

fn claimant(number: u8) -> Claimant {
    let mac = MacAddr([2, 0, 0, 0, 0, number]);
    Claimant { client: client(number), mac, source: MacAddr([2, 0, 0, 0, 1, number % 2]) }
}

fn open(disk: &Arc<Memory>) -> Leases {
    Leases::open(Arc::clone(disk) as Arc<dyn Storage>, Instant::ZERO, UNIX)
}

fn journal(disk: &Memory) -> Vec<u8> {
    disk.read(JOURNAL_FILE).unwrap().unwrap_or_default()
}

fn disk_with(content: &[u8]) -> Arc<Memory> {
    let disk = Memory::new();
    disk.replace(JOURNAL_FILE, content).unwrap();
    Arc::new(disk)
}

fn snapshot(leases: &Leases) -> Vec<Lease> {
    leases.iter().cloned().collect()
}

#[test]
fn a_power_cut_at_any_octet_loses_nothing_that_was_promised() {
    let disk = Arc::new(Memory::new());
    let mut leases = open(&disk);
    let mut promised = vec![(0, Vec::new())];
    let mut promise = |leases: &Leases| promised.push((journal(&disk).len(), snapshot(leases)));
    for (number, to) in [(2, 1), (3, 2), (4, 3), (5, 1)] {
        leases.bind_now(Instant::ZERO, UNIX, grant(number, to, 600)).unwrap();
        promise(&leases);
    }
    leases.release_now(Instant::ZERO, UNIX, address(3)).unwrap();
    promise(&leases);
    leases.quarantine_now(Instant::ZERO, UNIX, address(4), claimant(3), 60).unwrap();
    promise(&leases);

    let whole = journal(&disk);
    for cut in 0..=whole.len() {
        let disk = disk_with(&whole[..cut]);
        let mut leases = open(&disk);
        let (_, last) = promised.iter().rfind(|(len, _)| *len <= cut).unwrap();
        assert_eq!(snapshot(&leases), *last, "at {cut}");
        leases.bind_now(Instant::ZERO, UNIX, grant(9, 9, 600)).unwrap();
        assert_eq!(snapshot(&open(&disk)), snapshot(&leases), "what was cut off is gone for good, at {cut}");
    }
}

/// The leases of a disk with `content`, and its reported problems.
fn open_monitored(content: &[u8]) -> (Leases, Arc<Monitored>) {
    let disk = Arc::new(Monitored::new(disk_with(content)));
    (Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX), disk)
}

#[test]
fn garbage_at_the_end_is_cut_off_and_elsewhere_damage() {
    let disk = Arc::new(Memory::new());
    open(&disk).bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).unwrap();
    let line = journal(&disk);
    let with_end = |end: &[u8]| [&line[..], end].concat();
    let mut half_zeros = line.clone();
    half_zeros[line.len() / 2..line.len() - 1].fill(0);
    let cut = &line[..line.len() - 1];
    for end in [&b"\0\0\0\0"[..], b"\0\0\0\n", b"[{\"address\":\"1.2", b"[{\"addr\n", cut, &half_zeros] {
        let (leases, disk) = open_monitored(&with_end(end));
        assert_eq!((leases.iter().count(), disk.problems()), (1, vec![]), "{end:?}");
    }
    let sealed = |payload: &str| crate::store::sealed::seal(payload.as_bytes());
    let payload = String::from_utf8(line[11..].to_vec()).unwrap();
    for (content, damaged, count) in [
        (with_end(b"[{\"kind\":\"of a later version\"}]\n"), 2, 1),
        (with_end(b"\xff\n"), 2, 1),
        ([b"\0\0\0\n", &line[..]].concat(), 1, 1),
        (sealed(payload.replace("mac:02", "mac:xx").trim_end()), 1, 0),
        (payload.replace("bound", "bundled").into_bytes(), 1, 0),
    ] {
        let (mut leases, disk) = open_monitored(&content);
        assert_eq!(leases.iter().count(), count);
        let problems = disk.problems();
        let told = format!("{JOURNAL_FILE} is damaged: line {damaged}: ");
        assert!(problems.len() == 1 && problems[0].starts_with(&told), "{problems:?}");
        assert_eq!(Leases::damages(&content).iter().map(|damage| damage.line).collect::<Vec<_>>(), [damaged]);
        leases.bind_now(Instant::ZERO, UNIX, grant(9, 9, 600)).unwrap();
        let copy = disk.read(&format!("{JOURNAL_FILE}.damaged")).unwrap().unwrap();
        assert_eq!(copy, content);
        let (again, disk) = open_monitored(&disk.read(JOURNAL_FILE).unwrap().unwrap());
        assert_eq!((snapshot(&again), disk.problems()), (snapshot(&leases), vec![]));
    }
}

#[test]
fn whatever_digit_flips_no_other_lease_comes_of_it() {
    let disk = Arc::new(Memory::new());
    let mut leases = open(&disk);
    for (number, to) in [(2, 1), (3, 2), (4, 3)] {
        leases.bind_now(Instant::ZERO, UNIX, grant(number, to, 600)).unwrap();
    }
    let (sound, known) = (journal(&disk), snapshot(&leases));
    for (at, bit) in (0..sound.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << bit;
        let (leases, disk) = open_monitored(&flipped);
        assert!(snapshot(&leases).iter().all(|lease| known.contains(lease)), "bit {bit} of octet {at}");
        // Without its newline, or with zeros, the last line counts as torn.
        let seems_torn = at == sound.len() - 1 || flipped[at] == 0;
        assert!(!disk.problems().is_empty() || seems_torn, "bit {bit} of octet {at}");
        assert!(!snapshot(&leases).is_empty(), "bit {bit} of octet {at}");
    }
}

#[test]
fn a_journal_without_checksums_is_read_and_gets_them() {
    let disk = disk_with(
        b"[{\"address\":\"192.168.1.2\",\"client\":\"mac:02:00:00:00:00:01\",\"mac\":\"02:00:00:00:00:01\",\
          \"hostname\":null,\"state\":\"bound\",\"since\":1700000000,\"until\":1700000600}]\n",
    );
    let mut leases = open(&disk);
    assert_eq!(leases.active(Instant::ZERO).map(|lease| lease.address).collect::<Vec<_>>(), [address(2)]);
    leases.bind_now(Instant::ZERO, UNIX, grant(3, 2, 600)).unwrap();
    assert!(journal(&disk).split_inclusive(|byte| *byte == b'\n').all(crate::store::sealed::is_sealed));
    assert_eq!(snapshot(&open(&disk)), snapshot(&leases));
}

#[test]
fn after_damage_what_may_have_been_leased_comes_last() {
    let disk = Arc::new(Memory::new());
    let mut leases = open(&disk);
    for (number, to) in [(2, 1), (3, 2), (4, 3)] {
        leases.bind_now(Instant::ZERO, UNIX, grant(number, to, 600)).unwrap();
    }
    // The second line's checksum is wrong.
    let mut content = journal(&disk);
    let second = content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    content[second + 2] ^= 1;
    let (mut leases, _) = open_monitored(&content);
    assert!(leases.is_suspect(address(3), Instant::ZERO) && !leases.is_suspect(address(4), Instant::ZERO));
    assert!(leases.is_incomplete(Instant::ZERO));
    assert!(!leases.is_suspect(address(3), Instant::ZERO + SUSPICION));
    leases.bind_now(Instant::ZERO, UNIX, grant(3, 2, 600)).unwrap();
    assert!(!leases.is_suspect(address(3), Instant::ZERO), "its client has come back");
}

#[test]
fn what_cannot_be_set_aside_or_read_is_not_written_over() {
    let disk = Arc::new(Breakable::default());
    disk.write(JOURNAL_FILE, b"[]garbage\n[]\n").unwrap();
    let open = || Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    disk.is_broken.store(true, Ordering::Relaxed);
    let mut leases = open();
    disk.is_broken.store(false, Ordering::Relaxed);
    disk.is_unreadable.store(true, Ordering::Relaxed);
    assert!(leases.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).is_err(), "no copy can be made");
    let mut blind = open();
    assert!(blind.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).is_err());
    disk.is_unreadable.store(false, Ordering::Relaxed);
    blind.read_again(Instant::from_secs(9));
    assert!(blind.bind_now(Instant::from_secs(9), UNIX, grant(2, 1, 600)).is_err(), "not tried yet");
    assert_eq!(disk.read(JOURNAL_FILE).unwrap().unwrap(), b"[]garbage\n[]\n");
    blind.read_again(Instant::from_secs(10));
    blind.bind_now(Instant::from_secs(10), UNIX, grant(2, 1, 600)).unwrap();
    assert!(disk.read(&format!("{JOURNAL_FILE}.damaged")).unwrap().is_some());
}

#[test]
fn on_a_full_disk_those_who_are_known_renew_from_the_reserve() {
    let disk = Arc::new(Bounded::new(Memory::new()));
    let mut leases = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    leases.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).unwrap();
    disk.capacity.store(disk.len(), Ordering::Relaxed);
    assert!(leases.bind_now(Instant::ZERO, UNIX, grant(3, 2, 600)).is_err());
    for renewal in 1..500 {
        let now = Instant::from_secs(renewal);
        leases.bind_now(now, UnixTime(UNIX.0 + renewal), grant(2, 1, 600)).unwrap();
        assert!(leases.bind_now(now, UNIX, grant(3, 2, 600)).is_err(), "the reserve is not for newcomers");
    }
    let again = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    assert_eq!(again.at(address(2)).unwrap().until, leases.at(address(2)).unwrap().until);
    disk.capacity.store(1 << 20, Ordering::Relaxed);
    leases.bind_now(Instant::from_secs(500), UNIX, grant(3, 2, 600)).unwrap();
    assert!(disk.len_of(RESERVE_FILE) >= RESERVE_LEN_MIN, "it is kept again");
}

/// Leases an address to each of so many clients.
fn bind_many(leases: &mut Leases, clients: u16) {
    for number in 0..clients {
        let grant = Grant { address: Ipv4Addr::from(0x0a00_0000 + u32::from(number)), ..grant(2, 1, 600) };
        let client = ClientKey::Id(number.to_be_bytes().to_vec());
        leases.bind_now(Instant::ZERO, UNIX, Grant { client, hostname: None, ..grant }).unwrap();
    }
}

#[test]
fn the_reserve_has_room_to_write_a_long_journal_anew() {
    let disk = Arc::new(Bounded::new(Memory::new()));
    let mut leases = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    bind_many(&mut leases, 1000);
    leases.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).unwrap();
    assert!(disk.len_of(JOURNAL_FILE) > RESERVE_LEN_MIN);
    disk.capacity.store(disk.len(), Ordering::Relaxed);
    for renewal in 1..500 {
        leases.bind_now(Instant::from_secs(renewal), UNIX, grant(2, 1, 600)).unwrap();
    }
    assert_eq!(disk.len_of(RESERVE_FILE), 0, "it was needed");
    let again = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    assert_eq!(again.iter().count(), leases.iter().count());
}

#[test]
fn on_a_full_disk_others_try_once_in_a_while_and_leave_no_half_written_file() {
    let disk = Arc::new(Bounded::new(Memory::new()));
    let mut leases = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    bind_many(&mut leases, 20);
    // The first appends a part of its line, the next one would replace the journal.
    for (secs, tries) in [(0, 1), (0, 0), (9, 0), (10, 1), (19, 0), (20, 1)] {
        disk.refusals.store(0, Ordering::Relaxed);
        disk.capacity.store(disk.len() + 50, Ordering::Relaxed);
        assert!(leases.bind_now(Instant::from_secs(secs), UNIX, grant(3, 2, 600)).is_err());
        assert_eq!(
            (disk.refusals.load(Ordering::Relaxed), disk.len_of("dhcp-leases.jsonl.new")),
            (tries, 0),
            "at {secs}"
        );
    }
    disk.capacity.store(1 << 20, Ordering::Relaxed);
    assert!(leases.bind_now(Instant::from_secs(29), UNIX, grant(3, 2, 600)).is_err());
    leases.bind_now(Instant::from_secs(30), UNIX, grant(3, 2, 600)).unwrap();
}

#[test]
fn on_a_full_disk_a_damaged_journal_is_set_aside_from_the_reserve() {
    let memory = Memory::new();
    {
        let disk = Arc::new(Bounded::new(Memory::new()));
        let mut leases = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, Instant::ZERO, UNIX);
        bind_many(&mut leases, 1000);
        leases.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).unwrap();
        for name in [JOURNAL_FILE, RESERVE_FILE] {
            memory.write(name, &disk.read(name).unwrap().unwrap()).unwrap();
        }
    }
    memory.append(JOURNAL_FILE, b"2 garbage\n").unwrap();
    let damaged = journal(&memory);
    let disk = Arc::new(Bounded::new(memory));
    disk.capacity.store(disk.len(), Ordering::Relaxed);
    let monitored = Arc::new(Monitored::new(Arc::clone(&disk) as Arc<dyn Storage>));
    let mut leases = Leases::open(Arc::clone(&monitored) as Arc<dyn Storage>, Instant::ZERO, UNIX);
    let copy = |told: &str| {
        let problems = monitored.problems();
        assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?}");
    };
    copy("the copy: none, and nothing is written: ");
    leases.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).unwrap();
    copy("the copy: dhcp-leases.jsonl.damaged");
    assert_eq!(disk.read("dhcp-leases.jsonl.damaged").unwrap().unwrap(), damaged);
}

/// A disk with limited space.
struct Bounded {
    memory: Memory,
    capacity: AtomicUsize,
    /// The number of writes that did not fit.
    refusals: AtomicU32,
}

impl Bounded {
    fn new(memory: Memory) -> Self {
        Self { memory, capacity: AtomicUsize::new(4 << 20), refusals: AtomicU32::new(0) }
    }

    fn len(&self) -> usize {
        let names = [JOURNAL_FILE, RESERVE_FILE, "dhcp-leases.jsonl.damaged"];
        names.iter().map(|name| self.len_of(name) + self.len_of(&format!("{name}.new"))).sum()
    }

    fn len_of(&self, name: &str) -> usize {
        self.memory.read(name).unwrap().map_or(0, |content| content.len())
    }

    fn write_what_fits(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let fits = octets.len().min(self.capacity.load(Ordering::Relaxed).saturating_sub(self.len()));
        self.memory.append(name, &octets[..fits])?;
        if fits == octets.len() {
            return Ok(());
        }
        self.refusals.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::StorageFull.into())
    }
}

impl Storage for Bounded {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.memory.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.memory.read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.memory.len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.memory.list(name)
    }

    fn space(&self) -> io::Result<u64> {
        self.memory.space()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.memory.write(name, b"")?;
        self.write_what_fits(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.write_what_fits(name, record)
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.memory.rename(name, to)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.memory.sync(name)
    }
}

#[test]
fn the_journal_stays_bounded() {
    let disk = Arc::new(Memory::new());
    let mut leases = open(&disk);
    let mut longest = 0;
    for round in 0..3 * JOURNAL_SLACK_RECORDS {
        let number = u8::try_from(round % 7).unwrap();
        leases.bind_now(Instant::ZERO, UNIX, grant(number, number, 600)).unwrap();
        if round.is_multiple_of(64) {
            longest = longest.max(String::from_utf8(journal(&disk)).unwrap().matches("address").count());
        }
    }
    assert_eq!(snapshot(&open(&disk)), snapshot(&leases));
    assert!((JOURNAL_SLACK_RECORDS - 64..=JOURNAL_SLACK_RECORDS + 8).contains(&longest), "{longest}");
}

#[test]
fn a_full_table_forgets_the_longest_unused_and_never_a_lease() {
    let disk = Arc::new(Memory::new());
    let mut leases = open(&disk);
    let nth = |number: u32| Grant {
        address: Ipv4Addr::from(0x0a00_0000 + number),
        client: ClientKey::Id(number.to_be_bytes().to_vec()),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        hostname: None,
        lease_secs: 100 + number % 2 * 100,
    };
    let full = u32::try_from(LEASES_MAX).unwrap();
    for number in 0..full {
        leases.bind_now(Instant::ZERO, UNIX, nth(number)).unwrap();
    }
    let error = leases.bind_now(Instant::from_secs(99), UNIX, nth(full)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    leases.bind_now(Instant::from_secs(99), UNIX, nth(full - 1)).unwrap();
    leases.bind_now(Instant::from_secs(100), UNIX, nth(full)).unwrap();
    assert_eq!(leases.iter().count(), LEASES_MAX);
    assert!(leases.at(nth(0).address).is_none());
    assert!(leases.of_client(&nth(0).client).is_none());
}

#[test]
fn a_full_table_makes_room_with_leases_of_another_network() {
    let disk = Arc::new(Memory::new());
    let mut leases = open(&disk);
    let nth = |number: u32| Grant {
        address: Ipv4Addr::from(0x0a00_0000 + number),
        client: ClientKey::Id(number.to_be_bytes().to_vec()),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        hostname: None,
        lease_secs: 100,
    };
    for number in 0..u32::try_from(LEASES_MAX).unwrap() {
        leases.insert(lease_of(nth(number)));
    }
    leases.serve(vec!["192.168.1.0/24".parse().unwrap()]);
    leases.bind_now(Instant::ZERO, UNIX, grant(2, 1, 600)).unwrap();
    assert_eq!(leases.iter().count(), LEASES_MAX);
    assert_eq!(leases.active(Instant::ZERO).map(|lease| lease.address).collect::<Vec<_>>(), [address(2)]);
}

fn lease_of(grant: Grant) -> Lease {
    let expires = Instant::from_secs(grant.lease_secs.into());
    Lease {
        address: grant.address,
        client: grant.client,
        mac: grant.mac,
        source: grant.source,
        hostname: grant.hostname,
        state: State::Bound,
        since: UNIX,
        until: UnixTime(UNIX.0 + u64::from(grant.lease_secs)),
        expires,
        surely_ended: expires,
    }
}

/// A step of the model test.
#[derive(Clone, Debug)]
enum Step {
    Bind {
        address: u8,
        client: u8,
        secs: u32,
    },
    Release {
        address: u8,
    },
    Forget {
        address: u8,
    },
    Quarantine {
        address: u8,
        client: u8,
        secs: u32,
    },
    Wait {
        secs: u64,
    },
    Restart,
    /// Sets whether the disk works.
    Disk {
        works: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (2u8..8, 1u8..8, 1u32..100).prop_map(|(address, client, secs)| Step::Bind { address, client, secs }),
        3 => (2u8..8).prop_map(|address| Step::Release { address }),
        1 => (2u8..8).prop_map(|address| Step::Forget { address }),
        2 => (2u8..8, 1u8..8, 1u32..100).prop_map(|(address, client, secs)| Step::Quarantine { address, client, secs }),
        4 => (1u64..60).prop_map(|secs| Step::Wait { secs }),
        2 => Just(Step::Restart),
        2 => any::<bool>().prop_map(|works| Step::Disk { works }),
    ]
}

/// The model of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelLease {
    client: ClientKey,
    hostname: Option<String>,
    state: State,
    until: u64,
}

/// The model: a list of addresses, searched linearly.
#[derive(Clone, Default)]
struct Model(BTreeMap<Ipv4Addr, ModelLease>);

impl Model {
    fn bind(&mut self, now: u64, grant: &Grant) {
        for (address, lease) in &mut self.0 {
            if *address != grant.address && lease.client == grant.client && lease.state == State::Bound {
                *lease = ModelLease { hostname: None, state: State::Released, until: now, ..lease.clone() };
            }
            lease.hostname.take_if(|name| Some(&*name) == grant.hostname.as_ref());
        }
        let (client, hostname) = (grant.client.clone(), grant.hostname.clone());
        let until = now + u64::from(grant.lease_secs);
        self.0.insert(grant.address, ModelLease { client, hostname, state: State::Bound, until });
    }

    fn release(&mut self, now: u64, address: Ipv4Addr) {
        if let Some(lease) = self.0.get_mut(&address) {
            *lease = ModelLease { hostname: None, state: State::Released, until: now, ..lease.clone() };
        }
    }

    fn forget(&mut self, now: u64, address: Ipv4Addr) {
        if let Some(lease) = self.0.get_mut(&address) {
            *lease = ModelLease { hostname: None, state: State::Declined, until: now, ..lease.clone() };
        }
    }

    fn quarantine(&mut self, until: u64, address: Ipv4Addr, client: ClientKey) {
        self.0.insert(address, ModelLease { client, hostname: None, state: State::Declined, until });
    }

    /// The least recently used address; doubtful ones come last.
    fn least_recently_used(&self, leases: &Leases, now: u64) -> Option<Ipv4Addr> {
        let is_doubtful =
            |address| leases.at(address).is_some_and(|lease| lease.is_doubtful(Instant::from_secs(now)));
        let is_free = |lease: &ModelLease| lease.state == State::Released || lease.until <= now;
        let free = self.0.iter().filter(|(_, lease)| is_free(lease));
        free.min_by_key(|(address, lease)| (is_doubtful(**address), lease.until)).map(|(address, _)| *address)
    }

    fn check(&self, leases: &Leases, now_secs: u64) {
        let now = Instant::from_secs(now_secs);
        for (lease, (address, expected)) in leases.iter().zip(&self.0) {
            let Lease { client, hostname, state, .. } = lease.clone();
            let known = ModelLease { client, hostname, state, until: lease.until.0 - UNIX.0 };
            assert_eq!((lease.address, &known), (*address, expected));
            let is_running = expected.until > now_secs;
            assert_eq!(lease.is_active(now), is_running && expected.state == State::Bound);
            assert_eq!(lease.is_blocked(now), is_running && expected.state != State::Released);
            let name = expected.hostname.as_deref().filter(|_| is_running);
            assert_eq!(leases.name_of(*address, now), name);
            if let Some(name) = name {
                assert_eq!(leases.address_of(&name.to_ascii_uppercase(), now), Some(*address));
            }
            let of_client = leases.of_client(&expected.client).map(|lease| (lease.address, lease.state));
            match (expected.state, of_client) {
                (State::Bound, found) => assert_eq!(found, Some((*address, State::Bound))),
                (_, found) => assert_ne!(found.map(|(_, state)| state), Some(State::Declined)),
            }
        }
        assert_eq!(leases.iter().count(), self.0.len());
        let everywhere = Ipv4Addr::UNSPECIFIED..=Ipv4Addr::BROADCAST;
        let unused = leases.least_recently_used(&everywhere, now, |_| true);
        let pool = address(0)..=address(12);
        let unknown = (0..=12).map(address).filter(|address| !self.0.contains_key(address));
        assert_eq!(leases.unknown(&pool).collect::<Vec<_>>(), unknown.collect::<Vec<_>>());
        assert_eq!(unused, self.least_recently_used(leases, now_secs));
    }
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_naive_one(steps in prop::collection::vec(step(), 1..80)) {
        let disk = Arc::new(Breakable::default());
        let open = |now, unix_now| Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, now, unix_now);
        let mut leases = open(Instant::ZERO, UNIX);
        let mut model = Model::default();
        let mut secs_now = 0;
        for step in steps {
            let (now, unix_now) = (Instant::from_secs(secs_now), UnixTime(UNIX.0 + secs_now));
            let mut changed = model.clone();
            let result = match step {
                Step::Bind { address: number, client: to, secs } => {
                    changed.bind(secs_now, &grant(number, to, secs));
                    leases.bind_now(now, unix_now, grant(number, to, secs))
                }
                Step::Release { address: number } => {
                    changed.release(secs_now, address(number));
                    leases.release_now(now, unix_now, address(number))
                }
                Step::Forget { address: number } => {
                    changed.forget(secs_now, address(number));
                    leases.forget_now(now, unix_now, address(number))
                }
                Step::Quarantine { address: number, client: by, secs } => {
                    changed.quarantine(secs_now + u64::from(secs), address(number), client(by));
                    leases.quarantine_now(now, unix_now, address(number), claimant(by), secs)
                }
                Step::Wait { secs } => {
                    secs_now += secs;
                    Ok(())
                }
                Step::Restart => {
                    leases = open(now, unix_now);
                    Ok(())
                }
                Step::Disk { works } => {
                    disk.is_broken.store(!works, Ordering::Relaxed);
                    Ok(())
                }
            };
            // The table changes exactly when the change is recorded.
            let is_change = match step {
                Step::Bind { .. } | Step::Quarantine { .. } => true,
                Step::Release { address: number } | Step::Forget { address: number } => {
                    model.0.contains_key(&address(number))
                }
                Step::Wait { .. } | Step::Restart | Step::Disk { .. } => false,
            };
            prop_assert_eq!(result.is_err(), is_change && disk.is_broken.load(Ordering::Relaxed));
            if result.is_ok() {
                model = changed;
            }
            model.check(&leases, secs_now);
        }
    }
}
