//! The lab's gateway: `gatepost run` on a configuration whose ports are in the hosts' namespaces.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use toml::Table;

use super::protocol::{DEVICE, Provider, Response};
use super::{accounts, internet, pc};
use crate::config::{Config, Source, WanAddress};
use crate::control::{self, What};
use crate::error::Error;
use crate::port;

/// The hidden subcommand that is `run` for the lab.
pub const SUBCOMMAND: &str = "lab-gateway";
/// Where the lab keeps the gateway's things, on its own `/run`.
const DIRECTORY: &str = "/run/gatepost-lab";
const CONFIG_FILE: &str = "/run/gatepost-lab/gatepost.toml";
/// Where it listens for questions, as the lab sees it.
pub const CONTROL_SOCKET: &str = "/run/gatepost-lab/control.sock";
const LOG_FILE: &str = "/run/gatepost-lab/gateway.log";
const STATE_DIR: &str = "/run/gatepost-lab/state";
/// How often the lab asks whether the WAN is up, in milliseconds, and for how many times.
const WAN_POLL: (u16, u32) = (50, 400);

/// `gatepost run` on the configuration `file`, except that it ends with the lab, whose process is `lab`, even
/// if that is killed.
///
/// # Errors
///
/// See [`port::run`].
pub fn run(file: &Path, lab: u32) -> Result<(), Error> {
    set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| Error::failed("cannot tie the gateway to its lab", e, "start the lab again"))?;
    // It may have died before the tie.
    if parent_id() != lab {
        return Ok(());
    }
    port::run(Source::new(Some(file.to_owned())), None)
}

/// The names of the lab's PCs.
pub fn pc_names(count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(|number| format!("pc{number}"))
}

/// The gateway's configuration.
#[derive(Debug)]
pub struct Configuration {
    /// Validated.
    pub config: Config,
    /// As the gateway reads it.
    text: String,
}

impl Configuration {
    /// The configuration of `file`, or the built-in one, with ports for `hosts` PCs.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is wrong.
    pub fn new(hosts: usize, file: Option<&Path>) -> Result<Self, Error> {
        let text = match file {
            Some(file) => Config::load_with_text(file)?.1,
            None => built_in(),
        };
        let mut table: Table = text.parse().map_err(|e| Error::usage(format!("{e}")))?;
        set(&mut table, "lan", "ports", ports(pc_names(hosts)));
        set(&mut table, "wan", "ports", ports([internet::NAME.to_owned()].into_iter()));
        set(&mut table, "system", "state_dir", STATE_DIR.into());
        set(&mut table, "system", "control_socket", CONTROL_SOCKET.into());
        let text = table.to_string();
        let config = Config::parse("the lab's configuration", &text).map_err(Error::mistakes)?;
        Ok(Self { config, text })
    }

    /// The provider that fits to the WAN settings.
    pub fn provider(&self) -> Provider {
        let (customer, prefix_len, address) = match self.config.wan.address {
            WanAddress::Leased => internet::DEFAULT_CUSTOMER,
            WanAddress::Static { address, gateway } => {
                let hosts = address.hosts().find(|host| *host != address.addr());
                (address.addr(), address.prefix_len(), gateway.or(hosts).unwrap_or(Ipv4Addr::UNSPECIFIED))
            }
        };
        let name_servers = match &self.config.services.dns.upstream {
            none if none.is_empty() => vec![internet::NAME_SERVER],
            own => own.clone(),
        };
        let lan = self.config.lan.address;
        let customer_network = (!self.config.mode.translates()).then(|| (lan.network(), lan.prefix_len()));
        let (customer_domain, answered) =
            (self.config.system.domain.clone(), accounts::addresses(&self.config));
        Provider { address, prefix_len, customer, name_servers, customer_network, customer_domain, answered }
    }
}

/// Why the lab's gateway does not serve it.
#[derive(Debug)]
pub enum GatewayError {
    /// Its process cannot be started.
    Process(io::Error),
    /// It ended before it was ready.
    NotReady,
    /// What it says cannot be read.
    Unreadable(io::Error),
    /// It ended after it was ready.
    Ended,
    /// It does not answer a question.
    Unanswered(Error),
    /// It gets no address from the provider.
    NoWanAddress,
    /// The internet behind it said this instead of going online.
    InternetOffline(Response),
    /// It ended with this status after the command to stop.
    Stopped(ExitStatus),
    /// Its end cannot be waited for.
    NotStopped(io::Error),
}

impl From<GatewayError> for Error {
    fn from(error: GatewayError) -> Self {
        let failed = |what: &str, why: &dyn std::fmt::Display| Self::failed(what, why, "see its log above");
        let (not_started, not_stopped) =
            ("the lab's gateway did not start", "the lab's gateway did not stop in order");
        match error {
            GatewayError::Process(why) => {
                Self::failed("cannot start the lab's gateway", why, "make room on /run")
            }
            GatewayError::NotReady => failed(not_started, &"it ended"),
            GatewayError::Unreadable(why) => failed(not_started, &why),
            GatewayError::Ended => failed("the lab's gateway does not stay up", &"it ended"),
            GatewayError::Unanswered(error) => error,
            GatewayError::NoWanAddress => {
                failed("the gateway gets no WAN address", &"the provider does not answer it")
            }
            GatewayError::InternetOffline(said) => failed("the lab's internet did not come up", &said),
            GatewayError::Stopped(status) => failed(not_stopped, &status),
            GatewayError::NotStopped(why) => failed(not_stopped, &why),
        }
    }
}

