//! Mail in an office: its users and aliases, and who sends to them.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use gatepost_services::store::Storage;
use gatepost_services::users::password::Prepared;
use gatepost_services::users::passwords::file_of;
use gatepost_services::users::verifier::{Cost, Verifiers};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::office::Office;
use super::own::OwnMachine;
use crate::machine::fetcher::Fetcher;
use crate::machine::mailer::{Address, Habits, Mailer};
use crate::machine::post::SharedPost;

/// The users, and an alias of two of them. What is for several is taken if one of them has room, so the alias leads to no
/// mailbox that fills up.
const CONFIG: &str = "
    users = [{ name = 'anna' }, { name = 'berta' }, { name = 'carla', quota = '1 MiB' }]
    mail.plaintext_login = 'lan'
    mail.aliases = [{ name = 'all', members = ['anna', 'berta'] }]
";
/// Strangers may send, too.
const WAN_CONFIG: &str = "firewall.wan_services = ['smtp']\n";

/// The addresses of the office's that mail is sent to.
pub const ADDRESSES: &[Address] = &[
    Address { address: "anna@office.example", mailboxes: &["anna"] },
    Address { address: "Berta@office.example", mailboxes: &["berta"] },
    Address { address: "carla@office.example", mailboxes: &["carla"] },
    Address { address: "all@office.example", mailboxes: &["anna", "berta"] },
    Address { address: "nobody@office.example", mailboxes: &[] },
];

/// The users, and the password of all of them.
const USERS: [&str; 3] = ["anna", "berta", "carla"];
const PASSWORD: &str = "a password that nobody guesses";

/// Mail of an office.
pub(super) struct Mail {
    pub(super) post: SharedPost,
    pub(super) habits: Habits,
}

impl Mail {
    /// What it adds to the gateway's file.
    pub(super) fn config(&self, has_wan: bool) -> String {
        let wan = if has_wan { WAN_CONFIG } else { "" };
        format!("{CONFIG}{wan}")
    }
}

/// Has `disk` know the users' passwords, as `gatepost passwd` does it.
pub(super) fn set_passwords(disk: &dyn Storage, seed: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let password = Prepared::new(PASSWORD).map_err(|error| error.to_string())?;
    for user in USERS {
        // The least that is possible: a simulated office has no time for more.
        let verifiers = Verifiers::of(&password, Cost::LEAST, &mut rng).map_err(|error| error.to_string())?;
        let file = verifiers.to_file().map_err(|error| error.to_string())?;
        disk.replace(&file_of(user), &file).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Office {
    /// The user called `user` fetches mail, on a machine of that name at that port of the LAN. [`Office::mail`] comes before.
    #[track_caller]
    pub fn fetching(mut self, name: &str, port: &str, user: &'static str) -> Self {
        let Some(Mail { post, habits }) = &self.mail else { return self };
        let (post, pause_max) = (Rc::clone(post), 2 * habits.pause_max);
        self.own_machines.push(OwnMachine {
            name: name.to_owned(),
            port: port.to_owned(),
            make: Box::new(move |identity| {
                let login = (user, PASSWORD);
                Rc::new(RefCell::new(Fetcher::new(identity, login, pause_max, &post)))
            }),
            line: Location::caller(),
        });
        self
    }

    /// Mail is served, and the machines of these names, plugged in at these ports, send to the office's users.
    #[track_caller]
    pub fn mail(mut self, mailers: &[(&str, &str)], habits: Habits) -> Self {
        let post = SharedPost::default();
        for (name, port) in mailers {
            let (is_outside, post) = (*port == "wan", Rc::clone(&post));
            self.own_machines.push(OwnMachine {
                name: (*name).to_owned(),
                port: (*port).to_owned(),
                make: Box::new(move |identity| {
                    Rc::new(RefCell::new(Mailer::new(identity, habits, is_outside, &post)))
                }),
                line: Location::caller(),
            });
        }
        self.mail = Some(Mail { post, habits });
        self
    }
}
