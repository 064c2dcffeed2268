//! Scenarios about leases: the provider's and the office's.

use super::secs;
use crate::machine::internet::{DhcpMood, DnsMood, RESOLVER_ADDRESSES};
use crate::scenario::action::{dhcp_of_provider, dns_of, name_servers_told};
use crate::scenario::office::{Office, office};

/// The provider's DHCP server is bad in every way, one after the other.
pub fn runs_out() -> Office {
    office()
        .pcs(6)
        .isp_lease_secs(60)
        .isp_times_secs(20, 40)
        .visiting_every(Some(secs(4)))
        .at(secs(30), dhcp_of_provider(DhcpMood::Silent))
        .at(secs(150), dhcp_of_provider(DhcpMood::Willing))
        .at(secs(260), dhcp_of_provider(DhcpMood::Refusing))
        .at(secs(320), dhcp_of_provider(DhcpMood::MovingClients))
        .expect("the gateway has another address", |account| {
            let is_other = account.customer().is_some_and(|address| address.octets()[3] == 150);
            if is_other { Ok(()) } else { Err(format!("{:?}", account.customer())) }
        })
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 390))
        })
}

/// The provider names one resolver first and the other one later, and then the first is silent.
pub fn resolver_changes() -> Office {
    let [first, second] = RESOLVER_ADDRESSES;
    office()
        .pcs(6)
        .isp_lease_secs(60)
        .visiting_every(Some(secs(4)))
        .at(secs(0), name_servers_told(&[first]))
        .at(secs(50), name_servers_told(&[second]))
        // The lease was renewed meanwhile.
        .at(secs(100), dns_of("resolver-0", DnsMood::Silent))
        .expect("no name failed", |account| account.every_pc(|diary| diary.lookups_failed == 0))
        .expect("every PC fetches pages all the time", |account| {
            account
                .every_pc(|diary| diary.pages > 15 && diary.last_page_at.is_some_and(|at| at.as_secs() > 180))
        })
}
