//! The first run and a forgotten password.

use super::*;
use crate::admin::first_run::{AskedCode, Codes};
use crate::users::limit::Limits;

/// The administration of an office whose gateway has begun with `users`, and its codes.
async fn begun(users: Vec<User>) -> (Lab<AdminSite>, Codes) {
    let lab = lab_of(users);
    let site = &lab.site;
    let is_owned = crate::admin::first_run::is_owned(&site.settings.users, &site.storage, &*site.work).await;
    site.state.setup.borrow_mut().begin(is_owned, &mut *site.rng.borrow_mut());
    *site.state.current.borrow_mut() = Rc::downgrade(site);
    let codes = Codes { state: Rc::clone(&site.state) };
    (lab, codes)
}

/// Otto owns, and has no password.
fn without_password() -> Vec<User> {
    vec![user("otto", Role::Owner), user("vera", Role::Viewer)]
}

/// Enters `code`, and keeps the cookie.
async fn enter(browser: &mut Browser, lab: &Lab<AdminSite>, code: &str) -> String {
    let answer = browser.post(lab, SETUP, &format!("code={code}")).await;
    if let Some((_, cookie)) = answer.split_once("set-cookie: ") {
        browser.cookie = cookie.split_once(';').map(|(cookie, _)| cookie.to_owned());
    }
    answer
}

async fn token_of_wizard(browser: &Browser, lab: &Lab<AdminSite>) -> String {
    let page = browser.get(lab, SETUP).await;
    let (_, token) = page.split_once("token=").expect("the wizard");
    token.split(' ').next().expect("a token").to_owned()
}

#[test]
fn who_has_the_code_gets_the_wizard_and_becomes_the_owner() {
    simulate(async {
        let (lab, codes) = begun(without_password()).await;
        let mut browser = Browser::new();
        for path in ["/", "/clients"] {
            assert!(browser.get(&lab, path).await.contains("location: /setup\r\n"));
        }
        assert!(browser.get(&lab, SIGN_IN).await.contains("is_first_run: true"), "vera may sign in");
        for path in [SETUP, "/setup/owner"] {
            assert!(browser.get(&lab, path).await.contains("code please: None"), "{path}");
            assert!(!browser.post(&lab, path, "owner=mallory").await.contains("/check"), "{path}");
        }
        let (code, place) = codes.first().expect("a code");
        assert_eq!(place, "https://192.168.1.1:465");
        let entered = enter(&mut browser, &lab, &code.to_string().to_lowercase()).await;
        assert!(entered.contains("location: /setup\r\n") && entered.contains("__Host-setup="), "{entered}");
        assert!(entered.contains("HttpOnly; SameSite=Strict; Max-Age=3600"), "{entered}");
        assert!(browser.get(&lab, "/setup/owner").await.contains("wizard 1 at /setup/owner"));
        assert!(browser.get(&lab, "/setupx").await.contains("location: /setup\r\n"), "it is another path");

        let token = token_of_wizard(&browser, &lab).await;
        assert!(browser.post(&lab, "/setup/owner", "token=x&owner=otto").await.contains("StaleForm"));
        let foreign = Browser { origin: Some("https://evil.example".to_owned()), ..browser.clone() };
        let form = format!("token={token}&owner=otto");
        assert!(foreign.post(&lab, "/setup/owner", &form).await.contains("ForeignForm"));
        set_password(&*lab.site.storage, "otto", 1);
        // Somebody has set the password meanwhile: there is an owner, and nobody becomes another one.
        assert!(browser.post(&lab, "/setup/owner", &form).await.contains("location: /sign-in\r\n"));
        assert!(codes.first().is_none() && browser.get(&lab, SETUP).await.contains("/sign-in"));
    });
}

#[test]
fn the_owner_is_signed_in_and_the_code_is_gone() {
    simulate(async {
        let (lab, codes) = begun(without_password()).await;
        let code = codes.first().expect("a code").0.to_string();
        let mut browser = Browser::new();
        enter(&mut browser, &lab, &code).await;
        let token = token_of_wizard(&browser, &lab).await;
        let done = browser.post(&lab, "/setup/summary", &format!("token={token}&owner=vera")).await;
        assert!(done.contains("location: /check\r\n") && done.contains("__Host-session="), "{done}");
        assert!(done.contains("__Host-setup=; ") && codes.first().is_none(), "{done}");
        let (_, cookie) = done.split_once("set-cookie: __Host-session=").expect("a session");
        let cookie = cookie.split(';').next().expect("a token");
        browser.cookie = Some(format!("__Host-session={cookie}"));
        assert!(browser.get(&lab, "/").await.contains("page of vera"));
        let again = enter(&mut Browser::new(), &lab, &code).await;
        assert!(again.contains("location: /sign-in\r\n") && !again.contains("set-cookie"), "{again}");
    });
}

