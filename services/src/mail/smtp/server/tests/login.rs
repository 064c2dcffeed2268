use crate::mail::sasl::scram;
use crate::mail::smtp::server::testing::{Line, lan, submissions, wan};
use crate::mail::smtp::{AUTH_LINE_OCTETS_MAX, Policy, Tls};

/// `\0anna\0secret`.
const RIGHT: &str = "AGFubmEAc2VjcmV0";
/// `\0anna\0wrong`.
const WRONG: &str = "AGFubmEAd3Jvbmc=";

fn line() -> Line {
    Line::greeted(submissions())
}

/// RFC 4954, section 4: PLAIN, with and without an initial response.
#[test]
fn rfc4954_4_plain() {
    line().dialogue(&[(&format!("AUTH PLAIN {RIGHT}"), "235 2.7.0"), ("AUTH PLAIN", "503 5.5.1")]);
    line().dialogue(&[("auth plain", "334 \r\n"), (RIGHT, "235 2.7.0")]);
    line().dialogue(&[
        (&format!("AUTH PLAIN {WRONG}"), "535 5.7.8"),
        ("AUTH PLAIN", "334 \r\n"),
        (RIGHT, "235"),
    ]);
    line().dialogue(&[("AUTH PLAIN =", "501 5.5.2"), ("NOOP", "250")]);
    line().dialogue(&[("AUTH PLAIN", "334 \r\n"), ("", "501 5.5.2"), ("NOOP", "250")]);
}

/// RFC 4954, section 4: LOGIN, whose prompts programs compare octet by octet.
#[test]
fn rfc4954_4_login() {
    let (user, password) = ("YW5uYQ==", "c2VjcmV0");
    for first in ["AUTH LOGIN", "AUTH LOGIN ="] {
        line().dialogue(&[
            (first, "334 VXNlcm5hbWU6\r\n"),
            (user, "334 UGFzc3dvcmQ6\r\n"),
            (password, "235 2.7.0"),
        ]);
    }
    line().dialogue(&[(&format!("AUTH LOGIN {user}"), "334 UGFzc3dvcmQ6\r\n"), (password, "235 2.7.0")]);
    line().dialogue(&[("AUTH LOGIN", "334 "), (user, "334 "), (user, "535 5.7.8"), ("NOOP", "250")]);
    line().dialogue(&[("AUTH LOGIN", "334 "), ("bGF0ZXI=", "334 "), (user, "454 4.7.0"), ("NOOP", "250")]);
}

/// What a client of SCRAM-SHA-256 says first.
const SCRAM_FIRST: &str = "n,,n=anna,r=x";

fn encode(text: &str) -> String {
    data_encoding::BASE64.encode(text.as_bytes())
}

/// Begins a login by SCRAM-SHA-256, and returns the client's final message.
fn scram_final(line: &mut Line, password: &str) -> String {
    let reply = line.say(&format!("AUTH SCRAM-SHA-256 {}", encode(SCRAM_FIRST)));
    let challenge = reply.strip_prefix("334 ").and_then(|text| text.strip_suffix("\r\n"));
    let challenge = challenge.unwrap_or_else(|| panic!("a challenge, and not {reply}"));
    let challenge = data_encoding::BASE64.decode(challenge.as_bytes()).expect("base64");
    let challenge = String::from_utf8(challenge).expect("text");
    encode(&scram::testing::client_final(password, "n,,", "n=anna,r=x", &challenge))
}

/// RFC 5802, section 3: The client proves that it has the password, and the server that it knows its verifier.
#[test]
fn rfc5802_3_scram() {
    let mut line = line();
    let last = scram_final(&mut line, "wrong");
    line.dialogue(&[(&last, "535 5.7.8")]);
    let last = scram_final(&mut line, "secret");
    line.dialogue(&[(&last, "334 dj"), ("", "235 2.7.0"), ("MAIL FROM:<>", "250")]);
    assert_eq!(line.session.user(), Some("anna"));
    let unknown = encode("n,,n=clara,r=x");
    self::line().dialogue(&[
        ("AUTH SCRAM-SHA-256", "334 \r\n"),
        (&unknown, "334 cj"),
        (&encode("c=biws,r=x,p=x"), "535 5.7.8"),
        (&format!("AUTH SCRAM-SHA-256 {}", encode("n,,n=later,r=x")), "454 4.7.0"),
    ]);
}

/// A login by SCRAM-SHA-256 that was given up has no part in the next.
#[test]
fn a_login_that_was_given_up_has_no_part_in_the_next() {
    for given_up in ["*", "!", &"A".repeat(AUTH_LINE_OCTETS_MAX)] {
        // After the challenge: the right password is accepted afterwards.
        let mut line = line();
        scram_final(&mut line, "secret");
        line.dialogue(&[(given_up, "50")]);
        let last = scram_final(&mut line, "secret");
        line.dialogue(&[(&last, "334 dj"), ("", "235 2.7.0")]);
        // After the proof: the attempt does not count any more.
        let mut line = self::line();
        let last = scram_final(&mut line, "secret");
        line.dialogue(&[(&last, "334 dj"), (given_up, "50"), ("AUTH SCRAM-SHA-256 =", "535 5.7.8")]);
        assert_eq!(line.session.user(), None);
    }
    // Before TLS.
    let mut line = Line::greeted(Policy { tls: Tls::Available, plaintext_login: true, ..submissions() });
    let last = scram_final(&mut line, "secret");
    line.dialogue(&[(&last, "334 dj"), ("*", "501"), ("STARTTLS", "220")]);
    line.session.tls_started(line.now);
    line.dialogue(&[("EHLO a.example", "250-"), ("AUTH SCRAM-SHA-256 =", "535 5.7.8")]);
    assert_eq!(line.session.user(), None);
}

