//! The gateway's reports about mail: `show mail`, and the result of `mail poll`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::{Table, counted, octets, on_one_line, or_dash, span};

/// `show mail`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailReport {
    /// The store's problem.
    pub problem: Option<String>,
    /// The polled remote mailboxes, in the order of the configuration.
    pub accounts: Vec<Account>,
    /// The mail for other servers.
    pub queue: QueueTotals,
    /// The mail that is here.
    pub mailboxes: MailboxTotals,
    /// The connections of clients and other servers.
    pub connections: Connections,
}

/// A remote mailbox and its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its user there, and its server: `alice77@pop.isp.example`.
    pub account: String,
    /// The server with its port.
    pub server: String,
    /// The user who receives the mail; `null` if it is distributed.
    pub user: Option<String>,
    /// `connected`; `waits` for its time; `no-way` while its server is unreachable for want of connectivity; `failing`
    /// if the last poll failed.
    pub state: String,
    /// Seconds since it was last fetched completely.
    pub last_success_secs: Option<u64>,
    /// The last error; it stays when the account is fetched again.
    pub last_error: Option<String>,
    /// Seconds since then.
    pub last_error_secs: Option<u64>,
    /// Seconds until the next poll.
    pub next_secs: u64,
    /// Messages that were fetched since the gateway began.
    pub fetched: u64,
    /// Messages that were deleted there.
    pub deleted: u64,
    /// Messages that stay there, as they are too long.
    pub too_long: usize,
    /// Failed messages that are tried again.
    pub set_back: usize,
    /// Messages that stay there, as their server has no UIDL for them.
    pub nameless: usize,
}

/// The mail for other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTotals {
    /// Recipients without their message yet.
    pub total: usize,
    /// Those of them that wait for `mail queue release`.
    pub held: usize,
}

/// The mail that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxTotals {
    /// Mailboxes.
    pub total: usize,
    /// Messages in all of them.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
}

/// The connections to the mail services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// All that there are now.
    pub total: usize,
    /// Those from outside of the LAN.
    pub outside: usize,
}

impl fmt::Display for MailReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem, accounts, queue, mailboxes, connections } = self;
        if let Some(problem) = problem {
            writeln!(f, "problem: {problem}")?;
        }
        writeln!(
            f,
            "{} with {}, {}\n{} queued for other servers, {} held\n{}, {} from outside",
            counted(mailboxes.total, "mailbox", "mailboxes"),
            counted(mailboxes.messages, "message", "messages"),
            octets(mailboxes.octets),
            queue.total,
            queue.held,
            counted(connections.total, "connection", "connections"),
            connections.outside,
        )?;
        if accounts.is_empty() {
            return Ok(());
        }
        let mut table =
            Table::new(["polled", "for", "state", "last success", "next", "fetched", "left there"]);
        for account in accounts {
            table.row([
                account.account.clone(),
                account.user.clone().unwrap_or_else(|| "everybody".to_owned()),
                account.state.clone(),
                or_dash(account.last_success_secs.map(|secs| format!("{} ago", span(secs))).as_ref()),
                span(account.next_secs),
                account.fetched.to_string(),
                (account.too_long + account.set_back + account.nameless).to_string(),
            ]);
        }
        write!(f, "\n{table}")?;
        for account in accounts {
            if let (Some(why), Some(secs)) = (&account.last_error, account.last_error_secs) {
                writeln!(f, "{}: {} ago: {}", account.account, span(secs), on_one_line(why))?;
            }
        }
        Ok(())
    }
}

/// The result or preview of `mail poll`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// All accounts, in the order of the configuration.
    pub accounts: Vec<PolledAccount>,
}

/// A polled account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledAccount {
    /// Its user there, and its server.
    pub account: String,
    /// Why it was not fetched to its end.
    pub error: Option<String>,
    /// The messages that something was done with, or would have been: the first of one connection.
    pub messages: Vec<PolledMessage>,
    /// Whether there is more, which the next connection fetches.
    pub more: bool,
    /// Messages that stay there, as they are too long.
    pub too_long: usize,
    /// Messages that failed before, and are not tried again yet.
    pub waiting: usize,
}

/// A message that something was done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledMessage {
    /// Its name on its server (UIDL).
    pub uidl: Option<String>,
    /// Its octets, as its server counts.
    pub octets: u64,
    /// `fetch`; `delete` there, as it was fetched before; `too-long`: it stays there, and its receiver is notified;
    /// `later`: it failed.
    pub action: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The rule that determined the receivers: `account`, `envelope`, `received`, `addressees` or `otherwise`.
    pub rule: Option<String>,
    /// The header that decided.
    pub header: Option<String>,
    /// The receivers.
    pub receivers: Vec<PolledReceiver>,
    /// The evaluated places, each with its content.
    pub looked_at: Vec<String>,
}

/// A user who receives a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledReceiver {
    /// The user's name.
    pub user: String,
    /// The address that was found.
    pub address: Option<String>,
}

