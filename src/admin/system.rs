//! The gateway itself: version, certificate, log, backup, restore and restart.

use gatepost_services::admin::AUTHORITY;
use gatepost_services::clock::WallTime;
use gatepost_services::http::form::Form as Sent;
use gatepost_services::http::header::CONTENT_DISPOSITION;
use gatepost_services::http::{Response, StatusCode};
use gatepost_services::users::Role;
use maud::{Markup, html};

use super::form::editor;
use super::layout::{card, facts, refused, token};
use super::words::span;
use super::{Answer, Scene, Unavailable};
use crate::error::Error;

/// The path of the page, which takes a backup.
pub const PATH: &str = "/system";

/// The field of forms that says what is to be done, and its values.
const DO: &str = "do";
const BACK_UP: &str = "backup";
const RESTORE: &str = "restore";
const RESTART: &str = "restart";

/// The lines of the log on the page; `gatepost show log` has more.
pub const LOG_LINES_SHOWN_MAX: usize = 100;

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let (texts, words) = (scene.texts, &scene.texts.system);
    let is_owner = scene.visitor.user.role == Role::Owner;
    Ok(html! {
        p .lead { (words.lead) }
        (card(&words.gateway, &facts(&[
            (&texts.status.version, env!("CARGO_PKG_VERSION").to_owned()),
            (&texts.status.running, span(texts, scene.inspector.uptime_secs())),
        ])))
        (certificate(scene))
        @if is_owner {
            @if scene.process.is_some() {
                (back_up(scene))
                (restore(scene))
                (restart(scene))
            }
            (log(scene))
        } @else {
            p .notice { (words.owners_only) }
        }
    })
}

/// Does what a form of the page asks for.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let words = &scene.texts.system;
    if scene.visitor.user.role != Role::Owner {
        return again(scene, StatusCode::FORBIDDEN, &[(words.owners_only.clone(), false)]).await;
    }
    let process = scene.process.as_deref().ok_or_else(Unavailable::between_runs)?;
    let passphrase = sent.get("passphrase").unwrap_or_default();
    let by = editor(scene.visitor);
    match sent.get(DO) {
        Some(BACK_UP) if sent.get("again") != Some(passphrase) => {
            again(scene, StatusCode::UNPROCESSABLE_ENTITY, &[(words.differ.clone(), false)]).await
        }
        Some(BACK_UP) => match process.back_up(passphrase).await {
            Ok(made) => Ok(Answer::Whole(download(made.backup))),
            Err(error) => failed(scene, &error).await,
        },
        Some(RESTORE) => {
            let Some(backup) = sent.file("file").filter(|file| !file.is_empty()) else {
                return again(scene, StatusCode::UNPROCESSABLE_ENTITY, &[(words.no_file.clone(), false)])
                    .await;
            };
            match process.restore(&by, backup.to_vec(), passphrase).await {
                Ok(()) => Ok(Answer::Page(StatusCode::OK, restarts(scene, &words.restoring))),
                Err(error) => failed(scene, &error).await,
            }
        }
        Some(RESTART) => {
            process.restart(&by);
            Ok(Answer::Page(StatusCode::OK, restarts(scene, &words.restarting)))
        }
        _ => Ok(Answer::Broken),
    }
}

/// A backup for the browser to store.
fn download(backup: Vec<u8>) -> Response {
    let response = Response::new(StatusCode::OK, "application/octet-stream", backup);
    response.with(CONTENT_DISPOSITION, "attachment; filename=\"gatepost.backup\"")
}

async fn failed(scene: &Scene<'_>, error: &Error) -> Result<Answer, Unavailable> {
    let problems: Vec<_> = error.messages().iter().map(|message| (message.clone(), true)).collect();
    again(scene, StatusCode::UNPROCESSABLE_ENTITY, &problems).await
}

/// The page with what is wrong, in words, of which those of the gateway are in English.
async fn again(
    scene: &Scene<'_>,
    status: StatusCode,
    problems: &[(String, bool)],
) -> Result<Answer, Unavailable> {
    Ok(Answer::Page(status, html! { (refused(scene.texts, problems)) (content(scene).await?) }))
}

