//! The logins of the office: one [`Logins`] for all services and configurations, so that its limits hold over all of
//! them.
//!
//! It is made when the first service needs it, as it reads a key from the disk.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::OnceCell;

use super::limit::Limits;
use super::logins::Logins;
use super::verifier::Cost;
use super::{User, passwords};
use crate::clock::Clock;
use crate::store::Storage;
use crate::work::{self, Work};

/// The logins that the services share.
pub struct OfficeLogins {
    cost: Cost,
    /// The users, and the domains that login names may have.
    users: RefCell<(Vec<User>, Vec<String>)>,
    made: OnceCell<Rc<Logins>>,
}

impl OfficeLogins {
    /// Nobody can log in yet. `cost` is that of passwords.
    pub fn new(cost: Cost) -> Self {
        Self { cost, users: RefCell::default(), made: OnceCell::new() }
    }

    /// Sets the users that can log in, as [`Logins::set_users`] does.
    pub fn set_users(&self, users: &[User], domains: &[&str]) {
        *self.users.borrow_mut() = (users.to_vec(), domains.iter().copied().map(str::to_owned).collect());
        if let Some(logins) = self.made.get() {
            self.tell_users(logins);
        }
    }

    fn tell_users(&self, logins: &Logins) {
        let (users, domains) = &*self.users.borrow();
        let domains: Vec<_> = domains.iter().map(String::as_str).collect();
        logins.set_users(users, &domains);
    }

    /// The logins, which are made if there are none: `work` reads their key from `storage`.
    ///
    /// # Errors
    ///
    /// The key cannot be read or stored, in a sentence. Another call tries again.
    pub async fn open(
        &self,
        storage: &Arc<dyn Storage>,
        work: &Rc<dyn Work>,
        clock: &Rc<dyn Clock>,
        rng: &mut StdRng,
    ) -> Result<Rc<Logins>, String> {
        let made = self.made.get_or_try_init(|| async {
            let of_job = Arc::clone(storage);
            // The key's own randomness, so that a job can have it.
            let mut for_key = StdRng::from_rng(rng);
            let key = work::run(&**work, move || passwords::decoy_key(&*of_job, &mut for_key)).await;
            let key = key.map_err(|error| error.to_string())?;
            let key = key.map_err(|error| format!("a key cannot be stored: {error}"))?;
            let (storage, work, clock) = (Arc::clone(storage), Rc::clone(work), Rc::clone(clock));
            let logins = Logins::new(storage, work, clock, (Limits::default(), self.cost), key, rng);
            self.tell_users(&logins);
            Ok::<_, String>(Rc::new(logins))
        });
        made.await.map(Rc::clone)
    }
}
