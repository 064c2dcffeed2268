//! Return paths of mail that is sent on: the Sender Rewriting Scheme.
//!
//! The next server sees forwarded mail come from the office, which does not send for the sender's domain by SPF. So the
//! return path becomes an address of the office's domain that encodes the former one (SRS):
//!
//! ```text
//! anna@a.example         SRS0=hhhhhhhh=tt=a.example=anna@office.example
//! SRS0=h=t=a=anna@b.example    SRS1=hhhhhhhh=b.example==h=t=a=anna@office.example
//! ```
//!
//! `hhhhhhhh` is an HMAC under this office's key, without which the office would be an open relay by such addresses;
//! `tt` the day, in base 32. A bounce to such an address goes to the encoded one. The second form is for a return path
//! that another server has rewritten: bounces go to that server, which has the rest, so the address does not grow with
//! every server.
//!
//! Relays may change the case of a local part, so it is compared regardless of case.

use std::fmt;

use data_encoding::BASE32_NOPAD;

use super::address::{DOMAIN_OCTETS_MAX, Domain, LocalPart, Mailbox};
use crate::clock::UnixTime;
use crate::crypto::{are_equal, hmac_sha256};
use crate::store::KEY_OCTETS;

/// The days for which bounces are accepted.
pub const DAYS_MAX: u64 = 21;
/// The longest return path that is made, in octets: a path has 256 with its angle brackets. (RFC 5321, section
/// 4.5.3.1.3)
pub const ADDRESS_OCTETS_MAX: usize = 254;

/// The period of the encoded days.
const DAYS: u64 = 1 << 10;
/// Characters of the HMAC, of 5 bits each.
const HASH_CHARS: usize = 8;
const SECONDS_A_DAY: u64 = 24 * 60 * 60;
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The rewriting of return paths of forwarded mail.
#[derive(Clone)]
pub struct Srs {
    key: [u8; KEY_OCTETS],
}

/// Why an address is not one that was made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It was not made here, or has been changed.
    Forged,
    /// It was made too long ago.
    Expired,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forged => "this address was not made here",
            Self::Expired => "this address has expired",
        })
    }
}

impl std::error::Error for Unknown {}

/// Whether [`Srs::reverse`] applies to a local part at a local domain.
pub fn is_rewritten(local: &LocalPart) -> bool {
    split(local.as_str(), "SRS0=").or_else(|| split(local.as_str(), "SRS1=")).is_some()
}

impl Srs {
    /// By this key.
    pub fn new(key: [u8; KEY_OCTETS]) -> Self {
        Self { key }
    }

    /// The return path at the office's `domain` for a forwarded message of `sender`. `None` if it would be longer than
    /// [`ADDRESS_OCTETS_MAX`], or than a local part can be.
    pub fn forward(&self, sender: &Mailbox, domain: &str, now: UnixTime) -> Option<Mailbox> {
        let local = sender.local.as_str();
        // Made by a server that was not the first either: the first stays.
        let first = rest_of(local, "SRS1").and_then(|rest| after_hash(&rest[1..]));
        let rewritten = match (first, rest_of(local, "SRS0")) {
            (Some((first, rest)), _) => self.second(first, rest),
            (None, Some(rest)) => self.second(&sender.domain.to_string(), rest),
            (None, None) => {
                let day = day(now);
                let from = sender.domain.to_string();
                let hash = self.hash(&["0", &day, &from, local]);
                format!("SRS0={hash}={day}={from}={local}")
            }
        };
        let local = LocalPart::new(&rewritten)?;
        let mailbox = Mailbox { local, domain: Domain::Name(domain.to_lowercase()) };
        (mailbox.to_string().len() <= ADDRESS_OCTETS_MAX).then_some(mailbox)
    }

    /// A path of the second form, whose bounces go to `first`, which has `rest`.
    fn second(&self, first: &str, rest: &str) -> String {
        format!("SRS1={}={first}={rest}", self.hash(&["1", first, rest]))
    }

