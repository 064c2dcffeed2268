//! `gatepost mail trace`: where is that mail?
//!
//! It reads the store's files, as `mail list` does, and asks no gateway: so it does the same whether one runs or not,
//! and a log of any length keeps no service waiting.

use std::collections::BTreeMap;
use std::fmt::Write;

use gatepost_services::mail::address::{ForwardPath, Mailbox};
use gatepost_services::mail::service::aliases::Step;
use gatepost_services::mail::service::directory::Directory;
use gatepost_services::mail::store::{Done, Origin};
use gatepost_services::mail::trace::{self as traces, Accepted, CopyState, Handed, NoName, Trace, Traced};
use gatepost_services::mail::transfer::date;
use gatepost_services::store::ReadOnlyFiles;
use serde::Serialize;

use super::aliases::{StepReport, directory};
use super::{Options, print, print_json, remedy_of_reading, tell};
use crate::config::Config;
use crate::control::table::{counted, octets, on_one_line};
use crate::error::Error;

/// What `--json` prints. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Report {
    /// The messages, by their numbers.
    messages: Vec<MessageReport>,
    /// What is known of messages of which rules have left no copy.
    discarded: Vec<String>,
    /// Whether there are more of that name.
    more: bool,
}

#[derive(Debug, Default, Serialize)]
struct MessageReport {
    /// The number in the store.
    id: u64,
    /// The name by which SMTP has taken it.
    taken_as: Option<String>,
    /// What it calls itself, without angle brackets.
    message_id: Option<String>,
    /// When it was accepted, in seconds since 1970; `null`, as all that its record says, if that is gone.
    accepted: Option<u64>,
    /// `smtp`, `polled`, `imported`, `local` or `voice`.
    origin: Option<&'static str>,
    /// The client's address, or a text if the gateway itself made or fetched the message.
    source: Option<String>,
    /// What the client called itself.
    helo: Option<String>,
    /// Who had logged in.
    login: Option<String>,
    /// The account elsewhere that it was fetched from.
    account: Option<String>,
    /// The address that bounces go to; empty for a bounce.
    return_path: Option<String>,
    /// What SPF, DKIM and DMARC said.
    results: Option<String>,
    size: Option<u64>,
    recipients: Vec<RecipientReport>,
    /// What rules did with it, in words.
    rules: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct RecipientReport {
    /// The address that the sender named, or that an alias or a rule sent it on from; `null` if that is not known.
    asked: Option<String>,
    /// What the configuration makes of that address now.
    resolved: Vec<StepReport>,
    copies: Vec<CopyReport>,
}

#[derive(Debug, Default, Serialize)]
struct CopyReport {
    /// The address that has it.
    recipient: Option<String>,
    /// `mailbox`, `deleted`, `mailbox-removed`, `queued`, `delivered`, `bounced`, `failed`, `cancelled` or `unknown`.
    state: &'static str,
    mailbox: Option<String>,
    folder: Option<String>,
    uid: Option<u32>,
    /// The queue's entry.
    id: Option<String>,
    tries: Option<u32>,
    /// When it is tried next, in seconds since 1970; `null` while it is held.
    next_try: Option<u64>,
    held: Option<bool>,
    /// What the other server said last.
    reply: Option<String>,
    /// When that was, of one that is over, in seconds since 1970.
    time: Option<u64>,
    /// The number of the notice that reports it.
    notice: Option<u64>,
}

/// Tells where the messages are that are called `name`; an error if nothing is known of any.
pub(super) fn run(options: &Options, name: &str) -> Result<(), Error> {
    let wanted = name.parse().map_err(|NoName| {
        let what = format!("{name:?} calls no message");
        let remedy = "write a number that `gatepost mail list` or `show queue` has, the name in the reply to the sender, \
                      or a Message-ID";
        Error::usage(format!("{what}; {remedy}"))
    })?;
    let config = options.load_to_read()?;
    let disk = ReadOnlyFiles::new(&config.system.state_dir);
    let trace = traces::trace(&disk, &wanted)
        .map_err(|error| Error::failed("cannot read the mail store", &error, remedy_of_reading(&error)))?;
    if trace.is_damaged {
        tell("the mail store is damaged; see `gatepost mail check`");
    }
    let is_known = !trace.messages.is_empty() || !trace.discarded.is_empty();
    if options.json {
        print_json(&report(&config, trace))?;
    } else if is_known {
        print(text(&report(&config, trace)).trim_end());
    }
    if !is_known {
        let why = "no message that the store holds is called so, nor one of which it still knows";
        let remedy = "look for it with `gatepost mail search`";
        let what = format!("nothing is known of {}", on_one_line(name));
        return Err(Error::failed(what, why, remedy).reported());
    }
    Ok(())
}

fn report(config: &Config, trace: Trace) -> Report {
    let directory = directory(config);
    Report {
        messages: trace.messages.into_iter().map(|message| message_report(&directory, message)).collect(),
        discarded: trace.discarded,
        more: trace.is_cut,
    }
}

fn message_report(directory: &Directory, message: Traced) -> MessageReport {
    let mut by_asked = BTreeMap::<Option<String>, Vec<CopyReport>>::new();
    for copy in message.copies {
        let report = CopyReport { recipient: copy.recipient, ..copy_report(copy.fate) };
        by_asked.entry(copy.asked).or_default().push(report);
    }
    let recipients = by_asked.into_iter().map(|(asked, copies)| {
        let steps = asked.as_deref().map(|asked| steps(directory, asked)).unwrap_or_default();
        RecipientReport { asked, resolved: steps.into_iter().map(StepReport::of).collect(), copies }
    });
    let of_record = message.accepted.map(accepted_report).unwrap_or_default();
    MessageReport { id: message.id, recipients: recipients.collect(), rules: message.rules, ..of_record }
}

fn accepted_report(accepted: Accepted) -> MessageReport {
    let handed = Handed::parse(&accepted.source).filter(|_| accepted.origin == Origin::Smtp);
    let (origin, account) = match accepted.origin {
        Origin::Smtp => ("smtp", None),
        Origin::Polled { account, .. } => ("polled", Some(account)),
        Origin::Imported { .. } => ("imported", None),
        Origin::Local => ("local", None),
        Origin::Voice => ("voice", None),
    };
    let source = handed.as_ref().map_or(accepted.source, |handed| handed.peer.clone());
    let (helo, taken_as, login) =
        handed.map_or((None, None, None), |handed| (Some(handed.helo), Some(handed.id), handed.user));
    MessageReport {
        taken_as,
        message_id: accepted.message_id,
        accepted: Some(accepted.time),
        origin: Some(origin),
        source: Some(source),
        helo,
        login,
        account,
        return_path: Some(accepted.return_path),
        results: Some(accepted.results),
        size: Some(accepted.size),
        ..MessageReport::default()
    }
}

/// What the configuration makes of an address.
fn steps(directory: &Directory, asked: &str) -> Vec<Step> {
    let Ok(mailbox) = Mailbox::parse(asked) else { return Vec::new() };
    directory.trace(&ForwardPath::Mailbox(mailbox), |_| false).1
}

fn copy_report(fate: CopyState) -> CopyReport {
    let over = |state, done: Done| CopyReport {
        state,
        id: Some(done.entry.to_string()),
        time: Some(done.time).filter(|time| *time > 0),
        reply: Some(done.reply),
        ..CopyReport::default()
    };
    match fate {
        CopyState::Here { mailbox, folder, uid } => CopyReport {
            state: "mailbox",
            mailbox: Some(mailbox),
            folder: Some(folder),
            uid: Some(uid),
            ..CopyReport::default()
        },
        CopyState::Deleted { mailbox, uid } => {
            CopyReport { state: "deleted", mailbox: Some(mailbox), uid: Some(uid), ..CopyReport::default() }
        }
        CopyState::MailboxRemoved => CopyReport { state: "mailbox-removed", ..CopyReport::default() },
        CopyState::Queued(id, progress) => CopyReport {
            state: "queued",
            id: Some(id.to_string()),
            tries: Some(progress.tries),
            next_try: (!progress.is_held).then_some(progress.due),
            held: Some(progress.is_held),
            reply: Some(progress.reply),
            ..CopyReport::default()
        },
        CopyState::Delivered(done) => over("delivered", done),
        CopyState::Failed(done) => over("failed", done),
        CopyState::Cancelled(done) => over("cancelled", done),
        CopyState::Bounced(id, notice) => CopyReport {
            state: "bounced",
            id: Some(id.to_string()),
            notice: Some(notice),
            ..CopyReport::default()
        },
        CopyState::Unknown(id) => {
            CopyReport { state: "unknown", id: id.map(|id| id.to_string()), ..CopyReport::default() }
        }
    }
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut text = String::new();
    for message in &report.messages {
        message_text(&mut text, message);
    }
    for discarded in &report.discarded {
        _ = writeln!(text, "a message of which rules left no copy: {}", on_one_line(discarded));
    }
    if report.more {
        text += "there are more of that name\n";
    }
    text
}

fn message_text(text: &mut String, message: &MessageReport) {
    let mut head = format!("message {}", message.id);
    if let Some(taken_as) = &message.taken_as {
        _ = write!(head, ", taken as {taken_as}");
    }
    if let Some(message_id) = &message.message_id {
        _ = write!(head, ", Message-ID <{message_id}>");
    }
    _ = writeln!(text, "{}", on_one_line(&head));
    match (message.accepted, &message.source, &message.return_path, message.size) {
        (Some(accepted), Some(source), Some(return_path), Some(size)) => {
            let mut came = format!("came {} (UTC) from {source}", date::write(accepted));
            if let Some(helo) = message.helo.as_ref().filter(|helo| !helo.is_empty()) {
                _ = write!(came, " ({helo})");
            }
            if let Some(login) = &message.login {
                _ = write!(came, ", logged in as {login}");
            }
            if let Some(account) = &message.account {
                _ = write!(came, ", the account {account}");
            }
            let return_path = format!("return path <{return_path}>");
            _ = writeln!(text, "  {}", on_one_line(&format!("{came}; {return_path}; {}", octets(size))));
        }
        _ => text.push_str("  when and from whom it came is not known any more\n"),
    }
    if let Some(results) = message.results.as_ref().filter(|results| !results.is_empty()) {
        _ = writeln!(text, "  checked: {}", on_one_line(results));
    }
    for recipient in &message.recipients {
        match &recipient.asked {
            Some(asked) => _ = writeln!(text, "  for {}", on_one_line(asked)),
            None => text.push_str("  for whom is not known\n"),
        }
        // A user's own address needs no explanation.
        if let [_, _, ..] = recipient.resolved[..] {
            text.push_str("    which the configuration of now resolves so:\n");
            for step in &recipient.resolved {
                _ = writeln!(text, "      {step}");
            }
        }
        for copy in &recipient.copies {
            _ = writeln!(text, "    {}", on_one_line(&copy_text(copy)));
        }
    }
    if message.recipients.is_empty() {
        text.push_str("  where it is is not known any more\n");
    }
    for rules in &message.rules {
        _ = writeln!(text, "  {}", on_one_line(rules));
    }
}

fn copy_text(copy: &CopyReport) -> String {
    let reply = copy.reply.as_deref().unwrap_or_default();
    let id = copy.id.as_deref().unwrap_or_default();
    let mailbox = copy.mailbox.as_deref().unwrap_or_default();
    let uid = copy.uid.unwrap_or_default();
    let when = match copy.time {
        Some(time) => format!(" on {} (UTC)", date::write(time)),
        None => String::new(),
    };
    let what = match copy.state {
        "mailbox" => {
            let folder = copy.folder.as_deref().unwrap_or_default();
            format!("in the mailbox {mailbox}, folder {folder}, as number {uid}")
        }
        "deleted" => {
            format!(
                "deleted from the mailbox {mailbox}, where it was number {uid}, by POP3 or mail.keep_days"
            )
        }
        "mailbox-removed" => "its mailbox was removed".to_owned(),
        "queued" => {
            let next = match copy.next_try {
                Some(next) => format!("the next on {} (UTC)", date::write(next)),
                None => "held".to_owned(),
            };
            let said = if reply.is_empty() { String::new() } else { format!("; last: {reply}") };
            let tries = counted(copy.tries.unwrap_or_default(), "try", "tries");
            format!("waits in the queue as {id}: {tries}, {next}{said}")
        }
        "delivered" => format!("taken by another server{when}: {reply}"),
        "failed" => format!("given up{when}, and nobody was to be told: {reply}"),
        "cancelled" => format!("{reply}{when}"),
        "bounced" => {
            format!("could not be delivered; message {} tells so", copy.notice.unwrap_or_default())
        }
        _ => "not there any more; what became of it is not known".to_owned(),
    };
    let recipient = copy.recipient.as_deref().unwrap_or("an address that is not known any more");
    format!("{recipient}: {what}")
}

#[cfg(test)]
mod tests {
    use gatepost_services::mail::store::{Progress, QueueId};
    use gatepost_services::mail::trace::Copy;

