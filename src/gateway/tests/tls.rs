//! Certificates come and go with the services that speak TLS.

use gatepost_services::tls::keeper::OWN_FILE;

use super::*;
use crate::gateway::reload::ReloadError;

const MAIL: &str = "users = [{ name = 'anna' }]\n";

#[test]
fn an_authority_is_made_for_the_first_service_that_speaks_tls_and_files_that_are_no_good_refuse_a_reload() {
    simulate(async {
        let (mut office, services) = Office::new("admin.enabled = false");
        let (reloader, storage) = (services.reloader(), Arc::clone(&services.resources.storage));
        spawn_local(services.run(|| (), pending()));
        office.pass(Duration::from_millis(20)).await;
        let stored = || storage.read(OWN_FILE).expect("a disk in memory");
        assert_eq!(stored(), None, "nobody speaks TLS");

        let reload = |settings: &str| {
            let config = Config::parse("/etc/gatepost/test.toml", &format!("{MAIL}{settings}"));
            reloader.reload(config.expect("a valid configuration"))
        };
        reload("").await.expect("it is taken");
        let own = stored().expect("an authority");
        let error =
            reload("tls = { certificate = 'chain.pem', key = 'key.pem' }").await.expect_err("refused");
        let ReloadError::Unprepared(unprepared) = &error else { panic!("{error:?}") };
        assert_eq!(unprepared.service, "tls");
        let told = crate::error::Error::from(error).to_string();
        assert!(told.contains("/etc/gatepost/chain.pem cannot be read: No such file"), "{told}");
        assert!(
            told.ends_with("write files that the gateway may read in tls.certificate and tls.key"),
            "{told}"
        );
        reload("system.hostname = 'other'").await.expect("it is taken");
        assert!(stored().expect("another authority beside it").len() > own.len());
        reload("").await.expect("it is taken");
        assert!(stored() != Some(own), "what is kept is in the order of its use");
    });
}
