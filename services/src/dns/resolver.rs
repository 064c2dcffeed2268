//! The resolver for the gateway's own services: without a socket, with the same zone, cache and upstream servers as the
//! office's clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::name::{parse, text};
use crate::task::LocalFuture;

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The name does not exist.
    NoName,
    /// The name has no such records.
    NoData,
    /// The answer is not available now.
    Unavailable,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoName => "there is no such name",
            Self::NoData => "the name has no such records",
            Self::Unavailable => "the name service has no answer now",
        })
    }
}

impl std::error::Error for NoAnswer {}

/// An MX record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailExchange {
    /// The exchange with the lowest value is preferred.
    pub preference: u16,
    /// The host name in lower case without a trailing dot; empty for the root. (RFC 7505)
    pub host: String,
}

/// Resolves questions, following CNAMEs.
pub trait Answerer {
    /// The response for the records of `record_type` of `name`; `None` if there is none.
    fn ask(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>>;

    /// The same from the upstream servers, bypassing the local zone; `None` if there are no upstream servers.
    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        _ = (name, record_type);
        Box::pin(std::future::ready(None))
    }
}

/// A client of the gateway's DNS service. An invalid name does not exist. Each answer takes at most the longest
/// exchange with upstream servers, about 6 s, for each alias.
#[derive(Clone)]
pub struct Resolver {
    answerer: Option<Rc<dyn Answerer>>,
    /// Whether the local zone is bypassed.
    is_of_world: bool,
}

impl Resolver {
    /// A resolver that uses `answerer`.
    pub fn new(answerer: Rc<dyn Answerer>) -> Self {
        Self { answerer: Some(answerer), is_of_world: false }
    }

    /// A resolver without answers, for want of a DNS service.
    pub fn none() -> Self {
        Self { answerer: None, is_of_world: false }
    }

    /// A resolver that bypasses the local zone.
    pub fn of_world(&self) -> Self {
        Self { is_of_world: true, ..self.clone() }
    }

    /// The IPv4 addresses of `name`.
    ///
    /// # Errors
    ///
    /// The reason for no answer.
    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, NoAnswer> {
        self.records(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The IPv6 addresses of `name`.
    ///
    /// # Errors
    ///
    /// The reason for no answer.
    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, NoAnswer> {
        self.records(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The addresses of `name`, of both families. If one family is unavailable, the other suffices.
    ///
    /// # Errors
    ///
    /// The reason for no answer. A response without addresses that is no denial (RFC 2308, section 2.2) is
    /// [`Unavailable`](NoAnswer::Unavailable), such as one from which the rebinding filter has removed private
    /// addresses.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NoAnswer> {
        let read = |response: Message| {
            let found: Vec<_> = response.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
            let is_denied = response.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
            match found.is_empty() {
                false => Ok(found),
                true if is_denied => Err(NoAnswer::NoData),
                true => Err(NoAnswer::Unavailable),
            }
        };
        let of = |family| async move { self.response(name, family).await.and_then(read) };
        let (ipv4, ipv6) = tokio::join!(of(RecordType::A), of(RecordType::AAAA));
        let no_answer = match (&ipv4, &ipv6) {
            (Err(NoAnswer::Unavailable), _) | (_, Err(NoAnswer::Unavailable)) => NoAnswer::Unavailable,
            (Err(NoAnswer::NoName), Err(NoAnswer::NoName)) => NoAnswer::NoName,
            _ => NoAnswer::NoData,
        };
        let all: Vec<_> = ipv4.into_iter().chain(ipv6).flatten().collect();
        if all.is_empty() { Err(no_answer) } else { Ok(all) }
    }

    /// The MX records of `name`, in the order of the response.
    ///
    /// # Errors
    ///
    /// The reason for no answer.
    pub async fn mail_exchanges(&self, name: &str) -> Result<Vec<MailExchange>, NoAnswer> {
        self.records(name, RecordType::MX, |data| match data {
            RData::MX(mx) => Some(MailExchange { preference: mx.preference, host: text(&mx.exchange) }),
            _ => None,
        })
        .await
    }

    /// The TXT records of `name`, each with its strings concatenated. (RFC 7208, section 3.3)
    ///
    /// # Errors
    ///
    /// The reason for no answer.
    pub async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, NoAnswer> {
        self.records(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// The names of `address` in PTR records, in lower case without a trailing dot.
    ///
    /// # Errors
    ///
    /// The reason for no answer.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, NoAnswer> {
        let pointer = text(&Name::from(address));
        self.records(&pointer, RecordType::PTR, |data| match data {
            RData::PTR(name) => Some(text(&name.0)),
            _ => None,
        })
        .await
    }

    async fn records<T>(
        &self,
        name: &str,
        record_type: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, NoAnswer> {
        let response = self.response(name, record_type).await?;
        let found: Vec<_> = response.answers.iter().filter_map(|record| read(&record.data)).collect();
        if found.is_empty() { Err(NoAnswer::NoData) } else { Ok(found) }
    }

    /// The response for a name that exists.
    async fn response(&self, name: &str, record_type: RecordType) -> Result<Message, NoAnswer> {
        let answerer = self.answerer.as_ref().ok_or(NoAnswer::Unavailable)?;
        let name = parse(name).ok_or(NoAnswer::NoName)?;
        let response = if self.is_of_world {
            answerer.ask_world(name, record_type).await
        } else {
            answerer.ask(name, record_type).await
        };
        let response = response.ok_or(NoAnswer::Unavailable)?;
        match response.metadata.response_code {
            ResponseCode::NoError => Ok(response),
            ResponseCode::NXDomain => Err(NoAnswer::NoName),
            _ => Err(NoAnswer::Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_service_nothing_is_known() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(Resolver::none().addresses("www.example"));
        assert_eq!(answer, Err(NoAnswer::Unavailable));
    }
}
