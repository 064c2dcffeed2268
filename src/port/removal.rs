//! `gatepost ports remove`: removes persistent TAP devices.

use std::io::{self, Write};

use super::tap;
use crate::config::{Config, PortSpec};
use crate::error::Error;

/// Removes the devices of the ports named `name`, or of all persistent ports, and prints their names on stdout.
///
/// # Errors
///
/// There is no port of that name, its device does not exist, or another process has it open. Devices before it in the
/// list are removed already.
pub fn remove(config: &Config, name: Option<&str>) -> Result<(), Error> {
    let chosen = choose(config, name)?;
    let mut removed = 0;
    for port in &chosen {
        if tap::remove(port)? {
            removed += 1;
            say(&format!("{port} is removed"));
        }
    }
    match name {
        Some(name) if removed == 0 => Err(Error::failed(
            format_args!("cannot remove port {name}"),
            "its device is not there",
            "there is nothing left to do",
        )),
        None if removed == 0 => {
            say("no device of the gateway's is there");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The ports named `name`. Ports of a WAN that the mode does not use count too: another mode may have created their
/// devices.
fn choose<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a PortSpec>, Error> {
    let all = || config.lan.ports.iter().chain(&config.wan.ports);
    let Some(name) = name else {
        return Ok(all().filter(|port| port.persist).collect());
    };
    let chosen: Vec<_> = all().filter(|port| port.tap == name).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all().map(|port| port.tap.as_str()).collect();
        return Err(Error::usage(format!(
            "cannot remove port {name}: the configuration has only {}; \
             write one of these, or remove another program's device with `ip link del {name}`",
            names.join(", ")
        )));
    }
    Ok(chosen)
}

fn say(line: &str) {
    // The exit code reports the outcome if stdout is closed.
    _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, name: Option<&str>) -> Result<Vec<String>, String> {
        let config = Config::parse("test", text).expect("a valid configuration");
        choose(&config, name)
            .map(|ports| ports.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn all_that_persist_are_meant_unless_one_is_named() {
        let text = "network.mode = 'lan-only'\n\
                    lan.ports = [{ tap = 'a' }, { tap = 'b', netns = 'x' }, { tap = 'c', persist = false }]";
        assert_eq!(names(text, None), Ok(vec!["a".to_owned(), "gp-wan0".to_owned()]));
        assert_eq!(names(text, Some("b")), Ok(vec!["b in netns x".to_owned()]));
        let refused = names(text, Some("d")).expect_err("no such port");
        assert!(refused.contains("the configuration has only a, b, c, gp-wan0"), "{refused}");
    }
}
