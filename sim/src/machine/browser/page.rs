//! Answers of the administration as a browser reads them: the head, and of a page its links, its forms, and what it says.

/// The longest answer that is read, in octets.
pub(super) const ANSWER_OCTETS_MAX: usize = 256 * 1024;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The address that it leads to.
    pub location: Option<String>,
    /// The value that the session's cookie gets; empty if the browser is to forget it.
    pub cookie: Option<String>,
    /// What it shows.
    pub page: Page,
}

/// What an answer shows: HTML, unless it is another file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(String);

/// A form of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The path that it goes to.
    pub action: String,
    /// Its fields with their values.
    pub fields: Vec<(String, String)>,
}

/// A session in a page's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its number.
    pub number: u64,
    /// Its user.
    pub user: &'a str,
    /// Whether it is that of the browser which the page was told to.
    pub is_own: bool,
}

impl<'a> Listed<'a> {
    fn of(row: &'a str) -> Option<Self> {
        let (_, field) = row.split_once("name=\"session\"")?;
        let (_, user) = row.split_once("<strong>")?;
        Some(Self {
            number: attribute(tag(field), "value")?.parse().ok()?,
            user: user.split('<').next()?,
            is_own: row.contains("this browser"),
        })
    }
}

impl Answer {
    /// The answer in `heard`, once all of it is there.
    pub(super) fn of(heard: &[u8], cookie: &str) -> Option<Self> {
        let end = heard.windows(4).position(|octets| octets == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&heard[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let field = |name: &str| fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let length: usize = field("content-length")?.1.parse().ok()?;
        let body = heard.get(end + 4..end + 4 + length)?;
        let set = field("set-cookie").and_then(|(_, set)| set.strip_prefix(cookie)?.strip_prefix('='));
        Some(Self {
            status,
            location: field("location").map(|(_, location)| (*location).to_owned()),
            cookie: set.map(|set| set.split(';').next().unwrap_or_default().to_owned()),
            page: Page(String::from_utf8_lossy(body).into_owned()),
        })
    }
}

impl Page {
    #[cfg(test)]
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The paths of the links to other pages.
    pub fn links(&self) -> Vec<&str> {
        let links = self.0.split("<a ").skip(1).filter_map(|rest| attribute(tag(rest), "href"));
        links.filter(|link| link.starts_with('/')).collect()
    }

    /// The forms.
    pub fn forms(&self) -> Vec<Form> {
        let forms = self.0.split("<form ").skip(1);
        let form = |rest: &str| {
            let action = attribute(tag(rest), "action")?.to_owned();
            let inside = rest.split("</form>").next().unwrap_or_default();
            let inputs = inside.split("<input ").skip(1).map(tag);
            let is_sent = |input: &&str| !input.contains("type=\"checkbox\"") || input.contains(" checked");
            let inputs = inputs.filter(is_sent).filter_map(|input| {
                let value = attribute(input, "value").unwrap_or_default();
                Some((attribute(input, "name")?.to_owned(), value.to_owned()))
            });
            let selected = inside.split("<select ").skip(1).filter_map(|select| {
                let options = select.split("</select>").next()?.split("<option ").skip(1).map(tag);
                let value =
                    attribute(options.into_iter().find(|option| option.contains(" selected"))?, "value")?;
                Some((attribute(tag(select), "name")?.to_owned(), value.to_owned()))
            });
            let fields = inputs.chain(selected);
            Some(Form { action, fields: fields.collect() })
        };
        forms.filter_map(form).collect()
    }

    /// Whether it has a button of that name and value.
    pub fn has_button(&self, name: &str, value: &str) -> bool {
        self.0.contains(&format!("name=\"{name}\" value=\"{value}\">"))
    }

    /// The name and the role of the user who has signed in.
    pub fn visitor(&self) -> Option<(&str, &str)> {
        let (_, rest) = self.0.split_once("<form class=\"account\"")?;
        let (_, rest) = rest.split_once("<a ")?.1.split_once('>')?;
        rest.split("</a>").next()?.split_once(", ")
    }

    /// The sessions that it lists.
    pub fn sessions(&self) -> Vec<Listed<'_>> {
        let rows = self.0.split("<tr ").filter(|row| row.contains("name=\"session\""));
        rows.filter_map(Listed::of).collect()
    }

    /// The gateway's address on the LAN with its prefix, as the page of the status has it.
    pub fn lan(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once("<h2>Office network</h2>")?;
        let texts = rest.split("<dd>").skip(1).filter_map(|rest| rest.split('<').next());
        texts.into_iter().find(|text| text.contains('/'))
    }
}

/// The beginning of `rest` up to the end of its tag.
fn tag(rest: &str) -> &str {
    rest.split('>').next().unwrap_or_default()
}

/// The value of an attribute in the inside of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = "HTTP/1.1 303 See Other\r\nlocation: /\r\nset-cookie: session=abc; Path=/\r\ncontent-length: 2\r\n\r\n/\n";
        for end in 0..text.len() {
            assert_eq!(Answer::of(&text.as_bytes()[..end], "session"), None);
        }
        let answer = Answer::of(text.as_bytes(), "session").expect("it is whole");
        assert_eq!(
            (answer.status, answer.location.as_deref(), answer.cookie.as_deref()),
            (303, Some("/"), Some("abc"))
        );
    }

    #[test]
    fn links_forms_and_values_of_a_page_are_found() {
        let page = Page::new(
            "<a class=\"skip\" href=\"#content\">s</a><a href=\"/clients\" aria-current=\"page\">c</a>\
             <form class=\"account\" method=\"post\" action=\"/sign-out\"><a href=\"/me\">olga, owner</a>\
             <input type=\"hidden\" name=\"token\" value=\"t\"></form>\
             <h2>Office network</h2><dd>02:00</dd><dd>192.168.1.1/24</dd>\
             <tr role=\"row\"><strong>olga</strong> <span>this browser</span><form action=\"/sessions/end\"><input type=\"hidden\" name=\"session\" value=\"7\"></form>",
        );
        assert_eq!(page.links(), ["/clients", "/me"]);
        assert_eq!((page.visitor(), page.lan()), (Some(("olga", "owner")), Some("192.168.1.1/24")));
        assert_eq!(page.sessions(), [Listed { number: 7, user: "olga", is_own: true }]);
        let [first, second] = &page.forms()[..] else { panic!("two forms") };
        assert_eq!((first.action.as_str(), second.action.as_str()), ("/sign-out", "/sessions/end"));
        assert_eq!(first.fields, [("token".to_owned(), "t".to_owned())]);
    }
}
