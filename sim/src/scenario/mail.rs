//! Mail in an office: its users and aliases, and who sends to them.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use super::office::Office;
use super::own::OwnMachine;
use crate::machine::mailer::{Address, Habits, Mailer};
use crate::machine::post::SharedPost;

/// The users, and an alias of two of them. What is for several is taken if one of them has room, so the alias leads to no
/// mailbox that fills up.
const CONFIG: &str = "
    system.unfinished = ['mail']
    users = [{ name = 'anna' }, { name = 'berta' }, { name = 'carla', quota = '1 MiB' }]
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

impl Office {
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
