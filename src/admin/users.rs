//! The users of the office: their settings, their passwords, and how full their mailboxes are.

use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form as Sent;
use gatepost_services::users::{Role, User};
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::layout::{badge, nothing, table, token};
use super::texts::{Texts, fill};
use super::words::ago;
use super::{Answer, Scene, Unavailable, new_password};
use crate::config::edit::Key;
use crate::control::mailboxes::Mailbox;
use crate::control::table::octets;
use crate::transaction::Draft;

/// The path of the page.
const PATH: &str = "/users";
/// The query's field with the user whose password a form sets.
const PASSWORD: &str = "password";
/// The query's field with the user whose password was set.
const IS_SET: &str = "set";

/// The most users whose mailboxes are shown; `gatepost show mailboxes` has all.
pub const SHOWN_MAX: usize = 250;

/// A user's settings.
pub const FORM: Form = Form {
    path: PATH,
    place: Place::List { key: "users", names: &["name"], columns: &["name", "full_name", "role"] },
    groups: &[Group {
        name: "user",
        fields: &[
            Field::text("name").needed(),
            Field::text("full_name"),
            Field::choice("role", &["user", "viewer", "operator", "owner"]).by_default("user"),
            Field::text("quota").by_default("1 GiB"),
            Field::paragraph("vacation"),
        ],
    }],
};

fn is_owner(scene: &Scene<'_>) -> bool {
    scene.visitor.user.role == Role::Owner
}

/// The content: for owners alone.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    page(scene, None).await
}

/// The content; `fault`: why the password was not set that was sent.
async fn page(scene: &Scene<'_>, fault: Option<&str>) -> Result<Markup, Unavailable> {
    let words = &scene.texts.users;
    if !is_owner(scene) {
        return Ok(html! { p .notice { (words.owners_only) } });
    }
    let draft = scene.keeper()?.draft().await?;
    let query = Sent::of_query(scene.request);
    let known = |name: &&str| labels(&draft).iter().any(|label| label == name);
    if let Some(name) = query.get(PASSWORD).filter(known) {
        return Ok(password_form(scene, name, fault));
    }
    Ok(html! {
        p .lead { (words.lead) }
        @if let Some(name) = query.get(IS_SET).filter(known) {
            p .notice role="status" { (fill(&words.password_set, &[("name", name)])) }
        }
        (form::content(scene, &FORM).await?)
        @if form::is_of_all(scene) { (people(scene).await) }
        @else if let Some(name) = query.get("element").filter(known) {
            p { a href={ (PATH) "?" (PASSWORD) "=" (name) } { (fill(&words.password_of, &[("name", name)])) } }
        }
    })
}

/// The names of the users, as the candidate would have them.
fn labels(draft: &Draft) -> Vec<String> {
    Key::parse("users").map(|key| draft.stored.labels(&key)).unwrap_or_default()
}

/// The owners among them.
fn owners(draft: &Draft) -> Vec<String> {
    let role = |name: &String| Key::parse("users").ok()?.join(name).ok()?.join("role").ok();
    let is_owner = |name: &String| {
        let role = role(name).and_then(|key| draft.stored.get(&key)?.as_str().map(str::to_owned));
        role.as_deref() == Some(Role::Owner.name())
    };
    labels(draft).into_iter().filter(is_owner).collect()
}

