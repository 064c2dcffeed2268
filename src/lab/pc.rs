//! An office PC: gets its address by DHCP, and then uses the network as people do.

#![expect(clippy::disallowed_types, reason = "a process draws its seeds from the system")]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use gatepost_services::dhcp::client::{self, Event, Lease};
use gatepost_services::dhcp::service;
use gatepost_services::watch;
use ipnet::Ipv4Net;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::mail::{MailProgram, fields};
use super::protocol::{DEADLINE, DEVICE, Request, Response};
use super::sandbox::RESOLV_CONF;
use super::{device, lookup, mail, ping, speed, web};
use crate::port::clock::SystemClock;
use crate::port::netdevice::NetDevice;

/// The client identifier of the PC `name`: opaque, type 0. (RFC 2132, section 9.14)
pub fn client_id(name: &str) -> impl Iterator<Item = u8> {
    std::iter::once(0).chain(name.bytes())
}

/// A PC and what it knows of the network.
pub struct Pc {
    name: Rc<str>,
    rng: StdRng,
    name_server: Option<Ipv4Addr>,
    mail: Option<MailProgram>,
    /// Ends the DHCP client when dropped.
    _stop_dhcp: Option<oneshot::Sender<()>>,
}

impl Pc {
    /// A PC that is not online yet.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn new(name: Rc<str>) -> io::Result<Self> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
        Ok(Self { name, rng, name_server: None, mail: None, _stop_dhcp: None })
    }

    /// Does what the lab asks.
    ///
    /// # Errors
    ///
    /// It did not work.
    pub async fn handle(&mut self, request: Request) -> io::Result<Response> {
        Ok(match request {
            Request::GoOnline => self.go_online().await?,
            Request::Resolve(name) => {
                let answer = lookup::address_of(&name, self.name_server()?, self.rng.random()).await?;
                answer.map_or(Response::Silence, Response::Address)
            }
            Request::ResolveAddress(address) => {
                let answer = lookup::name_of(address, self.name_server()?, self.rng.random()).await?;
                answer.map_or(Response::Silence, Response::Name)
            }
            Request::Ping(target) => match ping::ping(target, self.rng.random()).await? {
                true => Response::Done,
                false => Response::Silence,
            },
            Request::Fetch(server) => web::fetch(server).await?.map_or(Response::Silence, Response::Page),
            Request::Serve => {
                web::serve(Rc::clone(&self.name), SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).await?;
                Response::Done
            }
            Request::Measure(server, limit) => {
                speed::measure(server, limit).await?.map_or(Response::Silence, Response::Speed)
            }
            Request::UseAccount(account) => {
                mail::keep_account(&account)?;
                self.mail = Some(MailProgram::new(&self.name, account)?);
                Response::Done
            }
            Request::SendMail(letter) => match self.mail_program()?.send(&letter).await? {
                true => Response::Done,
                false => Response::Silence,
            },
            Request::FetchMail(subject) => {
                let mail = self.mail_program()?.wait_for(&subject).await?;
                mail.map_or(Response::Silence, |mail| Response::Mail(fields(&mail, "Received")))
            }
        })
    }

    /// Gets an address by DHCP and keeps it from then on.
    async fn go_online(&mut self) -> io::Result<Response> {
        let device = NetDevice::new(DEVICE)?;
        let index = device::wait_for(DEVICE, &device).await?;
        let config = client::Config {
            client_id: Some(client_id(&self.name).collect()),
            hostname: Some(self.name.to_string()),
            ..client::Config::new(device.hardware_address()?)
        };
        let (sender, mut leases) = watch::channel(None);
        let (stop, stopped) = oneshot::channel::<()>();
        spawn_local(service::run_client(
            (config, StdRng::from_rng(&mut self.rng)),
            None,
            device::dhcp_port(index, &device)?,
            Rc::new(SystemClock::new()),
            move |event| match event {
                Event::Configured(lease) => _ = sender.send_replace(Some(lease)),
                // The kernel keeps the address: a PC of the lab has no use for none. The lab has only its own server.
                Event::Lost | Event::Remarked(_) | Event::Refused(_) => {}
            },
            async move { _ = stopped.await },
        ));
        self._stop_dhcp = Some(stop);
        let Ok(Ok(())) = timeout(DEADLINE, leases.changed()).await else { return Ok(Response::Silence) };
        let Some(lease) = leases.borrow_and_update().clone() else { return Ok(Response::Silence) };
        apply(&device, &lease)?;
        self.name_server = lease.dns_servers.first().copied();
        spawn_local(async move {
            while leases.changed().await.is_ok() {
                // What cannot be applied shows on the PC; there is no channel to report it.
                _ = leases.borrow_and_update().as_ref().map(|lease| apply(&device, lease));
            }
        });
        Ok(Response::Online(lease.address.addr()))
    }

    fn mail_program(&mut self) -> io::Result<&mut MailProgram> {
        self.mail.as_mut().ok_or_else(|| io::Error::other("nobody has an account here"))
    }

    fn name_server(&self) -> io::Result<Ipv4Addr> {
        self.name_server.ok_or_else(|| io::Error::other("DHCP named no name server"))
    }
}

/// Configures the kernel with a lease.
fn apply(device: &NetDevice, lease: &Lease) -> io::Result<()> {
    device.set_address(lease.address)?;
    if let Some(router) = lease.router {
        match device.add_route(Ipv4Net::default(), router) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    let mut resolv_conf = lease.domain.as_ref().map_or(String::new(), |domain| format!("search {domain}\n"));
    for server in &lease.dns_servers {
        resolv_conf += &format!("nameserver {server}\n");
    }
    fs::write(RESOLV_CONF, resolv_conf)
}
