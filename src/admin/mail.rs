//! Mail: the queue for other servers, and how mail is.

use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::layout::{badge, card, facts, nothing, table, token};
use super::texts::{Texts, fill};
use super::words::{ago, span};
use super::{Answer, Scene, Unavailable};
use crate::control::mail::{QueueAction, QueueChanged, Request};
use crate::control::mail_report::{Account, MailReport};
use crate::control::report::{Queue, Queued};
use crate::control::table::octets;

/// The path of the page.
const PATH: &str = "/mail";
/// The form's field that says what is to be done.
const DO: &str = "do";
/// The most entries of the queue on the page; `gatepost show queue` has all.
pub const SHOWN_MAX: usize = 200;

/// What can be done to a message, by the words of forms.
const ACTIONS: [(&str, QueueAction); 3] =
    [("hold", QueueAction::Hold), ("release", QueueAction::Release), ("delete", QueueAction::Delete)];

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    page(scene, &[]).await
}

/// The content, with why something was not done.
async fn page(scene: &Scene<'_>, undone: &[String]) -> Result<Markup, Unavailable> {
    let words = &scene.texts.mail;
    if scene.inspector.mail_off().is_some() {
        return Ok(html! { p .notice { (words.off) } });
    }
    let (report, queue) = (scene.inspector.mail_report(), scene.inspector.mail_queue().await?);
    let is_fixed = !scene.visitor.may_change();
    let form_token = html! { (token(scene.visitor)) };
    Ok(html! {
        @if !undone.is_empty() {
            section .card.warning role="alert" {
                h2 { (words.undone) }
                ul { @for why in undone { li lang="en" { (why) } } }
            }
        }
        (of(scene.texts, &report))
        (queued(scene.texts, &queue, (!is_fixed).then_some(&form_token)))
    })
}

/// What `gatepost show mail` tells.
pub fn of(texts: &Texts, report: &MailReport) -> Markup {
    let words = &texts.mail;
    let MailReport { problem, accounts, queue, mailboxes, connections } = report;
    html! {
        @match problem {
            Some(problem) => section .card.warning { h2 { (words.problem) } p lang="en" { (problem) } },
            None if queue.held > 0 => section .card.warning { h2 { (words.held_title) } p { (words.held_about) } },
            None => section .card.fine { h2 { (words.fine) } p { (words.fine_about) } },
        }
        (card(&words.here, &facts(&[
            (&words.mailboxes, mailboxes.total.to_string()),
            (&words.messages, mailboxes.messages.to_string()),
            (&words.room, octets(mailboxes.octets)),
            (&words.connections, connections.total.to_string()),
            (&words.connections_outside, connections.outside.to_string()),
        ])))
        @if !accounts.is_empty() { (card(&words.polled, &polled(texts, accounts))) }
    }
}

