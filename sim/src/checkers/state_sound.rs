//! State is sound: the stored state is undamaged at every start, after power cuts, full disks and failed syncs. Only
//! mail whose octets have flipped on the disk may be reported as damaged.

use gatepost_services::mail::store::CHECKPOINT;

use super::{Checker, Snapshot};

/// The gateway's text for damaged mail.
pub const MAIL_DAMAGED: &str = "the mail store is damaged";

/// Looks for damage among the problems that the gateway reports.
#[derive(Default)]
pub struct StateSound {
    /// Octets of the log of mail, or of large bodies, have flipped.
    has_rotten_mail: bool,
}

impl Checker for StateSound {
    fn name(&self) -> &'static str {
        "state-sound"
    }

    fn promise(&self) -> &'static str {
        "the stored state is undamaged at every start, except mail whose octets have flipped on the disk"
    }

    fn on_rot(&mut self, file: &str) {
        // An unusable checkpoint loses nothing.
        self.has_rotten_mail |= !file.starts_with(CHECKPOINT);
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let mut problems = snapshot.status.problems.iter().chain(&snapshot.status.service_problems);
        let is_planted = |problem: &str| self.has_rotten_mail && problem.contains(MAIL_DAMAGED);
        let damage = problems.find(|problem| problem.contains("is damaged") && !is_planted(problem));
        damage.map_or(Ok(()), |damage| Err(damage.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::snapshot;

    #[test]
    fn damage_is_told_and_a_disk_that_refuses_is_none() {
        let reported = |problem: &str| {
            let mut snapshot = snapshot(1);
            snapshot.status.problems = vec!["something else".to_owned(), problem.to_owned()];
            StateSound::default().on_snapshot(&snapshot).is_err()
        };
        assert!(reported("dhcp-leases.jsonl is damaged: line 3: its checksum is wrong"));
        assert!(!reported("dhcp-leases.jsonl cannot be written: no space"));
    }

    #[test]
    fn mail_may_be_damaged_once_octets_of_it_have_flipped_and_nothing_else() {
        let reported = |rotten: &str, problem: &str| {
            let mut checker = StateSound::default();
            checker.on_rot(rotten);
            let mut snapshot = snapshot(1);
            snapshot.status.service_problems = vec![problem.to_owned()];
            checker.on_snapshot(&snapshot).is_err()
        };
        let of_mail = format!("pop3: {MAIL_DAMAGED}; `gatepost mail check` says what is lost");
        assert!(!reported("mail/segments/00000001-9f86d081884c7d65", &of_mail));
        assert!(reported("mail/checkpoint", &of_mail));
        assert!(reported("mail/bodies/2cf24dba5fb0a30e", "dhcp-leases.jsonl is damaged: line 3"));
    }
}
