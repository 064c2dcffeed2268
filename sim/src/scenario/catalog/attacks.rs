//! Scenarios with an attacker.

use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::wire::Protocol;

use super::secs;
use crate::machine::attacker::{Forgery, Shot, blind};
use crate::machine::pc::mac_of;
use crate::machine::spoofer::Trick;
use crate::scenario::action::{attack, calm, open_pinhole, port_scan, spoof};
use crate::scenario::office::{Office, office};

/// The provider's router, in the default network.
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The attacker on the WAN scans the gateway, and the external ports of PCs.
pub fn scanned() -> Office {
    office()
        .pcs(10)
        .visiting_every(Some(secs(4)))
        .at(secs(20), port_scan(1_024))
        // The external ports of the PCs' connections.
        .at(secs(30), attack((49_152..=u16::MAX).map(Shot::Syn)))
        .expect("everything was fired", |account| {
            if account.attack().fired > 18_000 {
                Ok(())
            } else {
                Err(format!("{} shots", account.attack().fired))
            }
        })
        .expect("nothing came back", |account| match account.attack().answers {
            0 => Ok(()),
            answers => Err(format!("{answers} answers, open ports {:?}", account.attack().open_ports)),
        })
}

/// The attacker on the WAN probes ports of the printer, which has never sent from them. The gateway opens two of them
/// for half a minute, and extends one.
pub fn through_pinholes() -> Office {
    let printer = |port| SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 200), port);
    office()
        .pcs(3)
        .printer("pc-2")
        .at(secs(15), attack([Shot::Udp(4_000), Shot::Syn(4_002)]))
        .at(secs(20), open_pinhole(Protocol::UDP, printer(4_000), 30))
        .at(secs(20), open_pinhole(Protocol::TCP, printer(4_002), 30))
        .at(secs(45), open_pinhole(Protocol::UDP, printer(4_000), 30))
        .at(secs(60), attack([Shot::Udp(4_000), Shot::Syn(4_002)]))
        .at(secs(80), attack([Shot::Syn(4_002), Shot::Udp(4_001)]))
        .expect("the printer answers once that nobody listens", |account| match account.attack().answers {
            1 => Ok(()),
            answers => Err(format!("{answers} answers")),
        })
}

/// A blind attacker on the WAN sends segments into the chats of the office.
pub fn attacked_blindly() -> Office {
    office()
        .pcs(8)
        .chatting(8)
        .at(secs(30), attack(Forgery::ALL.into_iter().flat_map(blind)))
        .expect("everything was fired", |account| {
            if account.attack().fired == 5 * 16_384 {
                Ok(())
            } else {
                Err(format!("{} shots", account.attack().fired))
            }
        })
        .expect("every chat went on", |account| account.chats_went_on(8, 80))
}

/// The spoofer on the LAN takes addresses, and sends from those of others.
pub fn spoofed() -> Office {
    let lan = |host| Ipv4Addr::new(192, 168, 1, host);
    let taken = (2..=6).map(|host| Trick::Take(lan(host)));
    let claimed = (1..=20).map(|host| Trick::Claim(lan(host)));
    let strangers = [Ipv4Addr::new(203, 0, 113, 100), Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::BROADCAST];
    let posed = strangers.into_iter().chain((0..=255).map(lan)).map(Trick::SendAs);
    let borrowed = (0..8).map(|pc| Trick::Borrow(mac_of(pc)));
    office()
        .pcs(8)
        .arriving_within(secs(40))
        .chatting(2)
        .at(secs(60), spoof(taken.chain(claimed).chain(posed).chain(borrowed)))
        .at(secs(120), calm())
        .expect("every trick was played", |account| match account.tricks() {
            292.. => Ok(()),
            tricks => Err(format!("{tricks} tricks")),
        })
        .expect("everybody works again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 170))
        })
}

/// A spoofer on the LAN and another on the WAN claim the addresses of others, all the time.
pub fn poisoned() -> Office {
    // Every PC of the pool, and the provider's router, again and again for a minute.
    let pcs = (0..600_u16).map(|round| Ipv4Addr::new(192, 168, 1, 2 + (round % 8) as u8));
    let router = (0..3_000).map(|_| Shot::Poison(ROUTER));
    office()
        .pcs(8)
        .lan_ports(2)
        .chatting(8)
        .visiting_every(Some(secs(4)))
        .at(secs(30), spoof(pcs.map(Trick::Poison)))
        .at(secs(30), attack(router))
        .expect("every trick was played", |account| match (account.tricks(), account.attack().fired) {
            (600, 3_000) => Ok(()),
            played => Err(format!("{played:?}")),
        })
        .expect("every chat went on", |account| account.chats_went_on(8, 100))
        .expect("no page failed", |account| account.every_pc(|diary| diary.pages_failed == 0))
}
