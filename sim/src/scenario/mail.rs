//! Mail in an office: its users and aliases, its senders, and the remote servers.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use gatepost::config::Config;
use gatepost_services::mail::sasl::Password;
use gatepost_services::mail::secret::Secret;
use gatepost_services::store::Storage;
use gatepost_services::users::password::Prepared;
use gatepost_services::users::passwords::file_of;
use gatepost_services::users::verifier::{Cost, Verifiers};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::office::Office;
use super::own::OwnMachine;
use crate::machine::fetcher::{Fetcher, Habit};
use crate::machine::internet::{MAIL_ADDRESSES, POP_ADDRESS, Site};
use crate::machine::mail_server::{MailServer, Manner, TlsManner};
use crate::machine::mailer::{Address, Habits, Mailer, Submitting};
use crate::machine::pop_server::{Login, PopServer};
use crate::machine::post::SharedPost;
use crate::machine::tls::{OfficeAuthority, TlsClient};

/// An alias of two of the users. The gateway defers a message for several users while one of them has no room, so the
/// alias leads to no mailbox that fills up.
const CONFIG: &str = "
    mail.plaintext_login = 'lan'
    mail.aliases = [{ name = 'all', members = ['anna', 'berta'] }]
";
/// Strangers may send, too.
const WAN_CONFIG: &str = "firewall.wan_services = ['smtp']\n";

/// The addresses of the office's that mail is sent to.
pub const ADDRESSES: &[Address] = &[ANNA, BERTA, CARLA, ALL, NOBODY];
/// Those, and addresses at all remote mail servers: several at some domains, and some that do not exist there.
pub const ADDRESSES_EVERYWHERE: &[Address] = &[
    ANNA,
    BERTA,
    CARLA,
    ALL,
    NOBODY,
    elsewhere(&["rita@post-0.example"]),
    elsewhere(&["sven@post-0.example"]),
    elsewhere(&["tess@post-1.example"]),
    elsewhere(&["udo@post-2.example"]),
    elsewhere(&["vera@post-3.example"]),
    elsewhere(&["willi@post-4.example"]),
    elsewhere(&["xenia@post-5.example"]),
    elsewhere(&["yvonne@post-6.example"]),
    elsewhere(&["gone@post-0.example"]),
    elsewhere(&["gone@post-3.example"]),
];

const ANNA: Address = Address { address: "anna@office.example", mailboxes: &["anna"] };
const BERTA: Address = Address { address: "Berta@office.example", mailboxes: &["berta"] };
const CARLA: Address = Address { address: "carla@office.example", mailboxes: &["carla"] };
const ALL: Address = Address { address: "all@office.example", mailboxes: &["anna", "berta"] };
const NOBODY: Address = Address { address: "nobody@office.example", mailboxes: &[] };

/// A remote address that is the only member of its alias.
const fn elsewhere(copy: &'static [&'static str; 1]) -> Address {
    Address { address: copy[0], mailboxes: copy }
}

/// The name of the remote mail server with this number.
pub(super) fn mail_server(number: usize) -> String {
    format!("mx-{number}")
}

const SMTP_PORT: u16 = 25;
const POP3_PORT: u16 = 110;
/// The user name at the remote mailbox.
const POP_LOGIN: Login = Login { user: "office", password: "guess-me-not" };
/// The longest time from one message there to the next.
const POP_PAUSE_MAX: Duration = Duration::from_secs(20);
/// The name of the remote mailbox's server.
pub(super) const POP_SERVER: &str = "pop";
/// The users, and the password of all of them.
const USERS: [&str; 3] = ["anna", "berta", "carla"];
const PASSWORD: &str = "a password that nobody guesses";

/// Mail of an office.
pub(super) struct Mail {
    pub(super) post: SharedPost,
    pub(super) habits: Habits,
    pub(super) authority: Rc<OfficeAuthority>,
    /// The days for which fetched messages stay on the remote server; `None`: the gateway fetches nothing.
    leave_days: Option<u64>,
}

impl Mail {
    /// The mail keys of the gateway's file.
    pub(super) fn config(&self, has_wan: bool) -> String {
        let wan = if has_wan { WAN_CONFIG } else { "" };
        let poll = self.leave_days.map(|days| {
            format!(
                ", poll = [{{ server = 'pop.example.net:110', username = '{}', password_file = 'pop.secret', tls = 'never', \
                 every_secs = 60, leave_days = {days} }}]",
                POP_LOGIN.user
            )
        });
        let poll = poll.unwrap_or_default();
        let users =
            format!("{{ name = 'anna' }}, {{ name = 'berta'{poll} }}, {{ name = 'carla', quota = '1 MiB' }}");
        format!("users = [{users}]\n{CONFIG}{wan}")
    }

    /// Gives the gateway the passwords of remote accounts, as the simulation has no password files.
    pub(super) fn tell_passwords(config: &mut Config) {
        for account in &mut config.services.mail.polled {
            account.password = Secret::Known(Password(POP_LOGIN.password.to_owned()));
        }
    }
}

/// The users with an inbox, and the password of all of them.
pub(super) const LOGINS: (&[&str], &str) = (&USERS, PASSWORD);

