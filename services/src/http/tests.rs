//! Octets of connections, and what a site makes of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hyper::StatusCode;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::testing::{CANONICAL, Lab, Simulated, simulate, talk};
use super::*;
use crate::net::Stream;
use crate::{cases, watch};

/// A site that answers what it was asked.
struct Echo {
    checked: RefCell<Vec<Checked>>,
    /// What the events tell.
    ticks: Rc<watch::Sender<u64>>,
    /// The pieces of a download that the connection has taken.
    sent: Rc<Cell<usize>>,
}

/// The pieces of a download, and the octets of one.
const DOWNLOAD_PIECES: usize = 64;
const PIECE_OCTETS: usize = 3 * PORTION_OCTETS_MAX + 5;

impl Site for Echo {
    fn is_called(&self, name: &str) -> bool {
        ["admin.office.example", "192.168.1.1"].contains(&name)
    }

    fn canonical(&self) -> String {
        CANONICAL.to_owned()
    }

    async fn answer(&self, request: Request) -> Response {
        if request.path == "/slow" {
            std::future::pending::<()>().await;
        }
        if request.path == "/events" {
            let ticks = self.ticks.clone();
            return Response::events(async move |mut events| {
                let mut ticks = ticks.subscribe();
                while ticks.changed().await.is_ok() {
                    let tick = *ticks.borrow();
                    events.send("tick", &format!("{tick}\nof many")).await;
                }
            });
        }
        if request.path == "/download" {
            let sent = Rc::clone(&self.sent);
            return Response {
                body: Body::download(async move |mut writer| {
                    for _ in 0..DOWNLOAD_PIECES {
                        writer.send(vec![b'x'; PIECE_OCTETS]).await;
                        sent.set(sent.get() + 1);
                    }
                    if request.query.is_some() { Err(Broken) } else { Ok(()) }
                }),
                ..Response::text(StatusCode::OK, "")
            };
        }
        if request.path == "/large" {
            return Response::text(StatusCode::OK, &"x".repeat(1 << 20));
        }
        let Request { method, path, query, body, .. } = &request;
        let query = query.as_deref().unwrap_or("-");
        Response::text(StatusCode::OK, &format!("{method} {path} {query} {}", String::from_utf8_lossy(body)))
    }

    fn count(&self, checked: Checked) {
        self.checked.borrow_mut().push(checked);
    }
}

fn lab() -> Lab<Echo> {
    let echo =
        Echo { checked: RefCell::default(), ticks: Rc::new(watch::Sender::new(0)), sent: Rc::default() };
    Lab::new(Rc::new(echo), Simulated::clock())
}

