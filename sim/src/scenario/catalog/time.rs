//! Scenarios of the time server.

use gatepost_services::clock::LeapSecond;

use super::secs;
use crate::machine::pc::Diary;
use crate::scenario::action::{clock_drifts, clock_jumps, clock_kept, power_back, power_cut, reload};
use crate::scenario::office::{Office, office};
use crate::scenario::outcome::{Account, in_lines};

/// How many PCs ask for the time.
const ASKING: usize = 6;

/// PCs ask for the time while the clock is good, bad, set and left alone, and while the file changes.
pub fn told() -> Office {
    office()
        .pcs(8)
        .lan_ports(2)
        .lease_secs(60)
        .asking_time(ASKING)
        .in_a_hurry(1)
        .at(secs(15), clock_drifts(180))
        .at(secs(30), clock_jumps(-86_400))
        .at(secs(40), clock_kept(-12_000, None))
        .at(secs(55), clock_kept(700, Some(LeapSecond::Inserted)))
        .at(secs(65), clock_kept(0, Some(LeapSecond::Deleted)))
        .at(secs(70), power_cut())
        .at(secs(72), power_back())
        .at(secs(80), clock_drifts(-500))
        .at(secs(90), reload("[ntp]\nlocal_stratum = 0\n", true))
        .at(secs(110), reload("[ntp]\nenabled = false\n", true))
        // Behind the end of NTP's first era, in 2036.
        .at(secs(115), clock_jumps(400_000_000))
        .at(secs(125), reload("[dhcp]\nntp_servers = ['192.168.1.9']\n[ntp]\nlocal_stratum = 5\n", true))
        .at(secs(150), clock_kept(40_000, None))
        .expect("every PC that asks is told the time to the end", |account| {
            let late =
                asking(account).filter(|diary| diary.last_time_at.is_some_and(|at| at.as_secs() > 130));
            if late.count() == ASKING { Ok(()) } else { Err(in_lines(asking(account))) }
        })
        .expect("who is in a hurry is asked to slow down, and nobody else", |account| {
            let refused: Vec<_> = asking(account).map(|diary| diary.times_refused).collect();
            if refused[0] > 5 && refused[1..].iter().all(|times| *times == 0) {
                Ok(())
            } else {
                Err(format!("{refused:?} times refused"))
            }
        })
}

/// The diaries of the PCs that ask for the time.
fn asking(account: &Account) -> impl Iterator<Item = &Diary> {
    account.pcs().take(ASKING).map(|(_, diary)| diary)
}
