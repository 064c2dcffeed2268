//! A password's canonical form and strength.

use std::fmt;

/// The longest password, in octets. It is more than people type, and bounds a check's cost.
pub const OCTETS_MAX: usize = 1024;
/// The shortest password, in characters.
pub const CHARS_MIN: usize = 10;
/// The least number of characters besides easily guessed parts.
const UNKNOWN_CHARS_MIN: usize = 6;
/// The least number of distinct characters.
const DIFFERENT_CHARS_MIN: usize = 5;
/// The least length at which a part of a name is recognised.
const NAME_CHARS_MIN: usize = 3;

/// A password in canonical form, the same from all clients. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared(String);

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared(..)")
    }
}

/// Why a password is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is empty.
    Empty,
    /// It has more than [`OCTETS_MAX`] octets.
    TooLong,
    /// It has a prohibited character, such as a control character.
    Character,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it has more than {OCTETS_MAX} octets"),
            Self::Character => {
                f.write_str("it has a control character, or another that cannot be in a password")
            }
        }
    }
}

impl std::error::Error for Malformed {}

impl Prepared {
    /// Prepares `password` by SASLprep. (RFC 4013, and RFC 5802, section 2.2)
    ///
    /// # Errors
    ///
    /// The password is malformed.
    pub fn new(password: &str) -> Result<Self, Malformed> {
        if password.len() > OCTETS_MAX {
            return Err(Malformed::TooLong);
        }
        let prepared = stringprep::saslprep(password).map_err(|_| Malformed::Character)?;
        if prepared.is_empty() { Err(Malformed::Empty) } else { Ok(Self(prepared.into_owned())) }
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The weakness of the password for a guesser who knows `names`: those of the user, the gateway and the office.
    pub fn weakness(&self, names: &[&str]) -> Option<Weakness> {
        if self.0.chars().count() < CHARS_MIN {
            return Some(Weakness::Short);
        }
        let different: std::collections::BTreeSet<_> = self.0.chars().collect();
        if different.len() < DIFFERENT_CHARS_MIN {
            return Some(Weakness::FewCharacters);
        }
        let plain = plain(&self.0);
        let (mut unknown, mut has_name) = (plain.clone(), false);
        for name in names.iter().flat_map(|name| name.split(|c: char| !c.is_alphanumeric())) {
            let name = self::plain(name);
            if name.chars().count() >= NAME_CHARS_MIN && unknown.contains(&name) {
                has_name = true;
                unknown = unknown.replace(&name, "");
            }
        }
        if has_name && unknown.chars().count() < UNKNOWN_CHARS_MIN {
            return Some(Weakness::Name);
        }
        for word in COMMON {
            unknown = unknown.replace(word, "");
        }
        // Years and numbers after a word are guessed along with it.
        let has_word = unknown.len() < plain.len();
        let rest = if has_word { unknown.trim_matches(|c: char| !c.is_alphabetic()) } else { &unknown };
        if has_word && rest.chars().count() < UNKNOWN_CHARS_MIN {
            return Some(Weakness::Common);
        }
        (without_rows(&unknown) < UNKNOWN_CHARS_MIN).then_some(Weakness::Row)
    }
}

/// Why a password is easily guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// It has less than [`CHARS_MIN`] characters.
    Short,
    /// It has few distinct characters.
    FewCharacters,
    /// It is little more than the user's name, or the office's.
    Name,
    /// It is little more than common passwords.
    Common,
    /// It is little more than a row of the keyboard, the alphabet or the digits, or a repeated part.
    Row,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "it has less than {CHARS_MIN} characters"),
            Self::FewCharacters => write!(f, "it has less than {DIFFERENT_CHARS_MIN} different characters"),
            Self::Name => f.write_str("it is little more than a name of the user or of the office"),
            Self::Common => f.write_str("it is little more than words that everybody tries first"),
            Self::Row => f.write_str("it is little more than a row of keys or digits, or repeats a part"),
        }
    }
}

/// Default passwords and the most common ones, in the form of [`plain`]. The list is short by intention: a password of
/// [`CHARS_MIN`] characters in the lists of guessers is mostly one of these with a suffix.
const COMMON: [&str; 40] = [
    "administrator",
    "administration",
    "kennwort",
    "passphrase",
    "password",
    "passwort",
    "passwd",
    "changeme",
    "change",
    "letmein",
    "willkommen",
    "welcome",
    "iloveyou",
    "trustno",
    "superman",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "default",
    "monkey",
    "dragon",
    "master",
    "shadow",
    "secret",
    "geheim",
    "hallo",
    "hello",
    "summer",
    "sommer",
    "winter",
    "spring",
    "autumn",
    "office",
    "admin",
    "guest",
    "login",
    "root",
    "user",
    "test",
];

/// Rows of keys, letters and digits.
const ROWS: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
];

