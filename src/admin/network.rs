//! The gateway's names and addresses.

use gatepost_dataplane::config::Mode;
use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::layout::{card, facts};
use super::{Answer, Scene, Unavailable};
use crate::config::{Config, PortSpec};

const PATH: &str = "/network";

const NAMES: Group =
    Group { name: "names", fields: &[Field::text("system.hostname"), Field::text("system.domain")] };

const FILTERS: Group = Group {
    name: "filters",
    fields: &[Field::switch("lan.inspect_arp"), Field::switch("lan.dhcp_snooping")],
};

/// The form of a gateway that has a WAN. It cannot come to have none while it runs.
pub const FORM: Form = Form {
    path: PATH,
    place: Place::Tables,
    groups: &[
        Group { name: "mode", fields: &[Field::choice("network.mode", &["nat-dmz", "nat", "router"])] },
        NAMES,
        Group { name: "lan", fields: &[Field::text("lan.address")] },
        Group {
            name: "wan",
            fields: &[
                Field::text("wan.address"),
                Field::text("wan.gateway"),
                Field::text("wan.mac"),
                Field::text("wan.client_id"),
                Field::text("wan.vendor_class"),
            ],
        },
        FILTERS,
    ],
};

/// The form of a gateway without a WAN.
pub const LAN_ONLY: Form = Form {
    path: PATH,
    place: Place::Tables,
    groups: &[
        NAMES,
        Group { name: "lan", fields: &[Field::text("lan.address"), Field::text("lan.gateway")] },
        FILTERS,
    ],
};

static WITH_WAN: &Form = &FORM;
static WITHOUT_WAN: &Form = &LAN_ONLY;

fn of(config: &Config) -> &'static Form {
    if config.mode == Mode::LanOnly { WITHOUT_WAN } else { WITH_WAN }
}

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let config = scene.inspector.config();
    Ok(html! {
        p .lead { (scene.texts.network.lead) }
        (form::content(scene, of(&config)).await?)
        (fixed(scene, &config))
    })
}

/// Notes what was sent.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let config = scene.inspector.config();
    form::submit(scene, of(&config), sent).await
}

/// What cannot change while the gateway runs.
fn fixed(scene: &Scene<'_>, config: &Config) -> Markup {
    let words = &scene.texts.network;
    let ports = |ports: &[PortSpec]| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut told = vec![(words.lan_ports.as_str(), ports(&config.lan.ports))];
    if config.mode != Mode::LanOnly {
        told.extend([
            (&*words.wan_ports, ports(&config.wan.ports)),
            (&words.mtu, config.wan.mtu.to_string()),
        ]);
    }
    told.push((&words.workers, config.system.workers.to_string()));
    card(&words.fixed, &html! { p { (words.fixed_about) } (facts(&told)) })
}
