//! Domain names: as text, and as keys of tables.

use std::borrow::Borrow;

use hickory_proto::rr::Name;

use super::config::ConfigError;

/// Parses an absolute name. Octets are literal, without escapes; non-ASCII letters are converted by IDNA. (RFC 5891,
/// section 5)
pub(super) fn parse(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.is_ascii() {
        Name::from_labels(name.split('.').map(str::as_bytes)).ok()?
    } else {
        let mut name = Name::from_utf8(Some(name).filter(|name| !name.contains('\\'))?).ok()?;
        name.set_fqdn(true);
        name
    };
    // RFC 1035, section 3.1
    (name.len() <= 255).then_some(name)
}

/// The name with non-ASCII letters converted by IDNA, in lower case; `None` if it is invalid, or if IDNA maps another
/// character to a dot. (RFC 5891, section 5)
pub fn a_labels(name: &str) -> Option<String> {
    let name = text(&parse(name)?);
    Some(name).filter(|name| !name.contains('\\'))
}

/// The name in lower case without a trailing dot, with `\` before characters that are not valid in host names.
pub(super) fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map_or(text.clone(), str::to_owned)
}

/// Whether `name` is `zone` or below it, without regard to case and trailing dots. `zone` is not the root.
pub fn is_within(name: &str, zone: &str) -> bool {
    let [name, zone] = [name, zone].map(|name| name.strip_suffix('.').unwrap_or(name));
    let parts = name.len().checked_sub(zone.len()).and_then(|middle| name.split_at_checked(middle));
    parts.is_some_and(|(before, end)| {
        end.eq_ignore_ascii_case(zone) && (before.is_empty() || before.ends_with('.'))
    })
}

/// `name` with `origin` appended unless it ends with a dot.
///
/// # Errors
///
/// It is not a domain name.
pub(super) fn absolute(name: &str, origin: &Name) -> Result<Name, ConfigError> {
    let parsed = match name {
        "" => None,
        // The second parser also accepts what is no host name, such as an underscore within a label.
        _ => Name::parse(name, Some(origin)).ok().or_else(|| {
            let name = Name::from_ascii(name).ok()?;
            if name.is_fqdn() { Some(name) } else { name.append_domain(origin).ok() }
        }),
    };
    parsed.ok_or_else(|| ConfigError::Name(name.to_owned()))
}

/// A name with its labels from the root down, each after its length octet and in lower case (RFC 4343). So a zone's key
/// is a prefix of the keys of all names in it, and sorts directly before them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameKey(Vec<u8>);

impl NameKey {
    /// The key of `name`.
    pub fn new(name: &Name) -> Self {
        let mut key = Vec::with_capacity(name.len());
        for label in name.iter().rev() {
            key.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
            key.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        Self(key)
    }

    /// The keys of the zones that this name is in, from the root to the name itself.
    pub fn zones(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let end = next?;
            next = self.0.get(end).map(|&len| end + 1 + usize::from(len));
            self.0.get(..end)
        })
    }

    /// The key at the beginning of `octets`, and the rest, which begins with a zero octet; `None` if there is none.
    pub fn split(octets: &[u8]) -> Option<(Self, &[u8])> {
        let mut end = 0;
        loop {
            match octets.get(end)? {
                0 => return octets.split_at_checked(end).map(|(key, rest)| (Self(key.to_vec()), rest)),
                len => end += 1 + usize::from(*len),
            }
        }
    }

    /// The key of one of the [`zones`](Self::zones) of a name.
    pub fn of_zone(zone: &[u8]) -> Self {
        Self(zone.to_vec())
    }

    /// The name, in lower case; `None` if the key is longer than a name can be.
    pub fn to_name(&self) -> Option<Name> {
        let labels: Vec<_> = self.labels().collect();
        Name::from_labels(labels.into_iter().rev()).ok()
    }

    /// The labels, outermost first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }

    /// The labels below `zone`, outermost first; `None` outside of it.
    pub fn labels_below<'a>(&'a self, zone: &Self) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        self.0.strip_prefix(zone.0.as_slice()).map(labels)
    }

    /// Whether this name is `zone` or below it.
    pub fn is_in(&self, zone: &Self) -> bool {
        self.0.starts_with(&zone.0)
    }

    /// The key's octets, unique for a name and without a zero octet where a label could begin.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn labels(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        let (label, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some(label)
    })
}

impl Borrow<[u8]> for NameKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> NameKey {
        NameKey::new(&Name::from_ascii(name).unwrap())
    }

    #[test]
    fn names_are_absolute_and_bounded() {
        assert_eq!(parse("WWW.Example").map(|name| text(&name)), Some("www.example".to_owned()));
        assert_eq!(parse("www.example."), parse("www.example"));
        assert!(parse("www.example").is_some_and(|name| name.is_fqdn()));
        for wrong in ["", ".", "a..b", &"x".repeat(64), &"abc.".repeat(70)] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(text(&Name::root()), "");
    }

    #[test]
    fn a_text_is_within_a_zone_at_a_label() {
        for name in ["office.example", "A.Office.Example", "b.a.office.example."] {
            assert!(is_within(name, "office.EXAMPLE") && is_within(name, "office.example."), "{name}");
        }
        for name in ["myoffice.example", "example", "", "office.example.net", "\u{fc}ffice.example"] {
            assert!(!is_within(name, "office.example"), "{name}");
        }
    }

    /// RFC 5891, section 5: A name outside of ASCII is asked for by its A-labels.
    #[test]
    fn rfc5891_5_a_name_outside_of_ascii_is_asked_for_by_its_a_labels() {
        let asked = |name: &str| parse(name).map(|name| (text(&name), name.is_fqdn()));
        for name in ["M\u{fc}nchen.example", "mu\u{308}nchen.example.", "xn--mnchen-3ya.example"] {
            assert_eq!(asked(name), Some(("xn--mnchen-3ya.example".to_owned(), true)), "{name}");
        }
        let long = format!("{}.example", "\u{fc}".repeat(64));
        for wrong in ["\u{fc}..example", "\u{fc}\\046example", "\u{fffd}.example", &long] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    /// RFC 4343, section 3: Names are compared without regard to case.
    #[test]
    fn rfc4343_keys_do_not_depend_on_case() {
        assert_eq!(key("WWW.Example."), key("www.example."));
        assert_ne!(key("www.example."), key("wwwe.xample."));
    }

    #[test]
    fn a_key_leads_back_to_its_name() {
        for name in [".", "Example.", "a.WWW.example."] {
            assert_eq!(key(name).to_name(), Some(Name::from_ascii(name.to_lowercase()).unwrap()));
        }
    }

    #[test]
    fn zones_go_from_the_root_to_the_name() {
        let name = key("www.example.");
        let zones: Vec<_> = name.zones().collect();
        assert_eq!(zones, [&b""[..], b"\x07example", b"\x07example\x03www"]);
        assert_eq!(key(".").zones().count(), 1);
    }

    #[test]
    fn a_zone_ends_at_a_label() {
        assert!(key("a.office.").is_in(&key("office.")));
        assert!(!key("a.myoffice.").is_in(&key("office.")));
        assert!(!key("office.").is_in(&key("a.office.")));
        assert!(key("office.").is_in(&key(".")));
        let (name, office) = (key("a.b.office."), key("office."));
        let below: Vec<_> = name.labels_below(&office).unwrap().collect();
        assert_eq!(below, [b"b", b"a"]);
        assert!(name.labels_below(&key("else.")).is_none());
    }
}
