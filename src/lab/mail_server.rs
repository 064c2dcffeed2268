//! The mail server of the lab's internet: the project's own services over kernel sockets, for a domain of its own.
//!
//! Its one mailbox returns mail from the customer's users to them, by a rule for each, and keeps a copy.

#![expect(clippy::disallowed_types, reason = "a process draws its seeds from the system")]

use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::{InterfaceId, Role as Side};
use gatepost_services::addresses::{Addresses, InterfaceAddresses, Publisher};
use gatepost_services::clock::Clock;
use gatepost_services::dns::name::is_within;
use gatepost_services::dns::published::PublishedTexts;
use gatepost_services::dns::resolver::Resolver;
use gatepost_services::mail::address::Mailbox;
use gatepost_services::mail::delivery::{self, DeliveryDriver, OfficeDelivery};
use gatepost_services::mail::rules::{Action, Rule, Rules, When};
use gatepost_services::mail::service::directory::MailDomain;
use gatepost_services::mail::service::office::OfficeMail;
use gatepost_services::mail::service::pop3::{OfficePop3, Opening};
use gatepost_services::mail::service::state::MailState;
use gatepost_services::mail::service::{RelayFrom, Settings};
use gatepost_services::mail::smtp::Role;
use gatepost_services::mail::store;
use gatepost_services::net::kernel::Kernel;
use gatepost_services::service::{Host, Instance, Service};
use gatepost_services::store::{Disk, Memory, Storage};
use gatepost_services::users::office::OfficeLogins;
use gatepost_services::users::verifier::Cost;
use gatepost_services::users::{self, User, passwords};
use gatepost_services::work::{Threads, Work};
use ipnet::{IpNet, Ipv4Net};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::task::spawn_local;

use super::accounts::{PASSWORD, verifiers};
use super::mail::Account;

/// Its domain.
pub const DOMAIN: &str = "example.net";
/// Its name.
pub const NAME: &str = "smtp.example.net";
/// Its address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 25);
/// The address that answers.
pub const ECHO: &str = "echo@example.net";

const ECHO_USER: &str = "echo";
/// Its port for other servers.
pub const SMTP_PORT: u16 = 25;
const POP3_PORT: u16 = 110;
/// The room of the mailbox, in octets.
const QUOTA: u64 = 16 << 20;
/// The longest message that is taken, in octets.
const MESSAGE_OCTETS_MAX: u64 = 1 << 20;
/// The octets of the store's files, which are in memory.
const SEGMENT_OCTETS: u64 = 4 << 20;

/// The server, which serves as long as this is there.
pub struct MailServer {
    _publisher: Publisher,
    _instances: Vec<Rc<dyn Instance>>,
}

impl MailServer {
    /// Serves, and answers the mail of the people who are `answered`. It asks `resolver` for names, and publishes what
    /// others have to know of it as `texts`.
    ///
    /// # Errors
    ///
    /// A port is taken, or the system has no randomness or no threads.
    pub async fn start(
        answered: &[String],
        resolver: Resolver,
        texts: PublishedTexts,
        clock: Rc<dyn Clock>,
    ) -> io::Result<Self> {
        let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
        let storage: Arc<dyn Storage> = Arc::new(Memory::new());
        storage.replace(&passwords::file_of(ECHO_USER), &verifiers(&mut rng)?.to_file()?)?;
        let work: Rc<dyn Work> = Rc::new(Threads::start()?);
        let disks = (Arc::clone(&storage), Disk::new(storage, Rc::clone(&work)));
        let publisher = Publisher::new(addresses());
        let mut host = Host::new(Kernel, disks, work, clock, publisher.subscribe(), rng);
        host.texts = texts;
        host.publish_resolver(resolver);
        let store = store::Settings {
            segment_octets: SEGMENT_OCTETS,
            checkpoint_octets: SEGMENT_OCTETS,
            ..store::Settings::default()
        };
        let state = Rc::new(MailState::new(store, Rc::new(OfficeLogins::new(Cost::LEAST))));
        let driver = Rc::new(DeliveryDriver::<Kernel>::new());
        let smtp = OfficeMail::new(Role::Mx, Rc::clone(&state), Rc::clone(&driver) as _);
        let delivery = OfficeDelivery::new(Rc::clone(&state), driver);
        let pop3 = OfficePop3::new(Opening::Clear, state);
        let mail = |port| settings(port, answered);
        let sending = delivery::Settings {
            mail: mail(SMTP_PORT),
            smarthost: None,
            login: None,
            routes: Default::default(),
            has_common_mailbox: false,
            may_leave: true,
        };
        let instances = vec![
            start(&smtp, mail(SMTP_PORT), &host).await?,
            start(&delivery, sending, &host).await?,
            start(&pop3, mail(POP3_PORT), &host).await?,
        ];
        Ok(Self { _publisher: publisher, _instances: instances })
    }
}

