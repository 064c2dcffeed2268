//! Which sources agree, and what their agreement is. (RFC 5905, section 11.2)
//!
//! Each source says that the right offset is within its distance of what it tells. The intersection algorithm finds the
//! interval that a majority has in common (Marzullo's algorithm); sources that do not overlap it are falsetickers. The
//! cluster algorithm lays those aside that are farthest off, and the rest is averaged.

use super::sample::{Nanos, SECOND, square};

/// The survivors that the cluster algorithm leaves at least (NMIN). // RFC 5905, section 11.2.2
const SURVIVORS_MIN: usize = 3;

/// What a source says of the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which source it is.
    pub source: usize,
    /// The source's stratum.
    pub stratum: u8,
    /// By how much its time is ahead.
    pub offset: Nanos,
    /// The most by which that may be wrong: the root distance.
    pub distance: Nanos,
    /// By how much its offsets vary.
    pub jitter: Nanos,
}

/// What the sources agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The sources that do not contradict the majority.
    pub truechimers: Vec<usize>,
    /// The source whose stratum and address stand for all.
    pub peer: usize,
    /// The average of the survivors' offsets.
    pub offset: Nanos,
    /// The most by which that may be wrong, if the peer is right within its distance, or a majority of the sources are.
    pub error: Nanos,
}

/// What a majority of `candidates` agrees on; `None` if there is no majority. `preferred` stays the peer while it is no
/// worse in stratum.
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

/// The interval that reaches from the first to the last point which as many candidates as possible, and more than half
/// of them, have in common; `None` if there is none. // RFC 5905, section 11.2.1
///
/// RFC 5905 also wants the middles of these candidates to be within it, which shuts out a source whose way is longer in
/// one direction, although its interval is right. As in chrony, intervals alone count here.
fn intersection(candidates: &[Candidate]) -> Option<(Nanos, Nanos)> {
    let count = candidates.len();
    let edges = |sign: Nanos| {
        let edge = move |candidate: &Candidate| candidate.offset + sign * candidate.distance;
        candidates.iter().map(edge)
    };
    // An interval with the most in common begins and ends at an edge.
    let depth = |at: Nanos| {
        let contains = |candidate: &&Candidate| (candidate.offset - at).abs() <= candidate.distance;
        candidates.iter().filter(contains).count()
    };
    let most = edges(-1).map(depth).max()?;
    let low = edges(-1).filter(|at| depth(*at) == most).min()?;
    let high = edges(1).filter(|at| depth(*at) == most).max()?;
    (2 * most > count).then_some((low, high))
}

/// Sorts the candidates, the best first, and lays those aside that are farthest from the others while that makes the
/// rest agree better than each of them with itself. // RFC 5905, section 11.2.2
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

/// The average of the survivors' offsets, each weighed by how near it is to the root. // RFC 5905, section 11.2.3
fn combine(survivors: &[Candidate], around: Nanos) -> Nanos {
    let (mut sum, mut weights) = (0, 0);
    for Candidate { offset, distance, .. } in survivors {
        let weight = SECOND * SECOND / (*distance).max(1);
        // All of them overlap an interval, so their differences are short.
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

    /// RFC 5905, section 11.2.1: A source alone is believed; of two that disagree, none is; of three, two are.
    #[test]
    fn rfc5905_11_2_1_a_majority_is_believed() {
        assert_eq!(among(&[]), None);
        assert_eq!(
            among(&[(700, 10)]),
            Some(Agreement { truechimers: vec![0], peer: 0, offset: 700, error: 10 })
        );
        assert_eq!(among(&[(0, 10), (100, 10)]), None);
        assert_eq!(among(&[(0, 10), (15, 10)]).map(|told| told.truechimers), Some(vec![0, 1]), "they may be");
        assert_eq!(among(&[(0, 10), (21, 10)]), None);
        assert_eq!(among(&[(0, 10), (6, 10)]).map(|told| told.truechimers), Some(vec![0, 1]));
        assert_eq!(among(&[(0, 10), (6, 10), (500, 10)]).map(|told| told.truechimers), Some(vec![0, 1]));
        assert_eq!(among(&[(0, 10), (4, 10), (500, 10), (502, 10)]), None, "two against two");
        let told = among(&[(0, 10), (4, 10), (500, 10), (-3, 10)]).expect("three agree");
        assert_eq!(told.truechimers, [0, 1, 3]);
        assert!((-3..=4).contains(&told.offset), "{told:?}");
    }

    /// RFC 5905, section 11.2.1: A falseticker's short interval does not help it.
    #[test]
    fn rfc5905_11_2_1_a_falseticker_with_a_short_distance_is_none_the_better() {
        let told = among(&[(0, 50), (9, 40), (1_000, 1)]).expect("two agree");
        assert_eq!((told.truechimers, told.peer), (vec![0, 1], 1));
    }

    #[test]
    fn of_two_that_a_third_contradicts_neither_is_taken_for_right() {
        let told = among(&[(0, 10), (100, 10), (50, 60)]).expect("two agree, whichever");
        assert!(told.offset - told.error <= -10 && told.offset + told.error >= 110, "{told:?}");
    }

    /// RFC 5905, section 11.2.2: Of more than three that agree, those farthest from the others are laid aside.
    #[test]
    fn rfc5905_11_2_2_outliers_are_laid_aside() {
        let told = among(&[(0, 100), (2, 100), (4, 100), (60, 100)]).expect("all agree");
        assert_eq!((told.truechimers.len(), told.offset), (4, 2));
    }

    /// RFC 5905, section 11.2.3: Offsets are averaged by the inverse of the distance.
    #[test]
    fn rfc5905_11_2_3_the_nearest_counts_most() {
        let told = among(&[(0, 1_000), (900, 2_000)]).expect("both agree");
        assert_eq!((told.peer, told.offset, told.error), (0, 300, 1_300));
    }

    #[test]
    fn the_peer_stays_while_it_is_no_worse_in_stratum() {
        let mut candidates = [candidate(0, 0, 10), candidate(1, 1, 12)];
        let peer = |candidates: &[Candidate]| select(candidates, Some(1)).map(|told| told.peer);
        assert_eq!(peer(&candidates), Some(1));
        candidates[1].stratum = 3;
        assert_eq!(peer(&candidates), Some(0));
    }

    proptest! {
        #[test]
        fn if_more_than_half_are_right_what_is_told_is_right_within_its_error(
            right in prop::collection::vec((-1_000..1_000_i128, 0..1_000_i128), 1..4),
            wrong in prop::collection::vec((5_000..9_000_i128, 1..900_i128), 0..3),
        ) {
            prop_assume!(right.len() > wrong.len());
            let right = right.into_iter().map(|(offset, more)| (offset, offset.abs() + more));
            let told = among(&right.chain(wrong.into_iter()).collect::<Vec<_>>());
            let told = told.expect("the right ones have the right time in common");
            prop_assert!(told.offset.abs() <= told.error, "{:?}", told);
        }
    }
}
