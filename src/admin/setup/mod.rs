//! The wizard of the first run, for whoever has entered the code: step by step to a gateway with an owner.
//!
//! | step | what it asks for |
//! | --- | --- |
//! | `/setup` | the owner's names and password |
//! | `/setup/internet` | how the WAN gets its address, after what was found there |
//! | `/setup/network` | the gateway's address on the LAN |
//! | `/setup/names` | the host name and the domain |
//! | `/setup/mail` | whether the office has its mail here |
//! | `/setup/summary` | whether that is right; then everything is applied |
//!
//! What was entered is kept here until then, for one browser; of the password only its verifiers are. Each value is
//! checked by the configuration's own checker. At the end the owner and the settings are applied for good; a new address
//! of the LAN follows as a change of its own, which waits for its confirmation.

mod apply;
mod draft;
mod steps;
#[cfg(test)]
mod tests;

use gatepost_services::admin::{Installer, SETUP, SetupAnswer, TOKEN_FIELD, Visit};
use gatepost_services::http::form::Form;
use gatepost_services::http::{Response, StatusCode};
use maud::{Markup, html};

use super::layout::Menu;
use super::texts::{Texts, fill};
use super::{AdminPages, failure};
use crate::config::Config;
use crate::control::ReportError;
pub use draft::Draft;
use draft::{Faults, Step};

/// The answer of the wizard to a request, with its form if it is one.
pub async fn answer(
    pages: &AdminPages,
    visit: Visit<'_>,
    installer: &Installer,
    form: Option<&Form>,
) -> SetupAnswer {
    let texts = Texts::of(visit.request);
    let Some(step) = Step::at(&visit.request.path) else {
        return SetupAnswer::Page(Response::see_other(SETUP));
    };
    let Some(inspector) = pages.inspector() else {
        return SetupAnswer::Page(pages.failed(visit, ReportError::Stopping));
    };
    let mut draft = pages.draft_of(installer.session, &inspector.config());
    if step != Step::Owner && !draft.has_owner() {
        return SetupAnswer::Page(Response::see_other(SETUP));
    }
    let faults = match form {
        None => Faults::default(),
        Some(_) if step == Step::Summary => match apply::apply(pages, visit, &inspector, &draft).await {
            Ok(answer) => return answer,
            Err(faults) => faults,
        },
        Some(form) => {
            let faults = draft.take(texts, step, form, &inspector, pages.passwords()).await;
            pages.keep_draft(draft.clone());
            if faults.is_empty() {
                return SetupAnswer::Page(Response::see_other(step.next().path()));
            }
            faults
        }
    };
    let status = match inspector.status().await {
        Ok(status) => status,
        Err(error) => return SetupAnswer::Page(pages.failed(visit, error)),
    };
    let content = steps::content(texts, step, &draft, &status, &faults);
    let content = around(texts, step, installer, &faults, &content);
    let title =
        fill(&texts.setup.title, &[("n", &step.number().to_string()), ("of", &Step::ALL.len().to_string())]);
    let code = if faults.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    SetupAnswer::Page(Response::html(code, pages.frame(visit, &title, Menu::None).page(&content)))
}

/// The form around a step's `content`.
fn around(texts: &Texts, step: Step, installer: &Installer, faults: &Faults, content: &Markup) -> Markup {
    let words = &texts.setup;
    html! {
        form .card.sign-in.wizard method="post" action=(step.path()) {
            input type="hidden" name=(TOKEN_FIELD) value=(installer.form_token);
            @for fault in faults.of("") { p .refusal role="alert" lang=[fault.language()] { (fault.text) } }
            (content)
            p .actions {
                @if let Some(before) = step.before() { a href=(before.path()) { (words.back) } }
                button type="submit" { (if step == Step::Summary { &words.apply } else { &words.next }) }
            }
        }
    }
}

impl AdminPages {
    /// What was entered in the wizard's session of this number; at first what the configuration says.
    fn draft_of(&self, session: u64, config: &Config) -> Draft {
        let kept = self.draft.borrow().clone();
        kept.filter(|draft| draft.session == session).unwrap_or_else(|| Draft::of(session, config))
    }

    fn keep_draft(&self, draft: Draft) {
        self.draft.replace(Some(draft));
    }

    /// Nothing of the wizard is kept any longer.
    fn forget_draft(&self) {
        self.draft.replace(None);
    }

    fn failed(&self, visit: Visit<'_>, error: ReportError) -> Response {
        let texts = Texts::of(visit.request);
        let content = failure::unavailable(texts, &error.into());
        let page = self.frame(visit, &texts.common.unavailable, Menu::None).page(&content);
        Response::html(StatusCode::SERVICE_UNAVAILABLE, page)
    }
}
