//! Questions in mixed case, against forged responses. (draft-vixie-dnsext-dns0x20, sections 2 and 5)
//!
//! Most servers copy the question into the response as it is. A sender that does not see the query has to guess the
//! case of each letter in addition to identifier and port.

use std::borrow::Cow;

use hickory_proto::rr::Name;
use rand::RngExt;
use rand::rngs::StdRng;

use super::wire::write_name;

/// The index of the first question in a message, and so of its name. (RFC 1035, section 4.1.1)
const QUESTION_INDEX: usize = 12;

/// `name` with each letter in a random case.
pub fn mix(name: &Name, rng: &mut StdRng) -> Name {
    let mut mixed = |octet: &u8| {
        let is_upper = octet.is_ascii_alphabetic() && rng.random();
        if is_upper { octet.to_ascii_uppercase() } else { octet.to_ascii_lowercase() }
    };
    let labels: Vec<Vec<u8>> = name.iter().map(|label| label.iter().map(&mut mixed).collect()).collect();
    Name::from_labels(labels).unwrap_or_else(|_| name.clone())
}

/// Whether the question of `response` is spelled like `asked`; also if it has no question.
pub fn is_kept(response: &[u8], asked: &Name) -> bool {
    let has_question = response.get(4..6) != Some(&[0, 0][..]);
    let question = response.get(QUESTION_INDEX..).unwrap_or_default();
    !has_question || question.starts_with(&octets(asked))
}

/// The response with the spelling of `name` in its question, and so in all names that are compressed by it.
pub fn restore<'a>(response: &'a [u8], asked: &Name, name: &Name) -> Cow<'a, [u8]> {
    let (asked, name) = (octets(asked), octets(name));
    let mut response = Cow::Borrowed(response);
    if response.get(QUESTION_INDEX..).is_some_and(|question| question.starts_with(&asked)) {
        let question = response.to_mut().iter_mut().skip(QUESTION_INDEX);
        question.zip(name).for_each(|(octet, restored)| *octet = restored);
    }
    response
}

/// The name on the wire, uncompressed.
fn octets(name: &Name) -> Vec<u8> {
    let mut octets = Vec::with_capacity(name.len());
    write_name(&mut octets, name);
    octets
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::RecordType;
    use rand::SeedableRng;

    use super::super::testing::{a, name, query, respond};
    use super::*;

    #[test]
    fn a_spelling_is_random_and_of_the_same_name() {
        let www = name("www.sh0p-example.example.");
        let mut rng = StdRng::seed_from_u64(1);
        let spellings: Vec<_> = (0..100).map(|_| mix(&www, &mut rng)).collect();
        assert!(spellings.iter().all(|spelling| *spelling == www && spelling.is_fqdn()));
        let differ = spellings.windows(2).filter(|pair| !pair[0].eq_case(&pair[1])).count();
        assert_eq!(differ, 99);
        assert!(mix(&Name::root(), &mut rng).is_root());
    }

    #[test]
    fn a_response_gets_the_spelling_of_the_question_back() {
        let asked = "wWw.ShOp.eXample.";
        let query = query(7, asked, RecordType::A, None);
        let response = respond(&query, ResponseCode::NoError, [a(asked, 60, "203.0.113.7")], []);
        let response = response.to_vec().unwrap();
        let plain = name("www.shop.Example.");
        assert!(is_kept(&response, &name(asked)) && !is_kept(&response, &plain));
        let restored = Message::from_vec(&restore(&response, &name(asked), &plain)).unwrap();
        for restored in [&restored.queries[0].name, &restored.answers[0].name] {
            assert!(restored.eq_case(&plain), "{restored}");
        }
        assert_eq!(restore(&response, &plain, &name(asked))[..], response, "spelled otherwise");
        // An error without a question, and what is cut off.
        assert!(is_kept(&[0, 7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0], &plain));
        for len in 4..response.len() {
            _ = (is_kept(&response[..len], &plain), restore(&response[..len], &name(asked), &plain));
        }
    }
}
