//! `gatepost mail queue`.

use super::{Options, asked, print, print_json, tell};
use crate::control::mail::{QueueAction, QueueChanged, Request};
use crate::control::{self, What};
use crate::error::Error;

/// Shows the queue, or has something done to messages in it. Whether it was done to all that were meant.
pub(super) fn run(options: &Options, action: Option<(QueueAction, String)>) -> Result<bool, Error> {
    let config = options.load()?;
    let Some((action, id)) = action else {
        let report = asked(&config, |socket| control::ask(socket, What::Queue))?;
        if options.json {
            print_json(&report)?;
        } else {
            print(control::render(What::Queue, report)?.trim_end());
        }
        return Ok(true);
    };
    let report = asked(&config, |socket| control::mail(socket, Request::Queue { action, id }))?;
    let changed: QueueChanged = serde_json::from_value(report.clone()).map_err(|error| {
        Error::failed("cannot read the gateway's answer", error, "use the version that runs, or --json")
    })?;
    if options.json {
        print_json(&report)?;
    } else if !changed.changed.is_empty() {
        print(changed.to_string().trim_end());
    }
    changed.undone().for_each(|why| tell(&why));
    Ok(changed.is_done())
}
