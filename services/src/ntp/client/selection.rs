//! The selection of the sources that agree (RFC 5905, section 11.2).
//!
//! The right offset is within a source's root distance of its measured offset: its correctness interval. The
//! intersection algorithm finds the interval that a majority has in common (Marzullo's algorithm); sources that do not
//! overlap it are falsetickers. The cluster algorithm discards outliers, and the combine algorithm averages the
//! survivors.

use super::sample::{Nanos, SECOND, square};

/// The least number of survivors of the cluster algorithm (NMIN). // RFC 5905, section 11.2.2
const SURVIVORS_MIN: usize = 3;

/// A source as the selection sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The source's number.
    pub source: usize,
    /// The source's stratum.
    pub stratum: u8,
    /// The source's time minus steady time.
    pub offset: Nanos,
    /// The root distance: the bound of the offset's error.
    pub distance: Nanos,
    /// The jitter of the source's samples.
    pub jitter: Nanos,
}

/// The result of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The sources whose correctness intervals overlap the intersection.
    pub truechimers: Vec<usize>,
    /// The system peer, whose stratum and address the server announces.
    pub peer: usize,
    /// The weighted average of the survivors' offsets.
    pub offset: Nanos,
    /// The bound of its error, if the peer, or a majority of the sources, is right within the root distance.
    pub error: Nanos,
}

/// The agreement of a majority of `candidates`; `None` if there is no majority. `preferred` remains the peer while no
/// survivor has a lower stratum.
pub fn select(candidates: &[Candidate], preferred: Option<usize>) -> Option<Agreement> {
    let (low, high) = intersection(candidates)?;
    let overlaps = |candidate: &&Candidate| {
        candidate.offset - candidate.distance <= high && candidate.offset + candidate.distance >= low
    };
    let mut survivors: Vec<Candidate> = candidates.iter().filter(overlaps).copied().collect();
    let truechimers = survivors.iter().map(|candidate| candidate.source).collect();
    cluster(&mut survivors);
    let first = survivors.first()?;
    let stays =
        |candidate: &&Candidate| Some(candidate.source) == preferred && candidate.stratum <= first.stratum;
    let peer = survivors.iter().find(stays).unwrap_or(first);
    let offset = combine(&survivors, peer.offset);
    let by_peer = peer.distance + (offset - peer.offset).abs();
    let error = by_peer.max(offset - low).max(high - offset);
    Some(Agreement { truechimers, peer: peer.source, offset, error })
}

/// The smallest interval with all points that lie in the largest number of correctness intervals, if this is a
/// majority; `None` otherwise. // RFC 5905, section 11.2.1
///
/// RFC 5905, section 11.2.1, also requires the midpoints of these intervals to lie in the intersection. That excludes a
/// source with an asymmetric path, although its interval is right; here as in chrony, only intervals count.
fn intersection(candidates: &[Candidate]) -> Option<(Nanos, Nanos)> {
    let count = candidates.len();
    let edges = |sign: Nanos| {
        let edge = move |candidate: &Candidate| candidate.offset + sign * candidate.distance;
        candidates.iter().map(edge)
    };
    // The points with the largest number of intervals form intervals that begin and end at edges of candidates.
    let depth = |at: Nanos| {
        let contains = |candidate: &&Candidate| (candidate.offset - at).abs() <= candidate.distance;
        candidates.iter().filter(contains).count()
    };
    let most = edges(-1).map(depth).max()?;
    let low = edges(-1).filter(|at| depth(*at) == most).min()?;
    let high = edges(1).filter(|at| depth(*at) == most).max()?;
    (2 * most > count).then_some((low, high))
}

/// Sorts the candidates, the best first, and discards the one with the largest selection jitter while that exceeds the
/// smallest jitter of a candidate's own samples. // RFC 5905, section 11.2.2
fn cluster(survivors: &mut Vec<Candidate>) {
    survivors.sort_by_key(|candidate| (candidate.stratum, candidate.distance, candidate.source));
    while survivors.len() > SURVIVORS_MIN {
        let jitter = |candidate: &Candidate| {
            let squares = survivors.iter().map(|other| square(other.offset - candidate.offset));
            squares.sum::<Nanos>() / Nanos::try_from(survivors.len() - 1).unwrap_or(1)
        };
        let jitters: Vec<_> = survivors.iter().map(jitter).collect();
        let worst = jitters.iter().enumerate().max_by_key(|(index, jitter)| (**jitter, *index));
        let steadiest = survivors.iter().map(|candidate| square(candidate.jitter)).min();
        match (worst, steadiest) {
            (Some((index, worst)), Some(steadiest)) if *worst > steadiest => {
                survivors.remove(index);
            }
            _ => return,
        }
    }
}

