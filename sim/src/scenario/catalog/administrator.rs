//! An administrator who changes the gateway's configuration under way, with a time for the confirmation or for good.
//!
//! The LAN's address changes to another one of its network, to a larger network, and to a network of its own. Changes
//! are confirmed by a page that finds the gateway again, left to their deadline, undone by hand, and interrupted by
//! power cuts; the disk is slow or full meanwhile.

use std::time::Duration;

use ipnet::Ipv4Net;

use super::secs;
use crate::machine::administrator::{Administrator, Change, Changes, Then};
use crate::machine::browser::Browsing;
use crate::scenario::action::{Action, act, disk, power_back, power_cut, power_cut_while_writing};
use crate::scenario::office::{Office, office};
use crate::world::administration::Edit;
use crate::world::disk::DiskMood;

/// The duration of the run.
pub const LASTING_SECS: u64 = 900;
/// The addresses of the office's clients, apart from the gateway's.
pub const POOL: &str = "[dhcp]\npool = '192.168.1.2-192.168.1.199'\n";
/// The LAN's addresses within the network of the beginning, and that of the beginning.
pub const NEAR: [&str; 3] = ["192.168.1.254/24", "192.168.0.1/16", "192.168.1.1/24"];
/// A network of its own.
const FAR: &str = "10.0.7.1/24";

fn set(key: &'static str, value: &str) -> Edit {
    Edit { key, value: Some(value.to_owned()) }
}

/// The LAN gets the address `lan`, in whose network all that the file names is.
pub fn to_near(lan: &str, within: Option<Duration>, then: Then) -> Change {
    let edits = vec![set("lan.address", &format!("'{lan}'"))];
    Change { edits, lan: Some(net(lan)), within, then }
}

/// Other rules, and leases of so many seconds.
pub fn rules(lease_secs: u32, within: Option<Duration>, then: Then) -> Change {
    let edits = vec![set("dhcp.lease_secs", &lease_secs.to_string()), set("firewall.forwards", "[]")];
    Change { edits, lan: None, within, then }
}

/// The LAN gets a network of its own, without reservations and forwards.
fn to_far(within: Option<Duration>, then: Then) -> Change {
    let edits = vec![
        set("lan.address", &format!("'{FAR}'")),
        set("dhcp.pool", "'10.0.7.2-10.0.7.199'"),
        Edit { key: "dhcp.reservations", value: None },
        set("firewall.forwards", "[]"),
    ];
    Change { edits, lan: Some(net(FAR)), within, then }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

/// The administrator makes this change.
pub fn change(change: Change) -> Action {
    let what = format!("changes {:?}", change.edits);
    act("administrator", &what, move |administrator: &mut Administrator, _| {
        administrator.change(change.clone());
    })
}

/// The office of `seed`.
pub fn administrator(seed: u64) -> Office {
    let short = Some(secs(15));
    let [near, large, first] = NEAR;
    office()
        .workers([1, 2, 4][(seed % 3) as usize])
        .pcs(4)
        .lan_ports(2)
        .asking(1)
        .probing(1)
        .forwarded("pc-0", 8_080)
        .lease_secs(120)
        .config(POOL)
        .administered()
        .browsing(2, &[first, near, large, FAR].map(net))
        .at(secs(60), change(to_near(near, Some(secs(30)), Then::Confirm)))
        .at(secs(100), change(to_near(large, short, Then::Leave)))
        .at(secs(130), change(to_far(short, Then::Leave)))
        .at(secs(160), change(rules(90, short, Then::Leave)))
        .at(secs(190), change(to_near(large, Some(secs(30)), Then::Undo)))
        // The power fails within the time, and comes back within it.
        .at(secs(210), change(to_near(large, Some(secs(40)), Then::Leave)))
        .at(secs(215 + seed % 5), power_cut())
        .at(secs(225), power_back())
        .at(secs(280), change(to_near(large, None, Then::Confirm)))
        .at(secs(320), change(to_near(first, Some(secs(30)), Then::Confirm)))
        // The power may fail in the middle of the confirmation.
        .at(secs(360), power_cut_while_writing(2 + (seed % 4) as u32))
        .at(secs(361), change(rules(100, Some(secs(20)), Then::Confirm)))
        .at(secs(400), power_back())
        .at(secs(440), disk(DiskMood::Slow))
        .at(secs(441), change(rules(110, Some(secs(30)), Then::Confirm)))
        .at(secs(480), disk(DiskMood::Full))
        .at(secs(481), change(rules(95, short, Then::Confirm)))
        .at(secs(520), disk(DiskMood::Sound))
        .at(secs(540), change(to_far(Some(secs(60)), Then::Confirm)))
        .expect("the administrator finds the gateway whenever it has moved", |account| {
            let changes: &Changes = account.record("administrator");
            let is_as_wanted = changes.missed == 0 && changes.done >= 4 && changes.left == 5;
            if is_as_wanted { Ok(()) } else { Err(format!("{changes:?}")) }
        })
        .expect("browsers are told pages until the end", |account| {
            let told = |name| account.record::<Browsing>(name).last_page_at;
            let is_as_wanted = |name| told(name).is_some_and(|at| at.as_secs() > LASTING_SECS - 60);
            if ["browser-0", "browser-1"].into_iter().all(is_as_wanted) {
                return Ok(());
            }
            Err(format!("{:?}, {:?}", told("browser-0"), told("browser-1")))
        })
        .expect("every PC fetches pages until the end", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > LASTING_SECS - 60))
        })
}
