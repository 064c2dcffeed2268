use proptest::prelude::*;

use super::testing::{ITERATIONS, client_final, verifier};
use super::*;

const NONCE: [u8; NONCE_OCTETS] = [0; NONCE_OCTETS];

fn challenge(step: Step) -> String {
    let Step::Challenge(octets) = step else { panic!("{step:?}") };
    String::from_utf8(octets).unwrap()
}

fn lookup(user: &str) -> Step {
    Step::Lookup { user: user.to_owned() }
}

/// An exchange after the server's first message, and that message.
fn begun(header: &str, bare: &str, is_decoy: bool) -> (Exchange, String) {
    let mut exchange = Exchange::default();
    assert_eq!(exchange.message(format!("{header}{bare}").as_bytes()), lookup("anna"));
    let first = challenge(exchange.verifier(&verifier("blue harbour 47"), is_decoy, NONCE));
    (exchange, first)
}

/// RFC 5802, section 5: The client's proof lets it in, and the server shows that it knows the verifier.
#[test]
fn rfc5802_5_the_client_s_proof_lets_it_in_and_the_server_shows_that_it_knows_the_verifier() {
    for header in ["n,,", "y,,", "n,a=anna,"] {
        let bare = "n=anna,r=fyko+d2lbbFgONRv9qkxdawL";
        let (mut exchange, first) = begun(header, bare, false);
        assert!(first.starts_with("r=fyko+d2lbbFgONRv9qkxdawL"), "{first}");
        let last = client_final("blue harbour 47", header, bare, &first);
        assert!(challenge(exchange.message(last.as_bytes())).starts_with("v="));
        assert_eq!(exchange.message(b""), Step::Proved { user: "anna".to_owned() });
        assert_eq!(exchange.message(b""), Step::Refused, "it is over");
    }
}