/// The form for a password of the user `name`.
fn password_form(scene: &Scene<'_>, name: &str, fault: Option<&str>) -> Markup {
    let (words, passwords) = (&scene.texts.users, &scene.texts.passwords);
    let described = if fault.is_some() { "password-hint password-fault" } else { "password-hint" };
    let input = |field: &str, label: &str, described: Option<&str>| {
        html! {
            label for=(field) { (label) }
            input id=(field) name=(field) type="password" autocomplete="new-password" maxlength="1024"
                aria-describedby=[described] aria-invalid=[fault.map(|_| "true")] required;
        }
    };
    html! {
        form .card.sign-in method="post" action={ (PATH) "?" (PASSWORD) "=" (name) } {
            h2 { (fill(&words.password_of, &[("name", name)])) }
            (token(scene.visitor))
            // Programs that keep passwords ask whose this is.
            input type="text" name="name" autocomplete="username" value=(name) readonly hidden;
            @if let Some(fault) = fault { p #password-fault .refusal role="alert" { (fault) } }
            p #password-hint .hint { (passwords.hint) }
            (input("password", &passwords.new, Some(described)))
            (input("again", &passwords.again, None))
            button type="submit" { (words.set) }
        }
    }
}

/// What the gateway knows of the users in force.
async fn people(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.users;
    let mailboxes = scene.inspector.mailboxes().await.map(|report| report.mailboxes).unwrap_or_default();
    let config = scene.inspector.config();
    let mut rows = Vec::new();
    for user in config.users.iter().take(SHOWN_MAX) {
        let has_password = match scene.passwords {
            Some(passwords) => passwords.is_set(&user.name).await,
            None => true,
        };
        rows.push(row(scene, user, mailboxes.iter().find(|mailbox| mailbox.user == user.name), has_password));
    }
    let more = config.users.len().saturating_sub(rows.len());
    let header = [&words.name, &words.password, &words.mailbox, &words.last_sign_in].map(String::as_str);
    html! {
        section .card {
            h2 { (words.people) }
            (table(&words.people, header, &rows))
            @if more > 0 { p { (fill(&scene.texts.clients.more, &[("n", &more.to_string())])) } }
        }
    }
}

fn row(scene: &Scene<'_>, user: &User, mailbox: Option<&Mailbox>, has_password: bool) -> [Markup; 4] {
    let (texts, words) = (scene.texts, &scene.texts.users);
    let (kind, word) = if has_password { ("good", &words.has_password) } else { ("bad", &words.no_password) };
    let session = scene.visitor.sessions.iter().find(|session| session.user == user.name);
    [
        html! { strong { (user.name) } },
        html! {
            (badge(kind, word)) " "
            a href={ (PATH) "?" (PASSWORD) "=" (user.name) }
                aria-label={ (words.set) ": " (fill(&words.password_of, &[("name", &user.name)])) } { (words.set) }
        },
        match mailbox {
            Some(mailbox) => html! { (fill_of(texts, mailbox)) },
            None => nothing(texts),
        },
        match session {
            Some(session) => html! { (ago(texts, session.age.as_secs())) },
            None => nothing(texts),
        },
    ]
}

/// How full a mailbox is.
pub fn fill_of(texts: &Texts, mailbox: &Mailbox) -> String {
    let words = &texts.users;
    let (messages, used) = (mailbox.messages.to_string(), octets(mailbox.octets));
    let mut values = vec![("n", messages.as_str()), ("octets", used.as_str())];
    let quota = mailbox.quota.map(octets).zip(mailbox.used_percent.map(|percent| percent.to_string()));
    match &quota {
        Some((quota, percent)) => {
            values.extend([("quota", quota.as_str()), ("percent", percent.as_str())]);
            fill(&words.fill, &values)
        }
        None => fill(&words.fill_without_quota, &values),
    }
}

/// Notes what was sent, or sets a password.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let words = &scene.texts.users;
    if !is_owner(scene) {
        return Ok(Answer::Page(StatusCode::FORBIDDEN, page(scene, None).await?));
    }
    let query = Sent::of_query(scene.request);
    let draft = scene.keeper()?.draft().await?;
    if let Some(name) = query.get(PASSWORD) {
        return set_password(scene, &draft, name, sent).await;
    }
    let owners = owners(&draft);
    let keeps_owner = |name: &str| {
        if !owners.iter().any(|owner| owner == name) {
            None
        } else if name == scene.visitor.user.name {
            Some(&words.own_role)
        } else {
            (owners.len() == 1).then_some(&words.last_owner)
        }
    };
    match (query.get("element"), sent.get(form::REMOVE)) {
        (Some(name), _) if sent.get("name").is_some_and(|new| new.trim() != name) => {
            return form::refuse(scene, &FORM, sent, "name", &words.renamed).await;
        }
        (Some(name), _) if sent.get("role").is_some_and(|role| role != Role::Owner.name()) => {
            if let Some(why) = keeps_owner(name) {
                return form::refuse(scene, &FORM, sent, "role", why).await;
            }
        }
        (None, Some(name)) => {
            if let Some(why) = keeps_owner(name) {
                return form::refuse(scene, &FORM, sent, "", why).await;
            }
        }
        _ => {}
    }
    let answer = form::submit(scene, &FORM, sent).await?;
    // A user who was removed long ago may have had the same name, and a password.
    if let (Answer::SeeOther(_), Some(_), Some(name), Some(passwords)) =
        (&answer, query.get(form::NEW), sent.get("name").map(str::trim), scene.passwords)
        && !scene.inspector.config().users.iter().any(|user| user.name == name)
    {
        passwords.forget(name).await.map_err(Unavailable)?;
    }
    Ok(answer)
}

