//! Scenarios in which one machine asks for more than its share.

use std::net::Ipv4Addr;

use super::secs;
use crate::machine::spoofer::Trick;
use crate::scenario::action::spoof;
use crate::scenario::office::{Office, office};

/// How often ten silent names are asked for, ten times a second.
const FLOOD: usize = 900;

/// Somebody asks for names of a zone whose servers are silent, first in one name and then in many.
pub fn name_flood() -> Office {
    let own = Ipv4Addr::new(192, 168, 1, 250);
    let forged = (2..=250).map(|host| Ipv4Addr::new(192, 168, 1, host)).cycle();
    let flood = std::iter::repeat_n(own, FLOOD / 2).chain(forged.take(FLOOD / 2)).map(Trick::AskSilent);
    office()
        .pcs(8)
        .visiting_every(Some(secs(3)))
        .at(secs(20), spoof([Trick::Take(own)].into_iter().chain(flood)))
        .expect("every trick was played", |account| match account.tricks {
            tricks if tricks > FLOOD as u64 => Ok(()),
            tricks => Err(format!("{tricks} tricks")),
        })
        .expect("no name and no page failed", |account| {
            account.every_pc(|diary| diary.lookups_failed == 0 && diary.pages_failed == 0)
        })
        .expect("every PC fetches pages all the time", |account| {
            account
                .every_pc(|diary| diary.pages > 15 && diary.last_page_at.is_some_and(|at| at.as_secs() > 110))
        })
}
