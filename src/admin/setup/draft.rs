//! What was entered in the wizard, and what is wrong with it.

use gatepost_dataplane::config::Mode;
use gatepost_services::admin::SETUP;
use gatepost_services::http::form::Form;
use gatepost_services::users::Role;
use gatepost_services::users::setter::PasswordSetter;
use gatepost_services::users::verifier::Verifiers;
use ipnet::Ipv4Net;
use toml_edit::Value;

use crate::admin::texts::{Texts, fill};
use crate::admin::words::unfit;
use crate::config::{Config, WanAddress};
use crate::gateway::inspector::Inspector;
use crate::password;

/// A step of the wizard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The owner's names and password.
    Owner,
    /// How the WAN gets its address.
    Internet,
    /// The gateway's address on the LAN.
    Network,
    /// The host name and the domain.
    Names,
    /// Whether the office has its mail here.
    Mail,
    /// All of it.
    Summary,
}

impl Step {
    /// The steps in their order.
    pub const ALL: [Self; 6] =
        [Self::Owner, Self::Internet, Self::Network, Self::Names, Self::Mail, Self::Summary];

    /// The step whose page is at `path`.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.path() == path)
    }

    /// The path of its page.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Owner => SETUP,
            Self::Internet => "/setup/internet",
            Self::Network => "/setup/network",
            Self::Names => "/setup/names",
            Self::Mail => "/setup/mail",
            Self::Summary => "/setup/summary",
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|step| *step == self).unwrap_or(0)
    }

    /// Its number, from 1.
    pub fn number(self) -> usize {
        self.index() + 1
    }

    /// The step behind it; the last one has none.
    pub fn next(self) -> Self {
        Self::ALL.get(self.index() + 1).copied().unwrap_or(self)
    }

    /// The step before it.
    pub fn before(self) -> Option<Self> {
        self.index().checked_sub(1).and_then(|before| Self::ALL.get(before)).copied()
    }
}

/// How the WAN gets its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wan {
    /// From the provider, by DHCP.
    Leased,
    /// It is written down.
    Static,
    /// There is none, as the mode says.
    Absent,
}

/// What was entered in the wizard. Its password is known by its verifiers alone.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The number of the wizard's session.
    pub session: u64,
    /// The owner's login name.
    pub name: String,
    /// The owner's full name; it can be empty.
    pub full_name: String,
    /// The verifiers of the owner's password.
    pub verifiers: Option<Verifiers>,
    /// How the WAN gets its address.
    pub wan: Wan,
    /// The WAN's own address with its prefix, if it is written down.
    pub wan_address: String,
    /// Its next router, then.
    pub wan_gateway: String,
    /// The provider's name servers, then; the primary one first.
    pub name_servers: [String; 2],
    /// The gateway's address on the LAN with its prefix.
    pub lan: String,
    /// The host name.
    pub hostname: String,
    /// The domain.
    pub domain: String,
    /// Whether the office has its mail here.
    pub has_mail: bool,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field; empty for the step as a whole.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub text: String,
    /// Whether the gateway has worded it, in its own language.
    pub is_english: bool,
}

impl Fault {
    /// The language, if it is not that of the page.
    pub fn language(&self) -> Option<&'static str> {
        self.is_english.then_some("en")
    }
}

/// What is wrong in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault that a text of the page tells.
    pub fn add(&mut self, field: &'static str, text: impl Into<String>) {
        self.0.push(Fault { field, text: text.into(), is_english: false });
    }

    /// Notes a fault in the gateway's own words.
    pub fn add_english(&mut self, field: &'static str, text: impl Into<String>) {
        self.0.push(Fault { field, text: text.into(), is_english: true });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults of `field`.
    pub fn of(&self, field: &str) -> impl Iterator<Item = &Fault> {
        self.0.iter().filter(move |fault| fault.field == field)
    }

    /// Notes what the configuration's checker says of a configuration with this text alone.
    fn check(&mut self, field: &'static str, text: &str) {
        if let Err(mistakes) = Config::parse(field, text)
            && let Some(mistake) = mistakes.first()
        {
            self.add_english(field, mistake.problem.to_string());
        }
    }
}

