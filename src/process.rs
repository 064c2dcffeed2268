//! What the control socket and the pages ask of the process that runs the gateway, and a gateway alone cannot do.

use gatepost_services::task::LocalFuture;

use crate::error::Error;
use crate::transaction::Editor;

/// A backup that was made.
#[derive(Debug)]
pub struct BackUpMade {
    /// The file.
    pub backup: Vec<u8>,
    /// What is not in it, a sentence each.
    pub left_out: Vec<String>,
}

/// The process that runs the gateway.
pub trait Process {
    /// Ends the gateway in order, and runs the program again in the same process, with the same arguments: whoever
    /// supervises it sees one that goes on. It returns before.
    fn restart(&self, by: &Editor);

    /// Makes a backup of what is confirmed.
    ///
    /// # Errors
    ///
    /// A weak passphrase, or what cannot be read.
    fn back_up<'a>(&'a self, passphrase: &str) -> LocalFuture<'a, Result<BackUpMade, Error>>;

    /// Checks `backup`, and restores it by a restart.
    ///
    /// # Errors
    ///
    /// Why nothing is restored.
    fn restore<'a>(
        &'a self,
        by: &'a Editor,
        backup: Vec<u8>,
        passphrase: &str,
    ) -> LocalFuture<'a, Result<(), Error>>;
}
