//! The storage of the signing keys: generated once, and used only after they are safe on the disk.
//!
//! If a key is lost, the records that the office has published in external zones become invalid, so [`FILE`] is
//! overwritten only if there was none, or after a copy of a damaged one was stored. Failed reads and writes are tried
//! again every minute. Meanwhile mail is sent unsigned, as verifiers would not find a new key in DNS. None of this
//! depends on the time of day.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::keys::Keys;
use crate::crypto::tls::KeySource;
use crate::store::{Disk, Topic, sealed};
use crate::work::{self, Work};

/// The file of the keys.
pub const FILE: &str = "dkim/keys.json";

/// The interval of retries after a failure.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The keys, for as long as the gateway runs.
#[derive(Default)]
pub struct KeyKeeper {
    keys: RefCell<Option<Arc<Keys>>>,
    /// Keys that have been made and are not safe yet.
    unsafe_keys: RefCell<Option<Arc<Keys>>>,
    turn: Mutex<()>,
}

/// The environment of the keys.
pub struct Keeping {
    /// Where.
    pub disk: Disk,
    /// The executor of their generation.
    pub work: Rc<dyn Work>,
    /// Where they come from.
    pub from: KeySource,
    /// Randomness for those that come from a seed.
    pub rng: RefCell<StdRng>,
}

impl KeyKeeper {
    /// The keys, if they are safe.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.borrow().clone()
    }

    /// The keys, read or made and safe on the disk, as soon as they are.
    pub async fn keep(&self, keeping: &Keeping) -> Arc<Keys> {
        // A new configuration may come while a former one waits for the keys.
        let _turn = self.turn.lock().await;
        loop {
            if let Some(keys) = self.keys() {
                return keys;
            }
            match self.read_or_make(keeping).await {
                Ok(keys) => {
                    keeping.disk.report(Topic::SigningKeysNotKept, None);
                    *self.unsafe_keys.borrow_mut() = None;
                    *self.keys.borrow_mut() = Some(keys);
                }
                Err(why) => {
                    let problem = format!("{why}; mail leaves without DKIM signatures until that is mended");
                    keeping.disk.report(Topic::SigningKeysNotKept, Some(problem));
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn read_or_make(&self, Keeping { disk, work, from, rng }: &Keeping) -> Result<Arc<Keys>, String> {
        let content = disk.read(FILE).await.map_err(|error| format!("{FILE} cannot be read: {error}"))?;
        if let Some(content) = content {
            let why = match parse(&content) {
                Ok(keys) => return Ok(Arc::new(keys)),
                Err(why) => why,
            };
            let aside = disk.set_aside(FILE, content).await;
            let copy = aside.map_err(|error| {
                format!(
                    "{FILE} is damaged: {why}; no copy of it can be kept, and it is not replaced: {error}"
                )
            })?;
            let problem = format!(
                "{FILE} is damaged: {why}; there are new keys, and zones elsewhere need new records, which `gatepost mail \
                 dkim` prints; a copy is kept as {copy}"
            );
            disk.report(Topic::SigningKeysDamaged, Some(problem));
        }
        let made = self.unsafe_keys.borrow().clone();
        let keys = match made {
            Some(keys) => keys,
            None => {
                let (mut rng, from) = (StdRng::from_rng(&mut *rng.borrow_mut()), *from);
                let made = work::run(&**work, move || Keys::make(from, &mut rng)).await;
                Arc::new(made.map_err(|error| format!("no keys can be made: {error}"))?)
            }
        };
        *self.unsafe_keys.borrow_mut() = Some(Arc::clone(&keys));
        let kept = disk.replace(FILE, sealed::seal(&keys.to_json())).await;
        kept.map_err(|error| format!("{FILE} cannot be written: {error}"))?;
        Ok(keys)
    }
}

/// The damage of [`FILE`] with this content, if there is any.
pub fn damage(content: &[u8]) -> Option<String> {
    parse(content).err()
}

/// The keys that the content of [`FILE`] holds.
///
/// # Errors
///
/// The content is damaged, in a sentence.
pub fn keys_in(content: &[u8]) -> Result<Keys, String> {
    parse(content)
}

fn parse(content: &[u8]) -> Result<Keys, String> {
    Keys::parse(sealed::unseal(content).map_err(|damage| damage.to_string())?)
}
