//! Sets passwords in the running gateway, as `gatepost passwd` does beside it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::password::Prepared;
use super::passwords;
use super::verifier::{Cost, Verifiers};
use crate::store::Storage;
use crate::work::{self, Work};

/// Makes and stores the verifiers of passwords, off the services' thread.
pub struct PasswordSetter {
    storage: Arc<dyn Storage>,
    work: Rc<dyn Work>,
    cost: Cost,
    rng: RefCell<StdRng>,
}

impl PasswordSetter {
    /// Stores in `storage`, in jobs of `work`; salts come from `rng`.
    pub fn new(storage: Arc<dyn Storage>, work: Rc<dyn Work>, cost: Cost, rng: StdRng) -> Self {
        Self { storage, work, cost, rng: RefCell::new(rng) }
    }

    /// The verifiers of `password`, which are not stored yet.
    ///
    /// # Errors
    ///
    /// Why there are none, in a sentence.
    pub async fn verifiers(&self, password: Prepared) -> Result<Verifiers, String> {
        let (cost, mut rng) = (self.cost, StdRng::from_rng(&mut *self.rng.borrow_mut()));
        let made = work::run(&*self.work, move || Verifiers::of(&password, cost, &mut rng)).await;
        made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Makes these verifiers those of `user`. They are in force when this returns.
    ///
    /// # Errors
    ///
    /// Why the former ones stay in force, in a sentence.
    pub async fn store(&self, user: &str, verifiers: Verifiers) -> Result<(), String> {
        let (storage, user) = (Arc::clone(&self.storage), user.to_owned());
        let stored = work::run(&*self.work, move || passwords::store(&*storage, &user, &verifiers)).await;
        stored.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Removes the password of `user`, if there is one.
    ///
    /// # Errors
    ///
    /// Why it stays in force, in a sentence.
    pub async fn forget(&self, user: &str) -> Result<(), String> {
        let (storage, file) = (Arc::clone(&self.storage), passwords::file_of(user));
        let removed = work::run(&*self.work, move || storage.remove(&file)).await;
        removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Whether `user` has a password. A file that cannot be read may be one's.
    pub async fn is_set(&self, user: &str) -> bool {
        let (storage, user) = (Arc::clone(&self.storage), user.to_owned());
        let read = work::run(&*self.work, move || passwords::read(&*storage, &user)).await;
        !matches!(read, Ok(Ok(None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use crate::work::AtOnce;

    #[tokio::test]
    async fn a_password_is_in_force_once_it_is_stored() {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let rng = StdRng::seed_from_u64(1);
        let setter = PasswordSetter::new(Arc::clone(&storage), Rc::new(AtOnce), Cost::LEAST, rng);
        let password = || Prepared::new("blue harbour 47").expect("a password");
        let verifiers = setter.verifiers(password()).await.expect("memory");
        assert!(!setter.is_set("anna").await, "nothing is stored yet");
        setter.store("anna", verifiers.clone()).await.expect("room");
        assert!(setter.is_set("anna").await && !setter.is_set("berta").await);
        let stored = passwords::read(&*storage, "anna").expect("readable").expect("a password");
        assert!(stored == verifiers && stored.check(&password()));
        let again = setter.verifiers(password()).await.expect("memory");
        assert!(again.mark() != verifiers.mark(), "salts are never the same");
        setter.forget("anna").await.expect("room");
        setter.forget("anna").await.expect("there is none");
        assert!(!setter.is_set("anna").await);
    }
}
