//! The notice about a message that anybody wrote, with what any server said of it: it has the parts that it should have, and
//! nothing of what others said becomes a field, a part, or a line that is too long.
//!
//! The input is what became of the message, what the server and the sender said, the recipient, and the message.

#![no_main]

use gatepost_fuzz::Input;
use gatepost_services::clock::UnixTime;
use gatepost_services::mail::address::{Mailbox, ReversePath};
use gatepost_services::mail::bounce::{Action, Notice, RecipientStatus, ReportingMta};
use gatepost_services::mail::smtp::OriginalRecipient;
use gatepost_services::mail::smtp::client::{Outcome, Report, Scope, Status};
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime(1_709_210_096);
/// What a program reads has these fields.
const FIELDS: [&str; 12] = [
    "Original-Envelope-Id",
    "Reporting-MTA",
    "Arrival-Date",
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Will-Retry-Until",
    "Content-Type",
    "Content-Transfer-Encoding",
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.u8();
    let (said, server, orcpt, envid, to) =
        (text(&mut input, 2000), text(&mut input, 255), text(&mut input, 500), text(&mut input, 100), text(&mut input, 300));
    let message = input.rest();
    let action = [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered][usize::from(flags & 3)];
    let sender = Mailbox::parse("anna@office.example").expect("an address");
    let report = Report {
        outcome: if flags & 4 == 0 { Outcome::Failed } else { Outcome::Deferred },
        status: Status::new(5, 1, 1),
        text: said,
        is_reply: flags & 8 == 0,
        scope: Scope::Envelope,
        is_one_too_many: false,
        is_of_recipient: false,
        may_be_delivered: false,
        is_dsn_passed_on: false,
    };
    let status = RecipientStatus {
        recipient: Mailbox::parse(&to).unwrap_or_else(|_| sender.clone()),
        orcpt: Some(OriginalRecipient { address_type: "rfc822".to_owned(), address: orcpt }),
        forwarded_by: (flags & 32 == 0).then(|| sender.clone()),
        report,
        server: Some(server),
    };
    let sender = ReversePath::Mailbox(sender);
    let notice = Notice::of(&sender, action, vec![status], None, Some(envid), NOW).expect("it has a recipient");
    let mta = ReportingMta { hostname: "smtp.office.example", domain: "office.example", id: "7.1", now: NOW };
    check(&notice.to_octets(&mta, message, flags & 16 == 0));
});

/// The text of a chunk, at most so many octets.
fn text(input: &mut Input<'_>, octets_max: usize) -> String {
    let mut text = String::from_utf8_lossy(input.chunk()).into_owned();
    text.truncate(text.floor_char_boundary(octets_max));
    text
}

fn check(octets: &[u8]) {
    assert!(!octets.contains(&0));
    for line in octets.split(|octet| *octet == b'\n') {
        assert!(line.strip_suffix(b"\r").unwrap_or(line).len() <= 998, "a line of {} octets", line.len());
    }
    let text = String::from_utf8_lossy(octets);
    let boundary = text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    let delimiter = format!("--{}", boundary.expect("a boundary"));
    let parts: Vec<&str> = text.split(delimiter.as_str()).collect();
    assert!(parts.len() == 5 && parts[4] == "--\r\n", "{} parts", parts.len());
    for part in &parts[..3] {
        assert_eq!(part.matches('\n').count(), part.matches("\r\n").count());
        assert_eq!(part.matches('\r').count(), part.matches("\r\n").count());
    }
    for line in parts[2].split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(' ')) {
        let name = line.split(':').next().unwrap_or_default();
        assert!(FIELDS.contains(&name), "{line:?} is no field of a report");
    }
}
