//! The requests about the configuration over the control socket, and the commands that make them.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ANSWER_WITHIN, Request as Asked, Response, by_sudo, converse, misunderstood};
use crate::error::Error;
use crate::transaction::{Applied, Diff, Edited, Editor, Keeper, Request as Applying, Versions};

/// A request, with the name under which root's own user works, if it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked for.
    #[serde(flatten)]
    pub what: What,
    /// The user who has become root, as `sudo` tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "do")]
pub enum What {
    /// `set KEY VALUE`
    Set {
        /// The dotted key.
        key: String,
        /// The value: TOML, or else a text.
        value: String,
    },
    /// `unset KEY`
    Unset {
        /// The dotted key.
        key: String,
    },
    /// `discard`
    Discard,
    /// `diff`
    Diff,
    /// `apply`
    Apply {
        /// The seconds for a confirmation; without them the change is final.
        confirm_secs: Option<u64>,
        /// The reason.
        #[serde(default)]
        why: String,
    },
    /// `confirm`
    Confirm,
    /// `rollback [N]`
    Rollback {
        /// The version; without it the one before, or the end of the open window.
        version: Option<u64>,
        /// The seconds for a confirmation; without them the change is final.
        confirm_secs: Option<u64>,
        /// The reason.
        #[serde(default)]
        why: String,
    },
    /// `history`
    History,
}

impl What {
    /// How long the gateway may take to answer: a disk that is busy, and services that are prepared.
    pub(super) fn answered_within(&self) -> Duration {
        match self {
            Self::Apply { .. } | Self::Confirm | Self::Rollback { .. } => 6 * ANSWER_WITHIN,
            _ => ANSWER_WITHIN,
        }
    }
}

/// Has `keeper` carry out a request of the user `peer`.
///
/// # Errors
///
/// Why nothing has changed.
pub async fn carry_out(keeper: &Keeper, peer: &Editor, what: What) -> Result<Value, Error> {
    let applying =
        |confirm_secs: Option<u64>, why| Applying { confirm: confirm_secs.map(Duration::from_secs), why };
    match what {
        What::Set { key, value } => report(&keeper.set(peer, &key, &value).await?),
        What::Unset { key } => report(&keeper.unset(peer, &key).await?),
        What::Discard => report(&keeper.discard(peer).await?),
        What::Diff => report(&keeper.diff(peer).await?),
        What::Apply { confirm_secs, why } => report(&keeper.apply(peer, applying(confirm_secs, why)).await?),
        What::Confirm => report(&keeper.confirm(peer).await?),
        What::Rollback { version, confirm_secs, why } => {
            report(&keeper.rollback(peer, version, applying(confirm_secs, why)).await?)
        }
        What::History => report(&keeper.history()),
    }
}

fn report(answer: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(answer)
        .map_err(|error| Error::failed("the answer cannot be written", error, "see the gateway's log"))
}

/// Asks the gateway behind `socket`; returns its answer.
///
/// # Errors
///
/// No gateway runs there, or the user may not control it, or why nothing has changed.
pub fn request(socket: &Path, what: What) -> Result<Value, Error> {
    match converse(socket, &Asked::Config(Request { what, by: by_sudo() }))? {
        Response::Report(report) => Ok(report),
        Response::Failed(messages) => Err(Error::several(messages)),
        Response::Refused(messages) => Err(Error::mistakes(messages)),
        _ => Err(misunderstood(socket)),
    }
}

/// Asks the gateway behind `socket`, and prints the answer on stdout: as JSON, or as text.
///
/// # Errors
///
/// No gateway runs there, or the user may not control it, or why nothing has changed.
pub fn ask(socket: &Path, what: What, json: bool) -> Result<(), Error> {
    let render = match &what {
        What::Set { .. } | What::Unset { .. } | What::Discard => super::text::<Edited>,
        What::Diff => super::text::<Diff>,
        What::Apply { .. } | What::Confirm | What::Rollback { .. } => super::text::<Applied>,
        What::History => super::text::<Versions>,
    };
    let report = request(socket, what)?;
    super::print(&if json { format!("{report}\n") } else { render(report)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_as_documented() {
        let set = r#"{"config":{"do":"set","key":"lan.inspect_arp","value":"true"}}"#;
        let what = What::Set { key: "lan.inspect_arp".to_owned(), value: "true".to_owned() };
        let asked = Asked::Config(Request { what, by: None });
        assert_eq!(serde_json::from_str::<Asked>(set).expect("documented"), asked);
        assert_eq!(serde_json::to_string(&asked).expect("plain data"), set);
        let apply =
            serde_json::from_str::<Asked>(r#"{"config":{"do":"apply","confirm_secs":60,"by":"anna"}}"#);
        let what = What::Apply { confirm_secs: Some(60), why: String::new() };
        assert_eq!(apply.expect("documented"), Asked::Config(Request { what, by: Some("anna".to_owned()) }));
        let failed = serde_json::to_string(&Response::Failed(vec!["late".to_owned()]));
        assert_eq!(failed.expect("plain data"), r#"{"failed":["late"]}"#);
    }
}