/// The average of the survivors' offsets, weighted by the inverse of the root distance. // RFC 5905, section 11.2.3
fn combine(survivors: &[Candidate], around: Nanos) -> Nanos {
    let (mut sum, mut weights) = (0, 0);
    for Candidate { offset, distance, .. } in survivors {
        let weight = SECOND * SECOND / (*distance).max(1);
        // All of them overlap one interval, so the differences are small.
        sum += (offset - around).clamp(-100 * SECOND, 100 * SECOND) * weight;
        weights += weight;
    }
    around + sum / weights.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(source: usize, offset: Nanos, distance: Nanos) -> Candidate {
        Candidate { source, stratum: 2, offset, distance, jitter: 1 }
    }

    fn among(intervals: &[(Nanos, Nanos)]) -> Option<Agreement> {
        let candidates: Vec<_> =
            (0..).zip(intervals).map(|(source, (at, by))| candidate(source, *at, *by)).collect();
        select(&candidates, None)
    }

    /// RFC 5905, section 11.2.1: A single source is selected; of two that disagree, none is; of three, two that agree are.
    #[test]
    fn rfc5905_11_2_1_a_majority_is_selected() {
        assert_eq!(among(&[]), None);
        assert_eq!(
            among(&[(700, 10)]),
            Some(Agreement { truechimers: vec![0], peer: 0, offset: 700, error: 10 })
        );
        assert_eq!(among(&[(0, 10), (100, 10)]), None);
        assert_eq!(
            among(&[(0, 10), (15, 10)]).map(|agreement| agreement.truechimers),
            Some(vec![0, 1]),
            "they may be"
        );
        assert_eq!(among(&[(0, 10), (21, 10)]), None);
        assert_eq!(among(&[(0, 10), (6, 10)]).map(|agreement| agreement.truechimers), Some(vec![0, 1]));
        assert_eq!(
            among(&[(0, 10), (6, 10), (500, 10)]).map(|agreement| agreement.truechimers),
            Some(vec![0, 1])
        );
        assert_eq!(among(&[(0, 10), (4, 10), (500, 10), (502, 10)]), None, "two against two");
        let agreement = among(&[(0, 10), (4, 10), (500, 10), (-3, 10)]).expect("three agree");
        assert_eq!(agreement.truechimers, [0, 1, 3]);
        assert!((-3..=4).contains(&agreement.offset), "{agreement:?}");
    }

    /// RFC 5905, section 11.2.1: A falseticker is rejected however short its root distance is.
    #[test]
    fn rfc5905_11_2_1_a_falseticker_with_a_short_distance_is_rejected() {
        let agreement = among(&[(0, 50), (9, 40), (1_000, 1)]).expect("two agree");
        assert_eq!((agreement.truechimers, agreement.peer), (vec![0, 1], 1));
    }

    #[test]
    fn of_two_that_agree_only_with_a_third_the_error_covers_both() {
        let agreement = among(&[(0, 10), (100, 10), (50, 60)]).expect("two agree, whichever");
        assert!(
            agreement.offset - agreement.error <= -10 && agreement.offset + agreement.error >= 110,
            "{agreement:?}"
        );
    }

    /// RFC 5905, section 11.2.2: Of more than three survivors, outliers are discarded.
    #[test]
    fn rfc5905_11_2_2_outliers_are_discarded() {
        let agreement = among(&[(0, 100), (2, 100), (4, 100), (60, 100)]).expect("all agree");
        assert_eq!((agreement.truechimers.len(), agreement.offset), (4, 2));
    }

    /// RFC 5905, section 11.2.3: Offsets are weighted by the inverse of the root distance.
    #[test]
    fn rfc5905_11_2_3_the_nearest_counts_most() {
        let agreement = among(&[(0, 1_000), (900, 2_000)]).expect("both agree");
        assert_eq!((agreement.peer, agreement.offset, agreement.error), (0, 300, 1_300));
    }

    #[test]
    fn the_system_peer_remains_while_its_stratum_is_the_lowest() {
        let mut candidates = [candidate(0, 0, 10), candidate(1, 1, 12)];
        let peer = |candidates: &[Candidate]| select(candidates, Some(1)).map(|agreement| agreement.peer);
        assert_eq!(peer(&candidates), Some(1));
        candidates[1].stratum = 3;
        assert_eq!(peer(&candidates), Some(0));
    }

    proptest! {
        #[test]
        fn if_a_majority_is_right_the_agreement_is_right_within_its_error(
            right in prop::collection::vec((-1_000..1_000_i128, 0..1_000_i128), 1..4),
            wrong in prop::collection::vec((5_000..9_000_i128, 1..900_i128), 0..3),
        ) {
            prop_assume!(right.len() > wrong.len());
            let right = right.into_iter().map(|(offset, more)| (offset, offset.abs() + more));
            let agreement = among(&right.chain(wrong.into_iter()).collect::<Vec<_>>());
            let agreement = agreement.expect("the right ones have the right time in common");
            prop_assert!(agreement.offset.abs() <= agreement.error, "{:?}", agreement);
        }
    }
}
