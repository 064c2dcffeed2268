//! Congestion control: CUBIC (RFC 9438) with slow start (RFC 5681), in integers, so that every build computes the
//! same.

use std::time::Duration;

use gatepost_ground::Instant;

/// The largest window, in octets: more than the largest send buffer can use.
const WINDOW_MAX: u64 = 1 << 24;

/// The congestion window of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion {
    /// The window, in octets.
    window: u64,
    /// The slow-start threshold, in octets: below it the window grows by the acknowledged octets.
    threshold: u64,
    segment_size: u64,
    /// W_max: the window before the last reduction, or less by fast convergence. (RFC 9438, section 4.7)
    w_max: u64,
    epoch: Option<Epoch>,
}

/// Growth since the last reduction.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// t_epoch.
    began: Instant,
    /// K: the time at which the window reaches W_max, in milliseconds after the reduction.
    k_millis: u64,
    /// W_est: the window that Reno would have, in octets.
    w_est: u64,
}

impl Congestion {
    /// The initial window of a connection.
    pub(super) fn new(segment_size: u64) -> Self {
        // RFC 6928, section 2
        let window = (10 * segment_size).min((2 * segment_size).max(14_600));
        Self { window, threshold: u64::MAX, segment_size, w_max: 0, epoch: None }
    }

    /// The congestion window, in octets.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Notes that the SYN was lost. (RFC 5681, section 3.1)
    pub(super) fn handshake_lost(&mut self) {
        self.window = self.segment_size;
    }

    /// Notes that nothing was sent for a retransmission time-out. (RFC 5681, section 4.1)
    pub(super) fn idled(&mut self) {
        self.window = self.window.min(Self::new(self.segment_size).window);
        self.epoch = None;
    }

    /// Notes that `octets` arrived while the window limited sending.
    pub(super) fn arrived(&mut self, now: Instant, octets: u64, rtt: Duration) {
        if self.window < self.threshold {
            self.window += octets; // RFC 5681, section 3.1
        } else {
            self.avoid(now, octets, rtt);
        }
        self.window = self.window.min(WINDOW_MAX);
    }

    /// Notes the loss of a segment. (RFC 9438, section 4.6)
    pub(super) fn lost(&mut self) {
        // Fast convergence: a connection that has not reached its old window leaves room for others.
        // RFC 9438, section 4.7
        self.w_max = if self.window < self.w_max { self.window * 17 / 20 } else { self.window };
        self.threshold = (self.window * 7 / 10).max(2 * self.segment_size);
        self.window = self.threshold;
        self.epoch = None;
    }

    /// Notes the first time-out of a segment. (RFC 5681, section 3.1)
    pub(super) fn timed_out(&mut self) {
        self.lost();
        self.window = self.segment_size;
    }

    /// Notes a repeated time-out.
    pub(super) fn timed_out_again(&mut self) {
        self.window = self.segment_size;
    }

    /// Congestion avoidance. (RFC 9438, section 4)
    fn avoid(&mut self, now: Instant, octets: u64, rtt: Duration) {
        let segment_size = self.segment_size;
        let window = self.window;
        let w_max = self.w_max.max(window);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            began: now,
            // RFC 9438, section 4.2: K with C = 0.4
            k_millis: cube_root((w_max - window).saturating_mul(10_000_000_000) / (4 * segment_size)),
            w_est: window,
        });
        // RFC 9438, section 4.3: W_est grows by 9/17 segment (alpha_cubic) for each window of acknowledged octets while
        // it is below W_max, and by one segment afterwards.
        let growth = octets * segment_size / window;
        epoch.w_est += if epoch.w_est < w_max { growth * 9 / 17 } else { growth };
        let after = |elapsed: Duration| {
            let millis = i128::try_from(elapsed.as_millis().min(1 << 24)).unwrap_or(0);
            let distance = millis - i128::from(epoch.k_millis);
            let grown = i128::from(segment_size) * 4 * distance.pow(3) / 10_000_000_000;
            u64::try_from(i128::from(w_max) + grown).unwrap_or(0)
        };
        let elapsed = now.since(epoch.began);
        if after(elapsed) < epoch.w_est {
            self.window = window.max(epoch.w_est);
        } else {
            // RFC 9438, section 4.4; RFC 9438, section 4.5
            let target = after(elapsed + rtt).clamp(window, window * 3 / 2);
            self.window += (target - window) * octets / window;
        }
    }
}

