//! The administrator's requests to the running process.

use std::path::Path;
use std::rc::Rc;

use gatepost_services::mail::service::local::Serving;
use serde_json::Value;
use tracing::{info, warn};

use super::notify::Manager;
use crate::config::Source;
use crate::control::mail::{Off, Request as MailRequest, Undone};
use crate::control::server::Operations;
use crate::control::{ReportError, What};
use crate::error::Error;
use crate::gateway::inspector::Inspector;
use crate::gateway::reload::Reloader;

/// A running gateway and the source of its configuration.
pub struct Operator {
    /// The reports.
    pub inspector: Inspector,
    /// Changes its configuration.
    pub reloader: Reloader,
    /// The file, or what there is without one.
    pub source: Source,
    /// Notified of reloads.
    pub manager: Rc<Manager>,
}

impl Operations for Operator {
    fn mail_off(&self) -> Option<Off> {
        self.inspector.mail_off()
    }

    async fn report(&self, what: What) -> Result<Value, ReportError> {
        self.inspector.report(what).await
    }

    async fn mail(&self, request: MailRequest) -> Result<Value, Undone> {
        self.inspector.mail(request).await
    }

    fn deliver(&self) -> Result<Serving, Undone> {
        self.inspector.deliver()
    }

    fn flush(&self, name: Option<&str>) -> Result<usize, Undone> {
        self.inspector.flush(name)
    }

    async fn reload(&self) -> Result<String, Error> {
        self.manager.reloading();
        let outcome = self.read_again().await;
        self.manager.ready();
        outcome
    }
}

impl Operator {
    async fn read_again(&self) -> Result<String, Error> {
        let Some(file) = self.source.file().map(Path::to_owned) else {
            let why = "it runs on the built-in configuration";
            let remedy = format!("write {}, or start it with `--config FILE`", Source::DEFAULT_FILE);
            return Err(Error::failed("there is nothing to reload", why, remedy));
        };
        let (config, warnings) = self.source.load()?;
        let details = config.details();
        self.reloader.reload(config).await?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        info!("{} is in force", file.display());
        details.iter().for_each(|detail| info!("{}: {}", detail.topic, detail.text));
        Ok(file.display().to_string())
    }
}
