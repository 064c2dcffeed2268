//! The field `DKIM-Signature`. (RFC 6376, section 3.5)

use super::canonical::Canonicalization;
use super::tags::{self, Tags};
use crate::clock::UnixTime;
use crate::dns::name::is_within;
use crate::mail::auth::known::normal;

/// The longest field that is read, in octets.
pub const SIGNATURE_OCTETS_MAX: usize = 16 << 10;

/// How far the clocks of others may be ahead.
const CLOCK_SKEW_SECS: u64 = 300;

/// How a signature is made. (RFC 6376, section 3.3; RFC 8463, section 3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `rsa-sha256`
    RsaSha256,
    /// `ed25519-sha256`
    Ed25519Sha256,
}

impl Algorithm {
    /// The kind of its key, as `k=` calls it.
    pub fn key_kind(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

/// Why a signature is not verified any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read.
    Unreadable(&'static str),
    /// It is valid but not accepted.
    NotTaken(&'static str),
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub algorithm: Algorithm,
    /// `b=`
    pub octets: Vec<u8>,
    /// `bh=`
    pub body_digest: Vec<u8>,
    pub header_form: Canonicalization,
    pub body_form: Canonicalization,
    /// `h=`
    pub names: Vec<String>,
    /// `l=`
    pub body_octets: Option<u64>,
    /// The domain of `i=`, if that is not the same as `d=`.
    pub identity_domain: Option<String>,
}

/// The claims in a signature, verified or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// `d=`, in lower case.
    pub domain: String,
    /// `s=`
    pub selector: String,
    /// The beginning of `b=`, which identifies a signature in its message. (RFC 6008, section 4)
    pub start: String,
}

/// Octets of [`Claim::start`].
const START_OCTETS: usize = 8;

impl Claim {
    /// Of a field's value.
    pub fn parse(value: &str) -> Self {
        let Some(tags) = Tags::parse(value) else { return Self::default() };
        let of = |name| tags.get(name).unwrap_or_default();
        let octets = of("b").chars().filter(char::is_ascii_graphic);
        Self {
            domain: of("d").to_ascii_lowercase(),
            selector: of("s").to_ascii_lowercase(),
            start: octets.take(START_OCTETS).collect(),
        }
    }
}

impl Signature {
    /// Reads the value of a field.
    // RFC 6376, section 6.1.1
    pub fn parse(value: &str, now: UnixTime) -> Result<Self, Fault> {
        use Fault::{NotTaken, Unreadable};
        let tags = Tags::parse(value).ok_or(Unreadable("it is no list of tags"))?;
        let needed = |name, why| tags.get(name).ok_or(Unreadable(why));
        if needed("v", "it has no version")? != "1" {
            return Err(Unreadable("it is of another version"));
        }
        let algorithm = needed("a", "it has no algorithm")?;
        let octets = needed("b", "it has no signature").map(tags::base64)?;
        let octets = octets.filter(|octets| !octets.is_empty()).ok_or(Unreadable("b= is no base64"))?;
        let body_digest = needed("bh", "it has no digest of the body").map(tags::base64)?;
        let body_digest = body_digest.ok_or(Unreadable("bh= is no base64"))?;
        let domain = needed("d", "it has no domain")?;
        let domain = normal(domain).ok_or(Unreadable("d= is no domain"))?;
        let selector = needed("s", "it has no selector")?;
        normal(&format!("{selector}._domainkey.{domain}")).ok_or(Unreadable("s= is no selector"))?;
        let names: Vec<_> = tags::list(needed("h", "it signs no fields")?).map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err(Unreadable("h= is no list of fields"));
        }
        // RFC 6376, section 5.4
        if !names.iter().any(|name| name.eq_ignore_ascii_case("from")) {
            return Err(Unreadable("it does not sign From"));
        }
        let (header_form, body_form) = forms(tags.get("c")).ok_or(Unreadable("c= is unknown"))?;
        let identity_domain = match tags.get("i") {
            None => None,
            Some(identity) => {
                let of_identity = identity.rsplit_once('@').and_then(|(_, domain)| normal(domain));
                let of_identity = of_identity.ok_or(Unreadable("i= is no address"))?;
                if !is_within(&of_identity, &domain) {
                    return Err(Unreadable("i= is not within d="));
                }
                Some(of_identity).filter(|other| *other != domain)
            }
        };
        let time =
            |name, why| tags.get(name).map(|value| tags::number(value).ok_or(Unreadable(why))).transpose();
        let body_octets = time("l", "l= is no number")?;
        let (made, expires) = (time("t", "t= is no time")?, time("x", "x= is no time")?);
        if tags.get("q").is_some_and(|methods| !tags::list(methods).any(|method| method == "dns/txt")) {
            return Err(Unreadable("its key is not in the DNS"));
        }
        if made.zip(expires).is_some_and(|(made, expires)| expires < made) {
            return Err(Unreadable("it expires before it is made"));
        }
        // RFC 8301, section 3.1; RFC 8463, section 3
        let algorithm = match algorithm {
            "rsa-sha256" => Algorithm::RsaSha256,
            "ed25519-sha256" => Algorithm::Ed25519Sha256,
            "rsa-sha1" => return Err(NotTaken("rsa-sha1 proves nothing")),
            _ => return Err(Unreadable("its algorithm is unknown")),
        };
        if expires.is_some_and(|expires| expires < now.0) {
            return Err(NotTaken("it has expired"));
        }
        if made.is_some_and(|made| made > now.0.saturating_add(CLOCK_SKEW_SECS)) {
            return Err(NotTaken("it is of the future"));
        }
        Ok(Self {
            algorithm,
            octets,
            body_digest,
            header_form,
            body_form,
            names,
            body_octets,
            identity_domain,
        })
    }
}

/// The forms of header and body that `c=` names. (RFC 6376, section 3.5, c=)
fn forms(value: Option<&str>) -> Option<(Canonicalization, Canonicalization)> {
    let form = |name| match name {
        "simple" => Some(Canonicalization::Simple),
        "relaxed" => Some(Canonicalization::Relaxed),
        _ => None,
    };
    let value = value.unwrap_or("simple");
    let (header, body) = value.split_once('/').unwrap_or((value, "simple"));
    Some((form(header)?, form(body)?))
}

/// The octets of a whole field with its `b=` emptied; all else stays as it is, the white space behind the value too.
// RFC 6376, section 3.7
pub fn without_value(field: &[u8]) -> Vec<u8> {
    let colon = field.iter().position(|octet| *octet == b':').map_or(field.len(), |colon| colon + 1);
    let (mut octets, mut is_first) = (field[..colon].to_vec(), true);
    for tag in field[colon..].split(|octet| *octet == b';') {
        if !std::mem::take(&mut is_first) {
            octets.push(b';');
        }
        let equals = tag.iter().position(|octet| *octet == b'=').map(|equals| equals + 1);
        match equals.filter(|equals| tag[..equals - 1].trim_ascii() == b"b") {
            Some(equals) => octets.extend_from_slice(&tag[..equals]),
            None => octets.extend_from_slice(tag),
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);
    const WHOLE: &str = "v=1; a=rsa-sha256; d=far.example; s=one; h=from:to; bh=YWJj; b=ZGVm; c=relaxed; t=1700000100; \
                         x=1700000200; i=anna@a.far.example; l=7; q=x:dns/txt; z=copied; unknown=1";

    fn parse(text: &str) -> Result<Signature, Fault> {
        Signature::parse(text, NOW)
    }

    /// RFC 6376, section 3.5: A signature has these tags.
    #[test]
    fn rfc6376_3_5_the_tags_of_a_signature() {
        let signature = Signature {
            algorithm: Algorithm::RsaSha256,
            octets: b"def".to_vec(),
            body_digest: b"abc".to_vec(),
            header_form: Canonicalization::Relaxed,
            body_form: Canonicalization::Simple,
            names: vec!["from".to_owned(), "to".to_owned()],
            body_octets: Some(7),
            identity_domain: Some("a.far.example".to_owned()),
        };
        assert_eq!(parse(WHOLE), Ok(signature));
        let least =
            parse("v=1;a=ed25519-sha256;d=Far.Example;s=one;h=From;bh=;b=ZGVm;i=@far.example").unwrap();
        assert_eq!((least.header_form, least.body_form), Default::default());
        assert_eq!((least.algorithm, least.identity_domain), (Algorithm::Ed25519Sha256, None));
    }

    /// RFC 6376, section 6.1.1: A signature is whole, or it is none.
    #[test]
    fn rfc6376_6_1_1_a_signature_is_whole_or_none() {
        let changed = |from: &str, to: &str| {
            assert!(WHOLE.contains(from), "{from}");
            parse(&WHOLE.replacen(from, to, 1))
        };
        for (from, to) in [
            ("v=1;", ""),
            ("v=1;", "v=2;"),
            ("a=rsa-sha256;", ""),
            ("rsa-sha256", "dsa-sha256"),
            ("d=far.example;", ""),
            ("d=far.example;", "d=;"),
            ("s=one;", ""),
            ("s=one;", "s=a..b;"),
            ("h=from:to;", ""),
            ("from:to", "from::to"),
            // RFC 6376, section 5.4: From is signed.
            ("from:to", "to"),
            ("bh=YWJj;", ""),
            ("bh=YWJj", "bh=?"),
            ("b=ZGVm;", ""),
            ("b=ZGVm", "b="),
            ("c=relaxed", "c=relaxed/nofws"),
            ("i=anna@a.far.example", "i=anna@afar.example"),
            ("i=anna@a.far.example", "i=anna"),
            ("x=1700000200", "x=1700000099"),
            ("t=1700000100", "t=now"),
            ("l=7", "l=-7"),
            ("x:dns/txt", "x"),
            ("unknown=1", "v=1"),
        ] {
            assert!(matches!(changed(from, to), Err(Fault::Unreadable(_))), "{to}");
        }
    }

    /// RFC 6376, section 3.5: A signature that has expired, or is of the future, is not taken.
    #[test]
    fn rfc6376_3_5_signatures_expire() {
        let at = |now| Signature::parse(WHOLE, UnixTime(now));
        assert!(at(1_700_000_200).is_ok());
        assert_eq!(at(1_700_000_201), Err(Fault::NotTaken("it has expired")));
        assert!(at(1_699_999_800).is_ok());
        assert_eq!(at(1_699_999_799), Err(Fault::NotTaken("it is of the future")));
    }

    /// RFC 8301, section 3.1: rsa-sha1 is not taken.
    #[test]
    fn rfc8301_3_1_rsa_sha1_is_not_taken() {
        let old = parse(&WHOLE.replace("rsa-sha256", "rsa-sha1"));
        assert_eq!(old, Err(Fault::NotTaken("rsa-sha1 proves nothing")));
    }

    /// RFC 6376, section 3.7: The signature's own field is signed with an empty b=, and as it is otherwise.
    #[test]
    fn rfc6376_3_7_its_own_field_is_signed_without_its_value() {
        for (field, expected) in [
            ("D: a=1; b=abc=; bh=x", "D: a=1; b=; bh=x"),
            ("D: b = a\r\n\tbc ;c=1", "D: b =;c=1"),
            ("D:a=1;\r\n b=x", "D:a=1;\r\n b="),
            ("D: bh=x;bb=y", "D: bh=x;bb=y"),
            ("D", "D"),
        ] {
            assert_eq!(String::from_utf8(without_value(field.as_bytes())).unwrap(), expected);
        }
    }

    #[test]
    fn what_a_signature_says_of_itself_is_told_though_it_is_wrong() {
        let claim = Claim::parse("v=9; d=Far.Example; s=One; b=ab\r\n cdefghij");
        let expected = Claim {
            domain: "far.example".to_owned(),
            selector: "one".to_owned(),
            start: "abcdefgh".to_owned(),
        };
        assert_eq!(claim, expected);
        assert_eq!(Claim::parse("d"), Claim::default());
    }
}