/// What a page says while the gateway restarts.
fn restarts(scene: &Scene<'_>, about: &str) -> Markup {
    let words = &scene.texts.system;
    card(&words.restart, &html! { p { (about) } p { a href="/" { (words.then) } } })
}

fn certificate(scene: &Scene<'_>) -> Markup {
    let (texts, words) = (scene.texts, &scene.texts.system);
    let known = scene.inspector.certificate();
    card(
        &words.certificate,
        &html! {
            @match known {
                None => p { (words.no_certificate) },
                Some(known) => {
                    (facts(&[
                        (&words.signed_by, if known.is_own { words.own_authority.clone() } else { words.by_files.clone() }),
                        (&words.ends, WallTime::text_of_millis(known.not_after.saturating_mul(1000))),
                        (&words.lasts, match known.lasts_secs {
                            0 => words.ended.clone(),
                            secs => span(texts, secs),
                        }),
                    ]))
                    @if known.is_own { p { a href=(AUTHORITY) download="" { (texts.common.authority) } } }
                }
            }
        },
    )
}

fn back_up(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.system;
    card(
        &words.backup,
        &html! {
            p { (words.backup_about) }
            form method="post" action=(PATH) {
                (token(scene.visitor))
                input type="hidden" name=(DO) value=(BACK_UP);
                (secret("backup-passphrase", "passphrase", &words.passphrase, "new-password"))
                (secret("backup-again", "again", &words.again, "new-password"))
                button type="submit" { (words.back_up) }
            }
        },
    )
}

fn restore(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.system;
    card(
        &words.restore,
        &html! {
            p { (words.restore_about) }
            form method="post" action=(PATH) enctype="multipart/form-data" {
                (token(scene.visitor))
                input type="hidden" name=(DO) value=(RESTORE);
                div .field {
                    label for="restore-file" { (words.file) }
                    input id="restore-file" type="file" name="file" required;
                }
                (secret("restore-passphrase", "passphrase", &words.passphrase, "off"))
                button type="submit" { (words.restore_it) }
            }
        },
    )
}

fn secret(id: &str, name: &str, label: &str, autocomplete: &str) -> Markup {
    html! {
        div .field {
            label for=(id) { (label) }
            input id=(id) type="password" name=(name) autocomplete=(autocomplete) required;
        }
    }
}

fn restart(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.system;
    card(
        &words.restart,
        &html! {
            p { (words.restart_about) }
            form method="post" action=(PATH) {
                (token(scene.visitor))
                input type="hidden" name=(DO) value=(RESTART);
                button type="submit" { (words.restart_it) }
            }
        },
    )
}

