//! Amounts of the last hour, day and month, each in periods of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::AddAssign;

/// The most hosts whose history is kept: with one more, that of the host which was silent for longest is forgotten.
pub const HOSTS_MAX: usize = 1024;

/// What one end received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Octets received.
    pub octets_received: u64,
    /// Octets sent.
    pub octets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        add(&mut self.octets_received, other.octets_received);
        add(&mut self.octets_sent, other.octets_sent);
        add(&mut self.packets_received, other.packets_received);
        add(&mut self.packets_sent, other.packets_sent);
    }
}

impl Amount {
    /// What is more in `self` than `before`, when the same counters were read; of counters that have begun anew, all.
    pub fn since(self, before: Self) -> Self {
        let has_begun_anew = self.octets_received < before.octets_received
            || self.octets_sent < before.octets_sent
            || self.packets_received < before.packets_received
            || self.packets_sent < before.packets_sent;
        if has_begun_anew {
            return self;
        }
        Self {
            octets_received: self.octets_received - before.octets_received,
            octets_sent: self.octets_sent - before.octets_sent,
            packets_received: self.packets_received - before.packets_received,
            packets_sent: self.packets_sent - before.packets_sent,
        }
    }

    /// The octets of both directions.
    pub fn octets(self) -> u64 {
        self.octets_received.saturating_add(self.octets_sent)
    }
}

/// A time of which the amounts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// In minutes.
    Hour,
    /// In quarters of an hour.
    Day,
    /// 31 days, in quarters of a day.
    Month,
}

impl Span {
    /// All.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The length of a period in seconds, and the number of periods.
    pub const fn periods(self) -> (u64, usize) {
        match self {
            Self::Hour => (60, 60),
            Self::Day => (900, 96),
            Self::Month => (21_600, 124),
        }
    }
}

/// The amounts of one [`Span`]. The slot of a period is its number, modulo their number.
#[derive(Clone, Debug)]
struct Ring {
    span: Span,
    /// The number of the latest period.
    latest: u64,
    slots: Box<[Amount]>,
}

impl Ring {
    fn new(span: Span) -> Self {
        let (_, count) = span.periods();
        Self { span, latest: 0, slots: vec![Amount::default(); count].into() }
    }

    /// Adds `amount` at this second, and forgets what is too old then.
    fn add(&mut self, secs: u64, amount: Amount) {
        let (period, count) = self.span.periods();
        let (now, count) = (secs / period, count as u64);
        for number in self.latest.max(now.saturating_sub(count)) + 1..=now {
            self.slots[(number % count) as usize] = Amount::default();
        }
        self.latest = self.latest.max(now);
        self.slots[(self.latest % count) as usize] += amount;
    }

    /// The amounts of the periods until this second, the latest last.
    fn until(&self, secs: u64) -> Vec<Amount> {
        let (period, count) = self.span.periods();
        let (now, count) = (secs / period, count as u64);
        let known = |number: u64| number <= self.latest && number + count > self.latest;
        (0..count)
            .rev()
            .map(|age| now.checked_sub(age).filter(|number| known(*number)))
            .map(|number| number.map_or(Amount::default(), |number| self.slots[(number % count) as usize]))
            .collect()
    }
}

/// The amounts of one end in all spans.
#[derive(Clone, Debug)]
pub struct Series {
    rings: [Ring; 3],
    /// When something was added last, in seconds.
    active: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { rings: Span::ALL.map(Ring::new), active: 0 }
    }
}

impl Series {
    /// The octets that a series takes.
    pub const OCTETS: usize = {
        let mut octets = size_of::<Self>();
        let mut at = 0;
        while at < Span::ALL.len() {
            octets += Span::ALL[at].periods().1 * size_of::<Amount>();
            at += 1;
        }
        octets
    };

    fn add(&mut self, secs: u64, amount: Amount) {
        self.rings.iter_mut().for_each(|ring| ring.add(secs, amount));
        self.active = secs;
    }

    /// The amounts of `span` until this second, the latest last.
    pub fn until(&self, span: Span, secs: u64) -> Vec<Amount> {
        let ring = self.rings.iter().find(|ring| ring.span == span);
        ring.map(|ring| ring.until(secs)).unwrap_or_default()
    }

