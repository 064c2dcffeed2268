//! The line that shows progress on a terminal, and the stopwatch beside it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use gatepost::port::clock::SystemClock;
use gatepost_ground::Instant;
use gatepost_services::clock::Clock;

/// How often the line is written anew.
pub const REFRESH: Duration = Duration::from_millis(200);

/// One line at the bottom of standard output; nothing if that is no terminal.
pub struct Screen {
    is_terminal: bool,
    clock: SystemClock,
    next_at: Instant,
}

impl Screen {
    /// An empty line.
    pub fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), clock: SystemClock::new(), next_at: Instant::ZERO }
    }

    /// Shows `line`, if the one before has stood for a while.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.is_terminal && self.clock.now() >= self.next_at {
            self.next_at = self.clock.now() + REFRESH;
            write_now(&format!("\r{}\x1b[K", line()));
        }
    }

    /// Makes room for what is printed now.
    pub fn clear(&mut self) {
        if self.is_terminal {
            self.next_at = Instant::ZERO;
            write_now("\r\x1b[K");
        }
    }
}

fn write_now(text: &str) {
    let mut out = io::stdout();
    // A progress line that cannot be written is lost without harm.
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Measures how fast the simulation is.
pub struct Stopwatch {
    clock: SystemClock,
}

impl Stopwatch {
    /// It runs.
    pub fn start() -> Self {
        Self { clock: SystemClock::new() }
    }

    /// How much faster than real time `simulated` has passed.
    pub fn times_real(&self, simulated: Duration) -> String {
        let real = self.elapsed().as_secs_f64();
        format!("{:.0} x real time", simulated.as_secs_f64() / real)
    }

    /// The line about speed that a summary ends with.
    pub fn speed(&self, simulated: Duration, frames: u64) -> String {
        let real = self.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let per_minute = frames as f64 / real * 60.0;
        let times = self.times_real(simulated);
        format!("  speed: {real:.1} s, {times}, {per_minute:.0} frames a minute")
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(Instant::ZERO).max(Duration::from_millis(1))
    }
}