    /// The address to which a bounce to `local` goes.
    ///
    /// # Errors
    ///
    /// It is not one to be relied on.
    pub fn reverse(&self, local: &LocalPart, now: UnixTime) -> Result<Mailbox, Unknown> {
        let local = local.as_str();
        if let Some(rest) = split(local, "SRS1=") {
            let (hash, rest) = rest.split_once('=').ok_or(Unknown::Forged)?;
            let (first, rest) = rest.split_once('=').ok_or(Unknown::Forged)?;
            self.check(hash, &["1", first, rest])?;
            return mailbox(first, &format!("SRS0{rest}"));
        }
        let mut parts = split(local, "SRS0=").ok_or(Unknown::Forged)?.splitn(4, '=');
        let mut part = || parts.next().ok_or(Unknown::Forged);
        let (hash, day_of, domain, local) = (part()?, part()?, part()?, part()?);
        self.check(hash, &["0", day_of, domain, local])?;
        let age = (days(now) + DAYS - number(day_of).ok_or(Unknown::Forged)?) % DAYS;
        // One from tomorrow was made before the clock was set back.
        if age > DAYS_MAX && age != DAYS - 1 {
            return Err(Unknown::Expired);
        }
        mailbox(domain, local)
    }

    /// The address that `mailbox` encodes, if it is a return path that was made here; `is_ours` tests for the office's
    /// domains.
    pub fn original(
        &self,
        mailbox: &Mailbox,
        is_ours: impl Fn(&Domain) -> bool,
        now: UnixTime,
    ) -> Option<Mailbox> {
        if is_ours(&mailbox.domain) { self.reverse(&mailbox.local, now).ok() } else { None }
    }

    fn check(&self, hash: &str, parts: &[&str]) -> Result<(), Unknown> {
        let is_right = are_equal(hash.to_lowercase().as_bytes(), self.hash(parts).as_bytes());
        if is_right { Ok(()) } else { Err(Unknown::Forged) }
    }

    fn hash(&self, parts: &[&str]) -> String {
        // Only the last part can have a `=`, and case does not matter.
        let text = parts.join("=").to_lowercase();
        let mut hash = BASE32_NOPAD.encode(&hmac_sha256(&self.key, text.as_bytes())).to_lowercase();
        hash.truncate(HASH_CHARS);
        hash
    }
}

fn mailbox(domain: &str, local: &str) -> Result<Mailbox, Unknown> {
    let domain = Domain::parse(domain).map_err(|_| Unknown::Forged)?;
    Ok(Mailbox { local: LocalPart::new(local).ok_or(Unknown::Forged)?, domain })
}

/// The rest of `text` after the prefix `start`, in any case.
fn split<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// The rest after `start` and one of the separators that servers use, with the separator.
fn rest_of<'a>(local: &'a str, start: &str) -> Option<&'a str> {
    split(local, start).filter(|rest| rest.starts_with(['=', '+', '-']))
}

/// The name of the first server and the rest, after `SRS1=`.
fn after_hash(rest: &str) -> Option<(&str, &str)> {
    let (_, rest) = rest.split_once('=')?;
    let (first, rest) = rest.split_once('=')?;
    let is_right = !first.is_empty() && first.len() <= DOMAIN_OCTETS_MAX && rest.starts_with(['=', '+', '-']);
    is_right.then_some((first, rest))
}

fn days(now: UnixTime) -> u64 {
    now.0 / SECONDS_A_DAY % DAYS
}

/// The day in two digits.
fn day(now: UnixTime) -> String {
    let days = usize::try_from(days(now)).unwrap_or_default();
    [days / 32, days % 32].map(|digit| char::from(DIGITS[digit])).iter().collect()
}