/// `text` as a string of TOML.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Draft {
    /// What the configuration says.
    pub fn of(session: u64, config: &Config) -> Self {
        let owner = config.users.iter().find(|user| user.role == Role::Owner);
        let (wan, address, gateway) = match config.wan.address {
            _ if config.mode == Mode::LanOnly => (Wan::Absent, None, None),
            WanAddress::Leased => (Wan::Leased, None, None),
            WanAddress::Static { address, gateway } => (Wan::Static, Some(address), gateway),
        };
        let mut servers = config.services.name_servers().iter().map(ToString::to_string);
        Self {
            session,
            name: owner.map_or_else(String::new, |owner| owner.name.clone()),
            full_name: owner.map_or_else(String::new, |owner| owner.full_name.clone()),
            verifiers: None,
            wan,
            wan_address: address.map(|address| address.to_string()).unwrap_or_default(),
            wan_gateway: gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
            name_servers: [servers.next().unwrap_or_default(), servers.next().unwrap_or_default()],
            lan: config.lan.address.to_string(),
            hostname: config.system.hostname.clone(),
            domain: config.system.domain.clone(),
            has_mail: config.services.mail.enabled,
        }
    }

    /// Whether the first step is done.
    pub fn has_owner(&self) -> bool {
        self.verifiers.is_some()
    }

    /// Takes over what was entered in `step`, also if it is wrong. Returns what is wrong.
    pub async fn take(
        &mut self,
        texts: &Texts,
        step: Step,
        form: &Form,
        inspector: &Inspector,
        passwords: Option<&PasswordSetter>,
    ) -> Faults {
        let get = |field: &str| form.get(field).unwrap_or_default().trim().to_owned();
        let mut faults = Faults::default();
        match step {
            Step::Owner => {
                (self.name, self.full_name) = (get("name"), get("full_name"));
                self.take_owner(texts, form, inspector, passwords, &mut faults).await;
            }
            Step::Internet if self.wan != Wan::Absent => {
                (self.wan_address, self.wan_gateway) = (get("wan_address"), get("wan_gateway"));
                self.name_servers = [get("name_server_1"), get("name_server_2")];
                match get("wan").as_str() {
                    "dhcp" => self.wan = Wan::Leased,
                    "static" => {
                        self.wan = Wan::Static;
                        self.check_static(texts, &mut faults);
                    }
                    _ => faults.add("wan", &texts.setup.pppoe_absent),
                }
            }
            Step::Network => {
                self.lan = get("lan");
                self.check_lan(texts, inspector, &mut faults).await;
            }
            Step::Names => {
                (self.hostname, self.domain) = (get("hostname"), get("domain"));
                for (field, value) in [("hostname", &self.hostname), ("domain", &self.domain)] {
                    faults.check(field, &format!("[system]\n{field} = {}", quoted(value)));
                }
            }
            Step::Mail => self.has_mail = get("mail") == "yes",
            Step::Internet | Step::Summary => {}
        }
        faults
    }

    async fn take_owner(
        &mut self,
        texts: &Texts,
        form: &Form,
        inspector: &Inspector,
        passwords: Option<&PasswordSetter>,
        faults: &mut Faults,
    ) {
        faults.check("name", &format!("[[users]]\nname = {}", quoted(&self.name)));
        let full_name = quoted(&self.full_name);
        faults.check("full_name", &format!("[[users]]\nname = 'somebody'\nfull_name = {full_name}"));
        let (text, again) = (form.get("password").unwrap_or_default(), form.get("again").unwrap_or_default());
        if text.is_empty() && again.is_empty() && self.has_owner() {
            return;
        }
        self.verifiers = None;
        let password = match password::check(&inspector.config(), &self.name, &self.full_name, text) {
            Ok(_) if text != again => return faults.add("again", &texts.passwords.differ),
            Ok(password) => password,
            Err(why) => return faults.add("password", unfit(texts, why)),
        };
        match passwords {
            Some(passwords) => match passwords.verifiers(password).await {
                Ok(verifiers) => self.verifiers = Some(verifiers),
                Err(why) => faults.add_english("password", why),
            },
            None => faults.add("password", &texts.common.unavailable),
        }
    }

    fn check_static(&self, texts: &Texts, faults: &mut Faults) {
        let (address, gateway) = (quoted(&self.wan_address), quoted(&self.wan_gateway));
        if self.wan_address.is_empty() || self.wan_address == "dhcp" {
            return faults.add("wan_address", &texts.setup.wan_address_missing);
        }
        // An address anywhere may have its router anywhere.
        faults.check("wan_address", &format!("[wan]\naddress = {address}"));
        if faults.is_empty() {
            faults.check("wan_gateway", &format!("[wan]\naddress = {address}\ngateway = {gateway}"));
        }
        for (field, server) in ["name_server_1", "name_server_2"].into_iter().zip(&self.name_servers) {
            if !server.is_empty() {
                faults.check(field, &format!("[dns]\nupstream = [{}]", quoted(server)));
            }
        }
    }

    async fn check_lan(&self, texts: &Texts, inspector: &Inspector, faults: &mut Faults) {
        faults.check("lan", &format!("[lan]\naddress = {}", quoted(&self.lan)));
        let Ok(lan) = self.lan.parse::<Ipv4Net>() else { return };
        let is_dhcp = self.wan == Wan::Leased;
        let leased = inspector.status().await.ok().and_then(|status| status.wan).and_then(|wan| wan.address);
        let wan = match leased {
            Some(ipnet::IpNet::V4(leased)) if is_dhcp => Some(leased),
            _ => self.wan_address.parse().ok().filter(|_| self.wan == Wan::Static),
        };
        if let Some(wan) =
            wan.filter(|wan: &Ipv4Net| wan.contains(&lan.network()) || lan.contains(&wan.network()))
        {
            let network = wan.trunc().to_string();
            let other = if network.starts_with("192.168.") { "10.77.0.1/24" } else { "192.168.77.1/24" };
            faults.add("lan", fill(&texts.setup.overlap, &[("network", &network), ("other", other)]));
        }
    }
}
