//! Certificates come and go with the services that speak TLS.

use std::cell::Cell;
use std::fs;
use std::pin::Pin;

use gatepost_services::tls::authority::Names;
use gatepost_services::tls::keeper::{OWN_FILE, authority_in};
use gatepost_services::work::Job;
use tokio::time::timeout;

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

/// Runs jobs in place, until the disk hangs.
#[derive(Clone, Default)]
struct Hanging(Rc<Cell<bool>>);

impl Work for Hanging {
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
        if self.0.get() { Box::pin(pending()) } else { AtOnce.start(job) }
    }
}

#[test]
fn a_roll_back_waits_for_no_disk_and_needs_no_file_again() {
    simulate(async {
        let (storage, work): (Arc<dyn Storage>, _) = (Arc::new(Memory::new()), Hanging::default());
        let (mut office, services) = Office::with(Arc::clone(&storage), Rc::new(work.clone()), MAIL);
        let reloader = services.reloader();
        spawn_local(services.run(|| (), pending()));
        office.pass(Duration::from_millis(20)).await;
        let own = storage.read(OWN_FILE).expect("a disk in memory").expect("an authority");
        let names = Names::new("gatepost", "office.example", []);
        let authority = authority_in(&own, &names, office.clock.unix_time()).expect("it can be read");
        let folder = std::env::temp_dir().join(format!("gatepost-window-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("authorities.pem");
        fs::write(&file, authority.expect("an authority")).expect("it can be written");

        let config = |settings: &str| {
            let config = Config::parse("test", &format!("{MAIL}{settings}"));
            config.expect("a valid configuration")
        };
        let before = config(&format!("tls.authorities = '{}'", file.display()));
        let after = config("lan.address = '10.0.0.1/24'");
        reloader.reload(before.clone()).await.expect("it is taken");
        reloader.reload(after.until_confirmed(before.lan.address)).await.expect("it is taken");
        work.0.set(true);
        fs::remove_file(&file).expect("it is there");
        let undone = timeout(Duration::from_secs(1), reloader.reload(before.clone())).await;
        assert_eq!(undone, Ok(Ok(())), "without the disk");
        work.0.set(false);
        // Without a window a file that is not there refuses the configuration.
        assert!(reloader.reload(before).await.is_err());
        fs::remove_dir_all(&folder).expect("it is there");
    });
}
