//! Certificates and keys that are accepted or rejected.

use super::super::authority::pem;
use super::super::testing::crypto;
use super::*;

/// A chain and a key in PEM.
fn pems() -> (String, String) {
    let authority = authority();
    let leaf = leaf(&authority, NOW);
    (leaf.certificate_pem() + &authority.certificate_pem(), leaf.key_pem())
}

/// A certificate that is for clients only, and its key, in PEM.
fn certificate_for_clients() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["office.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).unwrap();
    (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", key.serialized_der()))
}

fn judged(certificates: &str, key: &str, now: UnixTime) -> Result<Identity, IdentityError> {
    Identity::from_pem(certificates.as_bytes(), key.as_bytes(), now, &crypto())
}

#[test]
fn a_chain_with_its_key_is_an_identity_while_its_time_lasts() {
    let (chain, key) = pems();
    let identity = judged(&chain, &key, NOW).unwrap();
    assert_eq!(identity.not_after(), UnixTime(NOW.0 + 90 * DAY));
    judged(&format!("A remark\n{chain}\nanother\n"), &format!("words\n{key}"), NOW).unwrap();
    judged(&chain, &key, UnixTime(NOW.0 - DAY)).unwrap();
    judged(&chain, &key, UnixTime(NOW.0 + 90 * DAY)).unwrap();
}

#[test]
fn a_chain_lasts_as_long_as_all_of_it() {
    let (own, key) = {
        let leaf = leaf(&authority(), NOW);
        (leaf.certificate_pem(), leaf.key_pem())
    };
    let before = UnixTime(NOW.0 - 60 * DAY);
    let shorter = leaf(&authority(), before).certificate_pem();
    let identity = judged(&(own.clone() + &shorter), &key, NOW).unwrap();
    assert_eq!(identity.not_after(), UnixTime(NOW.0 + 30 * DAY));
    let refused = judged(&(own.clone() + &shorter), &key, UnixTime(NOW.0 + 31 * DAY)).unwrap_err();
    assert_eq!(refused.to_string(), "a certificate behind the first has expired on 29 Dec 2026");
    let later = leaf(&authority(), UnixTime(NOW.0 + 3 * DAY)).certificate_pem();
    let refused = judged(&(own + &later), &key, NOW).unwrap_err();
    assert_eq!(refused.to_string(), "a certificate behind the first is valid from 1 Dec 2026 only");
}

#[test]
fn an_authority_signs_what_its_constraints_permit_only() {
    let elsewhere = Names { domain: "bank.example".into(), ..names() };
    let refused = authority().sign(KeyKind::Ed25519, &elsewhere, NOW, &mut rng(2)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the authority of office.example does not speak for gatepost.bank.example"
    );
    let no_name = Names { domain: "a b".into(), ..names() };
    let refused = Authority::make(KeyKind::Ed25519, &no_name, NOW, &mut rng(2)).unwrap_err();
    assert_eq!(refused.to_string(), "\"gatepost.a b\" is no name of DNS");
}

#[test]
fn what_no_client_could_use_is_refused_with_a_reason_and_a_remedy() {
    let (chain, key) = pems();
    let stranger = leaf(&authority(), NOW);
    let other = authority().sign(KeyKind::EcdsaP256, &names(), NOW, &mut rng(8)).unwrap();
    let (for_clients, clients_key) = certificate_for_clients();
    let later = UnixTime(NOW.0 + 90 * DAY + 1);
    let earlier = UnixTime(NOW.0 - DAY - 1);
    let cut = chain.replacen("-----END", "\n-----EMD", 1);
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let many = authority().certificate_pem().repeat(CHAIN_MAX);
    let cases = [
        ("", &*key, NOW, "there is no certificate that can be read"),
        (&*key, &*key, NOW, "there is no certificate that can be read"),
        (&*cut, &*key, NOW, "there is no certificate that can be read"),
        (garbage, &*key, NOW, "there is no certificate that can be read"),
        (&*chain, "", NOW, "there is no key that can be read"),
        (&*chain, &*chain, NOW, "there is no key that can be read"),
        (&*chain, &*encrypted, NOW, "the key is encrypted"),
        (&*chain, legacy, NOW, "the key is encrypted"),
        (&*chain, no_key, NOW, "the key is of a kind or of a length that TLS does not take"),
        (&*chain, &*other.key_pem(), NOW, "the key is not that of the first certificate"),
        (&*for_clients, &*clients_key, NOW, "the certificate is not for servers"),
        (&*chain, &*key, later, "the certificate has expired on 27 Feb 2027"),
        (&*chain, &*key, earlier, "the certificate is valid from 28 Nov 2026 only"),
    ]
    .map(|(chain, key, now, expected)| (chain.to_owned(), key.to_owned(), now, expected));
    for (chain, key, now, expected) in cases {
        let refused = judged(&chain, &key, now).expect_err(expected);
        assert_eq!(refused.to_string(), expected);
        assert!(!refused.remedy().is_empty());
    }
    let refused = judged(&(stranger.certificate_pem() + &many), &stranger.key_pem(), NOW).unwrap_err();
    assert_eq!(refused, IdentityError::TooManyCertificates);
}
