//! Mail: accepted messages are not lost, whatever happens to the gateway and its disk.

use std::time::Duration;

use gatepost_ground::Instant;

use super::super::action::{calm, disk, power_back, power_cut, power_cut_while_writing, provider, rot};
use super::super::mail::{ADDRESSES, ADDRESSES_EVERYWHERE, POP_SERVER, mail_server};
use super::super::office::{Office, office};
use super::secs;
use crate::machine::fetcher::FetchAccount;
use crate::machine::internet::{MAIL_ADDRESSES, ProviderMood};
use crate::machine::mail_server::{MailServerAccount, Manner, TlsManner};
use crate::machine::mailer::{Habits, MailAccount};
use crate::machine::pop_server::PopAccount;
use crate::world::disk::DiskMood;
use crate::world::rot::RotIn;

/// The senders, with their ports of the gateway's switch.
const MAILERS: [(&str, &str); 3] = [("scanner", "lan0"), ("alarm", "lan0"), ("stranger", "wan")];
/// A long message fills a quarter of a small mailbox, and has a file of its own.
const HABITS: Habits =
    Habits { to: ADDRESSES, pause_max: Duration::from_secs(2), long: Some((20, 300 << 10)), has_tls: false };

pub(super) fn kept() -> Office {
    let office = office()
        .pcs(1)
        .mode("nat")
        .mail(&MAILERS, HABITS)
        .fetching("desk", "lan0", "anna")
        .fetching("till", "lan0", "berta")
        .keeping("phone", "lan0", "anna")
        // A message that is rejected now is in the log all the same, and must not be back after the power cut.
        .at(secs(8), disk(DiskMood::LosesWrites))
        .at(secs(10), disk(DiskMood::Sound))
        .at(Duration::from_millis(20_377), power_cut())
        .at(secs(25), power_back())
        .at(secs(40), disk(DiskMood::Slow))
        .at(secs(55), power_cut_while_writing(7))
        .at(secs(65), power_back())
        .at(secs(75), disk(DiskMood::Full))
        .at(secs(85), disk(DiskMood::LosesWrites))
        .at(secs(95), disk(DiskMood::WriteProtected))
        .at(secs(105), power_cut())
        .at(secs(110), calm())
        .at(secs(111), power_back());
    served_after(office, &["desk", "till", "phone"], secs(140))
}

/// Octets of the store flip while it is in use and while the power is off. Octets of the checkpoint flip between two
/// power cuts in short succession: the deletions that only the checkpoint had are lost.
pub(super) fn rotten() -> Office {
    let mut office = office()
        .pcs(1)
        .mode("nat")
        .mail(&MAILERS, Habits { to: ADDRESSES_EVERYWHERE, ..HABITS })
        .fetching("desk", "lan0", "anna")
        .fetching("till", "lan0", "berta")
        .mail_servers(|_| (None, None))
        .polling(1);
    for begins in [30, 70, 110] {
        office = office
            .at(secs(begins - 8), rot(RotIn::Store))
            .at(secs(begins), power_cut())
            .at(secs(begins + 1), rot(RotIn::Store))
            .at(secs(begins + 2), power_back())
            .at(secs(begins + 4), power_cut())
            .at(secs(begins + 5), rot(RotIn::Checkpoint))
            .at(secs(begins + 6), power_back())
            .at(secs(begins + 20), rot(RotIn::Store));
    }
    let office =
        office.at(secs(140), power_cut_while_writing(5)).at(secs(145), power_back()).at(secs(150), calm());
    served_after(office, &["desk", "till"], secs(180))
}

/// Each of `fetchers` has fetched mail after `since`, and each of [`MAILERS`] has sent some. A sender outside may have
/// mail only for a mailbox that no user fetches, and get the reply that it is full.
fn served_after(office: Office, fetchers: &'static [&'static str], since: Duration) -> Office {
    let is_later = move |at: Option<Instant>| at.is_some_and(|at| at > Instant::ZERO + since);
    office
        .expect("mail is fetched in the end", move |account| {
            let mut accounts = fetchers.iter().map(|name| (name, account.record::<FetchAccount>(name)));
            match accounts.find(|(_, it)| !is_later(it.last_well_at)) {
                Some((name, fetched)) => Err(format!("{name}: {fetched}")),
                None => Ok(()),
            }
        })
        .expect("mail is taken in the end", move |account| {
            let accounts =
                MAILERS.iter().map(|(name, port)| (name, port, account.record::<MailAccount>(name)));
            let unwell: Vec<_> = accounts
                .filter(|(_, port, mailer)| {
                    let at = if **port == "wan" { mailer.last_settled_at } else { mailer.last_taken_at };
                    !is_later(at)
                })
                .map(|(name, _, mailer)| format!("{name}: {mailer}"))
                .collect();
            if unwell.is_empty() { Ok(()) } else { Err(unwell.join("; ")) }
        })
}

