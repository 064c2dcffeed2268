//! HTTP/1.1 as it stands in RFC 9112, read apart from the product: the requests that a stream of octets has, and the
//! answers to them.
//!
//! A request that could be read in several ways is the last one that is read: what follows is a matter of taste.

/// A request in a stream.
#[derive(Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    target: String,
    version: String,
    fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether all of it is there.
    pub is_complete: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The values of the fields called `name`.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether its version is HTTP/1.1, in which a connection goes on after an answer.
    pub fn is_http_1_1(&self) -> bool {
        self.version == "HTTP/1.1"
    }

    /// The path of its target, without the host of an absolute one.
    pub fn path(&self) -> &str {
        let target = self.authority().map_or(self.target.as_str(), |(_, path)| path);
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if path.is_empty() { "/" } else { path }
    }

    /// Whether it names `host` and no other.
    pub fn names_host(&self, host: &str) -> bool {
        let is_it = |named: &str| {
            let named = named.to_ascii_lowercase();
            let (name, port) = named.split_once(':').unwrap_or((&named, ""));
            format!("{}:{port}", name.strip_suffix('.').unwrap_or(name)) == host
        };
        let fields: Vec<_> = self.fields("host").collect();
        matches!(fields[..], [named] if is_it(named)) && self.authority().is_none_or(|(named, _)| is_it(named))
    }

    /// Whether `location` is at the host that it names.
    pub fn names_host_of(&self, location: &str) -> bool {
        let host = location.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
        host.is_some_and(|host| self.names_host(host))
    }

    /// Whether its origin is the host that it names.
    pub fn has_origin(&self) -> bool {
        let origins: Vec<_> = self.fields("origin").collect();
        let hosts: Vec<_> = self.fields("host").collect();
        let bare = |text: &str| text.to_ascii_lowercase().replace(".:", ":");
        match (&origins[..], &hosts[..]) {
            ([origin], [host]) => bare(origin) == format!("https://{}", bare(host)),
            _ => false,
        }
    }

    /// The host and the rest of an absolute target.
    fn authority(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self.target.split_once("://")?;
        if scheme.contains(['/', '?']) {
            return None;
        }
        Some(rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
    }
}

impl Answer {
    /// The value of the field `name`, of which there is one at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "several fields {name} in {self:?}");
        value
    }

    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value == "close")
    }

    /// Whether it is one of HTTP's own, to what is no request: a status, and the end.
    pub fn is_bare(&self) -> bool {
        [400, 414, 431].contains(&self.status) && self.closes() && self.body.is_empty() && self.fields.len() == 2
    }
}

/// The requests in `stream`; the last one may be incomplete.
pub fn requests(stream: &[u8]) -> Vec<Asked> {
    let (mut all, mut rest) = (Vec::new(), stream);
    loop {
        while let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            rest = after;
        }
        let Some((mut asked, after)) = head(rest) else { return all };
        let lengths: Vec<_> = asked.fields("content-length").collect();
        let length = match lengths[..] {
            [] => Some(0),
            [one] if !one.is_empty() && one.bytes().all(|octet| octet.is_ascii_digit()) => one.parse().ok(),
            _ => None,
        };
        let is_plain = asked.fields("transfer-encoding").next().is_none();
        let Some(length) = length.filter(|_| is_plain) else {
            all.push(asked);
            return all;
        };
        asked.is_complete = after.len() >= length;
        let (body, after) = after.split_at(length.min(after.len()));
        asked.body = body.to_vec();
        let is_last = !asked.is_complete;
        all.push(asked);
        if is_last {
            return all;
        }
        rest = after;
    }
}

/// The answers in `said`, all of which are whole. `asked`: what they answer.
pub fn answers(said: &[u8], asked: &[Asked]) -> Vec<Answer> {
    let (mut all, mut rest) = (Vec::new(), said);
    while !rest.is_empty() {
        let (asked_for, after) = head(rest).expect("a whole head");
        // "HTTP/1.1 200 OK": three words, as those of a request.
        let (version, status) = (asked_for.method, asked_for.target);
        assert!(["HTTP/1.1", "HTTP/1.0"].contains(&version.as_str()), "{version}");
        if status == "100" {
            // The answer is still to come. (RFC 9110, section 15.2.1)
            rest = after;
            continue;
        }
        let mut answer =
            Answer { status: status.parse().expect("a status"), fields: asked_for.fields, body: Vec::new() };
        let asked = asked.get(all.len());
        let is_head = asked.is_some_and(|asked| asked.method == "HEAD");
        let (body, after) = match (answer.field("content-length"), answer.field("transfer-encoding")) {
            (Some(length), None) => {
                let length: usize = length.parse().expect("a number");
                let (body, after) = after.split_at_checked(if is_head { 0 } else { length }).expect("a whole body");
                (body.to_vec(), after)
            }
            // Of what grows, a HEAD learns no length. (RFC 9110, section 9.3.2)
            (None, None | Some("chunked")) if is_head => (Vec::new(), after),
            (None, Some("chunked")) => chunks(after).expect("a whole body"),
            // What grows for a client that knows no chunks ends with the connection. (RFC 9112, section 6.3)
            (None, None) if asked.is_some_and(|asked| !asked.is_http_1_1()) => (after.to_vec(), &[][..]),
            lengths => panic!("{lengths:?} is no length of {answer:?}"),
        };
        answer.body = body;
        all.push(answer);
        rest = after;
    }
    all
}

/// The body in chunks at the beginning of `stream`, and what follows; `None` if it does not end. (RFC 9112, section 7.1)
fn chunks(stream: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut body, mut rest) = (Vec::new(), stream);
    loop {
        let end = rest.windows(2).position(|octets| octets == b"\r\n")?;
        let (size, after) = rest.split_at(end);
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let (chunk, after) = after[2..].split_at_checked(size)?;
        body.extend(chunk);
        // No trailer follows the last one.
        rest = after.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, rest));
        }
    }
}

/// The head at the beginning of `stream`, and what follows; `None` if it does not end.
fn head(stream: &[u8]) -> Option<(Asked, &[u8])> {
    let mut rest = stream;
    let mut lines = Vec::new();
    loop {
        let end = rest.iter().position(|octet| *octet == b'\n')?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        lines.push(String::from_utf8_lossy(line).into_owned());
    }
    let mut lines = lines.into_iter();
    let first = lines.next()?;
    let mut words = first.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target, version) = (word(), word(), word());
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
    });
    let fields = fields.collect();
    Some((Asked { method, target, version, fields, body: Vec::new(), is_complete: false }, rest))
}
