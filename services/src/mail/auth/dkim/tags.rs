//! Lists of tags, such as `v=1; a=rsa-sha256`. (RFC 6376, section 3.2)

use data_encoding::BASE64;

/// The most tags of a list; there are 14 for signatures.
const TAGS_MAX: usize = 64;

/// The tags of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// Parses a tag list; `None` if it is malformed, has a duplicate, or more than 64 tags.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = trim(text);
        // The last tag may be followed by a semicolon.
        let text = text.strip_suffix(';').unwrap_or(text);
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for tag in text.split(';') {
            let (name, value) = tag.split_once('=')?;
            let (name, value) = (trim(name), trim(value));
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
            if tags.len() == TAGS_MAX || !is_name || tags.iter().any(|(other, _)| *other == name) {
                return None;
            }
            tags.push((name, value));
        }
        Some(Self(tags))
    }

    /// The value of a tag.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The name of the first tag.
    pub fn first(&self) -> Option<&'a str> {
        self.0.first().map(|(name, _)| *name)
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// The parts of a value that has colons between them.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(trim)
}

/// The octets of a value in base64, in which white space means nothing.
pub fn base64(value: &str) -> Option<Vec<u8>> {
    let text: String = value.chars().filter(|c| !is_space(*c)).collect();
    BASE64.decode(text.as_bytes()).ok()
}

/// The number that a value is, of at most 76 digits; one that is too large for anything is the largest.
// RFC 6376, section 3.5, l= and t=
pub fn number(value: &str) -> Option<u64> {
    let is_number = (1..=76).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6376, section 3.2: A list of tags has semicolons between them, white space around them, and none twice.
    #[test]
    fn rfc6376_3_2_lists_of_tags() {
        let tags = Tags::parse(" v = 1 ;\r\n\ta_2= x = y ; ").unwrap();
        assert_eq!((tags.get("v"), tags.get("a_2"), tags.get("V")), (Some("1"), Some("x = y"), None));
        assert_eq!(tags.first(), Some("v"));
        assert_eq!(Tags::parse("a=;b=").unwrap().get("b"), Some(""));
        let many =
            |count: usize| (0..count).map(|number| format!("a{number}=")).collect::<Vec<_>>().join(";");
        assert!(Tags::parse(&many(TAGS_MAX)).is_some() && Tags::parse(&many(TAGS_MAX + 1)).is_none());
        for wrong in ["", ";", "a", "a=1;;b=2", "a=1;a=2", "=1", "1a=2", "a b=1", "\u{fc}=1", "a=1; ;"] {
            assert_eq!(Tags::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_are_lists_base64_and_numbers() {
        assert_eq!(list("a : b:\r\n c:").collect::<Vec<_>>(), ["a", "b", "c", ""]);
        assert_eq!(base64("YW\r\n Jj"), Some(b"abc".to_vec()));
        assert_eq!((base64("YWJ"), base64("Y-Jj"), base64("")), (None, None, Some(vec![])));
        assert_eq!((number("007"), number(&"9".repeat(76))), (Some(7), Some(u64::MAX)));
        assert_eq!((number(""), number("-1"), number(&"9".repeat(77))), (None, None, None));
    }
}
