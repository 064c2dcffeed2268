//! The traffic at the hosts' devices and the gateway's counters, as lines for people.

use std::fs;

use gatepost_ground::Instant;
use serde_json::Value;

use super::protocol::DEVICE;
use super::screen::{Line, Style};
use super::speed::rate;

/// The least time between two looks that make a rate, in microseconds.
const INTERVAL_MIN_MICROS: u64 = 500_000;
/// The gateway's counters that are shown, with a word of explanation. They come from `show counters`.
const COUNTERS: [(&str, &str); 9] = [
    ("received", "came in at the ports, and from the gateway itself"),
    ("transmitted", "went out of one port"),
    ("flooded", "went out of all LAN ports: broadcasts, unknown MACs"),
    ("local", "were for the gateway itself: its DHCP and DNS"),
    ("consumed", "were ARP, answered or learnt from"),
    ("held", "wait for an ARP reply or for a first fragment"),
    ("handed_over", "went from one worker to the owner of their flow"),
    ("dropped", "went no further; `lab show drops` says why"),
    ("made", "the gateway made besides: ARP, errors, fragments"),
];

/// Octets that have passed a host's device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Octets {
    received: u64,
    sent: u64,
}

/// A host of the lab, with what passed its device between two looks.
#[derive(Debug)]
struct Host {
    name: String,
    pid: u32,
    seen: Octets,
    passed: Octets,
}

/// The traffic of all hosts.
#[derive(Debug)]
pub struct Traffic {
    hosts: Vec<Host>,
    looked_at: Instant,
    /// The time between the last two looks.
    interval_micros: u64,
}

impl Traffic {
    /// Of hosts with these names and processes.
    pub fn new(now: Instant, hosts: impl IntoIterator<Item = (String, u32)>) -> Self {
        let host = |(name, pid)| Host { name, pid, seen: look(pid), passed: Octets::default() };
        Self { hosts: hosts.into_iter().map(host).collect(), looked_at: now, interval_micros: 0 }
    }

    /// Looks at all devices again, unless that has just been done.
    pub fn look(&mut self, now: Instant) {
        self.look_with(now, look);
    }

    fn look_with(&mut self, now: Instant, look: impl Fn(u32) -> Octets) {
        let interval = u64::try_from(now.since(self.looked_at).as_micros()).unwrap_or(u64::MAX);
        if interval < INTERVAL_MIN_MICROS {
            return;
        }
        (self.looked_at, self.interval_micros) = (now, interval);
        for host in &mut self.hosts {
            let now = look(host.pid);
            host.passed = Octets {
                received: now.received.saturating_sub(host.seen.received),
                sent: now.sent.saturating_sub(host.seen.sent),
            };
            host.seen = now;
        }
    }

    /// A title and a line for each host, of at most `rows` lines in all. Where there is not room for every host,
    /// the busiest are shown.
    pub fn lines(&self, rows: usize) -> Vec<Line> {
        let mut lines = vec![Line::of(Style::Title, format!("  {:<12}{:<14}{:<14}", "host", "down", "up"))];
        let mut order: Vec<_> = self.hosts.iter().enumerate().collect();
        let room = rows.saturating_sub(1);
        let is_crowded = order.len() > room;
        if is_crowded {
            order.sort_by_key(|(_, host)| std::cmp::Reverse(host.passed.received + host.passed.sent));
            order.truncate(room.saturating_sub(1));
            order.sort_by_key(|(number, _)| *number);
        }
        lines.extend(order.iter().map(|(_, host)| {
            let [down, up] =
                [host.passed.received, host.passed.sent].map(|octets| rate(octets, self.interval_micros));
            Line::plain(format!("  {:<12}{down:<14}{up:<14}", host.name))
        }));
        if is_crowded {
            lines.push(Line::of(
                Style::Faint,
                format!("  and {} hosts more, less busy", self.hosts.len() - order.len()),
            ));
        }
        lines.truncate(rows);
        lines
    }
}

