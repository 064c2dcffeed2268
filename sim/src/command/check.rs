//! One seed of a scenario, as a test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::plan::Plan;
use crate::scenario::{Catalog, Outcome};

/// Runs `seed` of the scenario called `name`, for as long as the scenario takes. A run that fails is repeated with a
/// capture in the directory `captures`, which is made if need be.
///
/// # Errors
///
/// There is no such scenario, its office cannot be built, a promise was broken, or an expectation not met: all that
/// there is to tell, with the command that repeats the run.
pub fn check(catalog: &Catalog, name: &str, seed: u64, captures: &Path) -> Result<Outcome, String> {
    let scenario = catalog.find(name).ok_or_else(|| format!("there is no scenario {name:?}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let package = catalog.package;
    let plan = Plan { package, scenario, minutes: None, workers: None, stop_after: None, captures, stop };
    let outcome = plan.run(seed, None, &mut |_| ())?;
    if outcome.passed() {
        return Ok(outcome);
    }
    let (command, repeat) = (plan.command(seed), plan.repeat(&outcome));
    Err(format!("{outcome}\n  repeat it with: {command}\n  {repeat}"))
}
