//! The form to sign in.

use gatepost_services::admin::{Nobody, Refusal, SIGN_IN, SignIn};
use maud::{Markup, html};

use super::texts::{Texts, fill};
use super::words::span;

/// The commands with which an owner begins, on the gateway's machine.
const NO_USER: &str =
    "[[users]]\nname = \"anna\"\nrole = \"owner\"\n\n$ gatepost reload\n$ gatepost passwd anna";
const NO_PASSWORD: &str = "$ gatepost passwd NAME";

/// The form, or how to come to have a user who can use it.
pub fn content(texts: &Texts, state: &SignIn) -> Markup {
    let words = &texts.sign_in;
    let refusal = state.refusal.map(|refusal| match refusal {
        Refusal::Wrong => words.wrong.clone(),
        // A whole second more: what is told is never too early.
        Refusal::TooMany(wait) => fill(&words.too_many, &[("time", &span(texts, wait.as_secs() + 1))]),
        Refusal::Unavailable => words.unavailable.clone(),
    });
    html! {
        p .lead { (words.lead) }
        @match state.nobody {
            Some(nobody) => section .card.warning {
                h2 { (words.nobody) }
                @match nobody {
                    Nobody::NoUser => { p { (words.no_user) } pre { code { (NO_USER) } } }
                    Nobody::NoPassword => { p { (words.no_password) } pre { code { (NO_PASSWORD) } } }
                }
                p { (words.then) }
            }
            None => form .card.sign-in method="post" action=(SIGN_IN) {
                @if let Some(refusal) = refusal { p .refusal role="alert" { (refusal) } }
                label for="name" { (words.name) }
                input #name name="name" type="text" autocomplete="username" autocapitalize="none" spellcheck="false"
                    maxlength="256" value=(state.name) required;
                label for="password" { (words.password) }
                input #password name="password" type="password" autocomplete="current-password" maxlength="1024" required;
                button type="submit" { (words.submit) }
            },
        }
    }
}
