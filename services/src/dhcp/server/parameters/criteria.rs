//! The criteria of a match: vendor class (option 60), user class (option 77), architecture (option 93), hardware
//! address.

use crate::dhcp::message::{self, Message, OptionCode};

/// The criteria of a match. A client has to meet all that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// The client's vendor class (option 60).
    pub vendor_class: Option<Pattern>,
    /// One of the client's user classes (option 77).
    pub user_class: Option<Pattern>,
    /// One of the client's system architectures (option 93). (RFC 4578, section 2.1)
    pub architecture: Option<u16>,
    /// The first octets of the client's hardware address.
    pub mac_prefix: Option<Vec<u8>>,
}

/// A text, or all texts that begin with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text.
    pub text: String,
    /// Whether any text may follow.
    pub is_prefix: bool,
}

impl Pattern {
    fn suits(&self, text: &[u8]) -> bool {
        // RFC 2132, section 2: a text may wrongly end with NUL.
        let nuls = text.iter().rev().take_while(|octet| **octet == 0).count();
        let text = text.get(..text.len() - nuls).unwrap_or(text);
        if self.is_prefix { text.starts_with(self.text.as_bytes()) } else { text == self.text.as_bytes() }
    }

    /// Whether this pattern matches every text that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        match self.is_prefix {
            true => other.text.starts_with(&self.text),
            false => !other.is_prefix && other.text == self.text,
        }
    }
}

impl Criteria {
    /// Whether the client that sent `message` meets the criteria.
    pub(super) fn are_met_by(&self, message: &Message) -> bool {
        let option = |code| message::raw_option(message, code);
        let is_vendor =
            |pattern: &Pattern| option(OptionCode::ClassIdentifier).is_some_and(|class| pattern.suits(class));
        let is_user = |pattern: &Pattern| {
            option(OptionCode::UserClass).is_some_and(|content| {
                user_classes(content).into_iter().chain([content]).any(|class| pattern.suits(class))
            })
        };
        let has_architecture = |architecture: &u16| {
            let content = option(OptionCode::ClientSystemArchitecture).unwrap_or_default();
            content.as_chunks::<2>().0.iter().any(|octets| u16::from_be_bytes(*octets) == *architecture)
        };
        let has_prefix = |prefix: &Vec<u8>| message::mac(message).0.starts_with(prefix);
        self.vendor_class.as_ref().is_none_or(is_vendor)
            && self.user_class.as_ref().is_none_or(is_user)
            && self.architecture.as_ref().is_none_or(has_architecture)
            && self.mac_prefix.as_ref().is_none_or(has_prefix)
    }

    /// Whether every client that meets `other` meets these criteria, too.
    pub fn cover(&self, other: &Self) -> bool {
        fn covers<T>(own: Option<&T>, other: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
            own.is_none_or(|own| other.is_some_and(|other| covers(own, other)))
        }
        covers(self.vendor_class.as_ref(), other.vendor_class.as_ref(), Pattern::covers)
            && covers(self.user_class.as_ref(), other.user_class.as_ref(), Pattern::covers)
            && covers(self.architecture.as_ref(), other.architecture.as_ref(), |own, other| own == other)
            && covers(self.mac_prefix.as_ref(), other.mac_prefix.as_ref(), |own, other| {
                other.starts_with(own)
            })
    }
}

