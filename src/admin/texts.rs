//! The texts of the pages in each language.
//!
//! `texts/NAME.toml` has all texts of one language; a missing or an unknown key fails the test below. In braces stand
//! values: `{name}`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gatepost_services::http::{Request, Response, header};
use serde::Deserialize;

/// The languages, the one for browsers that ask for none of them first.
static LANGUAGES: LazyLock<[Texts; 2]> =
    LazyLock::new(|| [include_str!("texts/en.toml"), include_str!("texts/de.toml")].map(Texts::parse));

/// The field of a page's query by which a link asks for a language.
pub const LANGUAGE_FIELD: &str = "language";

/// The cookie of the language that was asked for.
const COOKIE: &str = "__Host-language";

/// How long a browser keeps it: a year.
const REMEMBERED_SECS: u32 = 31_536_000;

/// The most languages of a browser that are looked at.
const ACCEPTED_MAX: usize = 16;

macro_rules! texts {
    ($($group:ident: $Group:ident { $($key:ident),* $(,)? })*) => {
        /// All texts of one language.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Texts {
            /// The language's tag. (BCP 47)
            pub language: String,
            /// What the language calls itself.
            pub name: String,
            /// What people call the services.
            pub service_names: BTreeMap<String, String>,
            /// The headings of groups in forms.
            pub groups: BTreeMap<String, String>,
            /// The labels of settings, by their keys.
            pub labels: BTreeMap<String, String>,
            /// What is to be known about settings, by their keys.
            pub hints: BTreeMap<String, String>,
            /// The options of settings, as `KEY=OPTION`.
            pub choices: BTreeMap<String, String>,
            $(pub $group: $Group,)*
        }
        $(
            /// One group of texts.
            #[derive(Debug, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $Group {
                $(pub $key: String,)*
            }
        )*
    };
}

texts! {
    common: Common {
        menu, languages, skip, signed_in_as, sign_out, authority, authority_about, none, no_value, ago, days, hours, minutes,
        seconds, unavailable, unavailable_remedy, decimal_mark
    }
    menu: MenuTexts { overview, network, people, system }
    banner: BannerTexts { title, window, stuck, moves, moved, go_to, keep, undo, look, pending }
    enter: EnterTexts { title, lead, go_on }
    form: FormTexts {
        save, closed, read_only, refused, default, needed, changed, gone, back, new, add, edit, edit_one, look, remove,
        remove_one, empty, actions, yes, no
    }
    changes: ChangesTexts {
        title, owners_only, nothing, nothing_about, waiting, no_difference, edits, removed, apply, apply_about, discard, why, others,
        mistakes, mistakes_about, refused, in_window, in_window_about, history, history_about, version, somebody, found,
        applied, edited, rolled_back, back, back_to
    }
    network: NetworkTexts { title, lead, fixed, fixed_about, lan_ports, wan_ports, mtu, workers }
    security: SecurityTexts { title, lead }
    forwards: ForwardsTexts { title, lead, no_nat }
    users: UsersTexts {
        title, lead, owners_only, people, name, password, has_password, no_password, set, password_of, password_set,
        mailbox, fill, fill_without_quota, last_sign_in, own_role, last_owner, renamed
    }
    own: OwnTexts {
        title, lead, mailbox, no_mail_yet, forwarded, vacation, vacation_text, vacation_hint, save, password, former,
        former_wrong, set
    }
    aliases: AliasesTexts { title, lead, mail_is_off }
    mail: MailTexts {
        title, off, problem, held_title, held_about, fine, fine_about, here, mailboxes, messages, room, connections,
        connections_outside, polled, account, user, everybody, state, success, next, failing, no_way, connected, waits,
        queue, empty, recipient, sender, gateway, age, reply, actions, under_way, held, hold, release, delete, undone
    }
    leases: LeasesTexts {
        title, lead, leases, leases_about, no_leases, name, address, hardware, lease_until, reservation, reserve,
        reserve_one, reserved, lease_gone, reservations, settings
    }
    names: NamesTexts {
        title, lead, records, settings, servers, no_servers, server, zone, all_names, state, asked, down, own_zone,
        own_zone_about, name, kind, value, origin, by_configuration, by_service, by_host, cache, cache_about, flush_name,
        flush, cached, result, lasts
    }
    zones: ZonesTexts { title, lead }
    time: TimeTexts { title, lead, now, time, state, synchronised, unsynchronised, error_max }
    system: SystemTexts {
        title, lead, gateway, owners_only, certificate, no_certificate, signed_by, own_authority, by_files, ends, lasts,
        ended, backup, backup_about, passphrase, again, differ, back_up, restore, restore_about, file, no_file, restore_it,
        restoring, restart, restart_about, restart_it, restarting, then, log, log_about, no_log
    }
    roles: Roles { user, viewer, operator, owner }
    sign_in: SignInTexts {
        title, lead, name, password, submit, wrong, too_many, unavailable, no_owner, set_up, forgotten
    }
    codes: CodesTexts {
        first_title, first_lead, first_where, code, submit, wrong, forgotten_title, forgotten_lead, by_owner,
        by_owner_about, by_command, by_command_about, by_code, by_code_about, no_owner, set
    }
    passwords: PasswordsTexts {
        new, again, hint, differ, empty, too_long, character, short, few_characters, of_name, common, row
    }
    setup: SetupTexts {
        title, back, next, apply, owner, owner_about, full_name, name, name_hint, password_kept, internet, wan_found,
        wan_not_found, wan_static, wan_absent, look_again, ways, leased, leased_about, fixed, fixed_about, pppoe,
        pppoe_about, pppoe_absent, fixed_values, wan_address, wan_address_hint, wan_address_missing, wan_gateway,
        wan_gateway_hint, name_server_1, name_server_2, network, network_about, lan, lan_hint, overlap, names,
        names_about, hostname, hostname_hint, domain, domain_hint, mail, mail_question, mail_yes, mail_yes_about,
        mail_no, mail_no_about, summary, summary_about, done, done_about, lan_unchanged, go_on, others_wait
    }
    check: CheckTexts {
        title, all_good, not_all_good, good, bad, again, to_status, wan, wan_good, servers, servers_good, servers_bad,
        name, name_good, name_bad, pool, dhcp_good, dhcp_full, dhcp_bad, clock, clock_good, clock_bad, mail, mail_good,
        mail_bad
    }
    status: StatusTexts {
        title, fine, fine_about, problems, problems_about, internet, lan, address, gateway, since, provider,
        provider_about, lease, domain, name_servers, by_dhcp, fixed, no_address, no_address_about, lan_only, running,
        mode, mode_lan_only, mode_router, mode_nat, mode_nat_dmz, connections, clients, ports, port, state, received,
        sent, network, up, down, unattached, unattached_remedy, down_remedy, version
    }
    clients: ClientsTexts {
        title, lead, none, name, maker, address, hardware, connections, seen, lease_until, private_address, unnamed,
        now, no_lease, traffic, of_day, former, former_about, ended, at_least, expired, released, quarantined, more
    }
    flows: FlowsTexts {
        title, lead, none, hosts, host, destinations, destination, flows, received, sent, each, state, end, end_short,
        end_column
    }
    traffic: TrafficTexts {
        title, receives, sends, hour, day, month, received, sent, highest, summary, as_table, begins
    }
    services: ServicesTexts { title, lead, service, state, listens, running, impaired, off, note }
    sessions: SessionsTexts { title, lead, user, source, since, used, end, end_short, end_column, this, ends }
    failure: FailureTexts {
        not_found, not_found_about, read_only, read_only_about,
        foreign_form, foreign_form_about, stale_form,
        stale_form_about, broken_form, broken_form_about, back
    }
}