impl Polled {
    /// Whether all accounts were fetched to their ends.
    pub fn is_done(&self) -> bool {
        self.accounts.iter().all(|account| account.error.is_none())
    }
}

impl fmt::Display for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.accounts.is_empty() {
            return writeln!(f, "there is no mailbox to poll");
        }
        for (number, account) in self.accounts.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            account.tell(f, self.dry_run)?;
        }
        Ok(())
    }
}

impl PolledAccount {
    fn tell(&self, f: &mut fmt::Formatter<'_>, is_dry: bool) -> fmt::Result {
        let Self { account, messages, .. } = self;
        match &messages[..] {
            // There may be messages that were not seen.
            [] if self.error.is_some() => writeln!(f, "{account}:")?,
            [] => writeln!(f, "{account}: nothing {}", if is_dry { "to fetch" } else { "fetched" })?,
            _ => {
                writeln!(f, "{account}:")?;
                let mut table = Table::new(["message", "size", "action", "rule", "header", "receivers"]);
                for message in messages {
                    let receivers: Vec<_> = message.receivers.iter().map(PolledReceiver::to_string).collect();
                    table.row([
                        on_one_line(&or_dash(message.uidl.as_ref())),
                        octets(message.octets),
                        message.action.clone(),
                        or_dash(message.rule.as_ref()),
                        on_one_line(&or_dash(message.header.as_ref())),
                        or_dash(Some(receivers.join(", ")).filter(|text| !text.is_empty()).as_ref()),
                    ]);
                }
                write!(f, "{table}")?;
            }
        }
        for message in messages {
            let name = on_one_line(&or_dash(message.uidl.as_ref()));
            if let Some(why) = &message.error {
                writeln!(f, "{name} stays there for now: {}", on_one_line(why))?;
            }
            if message.rule.as_deref() == Some("otherwise") {
                let places: Vec<_> = message.looked_at.iter().map(|place| on_one_line(place)).collect();
                writeln!(f, "{name} names nobody here; looked at {}", places.join(", "))?;
            }
        }
        for (count, what) in [
            (self.too_long, ["is too long, and stays there", "are too long, and stay there"]),
            (
                self.waiting,
                ["failed before, and is tried again later", "failed before, and are tried again later"],
            ),
        ] {
            if count > 0 {
                writeln!(f, "{}", counted(count, what[0], what[1]))?;
            }
        }
        if self.more {
            writeln!(f, "there is more, which comes next")?;
        }
        self.error.iter().try_for_each(|why| writeln!(f, "not fetched: {}", on_one_line(why)))
    }
}

impl fmt::Display for PolledReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} ({})", self.user, on_one_line(address)),
            None => f.write_str(&self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(uidl: &str, rule: Option<&str>) -> PolledMessage {
        PolledMessage {
            uidl: Some(uidl.to_owned()),
            octets: 1500,
            action: if rule.is_some() { "fetch" } else { "later" }.to_owned(),
            error: rule.is_none().then(|| "the mailbox\x1b is full".to_owned()),
            rule: rule.map(str::to_owned),
            header: rule.filter(|rule| *rule == "envelope").map(|_| "Envelope-To".to_owned()),
            receivers: vec![PolledReceiver {
                user: "anna".to_owned(),
                address: Some("anna@office.example".to_owned()),
            }],
            looked_at: vec!["To: list@lists.example".to_owned()],
        }
    }

    #[test]
    fn a_poll_tells_rule_header_and_receiver_of_each_message() {
        let account = |messages, error: Option<&str>| PolledAccount {
            account: "office@pop.isp.example".to_owned(),
            error: error.map(str::to_owned),
            messages,
            more: false,
            too_long: 2,
            waiting: 0,
        };
        let messages =
            vec![message("m1", Some("envelope")), message("m2", Some("otherwise")), message("m3", None)];
        let polled = Polled {
            dry_run: true,
            accounts: vec![account(messages, None), account(Vec::new(), Some("busy"))],
        };
        assert!(!polled.is_done());
        let expected = "office@pop.isp.example:\n\
            message  size     action  rule       header       receivers\n\
            m1       1.4 KiB  fetch   envelope   Envelope-To  anna (anna@office.example)\n\
            m2       1.4 KiB  fetch   otherwise  -            anna (anna@office.example)\n\
            m3       1.4 KiB  later   -          -            anna (anna@office.example)\n\
            m2 names nobody here; looked at To: list@lists.example\n\
            m3 stays there for now: the mailbox  is full\n2 are too long, and stay there\n\n\
            office@pop.isp.example:\n2 are too long, and stay there\nnot fetched: busy\n";
        assert_eq!(polled.to_string(), expected);
        let none = Polled { dry_run: false, accounts: Vec::new() };
        assert_eq!((none.to_string().as_str(), none.is_done()), ("there is no mailbox to poll\n", true));
    }
}
