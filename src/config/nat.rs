//! `[nat]`

use gatepost_dataplane::config::{Filtering, Nat};

use super::diagnostic::Problem;
use super::section::Section;
use super::value::{choice, integer};

const FLOWS: u32 = 262_144;
const FLOWS_PER_HOST: u32 = 16_384;
/// The most flows of a table, which take a few gigabytes.
const FLOWS_MAX: u32 = 1 << 24;

pub(super) fn read(mut nat: Section<'_>) -> Nat {
    let filterings = [
        ("address-and-port-dependent", Filtering::AddressAndPortDependent),
        ("address-dependent", Filtering::AddressDependent),
        ("endpoint-independent", Filtering::EndpointIndependent),
    ];
    let filtering = nat.setting("filtering", Filtering::AddressAndPortDependent, choice(&filterings));
    let flows = nat.setting("max_flows", FLOWS, integer(1..=FLOWS_MAX));
    let per_host_default = FLOWS_PER_HOST.min(flows.value);
    let per_host = nat.setting("max_flows_per_host", per_host_default, integer(1..=FLOWS_MAX));

    if let (Some(flows), Some((per_host, span))) = (flows.known(), per_host.written())
        && per_host > flows
    {
        let what = format!("one host may have {per_host} flows, but all together only {flows}");
        nat.report(span, Problem::new(what, format!("write at most {flows}, or a higher max_flows")));
    }
    nat.finish();
    Nat { filtering: filtering.value, flows_max: flows.value, flows_per_host_max: per_host.value }
}
