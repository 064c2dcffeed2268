//! A user's own page: password, answer while away, mailbox and polled accounts. Role `user` sees this one alone.

use gatepost_services::admin::{FORMER_PASSWORD, OWN, PasswordFault, Refusal};
use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form as Sent;
use gatepost_services::mail::rules::Action;
use maud::{Markup, html};
use toml::Value;

use super::form::editor;
use super::layout::{card, token};
use super::mail::polled;
use super::sign_in::refusal_text;
use super::texts::{Texts, fill};
use super::users::fill_of;
use super::{Answer, Scene, Unavailable};
use crate::config::edit::{Edit, Key};

/// The field with the answer while away.
const VACATION: &str = "vacation";
/// The reason in the history.
const WHY: &str = "own page";

/// What was refused.
#[derive(Debug, Default)]
pub struct Faults {
    /// About the password.
    password: Option<PasswordFault>,
    /// About the answer while away: what was entered, and why it is not in force.
    vacation: Option<(String, String)>,
}

impl Faults {
    /// Another password was refused.
    pub fn of_password(fault: PasswordFault) -> Self {
        Self { password: Some(fault), vacation: None }
    }
}

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    page(scene, &Faults::default()).await
}

/// The content, with what was refused.
pub async fn page(scene: &Scene<'_>, faults: &Faults) -> Result<Markup, Unavailable> {
    let words = &scene.texts.own;
    let user = &scene.visitor.user;
    let has_mail = scene.inspector.mail_off().is_none();
    Ok(html! {
        p .lead { (words.lead) }
        @if has_mail { (mail(scene).await) (vacation(scene, faults)) }
        (password(scene.texts, &token(scene.visitor), &user.name, faults.password.as_ref()))
    })
}

/// The mailbox, what is forwarded, and the polled accounts.
async fn mail(scene: &Scene<'_>) -> Markup {
    let (words, name) = (&scene.texts.own, &scene.visitor.user.name);
    let mailboxes = scene.inspector.mailboxes().await.map(|report| report.mailboxes).unwrap_or_default();
    let mailbox = mailboxes.iter().find(|mailbox| mailbox.user == *name);
    let accounts = scene.inspector.mail_report().accounts;
    let accounts: Vec<_> =
        accounts.into_iter().filter(|account| account.user.as_ref() == Some(name)).collect();
    let config = scene.inspector.config();
    let own = config.services.mail.rules.all.iter().filter(|rule| rule.user.as_ref() == Some(name));
    let forwards: Vec<_> = own
        .filter_map(|rule| match &rule.action {
            Action::Forward { to, .. } => Some(to.to_string()),
            Action::File(_) | Action::Discard => None,
        })
        .collect();
    html! {
        (card(&words.mailbox, &html! {
            p {
                @match mailbox { Some(mailbox) => (fill_of(scene.texts, mailbox)), None => (words.no_mail_yet) }
            }
            @for to in &forwards { p { (fill(&words.forwarded, &[("to", to)])) } }
        }))
        @if !accounts.is_empty() { (card(&scene.texts.mail.polled, &polled(scene.texts, &accounts))) }
    }
}