/// Writes the passwords of `users` to `disk`, as `gatepost passwd` does.
pub(super) fn set_passwords(
    disk: &dyn Storage,
    seed: u64,
    (users, password): (&[&str], &str),
) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let password = Prepared::new(password).map_err(|error| error.to_string())?;
    for user in users {
        // The least possible cost: a simulated office has no time for more.
        let verifiers = Verifiers::of(&password, Cost::LEAST, &mut rng).map_err(|error| error.to_string())?;
        let file = verifiers.to_file().map_err(|error| error.to_string())?;
        disk.replace(&file_of(user), &file).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Office {
    /// The user called `user` fetches mail, on a machine of that name at that port of the LAN. [`Office::mail`] comes
    /// before.
    #[track_caller]
    pub fn fetching(self, name: &str, port: &str, user: &'static str) -> Self {
        self.fetching_by(name, port, user, Habit::Deletes)
    }

    /// The same for a user who leaves all mail on the server, and fetches messages with new unique-ids.
    #[track_caller]
    pub fn keeping(self, name: &str, port: &str, user: &'static str) -> Self {
        self.fetching_by(name, port, user, Habit::Leaves)
    }

    #[track_caller]
    fn fetching_by(mut self, name: &str, port: &str, user: &'static str, habit: Habit) -> Self {
        let Some(Mail { post, habits, authority, .. }) = &self.mail else { return self };
        let (post, authority, habits) = (Rc::clone(post), Rc::clone(authority), *habits);
        self.own_machines.push(OwnMachine {
            name: name.to_owned(),
            port: port.to_owned(),
            make: Box::new(move |identity| {
                let (login, pause_max) = ((user, PASSWORD), 2 * habits.pause_max);
                let tls = habits.has_tls.then(|| TlsClient::new(&authority, !identity.seed));
                Rc::new(RefCell::new(Fetcher::new(identity, login, habit, pause_max, tls, &post)))
            }),
            line: Location::caller(),
        });
        self
    }

    /// Mail is served, and the machines of these names, plugged in at these ports, send to the office's users.
    #[track_caller]
    pub fn mail(mut self, mailers: &[(&str, &str)], habits: Habits) -> Self {
        let (post, authority) = (SharedPost::default(), Rc::<OfficeAuthority>::default());
        for (name, port) in mailers {
            let is_outside = *port == "wan";
            let (post, authority) = (Rc::clone(&post), Rc::clone(&authority));
            self.own_machines.push(OwnMachine {
                name: (*name).to_owned(),
                port: (*port).to_owned(),
                make: Box::new(move |identity| {
                    let submitting = habits.has_tls.then(|| Submitting {
                        tls: TlsClient::new(&authority, !identity.seed),
                        password: PASSWORD,
                    });
                    let mailer = Mailer::new(identity, habits, submitting, is_outside, &post);
                    Rc::new(RefCell::new(mailer))
                }),
                line: Location::caller(),
            });
        }
        self.mail = Some(Mail { post, habits, authority, leave_days: None });
        self
    }

    /// The gateway fetches a remote mailbox for berta; fetched messages stay there for so many days.
    /// [`Office::mail`] comes before.
    #[track_caller]
    pub fn polling(mut self, leave_days: u64) -> Self {
        let Some(mail) = &mut self.mail else { return self };
        mail.leave_days = Some(leave_days);
        let post = Rc::clone(&mail.post);
        let make = move |seed| PopServer::new(POP_LOGIN, &BERTA, POP_PAUSE_MAX, &post, seed);
        self.server(POP_SERVER, Site::at(POP_ADDRESS).tcp(POP3_PORT), make)
    }

    /// Remote mail servers receive the mail for their domains, each with the manners that `manners_of` has for its
    /// number, or else with random ones. [`Office::mail`] comes before.
    #[track_caller]
    pub fn mail_servers(mut self, manners_of: impl Fn(usize) -> (Option<Manner>, Option<TlsManner>)) -> Self {
        let Some(Mail { post, .. }) = &self.mail else { return self };
        let post = Rc::clone(post);
        for (number, address) in MAIL_ADDRESSES.into_iter().enumerate() {
            let (post, manners) = (Rc::clone(&post), manners_of(number));
            // The second server takes over when the first fails.
            let domains = if number == 1 { 0..=1 } else { number..=number };
            let domains: Vec<_> = domains.map(|domain| format!("post-{domain}.example")).collect();
            let make = move |seed| {
                MailServer::new(format!("mx-{number}.example.net"), domains.clone(), manners, &post, seed)
            };
            self = self.server(&mail_server(number), Site::at(address).tcp(SMTP_PORT), make);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::mailer::MailAccount;
    use crate::scenario::action::{disk, power_back, power_cut};
    use crate::scenario::office::office;
    use crate::world::disk::DiskMood;

    /// A gateway that cannot read its hardware addresses makes new ones, and so gets another WAN address.
    #[test]
    fn mail_from_outside_goes_to_where_the_office_is_now() {
        let secs = Duration::from_secs;
        let habits = Habits { to: ADDRESSES, pause_max: secs(2), long: None, has_tls: false };
        let office = office()
            .pcs(1)
            .mode("nat")
            .mail(&[("stranger", "wan")], habits)
            .at(secs(10), disk(DiskMood::Unreadable))
            .at(secs(11), power_cut())
            .at(secs(12), power_back())
            .at(secs(20), disk(DiskMood::Sound))
            .lasting(secs(120));
        let outcome = office.run("moved", 1, None).expect("it can be built");
        assert!(outcome.passed(), "{outcome}");
        let mailer: &MailAccount = outcome.account.record("stranger");
        assert!(mailer.last_taken_at.is_some_and(|at| at.as_secs() > 100), "{mailer}");
    }
}
