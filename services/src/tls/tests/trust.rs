//! The authorities that clients trust, from files.

use std::fs;
use std::path::PathBuf;

use super::super::trust::{Trust, Trusted};
use super::keeping::Gateway;
use super::*;

/// Files of authorities, removed on drop.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-trust-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.join(name), content).unwrap();
    }

    /// The system's file is `system`, the administrator's `own`.
    fn trusted(&self, own: bool) -> Trusted {
        let system = ["elsewhere", "system"].map(|name| self.0.join(name)).to_vec();
        Trusted { system, own: own.then(|| self.0.join("own")) }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Another authority, and a server with its certificate.
fn other() -> (String, Tls) {
    let authority = Authority::make(KeyKind::Ed25519, &names(), NOW, &mut rng(9)).unwrap();
    let (_, _, clock) = office();
    let server = Tls::new(crate::tls::testing::crypto(), Rc::new(clock));
    server.set_identity(&leaf(&authority, NOW).identity(NOW, server.provider()).unwrap());
    (authority.certificate_pem(), server)
}

async fn is_believed(gateway: &Gateway, server: &Tls) -> bool {
    handshake(server, &gateway.environment.tls, NAME).await.1.is_ok()
}

#[tokio::test]
async fn the_systems_authorities_and_the_administrators_are_believed_and_changes_are_taken() {
    let (gateway, files) = (Gateway::new(), Files::new("both"));
    let (server, ..) = office();
    let (of_other, other) = other();
    let prepare = |own| Trust::prepare(files.trusted(own), gateway.environment.clone());
    // None, if the system has no file.
    prepare(false).await.expect("nobody").activate();
    assert!(!is_believed(&gateway, &server).await);

    files.write("system", &authority().certificate_pem());
    let of_system = prepare(false).await.expect("the system's");
    assert!(!is_believed(&gateway, &server).await, "not before it is in force");
    of_system.activate();
    assert!(is_believed(&gateway, &server).await && !is_believed(&gateway, &other).await);
    // An update of the system.
    files.write("system", &of_other);
    of_system.look().await;
    assert!(!is_believed(&gateway, &server).await && is_believed(&gateway, &other).await);

    files.write("own", &authority().certificate_pem());
    let both = prepare(true).await.expect("both");
    both.activate();
    assert!(is_believed(&gateway, &server).await && is_believed(&gateway, &other).await);
    assert_eq!(gateway.problems(), "");
    // An unusable file at run time changes nothing, and is reported until it is usable.
    files.write("own", "no certificate");
    both.look().await;
    assert!(is_believed(&gateway, &server).await);
    let problem = gateway.problems();
    assert!(problem.contains("own: there is no authority's certificate that can be read"), "{problem}");
    assert!(problem.contains("what was trusted before still is; write a file"), "{problem}");
    files.write("own", &of_other);
    both.look().await;
    assert_eq!(gateway.problems(), "");
    assert!(!is_believed(&gateway, &server).await);
}

#[tokio::test]
async fn a_file_that_is_no_good_refuses_a_reload_and_no_start() {
    let (gateway, files) = (Gateway::new(), Files::new("bad"));
    let (server, ..) = office();
    files.write("system", &authority().certificate_pem());
    let prepare = || Trust::prepare(files.trusted(true), gateway.environment.clone());
    prepare().await.expect("a start").activate();
    assert!(is_believed(&gateway, &server).await);
    let problem = gateway.problems();
    assert!(problem.contains("only the system's authorities are trusted"), "{problem}");
    // A running gateway has a certificate.
    let shown = leaf(&authority(), NOW).identity(NOW, gateway.environment.tls.provider()).unwrap();
    gateway.environment.tls.set_identity(&shown);
    let refused = prepare().await.expect_err("a reload");
    assert!(refused.why.contains("own: ") && refused.remedy.contains("tls.authorities"), "{refused:?}");
}
