//! The key of a signature, as its domain publishes it. (RFC 6376, section 3.6.1)

use super::signature::Algorithm;
use super::tags::{self, Tags};
use crate::crypto::verifying::{KeyError, PublicKey};

/// The longest record that is read, in octets. An RSA key of 8192 bits has 1400.
const RECORD_OCTETS_MAX: usize = 4096;

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is no key, or it is for another purpose.
    No(&'static str),
    /// It is weaker than the accepted minimum.
    Weak(&'static str),
}

/// A key that is for a signature.
#[derive(Clone, Debug)]
pub struct Key {
    pub public: PublicKey,
    /// Whether `i=` must be the same as `d=`.
    pub is_strict: bool,
}

impl Key {
    /// The key for `algorithm` among the TXT records of a name: the first record that is one of a key.
    // RFC 6376, section 6.1.2
    pub fn find(records: &[Vec<u8>], algorithm: Algorithm) -> Result<Self, Unusable> {
        let mut why = None;
        for record in records.iter().filter(|record| record.len() <= RECORD_OCTETS_MAX) {
            let Some(tags) = std::str::from_utf8(record).ok().and_then(Tags::parse) else { continue };
            match Self::parse(&tags, algorithm) {
                Some(Ok(key)) => return Ok(key),
                Some(Err(unusable)) => _ = why.get_or_insert(unusable),
                None => {}
            }
        }
        Err(why.unwrap_or(Unusable::No("there is no key")))
    }

    /// `None` if it is not a key record.
    fn parse(tags: &Tags<'_>, algorithm: Algorithm) -> Option<Result<Self, Unusable>> {
        // RFC 6376, section 3.6.1: v= comes first.
        if tags.get("v").is_some_and(|version| version != "DKIM1" || tags.first() != Some("v")) {
            return None;
        }
        let octets = tags.get("p")?;
        Some(Self::read(tags, octets, algorithm))
    }

    fn read(tags: &Tags<'_>, octets: &str, algorithm: Algorithm) -> Result<Self, Unusable> {
        if octets.is_empty() {
            return Err(Unusable::No("the key is revoked"));
        }
        if tags.get("k").unwrap_or("rsa") != algorithm.key_kind() {
            return Err(Unusable::No("the key is for another algorithm"));
        }
        let has = |name, wanted: &[&str]| {
            tags.get(name).is_none_or(|values| tags::list(values).any(|value| wanted.contains(&value)))
        };
        if !has("h", &["sha256"]) {
            return Err(Unusable::No("the key is not for SHA-256"));
        }
        if !has("s", &["*", "email"]) {
            return Err(Unusable::No("the key is not for mail"));
        }
        let octets = tags::base64(octets).ok_or(Unusable::No("the key is no base64"))?;
        let public = match algorithm {
            Algorithm::RsaSha256 => PublicKey::rsa(&octets),
            Algorithm::Ed25519Sha256 => PublicKey::ed25519(&octets),
        };
        let public = public.map_err(|bad| match bad {
            KeyError::Unreadable => Unusable::No("the key cannot be read"),
            KeyError::TooShort => Unusable::Weak("the key is too short"),
            KeyError::TooLong => Unusable::No("the key is too long"),
        })?;
        let is_strict = tags.get("t").is_some_and(|flags| tags::list(flags).any(|flag| flag == "s"));
        Ok(Self { public, is_strict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn find(records: &[&str]) -> Result<bool, Unusable> {
        let records: Vec<_> = records.iter().map(|record| record.as_bytes().to_vec()).collect();
        Key::find(&records, Algorithm::Ed25519Sha256).map(|key| key.is_strict)
    }

    /// RFC 6376, section 3.6.1: A record says what its key may be used for.
    #[test]
    fn rfc6376_3_6_1_a_record_tells_what_its_key_is_for() {
        let no = |why| Err(Unusable::No(why));
        for (tags, expected) in [
            ("v=DKIM1; k=ed25519;", Ok(false)),
            ("k=ed25519; t=y : s; n=note; h=sha1:sha256; s=email:x;", Ok(true)),
            ("k=ed25519; s=*; t=y;", Ok(false)),
            ("", no("the key is for another algorithm")),
            ("k=ed25519; h=sha1;", no("the key is not for SHA-256")),
            ("k=ed25519; s=tlsrpt;", no("the key is not for mail")),
            ("k=ed25519; v=DKIM1;", no("there is no key")),
            ("v=DKIM2; k=ed25519;", no("there is no key")),
            ("v=spf1 -all", no("there is no key")),
        ] {
            assert_eq!(find(&[&format!("{tags}{ED25519}")]), expected, "{tags}");
        }
        assert_eq!(find(&["k=ed25519; p="]), no("the key is revoked"));
        assert_eq!(find(&["k=ed25519; p=YWJj"]), no("the key cannot be read"));
        assert_eq!(find(&["k=ed25519; p=?"]), no("the key is no base64"));
        assert_eq!(find(&["v=DKIM1; k=ed25519"]), no("there is no key"));
    }

    /// RFC 6376, section 6.1.2: Of several records the first is taken that is for the signature.
    #[test]
    fn rfc6376_6_1_2_of_several_records_one_is_taken() {
        let right = format!("k=ed25519; {ED25519}");
        assert_eq!(find(&["v=spf1 -all", &format!("k=rsa; {ED25519}"), &right]), Ok(false));
        assert_eq!(find(&["k=ed25519; p=", "p=x"]), Err(Unusable::No("the key is revoked")));
        assert_eq!(find(&[]), Err(Unusable::No("there is no key")));
        let long = format!("{right}; n={}", "x".repeat(RECORD_OCTETS_MAX));
        assert_eq!(find(&[&long]), Err(Unusable::No("there is no key")));
    }

    /// RFC 8301, section 3.2: A key of less than 1024 bits is weak.
    #[test]
    fn rfc8301_3_2_a_short_key_is_weak() {
        let short = "p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAOjVfIZER7mPr/s7QQ2I4KDJ3y8jvx6k4k5ttSetVS/xIts6Lyxj5zQiqj8m\
                     o/YQGAy26eYWGFQSBUL22txdV90CAwEAAQ==";
        let found = Key::find(&[short.into()], Algorithm::RsaSha256);
        assert_eq!(found.err(), Some(Unusable::Weak("the key is too short")));
    }
}