pub(super) fn sent_on() -> Office {
    let pause_max = Duration::from_secs(4);
    let habits = Habits { to: ADDRESSES_EVERYWHERE, pause_max, long: Some((20, 40_000)), has_tls: false };
    office()
        .pcs(1)
        .mode("nat")
        .isp_lease_secs(60)
        .mail(&MAILERS, habits)
        .fetching("desk", "lan0", "anna")
        // One of each manner.
        .mail_servers(|number| (Some(Manner::ALL[number]), Some(TlsManner::Off)))
        .at(secs(60), power_cut_while_writing(5))
        .at(secs(75), power_back())
        .at(secs(100), disk(DiskMood::LosesWrites))
        .at(secs(110), disk(DiskMood::Sound))
        // Longer than its lease, so that the gateway knows that it has no WAN address.
        .at(secs(130), provider(ProviderMood::Gone))
        .at(secs(230), provider(ProviderMood::Up))
        .at(secs(250), power_cut())
        .at(secs(255), power_back())
        .at(secs(300), calm())
        .expect("each server takes mail in the end", |account| {
            let names = (0..MAIL_ADDRESSES.len()).map(mail_server);
            let mut accounts = names.map(|name| (account.record::<MailServerAccount>(&name), name));
            let is_unwell = |it: &MailServerAccount| it.last_taken_at.is_none_or(|at| at.as_secs() <= 300);
            match accounts.find(|(it, _)| is_unwell(it)) {
                Some((it, name)) => Err(format!("{name}: {it}")),
                None => Ok(()),
            }
        })
}

pub(super) fn encrypted() -> Office {
    let pause_max = Duration::from_secs(4);
    let habits = Habits { to: ADDRESSES_EVERYWHERE, pause_max, long: Some((20, 40_000)), has_tls: true };
    // One of each manner, and one that loses replies as well.
    let tls_manner = |number| TlsManner::ALL.get(number).copied().unwrap_or(TlsManner::Sound);
    let manner = |number| if number < TlsManner::ALL.len() { Manner::Prompt } else { Manner::LosingReplies };
    office()
        .pcs(1)
        .mode("nat")
        .mail(&MAILERS, habits)
        .fetching("desk", "lan0", "anna")
        .mail_servers(move |number| (Some(manner(number)), Some(tls_manner(number))))
        .at(secs(60), power_cut_while_writing(5))
        .at(secs(75), power_back())
        .at(secs(300), calm())
        .expect("mail is sent and fetched under TLS", |account| {
            let desk = account.record::<FetchAccount>("desk");
            if desk.encrypted == 0 {
                return Err(format!("desk: {desk}"));
            }
            let accounts = MAILERS.iter().map(|(name, _)| (name, account.record::<MailAccount>(name)));
            match accounts.into_iter().find(|(_, mailer)| mailer.encrypted == 0) {
                Some((name, mailer)) => Err(format!("{name}: {mailer}")),
                None => Ok(()),
            }
        })
        .expect("each server takes mail, under TLS if it can, and else in clear", move |account| {
            for (number, name) in (0..MAIL_ADDRESSES.len()).map(|number| (number, mail_server(number))) {
                let it = account.record::<MailServerAccount>(&name);
                let in_clear = it.taken - it.encrypted;
                let is_well = match tls_manner(number) {
                    TlsManner::Off => it.encrypted == 0 && in_clear > 0,
                    TlsManner::Sound | TlsManner::Injecting => it.encrypted > 0 && in_clear == 0,
                    TlsManner::Unavailable => it.encrypted > 0 && in_clear > 0,
                    // TLS may have failed at once; the gateway then does not try TLS with the server for a day.
                    TlsManner::Silent | TlsManner::Garbled => in_clear > 0,
                };
                if !is_well {
                    return Err(format!("{name}: {it}"));
                }
            }
            Ok(())
        })
}

pub(super) fn fetched_elsewhere() -> Office {
    let habits = Habits { to: ADDRESSES, pause_max: Duration::from_secs(10), long: None, has_tls: false };
    let mut office = office()
        .pcs(1)
        .mode("nat")
        .mail(&[("scanner", "lan0")], habits)
        .polling(0)
        .fetching("till", "lan0", "berta")
        .at(secs(200), disk(DiskMood::LosesWrites))
        .at(secs(205), disk(DiskMood::Slow))
        .at(secs(340), calm())
        .expect("what came before is fetched in the end", |account| {
            let fetched = account.record::<PopAccount>(POP_SERVER);
            match fetched.oldest_at.is_none_or(|at| at.as_secs() >= 380) {
                true => Ok(()),
                false => Err(fetched.to_string()),
            }
        });
    // The gateway polls the mailbox soon after each boot, and the power fails during the poll.
    for number in 0..12 {
        let begins = secs(20 + 30 * u64::from(number));
        let cut = power_cut_while_writing(1 + number * 7 % 12);
        office = office.at(begins, cut).at(begins + secs(28), power_back());
    }
    office
}
