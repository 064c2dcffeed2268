//! Time is told: the time server sends the present time of its clock with its error, in at most one answer to a
//! request, no longer than the request.
//!
//! The gateway's clock may be wrong: the checker reads it from the simulation, when the request arrives and when the
//! answer leaves. While no daemon disciplines it and the gateway asks time servers, the time in an answer is the right
//! time within the error in that answer, from the client's first measurement until the client restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use gatepost::config::Config;
use gatepost::config::services::{Dhcp, Ntp};
use gatepost_ground::Instant;
use gatepost_services::clock::{Discipline, LeapSecond, WallTime};
use gatepost_services::ntp::asking::Source;
use ipnet::Ipv4Net;

use super::dhcp_answers::parameters::Layers;
use super::lan::Lan;
use super::{Checker, Passage, Side, Way};
use crate::packet::dhcp_message;
use crate::world::clock::{TimeOfDay, right_time};

/// RFC 5905, section 7.2
const PORT: u16 = 123;
const DHCP_SERVER: u16 = 67;
/// The octets of a packet without extension fields and codes.
const PACKET_LEN: usize = 48;
/// From 1900 to 1970.
const UNIX_EPOCH_SECS: u64 = 2_208_988_800;
/// What rounding may take, a microsecond, in parts of 2^-32 s.
const ROUNDING: i64 = 4_295;
const SECOND: u64 = 1 << 16;

/// How long a question waits for its answer: neighbours may have to be asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most questions that wait for their answers.
const ASKED_MAX: usize = 4_096;

/// How long it takes to find the time at least: four requests, two seconds apart.
const MEASURING: Duration = Duration::from_secs(6);

/// The stratum of the simulated time servers.
const SOURCES_STRATUM: u8 = 2;

/// The largest number of packets to a source in [`WINDOW`].
const TOLD_MAX: usize = 60;
const WINDOW: Duration = Duration::from_secs(10);

/// Compares answers with the gateway's clock.
pub struct TimeTold {
    clock: Rc<TimeOfDay>,
    lan: Lan,
    /// The configuration in force, and the one that a reload may activate.
    wanted: Vec<Wanted>,
    /// Unanswered requests, the oldest first.
    asked: VecDeque<Asked>,
    /// When each source got an answer.
    told: BTreeMap<Ipv4Addr, VecDeque<Instant>>,
    /// The sources that got too many answers. Each is reported once, as reports are bounded.
    told_too_often: BTreeSet<Ipv4Addr>,
    /// Since when the gateway has served the time of its own client.
    found_at: Option<Instant>,
    /// Requests of DHCP clients for time servers, by their transaction, with the configurations that may answer them.
    leasing: BTreeMap<u32, (Message, Vec<Wanted>)>,
}

/// The settings of a configuration.
#[derive(Clone)]
struct Wanted {
    ntp: Ntp,
    dhcp: Dhcp,
    /// The gateway's address.
    own: Ipv4Addr,
}

impl Wanted {
    /// The settings for the clients at each of the gateway's addresses.
    fn of(config: &Config) -> Vec<Self> {
        let (ntp, dhcp) = (&config.services.ntp, &config.services.dhcp);
        let at = |lan: Ipv4Net| Self { ntp: ntp.clone(), dhcp: dhcp.clone(), own: lan.addr() };
        config.lan.addresses().map(at).collect()
    }

    /// The content of the option for time servers (RFC 2132, section 8.3) in answers to `question`; empty: no option.
    fn servers(&self, question: &Message) -> Vec<u8> {
        let set = Layers::of(&self.dhcp, question).option(OptionCode::NtpServers.into()).cloned();
        let own = self.ntp.enabled.then_some(self.own.octets()).into_iter().flatten();
        set.unwrap_or_else(|| own.collect())
    }
}

/// A request, and the gateway's state at its arrival.
struct Asked {
    at: Instant,
    source: (Ipv4Addr, u16),
    packet: Vec<u8>,
    shown: WallTime,
    changes: u64,
    discipline: Discipline,
    wanted: Vec<Wanted>,
}

