//! How fast a host transfers over TCP: the internet's discard and character generator services, and their client.
//! (RFC 863; RFC 864)
//!
//! A download is what the client has read from the character generator. An upload is what it has written to the
//! discard service, timed until that service has closed its end: it has then read all of it.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use gatepost_services::clock::Clock;
use gatepost_services::net::kernel::Kernel;
use gatepost_services::net::{Listener, Net};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::port::clock::SystemClock;

/// The port of the discard service. (RFC 863)
const DISCARD_PORT: u16 = 9;
/// The port of the character generator. (RFC 864)
const GENERATOR_PORT: u16 = 19;
/// Transfers that a service has at a time; more are closed at once.
const TRANSFERS_MAX: usize = 64;
/// The timeout of a connection, and of a stalled transfer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets that are read or written at once.
const CHUNK_LEN: usize = 256 << 10;
/// The printing characters of ASCII, which the generator repeats. (RFC 864)
const PRINTING: u8 = b'~' - b' ' + 1;

/// The end of a transfer: at the earlier of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// After so many octets.
    pub octets: u64,
    /// After so much time.
    pub time: Duration,
}

/// The octets and the duration of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Octets of the TCP streams.
    pub octets: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// A host's speed in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// Towards the host.
    pub download: Transfer,
    /// Away from it.
    pub upload: Transfer,
}

impl Transfer {
    /// As a rate for people.
    pub fn rate(&self) -> String {
        rate(self.octets, self.micros)
    }
}

/// So many octets in so many microseconds, as a rate for people: three digits and a unit.
pub fn rate(octets: u64, micros: u64) -> String {
    let bits_per_sec = u128::from(octets) * 8 * 1_000_000 / u128::from(micros.max(1));
    let (unit, name) = match bits_per_sec {
        0..1_000 => return format!("{bits_per_sec} bit/s"),
        1_000..1_000_000 => (1_000, "kbit/s"),
        1_000_000..1_000_000_000 => (1_000_000, "Mbit/s"),
        _ => (1_000_000_000, "Gbit/s"),
    };
    let hundredths = bits_per_sec * 100 / unit;
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 => format!("{whole}.{part:02} {name}"),
        10..100 => format!("{whole}.{} {name}", part / 10),
        _ => format!("{whole} {name}"),
    }
}

/// Serves both services on `address` for ever.
///
/// # Errors
///
/// A port is taken.
pub async fn serve(address: Ipv4Addr) -> io::Result<()> {
    for port in [DISCARD_PORT, GENERATOR_PORT] {
        let listener = Kernel.listen(SocketAddrV4::new(address, port).into()).await?;
        spawn_local(serve_at(listener, port == DISCARD_PORT, TRANSFERS_MAX));
    }
    Ok(())
}

/// Serves one of the services at `listener` for ever, `transfers_max` clients at a time.
async fn serve_at(listener: impl Listener, is_discard: bool, transfers_max: usize) {
    let transfers = Rc::new(Cell::new(0));
    while let Ok(stream) = listener.accept().await {
        if transfers.get() == transfers_max {
            continue;
        }
        transfers.set(transfers.get() + 1);
        let transfers = Rc::clone(&transfers);
        spawn_local(async move {
            // Every transfer ends with an error, or with the client's end.
            _ = if is_discard { discard(stream).await } else { generate(stream).await };
            transfers.set(transfers.get() - 1);
        });
    }
}

/// Transfers to and from `server`, in each direction until `limit`; `None` if it does not answer.
///
/// # Errors
///
/// The server refuses, or a connection breaks.
pub async fn measure(server: Ipv4Addr, limit: Limit) -> io::Result<Option<Speed>> {
    let (clock, mut chunk) = (SystemClock::new(), chunk());
    let Some(download) = download(server, limit, &clock, &mut chunk).await? else { return Ok(None) };
    let upload = upload(server, limit, &clock, &chunk).await?;
    Ok(upload.map(|upload| Speed { download, upload }))
}

async fn download(
    server: Ipv4Addr,
    limit: Limit,
    clock: &SystemClock,
    chunk: &mut [u8],
) -> io::Result<Option<Transfer>> {
    let Some(mut stream) = connect(server, GENERATOR_PORT).await? else { return Ok(None) };
    let (begun, mut octets) = (clock.now(), 0);
    while octets < limit.octets && clock.now().since(begun) < limit.time {
        let Ok(len) = timeout(PATIENCE, stream.read(chunk)).await else { return Ok(None) };
        match len? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => octets += len as u64,
        }
    }
    Ok(Some(transfer(octets, clock.now().since(begun))))
}

