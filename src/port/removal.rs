//! `gatepost ports remove`: takes persistent TAP devices away.

use std::io::{self, Write};

use super::tap;
use crate::config::{Config, PortSpec};
use crate::error::Error;

/// Takes away the devices of the ports that are called `name`, or of all that persist, and says on stdout which.
///
/// # Errors
///
/// No port is called so, its device is not there, or somebody has it open. Of several devices, those before it are
/// gone then.
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

/// The ports meant by `name`. Those of a WAN that the mode does without count: another mode may have made them.
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
    // Whoever does not want to read it has the exit code.
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