impl TimeTold {
    /// A checker of a gateway whose time of day is `clock`.
    pub fn new(config: &Config, clock: Rc<TimeOfDay>) -> Self {
        Self {
            clock,
            lan: Lan::of(config),
            wanted: Wanted::of(config),
            asked: VecDeque::new(),
            told: BTreeMap::new(),
            told_too_often: BTreeSet::new(),
            found_at: None,
            leasing: BTreeMap::new(),
        }
    }

    fn ask(&mut self, now: Instant, source: (Ipv4Addr, u16), packet: &[u8]) {
        // The client restarts after the kernel's clock was disciplined.
        let disciplined_at = self.clock.disciplined_at();
        self.found_at = self
            .found_at
            .filter(|found_at| disciplined_at.is_none_or(|disciplined_at| disciplined_at < *found_at));
        while self.asked.front().is_some_and(|asked| now.since(asked.at) > PATIENCE)
            || self.asked.len() >= ASKED_MAX
        {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked {
            at: now,
            source,
            packet: packet.to_vec(),
            shown: self.clock.at(now),
            changes: self.clock.changes(),
            discipline: self.clock.discipline(),
            wanted: self.wanted.clone(),
        });
    }

    fn answer(&mut self, now: Instant, source: (Ipv4Addr, u16), answer: &[u8]) -> Result<(), String> {
        let (client, _) = source;
        let told = self.told.entry(client).or_default();
        while told.front().is_some_and(|at| now.since(*at) > WINDOW) {
            told.pop_front();
        }
        told.push_back(now);
        if told.len() > TOLD_MAX {
            told.pop_front();
            if self.told_too_often.insert(client) {
                return Err(format!("{client} was sent more than {TOLD_MAX} packets within {WINDOW:?}"));
            }
        }
        if answer.len() < PACKET_LEN {
            return Err(format!("{client} was sent {} octets", answer.len()));
        }
        let is_of = |asked: &Asked| asked.source == source && asked.packet[40..48] == answer[24..32];
        let Some(index) = self.asked.iter().position(is_of) else {
            return Err(format!("{client} got an answer without a request"));
        };
        let Some(asked) = self.asked.remove(index) else { return Ok(()) };
        if answer.len() > asked.packet.len() {
            let (len, asked) = (answer.len(), asked.packet.len());
            return Err(format!("{client} asked with {asked} octets and was sent {len}"));
        }
        let version = |packet: &[u8]| packet[0] >> 3 & 7;
        // RFC 4330, section 6: a client's mode 3 is answered by 4, a symmetric active peer's 1 by 2.
        if answer[0] & 7 != (asked.packet[0] & 7) + 1 || version(answer) != version(&asked.packet) {
            return Err(format!("{client} was sent a packet of another mode or version"));
        }
        self.compare(now, &asked, answer).map_err(|what| format!("{client} was told {what}"))
    }