async fn upload(
    server: Ipv4Addr,
    limit: Limit,
    clock: &SystemClock,
    chunk: &[u8],
) -> io::Result<Option<Transfer>> {
    let Some(mut stream) = connect(server, DISCARD_PORT).await? else { return Ok(None) };
    let (begun, mut octets) = (clock.now(), 0);
    while octets < limit.octets && clock.now().since(begun) < limit.time {
        let Ok(len) = timeout(PATIENCE, stream.write(chunk)).await else { return Ok(None) };
        octets += len? as u64;
    }
    stream.shutdown().await?;
    let Ok(end) = timeout(PATIENCE, stream.read(&mut [0])).await else { return Ok(None) };
    end?;
    Ok(Some(transfer(octets, clock.now().since(begun))))
}

async fn connect(server: Ipv4Addr, port: u16) -> io::Result<Option<impl AsyncRead + AsyncWrite + Unpin>> {
    let connected = timeout(PATIENCE, Kernel.connect(SocketAddrV4::new(server, port).into())).await;
    connected.map_or(Ok(None), |stream| stream.map(Some))
}

async fn discard(mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_LEN];
    while timeout(PATIENCE, stream.read(&mut chunk)).await?? > 0 {}
    Ok(())
}

async fn generate(mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    let chunk = chunk();
    loop {
        timeout(PATIENCE, stream.write_all(&chunk)).await??;
    }
}

fn chunk() -> Vec<u8> {
    (b' '..b' ' + PRINTING).cycle().take(CHUNK_LEN).collect()
}

fn transfer(octets: u64, time: Duration) -> Transfer {
    Transfer { octets, micros: u64::try_from(time.as_micros()).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits_and_a_unit() {
        let second = 1_000_000;
        let rates = [0, 1, 125, 154_321, 12_500_000, 124_999_999, 1_562_500_000, 12_500_000_000];
        let shown = rates.map(|octets| rate(octets, second));
        let expected = [
            "0 bit/s",
            "8 bit/s",
            "1.00 kbit/s",
            "1.23 Mbit/s",
            "100 Mbit/s",
            "999 Mbit/s",
            "12.5 Gbit/s",
            "100 Gbit/s",
        ];
        assert_eq!(shown, expected);
        assert_eq!(rate(u64::MAX, 0), "147573952589676412 Gbit/s");
        assert_eq!(rate(1_000, second / 2), "16.0 kbit/s");
    }

    #[test]
    fn the_generator_repeats_the_printing_characters() {
        let chunk = chunk();
        assert_eq!(chunk.len(), CHUNK_LEN);
        assert_eq!((chunk[0], chunk[94], chunk[95]), (b' ', b'~', b' '));
    }

    #[tokio::test]
    async fn discard_reads_until_the_end() {
        let (mut client, server) = tokio::io::duplex(1_000);
        let service = discard(server);
        let send = async {
            client.write_all(&[1; 10_000]).await.expect("the service reads");
            drop(client);
        };
        let (served, ()) = tokio::join!(service, send);
        served.expect("the end is no error");
    }

    #[tokio::test]
    async fn a_client_beyond_the_most_transfers_is_turned_away() {
        let serve_all = async {
            let listener = Kernel.listen((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback has ports");
            let server = listener.local_addr();
            spawn_local(serve_at(listener, false, 2));
            let mut served = Vec::new();
            for _ in 0..2 {
                let mut client = Kernel.connect(server).await.expect("it listens");
                client.read_exact(&mut [0]).await.expect("it is served");
                served.push(client);
            }
            let mut refused = Kernel.connect(server).await.expect("it listens");
            refused.read(&mut [0]).await.expect("it is closed in order")
        };
        assert_eq!(tokio::task::LocalSet::new().run_until(serve_all).await, 0);
    }

    #[tokio::test]
    async fn the_generator_ends_with_its_client() {
        let (mut client, server) = tokio::io::duplex(1_000);
        let service = generate(server);
        let receive = async {
            let mut received = [0; 3_000];
            client.read_exact(&mut received).await.expect("the service writes");
            drop(client);
            received
        };
        let (served, received) = tokio::join!(service, receive);
        assert!(served.is_err());
        assert_eq!(received[..], chunk()[..3_000]);
    }
}
