//! The office's own logo and colours, by the folder that `admin.theme` names.
//!
//! | file | what |
//! | --- | --- |
//! | `logo.svg` or `logo.png` | stands in the head of every page in place of the gateway's |
//! | `theme.toml` | `[light]` and `[dark]` with `accent`, for links and buttons, and `header`, for the head |
//!
//! A colour is `"#1b5e59"`. One that could not be read on the page is refused: the contrast is checked as WCAG 2.2 (1.4.3)
//! defines it, and the colour of the writing on it is chosen here. An SVG is shown as a picture, in which no browser
//! runs a script; opened by itself, a policy of its own forbids everything.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gatepost_services::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use gatepost_services::http::{Response, StatusCode};
use gatepost_services::store::open_regular;
use serde::Deserialize;

use super::style::path_with_digest;

/// The longest file of a theme, in octets.
pub const FILE_OCTETS_MAX: u64 = 128 << 10;

/// The least contrast of writing. (WCAG 2.2, 1.4.3)
const CONTRAST_MIN: f64 = 4.5;

/// The grounds of `style.css` on which the accent's colour is written: light, dark.
const GROUNDS: [[Colour; 2]; 2] = [
    [Colour([0xff, 0xff, 0xff]), Colour([0xf4, 0xf5, 0xf3])],
    [Colour([0x1b, 0x22, 0x20]), Colour([0x12, 0x17, 0x15])],
];

const WHITE: Colour = Colour([0xff; 3]);
const BLACK: Colour = Colour([0; 3]);

/// The office's own look.
#[derive(Debug, Default)]
pub struct Theme {
    logo: Option<Asset>,
    style: Option<Asset>,
}

/// A file of the theme as browsers get it.
#[derive(Debug)]
struct Asset {
    path: String,
    content_type: &'static str,
    content: Vec<u8>,
}

impl Asset {
    fn new(name: &str, suffix: &str, content_type: &'static str, content: Vec<u8>) -> Self {
        Self { path: path_with_digest(name, suffix, &content), content_type, content }
    }
}

/// Why a folder is no theme: the file, what is wrong with it, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Colours {
    #[serde(default)]
    light: Scheme,
    #[serde(default)]
    dark: Scheme,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scheme {
    accent: Option<String>,
    header: Option<String>,
}

impl Theme {
    /// Reads the theme in `folder`. It takes as long as the disk.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, Unusable> {
        let file = |name: &str| read(&folder.join(name));
        let svg = file("logo.svg")?.map(svg).transpose()?;
        let png = file("logo.png")?.map(png).transpose()?;
        let style = file("theme.toml")?.map(style).transpose()?;
        let theme = Self { logo: svg.or(png), style };
        if theme.logo.is_none() && theme.style.is_none() {
            let what = format!("{} has neither logo.svg, logo.png nor theme.toml", folder.display());
            return Err(Unusable(format!("{what}; put one of them there, or remove admin.theme")));
        }
        Ok(theme)
    }

    /// The path of the logo, if there is one.
    pub fn logo(&self) -> Option<&str> {
        self.logo.as_ref().map(|asset| asset.path.as_str())
    }

    /// The path of the style, if there are colours.
    pub fn style(&self) -> Option<&str> {
        self.style.as_ref().map(|asset| asset.path.as_str())
    }

    /// The file at `path`, if it is one of the theme's.
    pub fn file(&self, path: &str) -> Option<Response> {
        let asset = self.logo.iter().chain(&self.style).find(|asset| asset.path == path)?;
        let response = Response::new(StatusCode::OK, asset.content_type, asset.content.clone());
        let response = response.with(CACHE_CONTROL, "public, max-age=31536000, immutable");
        // An SVG may style itself, and do nothing else.
        Some(response.with(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"))
    }
}

/// The content of the file at `path`; `None` if there is none.
fn read(path: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, Unusable> {
    let unusable = |why: &dyn fmt::Display| {
        let remedy = "put a file there that the gateway can read";
        Unusable(format!("{} cannot be read: {why}; {remedy}", path.display()))
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let mut content = Vec::new();
    let file = open_regular(path).map_err(|error| unusable(&error))?;
    file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut content).map_err(|error| unusable(&error))?;
    if content.len() as u64 > FILE_OCTETS_MAX {
        return Err(unusable(&format_args!("it has more than {FILE_OCTETS_MAX} octets")));
    }
    Ok(Some((path.to_owned(), content)))
}

fn svg((path, content): (PathBuf, Vec<u8>)) -> Result<Asset, Unusable> {
    let is_svg = std::str::from_utf8(&content).is_ok_and(|text| {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        (text.starts_with("<svg") || text.starts_with("<?xml") || text.starts_with("<!"))
            && text.contains("<svg")
    });
    if !is_svg {
        return Err(Unusable(format!("{} is no SVG; put a picture of that kind there", path.display())));
    }
    Ok(Asset::new("logo", "svg", "image/svg+xml", content))
}

fn png((path, content): (PathBuf, Vec<u8>)) -> Result<Asset, Unusable> {
    if !content.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err(Unusable(format!("{} is no PNG; put a picture of that kind there", path.display())));
    }
    Ok(Asset::new("logo", "png", "image/png", content))
}

/// The style with the colours of `theme.toml`.
fn style((path, content): (PathBuf, Vec<u8>)) -> Result<Asset, Unusable> {
    let unusable = |why: String| Unusable(format!("{}: {why}", path.display()));
    let text =
        String::from_utf8(content).map_err(|_| unusable("it is no UTF-8 text; write it anew".to_owned()))?;
    let colours: Colours = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        unusable(format!("line {line}: {}; write accent and header in [light] and [dark]", error.message()))
    })?;
    let [in_light, in_dark] = GROUNDS;
    let light = colours.light.rules("light", in_light).map_err(unusable)?;
    let dark = colours.dark.rules("dark", in_dark).map_err(unusable)?;
    let css = format!("{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n");
    Ok(Asset::new("theme", "css", "text/css; charset=utf-8", css.into_bytes()))
}