/// A running gateway. It is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Gateway {
    /// Starts `gatepost run`; [`Gateway::wait_until_ready`] follows.
    ///
    /// # Errors
    ///
    /// The files for it cannot be written.
    pub fn start(configuration: &Configuration) -> Result<Self, GatewayError> {
        let process = fs::create_dir_all(DIRECTORY)
            .and_then(|()| fs::write(CONFIG_FILE, &configuration.text))
            .and_then(|()| accounts::set_passwords(&configuration.config))
            .and_then(|()| File::create(LOG_FILE))
            .and_then(|log| {
                Command::new("/proc/self/exe")
                    .arg(SUBCOMMAND)
                    .arg(CONFIG_FILE)
                    .arg(std::process::id().to_string())
                    .process_group(0)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(log)
                    .spawn()
            });
        let mut process = process.map_err(GatewayError::Process)?;
        let Some(output) = process.stdout.take() else { unreachable!("its output is piped") };
        Ok(Self { process, output: BufReader::new(output) })
    }

    /// Waits until every port and service answers.
    ///
    /// # Errors
    ///
    /// The gateway has ended instead; its log is shown.
    pub fn wait_until_ready(&mut self) -> Result<(), GatewayError> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(_) if line.trim_end() == "ready" => Ok(()),
            Ok(_) => Err(self.failure(GatewayError::NotReady)),
            Err(error) => Err(self.failure(GatewayError::Unreadable(error))),
        }
    }

    /// Waits until the WAN has an address.
    ///
    /// # Errors
    ///
    /// It gets none, or the gateway has ended.
    pub fn wait_for_wan(&self) -> Result<(), GatewayError> {
        let (period_millis, tries) = WAN_POLL;
        for _ in 0..tries {
            if self.ask(What::Status)?["wan"]["address"].is_string() {
                return Ok(());
            }
            // What the gateway prints after `ready` is not read: without flags only its end counts.
            let end = PollFd::new(self.output.get_ref().as_fd(), PollFlags::empty());
            if poll(&mut [end], period_millis) == Ok(1) {
                return Err(self.failure(GatewayError::Ended));
            }
        }
        Err(self.failure(GatewayError::NoWanAddress))
    }

    /// Checks that the internet came up.
    ///
    /// # Errors
    ///
    /// It did not.
    pub fn expect_online(&self, response: Response) -> Result<(), GatewayError> {
        match response {
            Response::Online(_) => Ok(()),
            other => Err(self.failure(GatewayError::InternetOffline(other))),
        }
    }

    /// Asks the gateway, as `gatepost show WHAT --json` does.
    ///
    /// # Errors
    ///
    /// The gateway does not answer.
    pub fn ask(&self, what: What) -> Result<Value, GatewayError> {
        control::ask(Path::new(CONTROL_SOCKET), what).map_err(GatewayError::Unanswered)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Repeats the gateway's log on standard error.
    pub fn show_log(&self) {
        let mut text = String::from("The gateway's log:\n");
        for line in fs::read_to_string(LOG_FILE).unwrap_or_default().lines() {
            _ = writeln!(text, "  {line}");
        }
        eprint!("{text}");
    }

    /// Ends the gateway in order.
    ///
    /// # Errors
    ///
    /// It ends with a failure.
    pub fn stop(&mut self) -> Result<(), GatewayError> {
        let signalled =
            i32::try_from(self.pid()).is_ok_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
        match self.process.wait() {
            Ok(status) if signalled && status.success() => Ok(()),
            Ok(status) => Err(self.failure(GatewayError::Stopped(status))),
            Err(error) => Err(self.failure(GatewayError::NotStopped(error))),
        }
    }

    /// An error that its log may explain: shows it.
    fn failure(&self, error: GatewayError) -> GatewayError {
        self.show_log();
        error
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail, rightly, where it has ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The default configuration, with a web server on the first PC to forward to, and mail for two people.
fn built_in() -> String {
    let client_id = pc::client_id("pc1").map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":");
    format!(
        r#"
        [[users]]
        name = "alice"

        [[users]]
        name = "bob"

        # The state is in memory, of which a machine may have little.
        [mail]
        disk_reserve = "1 MiB"

        [firewall]
        wan_services = ["smtp"]

        [[dhcp.reservations]]
        hostname = "pc1"
        client_id = "{client_id}"
        address = "192.168.1.20"

        [[firewall.forwards]]
        name = "web"
        protocol = "tcp"
        wan_port = "8080"
        to = "192.168.1.20:80"
        "#
    )
}

fn ports(namespaces: impl Iterator<Item = String>) -> toml::Value {
    let port = |netns: String| {
        Table::from_iter(
            [("tap", DEVICE.to_owned()), ("netns", netns)].map(|(k, v)| (k.to_owned(), v.into())),
        )
    };
    toml::Value::Array(namespaces.map(|netns| toml::Value::Table(port(netns))).collect())
}

fn set(table: &mut Table, section: &str, key: &str, value: toml::Value) {
    let section = table.entry(section).or_insert_with(|| Table::new().into());
    if let Some(section) = section.as_table_mut() {
        section.insert(key.to_owned(), value);
    }
}
