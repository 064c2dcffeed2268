//! The page at the gateway's new address that signs in who comes from the former one with a ticket.

use gatepost_services::admin::{ENTER, TICKET};
use maud::{Markup, html};

use super::texts::Texts;

/// The content.
pub fn content(texts: &Texts, ticket: &str) -> Markup {
    let words = &texts.enter;
    html! {
        p .lead { (words.lead) }
        form .card method="post" action=(ENTER) {
            input type="hidden" name=(TICKET) value=(ticket);
            button type="submit" { (words.go_on) }
        }
    }
}
