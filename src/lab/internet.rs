//! The internet of the lab, in one host: the provider with its DHCP server, a name server, a mail server and a web
//! server, each with an address of its own. The web server also measures the speed.

#![expect(clippy::disallowed_types, reason = "a process draws its seeds from the system")]

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;

use gatepost_services::clock::Clock;
use gatepost_services::dhcp::server::leases::Leases;
use gatepost_services::dhcp::server::{Config as DhcpConfig, Server};
use gatepost_services::dhcp::service;
use gatepost_services::dns;
use gatepost_services::dns::published::PublishedTexts;
use gatepost_services::dns::resolver::{Answerer, Resolver};
use gatepost_services::net::kernel::Kernel;
use gatepost_services::store::Memory;
use gatepost_services::task::LocalFuture;
use gatepost_services::work::AtOnce;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use ipnet::Ipv4Net;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::task::spawn_local;

use super::mail::{MailProgram, fields};
use super::mail_server::{self, MailServer};
use super::protocol::{DEVICE, Provider, Request, Response};
use super::{device, ping, speed, web};
use crate::port::clock::SystemClock;
use crate::port::netdevice::NetDevice;

/// The host's name.
pub const NAME: &str = "internet";
/// The name server. (RFC 5737: for documentation)
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);
/// The web server.
pub const WEB_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);
/// The web server's name.
pub const WEB_NAME: &str = "www.example.net.";
/// The customer's address, the length of its prefix, and the provider's, unless the WAN is static.
pub const DEFAULT_CUSTOMER: (Ipv4Addr, u8, Ipv4Addr) =
    (Ipv4Addr::new(203, 0, 113, 10), 24, Ipv4Addr::new(203, 0, 113, 1));

/// The internet.
pub struct Internet {
    provider: Provider,
    clock: Rc<SystemClock>,
    mail_server: Option<MailServer>,
}

impl Internet {
    /// An internet that is not online yet.
    pub fn new(provider: Provider) -> Self {
        Self { provider, clock: Rc::new(SystemClock::new()), mail_server: None }
    }

    /// Carries out the lab's requests.
    ///
    /// # Errors
    ///
    /// It did not work.
    pub async fn handle(&mut self, request: Request) -> io::Result<Response> {
        Ok(match request {
            Request::GoOnline => {
                self.go_online().await?;
                Response::Online(self.provider.address)
            }
            Request::Ping(target) => match ping::ping(target, 1).await? {
                true => Response::Done,
                false => Response::Silence,
            },
            Request::Fetch(server) => web::fetch(server).await?.map_or(Response::Silence, Response::Page),
            Request::FetchMail(subject) => {
                let mail = MailProgram::new(NAME, mail_server::account())?.wait_for(&subject).await?;
                mail.map_or(Response::Silence, |mail| Response::Mail(fields(&mail, "Received")))
            }
            Request::UseAccount(_)
            | Request::SendMail(_)
            | Request::Resolve(_)
            | Request::ResolveAddress(_)
            | Request::Serve
            | Request::Measure(..) => Response::Failed("the internet is not asked for that".to_owned()),
        })
    }

    async fn go_online(&mut self) -> io::Result<()> {
        let device = NetDevice::new(DEVICE)?;
        let index = device::wait_for(DEVICE, &device).await?;
        device.set_address(self.segment()?)?;
        if let Some((network, prefix_len)) = self.provider.customer_network {
            device.add_route(prefix(network, prefix_len)?, self.provider.customer)?;
        }
        for (label, address) in (0..).zip(self.server_addresses()) {
            NetDevice::new(&format!("lo:{label}"))?.set_address(prefix(address, 32)?)?;
        }
        self.serve_dhcp(index, &device)?;
        self.serve_names_and_mail().await?;
        speed::serve(WEB_ADDRESS).await?;
        web::serve(NAME.into(), SocketAddrV4::new(WEB_ADDRESS, 80)).await
    }

    /// Assigns the customer its address.
    fn serve_dhcp(&self, index: u32, device: &NetDevice) -> io::Result<()> {
        let provider = &self.provider;
        let own = self.segment()?;
        let config = DhcpConfig {
            dns_servers: provider.name_servers.clone(),
            ..DhcpConfig::new(own, provider.customer..=provider.customer)
        };
        let (now, unix_now) = (self.clock.now(), self.clock.unix_time());
        let leases = Leases::open(Arc::new(Memory::new()), now, unix_now);
        let server = Rc::new(RefCell::new(Server::new(config, Rc::new(RefCell::new(leases)))));
        let clock = Rc::clone(&self.clock);
        let (port, work) = (device::dhcp_port(index, device)?, Rc::new(AtOnce));
        spawn_local(service::serve(server, port, clock, work, std::future::pending()));
        Ok(())
    }

    /// Serves the names of the servers and the customer's MX records, and denies all else. The mail server's records
    /// are included.
    async fn serve_names_and_mail(&mut self) -> io::Result<()> {
        let texts = PublishedTexts::default();
        let config = dns::Config {
            texts: texts.clone(),
            records: self.records(),
            use_upstream: false,
            recursion_for: vec![Ipv4Net::default().into()],
            rebinding_filter: false,
            ..dns::Config::new(mail_server::DOMAIN, "ns", prefix(NAME_SERVER, 32)?)
        };
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
        let service = dns::Service::new(Kernel, self.clock.clone(), rng, config, Rc::new(()));
        let service = Rc::new(service.map_err(io::Error::other)?);
        for address in &self.provider.name_servers {
            service.listen(SocketAddr::from((*address, 53))).await?;
        }
        let resolver = Resolver::new(Rc::new(World(service)));
        let clock = self.clock.clone();
        let mail_server = MailServer::start(&self.provider.answered, resolver, texts, clock).await?;
        self.mail_server = Some(mail_server);
        Ok(())
    }

    fn records(&self) -> Vec<dns::StaticRecord> {
        let record = |name: &str, value| dns::StaticRecord { name: name.to_owned(), value };
        let address = |address: Ipv4Addr| dns::RecordValue::Address(address.into());
        let mut records = vec![
            record(WEB_NAME, address(WEB_ADDRESS)),
            // In place of what every zone says of itself.
            record(&format!("{}.", mail_server::NAME), address(mail_server::ADDRESS)),
        ];
        let Provider { customer, customer_domain: domain, .. } = &self.provider;
        if !mail_server::is_of_its_domain(domain) {
            let exchange = format!("smtp.{domain}.");
            records.push(record(&exchange, address(*customer)));
            let mail_exchange = dns::RecordValue::MailExchange { preference: 10, exchange };
            records.push(record(&format!("{domain}."), mail_exchange));
        }
        records
    }

    fn segment(&self) -> io::Result<Ipv4Net> {
        prefix(self.provider.address, self.provider.prefix_len)
    }

    /// The addresses of the servers behind the provider.
    fn server_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        [WEB_ADDRESS, mail_server::ADDRESS].into_iter().chain(self.provider.name_servers.iter().copied())
    }
}

/// The name service as the internet's own servers ask it: there is no other one beyond it.
struct World(Rc<dns::Service<Kernel>>);

impl Answerer for World {
    fn ask(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.0.ask(name, record_type)
    }

    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.ask(name, record_type)
    }
}

fn prefix(address: Ipv4Addr, len: u8) -> io::Result<Ipv4Net> {
    Ipv4Net::new(address, len).map_err(io::Error::other)
}
