//! What the administration tells to whom.
//!
//! A model of the sessions from what browsers ask and are told: a session begins with a cookie that answers a right
//! password, and ends by its own sign-out, by a login in its place, by a form of somebody who may end it, and with the
//! gateway's process. What was asked for under way counts as either.

use std::collections::{BTreeMap, VecDeque};

use gatepost::config::Config;
use gatepost_services::admin::{AUTHORITY, OWN, SESSIONS, SESSIONS_OF_USER_MAX, SIGN_IN};
use ipnet::Ipv4Net;

use super::{Checker, Passage, Snapshot};
use crate::machine::browser::page::{Answer, Listed, Page};
use crate::machine::browser::sight::{Account, Aim, Ask, Seen, SharedSight};

/// The most sessions that have ended and are still known.
const ENDED_MAX: usize = 256;

/// The checker.
pub struct PagesTold {
    sight: SharedSight,
    /// By their cookies.
    sessions: BTreeMap<String, Session>,
    /// The cookies of sessions that have ended, the latest last.
    ended: VecDeque<String>,
    /// By the browsers' names.
    asks: BTreeMap<String, Asked>,
    /// The LAN's addresses of which one is in force.
    lan: Vec<Ipv4Net>,
    boots: u64,
    /// The LAN's address that a page has kept last, and those that may be final since; `None`: nobody has kept any.
    kept: Option<Vec<Ipv4Net>>,
    /// Whether the gateway starts, and what is wrong with its start.
    starts: bool,
    fault: Option<String>,
}

#[derive(Clone, Debug)]
struct Session {
    account: Account,
    state: State,
    /// Its number, once a page has told it.
    number: Option<u64>,
}

/// Whether a session is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// It may have ended.
    Unknown,
    Ended,
}

/// A request without an answer yet.
struct Asked {
    ask: Ask,
    /// The state of its session then; `None` if no session has its cookie.
    state: Option<State>,
    /// The addresses that have been in force since, for some time.
    lan: Vec<Ipv4Net>,
    boots: u64,
}

/// Whether the user `by` may end `session`.
fn may_end(by: Option<Account>, session: &Session) -> bool {
    by.is_some_and(|by| by.role == "owner" || by.user == session.account.user)
}

impl PagesTold {
    /// The checker of what is in `sight`, of a gateway with that configuration.
    pub fn new(config: &Config, sight: SharedSight) -> Self {
        Self {
            sight,
            sessions: BTreeMap::new(),
            ended: VecDeque::new(),
            asks: BTreeMap::new(),
            lan: vec![config.lan.address],
            boots: 0,
            kept: None,
            starts: false,
            fault: None,
        }
    }