fn log(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.system;
    let lines = scene.inspector.log().lines;
    let shown = lines.iter().rev().take(LOG_LINES_SHOWN_MAX);
    card(
        &words.log,
        &html! {
            p { (words.log_about) }
            @if lines.is_empty() { p { (words.no_log) } }
            @else { pre .log lang="en" tabindex="0" { @for line in shown { (line) "\n" } } }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use gatepost_services::task::LocalFuture;

    use super::*;
    use crate::admin::form::tests::{Lab, Upload, olga, visitor};
    use crate::process::{BackUpMade, Process};
    use crate::transaction::Editor;
    use crate::transaction::tests::run;

    /// A process that notes what it is asked, and fails if the passphrase is wrong.
    #[derive(Default)]
    struct Asked(RefCell<Vec<String>>);

    impl Process for Asked {
        fn restart(&self, by: &Editor) {
            self.0.borrow_mut().push(format!("restart by {}", by.name()));
        }

        fn back_up<'a>(&'a self, passphrase: &str) -> LocalFuture<'a, Result<BackUpMade, Error>> {
            let passphrase = passphrase.to_owned();
            Box::pin(async move {
                if passphrase != "right" {
                    return Err(Error::failed("no backup is made", "it is empty", "take another passphrase"));
                }
                Ok(BackUpMade { backup: b"\0a backup".to_vec(), left_out: Vec::new() })
            })
        }

        fn restore<'a>(
            &'a self,
            by: &'a Editor,
            backup: Vec<u8>,
            passphrase: &str,
        ) -> LocalFuture<'a, Result<(), Error>> {
            let is_right = passphrase == "right";
            Box::pin(async move {
                if !is_right {
                    return Err(Error::failed("nothing is restored", "it is <damaged>", "take another"));
                }
                self.0.borrow_mut().push(format!("restore of {} octets by {}", backup.len(), by.name()));
                Ok(())
            })
        }
    }

    const FIELDS: [(&str, &str); 3] = [("do", BACK_UP), ("passphrase", "right"), ("again", "right")];

    #[test]
    fn an_owner_backs_up_restores_and_restarts() {
        run(async {
            let mut lab = Lab::new("").await;
            let process: Rc<Asked> = Rc::default();
            lab.run_by(&process);
            let page = lab.get(PATH).await;
            for part in
                ["name=\"again\"", "enctype=\"multipart/form-data\"", "Restart the gateway", "<h2>Log</h2>"]
            {
                assert!(page.contains(part), "{part}: {page}");
            }
            let made = lab.post(PATH, &FIELDS).await;
            assert_eq!((made.status, made.page.as_str()), (StatusCode::OK, "\0a backup"));
            let differ = lab.post(PATH, &[("do", BACK_UP), ("passphrase", "right"), ("again", "left")]).await;
            assert_eq!(differ.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(differ.page.contains("The two passphrases differ"), "{}", differ.page);
            let weak = lab.post(PATH, &[("do", BACK_UP), ("passphrase", ""), ("again", "")]).await;
            assert!(weak.page.contains("no backup is made: it is empty; take another"), "{}", weak.page);
            assert!(process.0.borrow().is_empty());

            let upload =
                |passphrase, file| Upload { fields: vec![("do", RESTORE), ("passphrase", passphrase)], file };
            let wrong = lab.upload(PATH, upload("wrong", "octets")).await;
            assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(wrong.page.contains("nothing is restored: it is &lt;damaged&gt;"), "{}", wrong.page);
            let empty = lab.upload(PATH, upload("right", "")).await;
            assert!(empty.page.contains("Choose the file of a backup"), "{}", empty.page);
            let restored = lab.upload(PATH, upload("right", "octets")).await;
            assert!(restored.page.contains("The backup is being restored"), "{}", restored.page);
            assert!(lab.post(PATH, &[("do", RESTART)]).await.page.contains("The gateway restarts"));
            assert_eq!(*process.0.borrow(), ["restore of 6 octets by olga", "restart by olga"]);
            assert_eq!(lab.post(PATH, &[("do", "x")]).await.status, StatusCode::BAD_REQUEST);
        });
    }

    #[test]
    fn others_than_owners_see_neither_log_nor_backup() {
        run(async {
            let mut lab = Lab::new("").await;
            let process: Rc<Asked> = Rc::default();
            lab.run_by(&process);
            for role in [Role::Viewer, Role::Operator] {
                let page = lab.get_as(&visitor("otto", role), PATH).await;
                assert!(page.contains("are for owners") && !page.contains("<h2>Log</h2>"), "{page}");
                assert!(!page.contains("passphrase"), "{page}");
            }
            for fields in [&FIELDS[..], &[("do", RESTART)]] {
                let refused = lab.post_as(&visitor("otto", Role::Operator), PATH, fields).await;
                assert_eq!(refused.status, StatusCode::FORBIDDEN);
            }
            assert!(process.0.borrow().is_empty());
            assert_eq!(olga().user.role, Role::Owner);
        });
    }

    #[test]
    fn a_gateway_without_its_process_offers_nothing() {
        run(async {
            let lab = Lab::new("").await;
            let page = lab.get(PATH).await;
            assert!(page.contains("<h2>Log</h2>") && !page.contains("passphrase"), "{page}");
            assert_eq!(lab.post(PATH, &[("do", RESTART)]).await.status, StatusCode::SERVICE_UNAVAILABLE);
        });
    }
}
