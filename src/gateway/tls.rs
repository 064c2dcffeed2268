//! TLS for the services that use it, created when a configuration first has such a service.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use gatepost_ground::Role;
use gatepost_services::crypto::tls::KeySource;
use gatepost_services::net::Net;
use gatepost_services::service::{Host, Unprepared};
use gatepost_services::tls::Tls;
use gatepost_services::tls::authority::Names;
use gatepost_services::tls::keeper::{Certificate, CertificateError, Environment, Source};
use gatepost_services::tls::trust::{SYSTEM_FILES, Trust, Trusted};
use ipnet::IpNet;

use super::resources::Resources;
use crate::config::Config;

/// The state of TLS for as long as the gateway runs.
pub(super) struct GatewayTls {
    keys: KeySource,
    tls: OnceCell<Rc<Tls>>,
    /// While a change waits for its confirmation, what was in force before: a roll back needs it, whatever the disk does.
    before_window: RefCell<Option<Kept>>,
    in_force: RefCell<Option<Kept>>,
}

/// The certificate and the trusted authorities of one configuration.
#[derive(Clone)]
pub(super) struct Kept {
    /// The certificate that servers present.
    pub certificate: Rc<Certificate>,
    /// The authorities that clients trust.
    pub trust: Rc<Trust>,
}

impl GatewayTls {
    /// TLS before its first use.
    pub fn new(keys: KeySource) -> Self {
        Self { keys, tls: OnceCell::new(), before_window: RefCell::default(), in_force: RefCell::default() }
    }

    /// Makes the certificate that `config` asks for, reads the authorities, and gives `host` TLS, if a service uses it,
    /// with the matching source of keys. Without a service with TLS nothing is made, and no randomness is taken from
    /// the host's generator. A roll back does not need the disk: see [`GatewayTls::activated`].
    ///
    /// # Errors
    ///
    /// The certificate or the file of authorities is invalid.
    pub async fn prepare<N: Net>(
        &self,
        config: &Config,
        resources: &Resources,
        host: Host<N>,
    ) -> Result<(Host<N>, Option<Kept>), Unprepared> {
        let host = host.with_keys(self.keys);
        if !config.services.speak_tls() {
            return Ok((host, None));
        }
        let made = || Rc::new(Tls::new(self.keys.provider(host.rng()), Rc::clone(&resources.clock)));
        let tls = Rc::clone(self.tls.get_or_init(made));
        let addresses = host.addresses.borrow().clone();
        let own = addresses.of(Role::Inside).flat_map(|inside| &inside.addresses).map(IpNet::addr);
        let names = Names::new(&config.system.hostname, &config.system.domain, own);
        let environment = Environment {
            tls: Rc::clone(&tls),
            disk: resources.disk.clone(),
            work: Rc::clone(&resources.work),
            clock: Rc::clone(&resources.clock),
            kind: self.keys.kind(),
        };
        let unprepared = |CertificateError { why, remedy }| Unprepared { service: "tls", why, remedy };
        let system = match self.keys {
            KeySource::System => SYSTEM_FILES.iter().map(Into::into).collect(),
            // A simulated machine has no system authorities.
            KeySource::Seed => Vec::new(),
        };
        let trusted = Trusted { system, own: config.tls.authorities.clone() };
        let source = Source { names, files: config.tls.files.clone() };
        if let Some(kept) = self.of_before_window(&source, &trusted) {
            return Ok((host.with_tls(tls), Some(kept)));
        }
        let trust = Rc::new(Trust::prepare(trusted, environment.clone()).await.map_err(unprepared)?);
        let certificate = Certificate::prepare(source, environment, host.rng()).await.map_err(unprepared)?;
        Ok((host.with_tls(tls), Some(Kept { certificate: Rc::new(certificate), trust })))
    }

    /// `kept` is in force, with a configuration that may wait for its confirmation (`is_unconfirmed`). Until the next one
    /// is in force, what was in force before is kept as well: a roll back must not wait for a disk, nor fail for a file
    /// that cannot be read any more. The files are looked at within a minute after it.
    pub fn activated(&self, kept: Option<&Kept>, is_unconfirmed: bool) {
        let former = self.in_force.replace(kept.cloned());
        self.before_window.replace(former.filter(|_| is_unconfirmed));
    }

    /// What was in force before the open window, if it is of this source and these files.
    fn of_before_window(&self, source: &Source, trusted: &Trusted) -> Option<Kept> {
        let kept = self.before_window.borrow().clone();
        kept.filter(|kept| kept.certificate.is_of(source) && kept.trust.is_of(trusted))
    }
}