/// The integer below the cube root.
fn cube_root(value: u64) -> u64 {
    let mut root: u64 = 0;
    for bit in (0..22).rev() {
        let larger = root | 1 << bit;
        if larger.pow(3) <= value {
            root = larger;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;
    const RTT: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A window of so many segments, and a loss now.
    fn reduced_from(segments: u64) -> Congestion {
        let mut congestion = Congestion::new(SEGMENT);
        congestion.window = segments * SEGMENT;
        congestion.lost();
        congestion
    }

    #[test]
    fn cube_roots_are_rounded_down() {
        for (value, root) in [(0, 0), (1, 1), (7, 1), (8, 2), (26, 2), (27, 3), (1 << 60, 1 << 20)] {
            assert_eq!(cube_root(value), root, "{value}");
        }
    }

    /// RFC 6928, section 2: Ten segments begin, and fewer of large ones.
    #[test]
    fn rfc6928_2_ten_segments_begin_and_fewer_of_large_ones() {
        for (size, window) in [(536, 5360), (1460, 14_600), (2000, 14_600), (9000, 18_000)] {
            assert_eq!(Congestion::new(size).window(), window, "{size}");
        }
    }

    /// RFC 5681, section 3.1: The window doubles in slow start and a time-out begins anew.
    #[test]
    fn rfc5681_3_1_the_window_doubles_in_slow_start_and_a_time_out_begins_anew() {
        let mut congestion = Congestion::new(SEGMENT);
        congestion.arrived(at(0), 10 * SEGMENT, RTT);
        assert_eq!(congestion.window(), 20 * SEGMENT);
        congestion.timed_out();
        assert_eq!(congestion.window(), SEGMENT);
        for _ in 0..13 {
            let window = congestion.window();
            congestion.arrived(at(0), SEGMENT, RTT);
            assert_eq!(congestion.window(), window + SEGMENT, "below the threshold");
        }
        congestion.arrived(at(0), SEGMENT, RTT);
        assert!(congestion.window() < 15 * SEGMENT, "avoidance begins at seven tenths");
    }

    /// RFC 9438, section 4.6: A loss leaves seven tenths and two segments.
    #[test]
    fn rfc9438_4_6_a_loss_leaves_seven_tenths_and_two_segments() {
        assert_eq!(reduced_from(100).window(), 70 * SEGMENT);
        let mut congestion = Congestion::new(SEGMENT);
        (0..50).for_each(|_| congestion.lost());
        assert_eq!(congestion.window(), 2 * SEGMENT);
    }

    /// RFC 9438, section 4.2: The window is where it was before after K.
    #[test]
    fn rfc9438_4_2_the_window_is_where_it_was_before_after_k() {
        let mut congestion = reduced_from(1000);
        // K is the cube root of 300 / 0.4, in seconds: 9.086.
        let mut now = 0;
        while now < 9086 {
            let window = congestion.window();
            congestion.arrived(at(now), window, RTT);
            now += 50;
        }
        let window = congestion.window();
        assert!((990 * SEGMENT..=1010 * SEGMENT).contains(&window), "{window}");
    }

    /// RFC 9438, section 4.3: A short path grows as Reno would.
    #[test]
    fn rfc9438_4_3_a_short_path_grows_as_reno_would() {
        let mut congestion = reduced_from(20);
        let begun = congestion.window();
        for round in 0..10 {
            let window = congestion.window();
            congestion.arrived(at(round), window, Duration::from_millis(1));
        }
        let grown = congestion.window() - begun;
        assert!((5 * SEGMENT..=6 * SEGMENT).contains(&grown), "{grown}");
    }

    /// RFC 5681, section 4.1: After a pause the window is that of the beginning.
    #[test]
    fn rfc5681_4_1_after_a_pause_the_window_is_that_of_the_beginning() {
        let mut congestion = Congestion::new(SEGMENT);
        congestion.arrived(at(0), 100 * SEGMENT, RTT);
        congestion.idled();
        assert_eq!(congestion.window(), 10 * SEGMENT);
    }
}