    /// Compares a server's answer with the clock.
    fn compare(&mut self, now: Instant, asked: &Asked, answer: &[u8]) -> Result<(), String> {
        let may_be = asked.wanted.iter().chain(&self.wanted).map(|wanted| &wanted.ntp);
        let may_be: Vec<_> = may_be.filter(|ntp| ntp.enabled).collect();
        if may_be.is_empty() {
            return Err("the time, which is switched off".to_owned());
        }
        let (leap, stratum) = (answer[0] >> 6, answer[1]);
        if stratum == 0 {
            let is_kiss = leap == 3 && answer[12..16] == *b"RATE";
            return if is_kiss { Ok(()) } else { Err("no time, and not why".to_owned()) };
        }
        let is_disciplined = asked.discipline.is_synchronised || self.clock.discipline().is_synchronised;
        let reference = Ipv4Addr::from([answer[12], answer[13], answer[14], answer[15]]);
        let sources = may_be.iter().flat_map(|ntp| &ntp.servers);
        if !is_disciplined && sources.clone().any(|source| *source == Source::Address(reference)) {
            let found_at = *self.found_at.get_or_insert(now);
            return self.compare_found(now, (found_at, asked.at), answer);
        }
        // An answer of before may leave later: it waits in the gateway for the client's hardware address.
        let had_found = self.found_at.is_some_and(|found_at| found_at <= asked.at);
        if !is_disciplined && had_found && sources.count() > 0 {
            return Err(format!("stratum {stratum}, and the gateway had found the time"));
        }
        if asked.changes != self.clock.changes() {
            // It was set while the answer was made.
            return Ok(());
        }
        let [receive, transmit] = [32, 40].map(|at| word(answer, at) << 32 | word(answer, at + 4));
        let times = [parts(asked.shown), receive, transmit, parts(self.clock.at(now))];
        // The difference of two times counts, in whichever era they are.
        if times.windows(2).any(|pair| pair[1].wrapping_sub(pair[0]).cast_signed() < -ROUNDING) {
            return Err(format!("a time that was not its clock's: {times:x?}"));
        }
        let [delay, dispersion] = [4, 8].map(|at| word(answer, at));
        if asked.discipline.is_synchronised {
            let expected = match asked.discipline.leap {
                None => 0,
                Some(LeapSecond::Inserted) => 1,
                Some(LeapSecond::Deleted) => 2,
            };
            if leap != expected || !(1..16).contains(&stratum) {
                return Err(format!("leap {leap} and stratum {stratum} by a synchronised clock"));
            }
            let wrong = u128::from(self.clock.ahead_at(now).unsigned_abs());
            let told = u128::from(dispersion + delay / 2) * 1_000_000_000 / u128::from(SECOND);
            if wrong > told {
                return Err(format!("an error of {told} ns, and the clock is wrong by {wrong} ns"));
            }
            return Ok(());
        }
        let is_as_configured = may_be.iter().any(|ntp| match ntp.local_stratum {
            0 => (leap, stratum) == (3, 16),
            local => (leap, stratum) == (0, local),
        });
        if !is_as_configured {
            return Err(format!("leap {leap} and stratum {stratum} by a clock that nobody keeps"));
        }
        if !(SECOND..2 * SECOND).contains(&dispersion) {
            return Err(format!("dispersion {dispersion:#x} by a clock that nobody keeps"));
        }
        Ok(())
    }

    /// Compares an answer to a question that came at `asked_at` with the right time. The gateway has found it at
    /// `found_at`.
    fn compare_found(
        &self,
        now: Instant,
        (found_at, asked_at): (Instant, Instant),
        answer: &[u8],
    ) -> Result<(), String> {
        let (leap, stratum) = (answer[0] >> 6, answer[1]);
        if leap != 0 || stratum != SOURCES_STRATUM + 1 {
            return Err(format!(
                "leap {leap} and stratum {stratum} by who follows servers of stratum {SOURCES_STRATUM}"
            ));
        }
        let [delay, dispersion] = [4, 8].map(|at| word(answer, at));
        let surprise = self.clock.surprise(found_at - MEASURING, now);
        let error = (u128::from(2 * dispersion + delay) << 15) + (u128::from(surprise) << 32) / 1_000_000_000;
        let error = i64::try_from(error).unwrap_or(i64::MAX).saturating_add(ROUNDING);
        let [receive, transmit] = [32, 40].map(|at| word(answer, at) << 32 | word(answer, at + 4));
        let [first, last] = [asked_at, now].map(|at| parts(right_time(at)));
        for told in [receive, transmit] {
            let early = first.wrapping_sub(told).cast_signed();
            let late = told.wrapping_sub(last).cast_signed();
            if early > error || late > error {
                return Err(format!(
                    "{told:x}, {first:x} to {last:x} was right, and the error was {error:x}"
                ));
            }
        }
        Ok(())
    }