impl Texts {
    fn parse(file: &str) -> Self {
        toml::from_str(file).expect("the tests read the same files")
    }

    /// The heading of a group in a form.
    pub fn group<'a>(&'a self, name: &'a str) -> &'a str {
        self.groups.get(name).map_or(name, String::as_str)
    }

    /// The label of a setting.
    pub fn label<'a>(&'a self, key: &'a str) -> &'a str {
        self.labels.get(key).map_or(key, String::as_str)
    }

    /// An option of a setting.
    pub fn choice<'a>(&'a self, key: &str, option: &'a str) -> &'a str {
        self.choices.get(&format!("{key}={option}")).map_or(option, String::as_str)
    }

    /// All languages.
    pub fn all() -> &'static [Self] {
        &*LANGUAGES
    }

    /// The texts in the language that a link of the page asks for, else in the one that was asked for before, else in the
    /// one that the browser prefers.
    pub fn of(request: &Request) -> &'static Self {
        let before = || request.cookie(COOKIE).and_then(Self::called);
        Self::asked(request).or_else(before).unwrap_or_else(|| Self::preferred(request))
    }

    /// `response`, with a cookie of the language that the request asks for, if it asks for one.
    pub fn remembered(request: &Request, response: Response) -> Response {
        let Some(Self { language, .. }) = Self::asked(request) else { return response };
        let cookie =
            format!("{COOKIE}={language}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={REMEMBERED_SECS}");
        response.with(header::SET_COOKIE, &cookie)
    }

    fn asked(request: &Request) -> Option<&'static Self> {
        let fields = request.query.as_deref().unwrap_or_default().split('&');
        fields
            .filter_map(|field| field.split_once('='))
            .find(|(name, _)| *name == LANGUAGE_FIELD)
            .and_then(|(_, tag)| Self::called(tag))
    }

    /// The language with this tag.
    fn called(tag: &str) -> Option<&'static Self> {
        LANGUAGES.iter().find(|texts| texts.language == tag)
    }

    /// The texts in the language that the browser prefers. (RFC 9110, section 12.5.4)
    fn preferred(request: &Request) -> &'static Self {
        let languages = &*LANGUAGES;
        let accepted = request.field(header::ACCEPT_LANGUAGE).unwrap_or_default();
        let mut best: Option<(u32, &Self)> = None;
        for range in accepted.split(',').take(ACCEPTED_MAX) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let primary = tag.split('-').next().unwrap_or_default();
            let Some(texts) = languages.iter().find(|it| it.language.eq_ignore_ascii_case(primary)) else {
                continue;
            };
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1000, weight);
            if weight > best.map_or(0, |(best, _)| best) {
                best = Some((weight, texts));
            }
        }
        best.map_or(&languages[0], |(_, texts)| texts)
    }
}

