//! The outcome of a run: the promises, the expectations, and every machine's record.
//!
//! ```
//! use std::time::Duration;
//!
//! use gatepost_sim::scenario::office;
//!
//! let outcome = office().pcs(2).lasting(Duration::from_secs(15)).run("two", 1, None).expect("it can be built");
//! assert!(outcome.passed(), "{outcome}");
//! assert!(outcome.account.every_pc(|diary| diary.address.is_some()).is_ok());
//! println!("{} frames, trace {:032x}", outcome.frames, outcome.trace_hash);
//! ```

use std::any::Any;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::members::{ATTACKER, SPOOFER, VISITOR};
use crate::machine::Record;
use crate::machine::attacker::AttackRecord;
use crate::machine::internet::InternetRecord;
use crate::machine::pc::Diary;
use crate::machine::prober::ProberRecord;
use crate::machine::spoofer::SpooferRecord;
use crate::machine::visitor::VisitAccount;
use crate::world::observer::Violation;

/// The machines' records in the end.
#[derive(Clone, Debug)]
pub struct Account {
    /// Every machine, in the order of the office's list.
    pub machines: Vec<MachineAccount>,
}

/// A machine's record in the end.
#[derive(Clone, Debug)]
pub struct MachineAccount {
    /// Its name.
    pub name: String,
    /// Its record.
    pub record: Arc<dyn Record>,
}

impl Account {
    /// The record of the machine, or of the internet's server, called `name`.
    ///
    /// # Panics
    ///
    /// There is none, or its record has another type.
    pub fn record<T: Record>(&self, name: &str) -> &T {
        let machines = self.machines.iter().map(|machine| (&machine.name, &machine.record));
        let mut named = machines.chain(self.internet().servers.iter().map(|(name, record)| (name, record)));
        let record = named.find(|(called, _)| *called == name).map(|(_, record)| record);
        let record = record.unwrap_or_else(|| panic!("there is no machine or server {name:?}"));
        downcast(record).unwrap_or_else(|| panic!("{name:?} tells something else: {record:?}"))
    }

    /// The record of the PC called `name`.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn pc(&self, name: &str) -> &Diary {
        self.record(name)
    }

    /// Every PC by name, with its record.
    pub fn pcs(&self) -> impl Iterator<Item = (&str, &Diary)> {
        let machines = self.machines.iter();
        machines.filter_map(|machine| Some((machine.name.as_str(), downcast(&machine.record)?)))
    }

    /// Checks the record of every PC.
    ///
    /// # Errors
    ///
    /// The first for which `holds` does not.
    pub fn every_pc(&self, holds: impl Fn(&Diary) -> bool) -> Result<(), String> {
        match self.pcs().find(|(_, diary)| !holds(diary)) {
            Some((name, diary)) => Err(format!("{name}:\n{diary}")),
            None => Ok(()),
        }
    }

    /// Checks the record of every prober.
    ///
    /// # Errors
    ///
    /// The first for which `holds` does not.
    pub fn every_prober(&self, holds: impl Fn(&ProberRecord) -> bool) -> Result<(), String> {
        let probers =
            self.machines.iter().filter_map(|machine| Some((&machine.name, downcast(&machine.record)?)));
        match probers.into_iter().find(|(_, record)| !holds(record)) {
            Some((name, record)) => Err(format!("{name}: {record}")),
            None => Ok(()),
        }
    }

    /// Checks that the chats of the first `pcs` PCs have gone on: no chat broke, and at least `lines` of each came
    /// back. A dead chat breaks only when its PC notices; missing lines show it earlier.
    ///
    /// # Errors
    ///
    /// The first PC whose chat has not.
    pub fn chats_went_on(&self, pcs: usize, lines: u64) -> Result<(), String> {
        let went_on = |diary: &Diary| diary.chats_broken == 0 && diary.chat_lines >= lines;
        match self.pcs().take(pcs).find(|(_, diary)| !went_on(diary)) {
            Some((name, diary)) => Err(format!("{name}:\n{diary}")),
            None => Ok(()),
        }
    }

    /// The gateway's address with the provider, as far as the provider knows.
    pub fn customer(&self) -> Option<Ipv4Addr> {
        self.internet().customer
    }

    /// The pages that the visitor on the WAN got from each server of the office.
    pub fn visits(&self) -> &[VisitAccount] {
        self.record::<Vec<_>>(VISITOR)
    }

    /// The results of the attacker's shots.
    pub fn attack(&self) -> &AttackRecord {
        self.record(ATTACKER)
    }

    /// Tricks that the spoofer played.
    pub fn tricks(&self) -> u64 {
        self.record::<SpooferRecord>(SPOOFER).played
    }

    fn internet(&self) -> &InternetRecord {
        let records = self.machines.iter().find_map(|machine| downcast(&machine.record));
        records.expect("every world has an internet")
    }
}

