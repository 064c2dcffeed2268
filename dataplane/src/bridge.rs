//! The learning bridge of one interface, which knows the port of each station. (IEEE 802.1D, section 7)
//!
//! # Theory of operation
//!
//! From every frame the bridge learns that the frame's source is behind the port that received it, for
//! [`Bridge::AGING`]. A station that appears behind another port has moved. A frame for a known station goes out of
//! the station's port, any other frame out of all ports but the one that received it. The caller makes this decision,
//! by [`Bridge::lookup`].
//!
//! The table has [`Bridge::STATIONS_MAX`] slots, in sets of eight by a keyed hash, all allocated at the start. A new
//! station takes a slot of its set that is free or has aged out, else the slot of the station whose last frame is
//! oldest: a station that sends is always learnt. So a flood of invented addresses causes some flooding of frames, and
//! never prevents that a real station is learnt.
//!
//! The bridge does no spanning tree: the administrator must avoid loops between ports.

use core::time::Duration;

use ahash::RandomState;
use gatepost_ground::{Instant, MacAddr, PortId};

/// The stations of one interface.
#[derive(Clone, Debug)]
pub struct Bridge {
    sets: Box<[Set]>,
    hasher: RandomState,
}

/// A station as the bridge knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// The station's hardware address.
    pub mac: MacAddr,
    /// The port that the station is behind.
    pub port: PortId,
    /// The time since the station's last frame.
    pub age: Duration,
}

impl Bridge {
    /// The most stations known at one time.
    pub const STATIONS_MAX: usize = 4096;
    /// How long a station is known after its last frame.
    pub const AGING: Duration = Duration::from_secs(300); // IEEE 802.1D, table 7-5

    /// A bridge that knows no stations. The `seeds` keep a peer from choosing addresses of one set.
    pub fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            sets: vec![Set::default(); Self::STATIONS_MAX / Set::WAYS].into_boxed_slice(),
            hasher: RandomState::with_seeds(a, b, c, d),
        }
    }

    /// Learns from a frame from `mac` that came in by `port`. A group address is not learnt.
    // This runs once for each frame, and the compiler would not inline it by itself.
    #[inline(always)]
    pub fn learn(&mut self, now: Instant, mac: MacAddr, port: PortId) {
        if mac.is_multicast() {
            return;
        }
        let index = self.index(mac);
        let set = &mut self.sets[index];
        let way = set.find(mac).unwrap_or_else(|| set.least_recently_heard());
        set.stations[way] = pack(mac, port);
        set.heard[way] = now;
    }

    /// Whether other workers need a notice that `mac` is behind `port`: the station is new or has moved, or this is
    /// its first frame in the current third of the ageing time. Call this before [`Bridge::learn`].
    pub fn should_announce(&self, now: Instant, mac: MacAddr, port: PortId) -> bool {
        let third = |time: Instant| time.as_micros() / (Self::AGING.as_micros() as u64 / 3);
        let set = &self.sets[self.index(mac)];
        let is_known =
            |way: usize| set.stations[way] == pack(mac, port) && third(set.heard[way]) == third(now);
        !mac.is_multicast() && !set.find(mac).is_some_and(is_known)
    }

    /// The port that `mac` is behind, if the station is known.
    #[inline]
    pub fn lookup(&self, now: Instant, mac: MacAddr) -> Option<PortId> {
        let set = &self.sets[self.index(mac)];
        let way = set.find(mac)?;
        (now.since(set.heard[way]) < Self::AGING).then(|| unpack(set.stations[way]).1)
    }

    /// Forgets all stations behind `port`, which has lost its link or its interface.
    pub fn forget_port(&mut self, port: PortId) {
        for set in &mut self.sets {
            for station in &mut set.stations {
                if *station != EMPTY && unpack(*station).1 == port {
                    *station = EMPTY;
                }
            }
        }
    }

    /// All known stations, in a repeatable order.
    pub fn stations(&self, now: Instant) -> impl Iterator<Item = Station> {
        let places = self.sets.iter().flat_map(|set| set.stations.iter().zip(&set.heard));
        places.filter(|(station, _)| **station != EMPTY).filter_map(move |(station, heard)| {
            let (mac, port) = unpack(*station);
            let age = now.since(*heard);
            (age < Self::AGING).then_some(Station { mac, port, age })
        })
    }

    #[inline]
    fn index(&self, mac: MacAddr) -> usize {
        self.hasher.hash_one(address(mac)) as usize % (Self::STATIONS_MAX / Set::WAYS)
    }
}

