//! Mail that is taken is kept, whatever becomes of the gateway and its disk.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::action::{calm, disk, power_back, power_cut, power_cut_while_writing};
use super::super::office::{Office, office};
use super::super::outcome::Account;
use super::secs;
use crate::machine::mailer::{MailAccount, Mailer};
use crate::world::disk::DiskMood;

/// Who sends, from which port of the gateway's, and to whose mailbox.
const MAILERS: [(&str, &str, &str); 3] =
    [("scanner", "lan0", "anna"), ("alarm", "lan0", "berta"), ("stranger", "wan", "anna")];

pub(super) fn kept() -> Office {
    let office = office().pcs(1).mode("nat").config(
        "system.unfinished = ['mail']\nfirewall.wan_services = ['smtp']\n\
         users = [{ name = 'anna' }, { name = 'berta' }]\n",
    );
    let office = MAILERS.into_iter().fold(office, |office, (name, port, user)| {
        let to = if user == "anna" { "anna@office.example" } else { "berta@office.example" };
        office.machine(name, port, move |identity| Mailer::new(identity, to, port == "wan"))
    });
    office
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
        .at(secs(111), power_back())
        .expect("mail is taken in the end", |account| {
            each(account, |mailer| mailer.last_taken_at.is_some_and(|at| at.as_secs() > 140))
        })
        .expect("what is taken is in its mailbox, and nothing that is refused", mail_kept)
}

fn each(account: &Account, is_well: impl Fn(&MailAccount) -> bool) -> Result<(), String> {
    let records = MAILERS.iter().map(|(name, ..)| (name, account.record::<MailAccount>(name)));
    let unwell: Vec<_> = records
        .filter(|(_, mailer)| !is_well(mailer))
        .map(|(name, mailer)| format!("{name}: {mailer}"))
        .collect();
    if unwell.is_empty() { Ok(()) } else { Err(unwell.join("; ")) }
}

/// Whether every message that was taken lies in its mailbox once, and what was refused nowhere. What had no reply may be
/// there once, or not. // RFC 5321, section 4.5.3.2.6
fn mail_kept(account: &Account) -> Result<(), String> {
    let mut found: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for (mailbox, messages) in &account.mailboxes {
        for message in messages {
            let text = String::from_utf8_lossy(message);
            let mark = text.lines().find_map(|line| line.strip_prefix("Subject: "));
            *found.entry((mailbox, mark.unwrap_or("a message without a mark").to_owned())).or_default() += 1;
        }
    }
    for (name, _, user) in MAILERS {
        let mailer = account.record::<MailAccount>(name);
        let mut take = |mark: &String| found.remove(&(user, mark.clone())).unwrap_or(0);
        for mark in &mailer.taken {
            let times = take(mark);
            if times != 1 {
                return Err(format!(
                    "{mark} of {name} was taken and is {times} times in the mailbox of {user}"
                ));
            }
        }
        if let Some(mark) = mailer.unknown.iter().find(|mark| take(mark) > 1) {
            return Err(format!("{mark} of {name} was sent once and is there twice"));
        }
    }
    match found.into_keys().next() {
        Some((mailbox, mark)) => {
            Err(format!("{mark} is in the mailbox of {mailbox}, and nobody was told so"))
        }
        None => Ok(()),
    }
}