/// The polled mailboxes elsewhere.
pub fn polled(texts: &Texts, accounts: &[Account]) -> Markup {
    let words = &texts.mail;
    let header = [&words.account, &words.user, &words.state, &words.success, &words.next].map(String::as_str);
    let row = |account: &Account| {
        let (kind, state) = match account.state.as_str() {
            "failing" => ("bad", &words.failing),
            "no-way" => ("bad", &words.no_way),
            "connected" => ("good", &words.connected),
            _ => ("good", &words.waits),
        };
        [
            html! { (account.account) },
            html! { (account.user.as_ref().unwrap_or(&words.everybody)) },
            html! {
                (badge(kind, state))
                @if let (true, Some(why)) = (kind == "bad", &account.last_error) { " " span lang="en" { (why) } }
            },
            account.last_success_secs.map_or_else(|| nothing(texts), |secs| html! { (ago(texts, secs)) }),
            html! { (span(texts, account.next_secs)) },
        ]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    table(&words.polled, header, &rows)
}

/// The queue; with `form_token`, the field that proves a form, each entry has its buttons.
pub fn queued(texts: &Texts, queue: &Queue, form_token: Option<&Markup>) -> Markup {
    let words = &texts.mail;
    let header = [&words.recipient, &words.sender, &words.age, &words.next, &words.reply, &words.actions]
        .map(String::as_str);
    let rows: Vec<_> =
        queue.queue.iter().take(SHOWN_MAX).map(|queued| row(texts, queued, form_token)).collect();
    let more = queue.total.saturating_sub(rows.len());
    html! {
        section .card {
            h2 { (words.queue) }
            @if let Some(problem) = &queue.problem { p lang="en" { (problem) } }
            @if rows.is_empty() { p { (words.empty) } } @else { (table(&words.queue, header, &rows)) }
            @if more > 0 { p { (fill(&texts.clients.more, &[("n", &more.to_string())])) } }
        }
    }
}

fn row(texts: &Texts, queued: &Queued, form_token: Option<&Markup>) -> [Markup; 6] {
    let words = &texts.mail;
    let next = match queued.next_try_secs {
        _ if queued.under_way => html! { (words.under_way) },
        Some(secs) => html! { (span(texts, secs)) },
        None => badge("bad", &words.held),
    };
    let first = if queued.held { ("release", &words.release) } else { ("hold", &words.hold) };
    [
        html! { strong { (queued.recipient) } },
        if queued.sender.is_empty() {
            html! { (words.gateway) }
        } else {
            html! { (queued.sender) }
        },
        html! { (ago(texts, queued.age_secs)) },
        next,
        if queued.last_reply.is_empty() {
            nothing(texts)
        } else {
            html! { span lang="en" { (queued.last_reply) } }
        },
        html! {
            @if let Some(form_token) = form_token {
                form .actions method="post" action=(PATH) {
                    (form_token)
                    input type="hidden" name="id" value=(queued.id);
                    @for (action, word) in [first, ("delete", &words.delete)] {
                        button .quiet type="submit" name=(DO) value=(action)
                            aria-label=(format!("{word}: {}", queued.recipient)) { (word) }
                    }
                }
            } @else { (nothing(texts)) }
        },
    ]
}

/// Does to a message of the queue what was sent.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let action = ACTIONS.iter().find(|(word, _)| Some(*word) == sent.get(DO)).map(|(_, action)| *action);
    let (Some(action), Some(id)) = (action, sent.get("id")) else { return Ok(Answer::Broken) };
    let request = Request::Queue { action, id: id.to_owned() };
    let undone: Vec<_> = match scene.inspector.mail(request).await {
        Ok(outcome) => serde_json::from_value::<QueueChanged>(outcome)
            .map(|changed| changed.undone().collect())
            .unwrap_or_default(),
        Err(undone) => vec![format!("{}; {}", undone.why, undone.remedy)],
    };
    if undone.is_empty() {
        return Ok(Answer::SeeOther(PATH.to_owned()));
    }
    Ok(Answer::Page(StatusCode::CONFLICT, page(scene, &undone).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::english;
    use crate::control::mail_report::{Connections, MailboxTotals, QueueTotals};

    fn entry(id: &str, held: bool) -> Queued {
        Queued {
            id: id.to_owned(),
            sender: String::new(),
            recipient: "bob@<b>.example".to_owned(),
            age_secs: 60,
            size: 1000,
            tries: 1,
            next_try_secs: (!held).then_some(300),
            last_reply: "451 later".to_owned(),
            held,
            under_way: false,
        }
    }

    #[test]
    fn an_entry_of_the_queue_has_what_can_be_done_to_it() {
        let queue = Queue { problem: None, total: 2, queue: vec![entry("1.0", false), entry("2.0", true)] };
        let form_token = html! { "TOKEN" };
        let page = queued(english(), &queue, Some(&form_token)).into_string();
        assert_eq!(page.matches("TOKEN").count(), 2);
        assert!(page.contains("bob@&lt;b&gt;.example") && page.contains("451 later"), "{page}");
        let actions =
            ["hold", "release", "delete"].map(|action| page.matches(&format!("value=\"{action}\"")).count());
        assert_eq!(actions, [1, 1, 2], "{page}");
        let shown = queued(english(), &queue, None).into_string();
        assert!(!shown.contains("<form"), "who may change nothing has no buttons: {shown}");
        let many = Queue { problem: None, total: 500, queue: vec![entry("1.0", false); SHOWN_MAX + 1] };
        assert!(queued(english(), &many, None).into_string().contains("and 300 more"));
    }

    #[test]
    fn mail_is_told_in_words() {
        let report = |problem: Option<&str>, held| MailReport {
            problem: problem.map(str::to_owned),
            accounts: Vec::new(),
            queue: QueueTotals { total: 2, held },
            mailboxes: MailboxTotals { total: 3, messages: 40, octets: 2048 },
            connections: Connections { total: 5, outside: 1 },
        };
        let told = |problem, held| of(english(), &report(problem, held)).into_string();
        assert!(told(None, 0).contains("No known problem") && told(None, 0).contains(&octets(2048)));
        assert!(told(None, 1).contains("is held back"));
        assert!(told(Some("the disk is full"), 0).contains("<p lang=\"en\">the disk is full</p>"));
    }
}