/// The slots for stations of one hash. The addresses fill a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set {
    stations: [u64; Self::WAYS],
    heard: [Instant; Self::WAYS],
}

/// A free slot.
const EMPTY: u64 = 0;

impl Set {
    const WAYS: usize = 8;

    #[inline]
    fn find(&self, mac: MacAddr) -> Option<usize> {
        let wanted = pack(mac, PortId(0)) | PORT;
        self.stations.iter().position(|station| *station | PORT == wanted)
    }

    /// A free slot, or the slot of the station whose last frame is oldest.
    #[cold]
    fn least_recently_heard(&self) -> usize {
        let heard = |way: &usize| (self.stations[*way] != EMPTY).then(|| self.heard[*way]);
        (0..Self::WAYS).min_by_key(heard).unwrap_or_default()
    }
}

impl Default for Set {
    fn default() -> Self {
        Self { stations: [EMPTY; Self::WAYS], heard: [Instant::ZERO; Self::WAYS] }
    }
}

/// The bits of a packed station that hold its port.
const PORT: u64 = 0xff;
/// Marks a packed station, so that none is [`EMPTY`].
const OCCUPIED: u64 = 0x100;

#[inline]
fn pack(mac: MacAddr, port: PortId) -> u64 {
    address(mac) << 16 | OCCUPIED | u64::from(port.0)
}

#[inline]
fn unpack(station: u64) -> (MacAddr, PortId) {
    let [a, b, c, d, e, f, _, port] = station.to_be_bytes();
    (MacAddr([a, b, c, d, e, f]), PortId(port))
}

