//! Scenarios of the time server.

use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::clock::LeapSecond;

use super::secs;
use crate::machine::internet::{Site, TIME_ADDRESSES, TIME_PORT, TimeMood, TimeServer};
use crate::machine::pc::Diary;
use crate::scenario::action::{clock_disciplined, clock_drifts, clock_jumps, power_back, power_cut, reload};
use crate::scenario::office::{Office, office};
use crate::scenario::outcome::{Account, in_lines};

/// A bound of the root dispersion that excludes the server with an error of 900 ms: 300 ms in units of 2^-16 s.
const GOOD_ERROR: u32 = 19_660;
/// The number of PCs that ask for the time.
const ASKING: usize = 6;

/// PCs ask for the time while the clock is synchronised, wrong, stepped and undisciplined, and while the file changes.
pub fn asked() -> Office {
    office()
        .pcs(8)
        .lan_ports(2)
        .lease_secs(60)
        .asking_time(ASKING)
        .in_a_hurry(1)
        .at(secs(15), clock_drifts(180))
        .at(secs(30), clock_jumps(-86_400))
        .at(secs(40), clock_disciplined(-12_000, None))
        .at(secs(55), clock_disciplined(700, Some(LeapSecond::Inserted)))
        .at(secs(65), clock_disciplined(0, Some(LeapSecond::Deleted)))
        .at(secs(70), power_cut())
        .at(secs(72), power_back())
        .at(secs(80), clock_drifts(-500))
        .at(secs(90), reload("[ntp]\nlocal_stratum = 0\n", true))
        .at(secs(110), reload("[ntp]\nenabled = false\n", true))
        // After the end of NTP's first era, in 2036.
        .at(secs(115), clock_jumps(400_000_000))
        .at(secs(125), reload("[dhcp]\nntp_servers = ['192.168.1.9']\n[ntp]\nlocal_stratum = 5\n", true))
        .at(secs(150), clock_disciplined(40_000, None))
        .expect("every PC that asks gets the time until the end", |account| {
            let late =
                asking(account).filter(|diary| diary.last_time_at.is_some_and(|at| at.as_secs() > 130));
            if late.count() == ASKING { Ok(()) } else { Err(in_lines(asking(account))) }
        })
        .expect("the PC that asks too often gets kisses-o'-death, and no other PC", |account| {
            let refused: Vec<_> = asking(account).map(|diary| diary.times_refused).collect();
            if refused[0] > 5 && refused[1..].iter().all(|times| *times == 0) {
                Ok(())
            } else {
                Err(format!("{refused:?} times refused"))
            }
        })
}

/// No daemon disciplines the gateway's clock, and the gateway asks four servers: one has a wrong time, one dies, and
/// the path from another is slow. An attacker forges answers of all of them.
pub fn undisciplined() -> Office {
    let good = TimeMood { is_forged: true, ..TimeMood::default() };
    let moods = [
        TimeMood { wrong_millis: 900, ..good },
        TimeMood { slow_back: Duration::from_millis(120), ..good },
        good,
        TimeMood { silent_from: Some(Instant::from_secs(200)), ..good },
    ];
    let office = time_servers(office(), moods)
        .pcs(6)
        .lease_secs(60)
        .asking_time(ASKING)
        .at(secs(1), clock_drifts(180))
        .at(secs(60), clock_jumps(-86_400))
        .at(secs(150), power_cut())
        .at(secs(152), power_back())
        .at(secs(260), clock_disciplined(-12_000, None))
        .at(secs(300), clock_drifts(-300))
        .at(secs(301), clock_jumps(3_600));
    office.expect("every PC that asks gets the time of the right servers until the end", |account| {
        let is_right = |diary: &&Diary| {
            let (stratum, error) = diary.time_quality;
            stratum == 3 && error < GOOD_ERROR && diary.last_time_at.is_some_and(|at| at.as_secs() > 380)
        };
        if asking(account).filter(is_right).count() == ASKING {
            Ok(())
        } else {
            Err(in_lines(asking(account)))
        }
    })
}

/// The office with a gateway that asks four time servers with this behaviour.
pub(in crate::scenario) fn time_servers(office: Office, moods: [TimeMood; 4]) -> Office {
    let addresses = TIME_ADDRESSES.map(|address| format!("'{address}'")).join(", ");
    let office = office.config(&format!("[ntp]\nservers = [{addresses}]\n"));
    (0..).zip(TIME_ADDRESSES).zip(moods).fold(office, |office, ((number, address), mood)| {
        let site = Site::at(address).udp(TIME_PORT);
        office.server(&format!("time-{number}"), site, move |_| TimeServer::new(mood))
    })
}

/// The diaries of the PCs that ask for the time.
fn asking(account: &Account) -> impl Iterator<Item = &Diary> {
    account.pcs().take(ASKING).map(|(_, diary)| diary)
}