    /// The sum of [`Series::until`].
    pub fn sum(&self, span: Span, secs: u64) -> Amount {
        let mut sum = Amount::default();
        self.until(span, secs).into_iter().for_each(|amount| sum += amount);
        sum
    }
}

// The history of a host takes at most 20 KB.
const _: () = assert!(Series::OCTETS <= 20_000);

/// The amounts of the WAN and of the LAN's hosts. Seconds are those since the gateway began.
#[derive(Debug, Default)]
pub struct History {
    /// The gateway's on the WAN: what it received there, and what it sent.
    pub wan: Series,
    hosts: BTreeMap<IpAddr, Series>,
}

impl History {
    /// Adds what went over the WAN until this second.
    pub fn add_wan(&mut self, secs: u64, amount: Amount) {
        self.wan.add(secs, amount);
    }

    /// Adds what `host` received and sent until this second.
    pub fn add(&mut self, secs: u64, host: IpAddr, amount: Amount) {
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(&host) {
            let silent = self.hosts.iter().min_by_key(|(_, series)| series.active).map(|(host, _)| *host);
            silent.and_then(|silent| self.hosts.remove(&silent));
        }
        self.hosts.entry(host).or_default().add(secs, amount);
    }

    /// The hosts with their amounts.
    pub fn hosts(&self) -> impl Iterator<Item = (IpAddr, &Series)> {
        self.hosts.iter().map(|(host, series)| (*host, series))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(octets: u64) -> Amount {
        Amount { octets_received: octets, octets_sent: 1, packets_received: 2, packets_sent: 3 }
    }

    #[test]
    fn amounts_are_in_the_periods_in_which_they_came_until_those_are_too_old() {
        let mut series = Series::default();
        series.add(5, received(1));
        series.add(59, received(2));
        series.add(60, received(4));
        let hour = |series: &Series, secs| -> Vec<u64> {
            series.until(Span::Hour, secs).iter().map(|amount| amount.octets_received).collect()
        };
        assert_eq!(hour(&series, 60)[57..], [0, 3, 4]);
        assert_eq!(hour(&series, 119)[57..], [0, 3, 4]);
        assert_eq!(hour(&series, 180)[55..], [0, 3, 4, 0, 0], "nothing came since");
        assert_eq!(hour(&series, 3_600 + 59)[..2], [4, 0], "the first minute is over");
        assert_eq!(series.sum(Span::Hour, 3_599).octets_received, 7);
        assert_eq!(series.sum(Span::Hour, 10_000), Amount::default());
        assert_eq!(
            series.sum(Span::Day, 10_000),
            Amount { octets_received: 7, octets_sent: 3, packets_received: 6, packets_sent: 9 }
        );
        // After a pause longer than the span nothing old comes back.
        series.add(60 * 500, received(8));
        assert_eq!(series.sum(Span::Hour, 60 * 500).octets_received, 8);
        assert_eq!(series.sum(Span::Month, 60 * 500).octets_received, 15);
        assert_eq!(series.sum(Span::Month, 60 * 500 + 31 * 86_400), Amount::default());
    }

    #[test]
    fn counters_that_begin_anew_count_in_whole() {
        assert_eq!(received(9).since(received(4)).octets_received, 5);
        assert_eq!(received(9).since(received(9)), Amount::default());
        assert_eq!(received(3).since(received(4)), received(3));
    }

    #[test]
    fn of_too_many_hosts_the_one_that_was_silent_for_longest_is_forgotten() {
        let host = |number: usize| IpAddr::from([10, 0, (number / 256) as u8, (number % 256) as u8]);
        let mut history = History::default();
        for number in 0..HOSTS_MAX {
            history.add(number as u64, host(number), received(1));
        }
        history.add(5_000, host(0), received(1));
        history.add(5_001, host(HOSTS_MAX), received(1));
        assert_eq!(history.hosts().count(), HOSTS_MAX);
        let has = |number| history.hosts().any(|(known, _)| known == host(number));
        assert!(has(0) && !has(1) && has(2) && has(HOSTS_MAX));
    }
}