    /// Takes what was seen since the last call.
    fn catch_up(&mut self) -> Result<(), String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        loop {
            let Some((browser, seen)) = self.sight.borrow_mut().pop_front() else { return Ok(()) };
            match seen {
                Seen::Asks(ask) => self.asks(browser, ask),
                Seen::Told(answer) => {
                    let Some(asked) = self.asks.remove(&browser) else { continue };
                    self.told(&asked, &answer)
                        .map_err(|what| format!("{browser}, {:?}: {what}", asked.ask))?;
                }
                // What it asked for may have been done.
                Seen::Lost => _ = self.asks.remove(&browser),
                Seen::Disbelieves(why) => {
                    return Err(format!("{browser} does not believe the gateway: {why}"));
                }
            }
        }
    }

    fn asks(&mut self, browser: String, ask: Ask) {
        let state = ask.cookie.as_ref().and_then(|cookie| self.state(cookie));
        let session = ask.cookie.clone().filter(|_| matches!(ask.aim, Aim::SignsOut | Aim::SignsIn(_, true)));
        if let Some(session) = session.and_then(|cookie| self.sessions.get_mut(&cookie)) {
            session.state = State::Unknown;
        }
        if let Aim::Ends(number) = ask.aim {
            let by = self.account_of(&ask);
            for session in self.sessions.values_mut() {
                if session.number.is_none_or(|known| known == number) && may_end(by, session) {
                    session.state = State::Unknown;
                }
            }
        }
        if let (Aim::Keeps(lan), Some(kept)) = (ask.aim, &mut self.kept) {
            kept.push(lan);
        }
        let asked = Asked { ask, state, lan: self.lan.clone(), boots: self.boots };
        self.asks.insert(browser, asked);
    }

    fn told(&mut self, asked: &Asked, answer: &Answer) -> Result<(), String> {
        let Asked { ask, state, .. } = asked;
        if let Some(cookie) = answer.cookie.as_ref().filter(|cookie| !cookie.is_empty()) {
            return self.begun(asked, cookie, answer.status);
        }
        if let (Aim::SignsOut, Some("")) = (ask.aim, answer.cookie.as_deref()) {
            self.end(ask.cookie.as_deref().unwrap_or_default());
            return Ok(());
        }
        let is_for_all = ask.path == SIGN_IN || ask.path == AUTHORITY;
        let is_told = answer.status == 200 && !is_for_all;
        if is_told && ask.aim == Aim::ReadsInClear {
            return Err("a page in clear".to_owned());
        }
        if is_told && !matches!(state, Some(State::Alive | State::Unknown)) {
            return Err(format!("a page to somebody who is not signed in ({state:?})"));
        }
        let is_now = ask.cookie.as_ref().and_then(|cookie| self.state(cookie));
        let is_alive = (*state, is_now, asked.boots) == (Some(State::Alive), Some(State::Alive), self.boots);
        let is_sent_away = answer.status == 303 && answer.location.as_deref() == Some(SIGN_IN);
        if is_alive && is_sent_away && matches!(ask.aim, Aim::Reads) {
            return Err("somebody who is signed in is sent away".to_owned());
        }
        if matches!(ask.aim, Aim::Forges | Aim::Meddles) && answer.status != 403 && !is_sent_away {
            return Err(format!("a form that must do nothing is answered by {}", answer.status));
        }
        if let (Aim::Ends(number), 303, Some(SESSIONS)) = (ask.aim, answer.status, answer.location.as_deref())
        {
            let by = self.account_of(ask);
            let is_ended = |(_, it): &(&String, &Session)| it.number == Some(number) && may_end(by, it);
            let ended = self.sessions.iter().find(is_ended).map(|(cookie, _)| cookie.clone());
            ended.iter().for_each(|cookie| self.end(cookie));
        }
        if let (Aim::Keeps(lan), 303, false) = (ask.aim, answer.status, is_sent_away) {
            self.kept = Some(vec![lan]);
        }
        if !is_told {
            return Ok(());
        }
        // What was asked for has not ended it.
        if self
            .asks
            .values()
            .all(|other| matches!(other.ask.aim, Aim::Reads | Aim::ReadsInClear | Aim::Forges | Aim::Meddles))
            && let Some(session) = ask.cookie.as_ref().and_then(|cookie| self.sessions.get_mut(cookie))
        {
            session.state = State::Alive;
        }
        self.page(asked, &answer.page)
    }

    /// A session has begun.
    fn begun(&mut self, asked: &Asked, cookie: &str, status: u16) -> Result<(), String> {
        let Aim::SignsIn(account, is_right) = asked.ask.aim else {
            return Err(format!("a session without a login ({status})"));
        };
        if !is_right {
            return Err("a session by a wrong password".to_owned());
        }
        if self.state(cookie).is_some() {
            return Err("a session with the cookie of another one".to_owned());
        }
        if let Some(former) = &asked.ask.cookie {
            self.end(former);
        }
        let is_of_user = |session: &&mut Session| session.account.user == account.user;
        let mut others: Vec<_> = self.sessions.values_mut().filter(is_of_user).collect();
        if others.len() >= SESSIONS_OF_USER_MAX {
            // One of them has ended for it.
            others.iter_mut().for_each(|session| session.state = State::Unknown);
        }
        // Of a gateway that has booted since, the login is of the process before, or has waited for the new one.
        let state = if asked.boots == self.boots { State::Alive } else { State::Unknown };
        self.sessions.insert(cookie.to_owned(), Session { account, state, number: None });
        Ok(())
    }

    /// A page that somebody who is signed in was told.
    fn page(&mut self, asked: &Asked, page: &Page) -> Result<(), String> {
        let account = self.account_of(&asked.ask);
        let visitor = page.visitor().ok_or("a page without its visitor's name")?;
        if account.is_some_and(|account| (account.user, account.role) != visitor) {
            return Err(format!("a page for {visitor:?}"));
        }
        if visitor.1 == "user" && asked.ask.path != OWN {
            return Err(format!("{} is told another page than the own one", visitor.0));
        }
        if visitor.1 == "user" && page.lan().is_some() {
            return Err(format!("{} is told of the gateway", visitor.0));
        }
        for Listed { number, user, is_own } in page.sessions() {
            if visitor.1 != "owner" && user != visitor.0 {
                return Err(format!("{} is shown a session of {user}", visitor.0));
            }
            let own = asked.ask.cookie.as_ref().filter(|_| is_own);
            if let Some(session) = own.and_then(|cookie| self.sessions.get_mut(cookie)) {
                session.number = Some(number);
            }
        }
        if let Some(lan) = page.lan() {
            let possible = lan.parse::<Ipv4Net>().is_ok_and(|lan| asked.lan.contains(&lan));
            if !possible {
                return Err(format!("the page has {lan} for the LAN, and it can be {:?}", asked.lan));
            }
        }
        Ok(())
    }

    fn account_of(&self, ask: &Ask) -> Option<Account> {
        self.sessions.get(ask.cookie.as_ref()?).map(|session| session.account)
    }

    fn state(&self, cookie: &str) -> Option<State> {
        let known = self.sessions.get(cookie).map(|session| session.state);
        known.or_else(|| self.ended.iter().any(|ended| ended == cookie).then_some(State::Ended))
    }

    fn end(&mut self, cookie: &str) {
        self.sessions.remove(cookie);
        self.ended.push_back(cookie.to_owned());
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }
}

