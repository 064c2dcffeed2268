//! The pages for a code: of the first run, and for a forgotten password.

use gatepost_services::admin::{FORGOTTEN, Forgotten, ForgottenFault, Refusal, SETUP, SIGN_IN};
use maud::{Markup, html};

use super::sign_in::refusal_text;
use super::texts::Texts;

/// What prints a code on the gateway's machine.
const COMMAND: &str = "$ gatepost code";
/// What sets a password there.
const PASSWD: &str = "$ gatepost passwd NAME";

/// The page that asks for the code of the first run.
pub fn first_run(texts: &Texts, refusal: Option<Refusal>) -> Markup {
    let words = &texts.codes;
    html! {
        p .lead { (words.first_lead) }
        form .card.sign-in method="post" action=(SETUP) {
            @if let Some(refusal) = refusal { p #refusal .refusal role="alert" { (told(texts, refusal)) } }
            (code(texts, refusal))
            p .hint { (words.first_where) }
            pre { code { (COMMAND) } }
            button type="submit" { (words.submit) }
        }
    }
}

/// The page about a forgotten password.
pub fn forgotten(texts: &Texts, state: &Forgotten) -> Markup {
    let (words, passwords) = (&texts.codes, &texts.passwords);
    let (refusal, fault) = match &state.fault {
        Some(ForgottenFault::Code(refusal)) => (Some(*refusal), Some(told(texts, *refusal))),
        Some(ForgottenFault::NoOwner) => (None, Some(words.no_owner.clone())),
        Some(ForgottenFault::Password(why)) => (None, Some(why.clone())),
        None => (None, None),
    };
    html! {
        p .lead { (words.forgotten_lead) }
        section .card {
            h2 { (words.by_owner) } p { (words.by_owner_about) }
            h2 { (words.by_command) } p { (words.by_command_about) } pre { code { (PASSWD) } }
        }
        form .card.sign-in method="post" action=(FORGOTTEN) {
            h2 { (words.by_code) }
            p { (words.by_code_about) }
            pre { code { (COMMAND) } }
            @if let Some(fault) = fault { p #refusal .refusal role="alert" { (fault) } }
            (code(texts, refusal))
            label for="name" { (texts.sign_in.name) }
            input #name name="name" type="text" autocomplete="username" autocapitalize="none" spellcheck="false"
                maxlength="256" value=(state.name) required;
            label for="password" { (passwords.new) }
            p .hint #password-hint { (passwords.hint) }
            input #password name="password" type="password" autocomplete="new-password" maxlength="1024"
                aria-describedby="password-hint" required;
            label for="again" { (passwords.again) }
            input #again name="again" type="password" autocomplete="new-password" maxlength="1024" required;
            button type="submit" { (words.set) }
        }
        p { a href=(SIGN_IN) { (texts.sign_in.title) } }
    }
}

/// The field for a code.
fn code(texts: &Texts, refusal: Option<Refusal>) -> Markup {
    let described = refusal.map(|_| "refusal");
    let invalid = (refusal == Some(Refusal::Wrong)).then_some("true");
    html! {
        label for="code" { (texts.codes.code) }
        input #code name="code" type="text" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false"
            maxlength="64" aria-describedby=[described] aria-invalid=[invalid] required;
    }
}

fn told(texts: &Texts, refusal: Refusal) -> String {
    match refusal {
        Refusal::Wrong => texts.codes.wrong.clone(),
        refusal => refusal_text(texts, refusal),
    }
}
