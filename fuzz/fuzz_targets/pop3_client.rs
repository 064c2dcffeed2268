//! Octets from a server to the POP3 client: it never panics, ends once, and sends no password in clear unless it may. How
//! what the server says is cut makes no difference.
//!
//! The input is how the server is spoken to, how its octets are cut, and what it says, a line at a time; lines of one control
//! octet are what happens otherwise.

#![no_main]

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::mail::pop3::client::{Encryption, LISTED_MAX, Output, Session, Settings};
use gatepost_services::mail::sasl::Password;
use gatepost_services::mail::sasl::client::{Credentials, NONCE_OCTETS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (flags, cuts, stream) = (input.u8(), input.chunk(), input.rest());
    let (whole, cut) = (run(flags, stream, &[]), run(flags, stream, cuts));
    assert!(cut == whole, "cut at {cuts:?} it comes to {cut:?} and not to {whole:?}");
});

/// Octets in portions of so many each, or whole.
fn portions<'a>(octets: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut portions) = (octets, Vec::new());
    let mut lens = cuts.iter().map(|cut| usize::from(*cut) + 1).cycle();
    while !rest.is_empty() {
        let (portion, after) = rest.split_at(lens.next().unwrap_or(rest.len()).min(rest.len()));
        portions.push(portion);
        rest = after;
    }
    portions
}

/// What a session came to: all that was sent, all octets of messages, and all else that was told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    sent: Vec<u8>,
    messages: Vec<u8>,
    outputs: Vec<Output>,
}

fn run(flags: u8, stream: &[u8], cuts: &[u8]) -> Came {
    let encryption = [Encryption::Never, Encryption::Opportunistic, Encryption::Required, Encryption::Active];
    let encryption = encryption[usize::from(flags & 3)];
    let password = Password("secret".to_owned());
    let login = Credentials { user: "anna".to_owned(), password, nonce: [7; NONCE_OCTETS] };
    let mut now = Instant::from_secs(1);
    let mut session = Session::new(now, Settings { encryption, login });
    let mut came = Came::default();
    let mut lines = stream.split_inclusive(|octet| *octet == b'\n');
    loop {
        while let Some(output) = session.poll_output(now) {
            match &output {
                Output::Send(octets) => {
                    let may_be_read = matches!(encryption, Encryption::Never | Encryption::Opportunistic);
                    let is_login =
                        [&b"AUTH"[..], b"USER", b"PASS"].iter().any(|word| octets.starts_with(word));
                    assert!(session.is_tls() || may_be_read || !is_login);
                    assert!(octets.ends_with(b"\r\n"));
                    came.sent.extend_from_slice(octets);
                    continue;
                }
                Output::Octets(octets) => {
                    assert!(!octets.is_empty());
                    came.messages.extend_from_slice(octets);
                    continue;
                }
                Output::Derive(_) => session.derived(&[7; 32]),
                Output::Listing(listing) => assert!(listing.messages.len() <= LISTED_MAX),
                Output::StartTls => {
                    assert!(matches!(encryption, Encryption::Opportunistic | Encryption::Required))
                }
                Output::Answered(_) => assert!(session.is_ready() || session.is_closed()),
                Output::Close(_) => {
                    assert!(session.is_closed() && session.deadline().is_none());
                    assert_eq!(session.poll_output(now), None);
                    came.outputs.push(output);
                    return came;
                }
            }
            came.outputs.push(output);
        }
        match lines.next() {
            None if session.is_ready() => session.quit(),
            None => session.lost(),
            Some(b"\x01\n") => session.tls_started(now),
            Some(b"\x02\n") => {
                now = session.deadline().unwrap_or(now);
                session.handle_timeout(now);
            }
            Some(b"\x03\n") => session.tls_failed("no common cipher"),
            Some(b"\x04\n") => session.retrieve(1),
            Some(b"\x05\n") => session.delete(1),
            Some(line) => portions(line, cuts).iter().for_each(|portion| session.receive(now, portion)),
        }
    }
}