impl Scheme {
    /// The rules of the scheme `name`, whose pages have these grounds.
    fn rules(&self, name: &str, grounds: [Colour; 2]) -> Result<String, String> {
        let colour = |key: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(|text| {
                Colour::parse(text).ok_or_else(|| {
                    format!("{name}.{key}: {text:?} is no colour; write one such as \"#1b5e59\"")
                })
            });
            parsed.transpose()
        };
        let mut rules = String::new();
        if let Some(accent) = colour("accent", &self.accent)? {
            let least = grounds.iter().map(|ground| accent.contrast(*ground)).fold(f64::INFINITY, f64::min);
            if least < CONTRAST_MIN {
                let remedy = if name == "dark" { "lighter" } else { "darker" };
                return Err(format!(
                    "{name}.accent: {accent} has a contrast of {least:.1} to the page, and needs {CONTRAST_MIN}; take a \
                     {remedy} colour"
                ));
            }
            rules += &format!(":root {{ --accent: {accent}; --accent-ink: {}; }}\n", accent.ink());
        }
        if let Some(header) = colour("header", &self.header)? {
            let ink = header.ink();
            rules += &format!(
                "header {{ --paper: {header}; --ink: {ink}; --soft: {ink}; --accent: {ink}; --accent-ink: {header}; \
                 --line: {ink}; color: {ink}; }}\n"
            );
        }
        Ok(rules)
    }
}

