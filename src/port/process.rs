//! The process that runs the gateway: its restart, its backup.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_services::clock::Clock;
use gatepost_services::store::Storage;
use gatepost_services::task::LocalFuture;
use gatepost_services::watch;
use gatepost_services::work::{self, Work};
use tracing::{info, warn};

use crate::backup::{self, Archive};
use crate::config::Source;
use crate::error::Error;
use crate::process::{BackUpMade, Process};
use crate::transaction::{Editor, Keeper};

/// The program and its arguments, as they were at the start: an update may have put another file in its place since,
/// which a restart runs.
#[derive(Clone, Debug)]
pub struct Program {
    file: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's program.
    ///
    /// # Errors
    ///
    /// The system does not tell its file.
    pub fn of_process() -> io::Result<Self> {
        Ok(Self { file: env::current_exe()?, arguments: env::args_os().collect() })
    }

    /// Runs the program in place of this process, which has ended all that it did.
    ///
    /// # Errors
    ///
    /// It cannot be run.
    pub fn run_again(self) -> Result<Infallible, Error> {
        let mut arguments = self.arguments.into_iter();
        let mut command = Command::new(&self.file);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        let error = command.args(arguments).exec();
        Err(Error::failed(
            "cannot run the gateway again",
            format!("{}: {error}", self.file.display()),
            "start it",
        ))
    }
}

/// The running process.
pub struct RunningProcess {
    /// The configuration's file.
    pub source: Source,
    /// The path of the state directory, which no change at runtime moves.
    pub state_dir: PathBuf,
    /// The state directory.
    pub storage: Arc<dyn Storage>,
    /// Runs what takes long.
    pub work: Rc<dyn Work>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// The configuration.
    pub keeper: Rc<Keeper>,
    /// Raised by a restart.
    pub restart: watch::Sender<bool>,
}

impl RunningProcess {
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = work::run(&*self.work, job).await;
        done.unwrap_or_else(|error| Err(Error::failed(what, error, "try again in a moment")))
    }
}

impl Process for RunningProcess {
    fn restart(&self, by: &Editor) {
        info!("a restart was asked for by {}", by.name());
        self.restart.send_replace(true);
    }

    fn back_up<'a>(&'a self, passphrase: &str) -> LocalFuture<'a, Result<BackUpMade, Error>> {
        let (source, storage, passphrase) =
            (self.source.clone(), Arc::clone(&self.storage), passphrase.to_owned());
        let now = self.clock.unix_time();
        Box::pin(self.run("no backup is made", move || {
            let (config, _, text) = source.load_with_text()?;
            let passphrase = backup::new_passphrase(&config, &passphrase)?;
            let folder = source.file().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
            let text = text.unwrap_or_default();
            let (archive, left_out) = Archive::gather((&config, &text), folder, &*storage, now)?;
            left_out.iter().for_each(|what| warn!("the backup is not complete: {what}"));
            Ok(BackUpMade { backup: backup::seal(&archive, &passphrase)?, left_out })
        }))
    }

    fn restore<'a>(
        &'a self,
        by: &'a Editor,
        backup: Vec<u8>,
        passphrase: &str,
    ) -> LocalFuture<'a, Result<(), Error>> {
        let (source, storage, passphrase) =
            (self.source.clone(), Arc::clone(&self.storage), passphrase.to_owned());
        Box::pin(async move {
            const WHAT: &str = "nothing is restored";
            if self.keeper.window().is_some() {
                let why = "a change of the configuration waits for its confirmation";
                return Err(Error::failed(WHAT, why, "first `gatepost confirm` or `gatepost rollback`"));
            }
            let state_dir = self.state_dir.clone();
            let made = self.run(WHAT, move || {
                let checked = backup::open(&backup, &passphrase, source.written().0)?;
                let new = &checked.config().system.state_dir;
                if *new != state_dir {
                    let why =
                        format!("its state directory is {}, not {}", new.display(), state_dir.display());
                    return Err(Error::failed(WHAT, why, "stop the gateway, and use `gatepost restore`"));
                }
                checked.begin(&*storage)?;
                Ok(checked.made())
            });
            info!("{} restores the backup of {}", by.name(), made.await?);
            self.restart(by);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_again_is_told() {
        let gone = Program { file: "/proc/gone/gatepost".into(), arguments: vec!["gatepost".into()] };
        let told = gone.run_again().expect_err("it is not there").to_string();
        assert!(told.starts_with("cannot run the gateway again: /proc/gone/gatepost: "), "{told}");
        assert!(Program::of_process().expect("it is known").file.is_absolute());
    }
}
