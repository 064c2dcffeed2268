//! The codes by which somebody proves to have been at the gateway's machine, and the session of the first run.
//!
//! | code | when there is one | what it allows |
//! | --- | --- | --- |
//! | of the first run | from a start without an owner who has a password, until there is one | the wizard |
//! | for a password | for [`RESET_TIME_MAX`] from its request, and until it is used | a new password of an owner |
//!
//! The first one is for stdout, the log, and whoever asks on the gateway's machine; the other one is for whoever has asked
//! there, and is made once there is an owner who has a password.
//!
//! So no log has a code that is of use once the office has an owner. Without an owner, a code is made at the start alone:
//! if the last owner goes while the gateway runs, the pages become nobody's.

use std::fmt;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::{Rng, RngExt};

use super::sessions::token;
use crate::crypto::{self, Sha256Digest};

/// How long a code for a password is valid.
pub const RESET_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// How long the session of the first run lasts; another one of the same code ends it, too.
pub const SETUP_TIME_MAX: Duration = Duration::from_secs(3600);

/// The symbols of codes. `O`, `I` and `L` are read as the digits that they look like.
const SYMBOLS: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M',
    'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];

/// The symbols of a code, of 5 bits each: nobody guesses it within the limits on logins.
const CODE_SYMBOLS: usize = 12;

/// The symbols between two dashes.
const GROUP_SYMBOLS: usize = 4;

/// The longest text that is read as a code, in octets.
const ENTERED_OCTETS_MAX: usize = 64;

/// A code. It prints for whoever may have it, and never as a part of something else.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    fn new(rng: &mut impl Rng) -> Self {
        let symbol = || SYMBOLS[rng.random_range(0..SYMBOLS.len())];
        Self(std::iter::repeat_with(symbol).take(CODE_SYMBOLS).collect())
    }

    /// Whether `entered` means this code: in any case, with any dashes and spaces.
    fn is(&self, entered: &str) -> bool {
        if entered.len() > ENTERED_OCTETS_MAX {
            return false;
        }
        let meant = entered.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let meant = meant.map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        });
        crypto::are_equal(meant.collect::<String>().as_bytes(), self.0.as_bytes())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, symbol) in self.0.chars().enumerate() {
            let dash = if at > 0 && at % GROUP_SYMBOLS == 0 { "-" } else { "" };
            write!(f, "{dash}{symbol}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// Whoever has entered the code of the first run.
#[derive(Clone, PartialEq, Eq)]
pub struct Installer {
    /// The number of the session: another one knows nothing of what was entered in it.
    pub session: u64,
    /// The token for the forms.
    pub form_token: String,
}

/// Hides the token.
impl fmt::Debug for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Installer({})", self.session)
    }
}

/// The codes and the session of the first run.
#[derive(Debug, Default)]
pub(super) struct Setup {
    /// Whether it is known that the gateway has started with an owner or without one.
    has_begun: bool,
    first: Option<Code>,
    reset: Option<(Code, Instant)>,
    session: Option<(Sha256Digest, Installer, Instant)>,
    sessions: u64,
}

impl Setup {
    /// Whether [`Setup::begin`] was called.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The gateway starts. `is_owned`: there is an owner who has a password.
    pub fn begin(&mut self, is_owned: bool, rng: &mut impl Rng) {
        self.has_begun = true;
        self.first = (!is_owned).then(|| Code::new(rng));
    }

    /// The code of the first run.
    pub fn first(&self) -> Option<&Code> {
        self.first.as_ref()
    }

    /// There is an owner: the first run is over.
    pub fn is_owned(&mut self) {
        (self.first, self.session) = (None, None);
    }

    /// Begins the session of the first run, in place of a former one, if `entered` is its code. Returns the browser's
    /// token for it.
    pub fn enter(&mut self, now: Instant, entered: &str, rng: &mut impl Rng) -> Option<String> {
        self.first.as_ref().filter(|code| code.is(entered))?;
        self.sessions += 1;
        let token = token(rng);
        let installer = Installer { session: self.sessions, form_token: self::token(rng) };
        self.session = Some((crypto::sha256(token.as_bytes()), installer, now + SETUP_TIME_MAX));
        Some(token)
    }

