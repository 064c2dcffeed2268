//! The form to sign in.

use gatepost_services::admin::{Nobody, Refusal, SIGN_IN, SignIn};
use maud::{Markup, html};

use super::texts::{Texts, fill};
use super::words::span;

/// What is written for the first owner. A user would start mail, and in modes `nat` and `router` open its ports on the
/// WAN.
pub const NO_USER: &str =
    "[[users]]\nname = \"anna\"\nrole = \"owner\"\n\n[mail]\nenabled = false    # until you want mail";
const NO_USER_COMMANDS: &str = "$ gatepost reload\n$ gatepost passwd anna";
const NO_ROLE: &str =
    "role = \"owner\"    # below the name of the user\n\n$ gatepost reload\n$ gatepost passwd NAME";
const NO_PASSWORD: &str = "$ gatepost passwd NAME";

/// The form, or how to come to have a user who can use it. `has_users`: the configuration has users, of whatever role.
pub fn content(texts: &Texts, state: &SignIn, has_users: bool) -> Markup {
    let words = &texts.sign_in;
    let refusal = state.refusal.map(|refusal| match refusal {
        Refusal::Wrong => words.wrong.clone(),
        // A whole second more: what is told is never too early.
        Refusal::TooMany(wait) => fill(&words.too_many, &[("time", &span(texts, wait.as_secs() + 1))]),
        Refusal::Unavailable => words.unavailable.clone(),
    });
    let described = refusal.as_ref().map(|_| "refusal");
    let invalid = (state.refusal == Some(Refusal::Wrong)).then_some("true");
    html! {
        p .lead { (words.lead) }
        @match state.nobody {
            Some(nobody) => section .card.warning {
                h2 { (words.nobody) }
                @match nobody {
                    Nobody::NoUser if has_users => { p { (words.no_role) } pre { code { (NO_ROLE) } } }
                    Nobody::NoUser => {
                        p { (words.no_user) }
                        pre { code { (NO_USER) } }
                        pre { code { (NO_USER_COMMANDS) } }
                    }
                    Nobody::NoPassword => { p { (words.no_password) } pre { code { (NO_PASSWORD) } } }
                }
                p { (words.then) }
            }
            None => form .card.sign-in method="post" action=(SIGN_IN) {
                @if let Some(refusal) = refusal { p #refusal .refusal role="alert" { (refusal) } }
                label for="name" { (words.name) }
                input #name name="name" type="text" autocomplete="username" autocapitalize="none" spellcheck="false"
                    maxlength="256" value=(state.name) aria-describedby=[described] aria-invalid=[invalid] required;
                label for="password" { (words.password) }
                input #password name="password" type="password" autocomplete="current-password" maxlength="1024"
                    aria-describedby=[described] aria-invalid=[invalid] required;
                button type="submit" { (words.submit) }
            },
        }
    }
}
