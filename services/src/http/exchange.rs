//! One request and its answer: the checks before the site sees it.

use std::net::IpAddr;
use std::rc::Rc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, HeaderValue, LOCATION, TRANSFER_ENCODING};
use hyper::{Method, StatusCode, Uri};
use tokio::time::sleep;

use super::body::Outgoing;
use super::progress::Progress;
use super::{Checked, GROWING_TIME_MAX, Host, Request, Response, Room, Site};
use crate::watch;

/// The circumstances of a request.
#[derive(Clone)]
pub(super) struct Context {
    /// The client's address.
    pub peer: IpAddr,
    /// The site's port.
    pub port: u16,
    /// Whether the connection is under TLS.
    pub is_encrypted: bool,
    /// Whether the connection shall close after the answer.
    pub is_last: bool,
    /// Whether the site shall take no further requests.
    pub finishing: watch::Receiver<bool>,
    /// The connection's progress.
    pub progress: Rc<Progress>,
}

/// Answers `request`.
pub(super) async fn exchange<H: Site>(
    request: hyper::Request<Incoming>,
    site: &H,
    context: Context,
) -> hyper::Response<Outgoing> {
    let (mut response, closes) = match checked(request, site, &context).await {
        Ok((request, _room)) => (site.answer(request).await, context.is_last),
        // The rest of a refused request is not looked at.
        Err((checked, response)) => {
            site.count(checked);
            (response, true)
        }
    };
    if response.body.is_growing() {
        context.progress.grows();
        response.body = response.body.until(sleep(GROWING_TIME_MAX));
    } else {
        context.progress.answered();
    }
    if response.body.is_events() {
        let mut finishing = context.finishing;
        response.body = response.body.until(async move { finishing.raised().await });
    }
    let mut response = response.complete(&context.progress);
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The request for the site with the room that its body takes, or the answer that it gets from the checks.
async fn checked<H: Site>(
    request: hyper::Request<Incoming>,
    site: &H,
    context: &Context,
) -> Result<(Request, Room), (Checked, Response)> {
    let refused = |status, line: &str| (Checked::Refused, Response::text(status, line));
    // RFC 9112, section 6.1: with both framings a server may refuse; a browser's forms have a length.
    if request.headers().contains_key(TRANSFER_ENCODING) {
        let line = "A request's length is told by Content-Length here.";
        return Err(refused(StatusCode::LENGTH_REQUIRED, line));
    }
    // RFC 9110, section 9.1: what a method is for is known before its target.
    if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
        let (checked, response) = refused(StatusCode::METHOD_NOT_ALLOWED, "Use GET, HEAD or POST.");
        return Err((checked, response.with(ALLOW, "GET, HEAD, POST")));
    }
    let canonical = || format!("https://{}/", site.canonical());
    let Some(host) = Host::of(&request) else {
        let line = format!("A request needs one host, such as {}", canonical());
        return Err((Checked::WrongHost, Response::text(StatusCode::BAD_REQUEST, &line)));
    };
    // The port of a scheme is left out. (RFC 9110, section 4.2)
    let default_port = if context.is_encrypted { 443 } else { 80 };
    if !site.is_called(&host.name) || host.port.unwrap_or(default_port) != context.port {
        let line = format!("This is {}", canonical());
        return Err((Checked::WrongHost, Response::text(StatusCode::MISDIRECTED_REQUEST, &line)));
    }
    let path = match request.uri().path() {
        path if path.starts_with('/') => path.to_owned(),
        _ => return Err(refused(StatusCode::BAD_REQUEST, "A request's target begins with a slash.")),
    };
    let query = request.uri().query().map(str::to_owned);
    if !context.is_encrypted {
        return Err(match *request.method() {
            Method::POST => refused(StatusCode::FORBIDDEN, &format!("Go to {}", canonical())),
            _ => match redirect(host.name, context.port, request.uri()) {
                Some(response) => (Checked::Redirected, response),
                None => refused(StatusCode::BAD_REQUEST, "A request's target is visible ASCII."),
            },
        });
    }
    let has_length = request.headers().contains_key(CONTENT_LENGTH);
    let (head, body) = request.into_parts();
    let (method, fields, peer) = (head.method, head.headers, context.peer);
    let mut request = Request { method, path, query, host, fields, body: Vec::new(), peer };
    let is_post = request.method == Method::POST;
    let room = if is_post { site.room(&request) } else { Room::of(0) };
    let length_max = room.octets_max;
    let too_long = || {
        let line = format!("The body is longer than {length_max} octets.");
        refused(StatusCode::PAYLOAD_TOO_LARGE, &line)
    };
    // No POST of a browser's is without a length.
    if is_post && !has_length {
        return Err(refused(StatusCode::LENGTH_REQUIRED, "A form needs a Content-Length."));
    }
    if body.size_hint().lower() > length_max as u64 {
        return Err(too_long());
    }
    request.body = match Limited::new(body, length_max).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_long()),
        Err(_) => return Err(refused(StatusCode::BAD_REQUEST, "The body is incomplete.")),
    };
    Ok((request, room))
}

/// The same target at the same host, under TLS, with the site's port: https has another default than http. `None` if
/// the target has octets that no URL has. A permanent redirect would outlive a change of the port.
fn redirect(name: String, port: u16, target: &Uri) -> Option<Response> {
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    if !target.bytes().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    let location = format!("https://{}{target}", Host { name, port: Some(port) });
    let response = Response::text(StatusCode::TEMPORARY_REDIRECT, &format!("Go to {location}"));
    Some(response.with(LOCATION, &location))
}
