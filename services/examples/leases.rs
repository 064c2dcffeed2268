//! A lease table with many clients on this machine's disk, to be run by hand or by `benches/system/compare_names.py`:
//!
//! ```sh
//! cargo run --release -p gatepost-services --example leases -- DIRECTORY FIRST_ADDRESS COUNT
//! ```
//!
//! The directory is made. The clients are those of perfdhcp: their hardware addresses follow 00:0c:01:02:03:04. Their
//! leases last for a day.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_ground::{Instant, MacAddr};
use gatepost_services::clock::UnixTime;
use gatepost_services::dhcp::server::WAITING_MAX;
use gatepost_services::dhcp::server::leases::{ClientKey, Grant, Leases};
use gatepost_services::store::Files;

const MAC: u64 = 0x000c_0102_0304;
const NOW: Instant = Instant::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [directory, first, count] = &arguments[..] else {
        return Err("usage: leases DIRECTORY FIRST_ADDRESS COUNT".into());
    };
    let (first, count): (Ipv4Addr, u32) = (first.parse()?, count.parse()?);
    let today = unix_now()?;
    let mut leases = Leases::open(Arc::new(Files::open(Path::new(directory))?), NOW, today);
    for number in 0..count {
        let [_, _, mac @ ..] = (MAC + u64::from(number)).to_be_bytes();
        let address = Ipv4Addr::from(u32::from(first).checked_add(number).ok_or("too many")?);
        let mac = MacAddr(mac);
        let client = ClientKey::Mac(mac);
        leases.bind(
            NOW,
            today,
            Grant { address, client, mac, source: mac, hostname: None, lease_secs: 86_400 },
        )?;
        if number as usize % WAITING_MAX == WAITING_MAX - 1 {
            leases.settle(NOW, today)?;
        }
    }
    leases.settle(NOW, today)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the leases are those of a gateway that starts now")]
fn unix_now() -> Result<UnixTime, Box<dyn Error>> {
    Ok(UnixTime(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}