/// The gateway's counters that are not 0, each with a word of explanation, then why most frames were dropped; at
/// most `rows` lines. `counters` and `drops` are the reports of these names.
pub fn counter_lines(counters: &Value, drops: &Value, rows: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (key, meaning) in COUNTERS {
        if let Some(count) = counters[key].as_u64().filter(|count| *count > 0) {
            let style = if key == "dropped" { Style::Bad } else { Style::Plain };
            let mut line = Line::plain("  ");
            line.push(style, format!("{:<12}{count:>12}", key.replace('_', "-")));
            line.push(Style::Faint, format!("  {meaning}"));
            lines.push(line);
        }
    }
    let drops = drops["drops"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut reasons: Vec<_> = drops
        .iter()
        .filter_map(|drop| {
            Some((drop["count"].as_u64()?, drop["reason"].as_str()?, drop["meaning"].as_str()?))
        })
        .filter(|(count, ..)| *count > 0)
        .collect();
    reasons.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    for (count, reason, meaning) in reasons {
        let mut line = Line::plain(format!("    {reason} {count}"));
        line.push(Style::Faint, format!("  {meaning}"));
        lines.push(line);
    }
    lines.truncate(rows);
    lines
}

/// What has passed the device of the host with process `pid`; 0 while there is no device.
fn look(pid: u32) -> Octets {
    parse(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

/// The line of [`DEVICE`] in `/proc/net/dev`: eight numbers for what was received, octets first, then eight for
/// what was sent. (proc_pid_net(5))
fn parse(devices: &str) -> Octets {
    let numbers = devices.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'));
    let mut numbers =
        numbers.unwrap_or_default().split_whitespace().map(|number| number.parse().unwrap_or(0));
    Octets { received: numbers.next().unwrap_or(0), sent: numbers.nth(7).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.render(80, false)).collect()
    }

    fn traffic(hosts: &[(&str, u64, u64)]) -> Traffic {
        let host = |(name, received, sent): &(&str, u64, u64)| Host {
            name: (*name).to_owned(),
            pid: 0,
            seen: Octets::default(),
            passed: Octets { received: *received, sent: *sent },
        };
        let hosts = hosts.iter().map(host).collect();
        Traffic { hosts, looked_at: Instant::ZERO, interval_micros: 1_000_000 }
    }

    #[test]
    fn the_kernels_table_of_devices_is_read() {
        let table = "Inter-|   Receive |  Transmit\n face |bytes    packets errs\n    \
                     lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n  eth0: 1250 5 0 0 0 0 0 0 77 8 0 0 0 0 0 0\n";
        assert_eq!(parse(table), Octets { received: 1250, sent: 77 });
        assert_eq!(parse(""), Octets::default());
        assert_eq!(parse("eth0: 5"), Octets { received: 5, sent: 0 });
    }

    #[test]
    fn every_host_has_its_rates() {
        let lines = texts(&traffic(&[("pc1", 125, 0), ("internet", 0, 125_000)]).lines(9));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[1].trim_end(), "  pc1         1.00 kbit/s   0 bit/s");
        assert_eq!(lines[2].trim_end(), "  internet    0 bit/s       1.00 Mbit/s");
    }

    #[test]
    fn what_passed_is_what_came_since_the_last_look() {
        let mut traffic = traffic(&[("pc1", 0, 0)]);
        let mut passed = |millis, received| {
            traffic.look_with(Instant::from_millis(millis), |_| Octets { received, sent: 2 * received });
            let Octets { received, sent } = traffic.hosts[0].passed;
            (received, sent, traffic.interval_micros)
        };
        assert_eq!(passed(1_000, 100), (100, 200, 1_000_000));
        assert_eq!(passed(1_499, 150), (100, 200, 1_000_000), "too soon for a rate");
        assert_eq!(passed(1_500, 160), (60, 120, 500_000));
        assert_eq!(passed(2_500, 0), (0, 0, 1_000_000), "another device");
    }

    #[test]
    fn the_busiest_are_shown_where_there_is_no_room_for_all() {
        let hosts = traffic(&[("pc1", 1, 0), ("pc2", 0, 5), ("pc3", 0, 0), ("pc4", 9, 9)]);
        let lines = texts(&hosts.lines(4));
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[1].contains("pc2") && lines[2].contains("pc4"), "{lines:?}");
        assert!(lines[3].contains("2 hosts more"), "{lines:?}");
        assert_eq!(hosts.lines(0).len(), 0);
        assert_eq!(hosts.lines(1).len(), 1);
    }

    #[test]
    fn counters_are_explained_and_drops_have_their_reasons() {
        let counters = json!({ "received": 12, "dropped": 3, "held": 0, "handed_over": 1 });
        let drops = json!({ "drops": [
            { "reason": "martian", "count": 1, "meaning": "from nowhere" },
            { "reason": "no-route", "count": 0, "meaning": "to nowhere" },
            { "reason": "unsolicited", "count": 2, "meaning": "nobody asked" },
        ] });
        let lines = texts(&counter_lines(&counters, &drops, 9));
        let expected = ["received", "handed-over", "dropped", "unsolicited 2  nobody asked", "martian 1"];
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        assert!(lines.iter().zip(expected).all(|(line, part)| line.contains(part)), "{lines:#?}");
        assert_eq!(counter_lines(&counters, &drops, 2).len(), 2);
        assert!(counter_lines(&Value::Null, &Value::Null, 9).is_empty());
    }
}
