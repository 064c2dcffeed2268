//! The outcome of one message at several servers of a domain.
//!
//! A recipient that is delivered, or rejected as such, is tried at no other server. A failure of a server itself is
//! permanent only if each server has one. (RFC 5321, section 5.1)

use crate::mail::queue::DeliveryResult;
use crate::mail::smtp::client::{Outcome, Report, Scope, Status};

/// The recipients of a job and their results at the servers so far.
#[derive(Debug)]
pub struct JobResults {
    /// The outcome of each recipient, if it is decided.
    results: Vec<Option<DeliveryResult>>,
    /// The failures of servers themselves.
    standing: Vec<Option<DeliveryResult>>,
}

impl JobResults {
    /// So many recipients, which were tried nowhere yet.
    pub fn new(recipients: usize) -> Self {
        Self { results: vec![None; recipients], standing: vec![None; recipients] }
    }

    /// The indexes of the recipients to try at a further server.
    pub fn open(&self) -> Vec<usize> {
        let places = self.results.iter().enumerate();
        places.filter(|(_, result)| result.is_none()).map(|(place, _)| place).collect()
    }

    /// Adds the reports of `server` for the recipients at `places`, in order. Returns whether the same server may be
    /// tried without TLS.
    pub fn take(&mut self, places: &[usize], server: &str, reports: Vec<Report>) -> bool {
        let mut is_tls_in_the_way = false;
        for (place, report) in places.iter().zip(reports) {
            let (Some(result), Some(standing)) =
                (self.results.get_mut(*place), self.standing.get_mut(*place))
            else {
                continue;
            };
            let is_of_envelope = report.scope == Scope::Envelope || report.is_one_too_many;
            let is_over = report.outcome == Outcome::Delivered || report.may_be_delivered || is_of_envelope;
            is_tls_in_the_way |= !is_over && report.scope == Scope::Tls;
            let said = DeliveryResult { report, server: Some(server.to_owned()) };
            if is_over {
                *result = Some(said);
            } else if standing.as_ref().is_none_or(|before| {
                said.report.outcome == Outcome::Deferred || before.report.outcome == Outcome::Failed
            }) {
                *standing = Some(said);
            }
        }
        is_tls_in_the_way
    }

    /// The outcome of each recipient.
    pub fn finish(self) -> Vec<DeliveryResult> {
        let unreached = || DeliveryResult {
            report: Report::deferred(Status::new(4, 4, 1), "no server could be reached", Scope::Host),
            server: None,
        };
        let pairs = self.results.into_iter().zip(self.standing);
        pairs.map(|(result, standing)| result.or(standing).unwrap_or_else(unreached)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(outcome: Outcome, scope: Scope) -> Report {
        Report { outcome, ..Report::deferred(Status::new(4, 0, 0), "said", scope) }
    }

    #[test]
    fn a_failure_of_a_server_counts_if_all_say_so() {
        let host = |outcome| report(outcome, Scope::Host);
        for (said, outcome) in [
            ([Outcome::Failed, Outcome::Failed], Outcome::Failed),
            ([Outcome::Failed, Outcome::Deferred], Outcome::Deferred),
            ([Outcome::Deferred, Outcome::Failed], Outcome::Deferred),
        ] {
            let mut results = JobResults::new(1);
            for outcome in said {
                assert_eq!(results.open(), [0]);
                assert!(!results.take(&[0], "mx", vec![host(outcome)]));
            }
            assert_eq!(results.finish()[0].report.outcome, outcome, "{said:?}");
        }
    }

    #[test]
    fn only_what_is_about_the_server_is_tried_elsewhere() {
        let mut results = JobResults::new(6);
        let lost = Report { may_be_delivered: true, ..report(Outcome::Deferred, Scope::Host) };
        let many = Report { is_one_too_many: true, ..report(Outcome::Deferred, Scope::Envelope) };
        let said = vec![
            report(Outcome::Delivered, Scope::Envelope),
            report(Outcome::Failed, Scope::Envelope),
            report(Outcome::Deferred, Scope::Envelope),
            report(Outcome::Deferred, Scope::Tls),
            lost,
            many,
        ];
        assert!(results.take(&results.open(), "mx1", said));
        assert_eq!(results.open(), [3]);
        assert!(!results.take(&[3], "mx2", vec![report(Outcome::Delivered, Scope::Envelope)]));
        let ends: Vec<_> = results.finish().into_iter().map(|result| result.server.unwrap()).collect();
        assert_eq!(ends, ["mx1", "mx1", "mx1", "mx2", "mx1", "mx1"]);
        assert_eq!(JobResults::new(1).finish()[0].report.outcome, Outcome::Deferred);
    }

    proptest! {
        #[test]
        fn nobody_who_is_delivered_or_refused_is_tried_again(
            rounds in prop::collection::vec(prop::collection::vec((0..3u8, 0..3u8, any::<bool>()), 5), 0..6),
        ) {
            let mut results = JobResults::new(5);
            let mut over = [None; 5];
            for round in rounds {
                let open = results.open();
                for place in &open {
                    prop_assert!(over[*place].is_none());
                }
                let reports: Vec<_> = round.iter().take(open.len()).map(|(outcome, scope, is_lost)| {
                    let outcome = [Outcome::Delivered, Outcome::Failed, Outcome::Deferred][usize::from(*outcome)];
                    let scope = [Scope::Host, Scope::Tls, Scope::Envelope][usize::from(*scope)];
                    Report { may_be_delivered: *is_lost, ..report(outcome, scope) }
                }).collect();
                for (place, report) in open.iter().zip(&reports) {
                    if report.outcome == Outcome::Delivered || report.scope == Scope::Envelope || report.may_be_delivered {
                        over[*place] = Some(report.outcome);
                    }
                }
                results.take(&open, "mx", reports);
            }
            for (over, result) in over.iter().zip(results.finish()) {
                prop_assert!(over.is_none_or(|outcome| outcome == result.report.outcome));
            }
        }
    }
}
