//! The gateway's configuration file, and requests for a reload.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use gatepost::config::Config;
use gatepost::error::Error;
use gatepost::gateway::reload::Reloader;
use tokio::sync::Notify;

use super::observer::Shared;

/// The file, and the reloads that wait.
pub struct ConfigFile {
    /// The file at the next boot.
    config: RefCell<Config>,
    reloads: RefCell<VecDeque<Reload>>,
    is_changed: Notify,
}

/// A requested reload.
enum Reload {
    /// It has to.
    Sound(Box<Config>),
    /// It has to refuse.
    NeedsRestart(Box<Config>),
}

impl ConfigFile {
    /// A file that says `config`.
    pub fn new(config: Config) -> Self {
        Self { config: RefCell::new(config), reloads: RefCell::default(), is_changed: Notify::new() }
    }

    /// Reads the file at a boot, which drops a pending reload.
    pub fn read(&self) -> Config {
        self.reloads.borrow_mut().clear();
        self.config.borrow().clone()
    }

    /// Replaces the file with `config`, and requests a reload.
    pub fn change(&self, config: Config) {
        self.config.replace(config.clone());
        self.wish(Reload::Sound(Box::new(config)));
    }

    /// Requests a reload of a file that needs a restart. The file is restored before the next boot.
    pub fn offer_what_needs_a_restart(&self) {
        let mut config = self.config.borrow().clone();
        config.system.state_dir.push("elsewhere");
        config.firewall.forwards.clear();
        self.wish(Reload::NeedsRestart(Box::new(config)));
    }

    fn wish(&self, reload: Reload) {
        self.reloads.borrow_mut().push_back(reload);
        self.is_changed.notify_one();
    }

    async fn next(&self) -> Reload {
        loop {
            if let Some(reload) = self.reloads.borrow_mut().pop_front() {
                return reload;
            }
            self.is_changed.notified().await;
        }
    }
}

/// Tells a running gateway of each change, as `gatepost reload` does, and the checkers before and after.
///
/// # Errors
///
/// The gateway rejects a valid file, or accepts an invalid one.
pub async fn reload(reloader: Reloader, file: Rc<ConfigFile>, observer: Shared) -> Result<(), Error> {
    loop {
        match file.next().await {
            Reload::Sound(config) => {
                observer.borrow_mut().on_reload(&config);
                reloader.reload((*config).clone()).await?;
                observer.borrow_mut().on_configure(&config);
            }
            Reload::NeedsRestart(config) => {
                if reloader.reload(*config).await.is_ok() {
                    let why = "it needs a restart";
                    return Err(Error::failed("the gateway took a configuration", why, "see reload::check"));
                }
            }
        }
    }
}