#[test]
fn tries_of_codes_are_bounded_with_those_of_logins() {
    let (lines, ()) = crate::test_log::Log::of(|| {
        simulate(async {
            let (lab, codes) = begun(without_password()).await;
            lab.site.announce_code();
            for _ in 0..Limits::default().user.burst {
                let wrong = enter(&mut Browser::new(), &lab, "MYSE-CRET-1234").await;
                assert!(wrong.starts_with("HTTP/1.1 403") && wrong.contains("Some(Wrong)"), "{wrong}");
            }
            let code = codes.first().expect("a code").0.to_string();
            let limited = enter(&mut Browser::new(), &lab, &code).await;
            assert!(limited.starts_with("HTTP/1.1 429") && limited.contains("retry-after: "), "{limited}");
            // The source has made a third of its wrong tries.
            let mut tries = 0;
            loop {
                let answer = Browser::new().sign_in(&lab, &format!("user{tries}"), "wrong").await;
                if answer.starts_with("HTTP/1.1 429") {
                    break;
                }
                tries += 1;
            }
            assert_eq!(tries, Limits::default().source.burst - Limits::default().user.burst);
            sleep(Duration::from_secs(3600)).await;
            assert!(enter(&mut Browser::new(), &lab, &code).await.contains("__Host-setup="));
        });
    });
    let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        (of("a code that 192.168.1.50 has entered"), of("SECRET"), of("CRET")),
        (10, 0, 0),
        "{lines:?}"
    );
    assert_eq!(
        of("nobody owns this gateway yet: open https://192.168.1.1:465 and enter the code "),
        1,
        "{lines:?}"
    );
}

#[test]
fn with_an_owner_a_code_is_made_on_request_alone_and_sets_an_owner_s_password_once() {
    let (lines, ()) = crate::test_log::Log::of(|| {
        simulate(async {
            let (lab, codes) = begun(people()).await;
            assert!(codes.first().is_none());
            let browser = Browser::new();
            assert!(browser.get(&lab, "/").await.contains("location: /sign-in\r\n"));
            assert!(browser.get(&lab, SETUP).await.contains("location: /sign-in\r\n"));
            let reset = async |code: &str, name: &str, password: &str| {
                let form = format!("code={code}&name={name}&password={password}&again={password}");
                browser.post(&lab, FORGOTTEN, &form).await
            };
            assert!(reset("", "olga", "new").await.contains("Some(Code(Wrong))"));
            let Some(AskedCode::Password { code, site }) = codes.ask().await else { panic!("no code") };
            assert_eq!(site, "https://192.168.1.1:465/forgotten");
            let code = code.to_string();
            assert!(enter(&mut Browser::new(), &lab, &code).await.contains("location: /sign-in\r\n"));
            for (name, password, fault) in
                [("vera", "new", "NoOwner"), ("nobody", "new", "NoOwner"), ("otto", "weak", "it is weak")]
            {
                let answer = reset(&code, name, password).await;
                assert!(answer.starts_with("HTTP/1.1 422") && answer.contains(fault), "{answer}");
            }
            assert!(reset(&code, "otto", "new").await.contains("location: /sign-in\r\n"));
            assert!(reset(&code, "otto", "new").await.contains("Some(Code(Wrong))"), "it is used");
        });
    });
    let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((of("otto gets a password"), of("otto has a new password by a code")), (1, 1), "{lines:?}");
    assert_eq!(of("nobody owns"), 0, "{lines:?}");
}

#[test]
fn a_code_that_is_asked_for_is_that_of_the_first_run_until_there_is_an_owner() {
    simulate(async {
        let (lab, codes) = begun(without_password()).await;
        let first = codes.first().expect("a code").0;
        let asked = codes.ask().await.expect("an answer");
        assert_eq!(asked, AskedCode::FirstRun { code: first, site: "https://192.168.1.1:465".to_owned() });
        set_password(&*lab.site.storage, "otto", 1);
        assert!(matches!(codes.ask().await, Some(AskedCode::Password { .. })));
        drop(lab);
        assert_eq!(codes.ask().await, None, "there are no pages");
    });
}
