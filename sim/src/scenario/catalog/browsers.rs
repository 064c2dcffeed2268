//! Browsers that move the gateway to other addresses by its pages.

use ipnet::Ipv4Net;

use super::administrator::{NEAR, POOL};
use super::secs;
use crate::machine::browser::Browsing;
use crate::scenario::action::{power_back, power_cut};
use crate::scenario::office::{Office, office};

/// The duration of the run.
pub const LASTING_SECS: u64 = 900;

/// The office of `seed`: the owner changes the LAN's address by the page, finds the gateway there, and keeps that, undoes
/// it, or leaves it to its deadline; the power fails now and then.
pub fn browsers(seed: u64) -> Office {
    let [near, large, first] = NEAR.map(|text| text.parse::<Ipv4Net>().expect("a network"));
    let cut = |at: u64| secs(at + seed % 7);
    office()
        .pcs(2)
        .lease_secs(120)
        .config(&format!("admin.confirm_secs = 20\n{POOL}"))
        .administered()
        .moving(2, &[first, near, large])
        .at(cut(200), power_cut())
        .at(cut(205), power_back())
        .at(cut(450), power_cut())
        .at(cut(455), power_back())
        .expect("the LAN moves and stays where it is wanted", |account| {
            let it: &Browsing = account.record("browser-0");
            if it.kept > 0 && it.left > 0 { Ok(()) } else { Err(format!("{it:?}")) }
        })
        .expect("browsers are told pages until the end", |account| {
            let told = |name| account.record::<Browsing>(name).last_page_at;
            let is_as_wanted = |name| told(name).is_some_and(|at| at.as_secs() > LASTING_SECS - 90);
            if ["browser-0", "browser-1"].into_iter().all(is_as_wanted) {
                return Ok(());
            }
            Err(format!("{:?}, {:?}", told("browser-0"), told("browser-1")))
        })
}