    /// Whoever has this token.
    pub fn installer(&self, now: Instant, token: &str) -> Option<&Installer> {
        let (digest, installer, until) = self.session.as_ref()?;
        (now < *until && crypto::are_equal(digest, &crypto::sha256(token.as_bytes()))).then_some(installer)
    }

    /// A new code for a password, in place of a former one.
    pub fn ask_reset(&mut self, now: Instant, rng: &mut impl Rng) -> Code {
        let code = Code::new(rng);
        self.reset = Some((code.clone(), now + RESET_TIME_MAX));
        code
    }

    /// Whether `entered` is the code for a password.
    pub fn is_reset(&self, now: Instant, entered: &str) -> bool {
        self.reset.as_ref().is_some_and(|(code, until)| now < *until && code.is(entered))
    }

    /// The code for a password was used.
    pub fn reset_is_used(&mut self) {
        self.reset = None;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    fn begun(is_owned: bool) -> (Setup, StdRng) {
        let (mut setup, mut rng) = (Setup::default(), StdRng::seed_from_u64(1));
        setup.begin(is_owned, &mut rng);
        (setup, rng)
    }

    #[test]
    fn a_code_is_read_as_people_type_it_and_printed_for_nobody_else() {
        let (setup, mut rng) = begun(false);
        let code = setup.first().expect("a code").clone();
        let told = code.to_string();
        assert!(told.len() == 14 && told.split('-').all(|group| group.len() == 4), "{told}");
        for entered in [told.clone(), told.to_lowercase(), told.replace('-', " "), format!(" {}\t", code.0)] {
            assert!(code.is(&entered), "{entered}");
        }
        assert!(Code("10ABCDEFGH01".to_owned()).is("loab-cdef-ghoi"));
        for wrong in
            ["", "-", &told[1..], &format!("{told}A"), &" ".repeat(100), &Code::new(&mut rng).to_string()]
        {
            assert!(!code.is(wrong), "{wrong}");
        }
        let printed = format!("{setup:?}");
        assert!(!printed.contains(&told) && !printed.contains(&code.0), "{printed}");
    }

    #[test]
    fn the_first_run_has_one_session_and_ends_with_the_first_owner() {
        let (mut setup, mut rng) = begun(false);
        let code = setup.first().expect("a code").to_string();
        assert_eq!(setup.enter(at(0), "0000-0000-0000", &mut rng), None);
        let former = setup.enter(at(0), &code, &mut rng).expect("it is right");
        let token = setup.enter(at(1), &code, &mut rng).expect("it is right");
        assert!(setup.installer(at(2), &former).is_none(), "another browser has it");
        let installer = setup.installer(at(2), &token).expect("the session").clone();
        assert!(installer.session == 2 && installer.form_token != token);
        assert!(!format!("{setup:?}").contains(&installer.form_token));
        assert!(setup.installer(at(SETUP_TIME_MAX.as_secs() + 1), &token).is_none());
        setup.is_owned();
        assert!(setup.first().is_none() && setup.installer(at(2), &token).is_none());
        assert_eq!(setup.enter(at(3), &code, &mut rng), None);
    }

    #[test]
    fn an_office_with_an_owner_has_only_codes_that_somebody_has_asked_for() {
        let (mut setup, mut rng) = begun(true);
        assert!(setup.first().is_none() && !setup.is_reset(at(0), ""));
        let former = setup.ask_reset(at(0), &mut rng).to_string();
        let code = setup.ask_reset(at(1), &mut rng).to_string();
        assert!(!setup.is_reset(at(1), &former) && setup.is_reset(at(1), &code));
        assert_eq!(setup.enter(at(1), &code, &mut rng), None, "it is for a password alone");
        assert!(!setup.is_reset(at(1 + RESET_TIME_MAX.as_secs()), &code));
        setup.reset_is_used();
        assert!(!setup.is_reset(at(2), &code));
    }
}
