//! In how many seeds each thing occurs that an office can contain, so that what is rare can be seen.

use std::collections::BTreeMap;
use std::io::Write;

use super::many::Seeds;
use super::plan::Plan;
use super::{Ending, Trouble};

/// Prints for each thing the number of `seeds` whose office contains it. Runs none of them.
///
/// # Errors
///
/// An office cannot be built, or its report cannot be written.
pub fn run(plan: &Plan<'_>, seeds: Seeds, out: &mut dyn Write) -> Result<Ending, Trouble> {
    let mut counts = BTreeMap::<String, u64>::new();
    for seed in (0..).map_while(|index| seeds.get(index)) {
        let office = plan.office(seed).map_err(Trouble::Usage)?;
        office.contents().into_iter().for_each(|thing| *counts.entry(thing).or_default() += 1);
    }
    writeln!(out, "of {} seeds of {}:", seeds.len(), plan.scenario.name).map_err(Trouble::Output)?;
    let width = counts.keys().map(String::len).max().unwrap_or_default();
    for (thing, count) in counts {
        writeln!(out, "{thing:width$}  {count:>5}").map_err(Trouble::Output)?;
    }
    Ok(Ending::Passed)
}
