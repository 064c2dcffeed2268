//! A change of the LAN's network that may be undone.

use super::*;
use crate::dhcp::server::former::UNCONFIRMED_SECS;

const DAY: u32 = 86_400;

/// The server's address, or a host's, in the new network.
fn moved(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

fn before() -> Config {
    Config { lease_secs: DAY, ..config() }
}

/// After the change, which is confirmed.
fn after() -> Config {
    let servers = vec![moved(1)];
    Config {
        server_address: moved(1),
        prefix: "10.0.0.0/24".parse().unwrap(),
        pool: moved(2)..=moved(5),
        router: Some(moved(1)),
        dns_servers: servers.clone(),
        ntp_servers: servers,
        ..before()
    }
}

/// After the change to `new`, while it waits for confirmation.
fn waiting(new: Config) -> Config {
    let Config { server_address, prefix, router, dns_servers, ntp_servers, .. } = before();
    let parameters = Some(FormerParameters { router, dns_servers, ntp_servers });
    let former = Some(FormerNetwork { server_address, prefix, parameters });
    Config { former, lease_secs: UNCONFIRMED_SECS, ..new }
}

fn lease_secs(reply: &Reply) -> Option<u32> {
    message::secs_option(&reply.message, OptionCode::AddressLeaseTime)
}

/// The server identifier, the router and the mask.
fn network_of(reply: &Reply) -> (Ipv4Addr, Vec<Ipv4Addr>, Ipv4Addr) {
    let address = |code| message::address_option(&reply.message, code).unwrap();
    assert_eq!(reply.source, address(OptionCode::ServerIdentifier));
    let routers = message::addresses_option(&reply.message, OptionCode::Router).to_vec();
    (reply.source, routers, address(OptionCode::SubnetMask))
}

fn of_former() -> (Ipv4Addr, Vec<Ipv4Addr>, Ipv4Addr) {
    (SERVER, vec![SERVER], Ipv4Addr::new(255, 255, 255, 0))
}

/// A REQUEST that accepts an offer of the server with its new address.
fn select_moved(mac: MacAddr, address: Ipv4Addr) -> Message {
    with(reboot(mac, address), DhcpOption::ServerIdentifier(moved(1)))
}

#[test]
fn a_client_that_renews_keeps_its_network_until_the_change_is_confirmed() {
    let mut office = Office::new(before());
    let address = office.lease(pc(1));
    office.server.set_config(waiting(after()));
    for request in [renew(pc(1), address), reboot(pc(1), address), renew(pc(1), address)] {
        let ack = office.ack(&request);
        assert_eq!((ack.message.yiaddr(), lease_secs(&ack)), (address, Some(UNCONFIRMED_SECS)));
        assert_eq!(network_of(&ack), of_former());
        office.wait(u64::from(UNCONFIRMED_SECS) / 2);
    }
    assert_eq!(office.leases.borrow().active(office.now).count(), 1, "it is shown and named");
    office.nak(&renew(pc(2), host(3)));
    let undone = before();
    office.server.set_config(undone);
    let ack = office.ack(&renew(pc(1), address));
    assert_eq!((lease_secs(&ack), network_of(&ack)), (Some(DAY), of_former()));
    office.server.set_config(waiting(after()));
    office.server.set_config(after());
    office.nak(&renew(pc(1), address));
}

#[test]
fn a_new_client_is_not_left_in_the_network_that_is_given_up_and_gets_its_former_address_back() {
    let mut office = Office::new(before());
    let former = office.lease(pc(1));
    office.server.set_config(waiting(after()));
    let offer = office.hear(&discover(pc(1))).unwrap();
    let address = offer.message.yiaddr();
    assert!(after().prefix.contains(&address));
    let ack = office.ack(&select_moved(pc(1), address));
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    for reply in [&offer, &ack] {
        assert_eq!(lease_secs(reply), Some(UNCONFIRMED_SECS));
        assert_eq!(network_of(reply), (moved(1), vec![moved(1)], mask));
    }
    assert_eq!(network_of(&office.ack(&renew(pc(1), address))).0, moved(1));
    for restarts in [false, true] {
        office = if restarts { office.restart() } else { office };
        office.server.set_config(before());
        office.nak(&renew(pc(1), address));
        assert_eq!(office.offer(&discover(pc(1))), Some(former));
    }
    office.ack(&select(pc(1), former));
}

#[test]
fn what_is_sent_to_the_former_address_is_for_this_server() {
    let mut office = Office::new(before());
    let address = office.lease(pc(1));
    let offered = office.offer(&discover(pc(2))).unwrap();
    office.server.set_config(waiting(after()));
    // The offer is void, and the client asks again at once.
    office.nak(&select(pc(2), offered));
    assert_eq!(office.server.foreign_servers(office.now), None);
    let mut inform = ask(MessageType::Inform, pc(3));
    inform.set_ciaddr(host(40));
    assert_eq!(network_of(&office.ack(&inform)), of_former());
    assert!(office.hear(&release(pc(1), address)).is_none());
    office.nak(&renew(pc(1), address));
}

#[test]
fn within_one_network_a_client_that_renews_keeps_its_router() {
    let near = Config { server_address: host(4), router: Some(host(4)), ..before() };
    let mut office = Office::new(before());
    let address = office.lease(pc(1));
    office.server.set_config(waiting(near.clone()));
    assert_eq!(network_of(&office.ack(&renew(pc(1), address))), of_former());
    let others = [2, 3].map(|number| office.offer(&discover(pc(number))));
    assert_eq!(others, [Some(host(3)), Some(host(5))], "neither of the server's addresses is offered");
    let selected = with(reboot(pc(2), host(3)), DhcpOption::ServerIdentifier(host(4)));
    assert_eq!(network_of(&office.ack(&selected)).0, host(4));
    office.server.set_config(near);
    let ack = office.ack(&renew(pc(1), address));
    assert_eq!((network_of(&ack).0, lease_secs(&ack)), (host(4), Some(DAY)));
}

#[test]
fn a_client_with_the_address_that_the_server_has_now_gets_another_one() {
    let near = Config { server_address: host(2), router: Some(host(2)), ..before() };
    let mut office = Office::new(before());
    let address = office.lease(pc(1));
    assert_eq!(address, host(2));
    office.server.set_config(waiting(near.clone()));
    for request in [renew(pc(1), address), reboot(pc(1), address)] {
        office.nak(&request);
    }
    let other = office.offer(&discover(pc(1))).unwrap();
    assert_eq!(other, host(3));
    office.server.set_config(before());
    assert_eq!(office.offer(&discover(pc(1))), Some(address), "it is free again");
}

#[test]
fn a_client_whose_former_router_is_unknown_keeps_its_lease_as_it_is() {
    let mut office = Office::new(before());
    let address = office.lease(pc(1));
    let mut unknown = waiting(after());
    unknown.former.as_mut().unwrap().parameters = None;
    office.server.set_config(unknown);
    assert_eq!(office.hear(&renew(pc(1), address)), None);
    office.server.set_config(before());
    assert_eq!(network_of(&office.ack(&renew(pc(1), address))), of_former());
}
