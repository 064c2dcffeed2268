//! The verifier of a message's signatures, which reads the message as a stream.

use std::mem;
use std::rc::Rc;

use super::canonical::{BodyDigest, Canonicalization, Digested};
use super::check::Check;
use super::header::{Header, HeaderReader, covers_shown};
use super::signature::{Claim, Fault, SIGNATURE_OCTETS_MAX, Signature};
use crate::clock::UnixTime;

/// The most signatures of a message that are verified: the topmost, which were added last.
pub const SIGNATURES_MAX: usize = 8;

/// Verifies the signatures of one message.
pub struct Verifier {
    now: UnixTime,
    state: State,
}

enum State {
    Header(HeaderReader),
    Body(Body),
}

struct Body {
    header: Rc<Header>,
    signatures: Vec<Check>,
    digests: Vec<Digest>,
}

/// A digest of the body, and its signatures.
struct Digest {
    form: Canonicalization,
    octets_max: Option<u64>,
    digest: BodyDigest,
    signatures: Vec<usize>,
}

/// A verified message's header and checks.
pub struct Verified {
    /// Its header.
    pub header: Rc<Header>,
    /// Its signatures, the topmost first.
    pub signatures: Vec<Check>,
}

impl Verifier {
    /// A verifier for a message that is received at `now`.
    pub fn new(now: UnixTime) -> Self {
        Self { now, state: State::Header(HeaderReader::new()) }
    }

    /// Adds the next octets of the message.
    pub fn push(&mut self, octets: &[u8]) {
        match &mut self.state {
            State::Header(reader) => {
                let body = reader.push(octets);
                if reader.is_over() {
                    let mut state = Body::new(mem::take(reader).finish(), self.now);
                    state.push(body);
                    self.state = State::Body(state);
                }
            }
            State::Body(state) => state.push(octets),
        }
    }

    /// The header, and the checks that are still to look up keys.
    pub fn finish(self) -> Verified {
        let state = match self.state {
            State::Header(reader) => Body::new(reader.finish(), self.now),
            State::Body(state) => state,
        };
        let Body { header, mut signatures, digests } = state;
        for Digest { digest, signatures: whose, .. } in digests {
            let Digested { digest, octets } = digest.finish();
            whose.iter().for_each(|at| signatures[*at].set_body(&digest, octets));
        }
        Verified { header, signatures }
    }
}

impl Body {
    fn new(header: Header, now: UnixTime) -> Self {
        let header = Rc::new(header);
        let (mut signatures, mut digests) = (Vec::new(), Vec::<Digest>::new());
        let fields = header.fields().enumerate().filter(|(_, field)| field.is("DKIM-Signature"));
        for (at, field) in fields.take(SIGNATURES_MAX) {
            let value = std::str::from_utf8(field.value).ok();
            let value = value.filter(|value| value.len() <= SIGNATURE_OCTETS_MAX);
            let claim = value.map(Claim::parse).unwrap_or_default();
            let signature = match value {
                _ if header.is_cut() => Err(Fault::Unreadable("the header is too long")),
                Some(value) => match Signature::parse(value, now) {
                    Ok(signature) if !covers_shown(&header, &signature.names) => {
                        Err(Fault::NotTaken("it leaves a field unsigned that occurs several times"))
                    }
                    parsed => parsed,
                },
                None => Err(Fault::Unreadable("it is no text, or too long")),
            };
            if let Ok(Signature { body_form: form, body_octets: octets_max, .. }) = signature {
                let is_same = |digest: &&mut Digest| digest.form == form && digest.octets_max == octets_max;
                match digests.iter_mut().find(is_same) {
                    Some(digest) => digest.signatures.push(signatures.len()),
                    None => digests.push(Digest {
                        form,
                        octets_max,
                        digest: BodyDigest::new(form, octets_max),
                        signatures: vec![signatures.len()],
                    }),
                }
            }
            signatures.push(Check::new(claim, signature, Rc::clone(&header), at));
        }
        Self { header, signatures, digests }
    }

    fn push(&mut self, octets: &[u8]) {
        self.digests.iter_mut().for_each(|digest| digest.digest.push(octets));
    }
}
