//! The ports of all services, each of which belongs to one.

use gatepost_ground::wire::Protocol;
use gatepost_services::service::Kind;

use super::KINDS;
use crate::config::diagnostic::{Problem, Report};
use crate::config::section::Setting;

/// Checks that every port belongs to one service at most. `all` has the ports that the file can move, with the names of
/// their services; 0: nowhere.
pub(super) fn check_ports(all: &[(&str, Setting<u32>)], report: &Report) {
    let is_moved = |kind: &&&Kind| all.iter().any(|(name, _)| *name == kind.name);
    let others = KINDS.iter().filter(|kind| !is_moved(kind));
    let fixed =
        others.flat_map(|kind| kind.ports.iter().map(|(protocol, port)| (kind.name, *protocol, *port)));
    let tcp = fixed.filter(|(_, protocol, _)| *protocol == Protocol::TCP);
    let mut taken: Vec<_> = tcp.map(|(name, _, port)| (u32::from(port), name, None)).collect();
    let (written, defaults): (Vec<_>, Vec<_>) = all.iter().partition(|(_, port)| port.written().is_some());
    for (name, port) in defaults.into_iter().chain(written).filter(|(_, port)| port.value != 0) {
        let span = port.written().map(|(_, span)| span);
        let rival = taken.iter().find(|(of, _, _)| *of == port.value);
        if let (Some((_, other, first)), Some(span)) = (rival, &span) {
            let what = format!("port {} is that of {other}", port.value);
            report.add_again(span.clone(), first.clone(), Problem::new(what, "write another one"));
        }
        taken.push((port.value, name, span));
    }
}
