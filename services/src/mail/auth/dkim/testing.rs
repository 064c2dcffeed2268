//! Signatures for tests.

use data_encoding::BASE64;

use super::{BodyDigest, Canonicalization, HeaderReader, signed_octets};
use crate::crypto::sha256;
use crate::crypto::verifying::testing::sign_ed25519;

/// The key of RFC 8032, section 7.1, test 1, whose public half RFC 8463 publishes.
const SEED: &[u8] = b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

fn signed(octets: &[u8]) -> (Vec<u8>, Vec<u8>) {
    sign_ed25519(&BASE64.decode(SEED).unwrap(), octets)
}

/// The record of that key, with these `tags` in front, such as `t=s; `.
pub fn record(tags: &str) -> String {
    format!("{tags}k=ed25519; p={}", BASE64.encode(&signed(b"").0))
}

/// `message` with a signature in front of it that has these `tags`, such as `d=far.example; s=one; h=from`.
pub fn sign(message: &str, tags: &str) -> String {
    let tag = |name: &str| tags.split(';').find_map(|tag| tag.trim().strip_prefix(name)?.strip_prefix('='));
    let forms = tag("c").unwrap_or("simple/simple");
    let (header_form, body_form) = forms.split_once('/').unwrap_or((forms, "simple"));
    let form = |name| if name == "relaxed" { Canonicalization::Relaxed } else { Canonicalization::Simple };
    let mut reader = HeaderReader::new();
    let body = reader.push(message.as_bytes()).to_vec();
    let mut digest = BodyDigest::new(form(body_form), tag("l").map(|octets| octets.parse().unwrap()));
    digest.push(&body);
    let bh = BASE64.encode(&digest.finish().digest);
    let field = format!("DKIM-Signature: v=1; a=ed25519-sha256; {tags};\r\n\tbh={bh}; b=");
    let names: Vec<_> = tag("h").unwrap().split(':').collect();
    let octets = signed_octets(&reader.finish(), &names, form(header_form), field.as_bytes(), None);
    let signature = BASE64.encode(&signed(&sha256(&octets)).1);
    format!("{field}{signature}\r\n{message}")
}
