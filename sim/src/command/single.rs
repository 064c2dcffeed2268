//! One seed.

use std::io::Write;
use std::path::Path;

use super::plan::Plan;
use super::screen::{Screen, Stopwatch};
use super::{Ending, Trouble};

/// Runs one seed and prints everything about it.
///
/// # Errors
///
/// The run fails, or its report cannot be written.
pub fn run(plan: &Plan<'_>, seed: u64, pcap: Option<&Path>, out: &mut dyn Write) -> Result<Ending, Trouble> {
    let (mut screen, stopwatch) = (Screen::new(), Stopwatch::start());
    let result = plan.run(seed, pcap, &mut |progress| {
        screen.show(|| {
            format!(
                "{} of {} s, {}, {} hosts, {} frames, {} events",
                progress.simulated.as_secs(),
                progress.lasting.as_secs(),
                stopwatch.times_real(progress.simulated),
                progress.hosts,
                progress.frames,
                progress.events,
            )
        });
    });
    screen.clear();
    let outcome = result?;
    writeln!(out, "{outcome}")?;
    eprintln!("{}", stopwatch.speed(outcome.simulated, outcome.frames));
    if !outcome.passed() {
        writeln!(out, "  repeat it with: {}", plan.command(seed))?;
        if pcap.is_none() {
            writeln!(out, "  {}", plan.repeat(&outcome))?;
        }
        return Ok(Ending::Failed);
    }
    if plan.is_stopped() && outcome.is_cut_short {
        writeln!(out, "  interrupted")?;
        return Ok(Ending::Interrupted);
    }
    Ok(Ending::Passed)
}
