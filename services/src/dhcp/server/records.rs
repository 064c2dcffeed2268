//! Conversion between leases and the journal's records.

use std::time::Duration;

use gatepost_ground::Instant;

use super::journal::{Record, State};
use super::leases::{ClientKey, Lease};
use crate::clock::UnixTime;

/// The lease after its release.
pub(super) fn released(lease: &Lease, now: Instant, unix_now: UnixTime) -> Lease {
    Lease {
        hostname: None,
        state: State::Released,
        since: unix_now,
        until: unix_now,
        expires: now,
        surely_ended: now,
        ..lease.clone()
    }
}

/// The record of a lease.
pub(super) fn to_record(lease: &Lease) -> Record {
    Record {
        address: lease.address,
        client: lease.client.to_string(),
        mac: lease.mac.to_string(),
        source: (lease.source != lease.mac).then(|| lease.source.to_string()),
        hostname: lease.hostname.clone(),
        state: lease.state,
        since: lease.since.0,
        until: lease.until.0,
    }
}

/// The lease of a record.
pub(super) fn from_record(record: Record, now: Instant, unix_now: UnixTime) -> Result<Lease, String> {
    // A clock that is behind must not prolong the lease, and one that was set back must not end it.
    let given_secs = record.until.saturating_sub(record.since);
    let left_secs = record.until.saturating_sub(unix_now.0).min(given_secs);
    let parse_mac = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
    let mac = parse_mac(&record.mac)?;
    Ok(Lease {
        address: record.address,
        client: parse_client(&record.client).ok_or_else(|| format!("no client: {:?}", record.client))?,
        mac,
        source: record.source.as_deref().map_or(Ok(mac), parse_mac)?,
        hostname: record.hostname,
        state: record.state,
        since: UnixTime(record.since),
        until: UnixTime(record.until),
        expires: now + Duration::from_secs(left_secs),
        surely_ended: now + Duration::from_secs(given_secs),
    })
}

fn parse_client(text: &str) -> Option<ClientKey> {
    let (kind, value) = text.split_once(':')?;
    match kind {
        "mac" => value.parse().ok().map(ClientKey::Mac),
        "id" => {
            let octet = |part: &str| u8::from_str_radix(part, 16).ok();
            value.split(':').map(octet).collect::<Option<_>>().map(ClientKey::Id)
        }
        _ => None,
    }
}
