//! The administrator's requests to the running process.

use std::rc::Rc;

use gatepost_services::admin::{AskedCode, Code, Codes};
use gatepost_services::mail::service::local::Serving;
use serde_json::Value;
use tracing::{info, warn};

use super::notify::Manager;
use crate::control::capture::Wanted;
use crate::control::code::ToldCode;
use crate::control::drops::RecentDrops;
use crate::control::explain::{Asked, Explained, Unexplained};
use crate::control::flows::FlowName;
use crate::control::follow::{Event, Watched};
use crate::control::mail::{Off, Request as MailRequest, Undone};
use crate::control::server::Operations;
use crate::control::transaction::{self, What as ConfigRequest};
use crate::control::{ReportError, What};
use crate::error::Error;
use crate::gateway::capture::Capture;
use crate::gateway::events::Watching;
use crate::gateway::inspector::Inspector;
use crate::process::Process;
use crate::transaction::{Editor, Keeper};

/// A running gateway and the keeper of its configuration.
pub struct Operator {
    /// The reports.
    pub inspector: Inspector,
    /// Changes its configuration.
    pub keeper: Rc<Keeper>,
    /// Notified of reloads.
    pub manager: Rc<Manager>,
    /// The codes for the administration's pages.
    pub codes: Codes,
    /// The process that runs it.
    pub process: Rc<dyn Process>,
}

impl Operations for Operator {
    type Watching = Watching;
    type Capture = Capture;

    fn mail_off(&self) -> Option<Off> {
        self.inspector.mail_off()
    }

    async fn report(&self, what: What) -> Result<Value, ReportError> {
        let mut report = self.inspector.report(what).await?;
        if let (What::Status, Some(status)) = (what, report.as_object_mut()) {
            let window = serde_json::to_value(self.keeper.window()).map_err(ReportError::Unprintable)?;
            status.insert("unconfirmed".to_owned(), window);
        }
        Ok(report)
    }

    async fn mail(&self, request: MailRequest) -> Result<Value, Undone> {
        self.inspector.mail(request).await
    }

    fn deliver(&self) -> Result<Serving, Undone> {
        self.inspector.deliver()
    }

    async fn explain(&self, asked: Asked) -> Result<Explained, Unexplained> {
        self.inspector.explain(&asked).await
    }

    async fn recent_drops(&self) -> Result<RecentDrops, ReportError> {
        self.inspector.recent_drops().await
    }

    async fn watch(&self, what: Watched) -> Result<Watching, ReportError> {
        self.inspector.watch(what).await
    }

    async fn new_events(&self, watching: &mut Watching) -> Result<Vec<Event>, ReportError> {
        self.inspector.new_events(watching).await
    }

    async fn end_flow(&self, flow: &FlowName) -> Result<bool, ReportError> {
        self.inspector.end_flow(flow).await
    }

    async fn capture(&self, wanted: &Wanted) -> Result<Capture, Undone> {
        self.inspector.capture(wanted).await
    }

    fn flush(&self, name: Option<&str>) -> Result<usize, Undone> {
        self.inspector.flush(name)
    }

    async fn code(&self) -> Result<ToldCode, Undone> {
        let code = |code: Code, site, is_first_run| ToldCode { code: code.to_string(), site, is_first_run };
        match self.codes.ask().await {
            Some(AskedCode::FirstRun { code: own, site }) => Ok(code(own, site, true)),
            Some(AskedCode::Password { code: own, site }) => Ok(code(own, site, false)),
            None => Err(Undone {
                why: "the administration does not run".to_owned(),
                remedy: "write admin.enabled = true, or see `gatepost show services`".to_owned(),
            }),
        }
    }

    fn restart(&self, by: &Editor) {
        self.process.restart(by);
    }

    async fn reload(&self, by: &Editor) -> Result<String, Error> {
        self.manager.reloading();
        let outcome = self.read_again(by).await;
        self.manager.ready();
        outcome
    }

    async fn config(&self, by: &Editor, what: ConfigRequest) -> Result<Value, Error> {
        transaction::carry_out(&self.keeper, by, what).await
    }
}

impl Operator {
    async fn read_again(&self, by: &Editor) -> Result<String, Error> {
        let (config, warnings) = self.keeper.reload(by).await?;
        let file = self.keeper.file_name();
        warnings.iter().for_each(|warning| warn!("{warning}"));
        info!("{file} is in force");
        config.details().iter().for_each(|detail| info!("{}: {}", detail.topic, detail.text));
        Ok(file)
    }
}
