//! `[[users]]`

use gatepost_services::users::{Role, User};

use super::*;

#[test]
fn a_user_has_a_name_and_defaults() {
    let user = |name: &str, full_name: &str, role, quota| User {
        name: name.to_owned(),
        full_name: full_name.to_owned(),
        role,
        quota,
    };
    assert_eq!(accepted("").users, []);
    let config = accepted(
        "[[users]]\nname = 'alice'\n[[users]]\nname = 'j.d_o-e2'\nfull_name = 'Jürgen Doe'\nrole = 'owner'\nquota = '2 GiB'",
    );
    let expected =
        [user("alice", "", Role::User, 1 << 30), user("j.d_o-e2", "Jürgen Doe", Role::Owner, 2 << 30)];
    assert_eq!(config.users, expected);
    let details: Vec<_> = config.details().iter().map(ToString::to_string).collect();
    for told in ["user             alice (user)", "user             j.d_o-e2 (owner)"] {
        assert!(details.iter().any(|detail| detail == told), "{details:?}");
    }
}

#[test]
fn the_name_of_a_user_can_be_an_address_and_a_file() {
    let remedy =
        "write 1 to 32 lower-case letters, digits, \".\", \"-\" and \"_\", a letter or digit first and last";
    let long = "a".repeat(33);
    for name in
        ["", " ", "al ice", "a/b", ".alice", "alice.", "al..ice", "-a", "jürgen", "a+b", "a\\u0000", &long]
    {
        let shown = name.replace("\\u0000", "\\0");
        let told = format!("\"{shown}\" is no name of a user; {remedy}");
        assert_mistakes(&format!("[[users]]\nname = ▸\"{name}\""), &[&told]);
    }
    assert_mistakes("▸[[users]]\nrole = 'user'", &["the user has no name; write name = \"alice\""]);
    assert_mistakes(
        "[[users]]\nname = ▸'Alice'",
        &["\"Alice\" has capital letters, which logins and addresses do not tell apart; write \"alice\""],
    );
    assert_mistakes(
        "[[users]]\nname = ▸'Alice@office.example'",
        &["\"Alice@office.example\" is an address; write \"alice\""],
    );
    assert_mistakes(
        "[[users]]\nname = ▸'Postmaster'",
        &["\"Postmaster\" is the address that every domain must have (RFC 5321, section 4.5.1); \
           write a person's own name, such as \"alice\""],
    );
}

#[test]
fn every_user_is_there_once() {
    assert_mistakes(
        "[[users]]\nname = 'alice'\n[[users]]\nname = 'bob'\n[[users]]\nname = ▸'alice'",
        &["two users are called alice (first in line 2, column 8); write another name"],
    );
}

#[test]
fn what_a_user_has_is_checked() {
    let user = |keys: &str| format!("[[users]]\nname = 'alice'\n{keys}");
    assert_mistakes(&user("role = ▸'ownr'"), &["\"ownr\" is not possible here; write \"owner\""]);
    let size = "write a number and \"KiB\", \"MiB\", \"GiB\" or \"TiB\", such as \"25 MiB\"";
    for quota in ["1 GB", "GiB", "-1 GiB", "1.5 GiB", "", "10"] {
        let told = format!("\"{quota}\" is no size; {size}");
        assert_mistakes(&user(&format!("quota = ▸'{quota}'")), &[&told]);
    }
    for quota in ["99999999999999999999 GiB", "1025 TiB"] {
        let told = format!("\"{quota}\" is too large; write at most \"1024 TiB\"");
        assert_mistakes(&user(&format!("quota = ▸'{quota}'")), &[&told]);
    }
    assert_mistakes(&user("quota = ▸'1023 KiB'"), &["\"1023 KiB\" is too small; write at least \"1 MiB\""]);
    assert_mistakes(
        &user("quota = ▸1073741824"),
        &["an integer instead of a text in quotes; write \"1073741824\""],
    );
    assert_mistakes(
        &user("▸passwort = 'x'"),
        &["unknown key \"passwort\" in the user; \
        remove it, or write \"name\", \"full_name\", \"role\", \"quota\", \"poll\" or \"vacation\""],
    );
    assert_mistakes(
        &user("full_name = ▸\"a\\nb\""),
        &["\"a\\nb\" is no name of a person; write at most 256 octets without control characters"],
    );
}

#[test]
fn sizes_have_units() {
    let quota = |text: &str| accepted(&format!("[[users]]\nname = 'a'\nquota = '{text}'")).users[0].quota;
    assert_eq!([quota("1024 KiB"), quota("25MiB"), quota("1 TiB")], [1 << 20, 25 << 20, 1 << 40]);
}