fn downcast<T: Record>(record: &Arc<dyn Record>) -> Option<&T> {
    (&**record as &dyn Any).downcast_ref()
}

/// Several accounts of one kind, below one another.
pub fn in_lines<T: ToString>(accounts: impl IntoIterator<Item = T>) -> String {
    let lines: Vec<_> = accounts.into_iter().map(|account| account.to_string()).collect();
    lines.join("\n")
}

/// A run's result.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The random choices.
    pub options: String,
    /// How long the office ran, in its own time.
    pub simulated: Duration,
    /// Frames on all segments.
    pub frames: u64,
    /// The hash over all of them, with their times.
    pub trace_hash: u128,
    /// The promises watched, by name.
    pub promises: Vec<(&'static str, &'static str)>,
    /// The promises broken.
    pub violations: Vec<Violation>,
    /// The expectations that failed, and why.
    pub expectations: Vec<(String, Result<(), String>)>,
    /// Why it ended early: the gateway broke down, or something panicked.
    pub breakdown: Option<String>,
    /// Whether the watcher ended it early; the run has no expectations then.
    pub is_cut_short: bool,
    /// The machines' records.
    pub account: Account,
}

impl Outcome {
    /// Whether every promise was kept and every expectation met.
    pub fn passed(&self) -> bool {
        self.breakdown.is_none()
            && self.violations.is_empty()
            && self.expectations.iter().all(|(_, result)| result.is_ok())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} with seed {}: {}", self.scenario, self.seed, self.options)?;
        for (name, promise) in &self.promises {
            let kept = self.violations.iter().all(|violation| violation.checker != *name);
            writeln!(f, "  {} {name}: {promise}", mark(kept))?;
        }
        for Violation { at, checker, what } in &self.violations {
            writeln!(f, "    {at} {checker}: {what}")?;
        }
        for (what, result) in &self.expectations {
            writeln!(f, "  {} {what}", mark(result.is_ok()))?;
            if let Err(why) = result {
                for line in why.lines() {
                    writeln!(f, "      {line}")?;
                }
            }
        }
        if let Some(why) = &self.breakdown {
            writeln!(f, "  {} it broke down: {why}", mark(false))?;
        }
        let sum = |count: fn(&Diary) -> u64| self.account.pcs().map(|(_, diary)| count(diary)).sum::<u64>();
        writeln!(
            f,
            "  {} pages, {} failed; {} names, {} failed; {} lines of chat",
            sum(|diary| diary.pages),
            sum(|diary| diary.pages_failed),
            sum(|diary| diary.lookups),
            sum(|diary| diary.lookups_failed),
            sum(|diary| diary.chat_lines),
        )?;
        write!(
            f,
            "  {} s simulated, {} frames, trace {:032x}",
            self.simulated.as_secs(),
            self.frames,
            self.trace_hash
        )
    }
}

fn mark(passed: bool) -> &'static str {
    if passed { "✓" } else { "✗" }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::Instant;

    use super::*;

    #[test]
    fn an_expectation_that_failed_is_told_in_lines_that_fit_a_terminal() {
        let visits = vec![VisitAccount { pages: 1, failed: 2, last_page_at: Some(Instant::from_secs(7)) }];
        let tells = |name: &str, record| MachineAccount { name: name.to_owned(), record };
        let internet = InternetRecord { customer: None, servers: Vec::new() };
        let machines = vec![
            tells("pc-3", Arc::new(Diary::default())),
            tells(VISITOR, Arc::new(visits)),
            tells("internet", Arc::new(internet)),
        ];
        let account = Account { machines };
        let told = account.every_pc(|diary| diary.pages > 0).expect_err("no page");
        assert!(account.chats_went_on(1, 0).is_ok() && account.chats_went_on(1, 1).is_err(), "a dead chat");
        let expectations =
            vec![("pages".to_owned(), Err(told)), ("visits".to_owned(), Err(in_lines(account.visits())))];
        let outcome = Outcome {
            scenario: "test".to_owned(),
            seed: 1,
            options: String::new(),
            simulated: Duration::ZERO,
            frames: 0,
            trace_hash: 0,
            promises: Vec::new(),
            violations: Vec::new(),
            expectations,
            breakdown: None,
            is_cut_short: false,
            account,
        };
        let text = outcome.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.contains("✗ pages\n      pc-3:\n      no address"), "{text}");
        assert!(text.contains("      1 pages, the last at 7.000000s, and 2 that failed\n"), "{text}");
    }
}