/// RFC 4954, section 4: A login is cancelled by a star, and ends when its lines cannot be read.
#[test]
fn rfc4954_4_a_login_can_be_cancelled_and_must_be_base64() {
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        line().dialogue(&[(&format!("AUTH {mechanism}"), "334 "), ("*", "501 5.7.0"), ("NOOP", "250")]);
        for wrong in ["!", "YQ", "YQ=", "YR==", "YQ==YQ==", " YQ==", "QUIT"] {
            let expected = if wrong == "QUIT" { "5" } else { "501 5.5.2" };
            let mut line = line();
            line.dialogue(&[(&format!("AUTH {mechanism}"), "334 ")]);
            let reply = line.say(wrong);
            assert!(reply.starts_with(expected) || reply.starts_with("334"), "{mechanism} {wrong}: {reply}");
            assert!(!line.is_closed(), "a response is no command");
        }
    }
    line().dialogue(&[("AUTH PLAIN !", "501 5.5.2"), ("AUTH FOO", "504 5.5.4"), ("AUTH", "501 5.5.4")]);
}

/// RFC 4954, section 4: Lines of a login are longer than those of commands, and end somewhere.
#[test]
fn rfc4954_4_lines_of_a_login_are_longer() {
    let of_len = |len: usize| "A".repeat(len - "\r\n".len());
    line().dialogue(&[("AUTH SCRAM-SHA-256", "334 "), (&of_len(AUTH_LINE_OCTETS_MAX - 2), "535 5.7.8")]);
    line().dialogue(&[
        ("AUTH SCRAM-SHA-256", "334 "),
        (&of_len(AUTH_LINE_OCTETS_MAX + 1), "500 5.5.6"),
        ("NOOP", "250"),
    ]);
    line()
        .dialogue(&[(&format!("AUTH PLAIN {}", of_len(AUTH_LINE_OCTETS_MAX)), "500 5.5.6"), ("NOOP", "250")]);
    let initial = format!("AUTH SCRAM-SHA-256 {}", "A".repeat(8000));
    line().dialogue(&[(&initial, "535 5.7.8")]);
}

/// RFC 4954, section 4: No login before EHLO, within a message, or twice.
#[test]
fn rfc4954_4_no_login_at_a_wrong_time() {
    Line::open(submissions()).dialogue(&[("AUTH PLAIN", "503 5.5.1")]);
    let mut line =
        Line::greeted(Policy { plaintext_login: true, mechanisms: submissions().mechanisms, ..lan() });
    line.dialogue(&[("MAIL FROM:<>", "250"), ("AUTH PLAIN", "503 5.5.1"), ("RSET", "250")]);
    line.dialogue(&[(&format!("AUTH PLAIN {RIGHT}"), "235"), (&format!("AUTH PLAIN {RIGHT}"), "503 5.5.1")]);
    Line::greeted(wan()).dialogue(&[("AUTH PLAIN", "502 5.5.1")]);
}

/// RFC 4954, section 4: Passwords only under TLS, or as configured on the LAN.
#[test]
fn rfc4954_4_passwords_only_under_tls() {
    let policy = Policy { tls: Tls::Available, ..submissions() };
    let mut line = Line::open(policy.clone());
    assert!(!line.say("EHLO a.example").contains("AUTH"));
    line.dialogue(&[
        (&format!("AUTH PLAIN {RIGHT}"), "538 5.7.11"),
        ("AUTH LOGIN", "538 5.7.11"),
        ("STARTTLS", "220"),
    ]);
    line.session.tls_started(line.now);
    assert!(line.say("EHLO a.example").contains("250 AUTH "));
    line.dialogue(&[(&format!("AUTH PLAIN {RIGHT}"), "235")]);
    let mut line = Line::greeted(Policy { plaintext_login: true, ..policy });
    line.dialogue(&[(&format!("AUTH PLAIN {RIGHT}"), "235")]);
    line.dialogue(&[("STARTTLS", "220")]);
    line.session.tls_started(line.now);
    assert_eq!(line.session.user(), None, "who logged in before is forgotten");
}

#[test]
fn passwords_are_not_printed() {
    let mut line = line();
    line.send(format!("AUTH PLAIN {RIGHT}"));
    let printed = format!("{:?}", line.session);
    assert!(printed.contains("LineReader") && !printed.contains(&format!("{:?}", RIGHT.as_bytes())[1..40]));
}

#[test]
fn logins_that_fail_are_few() {
    let mut line = line();
    let wrong = format!("AUTH PLAIN {WRONG}");
    line.dialogue(&[(&wrong, "535"), (&wrong, "535"), (&wrong, "535"), (&wrong, "535 5.7.8")]);
    assert!(line.is_closed());
    // Logins that cannot be checked, too: the verifier may be at its limit.
    let mut line = self::line();
    let later = format!("AUTH PLAIN {}", encode("\0later\0x"));
    line.dialogue(&[(&later, "454"), (&later, "454"), (&wrong, "535"), (&later, "454 4.7.0")]);
    assert!(line.is_closed());
}
