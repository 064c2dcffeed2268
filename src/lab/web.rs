//! A minimal web server that shows both ends of a connection: its one page has the server's name and the client's
//! address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use gatepost_services::net::kernel::Kernel;
use gatepost_services::net::{Listener, Net, Stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::protocol::Page;

/// How long a page may take, to read or to write.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest request or answer that is read.
const LENGTH_MAX: u64 = 4096;

/// Serves the front page of `host` on `address` for ever.
///
/// # Errors
///
/// The port is taken.
pub async fn serve(host: Rc<str>, address: SocketAddrV4) -> io::Result<()> {
    let listener = Kernel.listen(address.into()).await?;
    tokio::task::spawn_local(async move {
        while let Ok(stream) = listener.accept().await {
            tokio::task::spawn_local(timeout(PATIENCE, answer(stream, Rc::clone(&host))));
        }
    });
    Ok(())
}

/// Fetches the front page that `server` serves; `None` if it does not answer.
///
/// # Errors
///
/// The server refuses, or what it answers is not a page of the lab.
pub async fn fetch(server: SocketAddrV4) -> io::Result<Option<Page>> {
    timeout(PATIENCE, async {
        let mut stream = Kernel.connect(server.into()).await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.ip());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LENGTH_MAX).read_to_string(&mut answer).await?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        read_page(body).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a page of the lab"))
    })
    .await
    .map_or(Ok(None), |page| page.map(Some))
}

async fn answer(stream: impl Stream, host: Rc<str>) -> io::Result<()> {
    let client = stream.peer_addr();
    let mut stream = BufReader::new(stream);
    let mut head = (&mut stream).take(LENGTH_MAX);
    let mut line = String::new();
    while head.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let body = write_page(&host, client);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn write_page(host: &str, client: SocketAddr) -> String {
    format!("This is {host}. You are {}.\n", client.ip())
}

fn read_page(body: &str) -> Option<Page> {
    let (host, client) = body.strip_prefix("This is ")?.split_once(". You are ")?;
    let client: Ipv4Addr = client.strip_suffix(".\n")?.parse().ok()?;
    Some(Page { host: host.to_owned(), client })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_who_served_it_to_whom() {
        let body = write_page("pc1", "203.0.113.7:1024".parse().expect("an address"));
        let page = Page { host: "pc1".to_owned(), client: Ipv4Addr::new(203, 0, 113, 7) };
        assert_eq!(read_page(&body), Some(page));
        assert_eq!(read_page("<html>"), None);
    }
}