/// RFC 7677, section 3: The example's exchange.
#[test]
fn rfc7677_3_the_example_s_exchange() {
    let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let expected = Expected {
        user: "user".to_owned(),
        gs2_header: "n,,".to_owned(),
        nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        before: "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
            .to_owned(),
        stored_key: ScramVerifier::of(b"pencil", &salt, ITERATIONS).stored_key,
        server_key: ScramVerifier::of(b"pencil", &salt, ITERATIONS).server_key,
        is_decoy: false,
    };
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let reply = server_final(&expected, last).unwrap();
    assert_eq!(reply, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/// RFC 5802, section 5.1: The server's part of the nonce is random, and follows the client's.
#[test]
fn rfc5802_5_1_the_server_s_part_of_the_nonce_is_random_and_stands_behind_the_client_s() {
    let mut exchange = Exchange::default();
    assert_eq!(exchange.message(b"n,,n=anna,r=client"), lookup("anna"));
    let step = exchange.verifier(&verifier("x"), false, NONCE);
    assert_eq!(challenge(step), "r=clientAAAAAAAAAAAAAAAAAAAAAAAA,s=BwcHBwcHBwcHBwcHBwcHBw==,i=4096");
}

/// RFC 5802, section 5.1: A comma and an equals sign in a name are escaped, and nothing else is.
#[test]
fn rfc5802_5_1_a_comma_and_an_equals_sign_in_a_name_are_escaped_and_nothing_else_is() {
    let first = |message: &str| Exchange::default().message(message.as_bytes());
    assert_eq!(first("n,,n=a=2Cb=3Dc,r=x"), lookup("a,b=c"));
    assert_eq!(first("n,,n=J\u{fc}rgen,r=x"), lookup("J\u{fc}rgen"));
    assert_eq!(first("n,,n=I\u{ad}X,r=x"), lookup("IX"));
    for wrong in ["n,,n=a=2cb,r=x", "n,,n=a=,r=x", "n,,n==,r=x", "n,,n=,r=x", "n,,n=a\0,r=x"] {
        assert_eq!(first(wrong), Step::Refused, "{wrong:?}");
    }
}

/// RFC 5802, section 6: A client that wants channel binding is refused, as it was not offered.
#[test]
fn rfc5802_6_a_client_that_wants_channel_binding_is_refused_as_it_was_not_offered() {
    let first = |message: &str| Exchange::default().message(message.as_bytes());
    assert_eq!(first("p=tls-exporter,,n=anna,r=x"), Step::Refused);
    assert_eq!(first("y,,n=anna,r=x"), lookup("anna"));
}

/// RFC 5802, section 5.1: An extension that must be understood is refused, another is ignored.
#[test]
fn rfc5802_5_1_an_extension_that_must_be_understood_is_refused_another_is_ignored() {
    let first = |message: &str| Exchange::default().message(message.as_bytes());
    assert_eq!(first("n,,n=anna,r=x,z=1"), lookup("anna"));
    for wrong in
        ["n,,m=1,n=anna,r=x", "n,,n=anna,r=x,m=1", "n,,n=anna,r=x,", "n,,n=anna,r=", "n,,n=anna", "n", ""]
    {
        assert_eq!(first(wrong), Step::Refused, "{wrong:?}");
    }
    assert_eq!(first("n,a=boss,n=anna,r=x"), Step::Refused, "nobody acts for another");
    assert_eq!(first(&format!("n,,n=anna,r={}", "x".repeat(MESSAGE_MAX))), Step::Refused);
}

/// RFC 5802, section 5.1: The final message repeats the header and the whole nonce.
#[test]
fn rfc5802_5_1_the_final_message_repeats_the_header_and_the_whole_nonce() {
    let bare = "n=anna,r=client";
    let answered = |header: &str, password: &str, change: &dyn Fn(String) -> String, is_decoy| {
        let (mut exchange, first) = begun("n,,", bare, is_decoy);
        let last = change(client_final(password, header, bare, &first));
        let step = exchange.message(last.as_bytes());
        assert!(step != Step::Refused || exchange.message(last.as_bytes()) == Step::Refused);
        step
    };
    let same = |text| text;
    assert_ne!(answered("n,,", "blue harbour 47", &same, false), Step::Refused);
    assert_eq!(answered("n,,", "red harbour 47", &same, false), Step::Refused);
    assert_eq!(answered("n,,", "blue harbour 47", &same, true), Step::Refused, "nobody is let in by a decoy");
    assert_eq!(answered("y,,", "blue harbour 47", &same, false), Step::Refused, "another header");
    for (from, to) in
        [("r=client", "r=clienT"), (",p=", ",m=1,p="), (",p=", ",p=A"), ("c=", "d="), (",p=", ",q=")]
    {
        let change = |text: String| text.replacen(from, to, 1);
        assert_eq!(answered("n,,", "blue harbour 47", &change, false), Step::Refused, "{from} {to}");
    }
}

#[test]
fn what_comes_before_its_time_ends_the_exchange() {
    let mut exchange = Exchange::default();
    assert_eq!(exchange.verifier(&verifier("x"), false, NONCE), Step::Refused);
    let mut exchange = Exchange::default();
    assert_eq!(exchange.message(b"n,,n=anna,r=x"), lookup("anna"));
    assert_eq!(exchange.message(b"n,,n=anna,r=x"), Step::Refused);
    assert_eq!(exchange.verifier(&verifier("x"), false, NONCE), Step::Refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

    #[test]
    fn no_client_breaks_it_or_is_let_in_without_the_password(
        messages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                "[nyp],(a=anna)?,n=anna,r=[!-~]{1,8}(,[a-z]=x)?".prop_map(String::into_bytes),
                "c=biws,r=[!-~]{1,40},p=[A-Za-z0-9+/]{43}=".prop_map(String::into_bytes),
            ],
            1..5,
        ),
    ) {
        let mut exchange = Exchange::default();
        let known = ScramVerifier {
            iterations: ITERATIONS, salt: vec![1; 16], stored_key: [2; DIGEST_LEN], server_key: [3; DIGEST_LEN],
        };
        for message in &messages {
            let mut step = exchange.message(message);
            if matches!(step, Step::Lookup { .. }) {
                step = exchange.verifier(&known, false, NONCE);
            }
            let is_proved = matches!(step, Step::Proved { .. });
            prop_assert!(!is_proved);
        }
    }
}