async fn set_password(
    scene: &Scene<'_>,
    draft: &Draft,
    name: &str,
    sent: &Sent,
) -> Result<Answer, Unavailable> {
    if !labels(draft).iter().any(|label| label == name) {
        return Ok(Answer::Broken);
    }
    let config = scene.inspector.config();
    let user = config.users.iter().find(|user| user.name == name);
    let full_name = user.map_or("", |user| &user.full_name);
    let Some(passwords) = scene.passwords else { return Ok(Answer::Broken) };
    match new_password(scene.texts, scene.inspector, passwords, (name, full_name), sent).await {
        Ok(()) => {
            tracing::info!("{} has set the password of {name}", scene.visitor.user.name);
            Ok(Answer::SeeOther(format!("{PATH}?{IS_SET}={name}")))
        }
        Err(why) => Ok(Answer::Page(StatusCode::UNPROCESSABLE_ENTITY, page(scene, Some(&why)).await?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::form::tests::{Lab, visitor};
    use crate::transaction::tests::run;

    const FILE: &str = "# People.\n[[users]]\nname = 'olga'\nrole = 'owner' # the boss\n\n[[users]]\nname = 'ute'\n\n\
                        [mail]\nenabled = false\n";

    #[test]
    fn users_are_added_and_changed_by_owners_alone() {
        run(async {
            let lab = Lab::new(FILE).await;
            let page = lab.get("/users").await;
            assert!(
                page.contains("href=\"/users?element=ute\"") && page.contains("no password yet"),
                "{page}"
            );
            let new = [
                ("name", "berta"),
                ("full_name", "Berta Berg"),
                ("role", "viewer"),
                ("vacation", "Away.\r\nBack."),
            ];
            assert_eq!(lab.save("/users?new", &new).await.location, "/changes");
            let wrong = lab.save("/users?new", &[("name", "Postmaster")]).await;
            assert!(wrong.page.contains("id=\"name-fault\""), "{}", wrong.page);
            let quota = lab.save("/users?element=ute", &[("quota", "much")]).await;
            assert!(
                quota.page.contains("id=\"quota-fault\"") && quota.page.contains("value=\"much\""),
                "{}",
                quota.page
            );
            assert_eq!(lab.save("/users?element=ute", &[("quota", "2 GiB")]).await.location, "/changes");
            lab.post("/changes", &[("do", "apply")]).await;
            lab.post("/changes", &[("do", "keep")]).await;
            let file = lab.desk.file();
            assert!(
                file.contains("role = 'owner' # the boss")
                    && file.contains("name = 'ute'\nquota = \"2 GiB\""),
                "{file}"
            );
            assert!(
                file.contains("vacation = \"\"\"\nAway.\nBack.\"\"\"") || file.contains("Away.\\nBack."),
                "{file}"
            );
            for role in [Role::Operator, Role::Viewer] {
                let other = visitor("otto", role);
                let page = lab.get_as(&other, "/users").await;
                assert!(page.contains("Only an owner") && !page.contains("ute"), "{page}");
                let refused = lab.post_as(&other, "/users?element=ute", &[("role", "owner")]).await;
                assert_eq!(refused.status, StatusCode::FORBIDDEN);
                let refused =
                    lab.post_as(&other, "/users?password=ute", &[("password", "x"), ("again", "x")]).await;
                assert_eq!(refused.status, StatusCode::FORBIDDEN);
            }
        });
    }

    #[test]
    fn an_office_keeps_its_owner() {
        run(async {
            let lab = Lab::new(FILE).await;
            let own = lab.save("/users?element=olga", &[("role", "viewer")]).await;
            assert!(
                own.status == StatusCode::UNPROCESSABLE_ENTITY && own.page.contains("your own role"),
                "{}",
                own.page
            );
            let removed = lab.post("/users", &[("remove", "olga"), ("shown", "x")]).await;
            assert!(removed.page.contains("your own role"), "{}", removed.page);
            // The last owner by the candidate, for a visitor who is another one no more.
            let other = visitor("otto", Role::Owner);
            let last = lab.post_as(&other, "/users", &[("remove", "olga"), ("shown", "x")]).await;
            assert!(last.page.contains("the only owner"), "{}", last.page);
            let renamed = lab.save("/users?element=ute", &[("name", "uta")]).await;
            assert!(renamed.page.contains("id=\"name-fault\""), "{}", renamed.page);
            assert_eq!(lab.desk.keeper.pending(), 0);
            assert_eq!(lab.save("/users?element=ute", &[("role", "owner")]).await.location, "/changes");
        });
    }

    #[test]
    fn a_password_is_set_at_once_and_shown_nowhere() {
        run(async {
            let lab = Lab::new(FILE).await;
            let path = "/users?password=ute";
            let set = async |password: &str, again: &str| {
                lab.post(path, &[("password", password), ("again", again)]).await
            };
            let weak = set("ute-office", "ute-office").await;
            assert!(
                weak.page.contains("a name of yours") && !weak.page.contains("ute-office"),
                "{}",
                weak.page
            );
            assert!(set("blue harbour 47", "blue").await.page.contains("The two differ"));
            let done = set("blue harbour 47", "blue harbour 47").await;
            assert_eq!(done.location, "/users?set=ute");
            let page = lab.get(&done.location).await;
            assert!(page.contains("The password of ute is set") && !page.contains("harbour"), "{page}");
            assert_eq!(page.matches("no password yet").count(), 1, "{page}");
            assert_eq!(lab.desk.keeper.pending(), 0, "it is no setting");
            let none = lab.post("/users?password=nobody", &[("password", "x"), ("again", "x")]).await;
            assert_eq!(none.status, StatusCode::BAD_REQUEST);
        });
    }
}
