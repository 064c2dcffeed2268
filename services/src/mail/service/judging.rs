//! A message is shown to the judges outside, between its end and its commit.

use std::io;

use super::shared::Shared;
use super::verdict::{Action, Verdict};
use crate::mail::judge::{About, Judgement, Opinion};
use crate::mail::queue::connection::Source;
use crate::mail::smtp::Refusal;
use crate::mail::store::Incoming;
use crate::service::LocalFuture;

/// A message on its way in, which is read before it is committed.
struct Draft<'a>(&'a Incoming);

impl Source for Draft<'_> {
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(async move { self.0.part(offset, len).await.map_err(io::Error::other) })
    }
}

/// What the judges make of a message of so many octets. Their fields have at most `fields_octets_max` octets, or are left out.
pub(super) async fn consult(
    shared: &Shared,
    about: &About,
    (incoming, octets): (&Incoming, u64),
    fields_octets_max: usize,
) -> Verdict {
    let Judgement { opinion, silent } = shared.judges.judge(about, &Draft(incoming), octets).await;
    let mut stats = shared.stats.borrow_mut();
    stats.judged += 1;
    stats.judges_silent += silent;
    match opinion {
        Opinion::Taken { fields } => {
            let fields = if fields.len() > fields_octets_max { String::new() } else { fields };
            Verdict { fields, action: Action::Accept }
        }
        Opinion::Refused { is_temporary, text } => {
            stats.judged_away += 1;
            let refusal = Refusal::Policy { is_temporary, text };
            Verdict { fields: String::new(), action: Action::Refuse(refusal) }
        }
    }
}
