//! `gatepost mail aliases`.

use std::fmt;

use gatepost_services::mail::address::ForwardPath;
use gatepost_services::mail::service::aliases::{Receivers, Step};
use gatepost_services::mail::service::directory::{Directory, Place};
use serde::Serialize;

use super::{Options, print, print_json};
use crate::config::Config;
use crate::error::Error;

/// What `--json` prints. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Report {
    address: String,
    /// `here`, `nobody`, `elsewhere`, or `route` for an address that is rejected because other servers could interpret
    /// it as a route.
    place: &'static str,
    /// The users that get its mail.
    users: Vec<String>,
    /// The remote receivers.
    outside: Vec<String>,
    steps: Vec<StepReport>,
}

/// A step of resolving an address to the users that get its mail.
#[derive(Debug, Serialize)]
pub(super) struct StepReport {
    /// 0 for the address itself, more for its targets.
    depth: usize,
    address: String,
    what: &'static str,
    #[serde(skip)]
    words: String,
}

impl StepReport {
    /// That of `step`.
    pub(super) fn of(step: Step) -> Self {
        let Step { depth, address, what } = step;
        Self { depth, address, what: what.name(), words: what.to_string() }
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:1$}{2}: {3}", "", 2 * self.depth, self.address, self.words)
    }
}

/// The addresses that receive mail by `config`.
pub(super) fn directory(config: &Config) -> Directory {
    let mail = &config.services.mail;
    Directory::new(&config.users, &mail.domains, &mail.aliases)
}

/// Prints the users that get mail for `address`, and why. Returns whether there is one.
pub(super) fn run(options: &Options, address: &str) -> Result<bool, Error> {
    let config = options.load_with_mail()?;
    let report = report(&config, address)?;
    if options.json {
        print_json(&report.0)?;
    } else {
        report.1.iter().for_each(|line| print(line));
    }
    Ok(matches!(report.0.place, "here" | "elsewhere"))
}

/// The report, and the same in lines for people.
fn report(config: &Config, text: &str) -> Result<(Report, Vec<String>), Error> {
    let mailbox = super::mailbox(config, text)?;
    let address = mailbox.to_string();
    let directory = directory(config);
    let lan = config.lan.address.addr();
    let (place, steps) = directory.trace(&ForwardPath::Mailbox(mailbox), |address| address == lan);
    let (place, verdict, reached) = match place {
        Place::Here(reached) => {
            let users = reached.users.iter().map(|user| (*user).to_owned());
            let outside = reached.outside.iter().map(ToString::to_string);
            let all: Vec<_> = users.chain(outside).collect();
            ("here", format!("mail for {address} goes to {}", listed(&all)), reached)
        }
        Place::Nobody => {
            ("nobody", format!("mail for {address} is refused: nobody has it"), Receivers::default())
        }
        Place::Route => {
            let verdict =
                format!("mail for {address} is refused: other servers read a route to elsewhere in it");
            ("route", verdict, Receivers::default())
        }
        Place::Elsewhere => (
            "elsewhere",
            format!("mail for {address} goes to another server: its domain is not ours"),
            Receivers::default(),
        ),
    };
    let steps: Vec<_> = steps.into_iter().map(StepReport::of).collect();
    let lines = [verdict].into_iter().chain(steps.iter().map(|step| format!("  {step}"))).collect();
    let report = Report {
        address,
        place,
        users: reached.users.iter().map(|user| (*user).to_owned()).collect(),
        outside: reached.outside.iter().map(ToString::to_string).collect(),
        steps,
    };
    Ok((report, lines))
}

/// `all` as `a`, `a and b`, or `a, b and c`.
fn listed(all: &[String]) -> String {
    match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "users = [{ name = 'alice', role = 'owner' }, { name = 'bob' }]\n\
        [mail]\ncatch_all = 'postmaster'\naliases = [{ name = 'sales', members = ['alice', 'field'] },\n\
        { name = 'field', members = ['bob', 'alice', 'c@elsewhere.example'] }]";

    fn told(address: &str) -> (Report, String) {
        let config = Config::parse("t.toml", FILE).expect("a configuration");
        let (report, lines) = report(&config, address).unwrap_or_else(|error| panic!("{error}"));
        (report, lines.join("\n"))
    }

    #[test]
    fn it_is_told_step_by_step_who_has_mail_for_an_address() {
        let (report, lines) = told("Sales+x");
        assert_eq!(
            lines,
            "mail for Sales+x@office.example goes to alice, bob and c@elsewhere.example\n  \
             sales@office.example: an alias for\n    alice: a user, who has it\n    \
             field@office.example: an alias for\n      bob: a user, who has it\n      \
             alice@office.example: is above already, and has it once\n      \
             c@elsewhere.example: at another server, which has it"
        );
        assert_eq!(
            (report.place, report.users, report.outside.len()),
            ("here", vec!["alice".to_owned(), "bob".to_owned()], 1)
        );
        let steps: Vec<_> = report.steps.iter().map(|step| (step.depth, step.what)).collect();
        assert_eq!(
            steps,
            [(0, "alias"), (1, "user"), (1, "alias"), (2, "user"), (2, "again"), (2, "outside")]
        );
    }

    #[test]
    fn who_has_what_nobody_is_called_and_what_is_not_ours() {
        let (report, lines) = told("dave@office.example");
        assert_eq!(
            lines,
            "mail for dave@office.example goes to alice\n  \
             dave@office.example: nobody's, so it goes to mail.catch_all\n    \
             postmaster@office.example: goes to the owners\n      alice: a user, who has it"
        );
        assert_eq!(report.place, "here");
        assert_eq!(told("x@elsewhere.example").0.place, "elsewhere");
        assert_eq!(told("a%b@office.example").0.place, "route");
    }
}
