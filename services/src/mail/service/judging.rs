//! The judging of a message between its end and its commit.

use std::io;

use super::verdict::{Action, Verdict};
use crate::mail::judge::{About, JudgeVerdict, Judgement, Judges};
use crate::mail::queue::connection::Source;
use crate::mail::smtp::Rejection;
use crate::mail::store::Incoming;
use crate::service::LocalFuture;

/// A message that is read before it is committed.
struct Draft<'a>(&'a Incoming);

impl Source for Draft<'_> {
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(async move { self.0.part(offset, len).await.map_err(io::Error::other) })
    }
}

/// The judges' results.
pub(in crate::mail) struct Judged {
    /// Their verdict.
    pub verdict: Verdict,
    /// How many had no opinion.
    pub silent: u64,
}

/// The verdict of `judges` on a message of so many octets. Their fields have at most `fields_octets_max` octets, or are
/// left out.
pub(in crate::mail) async fn consult(
    judges: &Judges,
    about: &About,
    (incoming, octets): (&Incoming, u64),
    fields_octets_max: usize,
) -> Judged {
    let Judgement { opinion, silent } = judges.judge(about, &Draft(incoming), octets).await;
    let verdict = match opinion {
        JudgeVerdict::Taken { fields } => {
            let fields = if fields.len() > fields_octets_max { String::new() } else { fields };
            Verdict { fields, action: Action::Accept }
        }
        JudgeVerdict::Refused { is_temporary, text } => {
            let refusal = Rejection::Policy { is_temporary, text };
            Verdict { fields: String::new(), action: Action::Refuse(refusal) }
        }
    };
    Judged { verdict, silent }
}
