//! A message as it is sent: with the fields that are prepended.

use std::io;

use super::driver::Active;
use crate::mail::address::ReversePath;
use crate::mail::queue::connection::Source;
use crate::mail::queue::{Job, StoredMessage};
use crate::mail::signing::Reading;
use crate::mail::srs::Srs;
use crate::net::Net;
use crate::service::LocalFuture;
use crate::work;

/// A message being sent.
pub(super) struct Outgoing<'a> {
    /// The prepended fields.
    pub fields: Vec<u8>,
    /// The message as it is stored.
    pub message: &'a StoredMessage,
}

impl Outgoing<'_> {
    /// Its length in octets.
    pub fn len(&self) -> u64 {
        // A length in memory fits.
        (self.fields.len() as u64).saturating_add(self.message.message().body.len())
    }
}

impl Source for Outgoing<'_> {
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>> {
        // A length in memory fits.
        let before = self.fields.len() as u64;
        match usize::try_from(offset)
            .ok()
            .and_then(|at| self.fields.get(at..))
            .filter(|rest| !rest.is_empty())
        {
            Some(rest) => Box::pin(std::future::ready(Ok(rest[..rest.len().min(len)].to_vec()))),
            None => self.message.read(offset - before, len),
        }
    }
}

/// Whether the message of `job` is signed: all of its recipients are sent it by the office.
pub(super) fn is_ours(job: &Job) -> bool {
    job.recipients.iter().all(|recipient| recipient.options.is_ours)
}

impl<N: Net> Active<N> {
    /// The return path for the message of `job`, whose own is `sender`, and the field with the local address that
    /// forwards it, by which a loop is detected.
    pub(super) fn sent_on(&self, srs: &Srs, job: &Job, sender: &ReversePath) -> (ReversePath, String) {
        let by = job.recipients.first().and_then(|recipient| recipient.options.forwarded_by.as_ref());
        let Some(by) = by else { return (sender.clone(), String::new()) };
        let rewritten = match sender {
            ReversePath::Mailbox(mailbox) if !self.directory.is_ours(&mailbox.domain) => {
                srs.forward(mailbox, &self.settings.domain, self.clock.unix_time())
            }
            _ => None,
        };
        // Others would make the header one that needs SMTPUTF8.
        let field = if by.is_ascii() { format!("Delivered-To: {by}\r\n") } else { String::new() };
        (rewritten.map_or_else(|| sender.clone(), ReversePath::Mailbox), field)
    }

    /// The signature fields of the message that `reading` has analysed; empty if the office does not sign it, or cannot
    /// now.
    pub(super) async fn signatures(&self, reading: Option<Reading>) -> Vec<u8> {
        let Some(reading) = reading else { return Vec::new() };
        let Some(unsigned) = reading.finish() else {
            self.count(|stats| stats.not_signed += 1);
            return Vec::new();
        };
        let Some(domain) = unsigned.domain(&self.domains).map(str::to_owned) else { return Vec::new() };
        let fields = match self.keeper.keys() {
            Some(keys) => work::run(&*self.work, move || unsigned.sign(&keys, &domain)).await.ok().flatten(),
            None => None,
        };
        self.count(|stats| match &fields {
            Some(_) => stats.signed += 1,
            None => stats.not_signed += 1,
        });
        fields.unwrap_or_default().into_bytes()
    }
}
