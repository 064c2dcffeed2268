//! The files of the pages: their style, their icon and their script.

use std::sync::LazyLock;

use gatepost_services::crypto::sha256;
use gatepost_services::http::header::CACHE_CONTROL;
use gatepost_services::http::{Response, StatusCode};

/// The octets of the digest that are in a name.
const DIGEST_OCTETS: usize = 8;

/// A file that browsers keep, as its name has a digest of its content.
pub struct File {
    /// Its path.
    pub path: String,
    content_type: &'static str,
    content: &'static str,
}

/// The style of all pages.
pub static STYLE: LazyLock<File> =
    LazyLock::new(|| File::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// The icon of all pages.
pub static ICON: LazyLock<File> =
    LazyLock::new(|| File::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The script that shows live values.
pub static SCRIPT: LazyLock<File> =
    LazyLock::new(|| File::new("live", "js", "text/javascript; charset=utf-8", include_str!("live.js")));

impl File {
    fn new(name: &str, suffix: &str, content_type: &'static str, content: &'static str) -> Self {
        let path = path_with_digest(name, suffix, content.as_bytes());
        Self { path, content_type, content }
    }
}

/// The path of a file with this content, which browsers may keep: another content has another path.
pub fn path_with_digest(name: &str, suffix: &str, content: &[u8]) -> String {
    let digest = sha256(content);
    let digest: String = digest.iter().take(DIGEST_OCTETS).map(|octet| format!("{octet:02x}")).collect();
    format!("/{name}-{digest}.{suffix}")
}

/// The file at `path`.
pub fn file(path: &str) -> Option<Response> {
    let file = [&*STYLE, &*ICON, &*SCRIPT].into_iter().find(|file| file.path == path)?;
    let response = Response::new(StatusCode::OK, file.content_type, file.content);
    Some(response.with(CACHE_CONTROL, "public, max-age=31536000, immutable"))
}
