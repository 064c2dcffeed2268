//! Forms as browsers send them: `application/x-www-form-urlencoded` (WHATWG URL, section 5.1), or with a file
//! `multipart/form-data`.

use std::fmt;

use hyper::header::CONTENT_TYPE;

use super::Request;
use super::multipart::{self, Part};

/// The most fields of a form.
pub const FORM_FIELDS_MAX: usize = 128;

/// The fields of a form, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    fields: Vec<(String, String)>,
    /// The files that came with it, by their fields' names.
    files: Vec<(String, Vec<u8>)>,
}

/// The body of a request is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenForm;

impl fmt::Display for BrokenForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no form of a browser's")
    }
}

impl std::error::Error for BrokenForm {}

impl Form {
    /// The form in the body of `request`.
    ///
    /// # Errors
    ///
    /// The body has another type, more than [`FORM_FIELDS_MAX`] fields, a broken percent sign, or is not UTF-8.
    pub fn of(request: &Request) -> Result<Self, BrokenForm> {
        if let Some(boundary) = multipart::boundary(request) {
            return Self::of_parts(multipart::parts(&request.body, boundary)?);
        }
        let kind = request.field(CONTENT_TYPE).ok_or(BrokenForm)?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(BrokenForm);
        }
        Self::read(&request.body)
    }

    fn of_parts(parts: Vec<Part<'_>>) -> Result<Self, BrokenForm> {
        let mut form = Self::default();
        for Part { name, is_file, content } in parts {
            if is_file {
                form.files.push((name, content.to_vec()));
            } else {
                let text = std::str::from_utf8(content).map_err(|_| BrokenForm)?;
                form.fields.push((name, text.to_owned()));
            }
        }
        Ok(form)
    }

    /// The content of the file that came for the field `name`, if there is one.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(known, _)| known == name).map(|(_, content)| content.as_slice())
    }

    /// The fields in the query of `request`; none if that is broken.
    pub fn of_query(request: &Request) -> Self {
        Self::read(request.query.as_deref().unwrap_or_default().as_bytes()).unwrap_or_default()
    }

    fn read(octets: &[u8]) -> Result<Self, BrokenForm> {
        let pairs = octets.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty());
        let mut fields = Vec::new();
        for pair in pairs {
            if fields.len() >= FORM_FIELDS_MAX {
                return Err(BrokenForm);
            }
            let mut halves = pair.splitn(2, |octet| *octet == b'=');
            let mut half = || decoded(halves.next().unwrap_or_default());
            fields.push((half()?, half()?));
        }
        Ok(Self { fields, files: Vec::new() })
    }

    /// The value of the field `name`, if there is exactly one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next()?;
        if values.next().is_some() { None } else { Some(value) }
    }

    /// The values of all fields `name`, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// `octets` without their encoding.
fn decoded(octets: &[u8]) -> Result<String, BrokenForm> {
    let mut text = Vec::with_capacity(octets.len());
    let mut rest = octets.iter();
    while let Some(octet) = rest.next() {
        text.push(match octet {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
                let (high, low) = (digit().ok_or(BrokenForm)?, digit().ok_or(BrokenForm)?);
                u8::try_from(high * 16 + low).map_err(|_| BrokenForm)?
            }
            octet => *octet,
        });
    }
    String::from_utf8(text).map_err(|_| BrokenForm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request;

    fn form(body: &str) -> Result<Form, BrokenForm> {
        let mut request = request("POST", "/");
        request.fields.insert(
            CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=utf-8".parse().expect("a value"),
        );
        request.body = body.as_bytes().to_vec();
        Form::of(&request)
    }

    #[test]
    fn fields_are_decoded() {
        let form = form("name=anna&password=a%2Bb+%C3%A4%26&empty=&alone&&twice=1&twice=2").expect("a form");
        let fields = ["name", "password", "empty", "alone", "twice", "none"].map(|name| form.get(name));
        assert_eq!(fields, [Some("anna"), Some("a+b \u{e4}&"), Some(""), Some(""), None, None]);
        assert_eq!(form.all("twice").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.all("none").next(), None);
    }

    #[test]
    fn a_query_has_fields_and_a_broken_one_has_none() {
        let query = |query: Option<&str>| {
            let request = Request { query: query.map(str::to_owned), ..request("GET", "/") };
            Form::of_query(&request)
        };
        assert_eq!(query(Some("element=a%20b&new")).get("element"), Some("a b"));
        assert_eq!(query(Some("element=a%20b&new")).get("new"), Some(""));
        assert_eq!(query(Some("element=%")), Form::default());
        assert_eq!(query(None), Form::default());
    }

    #[test]
    fn a_form_can_have_a_file() {
        let mut request = request("POST", "/");
        request.fields.insert(CONTENT_TYPE, "multipart/form-data; boundary=b".parse().expect("a value"));
        let part = |head: &str, content: &str| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let file = part("name=\"backup\"; filename=\"a\"", "a file");
        let body = part("name=\"token\"", "abc") + &file + "--b--\r\n";
        request.body = body.clone().into_bytes();
        let form = Form::of(&request).expect("a form");
        assert_eq!((form.get("token"), form.file("backup")), (Some("abc"), Some(&b"a file"[..])));
        assert_eq!((form.get("backup"), form.file("token")), (None, None), "a file is no text");
        request.body = body.replace("abc", "abc\r\n--b").into_bytes();
        assert_eq!(Form::of(&request), Err(BrokenForm));
        request.body.truncate(9);
        assert_eq!(Form::of(&request), Err(BrokenForm));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for body in ["a=%", "a=%4", "a=%+1", "a=%zz", "a=%ff"] {
            assert_eq!(form(body), Err(BrokenForm), "{body}");
        }
        let fields = |count: usize| form(&vec!["a=1"; count].join("&"));
        assert!(fields(FORM_FIELDS_MAX).is_ok());
        assert_eq!(fields(FORM_FIELDS_MAX + 1), Err(BrokenForm));
        assert_eq!(Form::of(&request("POST", "/")), Err(BrokenForm), "of no type");
    }
}
