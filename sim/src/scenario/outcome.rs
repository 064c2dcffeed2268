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

/// What the machines have to tell in the end.
#[derive(Clone, Debug)]
pub struct Account {
    /// Every machine, in the order of the office's list.
    pub machines: Vec<MachineAccount>,
}

/// What a machine has to tell in the end.
#[derive(Clone, Debug)]
pub struct MachineAccount {
    /// Its name.
    pub name: String,
    /// What it has to tell.
    pub record: Arc<dyn Record>,
}

impl Account {
    /// What the machine called `name` has to tell, or a server of the internet's.
    ///
    /// # Panics
    ///
    /// There is none, or it tells something else.
    pub fn record<T: Record>(&self, name: &str) -> &T {
        let machines = self.machines.iter().map(|machine| (&machine.name, &machine.record));
        let mut named = machines.chain(self.internet().servers.iter().map(|(name, record)| (name, record)));
        let record = named.find(|(called, _)| *called == name).map(|(_, record)| record);
        let record = record.unwrap_or_else(|| panic!("there is no machine or server {name:?}"));
        downcast(record).unwrap_or_else(|| panic!("{name:?} tells something else: {record:?}"))
    }

    /// What the PC called `name` has to tell.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn pc(&self, name: &str) -> &Diary {
        self.record(name)
    }

    /// Every PC, by name, with what it has to tell.
    pub fn pcs(&self) -> impl Iterator<Item = (&str, &Diary)> {
        let machines = self.machines.iter();
        machines.filter_map(|machine| Some((machine.name.as_str(), downcast(&machine.record)?)))
    }

    /// Asks every PC.
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

    /// Asks every prober.
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

    /// Asks the first `pcs` PCs, those that chat, whether their chats have gone on: no chat broke, and so many `lines`
    /// of each came back at least. A chat that is dead breaks only when its PC notices; that no line comes tells
    /// before.
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

    /// What somebody on the WAN got of each server of the office's.
    pub fn visits(&self) -> &[VisitAccount] {
        self.record::<Vec<_>>(VISITOR)
    }

    /// What came of the attacker's shots.
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
    /// What was chosen.
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
    /// What was expected, and what was wrong with it.
    pub expectations: Vec<(String, Result<(), String>)>,
    /// Why it ended early: the gateway broke down, or something panicked.
    pub breakdown: Option<String>,
    /// Whether who watched ended it early; nothing is expected of it then.
    pub is_cut_short: bool,
    /// What the machines have to tell.
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
