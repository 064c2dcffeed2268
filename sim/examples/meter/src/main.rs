//! A meter in the office sends its readings to a collector on the internet, through the gateway's NAT: a protocol of
//! somebody else's, simulated around the production gateway with a machine, a server and a checker of its own.
//!
//! ```text
//!   meter ── lan0 [gateway] wan ── provider ── collector
//! ```
//!
//! A reading is sent again each second until it is acknowledged, and the next one only then ([`protocol`]). The files:
//! the machine ([`meter`]), the server ([`collector`]), the promise that is watched all the time
//! ([`one_at_a_time`]), and here the scenarios, the command line and the tests. To run them:
//!
//! ```text
//! cargo run -p gatepost-example-meter -- --seeds 1..=20
//! cargo run -p gatepost-example-meter -- --scenario silent-collector --pcap meter.pcapng
//! cargo test -p gatepost-example-meter
//! ```

mod collector;
mod meter;
mod one_at_a_time;
mod protocol;

use std::process::ExitCode;
use std::time::Duration;

use gatepost_sim::command;
use gatepost_sim::machine::internet::Site;
use gatepost_sim::scenario::{Catalog, Office, Scenario, act, calm, office, power_back, power_cut};
use gatepost_sim::world::link::loss;

use collector::{Collector, CollectorRecord};
use meter::{Meter, MeterRecord};
use one_at_a_time::OneAtATime;
use protocol::{COLLECTOR, PORT};

const CATALOG: Catalog = Catalog {
    package: env!("CARGO_PKG_NAME"),
    scenarios: &[
        Scenario {
            name: "lossy-wan",
            about: "the WAN loses frames, the gateway restarts, and every reading arrives",
            lasting_secs: 60,
            lasting_secs_min: 60,
            build: |_, _| lossy_wan(),
        },
        Scenario {
            name: "silent-collector",
            about: "the collector is silent for a while, and no reading is lost",
            lasting_secs: 60,
            lasting_secs_min: 60,
            build: |_, _| silent_collector(),
        },
    ],
};

fn main() -> ExitCode {
    command::main(&CATALOG)
}

/// An office of two PCs and the meter, and the collector on the internet.
fn metered() -> Office {
    office()
        .pcs(2)
        .machine("meter", "lan0", Meter::new)
        .server("collector", Site::at(COLLECTOR).udp(PORT), |_seed| Collector::default())
        .checker(|_config| OneAtATime::default())
        .lasting(Duration::from_secs(60))
        .expect("what was acknowledged was collected, each reading once", |account| {
            let meter: &MeterRecord = account.record("meter");
            let collector: &CollectorRecord = account.record("collector");
            // The acknowledgement of the latest may be on its way.
            let is_collected = (meter.acknowledged..=meter.acknowledged + 1).contains(&collector.readings);
            if is_collected { Ok(()) } else { Err(format!("{meter:?}, {collector:?}")) }
        })
}

fn lossy_wan() -> Office {
    metered()
        .link("wan", loss(0.2))
        .at(Duration::from_secs(20), power_cut())
        .at(Duration::from_secs(25), power_back())
        .expect("the meter goes on", |account| goes_on(account.record("meter"), 15))
}

fn silent_collector() -> Office {
    metered()
        .at(
            Duration::from_secs(15),
            act("collector", "falls silent", |it: &mut Collector, _| it.is_silent = true),
        )
        // Calm ends the faults of everybody's, own ones too.
        .at(Duration::from_secs(30), calm())
        .expect("the meter goes on", |account| goes_on(account.record("meter"), 15))
        .expect("it asked again meanwhile", |account| {
            let meter: &MeterRecord = account.record("meter");
            if meter.repeated >= 10 { Ok(()) } else { Err(format!("{meter:?}")) }
        })
}

fn goes_on(meter: &MeterRecord, acknowledged_min: u32) -> Result<(), String> {
    if meter.acknowledged >= acknowledged_min { Ok(()) } else { Err(format!("{meter:?}")) }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::path::PathBuf;

    use super::*;

    #[track_caller]
    fn passes(name: &str) {
        let captures: PathBuf = env::temp_dir().join(env!("CARGO_PKG_NAME"));
        for seed in 1..=2 {
            command::check(&CATALOG, name, seed, &captures).unwrap_or_else(|told| panic!("{told}"));
        }
    }

    #[test]
    fn readings_cross_a_lossy_wan_and_a_restart() {
        passes("lossy-wan");
    }

    #[test]
    fn readings_wait_for_a_silent_collector() {
        passes("silent-collector");
    }

    /// A fault planted in the machine: it does not wait for acknowledgements any more.
    #[test]
    fn the_checker_finds_a_meter_that_does_not_wait() {
        let impatient = metered().link("wan", loss(0.2)).at(
            Duration::from_secs(5),
            act("meter", "waits no more", |it: &mut Meter, _| it.is_impatient = true),
        );
        let outcome = impatient.run("impatient-meter", 1, None).expect("it can be built");
        let found = outcome.violations.first().expect("a broken promise");
        assert_eq!(found.checker, "one-reading-at-a-time", "{outcome}");
        assert!(found.what.contains("is not acknowledged"), "{outcome}");
        assert!(outcome.to_string().contains("5.000 s: meter waits no more"), "{outcome}");
    }

    #[test]
    fn one_seed_is_one_run_and_another_seed_another() {
        let short = || metered().link("wan", loss(0.2)).lasting(Duration::from_secs(10));
        let trace = |seed| short().run("short", seed, None).expect("it can be built").trace_hash;
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }
}