async fn start<S: Service<Kernel>>(
    service: &S,
    settings: S::Settings,
    host: &Host<Kernel>,
) -> io::Result<Rc<dyn Instance>> {
    let instance = service.prepare(settings, host).await.map_err(io::Error::other)?;
    instance.activate();
    spawn_local(instance.run());
    Ok(instance)
}

/// Whether `domain` is a name of the server's own domain.
pub fn is_of_its_domain(domain: &str) -> bool {
    is_within(domain, DOMAIN)
}

/// The account by which the mailbox that answers is looked into, from the server's own host.
pub fn account() -> Account {
    Account {
        address: ECHO.to_owned(),
        user: ECHO_USER.to_owned(),
        password: PASSWORD.to_owned(),
        server: NAME.to_owned(),
        server_address: Ipv4Addr::LOCALHOST,
        smtp_port: SMTP_PORT,
        submission_port: 0,
        pop3_port: POP3_PORT,
        authority: None,
    }
}

/// The server's own host is its LAN, so that mailboxes are open there alone.
fn addresses() -> Addresses {
    let interface = |number, name, role, address, prefix_len| InterfaceAddresses {
        id: InterfaceId(number),
        name,
        role,
        addresses: Ipv4Net::new(address, prefix_len).map(IpNet::V4).into_iter().collect(),
        gateways: Vec::new(),
        routes: Vec::new(),
        name_servers: Vec::new(),
    };
    Addresses {
        interfaces: vec![
            interface(0, "lan", Side::Inside, Ipv4Addr::LOCALHOST, 8),
            interface(1, "wan", Side::Outside, ADDRESS, 32),
        ],
    }
}

fn settings(port: u16, answered: &[String]) -> Settings {
    let answered = answered.iter().filter_map(|address| Mailbox::parse(address).ok());
    let answers = answered.map(|to| Rule {
        user: Some(ECHO_USER.to_owned()),
        when: When { from: Some(to.to_string()), ..When::default() },
        action: Action::Forward { to, keeps: true },
    });
    Settings {
        enabled: true,
        port,
        tls_port: 0,
        on_outside: port == SMTP_PORT,
        hostname: NAME.to_owned(),
        domain: DOMAIN.to_owned(),
        domains: vec![MailDomain { name: DOMAIN.to_owned(), users: None, same_as: None }],
        users: vec![User {
            name: ECHO_USER.to_owned(),
            full_name: String::new(),
            role: users::Role::User,
            quota: QUOTA,
        }],
        aliases: Default::default(),
        message_octets_max: MESSAGE_OCTETS_MAX,
        judges: Vec::new(),
        relay_from: RelayFrom::default(),
        // There is no way to it but the host's own loopback.
        plaintext_login: true,
        disk_reserve: 0,
        authenticity: Default::default(),
        shares: Default::default(),
        rules: Rules { all: answers.collect(), vacations: Default::default() },
        keep_days: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_its_domain_are_told_from_others() {
        for own in ["example.net", "Example.NET", "smtp.example.net"] {
            assert!(is_of_its_domain(own), "{own}");
        }
        for other in ["office.example", "myexample.net", "net", ""] {
            assert!(!is_of_its_domain(other), "{other}");
        }
    }
}
