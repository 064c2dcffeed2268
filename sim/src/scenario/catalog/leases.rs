//! Scenarios about leases: the provider's and the office's.

use std::net::Ipv4Addr;

use super::secs;
use crate::machine::forgotten_server::ForgottenServer;
use crate::machine::guest::{Guest, GuestRecord};
use crate::machine::internet::{DhcpMood, DnsMood, LeaseForm, RESOLVER_ADDRESSES};
use crate::machine::spoofer::Trick;
use crate::scenario::action::{
    calm, dhcp_of_provider, dns_of, lease_form, name_servers_told, power_back, power_cut, reload, spoof,
};
use crate::scenario::office::{Office, office};
use crate::scenario::outcome::in_lines;

/// The provider's DHCP server has every bad mood in turn.
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
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 370))
        })
}

/// The provider's DHCP server sends one resolver first and the other one later, and then the first falls silent.
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
                .every_pc(|diary| diary.pages > 15 && diary.last_page_at.is_some_and(|at| at.as_secs() > 140))
        })
}

/// The provider's leases have every form in turn. The last one has no lease time, and is renewed by its T1. Another
/// customer visits a server of the office's meanwhile.
pub fn forms() -> Office {
    let forms = [LeaseForm::SingleAddress, LeaseForm::RoutesOnly, LeaseForm::Network, LeaseForm::WithoutTime];
    let office = office().pcs(6).isp_lease_secs(60).isp_times_secs(20, 40).visiting_every(Some(secs(4)));
    let office = office.forwarded("pc-5", 8_080);
    (0..)
        .zip(forms)
        .fold(office, |office, (number, form)| office.at(secs(60 * number), lease_form(form)))
        .expect("no page and no name failed", |account| {
            account.every_pc(|diary| diary.pages_failed == 0 && diary.lookups_failed == 0)
        })
        .expect("every PC fetches pages all the time", |account| {
            account
                .every_pc(|diary| diary.pages > 30 && diary.last_page_at.is_some_and(|at| at.as_secs() > 280))
        })
        .expect("the visitor fetches pages all the time", |account| {
            let [visits] = account.visits() else { return Err(in_lines(account.visits())) };
            let is_served = visits.pages > 30 && visits.failed == 0;
            if is_served { Ok(()) } else { Err(visits.to_string()) }
        })
}

/// The administrator gives the WAN another hardware address while the gateway runs.
pub fn other_client() -> Office {
    office()
        .pcs(4)
        .isp_lease_secs(60)
        .visiting_every(Some(secs(4)))
        .at(secs(60), reload("[wan]\nmac = '02:00:5e:00:00:77'", true))
        .expect("the gateway is another customer", |account| {
            let is_other = account.customer().is_some_and(|address| address.octets()[3] == 101);
            if is_other { Ok(()) } else { Err(format!("{:?}", account.customer())) }
        })
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 120))
        })
}

/// The DHCP options of the phones, before and after the reload.
const PHONES: &str = "[dhcp]\nnext_server = '192.168.1.9'\n\
                      options = [{ code = 150, value = ['192.168.1.9'] }, { code = 43, hex = '00' }]\n\
                      [[dhcp.match]]\nvendor_class = 'Phone ada'\noptions = [{ code = 43, hex = '0104c0a80109' }]\n\
                      [[dhcp.match]]\nvendor_class = 'Phone*'\nboot_file = 'phone.cfg'\n\
                      options = [{ code = 66, value = 'tftp' }, { code = 43, hex = '0203aabbcc' }]\n\
                      [[dhcp.match]]\nuser_class = 'guest'\noptions = [{ code = 224, value = 'welcome' }]";
const PHONES_LATER: &str = "[nat]\nfiltering = 'address-dependent'\n\
                            [[dhcp.match]]\nvendor_class = 'Phone bob'\nnext_server = '192.168.1.8'\n\
                            options = [{ code = 66, value = '' }, { code = 150, value = ['192.168.1.8'] }]";

/// Phones join and leave in every possible way, where a machine has some of the pool's next addresses by hand
/// and another DHCP server was forgotten.
pub fn guests() -> Office {
    let phones = ["ada", "bob", "cy"];
    let office = office().pcs(4).lan_ports(2).lease_secs(60).visiting_every(Some(secs(5))).config(PHONES);
    let office = phones.into_iter().fold(office, |office, phone| office.machine(phone, "lan1", Guest::new));
    let office = office.machine("router", "lan1", ForgottenServer::new);
    let by_hand = [11, 12, 14, 17].map(|host| Trick::Take(Ipv4Addr::new(192, 168, 1, host)));
    office
        .at(secs(5), spoof(by_hand))
        .at(secs(60), power_cut())
        .at(secs(63), power_back())
        .at(secs(90), reload(PHONES_LATER, true))
        .at(secs(240), calm())
        .expect("phones were served, refused, changed, and are there in the end", move |account| {
            let records = phones.map(|phone| *account.record::<GuestRecord>(phone));
            let sum = |of: fn(&GuestRecord) -> u64| records.iter().map(of).sum::<u64>();
            let have_been = [
                sum(|record| record.refusals),
                sum(|record| record.released),
                sum(|record| record.declined),
                sum(|record| record.changes),
            ];
            let is_there = |record: &GuestRecord| {
                record.leases > 5 && record.last_lease_at.is_some_and(|at| at.as_secs() > 200)
            };
            if records.iter().all(is_there) && !have_been.contains(&0) {
                Ok(())
            } else {
                Err(in_lines(records))
            }
        })
}