fn vacation(scene: &Scene<'_>, faults: &Faults) -> Markup {
    let words = &scene.texts.own;
    let config = scene.inspector.config();
    let in_force = config.services.mail.rules.vacations.get(&scene.visitor.user.name);
    let fault = faults.vacation.as_ref();
    let text = fault.map(|(entered, _)| entered).or(in_force).map_or("", String::as_str);
    let described = if fault.is_some() { "vacation-hint vacation-fault" } else { "vacation-hint" };
    html! {
        form .card method="post" action=(OWN) {
            (token(scene.visitor))
            h2 { (words.vacation) }
            div .field {
                label for="vacation" { (words.vacation_text) }
                textarea #vacation name=(VACATION) rows="4" aria-describedby=(described)
                    aria-invalid=[fault.map(|_| "true")] { (text) }
                p .hint #vacation-hint { (words.vacation_hint) }
                @if let Some((_, why)) = fault { p #vacation-fault .refusal role="alert" lang="en" { (why) } }
            }
            button type="submit" { (words.save) }
        }
    }
}

/// The form for another password.
fn password(texts: &Texts, form_token: &Markup, name: &str, fault: Option<&PasswordFault>) -> Markup {
    let (words, passwords) = (&texts.own, &texts.passwords);
    let why = fault.map(|fault| match fault {
        PasswordFault::Former(Refusal::Wrong) => words.former_wrong.clone(),
        PasswordFault::Former(refusal) => refusal_text(texts, *refusal),
        PasswordFault::New(why) => why.clone(),
    });
    let described = why.as_ref().map(|_| "password-fault");
    html! {
        form .card.sign-in method="post" action=(OWN) {
            h2 { (words.password) }
            (form_token)
            // Programs that keep passwords ask whose this is.
            input type="text" name="name" autocomplete="username" value=(name) readonly hidden;
            @if let Some(why) = why { p #password-fault .refusal role="alert" { (why) } }
            label for="former" { (words.former) }
            input #former name=(FORMER_PASSWORD) type="password" autocomplete="current-password" maxlength="1024"
                aria-describedby=[described] required;
            label for="password" { (passwords.new) }
            p .hint #password-hint { (passwords.hint) }
            input #password name="password" type="password" autocomplete="new-password" maxlength="1024"
                aria-describedby="password-hint" required;
            label for="again" { (passwords.again) }
            input #again name="again" type="password" autocomplete="new-password" maxlength="1024" required;
            button type="submit" { (words.set) }
        }
    }
}

/// Puts the visitor's own answer while away in force.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let Some(text) = sent.get(VACATION).map(|text| text.replace("\r\n", "\n").trim_end().to_owned()) else {
        return Ok(Answer::Broken);
    };
    let name = &scene.visitor.user.name;
    let config = scene.inspector.config();
    let in_force = config.services.mail.rules.vacations.get(name).map_or("", String::as_str);
    if text == in_force {
        return Ok(Answer::SeeOther(OWN.to_owned()));
    }
    let key = Key::parse("users").and_then(|users| users.join(name)?.join(VACATION)).map_err(Unavailable)?;
    let value = (!text.is_empty()).then(|| Value::from(text.as_str()).to_string());
    match scene.keeper()?.amend(&editor(scene.visitor), &[Edit { key, value }], WHY).await {
        Ok(_) => Ok(Answer::SeeOther(OWN.to_owned())),
        Err(error) => {
            let faults = Faults { vacation: Some((text, error.to_string())), ..Faults::default() };
            Ok(Answer::Page(StatusCode::CONFLICT, page(scene, &faults).await?))
        }
    }
}

#[cfg(test)]
mod tests {
    use gatepost_services::users::Role;

    use super::*;
    use crate::admin::form::tests::{Lab, visitor};
    use crate::admin::tests::english;
    use crate::transaction::tests::{pass, run};

    const FILE: &str = "[[users]]\nname = 'olga'\nrole = 'owner'\n\n[[users]]   # the desk\nname = 'ute'\n";

    #[test]
    fn an_answer_while_away_is_in_force_at_once_and_leaves_the_candidate() {
        run(async {
            let lab = Lab::new(FILE).await;
            let ute = visitor("ute", Role::User);
            assert_eq!(lab.save("/users?element=ute", &[("quota", "2 GiB")]).await.location, "/changes");
            let set = async |text: &str| lab.post_as(&ute, OWN, &[("vacation", text)]).await;
            assert_eq!(set("Until \"Monday\".\r\nUte").await.location, OWN);
            let file = lab.desk.file();
            assert!(file.contains("[[users]]   # the desk\nname = 'ute'\nvacation = "), "{file}");
            assert!(file.contains("Monday") && !file.contains("quota"), "{file}");
            assert_eq!(lab.desk.keeper.pending(), 1, "what the owner has noted still waits");
            let soon = set("Until Tuesday.").await;
            assert!(
                soon.status == StatusCode::CONFLICT && soon.page.contains("Until Tuesday."),
                "{}",
                soon.page
            );
            pass(10).await;
            let control = set("a\u{7}").await;
            assert!(control.page.contains("control characters"), "{}", control.page);
            pass(10).await;
            lab.post("/changes", &[("do", "apply")]).await;
            assert!(set("In a window.").await.page.contains("waits for its confirmation"));
            lab.post("/changes", &[("do", "keep")]).await;
            let file = lab.desk.file();
            assert!(file.contains("quota = \"2 GiB\"") && file.contains("Monday"), "{file}");
        });
    }

    #[test]
    fn the_own_page_asks_for_the_former_password_and_shows_none() {
        run(async {
            let lab = Lab::new(FILE).await;
            let ute = visitor("ute", Role::User);
            let page = lab.get_as(&ute, OWN).await;
            assert!(page.contains("name=\"former\" type=\"password\""), "{page}");
            let menu = format!("<nav aria-label=\"{}\"", english().common.menu);
            assert!(!page.contains(&menu), "{page}");
            assert!(page.contains("name=\"vacation\"") && !page.contains("olga"), "{page}");
            let of_owner = lab.get(OWN).await;
            assert!(of_owner.contains(&menu) && of_owner.contains("href=\"/me\""), "{of_owner}");
        });
    }
}
