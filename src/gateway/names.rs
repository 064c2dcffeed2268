//! The administrator's view of the DNS service, the request to empty its cache, and names in other requests.

use std::net::Ipv4Addr;
use std::rc::Rc;

use gatepost_services::dns::inspection::{self, Inspected};
use gatepost_services::dns::name::a_labels;
use gatepost_services::dns::resolver::{NoAnswer, Resolver};
use hickory_proto::rr::{Name, RData, RecordType};

use super::inspector::Inspector;
use crate::control::ReportError;
use crate::control::explain::Unexplained;
use crate::control::mail::Undone;
use crate::control::name_report::{Cache, CachedAnswer, LocalRecord, Server, Servers, Zone};

/// Why there is no report.
const NOT_RUNNING: &str = "the DNS service does not run";

impl Inspector {
    fn running_names(&self) -> Result<Rc<dyn Inspected>, ReportError> {
        self.list.names().running().ok_or_else(|| ReportError::Unknown(NOT_RUNNING.to_owned()))
    }

    /// The local zones.
    pub(crate) fn zone(&self) -> Result<Zone, ReportError> {
        let content = self.running_names()?.zones();
        let local = |record: inspection::LocalRecord| LocalRecord {
            name: record.name.to_ascii(),
            ttl_secs: record.ttl_secs,
            record_type: record.data.record_type().to_string(),
            data: presentation(&record.data),
            origin: record.origin.name().to_owned(),
        };
        Ok(Zone {
            zones: content.zones.iter().map(Name::to_ascii).collect(),
            total: content.records.len(),
            records: content.records.into_iter().take(Zone::SHOWN_MAX).map(local).collect(),
        })
    }

    /// The content of the DNS cache.
    pub(crate) fn cache(&self) -> Result<Cache, ReportError> {
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
    pub(crate) fn name_servers(&self) -> Result<Servers, ReportError> {
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

    /// The address of a destination that is written as an address or a name.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Ipv4Addr, Unexplained> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        let unanswered = |why: String| {
            let remedy = "write an address, or see `gatepost show dns`".to_owned();
            Unexplained::Unanswered(Undone { why, remedy })
        };
        let Some(running) = self.list.names().running() else {
            return Err(unanswered(NOT_RUNNING.to_owned()));
        };
        match Resolver::new(running).ipv4(host).await {
            Ok(addresses) => addresses.first().copied().ok_or_else(|| {
                Unexplained::Wrong(format!("--to {host}: it has no IPv4 address; write another name"))
            }),
            Err(NoAnswer::Unavailable) => Err(unanswered(format!("{host}: {}", NoAnswer::Unavailable))),
            Err(error) => Err(Unexplained::Wrong(format!("--to {host}: {error}; write another name"))),
        }
    }

    /// Removes the cached answers for `name` and the names below it, or all; returns their number.
    ///
    /// # Errors
    ///
    /// The service does not run, or `name` is no domain name.
    pub fn flush(&self, name: Option<&str>) -> Result<usize, Undone> {
        let undone = |why: String, remedy: &str| Undone { why, remedy: remedy.to_owned() };
        let absolute = |name: &str| {
            // A name with an underscore in a label is no host name.
            let ascii = a_labels(name).unwrap_or_else(|| name.to_owned());
            let parsed = Name::from_ascii(ascii).ok().filter(|_| !name.is_empty());
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

/// Record data in presentation format. (RFC 1035, section 5.1; RFC 8659, section 4.1.1)
fn presentation(data: &RData) -> String {
    match data {
        RData::TXT(texts) => texts.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
        RData::Unknown { code: RecordType::CAA, rdata } => match rdata.anything.as_slice() {
            [flags, tag_len, rest @ ..] => {
                let (tag, value) = rest.split_at(rest.len().min((*tag_len).into()));
                format!("{flags} {} {}", String::from_utf8_lossy(tag), quoted(value))
            }
            _ => data.to_string(),
        },
        _ => data.to_string(),
    }
}

fn quoted(text: &[u8]) -> String {
    let escaped = text.iter().map(|octet| match octet {
        b'"' | b'\\' => format!("\\{}", char::from(*octet)),
        b' '..=b'~' => char::from(*octet).to_string(),
        _ => format!("\\{octet:03}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{NULL, TXT};

    use super::*;

    #[test]
    fn texts_and_authorities_are_written_as_in_a_zone_file() {
        let text = RData::TXT(TXT::from_bytes(vec![b"a \"b\"", &[7, b'\\']]));
        assert_eq!(presentation(&text), r#""a \"b\"" "\007\\""#);
        let authority = NULL::with(b"\x80\x05issueca.example".to_vec());
        let authority = RData::Unknown { code: RecordType::CAA, rdata: authority };
        assert_eq!(presentation(&authority), r#"128 issue "ca.example""#);
    }
}
