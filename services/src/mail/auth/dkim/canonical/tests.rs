use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::crypto::sha256;

use Canonicalization::{Relaxed, Simple};

fn field(kind: Canonicalization, field: &str) -> String {
    let mut into = Vec::new();
    canonical_field(kind, field.as_bytes(), &mut into);
    String::from_utf8(into).unwrap()
}

fn digested(kind: Canonicalization, octets_max: Option<u64>, body: &[u8], portion: usize) -> Digested {
    let mut digest = BodyDigest::new(kind, octets_max);
    body.chunks(portion).for_each(|octets| digest.push(octets));
    digest.finish()
}

/// Asserts that `canonical` is the canonical form of `body`, in whatever portions it comes.
fn assert_canonical(kind: Canonicalization, body: &str, canonical: &str) {
    for portion in [1, 2, 3, 7, 10_000] {
        let digested = digested(kind, None, body.as_bytes(), portion);
        assert_eq!(digested.octets, canonical.len() as u64, "{body:?} by {portion}");
        assert_eq!(digested.digest, sha256(canonical.as_bytes()), "{body:?} by {portion}");
    }
}

/// The whole body at once, as RFC 6376 defines it step by step.
fn told(kind: Canonicalization, body: &[u8]) -> Vec<u8> {
    let text: String = body.iter().copied().map(char::from).collect();
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    if kind == Relaxed {
        for line in &mut lines {
            let words: Vec<_> = line.split([' ', '\t']).collect();
            let is_indented = line.starts_with([' ', '\t']);
            let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let joined = words.join(" ");
            *line = if is_indented && !joined.is_empty() { format!(" {joined}") } else { joined };
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let mut octets: Vec<u8> = lines
        .iter()
        .flat_map(|line| format!("{line}\r\n").chars().map(|c| c as u8).collect::<Vec<_>>())
        .collect();
    if octets.is_empty() && kind == Simple {
        octets.extend(b"\r\n");
    }
    octets
}

/// RFC 6376, section 3.4.5: The example has these canonical forms.
#[test]
fn rfc6376_3_4_5_the_example_has_these_canonical_forms() {
    assert_eq!(field(Relaxed, "A: X"), "a:X\r\n");
    assert_eq!(field(Relaxed, "B : Y\t\r\n\tZ  "), "b:Y Z\r\n");
    assert_eq!(field(Simple, "A: X"), "A: X\r\n");
    assert_eq!(field(Simple, "B : Y\t\r\n\tZ  "), "B : Y\t\r\n\tZ  \r\n");
    let body = " C \r\nD \t E\r\n\r\n\r\n";
    assert_canonical(Relaxed, body, " C\r\nD E\r\n");
    assert_canonical(Simple, body, " C \r\nD \t E\r\n");
}

/// RFC 6376, section 3.4.2: A field's name is in lower case, its value in one line without white space at its ends.
#[test]
fn rfc6376_3_4_2_a_field_is_unfolded_and_its_white_space_reduced() {
    for (given, expected) in [
        ("Subject:", "subject:\r\n"),
        ("Subject:  \t ", "subject:\r\n"),
        ("SUBJECT\t:\r\n a\r\n b: C ", "subject:a b: C\r\n"),
        ("X:a\r\n\t\r\n b", "x:a b\r\n"),
        ("X: \u{fc}  \u{fc}", "x:\u{fc} \u{fc}\r\n"),
    ] {
        assert_eq!(field(Relaxed, given), expected, "{given:?}");
    }
}

/// RFC 6376, section 3.4.3: The simple form of a body leaves empty lines at its end out, and has a line end there.
#[test]
fn rfc6376_3_4_3_the_simple_form_of_a_body() {
    for (body, canonical) in [
        ("", "\r\n"),
        ("\r\n\r\n", "\r\n"),
        ("a", "a\r\n"),
        ("a\r\n", "a\r\n"),
        ("a\r\n \r\n", "a\r\n \r\n"),
        ("a\r\n\r\nb  \r\n\r\n", "a\r\n\r\nb  \r\n"),
        ("a\rb\n\r", "a\rb\n\r\r\n"),
    ] {
        assert_canonical(Simple, body, canonical);
    }
    // RFC 6376, section 3.4.3: this is the digest of an empty body.
    let empty = data_encoding::BASE64.encode(&digested(Simple, None, b"", 1).digest);
    assert_eq!(empty, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
}

/// RFC 6376, section 3.4.4: The relaxed form of a body has single spaces, and none at the ends of lines; an empty body is empty.
#[test]
fn rfc6376_3_4_4_the_relaxed_form_of_a_body() {
    for (body, canonical) in [
        ("", ""),
        ("\r\n\r\n", ""),
        (" \t \r\n\t\r\n", ""),
        ("a", "a\r\n"),
        ("a \t", "a\r\n"),
        ("\ta  b \r\n \r\n c\r\n \r\n", " a b\r\n\r\n c\r\n"),
    ] {
        assert_canonical(Relaxed, body, canonical);
    }
    // RFC 6376, section 3.4.4: this is the digest of an empty body.
    let empty = data_encoding::BASE64.encode(&digested(Relaxed, None, b"", 1).digest);
    assert_eq!(empty, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

/// RFC 6376, section 3.5: By l= so many octets of the canonical form are digested, and all of it is counted.
#[test]
fn rfc6376_3_5_l_the_beginning_of_the_canonical_form_is_digested() {
    for (octets_max, canonical) in
        [(0, ""), (1, "a"), (3, "a b"), (4, "a b\r"), (5, "a b\r\n"), (90, "a b\r\nc\r\n")]
    {
        for portion in [1, 2, 100] {
            let digested = digested(Relaxed, Some(octets_max), b"a  b\r\nc\r\n\r\n", portion);
            assert_eq!((digested.digest, digested.octets), (sha256(canonical.as_bytes()), 8), "{octets_max}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(512)))]

    #[test]
    fn portions_make_no_difference_to_what_the_rfc_tells(
        body in prop::collection::vec(prop::sample::select(vec![b"\r\n".as_slice(), b" ", b"\t", b"a", b"\r", b"\n", b"\xfc"]), 0..40),
        portion in 1_usize..9,
        kind in prop::sample::select(vec![Simple, Relaxed]),
    ) {
        let body = body.concat();
        let expected = told(kind, &body);
        let digested = digested(kind, None, &body, portion);
        prop_assert_eq!(digested.octets, expected.len() as u64);
        prop_assert_eq!(digested.digest, sha256(&expected));
    }
}
