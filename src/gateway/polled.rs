//! The administrator's requests about mail as a whole and about polled mailboxes, while the gateway runs.

use gatepost_ground::Instant;
use gatepost_services::mail::poll::collect::{Disposition, Seen};
use gatepost_services::mail::poll::{AccountStatus, Looked};

use super::inspector::Inspector;
use crate::control::mail_report::{
    Account, Connections, MailReport, MailboxTotals, Polled, PolledAccount, PolledMessage, PolledReceiver,
    QueueTotals,
};

impl Inspector {
    /// The report on mail.
    pub(crate) fn mail_report(&self) -> MailReport {
        let now = self.clock.now();
        let overview = self.list.mail_state().overview(now);
        MailReport {
            problem: overview.problem,
            accounts: self
                .list
                .polls()
                .standings()
                .into_iter()
                .map(|standing| account(standing, now))
                .collect(),
            queue: QueueTotals { total: overview.queued, held: overview.held },
            mailboxes: MailboxTotals {
                total: overview.mailboxes,
                messages: overview.messages,
                octets: overview.octets,
            },
            connections: Connections { total: overview.connections, outside: overview.connections_outside },
        }
    }

    /// Polls all mailboxes elsewhere now, and returns the outcome. With `is_dry`, nothing is fetched.
    pub(super) async fn poll_mail(&self, is_dry: bool) -> Polled {
        let looked = self.list.polls().look_at_all(is_dry).await;
        Polled { dry_run: is_dry, accounts: looked.into_iter().map(polled_account).collect() }
    }
}

fn account(standing: AccountStatus, now: Instant) -> Account {
    let schedule = &standing.schedule;
    let state = match schedule.trouble() {
        _ if standing.is_connected => "connected",
        _ if schedule.waits_for_connectivity => "no-way",
        Some(_) => "failing",
        None => "waits",
    };
    let secs_since = |then: Instant| now.since(then).as_secs();
    let failure = schedule.last_failure.as_ref();
    Account {
        state: state.to_owned(),
        last_success_secs: schedule.last_success.map(secs_since),
        last_error: failure.map(|(_, why)| why.clone()),
        last_error_secs: failure.map(|(at, _)| secs_since(*at)),
        next_secs: schedule.due.since(now).as_secs(),
        account: standing.account,
        server: standing.server,
        user: standing.user,
        fetched: standing.fetched,
        deleted: standing.deleted,
        too_long: standing.too_long,
        set_back: standing.set_back,
        nameless: standing.nameless,
    }
}

fn polled_account(Looked { account, error, collected }: Looked) -> PolledAccount {
    PolledAccount {
        account,
        error,
        messages: collected.seen.into_iter().map(polled_message).collect(),
        more: collected.is_more,
        too_long: collected.too_long,
        waiting: collected.waiting,
    }
}

fn polled_message(Seen { uidl, octets, disposition, distributed }: Seen) -> PolledMessage {
    let action = disposition.name().to_owned();
    let error = match disposition {
        Disposition::SetBack(why) => Some(why),
        Disposition::Fetched | Disposition::Deleted | Disposition::TooLong => None,
    };
    let (rule, header, receivers, looked_at) = match distributed {
        Some(distributed) => {
            let receivers = distributed.receivers.into_iter().map(|receiver| PolledReceiver {
                user: receiver.user,
                address: receiver.address.map(|address| address.to_string()),
            });
            let rule = Some(distributed.rule.name().to_owned());
            (rule, distributed.field, receivers.collect(), distributed.looked_at)
        }
        None => (None, None, Vec::new(), Vec::new()),
    };
    PolledMessage { uidl, octets, action, error, rule, header, receivers, looked_at }
}
