//! `gatepost mail poll`.

use super::{Options, asked, print, print_json};
use crate::control;
use crate::control::mail::Request;
use crate::control::mail_report::Polled;
use crate::error::Error;

/// Has all mailboxes elsewhere looked at now. Whether all of them were fetched to their ends.
pub(super) fn run(options: &Options, is_dry: bool) -> Result<bool, Error> {
    let report = asked(&options.load()?, |socket| control::mail(socket, Request::Poll { dry_run: is_dry }))?;
    let polled: Polled = serde_json::from_value(report.clone()).map_err(|error| {
        Error::failed("cannot read the gateway's answer", error, "use the version that runs, or --json")
    })?;
    if options.json {
        print_json(&report)?;
    } else {
        print(polled.to_string().trim_end());
    }
    Ok(polled.is_done())
}