/// `text` in lower case, with letters in place of the digits and signs that substitute them.
fn plain(text: &str) -> String {
    let letter = |c: char| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    };
    // Digits that are not among letters stay, so that rows and years are recognised.
    let lower: Vec<char> = text.to_lowercase().chars().collect();
    let is_letter = |at: Option<usize>| at.and_then(|at| lower.get(at)).is_some_and(|c| c.is_alphabetic());
    let at = |at: usize| {
        let is_inside = is_letter(at.checked_sub(1)) || at == 0;
        let is_before_letter = is_letter(at.checked_add(1));
        let c = lower[at];
        if is_inside && is_before_letter || c == '@' || c == '$' { letter(c) } else { c }
    };
    (0..lower.len()).map(at).collect()
}

/// The number of characters of `text` that neither continue a row nor repeat a part.
fn without_rows(text: &str) -> usize {
    let chars: Vec<char> = text.chars().collect();
    let follows = |at: usize| {
        let Some(before) = at.checked_sub(1) else { return false };
        let (a, b) = (chars[before], chars[at]);
        let pair = [[a, b], [b, a]].map(|pair| pair.iter().collect::<String>());
        a == b || ROWS.iter().any(|row| pair.iter().any(|pair| row.contains(pair.as_str())))
    };
    let repeats = |at: usize| {
        let mut periods = 1..=at.min(chars.len() / 2);
        periods.any(|period| (at..chars.len()).all(|later| chars[later] == chars[later - period]))
    };
    (0..chars.len()).filter(|at| !follows(*at) && !repeats(*at)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weakness(password: &str) -> Option<Weakness> {
        let names = ["anna", "Anna Lindqvist-Weber", "gatepost", "office.example"];
        Prepared::new(password).unwrap().weakness(&names)
    }

    #[test]
    fn weak_ones_are_refused_with_the_reason() {
        for (password, expected) in [
            ("", Weakness::Short),
            ("x7$kQ!m2w", Weakness::Short),
            ("aaaaaaaaaaaaaa", Weakness::FewCharacters),
            ("1212121212", Weakness::FewCharacters),
            ("anna-lindqvist", Weakness::Name),
            ("Lindqvist2026", Weakness::Name),
            ("annaanna2026", Weakness::Name),
            ("gatepost1234", Weakness::Name),
            ("password2026!", Weakness::Common),
            ("P@ssw0rd2026", Weakness::Common),
            ("Passw0rd!Passw0rd!", Weakness::Common),
            ("Welcome12345", Weakness::Common),
            ("adminadmin12", Weakness::Common),
            ("changeme!!", Weakness::Common),
            ("Sommer-2026!", Weakness::Common),
            ("1234567890", Weakness::Row),
            ("qwertyuiop", Weakness::Row),
            ("qwertzuiop12345", Weakness::Row),
            ("abcdefghijkl", Weakness::Row),
            ("0987654321", Weakness::Row),
            ("x7$kQx7$kQx7$kQ", Weakness::Row),
        ] {
            if password.is_empty() {
                assert_eq!(Prepared::new(password), Err(Malformed::Empty));
            } else {
                assert_eq!(weakness(password), Some(expected), "{password}");
            }
        }
    }

    #[test]
    fn others_are_taken() {
        for password in [
            "blue harbour 47",
            "correct horse battery staple",
            "x7$kQ!m2wZ",
            "annas Hund frisst Schuhe",
            "die Käse-Glocke",
            "9471 0283 5566 1",
            "пароль от сейфа",
            "f3f9a0b1c2d4",
        ] {
            assert_eq!(weakness(password), None, "{password}");
        }
    }

    /// RFC 4013, section 3: Equivalent strings are equal, and prohibited characters are rejected.
    #[test]
    fn rfc4013_3_what_looks_the_same_is_the_same_and_prohibited_characters_are_refused() {
        let octets = |text: &str| Prepared::new(text).map(|prepared| prepared.0);
        assert_eq!(octets("I\u{ad}X"), Ok("IX".to_owned()));
        assert_eq!(octets("user"), Ok("user".to_owned()));
        assert_eq!(octets("USER"), Ok("USER".to_owned()));
        assert_eq!(octets("\u{aa}"), Ok("a".to_owned()));
        assert_eq!(octets("\u{2168}"), Ok("IX".to_owned()));
        assert_eq!(octets("a\u{a0}b"), Ok("a b".to_owned()));
        for wrong in ["\u{7}", "a\0b", "tab\t", "line\n", "\u{627}\u{31}"] {
            assert_eq!(octets(wrong), Err(Malformed::Character), "{wrong:?}");
        }
        assert_eq!(octets("\u{ad}"), Err(Malformed::Empty));
        assert_eq!(octets(&"x".repeat(OCTETS_MAX + 1)), Err(Malformed::TooLong));
        assert!(octets(&"x".repeat(OCTETS_MAX)).is_ok());
        assert_eq!(format!("{:?}", Prepared::new("secret")), "Ok(Prepared(..))");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn nothing_that_can_be_typed_breaks_it(password in any::<String>(), name in any::<String>()) {
            if let Ok(prepared) = Prepared::new(&password) {
                _ = prepared.weakness(&[&name, &password]);
                prop_assert!(!prepared.octets().contains(&0));
            }
        }
    }
}