impl Checker for PagesTold {
    fn name(&self) -> &'static str {
        "pages-told"
    }

    fn promise(&self) -> &'static str {
        "a page is told only to who is signed in and may see it, says what is in force, and what it keeps stays"
    }

    fn on_boot(&mut self) {
        self.boots += 1;
        self.starts = true;
        let cookies: Vec<_> = self.sessions.keys().cloned().collect();
        cookies.iter().for_each(|cookie| self.end(cookie));
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.push(config.lan.address);
        self.asks.values_mut().for_each(|asked| asked.lan.push(config.lan.address));
    }

    fn on_configure(&mut self, config: &Config) {
        let is_started = std::mem::take(&mut self.starts);
        if let Some(kept) = self.kept.as_ref().filter(|_| is_started)
            && !kept.contains(&config.lan.address)
        {
            self.fault = Some(format!("it starts with {}, and a page has kept {kept:?}", config.lan.address));
        }
        self.lan = vec![config.lan.address];
        self.asks.values_mut().for_each(|asked| asked.lan.push(config.lan.address));
    }

    fn on_passage(&mut self, _: &Passage<'_>) -> Result<(), String> {
        self.catch_up()
    }

    fn on_snapshot(&mut self, _: &Snapshot) -> Result<(), String> {
        self.catch_up()
    }

    fn on_end(&mut self) -> Result<(), String> {
        self.catch_up()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::checkers::testing::config;

    const OLGA: Account = Account { user: "olga", role: "owner" };
    const VERA: Account = Account { user: "vera", role: "viewer" };
    const UTE: Account = Account { user: "ute", role: "user" };

    /// A checker, and what its one browser sees.
    struct Lab {
        checker: PagesTold,
        sight: SharedSight,
    }

    impl Lab {
        fn new() -> Self {
            let sight = SharedSight::default();
            Self { checker: PagesTold::new(&config(), Rc::clone(&sight)), sight }
        }

        fn see(&mut self, seen: Seen) -> Result<(), String> {
            self.sight.borrow_mut().push_back(("browser-0".to_owned(), seen));
            self.checker.catch_up()
        }

        fn ask(&mut self, path: &str, cookie: Option<&str>, aim: Aim) {
            let cookie = cookie.map(str::to_owned);
            self.see(Seen::Asks(Ask { path: path.to_owned(), cookie, aim }))
                .expect("a question is no answer");
        }

        /// What is said of an answer with a status, a place that it leads to, a cookie, and a page.
        fn told(
            &mut self,
            status: u16,
            location: &str,
            cookie: Option<&str>,
            page: &str,
        ) -> Result<(), String> {
            let location = Some(location.to_owned()).filter(|location| !location.is_empty());
            let cookie = cookie.map(str::to_owned);
            self.see(Seen::Told(Answer { status, location, cookie, page: Page::new(page) }))
        }

        fn sign_in(&mut self, account: Account, is_right: bool, cookie: &str) -> Result<(), String> {
            self.ask(SIGN_IN, None, Aim::SignsIn(account, is_right));
            self.told(303, "/", Some(cookie), "")
        }

        /// What is said of the page `text` for that cookie.
        fn reads(&mut self, cookie: Option<&str>, text: &str) -> Result<(), String> {
            self.ask("/", cookie, Aim::Reads);
            self.told(200, "", None, text)
        }

        /// Signs out, and is sent to the form.
        fn sign_out(&mut self, cookie: &str) {
            self.ask("/sign-out", Some(cookie), Aim::SignsOut);
            self.told(303, SIGN_IN, Some(""), "").expect("it may");
        }
    }

    /// A page for a user, with the LAN's address.
    fn page(who: &str, lan: &str) -> String {
        format!(
            "<form class=\"account\"><a href=\"/me\">{who}</a></form><h2>Office network</h2><dd>{lan}</dd>"
        )
    }

    fn of_olga() -> String {
        page("olga, owner", "192.168.1.1/24")
    }

    #[test]
    fn a_page_is_told_within_a_session_and_not_after_it() {
        let mut lab = Lab::new();
        assert!(lab.reads(None, &of_olga()).is_err() && lab.reads(Some("none"), &of_olga()).is_err());
        lab.sign_in(OLGA, true, "a").expect("it may");
        lab.reads(Some("a"), &of_olga()).expect("it may");
        assert!(lab.reads(Some("a"), &page("vera, viewer", "192.168.1.1/24")).is_err());
        assert!(lab.reads(Some("a"), "").is_err(), "a page for nobody");
        lab.ask("/", None, Aim::ReadsInClear);
        assert!(lab.told(200, "", None, &of_olga()).is_err());
        lab.sign_out("a");
        assert!(lab.reads(Some("a"), &of_olga()).is_err(), "it has ended");
        lab.sign_in(OLGA, true, "b").expect("it may");
        lab.checker.on_boot();
        assert!(lab.reads(Some("b"), &of_olga()).is_err(), "it has ended with the process");
        lab.ask(SIGN_IN, None, Aim::SignsIn(OLGA, true));
        lab.checker.on_boot();
        lab.told(303, "/", Some("c"), "").expect("the login has waited for the new process");
        lab.reads(Some("c"), &of_olga()).expect("it may");
    }

    #[test]
    fn a_session_begins_by_a_right_password_and_ends_the_former() {
        let mut lab = Lab::new();
        assert!(lab.sign_in(OLGA, false, "a").is_err() && lab.sign_in(UTE, false, "b").is_err());
        lab.sign_in(OLGA, true, "c").expect("it may");
        assert!(lab.sign_in(VERA, true, "c").is_err(), "the cookie of another session");
        lab.ask(SIGN_IN, Some("c"), Aim::SignsIn(VERA, true));
        lab.told(303, "/", Some("d"), "").expect("it may");
        assert!(lab.reads(Some("c"), &of_olga()).is_err());
        lab.ask("/", Some("d"), Aim::Reads);
        assert!(lab.told(303, SIGN_IN, None, "").is_err(), "it is alive");
    }

    #[test]
    fn a_user_is_told_the_own_page_alone() {
        let of_ute = "<form class=\"account\"><a href=\"/me\">ute, user</a></form>";
        let mut lab = Lab::new();
        lab.sign_in(UTE, true, "a").expect("she may");
        lab.ask(OWN, Some("a"), Aim::Reads);
        lab.told(200, "", None, of_ute).expect("it is hers");
        lab.ask("/", Some("a"), Aim::Reads);
        lab.told(303, OWN, None, "").expect("it leads to hers");
        assert!(lab.reads(Some("a"), of_ute).is_err(), "another page");
        lab.ask(OWN, Some("a"), Aim::Reads);
        assert!(lab.told(200, "", None, &page("ute, user", "192.168.1.1/24")).is_err(), "of the gateway");
        lab.ask("/changes", Some("a"), Aim::Meddles);
        assert!(lab.told(303, "/changes", None, "").is_err(), "a change");
    }

    #[test]
    fn forms_end_sessions_of_who_may_and_forged_ones_do_nothing() {
        let row = |number: u64, user: &str| {
            format!(
                "<tr ><strong>{user}</strong> this browser <input type=\"hidden\" name=\"session\" value=\"{number}\"></tr>"
            )
        };
        let mut lab = Lab::new();
        lab.sign_in(OLGA, true, "a").expect("it may");
        lab.sign_in(VERA, true, "b").expect("it may");
        lab.reads(Some("a"), &(of_olga() + &row(1, "olga"))).expect("it may");
        let of_vera = page("vera, viewer", "192.168.1.1/24");
        lab.reads(Some("b"), &(of_vera.clone() + &row(2, "vera"))).expect("it may");
        assert!(lab.reads(Some("b"), &(of_vera.clone() + &row(1, "olga"))).is_err(), "it is not Vera's");
        lab.ask(SESSIONS, Some("b"), Aim::Ends(1));
        lab.told(303, SESSIONS, None, "").expect("it may");
        lab.ask("/", Some("a"), Aim::Reads);
        assert!(lab.told(303, SIGN_IN, None, "").is_err(), "Vera may not end it");
        lab.ask(SESSIONS, Some("a"), Aim::Ends(2));
        lab.told(303, SESSIONS, None, "").expect("it may");
        assert!(lab.reads(Some("b"), &of_vera).is_err(), "Olga has ended it");
        for aim in [Aim::Forges, Aim::Meddles] {
            lab.ask("/sign-out", Some("a"), aim);
            assert!(lab.told(303, "/changes", None, "").is_err());
            lab.ask("/sign-out", Some("a"), aim);
            lab.told(403, "", None, "").expect("it is refused");
        }
    }

    #[test]
    fn a_page_has_an_address_that_was_in_force_since_it_was_asked_for() {
        let mut other = config();
        other.lan.address = "10.0.0.1/24".parse().expect("a network");
        let (here, there) = (of_olga(), page("olga, owner", "10.0.0.1/24"));
        let mut lab = Lab::new();
        lab.sign_in(OLGA, true, "a").expect("it may");
        assert!(lab.reads(Some("a"), &there).is_err());
        lab.ask("/", Some("a"), Aim::Reads);
        lab.checker.on_reload(&other);
        lab.checker.on_configure(&other);
        lab.told(200, "", None, &here).expect("it was in force");
        lab.reads(Some("a"), &there).expect("it is in force");
        assert!(lab.reads(Some("a"), &here).is_err());
    }
}
