//! The forwards: what the internet reaches of the office.

use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::{Answer, Scene, Unavailable};

/// The field of the query by which the default host's form is sent.
const DEFAULT_HOST: &str = "default-host";

/// The forwards.
pub const FORM: Form = Form {
    path: "/forwards",
    place: Place::List {
        key: "firewall.forwards",
        names: &["name"],
        columns: &["name", "protocol", "wan_port", "to", "from"],
    },
    groups: &[Group {
        name: "forward",
        fields: &[
            Field::text("name").needed(),
            Field::choice("protocol", &["tcp", "udp", "tcp+udp"]).by_default("tcp"),
            Field::text("wan_port").needed(),
            Field::text("to").needed(),
            Field::lines("from").by_default("0.0.0.0/0"),
        ],
    }],
};

/// The default host.
pub const HOST: Form = Form {
    path: "/forwards?default-host",
    place: Place::Tables,
    groups: &[Group { name: "default_host", fields: &[Field::text("firewall.dmz_host")] }],
};

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let words = &scene.texts.forwards;
    let mode = scene.inspector.config().mode;
    Ok(html! {
        p .lead { (words.lead) }
        @if !mode.translates() { p .notice { (words.no_nat) } }
        (form::content(scene, &FORM).await?)
        @if form::is_of_all(scene) { (form::content(scene, &HOST).await?) }
    })
}

/// Notes what was sent.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let is_of_host = Sent::of_query(scene.request).get(DEFAULT_HOST).is_some();
    form::submit(scene, if is_of_host { &HOST } else { &FORM }, sent).await
}
