//! The form to sign in.

use gatepost_services::admin::{FORGOTTEN, Refusal, SETUP, SIGN_IN, SignIn};
use maud::{Markup, html};

use super::texts::{Texts, fill};
use super::words::span;

/// The form. `state.is_first_run`: there is no owner yet, though others may sign in.
pub fn content(texts: &Texts, state: &SignIn) -> Markup {
    let words = &texts.sign_in;
    let refusal = state.refusal.map(|refusal| refusal_text(texts, refusal));
    let described = refusal.as_ref().map(|_| "refusal");
    let invalid = (state.refusal == Some(Refusal::Wrong)).then_some("true");
    html! {
        p .lead { (words.lead) }
        @if state.is_first_run {
            section .card.warning { h2 { (words.no_owner) } p { a href=(SETUP) { (words.set_up) } } }
        }
        form .card.sign-in method="post" action=(SIGN_IN) {
            @if let Some(refusal) = refusal { p #refusal .refusal role="alert" { (refusal) } }
            label for="name" { (words.name) }
            input #name name="name" type="text" autocomplete="username" autocapitalize="none" spellcheck="false"
                maxlength="256" value=(state.name) aria-describedby=[described] aria-invalid=[invalid] required;
            label for="password" { (words.password) }
            input #password name="password" type="password" autocomplete="current-password" maxlength="1024"
                aria-describedby=[described] aria-invalid=[invalid] required;
            button type="submit" { (words.submit) }
        }
        @if !state.is_first_run { p { a href=(FORGOTTEN) { (words.forgotten) } } }
    }
}

/// Why a login was refused.
pub fn refusal_text(texts: &Texts, refusal: Refusal) -> String {
    let words = &texts.sign_in;
    match refusal {
        Refusal::Wrong => words.wrong.clone(),
        // A whole second more: what is told is never too early.
        Refusal::TooMany(wait) => fill(&words.too_many, &[("time", &span(texts, wait.as_secs() + 1))]),
        Refusal::Unavailable => words.unavailable.clone(),
    }
}
