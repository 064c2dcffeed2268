//! What the administrator can ask of the process that runs.

use std::path::PathBuf;

use serde_json::Value;
use tracing::info;

use crate::config::Config;
use crate::control::What;
use crate::control::server::Operations;
use crate::error::Error;
use crate::gateway::inspector::Inspector;
use crate::gateway::reload::Reloader;

/// A running gateway and the file that its configuration is from.
pub struct Operator {
    /// Tells about it.
    pub inspector: Inspector,
    /// Changes its configuration.
    pub reloader: Reloader,
    /// `None`: the built-in default.
    pub file: Option<PathBuf>,
}

impl Operations for Operator {
    async fn report(&self, what: What) -> Result<Value, String> {
        self.inspector.report(what).await
    }

    async fn reload(&self) -> Result<String, Error> {
        let Some(file) = &self.file else {
            let why = "it runs on the built-in configuration";
            return Err(Error::failed("there is nothing to reload", why, "start it with `--config FILE`"));
        };
        self.reloader.reload(Config::load(file)?).await?;
        info!("{} is in force", file.display());
        Ok(file.display().to_string())
    }
}