/// A colour: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour([u8; 3]);

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Colour {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let part = |from: usize| u8::from_str_radix(digits.get(from..from + 2)?, 16).ok();
        // A sign counts as a digit there.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self([part(0)?, part(2)?, part(4)?]))
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// WCAG 2.2, contrast ratio.
    fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The colour of writing on this one: of black and white one has a contrast of 4.58 at least.
    fn ink(self) -> Self {
        if self.contrast(WHITE) >= self.contrast(BLACK) { WHITE } else { BLACK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatepost-theme-{test}-{}", std::process::id()));
            _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a free path");
            Self(path)
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
            fs::write(self.0.join(name), content).expect("it can be written");
            self
        }

        fn told(&self) -> String {
            Theme::read(&self.0).expect_err("it is unusable").to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_office_has_its_logo_and_colours() {
        let folder = Folder::new("whole");
        folder.write(
            "logo.svg",
            "<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        );
        folder.write(
            "theme.toml",
            "[light]\naccent = '#7a1f3d'\nheader = '#FFCC00'\n[dark]\naccent = '#f0a0b8'\n",
        );
        let theme = Theme::read(&folder.0).expect("a theme");
        let (logo, style) = (theme.logo().expect("a logo"), theme.style().expect("colours"));
        assert!(logo.starts_with("/logo-") && logo.ends_with(".svg"), "{logo}");
        let response = theme.file(logo).expect("it is served");
        let policy = response.fields.get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
        assert_eq!(policy, Some("default-src 'none'; style-src 'unsafe-inline'; sandbox"), "no script runs");
        let css = String::from_utf8(theme.style.as_ref().expect("colours").content.clone()).expect("text");
        assert!(css.starts_with(":root { --accent: #7a1f3d; --accent-ink: #ffffff; }\nheader { --paper: #ffcc00; --ink: #000000;"), "{css}");
        assert!(css.contains("@media (prefers-color-scheme: dark) {\n:root { --accent: #f0a0b8; --accent-ink: #000000; }\n}"), "{css}");
        assert!(
            theme.file(style).is_some() && theme.file("/logo.svg").is_none() && theme.file("/").is_none()
        );
        folder.write("logo.svg", "<svg/>");
        assert_ne!(Theme::read(&folder.0).expect("a theme").logo(), Some(logo), "another logo, another path");
    }

    #[test]
    fn what_could_not_be_read_on_the_page_is_refused() {
        let folder = Folder::new("contrast");
        for (text, why) in [
            (
                "[light]\naccent = '#ffff00'",
                "theme.toml: light.accent: #ffff00 has a contrast of 1.0 to the page, and needs 4.5; take a darker",
            ),
            ("[dark]\naccent = '#1b5e59'", "to the page, and needs 4.5; take a lighter colour"),
            ("[light]\naccent = 'red'", "light.accent: \"red\" is no colour; write one such as"),
            ("[light]\naccent = '#+1+1+1'", "is no colour"),
            ("[light]\nheader = '#12345'", "light.header: \"#12345\" is no colour"),
            ("[light]\nheader = 'url(x)'", "is no colour"),
            ("\n[light]\nink = '#000000'", "theme.toml: line 3: unknown field `ink`"),
            ("light = 1", "line 1: "),
            ("[light", "line 1: "),
        ] {
            let told = folder.write("theme.toml", text).told();
            assert!(told.contains(why), "{told}");
        }
        assert!(folder.write("theme.toml", b"\xff").told().contains("is no UTF-8 text"));
    }

    #[test]
    fn what_is_no_picture_or_too_long_or_missing_is_refused() {
        let folder = Folder::new("pictures");
        assert!(folder.told().contains("has neither logo.svg, logo.png nor theme.toml; put one of them"));
        assert!(folder.write("logo.png", "GIF89a").told().contains("logo.png is no PNG"));
        folder.write("logo.png", b"\x89PNG\r\n\x1a\n...");
        let theme = Theme::read(&folder.0).expect("a theme");
        assert!(theme.logo().is_some_and(|logo| logo.ends_with(".png")) && theme.style().is_none());
        assert!(folder.write("logo.svg", "<html><script>").told().contains("logo.svg is no SVG"));
        let long = vec![b' '; usize::try_from(FILE_OCTETS_MAX).expect("short") + 1];
        assert!(folder.write("logo.svg", long).told().contains("has more than 131072 octets"));
        fs::remove_file(folder.0.join("logo.svg")).expect("it is there");
        fs::create_dir(folder.0.join("logo.svg")).expect("a directory");
        assert!(folder.told().contains("logo.svg cannot be read: "), "{}", folder.told());
    }

    #[test]
    fn writing_on_any_colour_can_be_read() {
        for red in (0..=255).step_by(15) {
            for green in (0..=255).step_by(15) {
                for blue in (0..=255).step_by(15) {
                    let colour = Colour([red, green, blue]);
                    assert!(colour.contrast(colour.ink()) >= CONTRAST_MIN, "{colour}");
                }
            }
        }
        assert!((WHITE.contrast(BLACK) - 21.0).abs() < 1e-9);
    }

    #[test]
    fn the_grounds_are_those_of_the_style() {
        let style = include_str!("style.css");
        let (light, dark) = style.split_once("@media (prefers-color-scheme: dark)").expect("both");
        for ([paper, ground], scheme) in GROUNDS.into_iter().zip([light, dark]) {
            assert!(
                scheme.contains(&format!("--paper: {paper};"))
                    && scheme.contains(&format!("--ground: {ground};"))
            );
        }
    }
}
