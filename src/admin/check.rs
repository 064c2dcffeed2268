//! A test that everything works, in plain words with what to do.

use gatepost_dataplane::config::Mode;
use maud::{Markup, html};

use super::layout::badge;
use super::texts::{Texts, fill};
use super::{Scene, Unavailable};
use crate::config::Config;
use crate::control::report::{Service, Services, Status};

/// The path of the page.
pub const CHECK: &str = "/check";

/// A name that the internet has always had. (RFC 6761, section 6.5)
const KNOWN_NAME: &str = "example.com";

/// What was found out, in the words of the page.
struct Tested<'a> {
    what: &'a str,
    is_good: bool,
    about: String,
}

/// What the test looks at.
struct Findings {
    status: Status,
    services: Services,
    /// Whether an upstream name server is in use, and none is known to be down.
    has_upstream: bool,
    /// The answer to the question for [`KNOWN_NAME`].
    is_resolved: bool,
    /// The addresses that DHCP can give out.
    pool: usize,
}

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let inspector = scene.inspector;
    let servers = inspector.name_servers().map(|report| report.servers).unwrap_or_default();
    let mut upstream = servers.iter().filter(|server| server.zone.is_none());
    let config = inspector.config();
    let findings = Findings {
        has_upstream: upstream.any(|server| server.state == "up"),
        is_resolved: inspector.resolve(KNOWN_NAME).await.is_ok(),
        pool: pool_size(&config),
        services: inspector.services(),
        status: inspector.status().await?,
    };
    Ok(of(scene.texts, &config, &findings))
}

/// The number of addresses that DHCP can give out.
fn pool_size(config: &Config) -> usize {
    let (first, last) = config.services.dhcp.pool;
    let own = config.lan.address.addr();
    let size = u32::from(last).saturating_sub(first.into()).saturating_add(1);
    usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(usize::from((first..=last).contains(&own)))
}

fn of(texts: &Texts, config: &Config, findings: &Findings) -> Markup {
    let words = &texts.check;
    let results = results(texts, config, findings);
    let is_good = results.iter().all(|result| result.is_good);
    html! {
        p .lead { @if is_good { (words.all_good) } @else { (words.not_all_good) } }
        section .card {
            ul .checks {
                @for Tested { what, is_good, about } in &results {
                    li {
                        (badge(if *is_good { "good" } else { "bad" }, if *is_good { &words.good } else { &words.bad }))
                        " " strong { (what) }
                        p { (about) }
                    }
                }
            }
            p { a href=(CHECK) { (words.again) } " \u{b7} " a href="/" { (words.to_status) } }
        }
    }
}

fn results<'a>(texts: &'a Texts, config: &Config, findings: &Findings) -> Vec<Tested<'a>> {
    let words = &texts.check;
    let Findings { status, services, has_upstream, is_resolved, pool } = findings;
    let mut results = Vec::new();
    let mut tell = |what: &'a str, is_good: bool, good: String, bad: &str| {
        results.push(Tested { what, is_good, about: if is_good { good } else { bad.to_owned() } });
    };
    if let Some(wan) = &status.wan {
        let address = wan.address.map(|address| address.to_string());
        let good = fill(&words.wan_good, &[("address", address.as_deref().unwrap_or_default())]);
        tell(&words.wan, address.is_some(), good, &texts.status.no_address_about);
    }
    if config.services.asks_name_servers() {
        tell(&words.servers, *has_upstream, words.servers_good.clone(), &words.servers_bad);
        let name = [("name", KNOWN_NAME)];
        tell(&words.name, *is_resolved, fill(&words.name_good, &name), &fill(&words.name_bad, &name));
    }
    if config.services.dhcp.enabled {
        let free = pool.saturating_sub(status.leases);
        let runs = state_of(services, "dhcp").is_some_and(|service| service.state == "running");
        let good = fill(&words.dhcp_good, &[("n", &free.to_string())]);
        tell(&words.pool, runs && free > 0, good, if runs { &words.dhcp_full } else { &words.dhcp_bad });
    }
    if config.services.tells_time() {
        let clock = state_of(services, "ntp");
        let note = clock.and_then(|clock| clock.note.as_deref());
        let is_right = clock.is_some() && !note.is_some_and(|note| note.starts_with("unsynchronised"));
        tell(&words.clock, is_right, words.clock_good.clone(), &words.clock_bad);
    }
    if config.services.mail.enabled && config.mode != Mode::LanOnly {
        let runs = state_of(services, "smtp").is_some_and(|smtp| smtp.state == "running");
        tell(&words.mail, runs, words.mail_good.clone(), &words.mail_bad);
    }
    results
}

fn state_of<'a>(services: &'a Services, name: &str) -> Option<&'a Service> {
    services.services.iter().find(|service| service.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{english, status};
    use crate::control::report::Interface;

    fn service(name: &str, state: &str, note: Option<&str>) -> Service {
        Service {
            name: name.to_owned(),
            state: state.to_owned(),
            problem: None,
            note: note.map(str::to_owned),
            listens: Vec::new(),
            counters: serde_json::from_str("{}").expect("no counters"),
        }
    }

    fn told(text: &str, findings: &Findings) -> String {
        let config = Config::parse("test", text).expect("a valid configuration");
        let of = |result: &Tested<'_>| format!("{}{}", if result.is_good { "+" } else { "-" }, result.what);
        results(english(), &config, findings).iter().map(of).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everything_that_is_on_is_tested() {
        let services = vec![service("dhcp", "running", None), service("ntp", "running", None)];
        let good = Findings {
            status: status(),
            services: Services { services },
            has_upstream: true,
            is_resolved: true,
            pool: 2,
        };
        let all = "+Address on the internet +Name servers +A name is found +Addresses for devices +Clock";
        assert_eq!(told("", &good), all);
        assert_eq!(
            told("dns.use_upstream = false\nntp.enabled = false", &good),
            "+Address on the internet +Addresses for devices"
        );
        assert_eq!(told("[[users]]\nname = 'anna'", &good), format!("{all} -Mail"));
        let services =
            vec![service("dhcp", "impaired", None), service("ntp", "running", Some("unsynchronised: no"))];
        let wan = status().wan.map(|wan| Interface { address: None, ..wan });
        let bad = Findings {
            status: Status { wan, ..status() },
            services: Services { services },
            has_upstream: false,
            is_resolved: false,
            pool: 2,
        };
        assert_eq!(told("", &bad), all.replace('+', "-"));
        let full = Findings { pool: 1, ..good };
        assert!(told("", &full).contains("-Addresses for devices"), "status has one lease");
    }

    #[test]
    fn the_gateway_s_own_address_is_not_given_out() {
        let config = |text: &str| Config::parse("test", text).expect("a valid configuration");
        assert_eq!(pool_size(&config("")), 99);
        assert_eq!(pool_size(&config("dhcp.pool = '192.168.1.10-192.168.1.19'")), 10);
    }
}
