//! What the internet sees of the gateway, and who may use its services.

use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::{Answer, Scene, Unavailable};

/// The settings.
pub const FORM: Form = Form {
    path: "/security",
    place: Place::Tables,
    groups: &[
        Group {
            name: "firewall",
            fields: &[
                Field::switch("firewall.stealth"),
                Field::checks("firewall.wan_services", &["dns", "ntp", "smtp", "submission", "pop3s"]),
            ],
        },
        Group {
            name: "access",
            fields: &[
                Field::lines("access.dns.from").with_table(),
                Field::lines("access.ntp.from").with_table(),
                Field::lines("access.smtp.from").with_table(),
                Field::lines("access.submission.from").with_table(),
                Field::lines("access.lmtp.from").with_table(),
                Field::lines("access.pop3.from").with_table(),
                Field::lines("access.pop3s.from").with_table(),
                Field::lines("access.admin.from").with_table(),
            ],
        },
        Group {
            name: "flows",
            fields: &[
                Field::choice(
                    "nat.filtering",
                    &["address-and-port-dependent", "address-dependent", "endpoint-independent"],
                ),
                Field::number("nat.max_flows"),
                Field::number("nat.max_flows_per_host"),
            ],
        },
    ],
};

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    Ok(html! {
        p .lead { (scene.texts.security.lead) }
        (form::content(scene, &FORM).await?)
    })
}

/// Notes what was sent.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    form::submit(scene, &FORM, sent).await
}