/// A request with these lines after the Host field.
fn request(line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {CANONICAL}\r\n{more}\r\n")
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a_request_under_tls_is_answered_with_the_fields_that_protect_the_page() {
    simulate(async {
        let answer = lab().ask(&request("GET /a/b?c=d%20e", "Connection: close\r\n")).await.to_lowercase();
        assert_eq!(status_of(&answer), 200, "{answer}");
        assert!(answer.ends_with("\r\n\r\nget /a/b c=d%20e \n"), "{answer}");
        for field in [
            "content-security-policy: default-src 'none'; style-src 'self'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: same-origin",
            "cache-control: no-store",
            "content-length: ",
        ] {
            assert!(answer.contains(field), "no {field}: {answer}");
        }
        assert!(!answer.contains("\ndate:") && !answer.contains("unsafe-inline"), "{answer}");
    });
}

#[test]
fn several_requests_use_one_connection_and_head_has_no_body() {
    simulate(async {
        let lab = lab();
        let form = "Content-Length: 3\r\nConnection: close\r\n";
        let both = format!("{}{}a=b", request("HEAD /x", ""), request("POST /y", form));
        let answer = lab.ask(&both).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert!(!answer.contains("HEAD /x") && answer.ends_with("POST /y - a=b\n"), "{answer}");
        assert!(lab.site.checked.borrow().is_empty());
    });
}

#[test]
fn a_request_in_clear_is_sent_to_https_on_the_same_host_and_port() {
    simulate(async {
        let lab = lab();
        let answer = lab.ask_in_clear(&request("GET /clients?sort=name", "")).await;
        assert_eq!(status_of(&answer), 307, "{answer}");
        assert!(
            answer.contains("location: https://admin.office.example:465/clients?sort=name\r\n"),
            "{answer}"
        );
        assert_eq!(*lab.site.checked.borrow(), [Checked::Redirected]);
        // What no URL has would be missing from the redirect.
        let answer = lab.ask_in_clear(&request("GET /\u{fc}", "")).await;
        assert!(status_of(&answer) == 400 && !answer.contains("location"), "{answer}");
        assert_eq!(lab.site.checked.borrow()[1..], [Checked::Refused]);
        // A password in clear is answered, but not passed on.
        let answer = lab.ask_in_clear(&request("POST /sign-in", "Content-Length: 3\r\n")).await;
        assert_eq!(status_of(&answer), 403, "{answer}");
        let host = "GET / HTTP/1.1\r\nHost: evil.example:465\r\n\r\n";
        let answer = lab.ask_in_clear(host).await;
        assert!(status_of(&answer) == 421 && !answer.contains("location"), "{answer}");
    });
}

#[test]
fn a_site_at_the_port_of_http_is_sent_to_https_on_that_port() {
    simulate(async {
        let lab = lab();
        let (mut stream, server) = crate::tls::testing::pipe_to(80, 4096);
        let (site, conditions) = (Rc::clone(&lab.site), lab.conditions.clone());
        tokio::task::spawn_local(async move { serve(server, &*site, &conditions).await });
        let answer = talk(&mut stream, "GET /x HTTP/1.1\r\nHost: admin.office.example\r\n\r\n").await;
        assert!(answer.contains("location: https://admin.office.example:80/x\r\n"), "{answer}");
    });
}

#[test]
fn hosts_that_are_not_the_site_s_are_refused() {
    simulate(async {
        let lab = lab();
        let asked =
            async |lines: &str| status_of(&lab.ask(&format!("{lines}Connection: close\r\n\r\n")).await);
        for host in ["evil.example:465", "admin.office.example", "admin.office.example:8081", "10.0.0.1:465"]
        {
            assert_eq!(asked(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n")).await, 421, "{host}");
        }
        for lines in [
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n",
            "GET / HTTP/1.1\r\nHost: admin.office.example:465\r\nHost: evil.example:465\r\n",
            "GET / HTTP/1.1\r\nHost: admin.office.example:465\r\nHost: admin.office.example:465\r\n",
            "GET https://evil.example:465/ HTTP/1.1\r\nHost: admin.office.example:465\r\n",
            "GET https://admin.office.example:465/ HTTP/1.1\r\nHost: evil.example:465\r\n",
            "GET / HTTP/1.1\r\nHost: user@admin.office.example:465\r\n",
        ] {
            assert_eq!(asked(lines).await, 400, "{lines}");
        }
        assert!(lab.site.checked.borrow().iter().all(|checked| *checked == Checked::WrongHost));
        let absolute =
            "GET https://Admin.Office.example:465/x HTTP/1.1\r\nHost: ADMIN.office.example:465\r\n";
        assert_eq!(asked(absolute).await, 200);
        assert_eq!(asked("GET /x HTTP/1.0\r\nHost: 192.168.1.1:465\r\n").await, 200);
    });
}

#[test]
fn nothing_is_smuggled_behind_a_request() {
    simulate(async {
        let behind = request("GET /behind", "");
        for fields in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: 4, 5\r\n",
            "Content-Length: 0x4\r\n",
            " Content-Length: 4\r\n",
        ] {
            let answer = lab().ask(&format!("{}0\r\n\r\n{behind}", request("POST /", fields))).await;
            assert!([400, 411].contains(&status_of(&answer)), "{fields}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{fields}: {answer}");
        }
        // Without a length there is no form; a body of GET's is not looked at.
        let answer = lab().ask(&format!("{}{behind}", request("POST /", ""))).await;
        assert!(status_of(&answer) == 411 && !answer.contains("behind"), "{answer}");
        let answer = lab().ask(&format!("{}abc{behind}", request("GET /", "Content-Length: 3\r\n"))).await;
        assert!(status_of(&answer) == 413 && !answer.contains("behind"), "{answer}");
    });
}

#[test]
fn heads_and_bodies_are_bounded() {
    simulate(async {
        let with_field =
            |octets: usize| request("GET /", &format!("X: {}\r\nConnection: close\r\n", "x".repeat(octets)));
        assert_eq!(status_of(&lab().ask(&with_field(HEAD_OCTETS_MAX - 200)).await), 200);
        assert_eq!(status_of(&lab().ask(&with_field(HEAD_OCTETS_MAX)).await), 431);
        let with_fields =
            |count: usize| request("GET /", &format!("{}Connection: close\r\n", "X: y\r\n".repeat(count)));
        assert_eq!(status_of(&lab().ask(&with_fields(FIELDS_MAX - 2)).await), 200);
        assert_eq!(status_of(&lab().ask(&with_fields(FIELDS_MAX - 1)).await), 431);
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(70_000));
        assert!([400, 414, 431].contains(&status_of(&lab().ask(&long).await)));
        let with_body = |octets: usize| {
            let head = request("POST /", &format!("Content-Length: {octets}\r\nConnection: close\r\n"));
            format!("{head}{}", "x".repeat(octets))
        };
        assert_eq!(status_of(&lab().ask(&with_body(BODY_OCTETS_MAX)).await), 200);
        assert_eq!(status_of(&lab().ask(&with_body(BODY_OCTETS_MAX + 1)).await), 413);
        let told = "Content-Length: 18446744073709551615\r\n";
        assert_eq!(status_of(&lab().ask(&request("POST /", told)).await), 431, "hyper answers");
    });
}

#[test]
fn methods_and_targets_that_no_page_has_are_refused() {
    simulate(async {
        for method in ["PUT", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "CONNECT"] {
            let answer = lab().ask(&request(&format!("{method} /"), "Connection: close\r\n")).await;
            assert!([400, 405].contains(&status_of(&answer)), "{method}: {answer}");
        }
        for target in ["*", "admin.office.example:465", "x", "\\", "/\u{1}"] {
            let answer = lab().ask(&request(&format!("GET {target}"), "Connection: close\r\n")).await;
            assert!([400, 405].contains(&status_of(&answer)), "{target}: {answer}");
        }
        for target in ["/../../etc/passwd", "/%2e%2e/", "//evil.example/", "/a/./b"] {
            let answer = lab().ask(&request(&format!("GET {target}"), "Connection: close\r\n")).await;
            assert!(answer.ends_with(&format!("GET {target} - \n")), "as it was sent: {answer}");
        }
        let answer = lab().ask_in_clear(&request("GET //evil.example/", "")).await;
        assert!(answer.contains("location: https://admin.office.example:465//evil.example/\r\n"), "{answer}");
    });
}

/// How long the server keeps a connection on which this was sent in clear, in seconds, and how it ends.
async fn patience(lab: &Lab<Echo>, octets: &str) -> (u64, End) {
    let began = tokio::time::Instant::now();
    let (mut stream, task) = lab.connect();
    stream.write_all(octets.as_bytes()).await.expect("room");
    let end = task.await.expect("it ends");
    (began.elapsed().as_secs(), end)
}

#[test]
fn slow_clients_are_given_up() {
    simulate(async {
        let lab = lab();
        let head = HEAD_TIME_MAX.as_secs();
        assert_eq!(patience(&lab, "").await, (head, End::TimedOut));
        assert_eq!(patience(&lab, "GET / HT").await, (head, End::TimedOut));
        // A beginning of TLS alone: the handshake's time counts.
        assert_eq!(patience(&lab, "\u{16}").await, (crate::tls::HANDSHAKE_TIME_MAX.as_secs(), End::TimedOut));

        // An octet now and then brings no more time.
        let began = tokio::time::Instant::now();
        let (mut stream, task) = lab.connect();
        let dripping = tokio::task::spawn_local(async move {
            for octet in request("GET /", "").bytes().cycle() {
                if stream.write_all(&[octet]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        });
        assert_eq!(task.await.expect("it ends"), End::TimedOut);
        assert!(began.elapsed() <= HEAD_TIME_MAX + Duration::from_secs(1));
        dripping.abort();
    });
}

#[test]
fn slow_bodies_and_slow_answers_are_given_up_and_idle_connections_closed() {
    simulate(async {
        let lab = lab();
        for (octets, expected, how) in [
            (request("POST /", "Content-Length: 10\r\n"), ANSWER_TIME_MAX, End::TimedOut),
            (request("GET /slow", ""), ANSWER_TIME_MAX, End::TimedOut),
            (request("GET /large", ""), WRITE_TIME_MAX, End::TimedOut),
            (request("GET /", ""), IDLE_TIME_MAX, End::Closed),
        ] {
            let (mut stream, task) = lab.connect_tls().await;
            let began = tokio::time::Instant::now();
            stream.write_all(octets.as_bytes()).await.expect("room");
            stream.flush().await.expect("it goes");
            assert_eq!(task.await.expect("it ends"), how, "{octets}");
            assert_eq!(began.elapsed().as_secs(), expected.as_secs(), "{octets}");
        }
    });
}

#[test]
fn a_client_that_reads_now_and_then_is_given_up() {
    simulate(async {
        let lab = lab();
        let (mut stream, task) = lab.connect_tls().await;
        let began = tokio::time::Instant::now();
        stream.write_all(request("GET /large", "").as_bytes()).await.expect("room");
        stream.flush().await.expect("it goes");
        let reading = tokio::task::spawn_local(async move {
            let mut heard = vec![0; 40_000];
            while stream.read_exact(&mut heard).await.is_ok() {
                tokio::time::sleep(WRITE_TIME_MAX / 2).await;
            }
        });
        assert_eq!(task.await.expect("it ends"), End::TimedOut);
        assert_eq!(began.elapsed().as_secs(), READ_TIME_MAX.as_secs());
        reading.abort();
    });
}

#[test]
fn a_connection_that_asks_for_ever_is_closed_in_the_end() {
    simulate(async {
        let lab = lab();
        let (mut stream, task) = lab.connect_tls().await;
        let began = tokio::time::Instant::now();
        let mut heard = [0; 4096];
        let mut answers = 0;
        loop {
            if stream.write_all(request("GET /", "").as_bytes()).await.is_err()
                || stream.flush().await.is_err()
            {
                break;
            }
            match stream.read(&mut heard).await {
                Ok(count) if count > 0 => answers += 1,
                _ => break,
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        assert_eq!(task.await.expect("it ends"), End::Closed);
        assert!(
            answers >= 20 && began.elapsed() <= CONNECTION_TIME_MAX + Duration::from_secs(60),
            "{answers}"
        );
    });
}

#[test]
fn a_site_that_stops_finishes_the_request_at_hand() {
    simulate(async {
        let lab = lab();
        let (mut idle, idle_task) = lab.connect_tls().await;
        let (mut half, half_task) = lab.connect_tls().await;
        half.write_all(request("POST /", "Content-Length: 4\r\n").as_bytes()).await.expect("room");
        half.flush().await.expect("it goes");
        let (_silent, silent_task) = lab.connect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab.finish.send_replace(true);
        assert_eq!(talk(&mut idle, "").await, "");
        let answer = talk(&mut half, "a=bc").await;
        assert!(answer.ends_with("POST / - a=bc\n"), "{answer}");
        for task in [idle_task, half_task, silent_task] {
            assert_eq!(task.await.expect("it ends"), End::Closed);
        }
    });
}

/// A connection on which this path is asked for.
async fn asking(lab: &Lab<Echo>, path: &str) -> (impl Stream + use<>, tokio::task::JoinHandle<End>) {
    let (mut stream, task) = lab.connect_tls().await;
    stream.write_all(request(&format!("GET {path}"), "").as_bytes()).await.expect("room");
    stream.flush().await.expect("it goes");
    (stream, task)
}

/// What comes next.
async fn next(stream: &mut impl Stream) -> String {
    let mut heard = vec![0; 4096];
    let count = stream.read(&mut heard).await.unwrap_or(0);
    String::from_utf8_lossy(&heard[..count]).into_owned()
}

#[test]
fn events_come_as_they_happen_and_a_quiet_stream_stays() {
    simulate(async {
        let lab = lab();
        let (mut stream, task) = asking(&lab, "/events").await;
        let head = next(&mut stream).await.to_lowercase();
        assert!(
            head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store")
        );
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        let began = tokio::time::Instant::now();
        lab.site.ticks.send_replace(7);
        assert!(next(&mut stream).await.contains("event: tick\ndata: 7\ndata: of many\n\n\r\n"));
        assert_eq!(began.elapsed(), Duration::ZERO);
        // Much longer than an answer that is whole may take.
        for _ in 0..20 {
            assert!(next(&mut stream).await.contains("\r\n:\n\n\r\n"));
        }
        assert_eq!(began.elapsed(), HEARTBEAT_TIME * 20);
        lab.site.ticks.send_replace(8);
        assert!(next(&mut stream).await.contains("data: 8\n"));
        drop(stream);
        assert_eq!(task.await.expect("it ends"), End::Lost, "the client is gone");
        assert_eq!(Rc::strong_count(&lab.site.ticks), 1, "the source, too");
    });
}

#[test]
fn events_end_well_after_the_longest_time_and_when_the_site_stops() {
    simulate(async {
        let lab = lab();
        let began = tokio::time::Instant::now();
        let (mut stream, task) = asking(&lab, "/events").await;
        let heard = talk(&mut stream, "").await;
        assert!(heard.ends_with("\r\n0\r\n\r\n"), "the last chunk: {heard}");
        let took = began.elapsed();
        assert_eq!(took, GROWING_TIME_MAX, "as the connection is old, it ends too");
        assert_eq!(task.await.expect("it ends"), End::Closed);
        let (mut stream, task) = asking(&lab, "/events").await;
        next(&mut stream).await;
        lab.finish.send_replace(true);
        assert!(talk(&mut stream, "").await.ends_with("0\r\n\r\n"));
        assert_eq!((task.await.expect("it ends"), began.elapsed()), (End::Closed, took));
    });
}

#[test]
fn a_connection_is_of_use_again_after_a_body_that_grew() {
    simulate(async {
        let lab = lab();
        let (mut stream, task) = asking(&lab, "/download").await;
        let octets = DOWNLOAD_PIECES * PIECE_OCTETS;
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n0\r\n\r\n") {
            assert!(stream.read_buf(&mut heard).await.expect("more") > 0);
        }
        let body = heard.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
        assert_eq!(heard[body..].iter().filter(|octet| **octet == b'x').count(), octets);
        let answer = talk(&mut stream, &request("GET /again", "")).await;
        assert!(answer.ends_with("GET /again - \n"));
        assert_eq!(task.await.expect("it ends"), End::Closed, "it was idle");
        // Of a HEAD there is no body to wait for.
        let answer = lab.ask(&request("HEAD /events", "")).await;
        assert_eq!(status_of(&answer), 200);
    });
}

#[test]
fn a_download_that_fails_is_no_whole_answer() {
    simulate(async {
        let lab = lab();
        let (mut stream, task) = asking(&lab, "/download?fails").await;
        let heard = talk(&mut stream, "").await;
        assert!(heard.len() > PIECE_OCTETS && !heard.contains("\r\n0\r\n"));
        assert_eq!(task.await.expect("it ends"), End::Lost);
    });
}

#[test]
fn a_source_waits_for_a_client_that_does_not_read_until_that_is_given_up() {
    simulate(async {
        let lab = lab();
        let (_stream, task) = asking(&lab, "/download").await;
        let began = tokio::time::Instant::now();
        assert_eq!(task.await.expect("it ends"), End::TimedOut);
        assert!(lab.site.sent.get() < 4, "what fits the buffers");
        // The buffers may take some once more.
        assert!(began.elapsed() <= WRITE_TIME_MAX * 2);
        assert_eq!(Rc::strong_count(&lab.site.sent), 1, "the source is gone");
    });
}

/// How long a client may take that reads so many octets every 10 s, and the end.
async fn read_slowly(octets: usize) -> (Duration, End) {
    let lab = lab();
    let (mut stream, task) = asking(&lab, "/download").await;
    let began = tokio::time::Instant::now();
    let reading = tokio::task::spawn_local(async move {
        let mut heard = vec![0; octets];
        while stream.read_exact(&mut heard).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    });
    let end = task.await.expect("it ends");
    reading.abort();
    (began.elapsed(), end)
}

#[test]
fn a_slow_client_gets_all_and_one_that_is_too_slow_is_given_up() {
    simulate(async {
        let (took, end) = read_slowly(READ_OCTETS_MIN * 2).await;
        assert!(took > READ_TIME_MAX * 3 && end == End::Closed, "{took:?} {end:?}");
        let (took, end) = read_slowly(1000).await;
        assert!(took <= WRITE_TIME_MAX * 3 && end == End::TimedOut, "{took:?} {end:?}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn any_octets_have_an_end(octets in proptest::collection::vec(any::<u8>(), 0..600), under_tls: bool) {
        simulate(async {
            let lab = lab();
            let (end, task) = if under_tls {
                let (mut stream, task) = lab.connect_tls().await;
                _ = stream.write_all(&octets).await;
                _ = stream.flush().await;
                let mut heard = Vec::new();
                _ = stream.read_to_end(&mut heard).await;
                (heard, task)
            } else {
                let (mut stream, task) = lab.connect();
                _ = stream.write_all(&octets).await;
                let mut heard = Vec::new();
                _ = stream.read_to_end(&mut heard).await;
                (heard, task)
            };
            task.await.expect("no panic");
            assert!(end.len() < 100_000);
        });
    }
}
