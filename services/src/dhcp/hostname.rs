//! The host name that a client requests. (RFC 2132, section 3.14; RFC 4702; RFC 1123)

use dhcproto::v4::fqdn::FqdnFlags;

use super::message::{self, Message, OptionCode};

/// The longest label of a name, in octets. (RFC 1035, section 2.3.4)
pub const LABEL_OCTETS_MAX: usize = 63;

/// Octets before the name in option 81. (RFC 4702, section 2)
const FQDN_HEADER_LEN: usize = 3;

/// The label that a client requests, by option 81 or else by option 12 (RFC 4702, section 4), in lower case and without
/// invalid characters; `None` if nothing remains.
pub fn requested(message: &Message) -> Option<String> {
    let by_fqdn = message::raw_option(message, OptionCode::ClientFQDN).and_then(fqdn_label);
    by_fqdn.or_else(|| label(message::text_option(message, OptionCode::Hostname)?))
}

/// The first label of `name` as a host name (RFC 1123, section 2.1); `None` if no valid character remains.
pub fn label(name: &str) -> Option<String> {
    let first = name.split('.').next()?;
    let kept = first.chars().filter_map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-') => Some(c),
        '_' | ' ' => Some('-'),
        _ => None,
    });
    let label: String = kept.skip_while(|c| *c == '-').take(LABEL_OCTETS_MAX).collect();
    Some(label.trim_end_matches('-').to_owned()).filter(|label| !label.is_empty())
}

/// Option 81 in the answer to a client that sent it as `request`: the server performs the update for `label`.`domain`.
/// (RFC 4702, section 4)
pub fn fqdn_answer(request: &[u8], label: Option<&str>, domain: &str) -> Vec<u8> {
    let asked = FqdnFlags::new(request.first().copied().unwrap_or(0));
    let serves = label.is_some() && !asked.n();
    let flags = FqdnFlags::default().set_e(asked.e()).set_s(serves).set_o(serves != asked.s()).set_n(!serves);
    // RFC 4702, section 2.2: the server sets both RCODE fields to 255.
    let mut answer = vec![flags.into(), u8::MAX, u8::MAX];
    let labels = label.into_iter().chain(domain.split('.').filter(|label| !label.is_empty()));
    if asked.e() {
        for label in labels.filter(|label| label.len() <= LABEL_OCTETS_MAX) {
            answer.push(u8::try_from(label.len()).expect("at most 63"));
            answer.extend_from_slice(label.as_bytes());
        }
        answer.push(0);
    } else {
        answer.extend_from_slice(labels.collect::<Vec<_>>().join(".").as_bytes());
    }
    answer
}

fn fqdn_label(option: &[u8]) -> Option<String> {
    let name = option.get(FQDN_HEADER_LEN..)?;
    if FqdnFlags::new(*option.first()?).e() {
        let len = usize::from(*name.first()?);
        label(&String::from_utf8_lossy(name.get(1..=len)?))
    } else {
        label(&String::from_utf8_lossy(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1123, section 2.1: A name is cut to one label of letters, digits and hyphens.
    #[test]
    fn rfc1123_a_name_is_cut_to_one_label_of_letters_digits_and_hyphens() {
        for (name, expected) in [
            ("pc1", Some("pc1")),
            ("PC1.office.example", Some("pc1")),
            ("Alice's iPhone", Some("alices-iphone")),
            ("my_printer", Some("my-printer")),
            ("--a-b--", Some("a-b")),
            ("\u{e4}\u{f6}", None),
            ("...", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(label(name).as_deref(), expected, "{name}");
        }
        assert_eq!(label(&"x".repeat(300)).unwrap().len(), LABEL_OCTETS_MAX);
        assert_eq!(label(&format!("{}-y", "x".repeat(62))).unwrap().len(), 62);
    }

    /// RFC 4702, section 2.3: Both encodings are read.
    #[test]
    fn rfc4702_both_encodings_are_read() {
        assert_eq!(fqdn_label(b"\x04\0\0\x03PC1\x06office\0").as_deref(), Some("pc1"));
        assert_eq!(fqdn_label(b"\x00\0\0PC1.office").as_deref(), Some("pc1"));
        assert_eq!(fqdn_label(b"\x04\0\0\x09PC1"), None);
        assert_eq!(fqdn_label(b"\x04\0\0"), None);
        assert_eq!(fqdn_label(b""), None);
    }

    /// RFC 4702, section 4: The server does the DNS update in place of the client.
    #[test]
    fn rfc4702_the_server_takes_the_update_over() {
        // S as asked: nothing is overridden.
        assert_eq!(fqdn_answer(b"\x05\0\0\0", Some("pc1"), "office"), b"\x05\xff\xff\x03pc1\x06office\0");
        // The client would update itself: overridden.
        assert_eq!(fqdn_answer(b"\x00\0\0", Some("pc1"), "office"), b"\x03\xff\xffpc1.office");
        // The client wants no update.
        assert_eq!(fqdn_answer(b"\x08\0\0", Some("pc1"), "office"), b"\x08\xff\xffpc1.office");
        // The name is taken.
        assert_eq!(fqdn_answer(b"\x01\0\0", None, "office"), b"\x0a\xff\xffoffice");
    }
}
