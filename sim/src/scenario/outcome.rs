//! What a run came to.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use crate::machine::pc::{Diary, when};
use crate::world::observer::Violation;

/// What the machines have to tell in the end.
#[derive(Clone, Debug)]
pub struct Account {
    /// The PCs.
    pub pcs: Vec<PcAccount>,
    /// The gateway's address with the provider, as far as the provider knows.
    pub customer: Option<Ipv4Addr>,
    /// What somebody on the WAN got of each server of the office's.
    pub visits: Vec<VisitAccount>,
    /// Packets that the attacker fired.
    pub fired: u64,
    /// Tricks that the spoofer played.
    pub tricks: u64,
    /// Packets that came back to the attacker.
    pub attack_answers: u64,
    /// Ports that accepted the attacker.
    pub open_ports: Vec<u16>,
}

impl Account {
    /// The PC with this name.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn pc(&self, name: &str) -> &PcAccount {
        self.pcs.iter().find(|pc| pc.name == name).expect("a PC of the scenario")
    }

    /// Asks every PC.
    ///
    /// # Errors
    ///
    /// The first for which `holds` does not.
    pub fn every_pc(&self, holds: impl Fn(&Diary) -> bool) -> Result<(), String> {
        match self.pcs.iter().find(|pc| !holds(&pc.diary)) {
            Some(pc) => Err(format!("{}:\n{}", pc.name, pc.diary)),
            None => Ok(()),
        }
    }
}

/// What somebody on the WAN got of a server of the office's.
#[derive(Clone, Debug)]
pub struct VisitAccount {
    /// Pages that came whole.
    pub pages: u64,
    /// Pages that did not.
    pub failed: u64,
    /// When the latest page came.
    pub last_page_at: Option<Instant>,
}

impl fmt::Display for VisitAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, failed, last_page_at } = self;
        write!(f, "{pages} pages, the last {}, and {failed} that failed", when(*last_page_at))
    }
}

/// Several accounts of one kind, below one another.
pub fn in_lines<T: ToString>(accounts: impl IntoIterator<Item = T>) -> String {
    let lines: Vec<_> = accounts.into_iter().map(|account| account.to_string()).collect();
    lines.join("\n")
}

/// What one PC has to tell.
#[derive(Clone, Debug)]
pub struct PcAccount {
    /// Its name.
    pub name: String,
    /// What worked.
    pub diary: Diary,
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
        let sum = |count: fn(&Diary) -> u64| self.account.pcs.iter().map(|pc| count(&pc.diary)).sum::<u64>();
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
    use super::*;

    #[test]
    fn an_expectation_that_failed_is_told_in_lines_that_fit_a_terminal() {
        let pc = PcAccount { name: "pc-3".to_owned(), diary: Diary::default() };
        let visit = VisitAccount { pages: 1, failed: 2, last_page_at: Some(Instant::from_secs(7)) };
        let account = Account {
            pcs: vec![pc],
            customer: None,
            visits: vec![visit],
            fired: 0,
            tricks: 0,
            attack_answers: 0,
            open_ports: Vec::new(),
        };
        let told = account.every_pc(|diary| diary.pages > 0).expect_err("no page");
        let expectations =
            vec![("pages".to_owned(), Err(told)), ("visits".to_owned(), Err(in_lines(&account.visits)))];
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