fn number(text: &str) -> Option<u64> {
    let digit = |octet: u8| DIGITS.iter().position(|digit| *digit == octet.to_ascii_lowercase());
    let [high, low] = text.as_bytes() else { return None };
    u64::try_from(digit(*high)? * 32 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    const NOW: UnixTime = UnixTime(1_709_210_096);

    fn srs(key: u8) -> Srs {
        Srs::new([key; KEY_OCTETS])
    }

    fn anna() -> Mailbox {
        Mailbox::parse("anna@a.example").unwrap()
    }

    fn later(days: u64) -> UnixTime {
        UnixTime(NOW.0 + days * SECONDS_A_DAY)
    }

    fn forward(sender: &str) -> Mailbox {
        let sender = Mailbox::parse(sender).unwrap();
        srs(1).forward(&sender, "Office.example", NOW).unwrap()
    }

    fn reverse(local: &str) -> Result<String, Unknown> {
        srs(1).reverse(&LocalPart::new(local).unwrap(), NOW).map(|mailbox| mailbox.to_string())
    }

    #[test]
    fn a_report_finds_its_way_back_whatever_is_in_the_address_and_in_any_case() {
        for sender in [
            "anna@a.example",
            "a=b=c@a.example",
            "a+b-c.d@a.example",
            "\"a b@c\"@a.example",
            "jürgen@bücher.example",
            "anna@[192.0.2.1]",
            "anna@[IPv6:2001:db8::1]",
            "srs2=x@a.example",
        ] {
            let rewritten = forward(sender);
            let text = rewritten.to_string();
            assert!(text.starts_with(['S', '"']) && text.ends_with("@office.example"), "{text}");
            assert_eq!(Mailbox::parse(&text).as_ref(), Ok(&rewritten), "it is an address");
            assert!(is_rewritten(&rewritten.local));
            assert_eq!(reverse(rewritten.local.as_str()).as_deref(), Ok(sender));
        }
        let local = forward("anna@a.example").local.as_str().to_owned();
        assert_eq!(local.len(), "SRS0=hhhhhhhh=tt=a.example=anna".len());
        for changed in [local.to_lowercase(), local.to_uppercase()] {
            let found = reverse(&changed).unwrap();
            assert!(found.eq_ignore_ascii_case("anna@a.example"), "{found}");
        }
    }

    #[test]
    fn what_another_server_has_rewritten_goes_back_to_that_server() {
        for (sender, back) in [
            ("SRS0=hash=tt=a.example=anna@b.example", "SRS0=hash=tt=a.example=anna@b.example"),
            ("srs0+hash=tt=a.example=anna@b.example", "SRS0+hash=tt=a.example=anna@b.example"),
            ("SRS0-ha=tt=a.example=anna@b.example", "SRS0-ha=tt=a.example=anna@b.example"),
            ("SRS1=xx=b.example==ha=tt=a.example=anna@c.example", "SRS0=ha=tt=a.example=anna@b.example"),
            ("SRS1+xx=b.example=+ha=tt=a.example=anna@c.example", "SRS0+ha=tt=a.example=anna@b.example"),
        ] {
            let rewritten = forward(sender);
            let local = rewritten.local.as_str();
            assert!(local.starts_with("SRS1=") && local.contains("=b.example="), "{local}");
            assert_eq!(reverse(local).as_deref(), Ok(back));
        }
        // One that no server could parse stays as it is.
        let local = forward("SRS1=x@c.example").local;
        assert_eq!(reverse(local.as_str()).as_deref(), Ok("SRS1=x@c.example"));
    }

    #[test]
    fn what_is_forged_or_too_old_is_told_apart() {
        let local = forward("anna@a.example").local;
        let at = |days| srs(1).reverse(&local, later(days));
        assert_eq!((at(0).as_ref(), at(DAYS_MAX).is_ok()), (Ok(&anna()), true));
        for days in [DAYS_MAX + 1, 100, 512, DAYS - 2] {
            assert_eq!(at(days), Err(Unknown::Expired), "{days}");
        }
        assert!(srs(1).reverse(&local, UnixTime(NOW.0 - SECONDS_A_DAY)).is_ok(), "the clock was set back");
        assert_eq!(srs(2).reverse(&local, NOW), Err(Unknown::Forged));
        let text = local.as_str();
        for forged in [
            text.replace("anna", "bert"),
            text.replace("a.example", "b.example"),
            text.replacen("SRS0=", "SRS1=", 1),
            format!("{text}x"),
            text[..text.len() - 1].to_owned(),
            "SRS0=".to_owned(),
            "SRS0====".to_owned(),
            "SRS1=".to_owned(),
            "SRS1=x=y".to_owned(),
            "SRS0=aaaaaaaa=aa=b.example=c".to_owned(),
        ] {
            assert_eq!(reverse(&forged), Err(Unknown::Forged), "{forged}");
        }
        let day = text.split('=').nth(2).unwrap();
        assert_eq!(reverse(&text.replace(&format!("={day}="), "=zz=")), Err(Unknown::Forged));
    }

    #[test]
    fn what_would_be_too_long_is_not_made() {
        let made = |len: usize| {
            let sender = Mailbox::parse(&format!("{}@a.example", "x".repeat(len))).unwrap();
            srs(1).forward(&sender, "office.example", NOW)
        };
        let longest = ADDRESS_OCTETS_MAX - "SRS0=hhhhhhhh=tt=a.example=@office.example".len();
        assert_eq!(made(longest).unwrap().to_string().len(), ADDRESS_OCTETS_MAX);
        assert_eq!((made(longest + 1), made(255)), (None, None));
    }

    #[test]
    fn only_what_was_made_here_looks_so() {
        for (local, is_it) in
            [("SRS0=x", true), ("srs1=x", true), ("SRS0+x", false), ("SRS0", false), ("a", false)]
        {
            assert_eq!(is_rewritten(&LocalPart::new(local).unwrap()), is_it, "{local}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(512)))]

        /// A bounce reaches the sender with any address, through a second server too.
        #[test]
        fn a_report_comes_back(local in "[a-zA-Z0-9=+.@ \"\\\\ü-]{1,60}", day in 0_u64..3000, age in 0..=DAYS_MAX) {
            let local = LocalPart::new(&local).unwrap();
            let sender = Mailbox { local, domain: Domain::Name("a.example".to_owned()) };
            let then = UnixTime(day * SECONDS_A_DAY);
            let now = UnixTime((day + age) * SECONDS_A_DAY);
            let first = srs(1).forward(&sender, "b.example", then).unwrap();
            let second = srs(2).forward(&first, "c.example", then).unwrap();
            let third = srs(3).forward(&second, "d.example", then).unwrap();
            prop_assert_eq!(&srs(3).reverse(&third.local, now).unwrap().to_string(), &first.to_string());
            prop_assert_eq!(&srs(2).reverse(&second.local, now).unwrap(), &first);
            let back = srs(1).reverse(&first.local, now).unwrap();
            if rest_of(sender.local.as_str(), "SRS0").is_none() && rest_of(sender.local.as_str(), "SRS1").is_none() {
                prop_assert_eq!(back, sender);
            }
        }

        /// An address with a character changed, but for its case, leads nowhere.
        #[test]
        fn a_change_is_noticed(at in any::<prop::sample::Index>(), c in "[a-z0-9=.]") {
            let text = forward("anna@a.example").local.as_str().to_owned();
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &c);
            prop_assume!(!changed.eq_ignore_ascii_case(&text));
            prop_assert_eq!(reverse(&changed), Err(Unknown::Forged));
        }

        /// Any address is read.
        #[test]
        fn anything_is_read(local in "(SRS[01]=)?[a-z2-7=.]{0,40}") {
            let _ = reverse(&local);
        }
    }
}
