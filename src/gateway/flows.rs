//! The end of a flow by hand, and the names of its ends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::command::Command;
use super::inspector::Inspector;
use crate::control::ReportError;
use crate::control::flows::FlowName;

impl Inspector {
    /// Ends a flow: its next packet opens another one, if it may. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn end_flow(&self, flow: &FlowName) -> Result<bool, ReportError> {
        let Some(key) = flow.key() else { return Ok(false) };
        let answer = self.requests.put(|reply| Command::EndFlow(key, reply)).await?;
        Ok(answer.into_inner().unwrap_or(false))
    }

    /// Whether `address` is that of a host of the LAN.
    pub(crate) fn is_host(&self, address: IpAddr) -> bool {
        let current = self.current.borrow();
        let addresses = current.addresses.borrow();
        addresses.is_inside(address) && !addresses.is_own(address)
    }

    /// Finds the name of an address: of a host of the LAN that of its lease, else the one that was last asked for and had
    /// the address.
    pub(crate) fn names(&self) -> impl Fn(IpAddr) -> Option<String> + use<> {
        let leases = self.current.borrow().lan_hosts.leases();
        let leased: BTreeMap<_, _> =
            leases.into_iter().map(|lease| (lease.address, lease.hostname)).collect();
        let running = self.list.names().running();
        move |address| {
            let IpAddr::V4(address) = address else { return None };
            match leased.get(&address) {
                Some(hostname) => hostname.clone(),
                None => {
                    let name = running.as_ref()?.name_of(address)?;
                    Some(name.to_utf8().trim_end_matches('.').to_owned())
                }
            }
        }
    }
}
