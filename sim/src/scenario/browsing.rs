//! The administration in an office: its people, and the browsers by which they use it.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use ipnet::Ipv4Net;

use super::office::Office;
use super::own::OwnMachine;
use crate::checkers::pages_told::PagesTold;
use crate::machine::browser::sight::{Account, SharedSight};
use crate::machine::browser::{Browser, Manners};
use crate::machine::tls::{OfficeAuthority, TlsClient};

/// The people, of whom the last has the own page alone.
const PEOPLE: &[Account] = &[
    Account { user: "olga", role: "owner" },
    Account { user: "oskar", role: "operator" },
    Account { user: "vera", role: "viewer" },
    Account { user: "ute", role: "user" },
];
/// The password of all of them.
const PASSWORD: &str = "blue harbour 47";

/// The administration of an office.
pub(super) struct Browsing {
    pub(super) authority: Rc<OfficeAuthority>,
}

impl Browsing {
    /// The keys of the gateway's file.
    pub(super) fn config() -> String {
        let user = |Account { user, role }: &Account| format!("{{ name = '{user}', role = '{role}' }}");
        let users: Vec<_> = PEOPLE.iter().map(user).collect();
        format!("users = [{}]\nadmin.enabled = true\nmail.enabled = false\n", users.join(", "))
    }

    /// The users, and the password of all of them.
    pub(super) fn logins() -> (Vec<&'static str>, &'static str) {
        (PEOPLE.iter().map(|account| account.user).collect(), PASSWORD)
    }
}

impl Office {
    /// The administration serves, and so many browsers at `lan0`, from `browser-0` on, use it, one as anybody of the
    /// office. The gateway is at one of the addresses `gateways`, at first at the first. The office has no mail.
    #[track_caller]
    pub fn browsing(self, count: usize, gateways: &[Ipv4Net]) -> Self {
        self.browsing_by(count, gateways, false)
    }

    /// The same, and the first browser moves the gateway from one address to another by its pages. The office is
    /// [administered](Office::administered), by nobody else.
    #[track_caller]
    pub fn moving(self, count: usize, gateways: &[Ipv4Net]) -> Self {
        self.browsing_by(count, gateways, true)
    }

    #[track_caller]
    fn browsing_by(mut self, count: usize, gateways: &[Ipv4Net], moves: bool) -> Self {
        let (sight, authority) = (SharedSight::default(), Rc::<OfficeAuthority>::default());
        for number in 0..count {
            let (sight, authority, gateways) = (Rc::clone(&sight), Rc::clone(&authority), gateways.to_vec());
            self.own_machines.push(OwnMachine {
                name: format!("browser-{number}"),
                port: "lan0".to_owned(),
                make: Box::new(move |identity| {
                    let (gateways, moves) = (gateways.clone(), moves && number == 0);
                    let manners = Manners { people: PEOPLE, password: PASSWORD, gateways, moves };
                    let tls = TlsClient::new(&authority, !identity.seed);
                    Rc::new(RefCell::new(Browser::new(identity, &manners, tls, Rc::clone(&sight))))
                }),
                line: Location::caller(),
            });
        }
        self.browsing = Some(Browsing { authority });
        self.checker(move |config| PagesTold::new(config, Rc::clone(&sight)))
    }
}
