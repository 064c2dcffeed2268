//! What the gateway has stored is sound at every start: power cuts, full disks and failed syncs damage nothing.

use super::{Checker, Snapshot};

/// Looks for damage among the problems that the gateway reports.
pub struct StateSound;

impl Checker for StateSound {
    fn name(&self) -> &'static str {
        "state-sound"
    }

    fn promise(&self) -> &'static str {
        "nothing that the gateway has stored is damaged, whenever its power fails"
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let damage = snapshot.status.problems.iter().find(|problem| problem.contains("is damaged"));
        damage.map_or(Ok(()), |damage| Err(damage.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::snapshot;

    #[test]
    fn damage_is_told_and_a_disk_that_refuses_is_none() {
        let told = |problem: &str| {
            let mut snapshot = snapshot(1);
            snapshot.status.problems = vec!["something else".to_owned(), problem.to_owned()];
            StateSound.on_snapshot(&snapshot).is_err()
        };
        assert!(told("dhcp-leases.jsonl is damaged: line 3: its checksum is wrong"));
        assert!(!told("dhcp-leases.jsonl cannot be written: no space"));
    }
}