    use super::*;

    const FILE: &str = "users = [{ name = 'anna' }]\n\
        mail.aliases = [{ name = 'all', members = ['anna', 'a@far.example'] }]";

    fn told() -> Report {
        let config = Config::parse("t.toml", FILE).expect("a configuration");
        let entry = |recipient| QueueId { message: 12, recipient };
        let copy = |asked: &str, recipient: &str, fate| Copy {
            asked: Some(asked.to_owned()),
            recipient: Some(recipient.to_owned()),
            fate,
        };
        let anna = "anna@office.example";
        let here = CopyState::Here { mailbox: "anna".to_owned(), folder: "INBOX".to_owned(), uid: 3 };
        let progress = Progress {
            tries: 2,
            due: 1_709_210_096,
            reply: "450 la\x1bter".to_owned(),
            ..Progress::default()
        };
        let done = Done { time: 1_709_210_096, ..Done::new(entry(1), "250 as 4".to_owned()) };
        let all = "all@office.example";
        let message = Traced {
            id: 12,
            accepted: Some(Accepted {
                time: 1_709_210_096,
                source: "192.168.1.10 pc1 as 1.0123456789abcdef by anna".to_owned(),
                return_path: anna.to_owned(),
                results: "spf=pass".to_owned(),
                size: 1500,
                message_id: Some("m@pc1".to_owned()),
                ..Accepted::default()
            }),
            copies: vec![
                copy(all, anna, here),
                copy(all, "a@far.example", CopyState::Queued(entry(0), progress)),
                copy("b@far.example", "b@far.example", CopyState::Delivered(done)),
                copy("c@far.example", "c@far.example", CopyState::Bounced(entry(2), 13)),
            ],
            rules: vec!["anna: a rule".to_owned()],
        };
        let copies = vec![Copy { asked: None, recipient: None, fate: CopyState::Unknown(Some(entry(0))) }];
        let gone = Traced { id: 11, copies, ..Traced::default() };
        let discarded = vec!["from x".to_owned()];
        report(&config, Trace { messages: vec![gone, message], discarded, ..Trace::default() })
    }

