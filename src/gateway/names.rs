//! The administrator's view of the DNS service, and the request to empty its cache.

use std::rc::Rc;

use gatepost_services::dns::inspection::{self, Inspected};
use gatepost_services::dns::name::a_labels;
use hickory_proto::rr::Name;

use super::inspector::Inspector;
use crate::control::ReportError;
use crate::control::mail::Undone;
use crate::control::name_report::{Cache, CachedAnswer, LocalRecord, Server, Servers, Zone};

/// Why there is no report.
const NOT_RUNNING: &str = "the DNS service does not run";

impl Inspector {
    fn running_names(&self) -> Result<Rc<dyn Inspected>, ReportError> {
        self.list.names().running().ok_or_else(|| ReportError::Unknown(NOT_RUNNING.to_owned()))
    }

    /// The local zones.
    pub(super) fn zone(&self) -> Result<Zone, ReportError> {
        let content = self.running_names()?.zones();
        let local = |record: inspection::LocalRecord| LocalRecord {
            name: record.name.to_ascii(),
            ttl_secs: record.ttl_secs,
            record_type: record.data.record_type().to_string(),
            data: record.data.to_string(),
            origin: record.origin.name().to_owned(),
        };
        Ok(Zone {
            zones: content.zones.iter().map(Name::to_ascii).collect(),
            total: content.records.len(),
            records: content.records.into_iter().take(Zone::SHOWN_MAX).map(local).collect(),
        })
    }

    /// The content of the DNS cache.
    pub(super) fn cache(&self) -> Result<Cache, ReportError> {
        let content = self.running_names()?.cache(Cache::SHOWN_MAX);
        let cached = |answer: inspection::CachedAnswer| CachedAnswer {
            name: answer.name.to_ascii(),
            record_type: answer.record_type.map(|record_type| record_type.to_string()),
            code: answer.code.to_str().to_owned(),
            records: answer.answers,
            // Rounded up, as 0 means that it has expired.
            expires_in_secs: answer.remaining.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX),
        };
        Ok(Cache {
            total: content.total,
            total_records: content.records,
            answers: content.answers.into_iter().map(cached).collect(),
        })
    }

    /// The servers that the DNS service queries.
    pub(super) fn name_servers(&self) -> Result<Servers, ReportError> {
        let running = self.running_names()?;
        let server = |server: inspection::ServerState| Server {
            address: server.address,
            zone: server.zone,
            state: if server.down_for.is_zero() { "up" } else { "down" }.to_owned(),
            down_for_secs: server.down_for.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX),
            edns: server.edns.name().to_owned(),
        };
        Ok(Servers {
            servers: running.servers().into_iter().map(server).collect(),
            cached_answers: running.cache(0).total,
            local_records: running.zones().records.len(),
        })
    }

    /// Removes the cached answers for `name` and the names below it, or all; returns their number.
    ///
    /// # Errors
    ///
    /// The service does not run, or `name` is no domain name.
    pub fn flush(&self, name: Option<&str>) -> Result<usize, Undone> {
        let undone = |why: String, remedy: &str| Undone { why, remedy: remedy.to_owned() };
        let absolute = |name: &str| {
            let parsed = a_labels(name).and_then(|name| Name::from_ascii(name).ok());
            let why =
                || undone(format!("{name:?} is no domain name"), "write a name such as www.example.com");
            parsed.ok_or_else(why)
        };
        let zone = name.map(absolute).transpose()?;
        let running = self.list.names().running();
        let running =
            running.ok_or_else(|| undone(NOT_RUNNING.to_owned(), "see `gatepost show services`"))?;
        Ok(running.flush(zone.as_ref()))
    }
}