#[inline]
fn address(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Instant = Instant::from_secs(1000);

    fn station(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    fn bridge() -> Bridge {
        Bridge::new([1, 2, 3, 4])
    }

    #[test]
    fn who_was_heard_is_found_until_it_ages() {
        let mut bridge = bridge();
        assert_eq!(bridge.lookup(NOW, station(1)), None);
        bridge.learn(NOW, station(1), PortId(3));
        let last = NOW + Bridge::AGING - Duration::from_micros(1);
        assert_eq!(bridge.lookup(last, station(1)), Some(PortId(3)));
        assert_eq!(bridge.lookup(NOW + Bridge::AGING, station(1)), None);
        bridge.learn(last, station(1), PortId(3));
        assert_eq!(bridge.lookup(NOW + Bridge::AGING, station(1)), Some(PortId(3)));
    }

    #[test]
    fn it_is_news_who_is_new_or_moves_or_is_heard_after_a_third_of_the_ageing_time() {
        let mut bridge = bridge();
        let mut should_announce = |secs: u64, port: u8| {
            let now = NOW + Duration::from_secs(secs);
            let should_announce = bridge.should_announce(now, station(1), PortId(port));
            bridge.learn(now, station(1), PortId(port));
            should_announce
        };
        assert_eq!(
            [should_announce(0, 3), should_announce(99, 3), should_announce(99, 4)],
            [true, false, true]
        );
        let told: Vec<_> = (100..500).filter(|secs| should_announce(*secs, 4)).collect();
        assert_eq!(told, [100, 200, 300, 400]);
    }

    #[test]
    fn a_station_that_moves_is_found_at_its_new_port_alone() {
        let mut bridge = bridge();
        bridge.learn(NOW, station(1), PortId(3));
        bridge.learn(NOW, station(1), PortId(5));
        assert_eq!(bridge.lookup(NOW, station(1)), Some(PortId(5)));
        let known: Vec<_> = bridge.stations(NOW).collect();
        assert_eq!(known, [Station { mac: station(1), port: PortId(5), age: Duration::ZERO }]);
    }

    #[test]
    fn groups_are_no_stations() {
        let mut bridge = bridge();
        for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
            bridge.learn(NOW, mac, PortId(0));
            assert_eq!(bridge.lookup(NOW, mac), None);
        }
    }

    #[test]
    fn a_port_that_is_gone_takes_its_stations_along() {
        let mut bridge = bridge();
        bridge.learn(NOW, station(1), PortId(0));
        bridge.learn(NOW, station(2), PortId(1));
        bridge.forget_port(PortId(0));
        assert_eq!(bridge.lookup(NOW, station(1)), None);
        assert_eq!(bridge.lookup(NOW, station(2)), Some(PortId(1)));
    }

    #[test]
    fn an_office_full_of_stations_is_all_found() {
        let mut bridge = bridge();
        for number in 0..512 {
            bridge.learn(NOW, station(number), PortId((number % 60) as u8));
        }
        assert_eq!(bridge.stations(NOW).count(), 512);
    }

    #[test]
    fn a_full_table_forgets_who_was_heard_longest_ago() {
        let mut bridge = bridge();
        for number in 0..100_000 {
            let now = NOW + Duration::from_micros(number.into());
            bridge.learn(now, station(number), PortId(1));
            assert_eq!(bridge.lookup(now, station(number)), Some(PortId(1)), "a new station has its place");
            bridge.learn(now, station(u32::MAX), PortId(2));
        }
        let end = NOW + Duration::from_secs(1);
        assert_eq!(bridge.stations(end).count(), Bridge::STATIONS_MAX);
        assert_eq!(bridge.lookup(end, station(0)), None, "the oldest is gone");
        assert_eq!(bridge.lookup(end, station(u32::MAX)), Some(PortId(2)), "who speaks stays");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Learn { station: usize, port: u8 },
        ForgetPort(u8),
        Wait { secs: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..STATIONS, 0..4_u8).prop_map(|(station, port)| Step::Learn { station, port }),
            1 => (0..4_u8).prop_map(Step::ForgetPort),
            3 => (0..200_u64).prop_map(|secs| Step::Wait { secs }),
        ]
    }

    /// More stations than a set has places, all of one set, and as many anywhere.
    const STATIONS: usize = 2 * (Set::WAYS + 4);

    fn crowded(bridge: &Bridge) -> Vec<MacAddr> {
        let crowd = (0..).map(station).filter(|mac| bridge.index(*mac) == bridge.index(station(0)));
        crowd.take(STATIONS / 2).chain((1..).map(station).take(STATIONS / 2)).collect()
    }

    proptest! {
        /// The model: a list of stations with the port and the time of their last frames, in which the oldest of a full
        /// set is found by a search from end to end.
        #[test]
        fn agrees_with_a_list_of_who_was_heard(steps in prop::collection::vec(step(), 1..120)) {
            let mut bridge = bridge();
            let stations = crowded(&bridge);
            let mut model: Vec<(MacAddr, PortId, Instant)> = Vec::new();
            let mut now = NOW;
            for step in steps {
                now = now + Duration::from_micros(1); // no two entries are of the same age
                match step {
                    Step::Wait { secs } => now = now + Duration::from_secs(secs),
                    Step::ForgetPort(port) => {
                        bridge.forget_port(PortId(port));
                        model.retain(|(_, at, _)| *at != PortId(port));
                    }
                    Step::Learn { station, port } => {
                        let mac = stations[station];
                        bridge.learn(now, mac, PortId(port));
                        model.retain(|(other, ..)| *other != mac);
                        let is_of_set = |(other, ..): &&(MacAddr, _, _)| bridge.index(*other) == bridge.index(mac);
                        if model.iter().filter(is_of_set).count() == Set::WAYS {
                            let oldest = model.iter().filter(is_of_set).min_by_key(|(.., heard)| *heard).copied();
                            model.retain(|station| Some(*station) != oldest);
                        }
                        model.push((mac, PortId(port), now));
                    }
                }
                for mac in &stations {
                    let heard = model.iter().find(|(other, ..)| other == mac);
                    let at = heard.and_then(|heard| known(now, heard)).map(|station| station.port);
                    prop_assert_eq!(bridge.lookup(now, *mac), at);
                }
            }
            let sorted = |mut stations: Vec<Station>| {
                stations.sort_by_key(|station| station.mac);
                stations
            };
            let expected = model.iter().filter_map(|heard| known(now, heard)).collect();
            prop_assert_eq!(sorted(bridge.stations(now).collect()), sorted(expected));
        }
    }

    fn known(now: Instant, (mac, port, heard): &(MacAddr, PortId, Instant)) -> Option<Station> {
        let age = now.since(*heard);
        (age < Bridge::AGING).then_some(Station { mac: *mac, port: *port, age })
    }
}
