//! DMARC records. (RFC 9989, sections 4.7 and 4.8)

/// The longest record that is read, in octets.
const RECORD_OCTETS_MAX: usize = 4096;
/// The most tags of a record that are read; 12 are defined.
const TAGS_MAX: usize = 64;

/// The policy for messages that fail. Later ones are stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// Treat the message with suspicion.
    Quarantine,
    /// Reject the message.
    Reject,
}

impl Policy {
    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| text.eq_ignore_ascii_case(policy.name()))
    }

    /// As records call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// The next milder policy, which applies while a domain tests its policy. (RFC 9989, section 4.7, t)
    pub(super) fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

/// Whether a domain is a public suffix. (RFC 9989, section 4.7, psd)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Psd {
    Yes,
    /// It is an organization's.
    No,
    Unknown,
}

/// A record. Invalid tags are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// `p=`
    pub policy: Policy,
    /// Whether this and the other policies are valid, or reports are requested.
    is_usable: bool,
    /// `sp=`
    pub subdomains: Option<Policy>,
    /// `np=`
    pub nonexistent: Option<Policy>,
    /// `adkim=s`
    pub is_dkim_strict: bool,
    /// `aspf=s`
    pub is_spf_strict: bool,
    /// `psd=`
    pub psd: Psd,
    /// `t=y`
    pub is_test: bool,
}

impl Record {
    /// Parses a record; `None` if it is not a DMARC record.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok().filter(|text| text.len() <= RECORD_OCTETS_MAX)?;
        let mut tags =
            text.split(';').map(|tag| tag.split_once('=').map(|(name, value)| (name.trim(), value.trim())));
        // RFC 9989, section 4.7, v: first, and as it is written here.
        tags.next().flatten().filter(|(name, value)| (*name, *value) == ("v", "DMARC1"))?;
        let tags: Vec<_> = tags.take(TAGS_MAX).flatten().collect();
        let get = |wanted: &str| {
            tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
        };
        let is = |name, wanted: &str| get(name).is_some_and(|value: &str| value.eq_ignore_ascii_case(wanted));
        let policy = get("p").and_then(Policy::parse);
        let has_wrong = |name| get(name).is_some_and(|value| Policy::parse(value).is_none());
        let is_readable = policy.is_some() && !has_wrong("sp") && !has_wrong("np");
        let wants_reports =
            get("rua").is_some_and(|uris| uris.split(',').any(|uri| uri.trim().contains(':')));
        // RFC 9989, section 4.7: an invalid policy is none, if reports are requested.
        let of = |name| get(name).and_then(Policy::parse).filter(|_| is_readable);
        Some(Self {
            policy: of("p").unwrap_or_default(),
            is_usable: is_readable || wants_reports,
            subdomains: of("sp"),
            nonexistent: of("np"),
            is_dkim_strict: is("adkim", "s"),
            is_spf_strict: is("aspf", "s"),
            psd: match () {
                () if is("psd", "y") => Psd::Yes,
                () if is("psd", "n") => Psd::No,
                () => Psd::Unknown,
            },
            is_test: is("t", "y"),
        })
    }

    /// Whether it has a policy.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Record> {
        Record::parse(text.as_bytes())
    }

    /// RFC 9989, section 4.7: A record has these tags; what cannot be read of it is not there.
    #[test]
    fn rfc9989_4_7_the_tags_of_a_record() {
        let record = Record {
            policy: Policy::Reject,
            is_usable: true,
            subdomains: Some(Policy::Quarantine),
            nonexistent: Some(Policy::None),
            is_dkim_strict: true,
            is_spf_strict: true,
            psd: Psd::No,
            is_test: true,
        };
        let whole = "v = DMARC1 ; p=Reject; SP=quarantine;np=none; adkim=s; aspf=S; psd=n; t=y; pct=50; x; =";
        assert_eq!(parse(whole), Some(record));
        let least = parse("v=DMARC1;p=none").unwrap();
        assert_eq!((least.policy, least.subdomains, least.nonexistent), (Policy::None, None, None));
        assert!(least.is_usable && !least.is_dkim_strict && !least.is_spf_strict && !least.is_test);
        assert_eq!(parse("v=DMARC1; psd=y; t=n; adkim=r").unwrap().psd, Psd::Yes);
        assert_eq!(parse("v=DMARC1; psd=u").unwrap().psd, Psd::Unknown);
        for none in
            ["", "p=none", "v=dmarc1; p=none", "v=DMARC1 p=none", "p=none; v=DMARC1", "v=DMARC11; p=none"]
        {
            assert_eq!(parse(none), None, "{none}");
        }
        assert_eq!(parse(&format!("v=DMARC1; p=none; x={}", "x".repeat(RECORD_OCTETS_MAX))), None);
        let behind = |tags: usize| parse(&format!("v=DMARC1;{}p=reject", ";".repeat(tags))).unwrap().policy;
        assert_eq!((behind(TAGS_MAX - 1), behind(TAGS_MAX)), (Policy::Reject, Policy::None));
    }

    /// RFC 9989, section 4.7: Without a policy that can be read there is none, unless reports are asked for.
    #[test]
    fn rfc9989_4_7_a_policy_that_cannot_be_read() {
        for text in ["v=DMARC1", "v=DMARC1; p=refuse", "v=DMARC1; p=reject; sp=x", "v=DMARC1; p=reject; np="]
        {
            assert!(!parse(text).unwrap().is_usable(), "{text}");
            let with_reports = parse(&format!("{text}; rua=mailto:a@b.example")).unwrap();
            assert!(with_reports.is_usable() && with_reports.policy == Policy::None, "{text}");
            assert!(!parse(&format!("{text}; rua=nobody")).unwrap().is_usable(), "{text}");
        }
    }
}