    #[test]
    fn a_trace_is_told_in_lines_for_people() {
        let expected = "\
            message 11\n  when and from whom it came is not known any more\n  for whom is not known\n    \
            an address that is not known any more: not there any more; what became of it is not known\n\
            message 12, taken as 1.0123456789abcdef, Message-ID <m@pc1>\n  \
            came Thu Feb 29 12:34:56 2024 (UTC) from 192.168.1.10 (pc1), logged in as anna; \
            return path <anna@office.example>; 1.4 KiB\n  \
            checked: spf=pass\n  \
            for all@office.example\n    \
            which the configuration of now resolves so:\n      \
            all@office.example: an alias for\n        \
            anna: a user, who has it\n        \
            a@far.example: at another server, which has it\n    \
            anna@office.example: in the mailbox anna, folder INBOX, as number 3\n    \
            a@far.example: waits in the queue as 12.0: 2 tries, the next on Thu Feb 29 12:34:56 2024 (UTC); \
            last: 450 la ter\n  \
            for b@far.example\n    \
            b@far.example: taken by another server on Thu Feb 29 12:34:56 2024 (UTC): 250 as 4\n  \
            for c@far.example\n    \
            c@far.example: could not be delivered; message 13 tells so\n  \
            anna: a rule\n\
            a message of which rules left no copy: from x\n";
        assert_eq!(text(&told()), expected);
    }

    #[test]
    fn a_trace_has_what_programs_ask_for() {
        let told = serde_json::to_value(told()).expect("plain data");
        let message = &told["messages"][1];
        assert_eq!((&message["id"], &message["login"]), (&12.into(), &"anna".into()));
        assert_eq!((&message["origin"], &message["source"]), (&"smtp".into(), &"192.168.1.10".into()));
        let all = &message["recipients"][0];
        assert_eq!((&all["resolved"][1]["what"], &all["copies"][1]["tries"]), (&"user".into(), &2.into()));
        assert!(told["messages"][0]["accepted"].is_null() && told["more"] == false, "{told}");
    }
}
