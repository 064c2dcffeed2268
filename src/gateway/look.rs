//! The look of the administration's pages: the office's own, if its files are good.

use std::io;
use std::rc::Rc;

use gatepost_services::store::Topic;
use gatepost_services::work;

use super::resources::Resources;
use crate::admin::theme::Theme;
use crate::config::Config;

/// The look of one configuration. A problem with its files is no reason to refuse a configuration: the pages have the
/// gateway's own look then, and say why.
pub(super) struct Look {
    theme: Option<Rc<Theme>>,
    problem: Option<String>,
}

impl Look {
    /// Reads the files that `config` names, if it names any.
    pub async fn prepare(config: &Config, resources: &Resources) -> Self {
        let Some(folder) = config.services.admin.theme.clone() else {
            return Self { theme: None, problem: None };
        };
        let read = work::run(&*resources.work, move || Theme::read(&folder)).await;
        match read.map_err(|error| io::Error::from(error).to_string()) {
            Ok(Ok(theme)) => Self { theme: Some(Rc::new(theme)), problem: None },
            Ok(Err(unusable)) => Self { theme: None, problem: Some(unusable.to_string()) },
            Err(why) => {
                Self { theme: None, problem: Some(format!("admin.theme cannot be read: {why}; reload")) }
            }
        }
    }

    /// The pages have it from now on.
    pub fn activate(self, resources: &Resources) {
        resources.pages.wear(self.theme);
        resources.disk.report(Topic::Theme, self.problem);
    }
}