/// A weight in thousandths; 0 for what is none.
fn weight(text: &str) -> u32 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{part:0<3}");
    let thousandths = digits.get(..3).and_then(|digits| digits.parse::<u32>().ok());
    match (whole, thousandths) {
        ("1", _) => 1000,
        ("0", Some(thousandths)) => thousandths,
        _ => 0,
    }
}

/// `text` with values in place of `{name}`.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        filled.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::request;
    use crate::config::services::{KINDS, OUTWARD_KINDS};

    fn language(accepted: &str) -> &'static str {
        let mut request = request("/");
        request.fields.insert(header::ACCEPT_LANGUAGE, accepted.parse().expect("a value"));
        &Texts::of(&request).language
    }

    #[test]
    fn the_browser_s_language_is_spoken() {
        for (accepted, expected) in [
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("en-GB,en;q=0.9,de;q=0.8", "en"),
            ("fr, en;q=0.3, de;q=0.7", "de"),
            ("fr", "en"),
            ("*", "en"),
            ("DE;q=0.001,en;q=0", "de"),
            ("de;q=nan,en;q=9", "en"),
            ("", "en"),
        ] {
            assert_eq!(language(accepted), expected, "{accepted}");
        }
        assert_eq!(Texts::of(&request("/")).language, "en");
    }

    #[test]
    fn a_language_that_was_asked_for_is_kept() {
        let asked = |query: &str, cookie: &str| {
            let mut request = request("/clients");
            request.query = Some(query.to_owned());
            request.fields.insert(header::COOKIE, cookie.parse().expect("a value"));
            request.fields.insert(header::ACCEPT_LANGUAGE, "en".parse().expect("a value"));
            let response = Response::html(gatepost_services::http::StatusCode::OK, String::new());
            let cookies = Texts::remembered(&request, response).fields;
            let cookie =
                cookies.get(header::SET_COOKIE).map(|cookie| cookie.to_str().expect("text").to_owned());
            (Texts::of(&request).language.as_str(), cookie)
        };
        let (language, cookie) = asked("a=1&language=de", "__Host-session=x");
        let cookie = cookie.expect("a cookie");
        assert!(
            language == "de" && cookie.starts_with("__Host-language=de; Path=/; Secure; HttpOnly;"),
            "{cookie}"
        );
        assert_eq!(asked("", "__Host-session=x; __Host-language=de"), ("de", None));
        assert!(asked("language=en", "__Host-language=de").1.is_some_and(|cookie| cookie.contains("=en;")));
        for (query, cookie) in
            [("language=fr", ""), ("language", ""), ("", "__Host-language=x"), ("xlanguage=de", "")]
        {
            assert_eq!(asked(query, cookie), ("en", None), "{query} {cookie}");
        }
    }

    #[test]
    fn values_are_put_in() {
        assert_eq!(fill("{a} of {b}{c}", &[("a", "1"), ("b", "{a}")]), "1 of {a}");
        assert_eq!(fill("no end {a", &[("a", "1")]), "no end 1");
    }

    /// The names in braces of every text.
    fn names(file: &str) -> BTreeMap<String, Vec<String>> {
        let table: toml::Table = file.parse().expect("TOML");
        let mut names = BTreeMap::new();
        for (group, texts) in table.iter().filter_map(|(group, texts)| Some((group, texts.as_table()?))) {
            for (key, text) in texts {
                let text = text.as_str().expect("a text");
                assert!(!text.trim().is_empty() && !text.contains('<'), "{group}.{key}");
                let mut inside: Vec<_> = text
                    .split('{')
                    .skip(1)
                    .map(|part| part.split('}').next().unwrap_or("").to_owned())
                    .collect();
                inside.sort_unstable();
                names.insert(format!("{group}.{key}"), inside);
            }
        }
        names
    }

    #[test]
    fn every_language_has_all_texts_with_the_same_values() {
        let [english, german] = &*LANGUAGES;
        assert_eq!([&english.language, &german.language], ["en", "de"]);
        assert_eq!(names(include_str!("texts/en.toml")), names(include_str!("texts/de.toml")));
        for texts in &*LANGUAGES {
            let named: Vec<_> = texts.service_names.keys().map(String::as_str).collect();
            let mut kinds: Vec<_> = KINDS.iter().chain(&OUTWARD_KINDS).map(|kind| kind.name).collect();
            kinds.sort_unstable();
            assert_eq!(named, kinds, "{}", texts.language);
        }
    }
}