    /// Checks that a DHCP client that requests time servers gets the configured ones, or the gateway if it serves the
    /// time.
    fn lease(&mut self, message: &Message) -> Result<(), String> {
        if message.opcode() == Opcode::BootRequest {
            let list = message.opts().get(OptionCode::ParameterRequestList);
            let wants = matches!(list, Some(DhcpOption::ParameterRequestList(list)) if list.contains(&OptionCode::NtpServers));
            if wants {
                if self.leasing.len() >= ASKED_MAX {
                    self.leasing.clear();
                }
                self.leasing.insert(message.xid(), (message.clone(), self.wanted.clone()));
            }
            return Ok(());
        }
        let is_lease = matches!(message.opts().msg_type(), Some(MessageType::Offer | MessageType::Ack));
        let Some((question, wanted)) = self.leasing.get(&message.xid()).filter(|_| is_lease) else {
            return Ok(());
        };
        let told = match message.opts().get(OptionCode::NtpServers) {
            Some(DhcpOption::NtpServers(servers)) => &servers[..],
            _ => &[],
        };
        let octets: Vec<u8> = told.iter().flat_map(Ipv4Addr::octets).collect();
        if wanted.iter().chain(&self.wanted).all(|wanted| wanted.servers(question) != octets) {
            return Err(format!("a DHCP client got the time servers {told:?}"));
        }
        Ok(())
    }
}

impl Checker for TimeTold {
    fn name(&self) -> &'static str {
        "time-told"
    }

    fn promise(&self) -> &'static str {
        "a request for the time gets one answer, no longer than it, with the time of the gateway's clock or of its servers, and the error"
    }

    fn on_boot(&mut self) {
        self.asked.clear();
        self.told.clear();
        self.found_at = None;
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
        self.found_at = None;
        self.wanted.extend(Wanted::of(config));
    }

    fn on_configure(&mut self, config: &Config) {
        self.found_at = None;
        self.wanted = Wanted::of(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Some((ip, source_port, destination_port, payload)) = passage.packet.udp() else { return Ok(()) };
        if passage.side != Side::Lan {
            return Ok(());
        }
        match passage.way {
            _ if [source_port, destination_port].contains(&DHCP_SERVER) => {
                dhcp_message(payload).map_or(Ok(()), |message| self.lease(&message))
            }
            Way::In if self.lan.is_own(ip.destination) && destination_port == PORT => {
                // Others than clients and symmetric active peers are not answered.
                if payload.len() >= PACKET_LEN && [1, 3].contains(&(payload[0] & 7)) {
                    self.ask(passage.now, (ip.source, source_port), payload);
                }
                Ok(())
            }
            Way::Out if self.lan.is_own(ip.source) && source_port == PORT => {
                self.answer(passage.now, (ip.destination, destination_port), payload)
            }
            _ => Ok(()),
        }
    }
}

/// The four octets from `at` on.
fn word(packet: &[u8], at: usize) -> u64 {
    packet[at..at + 4].iter().fold(0, |word, octet| word << 8 | u64::from(*octet))
}

