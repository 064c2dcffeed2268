//! Answers that grow within a session: how many there are, and their end with the session.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::site::AdminSite;
use crate::http::{Response, StatusCode};

/// The most growing answers of one session at a time.
pub const STREAMS_OF_SESSION_MAX: usize = 4;

/// How often it is checked whether the password of a session with a growing answer is still in force; a disk is read to
/// find out.
const CHECKED_EVERY: Duration = Duration::from_secs(30);

/// The numbers of growing answers by their session.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_session: RefCell<BTreeMap<u64, usize>>,
}

/// A growing answer, counted until it is dropped.
struct Stream {
    streams: Rc<Streams>,
    session: u64,
}

impl Streams {
    /// One more of the session; `None` if it has as many as it may.
    fn begin(self: &Rc<Self>, session: u64) -> Option<Stream> {
        let mut by_session = self.by_session.borrow_mut();
        let count = by_session.entry(session).or_default();
        if *count >= STREAMS_OF_SESSION_MAX {
            return None;
        }
        *count += 1;
        Some(Stream { streams: Rc::clone(self), session })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut by_session = self.streams.by_session.borrow_mut();
        match by_session.get_mut(&self.session) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = by_session.remove(&self.session),
        }
    }
}

/// The answer `response` in this session: if it grows, it ends with the session, and a session has so many.
pub(super) fn bounded(site: &Rc<AdminSite>, session: u64, mut response: Response) -> Response {
    if !response.body.is_growing() {
        return response;
    }
    let Some(stream) = site.state.streams.begin(session) else {
        site.state.count(|stats| stats.streams_refused += 1);
        return if response.body.is_events() {
            // A browser asks for these events no more. (HTML Standard, section 9.2.3)
            Response::text(StatusCode::NO_CONTENT, "")
        } else {
            let line = "There are too many downloads in this session. Wait until one is complete.";
            Response::text(StatusCode::TOO_MANY_REQUESTS, line)
        };
    };
    site.state.count(|stats| stats.streams += 1);
    let site = Rc::clone(site);
    response.body = response.body.until(async move {
        site.session_over(session, CHECKED_EVERY).await;
        drop(stream);
    });
    response
}
