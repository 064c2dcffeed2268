//! The connection to an account's server.
//!
//! The gateway's own resolver resolves the server's name. The gateway's own addresses are excluded, as mail would be
//! fetched from where it is delivered. A server on the LAN needs no internet.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Role as Side;
use ipnet::IpNet;
use tokio::time::timeout;

use super::polls::Active;
use super::settings::Account;
use crate::addresses::Addresses;
use crate::dns::resolver::NoAnswer;
use crate::mail::pop3::client::Encryption;
use crate::mail::queue::connection::{Environment, NoTls, StartTls, TlsTo};
use crate::net::{Net, Stream};

/// The timeout of establishing a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The most addresses of a server that are tried.
pub const ADDRESSES_MAX: usize = 4;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// The internet is not reachable now.
    Unreachable,
    /// For this reason.
    Failed(String),
}

/// The environment of a connection to the account's server. The server has to authenticate, as it gets a password.
pub(super) fn environment<N: Net>(active: &Active<N>, account: &Account) -> Environment {
    let tls: Rc<dyn StartTls> = match &active.tls {
        Some(tls) => Rc::new(TlsTo { tls: Rc::clone(tls), name: account.server.clone(), has_to_prove: true }),
        None => Rc::new(NoTls),
    };
    Environment { clock: Rc::clone(&active.clock), work: Rc::clone(&active.work), tls }
}

/// Connects to the account's server, with implicit TLS if configured.
pub(super) async fn connect<N: Net>(
    active: &Active<N>,
    account: &Account,
    environment: &Environment,
) -> Result<Box<dyn Stream>, NoConnection> {
    let Account { server, port, .. } = account;
    let mut why = String::new();
    for address in find(active, account).await? {
        let at = SocketAddr::new(address, *port);
        let stream = match timeout(CONNECT_TIMEOUT, active.net.connect(at)).await {
            Ok(Ok(stream)) => Box::new(stream) as Box<dyn Stream>,
            Ok(Err(error)) => {
                why = format!("no connection to {server} at {at}: {error}");
                continue;
            }
            Err(_) => {
                why = format!("no connection to {server} at {at}: it did not answer in time");
                continue;
            }
        };
        if account.encryption != Encryption::Active {
            return Ok(stream);
        }
        match environment.tls.start_tls(stream).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("no TLS with {server} at {at}: {error}"),
        }
    }
    Err(NoConnection::Failed(why))
}

/// The addresses at which the server is tried.
async fn find<N: Net>(active: &Active<N>, account: &Account) -> Result<Vec<IpAddr>, NoConnection> {
    let found = match account.server.parse::<Ipv4Addr>() {
        Ok(address) => Ok(vec![address]),
        Err(_) => active.resolver.ipv4(&account.server).await,
    };
    let addresses = active.addresses.borrow().clone();
    choose(&account.server, found, &addresses)
}

/// Of the addresses that were found of `server`, those that can be tried while the gateway has `own`.
fn choose(
    server: &str,
    found: Result<Vec<Ipv4Addr>, NoAnswer>,
    own: &Addresses,
) -> Result<Vec<IpAddr>, NoConnection> {
    let has_connectivity = own.ipv4(Side::Outside).next().is_some()
        || own.of(Side::Inside).any(|inside| inside.ipv4_gateway().is_some());
    let found = match found {
        Ok(found) => found,
        Err(NoAnswer::Unavailable) if !has_connectivity => return Err(NoConnection::Unreachable),
        Err(error) => return Err(NoConnection::Failed(format!("no address of {server}: {error}"))),
    };
    let is_own = |address: &IpAddr| {
        let mut own = own.interfaces.iter().flat_map(|interface| &interface.addresses).map(IpNet::addr);
        address.is_loopback() || address.is_unspecified() || own.any(|own| own == *address)
    };
    let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().map(IpAddr::V4).partition(is_own);
    if let ([first, ..], []) = (&ours[..], &others[..]) {
        let text = format!(
            "{server} is at {first}, which is this gateway itself, and its mail would come back to it"
        );
        return Err(NoConnection::Failed(text));
    }
    let can_be_tried = |address: &IpAddr| has_connectivity || own.is_inside(*address);
    let tried: Vec<_> = others.into_iter().filter(can_be_tried).take(ADDRESSES_MAX).collect();
    if tried.is_empty() { Err(NoConnection::Unreachable) } else { Ok(tried) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::service::tests::lab::{LAN, WAN, addresses};

    fn chosen(found: &[&str], wan: &[&str]) -> Result<Vec<String>, NoConnection> {
        let found = found.iter().map(|address| address.parse().unwrap()).collect();
        let chosen = choose("pop.example", Ok(found), &addresses(LAN, wan))?;
        Ok(chosen.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_server_that_is_the_gateway_itself_is_refused() {
        for own in [LAN, WAN, "127.0.0.1", "127.9.9.9", "0.0.0.0"] {
            let Err(NoConnection::Failed(why)) = chosen(&[own], &[WAN]) else { panic!("{own}") };
            assert!(why.contains(&format!("pop.example is at {own}, which is this gateway itself")), "{why}");
        }
        // Another of its addresses is as good.
        assert_eq!(chosen(&[WAN, "198.51.100.7"], &[WAN]).unwrap(), ["198.51.100.7"]);
    }

    #[test]
    fn without_a_way_out_there_are_servers_on_the_lan_only() {
        let all = ["198.51.100.7", "192.168.1.40"];
        assert_eq!(chosen(&all, &[WAN]).unwrap(), all);
        assert_eq!(chosen(&all, &[]).unwrap(), ["192.168.1.40"]);
        assert_eq!(chosen(&all[..1], &[]), Err(NoConnection::Unreachable));
        let many = ["198.51.100.7"; ADDRESSES_MAX + 1];
        assert_eq!(chosen(&many, &[WAN]).unwrap().len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_name_that_cannot_be_asked_for_without_a_way_out_is_no_failure() {
        let none = |error, wan: &[&str]| choose("pop.example", Err(error), &addresses(LAN, wan)).unwrap_err();
        assert_eq!(none(NoAnswer::Unavailable, &[]), NoConnection::Unreachable);
        let failed = |why: &str| NoConnection::Failed(format!("no address of pop.example: {why}"));
        assert_eq!(none(NoAnswer::Unavailable, &[WAN]), failed("the name service has no answer now"));
        assert_eq!(none(NoAnswer::NoName, &[]), failed("there is no such name"));
    }
}