/// A time as NTP writes it.
fn parts(time: WallTime) -> u64 {
    let secs = time.secs.0.wrapping_add(UNIX_EPOCH_SECS) << 32;
    let fraction = (u64::from(time.nanos) << 32) / 1_000_000_000;
    secs | fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, dhcp, packet, passage, udp};
    use crate::packet::Packet;
    use crate::world::clock::ClockState;

    const DISCIPLINED: ClockState = ClockState::Disciplined { ahead: 500, leap: None };
    const ASKED_AT: Instant = Instant::from_secs(100);
    const TOLD_AT: Instant = Instant::from_millis(100_002);

    fn checker(state: ClockState) -> TimeTold {
        let clock = Rc::new(TimeOfDay::default());
        clock.set_state(Instant::ZERO, state);
        TimeTold::new(&config(), clock)
    }

    fn question() -> Vec<u8> {
        let mut octets = vec![0; PACKET_LEN];
        octets[0] = 0x23;
        octets[40..48].copy_from_slice(b"whatever");
        octets
    }

    /// The right answer at [`TOLD_AT`], by a disciplined clock or not.
    fn right(checker: &TimeTold) -> Vec<u8> {
        let mut octets = question();
        let is_disciplined = checker.clock.discipline().is_synchronised;
        let told: (u8, u64) = if is_disciplined { (4, 0x100) } else { (10, SECOND) };
        (octets[0], octets[1]) = (0x24, told.0);
        octets[8..12].copy_from_slice(&told.1.to_be_bytes()[4..]);
        octets[24..32].copy_from_slice(b"whatever");
        let time = parts(checker.clock.at(Instant::from_millis(100_001))).to_be_bytes();
        octets[32..40].copy_from_slice(&time);
        octets[40..48].copy_from_slice(&time);
        octets
    }

    fn comes(checker: &mut TimeTold, payload: Vec<u8>) {
        comes_at(checker, ASKED_AT, payload);
    }

    fn comes_at(checker: &mut TimeTold, now: Instant, payload: Vec<u8>) {
        let packet = packet("192.168.1.9", "192.168.1.1", udp(40_000, PORT, payload));
        let passage = Passage { now, ..passage(0, Way::In, Side::Lan, &packet) };
        checker.on_passage(&passage).expect("a question is no answer");
    }

    fn goes(checker: &mut TimeTold, payload: Vec<u8>) -> Result<(), String> {
        let packet = packet("192.168.1.1", "192.168.1.9", udp(PORT, 40_000, payload));
        let passage = Passage { now: TOLD_AT, ..passage(0, Way::Out, Side::Lan, &packet) };
        checker.on_passage(&passage)
    }

    /// What comes of an answer that is right but for `edit`.
    fn reported(state: ClockState, edit: impl FnOnce(&mut Vec<u8>)) -> Result<(), String> {
        let mut checker = checker(state);
        comes(&mut checker, question());
        let mut answer = right(&checker);
        edit(&mut answer);
        goes(&mut checker, answer)
    }

    #[test]
    fn what_is_right_may_be_told() {
        let leap = ClockState::Disciplined { ahead: -500, leap: Some(LeapSecond::Inserted) };
        assert_eq!(reported(DISCIPLINED, |_| ()), Ok(()));
        assert_eq!(reported(leap, |answer| answer[0] |= 0x40), Ok(()));
        assert_eq!(reported(ClockState::Undisciplined { ppm: 100 }, |_| ()), Ok(()));
        let kiss = |answer: &mut Vec<u8>| {
            (answer[0], answer[1]) = (0xe4, 0);
            answer[12..16].copy_from_slice(b"RATE");
        };
        assert_eq!(reported(DISCIPLINED, kiss), Ok(()));
    }

    #[test]
    fn an_answer_to_another_question_or_to_none_is_told() {
        assert!(reported(DISCIPLINED, |answer| answer[30] ^= 1).is_err(), "another origin");
        assert!(reported(DISCIPLINED, |answer| answer.push(0)).is_err(), "longer");
        assert!(reported(DISCIPLINED, |answer| answer.truncate(8)).is_err(), "cut");
        assert!(reported(DISCIPLINED, |answer| answer[0] = 0x1c).is_err(), "another version");
        assert!(reported(DISCIPLINED, |answer| answer[0] = 0x25).is_err(), "another mode");
        let mut checker = checker(DISCIPLINED);
        comes(&mut checker, question());
        let answer = right(&checker);
        assert_eq!(goes(&mut checker, answer.clone()), Ok(()));
        assert!(goes(&mut checker, answer.clone()).is_err(), "twice");
        let (mut of_a_server, mut of_a_peer) = (question(), question());
        (of_a_server[0], of_a_peer[0]) = (0x24, 0x21);
        comes(&mut checker, of_a_server);
        assert!(goes(&mut checker, answer.clone()).is_err(), "a server");
        comes(&mut checker, of_a_peer.clone());
        assert!(goes(&mut checker, answer.clone()).is_err(), "a peer, as a client");
        comes(&mut checker, of_a_peer);
        let mut to_a_peer = answer;
        to_a_peer[0] = 0x22;
        assert_eq!(goes(&mut checker, to_a_peer), Ok(()));
    }

    #[test]
    fn a_time_that_is_not_the_clocks_is_told() {
        for at in [32, 40] {
            assert!(reported(DISCIPLINED, |answer| answer[at + 3] += 1).is_err(), "later than it went");
            assert!(reported(DISCIPLINED, |answer| answer[at + 3] -= 1).is_err(), "before it came");
        }
        assert!(reported(DISCIPLINED, |answer| answer[40..48].copy_from_slice(&[0; 8])).is_err(), "none");
    }

    #[test]
    fn a_clock_that_is_told_better_than_it_is_is_told() {
        assert!(reported(DISCIPLINED, |answer| answer[8..12].copy_from_slice(&[0; 4])).is_err(), "500 µs");
        assert!(reported(DISCIPLINED, |answer| answer[0] |= 0x40).is_err(), "no leap second comes");
        assert!(reported(DISCIPLINED, |answer| answer[0] |= 0xc0).is_err(), "it is synchronised");
        let undisciplined = ClockState::Undisciplined { ppm: 0 };
        assert!(reported(undisciplined, |answer| answer[1] = 4).is_err(), "a stratum as if it were kept");
        assert!(reported(undisciplined, |answer| answer[9] = 0).is_err(), "no dispersion");
        assert!(reported(undisciplined, |answer| answer[9] = 2).is_err(), "2 s");
        assert!(
            reported(undisciplined, |answer| (answer[0], answer[1]) = (0xe4, 0)).is_err(),
            "a kiss without a reason"
        );
    }

    #[test]
    fn what_the_file_says_counts_before_and_after_a_reload() {
        let other = |text: &str| Config::parse("test", text).expect("a configuration");
        let mut checker = checker(ClockState::Undisciplined { ppm: 0 });
        let answered = |checker: &mut TimeTold, first: u8, stratum: u8| {
            comes(checker, question());
            let mut answer = right(checker);
            (answer[0], answer[1]) = (first, stratum);
            goes(checker, answer)
        };
        checker.on_reload(&other("ntp.local_stratum = 0"));
        assert_eq!(answered(&mut checker, 0x24, 10), Ok(()));
        assert_eq!(answered(&mut checker, 0xe4, 16), Ok(()));
        checker.on_configure(&other("ntp.local_stratum = 0"));
        assert!(answered(&mut checker, 0x24, 10).is_err());
        checker.on_configure(&other("ntp.enabled = false"));
        assert!(answered(&mut checker, 0xe4, 16).is_err());
    }

    #[test]
    fn a_time_that_servers_elsewhere_do_not_have_is_told() {
        let config = Config::parse("test", "ntp.servers = ['198.18.123.1']").expect("a configuration");
        let reported = |ahead: i32, edit: fn(&mut Vec<u8>)| {
            let mut checker = checker(ClockState::Undisciplined { ppm: 0 });
            checker.on_configure(&config);
            comes(&mut checker, question());
            let mut answer = right(&checker);
            (answer[0], answer[1]) = (0x24, 3);
            answer[12..16].copy_from_slice(&[198, 18, 123, 1]);
            answer[4..12].copy_from_slice(&[0, 0, 2, 0, 0, 0, 1, 0]);
            let right = parts(right_time(Instant::from_millis(100_001)));
            let time = right.wrapping_add_signed(i64::from(ahead) << 16).to_be_bytes();
            answer[32..40].copy_from_slice(&time);
            answer[40..48].copy_from_slice(&time);
            edit(&mut answer);
            goes(&mut checker, answer)?;
            // The next answers are those of a server whose client has no time.
            for (asked_at, had_found) in [(ASKED_AT, false), (TOLD_AT, true)] {
                comes_at(&mut checker, asked_at, question());
                let answer = super::tests::right(&checker);
                assert_eq!(goes(&mut checker, answer).is_err(), had_found, "asked at {asked_at}");
            }
            Ok::<(), String>(())
        };
        // The announced error is 512 units of 2^-16 s, and `ahead` is in the same units.
        assert_eq!(reported(0, |_| ()), Ok(()));
        assert_eq!((reported(380, |_| ()), reported(-380, |_| ())), (Ok(()), Ok(())));
        for ahead in [700, -700] {
            assert!(reported(ahead, |_| ()).is_err(), "{ahead}");
        }
        assert!(reported(0, |answer| answer[0] |= 0x40).is_err());
        assert!(reported(0, |answer| answer[1] = 2).is_err());
    }

    #[test]
    fn a_source_that_is_told_too_often_is_told() {
        let mut checker = checker(DISCIPLINED);
        let results: Vec<_> = (0..TOLD_MAX + 2)
            .map(|_| {
                comes(&mut checker, question());
                let answer = right(&checker);
                goes(&mut checker, answer)
            })
            .collect();
        assert!(results[..TOLD_MAX].iter().all(Result::is_ok) && results[TOLD_MAX].is_err());
        assert_eq!(results[TOLD_MAX + 1], Ok(()), "once");
    }

    #[test]
    fn a_lease_without_the_time_server_is_told() {
        let says = |checker: &mut TimeTold, packet: &Packet, way| {
            checker.on_passage(&Passage { now: ASKED_AT, ..passage(0, way, Side::Lan, packet) })
        };
        let mut checker = checker(DISCIPLINED);
        let request = dhcp(&[9], MessageType::Request, |message| {
            let list = vec![OptionCode::SubnetMask, OptionCode::NtpServers];
            message.set_opcode(Opcode::BootRequest).set_xid(7);
            message.opts_mut().insert(DhcpOption::ParameterRequestList(list));
        });
        let request = packet("0.0.0.0", "255.255.255.255", udp(68, 67, request));
        let lease = |servers: Option<[u8; 4]>| {
            let message = dhcp(&[9], MessageType::Ack, |message| {
                message.set_opcode(Opcode::BootReply).set_xid(7);
                if let Some(server) = servers {
                    message.opts_mut().insert(DhcpOption::NtpServers(vec![server.into()]));
                }
            });
            packet("192.168.1.1", "255.255.255.255", udp(67, 68, message))
        };
        assert_eq!(says(&mut checker, &request, Way::In), Ok(()));
        assert_eq!(says(&mut checker, &lease(Some([192, 168, 1, 1])), Way::Out), Ok(()));
        assert!(says(&mut checker, &lease(None), Way::Out).is_err());
        checker.on_configure(&Config::parse("test", "ntp.enabled = false").expect("a configuration"));
        assert_eq!(says(&mut checker, &request, Way::In), Ok(()));
        assert!(says(&mut checker, &lease(Some([192, 168, 1, 1])), Way::Out).is_err());
        assert_eq!(says(&mut checker, &lease(None), Way::Out), Ok(()));
        let set = Config::parse("test", "dhcp.ntp_servers = ['192.168.1.9']").expect("a configuration");
        checker.on_configure(&set);
        assert_eq!(says(&mut checker, &request, Way::In), Ok(()));
        assert!(says(&mut checker, &lease(Some([192, 168, 1, 1])), Way::Out).is_err());
        assert_eq!(says(&mut checker, &lease(Some([192, 168, 1, 9])), Way::Out), Ok(()));
        let matching = "[[dhcp.match]]\nmac_prefix = '09'\nntp_servers = ['192.168.1.9']";
        checker.on_configure(&Config::parse("test", matching).expect("a configuration"));
        assert_eq!(says(&mut checker, &request, Way::In), Ok(()));
        assert!(says(&mut checker, &lease(Some([192, 168, 1, 1])), Way::Out).is_err());
        assert_eq!(says(&mut checker, &lease(Some([192, 168, 1, 9])), Way::Out), Ok(()));
    }
}
