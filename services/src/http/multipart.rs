//! Forms with a file, as browsers send them: `multipart/form-data`. (RFC 7578, RFC 2046, section 5.1)
//!
//! The parts are found by the boundary's octets alone, as browsers write them: no preamble, no nesting, no transfer
//! encoding.

use hyper::header::CONTENT_TYPE;

use super::Request;
use super::form::{BrokenForm, FORM_FIELDS_MAX};

/// The longest boundary, in octets. (RFC 2046, section 5.1.1)
const BOUNDARY_OCTETS_MAX: usize = 70;
/// The longest head of a part, in octets.
const HEAD_OCTETS_MAX: usize = 1024;

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The field's name.
    pub name: String,
    /// Whether it is a file.
    pub is_file: bool,
    /// Its content.
    pub content: &'a [u8],
}

/// The boundary of the form in `request`; `None` if its body has another type.
pub(super) fn boundary(request: &Request) -> Option<&str> {
    let (kind, parameters) = request.field(CONTENT_TYPE)?.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = boundary.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(boundary);
    (1..=BOUNDARY_OCTETS_MAX).contains(&boundary.len()).then_some(boundary)
}

/// The parts of `body`, in their order.
///
/// # Errors
///
/// The body has another form, or more than [`FORM_FIELDS_MAX`] parts.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, BrokenForm> {
    let (first, next) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or(BrokenForm)?;
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        if parts.len() >= FORM_FIELDS_MAX {
            return Err(BrokenForm);
        }
        let in_head = part.get(..HEAD_OCTETS_MAX).unwrap_or(part);
        let end_of_head = position(in_head, b"\r\n\r\n").ok_or(BrokenForm)?;
        let (head, content) = part.split_at_checked(end_of_head).ok_or(BrokenForm)?;
        let content = content.strip_prefix(b"\r\n\r\n").ok_or(BrokenForm)?;
        let end = position(content, next.as_bytes()).ok_or(BrokenForm)?;
        let (content, after) = content.split_at_checked(end).ok_or(BrokenForm)?;
        rest = after.strip_prefix(next.as_bytes()).ok_or(BrokenForm)?;
        let (name, is_file) = described(head)?;
        parts.push(Part { name, is_file, content });
    }
    if rest.starts_with(b"--") { Ok(parts) } else { Err(BrokenForm) }
}

/// The name in a part's head, and whether the part is a file.
fn described(head: &[u8]) -> Result<(String, bool), BrokenForm> {
    let head = std::str::from_utf8(head).map_err(|_| BrokenForm)?;
    let mut disposition = None;
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':').ok_or(BrokenForm)?;
        if field.trim().eq_ignore_ascii_case("content-disposition") {
            disposition = disposition.or(Some(value.trim()));
        }
    }
    let parameters = disposition.and_then(|value| value.strip_prefix("form-data;")).ok_or(BrokenForm)?;
    // A quotation mark in a name is written as %22. (WHATWG HTML, section 4.10.22.7)
    let value = |name: &str| {
        let (_, after) = parameters.split_once(&format!(" {name}=\""))?;
        after.split_once('"').map(|(value, _)| value)
    };
    Ok((value("name").ok_or(BrokenForm)?.to_owned(), value("filename").is_some()))
}

/// Where `part` begins in `octets`.
fn position(octets: &[u8], part: &[u8]) -> Option<usize> {
    let (first, rest) = part.split_first()?;
    let mut from = 0;
    loop {
        let at = from + octets.get(from..)?.iter().position(|octet| octet == first)?;
        if octets.get(at + 1..).is_some_and(|after| after.starts_with(rest)) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request;

    const BODY: &str = "--b1\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nabc\r\n--b1\r\n\
                        content-disposition: form-data; name=\"backup\"; filename=\"name=.bin\"\r\n\
                        Content-Type: application/octet-stream\r\n\r\n\r\n--b\r\n\0\r\n--b1--\r\n";

    #[test]
    fn fields_and_files_are_found() {
        let parts = parts(BODY.as_bytes(), "b1").expect("a form");
        let part = |name: &str, is_file, content| Part { name: name.to_owned(), is_file, content };
        assert_eq!(parts, [part("token", false, &b"abc"[..]), part("backup", true, b"\r\n--b\r\n\0")]);
    }

    #[test]
    fn what_is_cut_or_without_a_name_is_broken() {
        for end in 0..BODY.len() - 4 {
            assert_eq!(parts(&BODY.as_bytes()[..end], "b1"), Err(BrokenForm), "{end}");
        }
        for (from, to) in [
            ("name=\"token\"", "nome=\"token\""),
            ("form-data; name=\"t", "inline; name=\"t"),
            ("--b1", "--b2"),
        ] {
            assert_eq!(parts(BODY.replace(from, to).as_bytes(), "b1"), Err(BrokenForm), "{from}");
        }
        let long = BODY.replace("octet-stream", &"x".repeat(HEAD_OCTETS_MAX));
        assert_eq!(parts(long.as_bytes(), "b1"), Err(BrokenForm));
        let part = "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--b1";
        let many = |count: usize| format!("--b1{}--", part.repeat(count));
        assert_eq!(
            parts(many(FORM_FIELDS_MAX).as_bytes(), "b1").map(|parts| parts.len()),
            Ok(FORM_FIELDS_MAX)
        );
        assert_eq!(parts(many(FORM_FIELDS_MAX + 1).as_bytes(), "b1"), Err(BrokenForm));
    }

    #[test]
    fn the_boundary_is_that_of_the_type() {
        let boundary = |kind: &str| {
            let mut request = request("POST", "/");
            request.fields.insert(CONTENT_TYPE, kind.parse().expect("a value"));
            super::boundary(&request).map(str::to_owned)
        };
        assert_eq!(boundary("multipart/form-data; boundary=b1").as_deref(), Some("b1"));
        assert_eq!(boundary("Multipart/Form-Data; charset=x; boundary=\"b 1\"").as_deref(), Some("b 1"));
        for other in ["multipart/form-data", "multipart/mixed; boundary=b1", "multipart/form-data; boundary="]
        {
            assert_eq!(boundary(other), None, "{other}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "b".repeat(71))), None);
    }
}