/// The user classes in an option 77, each behind its length (RFC 3004, section 4); none if the lengths do not add up.
/// iPXE and others send one text alone, without a length.
fn user_classes(mut content: &[u8]) -> Vec<&[u8]> {
    let mut classes = Vec::new();
    while let Some((len, rest)) = content.split_first() {
        let Some((class, rest)) = rest.split_at_checked(usize::from(*len)) else { return Vec::new() };
        classes.push(class);
        content = rest;
    }
    classes
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn pattern(text: &str) -> Option<Pattern> {
        let prefix = text.strip_suffix('*');
        Some(Pattern { text: prefix.unwrap_or(text).to_owned(), is_prefix: prefix.is_some() })
    }

    fn client(options: &[(OptionCode, &[u8])]) -> Message {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(1, none, none, none, none, &[0, 4, 0x13, 1, 2, 3]);
        for (code, content) in options {
            message.opts_mut().insert(message::raw(*code, content.to_vec()));
        }
        message
    }

    #[test]
    fn a_vendor_class_is_met_whole_or_by_its_beginning() {
        let pxe = client(&[(OptionCode::ClassIdentifier, b"PXEClient:Arch:00007:UNDI:003016\0")]);
        for (text, is_met) in [
            ("PXEClient:Arch:00007*", true),
            ("PXEClient:Arch:00007", false),
            ("PXEClient:Arch:00007:UNDI:003016", true),
            ("*", true),
            ("pxeclient*", false),
        ] {
            let criteria = Criteria { vendor_class: pattern(text), ..Criteria::default() };
            assert_eq!(criteria.are_met_by(&pxe), is_met, "{text}");
            assert!(!criteria.are_met_by(&client(&[])), "{text}");
        }
    }

    /// RFC 3004, section 4: A user class has a length, and some clients leave it out.
    #[test]
    fn rfc3004_a_user_class_has_a_length_and_some_clients_leave_it_out() {
        let criteria = Criteria { user_class: pattern("iPXE"), ..Criteria::default() };
        for (content, is_met) in [
            (&b"iPXE"[..], true),
            (b"\x04iPXE", true),
            (b"\x03abc\x04iPXE", true),
            (b"\x05iPXE", false),
            (b"\x04iPXE\x09", false),
            (b"\0", false),
            (b"", false),
        ] {
            assert_eq!(
                criteria.are_met_by(&client(&[(OptionCode::UserClass, content)])),
                is_met,
                "{content:?}"
            );
        }
    }

    /// RFC 4578, section 2.1: One of a client's architectures is enough.
    #[test]
    fn rfc4578_one_of_a_clients_architectures_is_enough() {
        let criteria = Criteria { architecture: Some(7), ..Criteria::default() };
        for (content, is_met) in [(&[0, 7][..], true), (&[0, 0, 0, 7], true), (&[7, 0], false), (&[0], false)]
        {
            let client = client(&[(OptionCode::ClientSystemArchitecture, content)]);
            assert_eq!(criteria.are_met_by(&client), is_met, "{content:?}");
        }
    }

    #[test]
    fn all_criteria_have_to_be_met() {
        let mac_prefix = Some(vec![0, 4, 0x13]);
        let phone = Criteria { mac_prefix: mac_prefix.clone(), ..Criteria::default() };
        let booting = Criteria { mac_prefix, architecture: Some(0), ..Criteria::default() };
        assert!(phone.are_met_by(&client(&[])) && !booting.are_met_by(&client(&[])));
        assert!(booting.are_met_by(&client(&[(OptionCode::ClientSystemArchitecture, &[0, 0])])));
        assert!(phone.cover(&booting) && !booting.cover(&phone));
    }

    #[test]
    fn a_pattern_covers_what_it_suits() {
        let class = |text| Criteria { vendor_class: pattern(text), ..Criteria::default() };
        for (own, other, covers) in [
            ("PXEClient*", "PXEClient:Arch:00007*", true),
            ("PXEClient*", "PXEClient", true),
            ("PXEClient:Arch:00007*", "PXEClient*", false),
            ("PXEClient", "PXEClient", true),
            ("PXEClient", "PXEClient*", false),
        ] {
            assert_eq!(class(own).cover(&class(other)), covers, "{own} {other}");
        }
        let user = Criteria { user_class: pattern("iPXE"), ..Criteria::default() };
        assert!(!user.cover(&class("PXEClient*")) && !class("PXEClient*").cover(&user));
    }
}
