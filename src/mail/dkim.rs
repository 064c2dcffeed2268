//! `gatepost mail dkim`.

use std::path::Path;

use gatepost_services::mail::signing::{FILE, Record, keys_in, signing_domains};
use gatepost_services::store::read_file;
use serde::Serialize;

use super::{Options, print, print_json};
use crate::config::Config;
use crate::error::Error;

/// What `--json` prints of each record. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Report {
    domain: String,
    selector: String,
    /// `rsa-sha256` or `ed25519-sha256`.
    algorithm: &'static str,
    /// The record's name, without a dot at its end.
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The record's text, in one piece.
    value: String,
}

/// Prints the records for external zones.
pub(super) fn run(options: &Options) -> Result<bool, Error> {
    let config = options.load()?;
    let records = records(&config, &config.system.state_dir)?;
    if options.json {
        print_json(&records.into_iter().map(report).collect::<Vec<_>>())?;
    } else {
        lines(&records).iter().for_each(|line| print(line));
    }
    Ok(true)
}

/// The records for the office's domains with the keys in `state_dir`.
fn records(config: &Config, state_dir: &Path) -> Result<Vec<Record>, Error> {
    const WHAT: &str = "the records of DKIM cannot be shown";
    let mail = &config.services.mail;
    let content = read_file(state_dir, FILE).map_err(|error| {
        let file = state_dir.join(FILE);
        Error::failed(WHAT, format!("{} cannot be read: {error}", file.display()), "run it as root")
    })?;
    let Some(content) = content else {
        let remedy = "start the gateway with a user in its file, whose mail makes them";
        return Err(Error::failed(WHAT, "there are no keys yet", remedy));
    };
    let keys = keys_in(&content).map_err(|why| {
        let remedy = "start the gateway again, which keeps a copy and makes others";
        Error::failed(WHAT, format!("{} is damaged: {why}", state_dir.join(FILE).display()), remedy)
    })?;
    Ok(keys.records(&signing_domains(&mail.domains)).collect())
}

/// The records as a zone's file has them.
fn lines(records: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut domain = None;
    for record in records {
        if domain != Some(&record.domain) {
            domain = Some(&record.domain);
            lines
                .push(format!("; the name service of this gateway has these of {} by itself", record.domain));
        }
        // It is of letters, digits and a few marks, none of which needs a backslash.
        lines.push(format!("{}. TXT \"{}\"", record.name, record.strings().join("\" \"")));
    }
    lines
}

fn report(record: Record) -> Report {
    let Record { domain, selector, algorithm, name, text } = record;
    Report { domain, selector, algorithm: algorithm.name(), name, kind: "TXT", value: text }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gatepost_services::crypto::tls::KeySource;
    use gatepost_services::mail::signing::Keys;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const FILE_TEXT: &str = "users = [{ name = 'alice' }]\n\
        mail.domains = [{ name = 'shop.example' }]";

    #[test]
    fn what_is_not_there_or_damaged_is_said() {
        let path = std::env::temp_dir().join(format!("gatepost-mail-dkim-{}", std::process::id()));
        let config = Config::parse("t.toml", FILE_TEXT).expect("a configuration");
        let told = || records(&config, &path).expect_err("there are none").to_string();
        assert!(told().contains("there are no keys yet; start the gateway"), "{}", told());
        fs::create_dir_all(path.join("dkim")).expect("a directory");
        fs::write(path.join(FILE), "2 00000000 [").expect("a file");
        assert!(told().contains("keys.json is damaged: its checksum is wrong"), "{}", told());
        fs::remove_dir_all(&path).expect("it is there");
        let without_mail = Config::parse("t.toml", "").expect("a configuration");
        assert!(records(&without_mail, &path).is_err());
    }

    #[test]
    fn a_long_record_is_several_strings() {
        let keys = Keys::make(KeySource::System, &mut StdRng::seed_from_u64(1));
        let domains = ["office.example".to_owned(), "shop.example".to_owned()];
        let records: Vec<_> = keys.records(&domains).collect();
        let lines = lines(&records);
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[0].starts_with("; ") && lines[0].contains(" office.example "), "{}", lines[0]);
        let (name, strings) = lines[1].split_once(" TXT ").expect("a record");
        assert!(name.starts_with("rsa-") && name.ends_with("._domainkey.office.example."), "{name}");
        assert_eq!(strings.split("\" \"").count(), 2, "{strings}");
        assert_eq!(lines[1].matches("p=").count(), 1);
        let record = report(records.into_iter().next().expect("a record"));
        assert!(record.value.len() > 255 && !record.value.contains('"'));
    }
}
