//! Answers, and the fields that all of them have.

use std::rc::Rc;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use super::body::{Body, EventWriter, Outgoing};
use super::progress::Progress;

/// What a page may load: the site's own style, script and pictures from files, and values from the site; and where its
/// forms may go. No page has a script of its own.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The fields of every answer, unless the answer has its own.
const COMMON: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // Without any referrer, browsers hide the origin of forms, too, which is checked.
    (REFERRER_POLICY, "same-origin"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those that all answers have.
    pub fields: HeaderMap,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// An answer of this type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, fields, body: Body::Whole(body.into()) }
    }

    /// The events that `source` writes. (HTML Standard, section 9.2)
    pub fn events<F>(source: impl FnOnce(EventWriter) -> F) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self { body: Body::events(source), ..Self::new(StatusCode::OK, "text/event-stream", "") }
    }

    /// A page.
    pub fn html(status: StatusCode, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// A line of text for programs and their authors.
    pub fn text(status: StatusCode, line: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{line}\n"))
    }

    /// After a form: the client shall get the page at `path`, which must be visible ASCII. (RFC 9110, section 15.4.4)
    pub fn see_other(path: &str) -> Self {
        Self::text(StatusCode::SEE_OTHER, path).with(LOCATION, path)
    }

    /// The same answer with a field of this value, which must be visible ASCII; a value that is not is left out.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.append(name, value);
        }
        self
    }

    /// The answer for hyper, with the fields of every answer, to the client of `progress`.
    pub(super) fn complete(self, progress: &Rc<Progress>) -> hyper::Response<Outgoing> {
        let mut response = hyper::Response::new(Outgoing::new(self.body, progress));
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        *fields = self.fields;
        for (name, value) in COMMON {
            fields.entry(name).or_insert(HeaderValue::from_static(value));
        }
        response
    }
}
