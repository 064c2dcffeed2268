//! The transaction as its editors see it: a keeper over a file in memory, a gateway that notes what it takes, and time
//! that the test passes.

use std::cell::{Cell, RefCell};
use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::clock::{Clock, UnixTime};
use gatepost_services::store::{DeferredFiles, Disk, Files, Memory, Storage};
use gatepost_services::work::AtOnce;
use proptest::prelude::*;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::*;

const FILE: &str = "\
# The office.
[firewall]   # what comes in
stealth = true

[[firewall.forwards]]
name = 'camera'   # in the yard
wan_port = '8443'
to = '192.168.1.20:443'
# The end.
";

const LAN: &str = "# The office.\n[lan]\naddress = '192.168.1.1/24' # for now\n";

/// A file in memory.
#[derive(Default)]
pub(crate) struct Paper {
    pub(crate) text: RefCell<Option<String>>,
    staged: RefCell<Option<String>>,
    pub(crate) is_full: Cell<bool>,
    is_hung: Cell<bool>,
    stage_takes: Cell<Duration>,
    cannot_be_put: Cell<bool>,
    /// Hangs while the former text is compared.
    compares_forever: Cell<bool>,
    /// Hangs in the rename until this is notified.
    renames_slowly: RefCell<Option<Rc<Notify>>>,
    is_unsynced: Cell<bool>,
}

impl ConfigFile for Rc<Paper> {
    fn name(&self) -> String {
        "/etc/gatepost/gatepost.toml".to_owned()
    }

    fn read(&self) -> LocalFuture<'_, io::Result<Option<String>>> {
        Box::pin(async move {
            if self.is_hung.get() {
                std::future::pending::<()>().await;
            }
            Ok(self.text.borrow().clone())
        })
    }

    fn stage(&self, text: String) -> LocalFuture<'_, io::Result<()>> {
        Box::pin(async move {
            if self.is_hung.get() {
                std::future::pending::<()>().await;
            }
            sleep(self.stage_takes.get()).await;
            if self.is_full.get() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *self.staged.borrow_mut() = Some(text);
            Ok(())
        })
    }

    fn put(
        &self,
        former: Option<String>,
        gate: Gate,
    ) -> LocalFuture<'_, Result<Option<io::Error>, PutError>> {
        Box::pin(async move {
            let staged = self.staged.take();
            if self.compares_forever.get() {
                std::future::pending::<()>().await;
            }
            if self.cannot_be_put.get() {
                return Err(PutError::Io(io::ErrorKind::ReadOnlyFilesystem.into()));
            }
            if *self.text.borrow() != former {
                return Err(PutError::Edited);
            }
            if !gate.pass() {
                return Err(PutError::Late);
            }
            let slowly = self.renames_slowly.take();
            if let Some(goes_on) = slowly {
                goes_on.notified().await;
            }
            *self.text.borrow_mut() = staged;
            Ok(self.is_unsynced.get().then(|| io::ErrorKind::QuotaExceeded.into()))
        })
    }

    fn forget(&self) -> LocalFuture<'_, ()> {
        Box::pin(async move { *self.staged.borrow_mut() = None })
    }
}

/// A gateway that notes the configuration in force.
struct Gateway {
    in_force: RefCell<Config>,
    refuses: Cell<bool>,
}

impl Takes for Rc<Gateway> {
    fn check(&self, old: &Config, new: &Config) -> Result<(), Error> {
        crate::gateway::reload::check_change(old, new)
    }

    fn take(&self, config: Config) -> LocalFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            if self.refuses.get() {
                return Err(Error::failed("the configuration is not taken", "it rains", "wait"));
            }
            *self.in_force.borrow_mut() = config;
            Ok(())
        })
    }
}

/// The paused time of tokio.
struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant::ZERO + tokio::time::Instant::now().duration_since(self.0)
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(1_700_000_000 + self.now().since(Instant::ZERO).as_secs())
    }
}

/// A transaction over a file in memory.
pub(crate) struct Desk {
    pub(crate) paper: Rc<Paper>,
    gateway: Rc<Gateway>,
    storage: Arc<dyn Storage>,
    pub(crate) keeper: Rc<Keeper>,
}

impl Desk {
    /// A gateway that starts on what is there.
    async fn start(paper: Rc<Paper>, storage: Arc<dyn Storage>) -> Self {
        let text = paper.text.borrow().clone();
        let config = config(text.as_deref().unwrap_or_default());
        let gateway = Rc::new(Gateway { in_force: RefCell::new(config.clone()), refuses: Cell::new(false) });
        let disk = Disk::new(Arc::clone(&storage), Rc::new(AtOnce));
        let keeper = Rc::new(Keeper::new(
            Box::new(Rc::clone(&paper)),
            (text, config),
            Box::new(Rc::clone(&gateway)),
            Rc::new(Paused(tokio::time::Instant::now())),
            Archive::new(disk),
        ));
        let running = Rc::clone(&keeper);
        spawn_local(async move { running.run().await });
        // The history is read.
        sleep(Duration::from_millis(1)).await;
        Self { paper, gateway, storage, keeper }
    }

    pub(crate) async fn new(text: Option<&str>) -> Self {
        let paper = Paper { text: RefCell::new(text.map(str::to_owned)), ..Paper::default() };
        Self::start(Rc::new(paper), Arc::new(Memory::default())).await
    }

    pub(crate) fn file(&self) -> String {
        self.paper.text.borrow().clone().unwrap_or_default()
    }

    fn edit_by_hand(&self, from: &str, to: &str) {
        let edited = self.file().replace(from, to);
        *self.paper.text.borrow_mut() = Some(edited);
    }

    fn in_force(&self) -> Config {
        self.gateway.in_force.borrow().clone()
    }

    async fn set(&self, key: &str, value: &str) -> Edited {
        self.keeper.set(&anna(), key, value).await.expect(key)
    }

    async fn apply(&self, confirm: Option<u64>) -> Result<Applied, Error> {
        self.keeper.apply(&anna(), request(confirm)).await
    }

    fn kinds(&self) -> Vec<Kind> {
        self.keeper.history().versions.iter().rev().map(|version| version.kind).collect()
    }
}

fn config(text: &str) -> Config {
    Config::parse("/etc/gatepost/gatepost.toml", text).expect("a valid configuration")
}

fn anna() -> Editor {
    Editor::new("anna")
}

fn request(confirm: Option<u64>) -> Request {
    Request { confirm: confirm.map(Duration::from_secs), why: "a test".to_owned() }
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime =
        runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

pub(crate) async fn pass(secs: u64) {
    sleep(Duration::from_secs(secs)).await;
}

const CLOSED: &str = "\
# The office.
[firewall]   # what comes in
stealth = true

# The end.
";

#[test]
fn a_change_is_told_applied_and_kept_in_the_history() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        let edited = desk.keeper.unset(&anna(), "firewall.forwards.camera").await.expect("it is there");
        assert_eq!((edited.pending, edited.others.len()), (1, 0));
        assert_eq!(desk.file(), FILE);
        let diff = desk.keeper.diff(&anna()).await.expect("it can be read");
        assert_eq!(diff.to_string(), "the camera's port 8443 closes\n");
        let applied = desk.apply(None).await.expect("it is valid");
        assert_eq!((applied.version, applied.confirm_within_secs), (Some(2), None));
        assert_eq!((desk.file().as_str(), desk.in_force()), (CLOSED, config(CLOSED)));
        assert_eq!(desk.kinds(), [Kind::Found, Kind::Applied]);
        let last = &desk.keeper.history().versions[0];
        assert_eq!((last.who.as_str(), last.why.as_str()), ("anna", "a test"));
        assert_eq!(last.changes[0].text, "the camera's port 8443 closes");
        let error = desk.apply(None).await.expect_err("nothing is left").to_string();
        assert!(error.contains("the candidate has no changes"), "{error}");
        let desk = Desk::start(desk.paper, desk.storage).await;
        assert_eq!(desk.kinds(), [Kind::Found, Kind::Applied], "it survives a restart");
    });
}

#[test]
fn what_is_not_confirmed_is_rolled_back_at_the_deadline_and_leaves_the_file_alone() {
    run(async {
        let desk = Desk::new(Some(LAN)).await;
        desk.set("lan.address", "10.0.0.1/24").await;
        desk.apply(Some(30)).await.expect("it is valid");
        let lan = desk.in_force().lan;
        assert_eq!(lan.address.to_string(), "10.0.0.1/24");
        assert_eq!(lan.former_address, Some(config(LAN).lan.address), "it answers there, too");
        assert_eq!(desk.file(), LAN);
        pass(29).await;
        assert_eq!(desk.keeper.window().map(|window| window.remaining_secs), Some(1));
        pass(2).await;
        assert_eq!((desk.in_force(), desk.file().as_str()), (config(LAN), LAN));
        assert_eq!((desk.keeper.window(), desk.kinds()), (None, vec![Kind::Found]));
        let error = desk.keeper.confirm(&anna()).await.expect_err("too late").to_string();
        assert!(error.contains("no change waits"), "{error}");
        let diff = desk.keeper.diff(&anna()).await.expect("it can be read");
        assert_eq!(diff.pending.len(), 1, "the candidate is as it was before");
    });
}

#[test]
fn what_is_confirmed_stays_and_the_former_address_goes() {
    run(async {
        let desk = Desk::new(Some(LAN)).await;
        desk.set("lan.address", "10.0.0.1/24").await;
        desk.apply(Some(30)).await.expect("it is valid");
        pass(29).await;
        let confirmed = desk.keeper.confirm(&Editor::new("bert")).await.expect("in time");
        assert_eq!(confirmed.version, Some(2));
        pass(60).await;
        assert!(
            desk.file().contains("address = \"10.0.0.1/24\"") && desk.file().starts_with("# The office.")
        );
        assert_eq!(desk.in_force(), config(&desk.file()));
        assert_eq!(desk.kinds(), [Kind::Found, Kind::Applied]);
    });
}

#[test]
fn whatever_changes_the_gateway_knows_that_a_confirmation_is_awaited_and_when_it_has_come() {
    run(async {
        for confirms in [false, true] {
            let desk = Desk::new(Some(FILE)).await;
            desk.set("firewall.stealth", "false").await;
            desk.apply(Some(30)).await.expect("it is valid");
            assert!(desk.in_force().is_unconfirmed);
            match confirms {
                true => desk.keeper.confirm(&anna()).await.map(drop).expect("in time"),
                false => pass(31).await,
            }
            assert_eq!(desk.in_force(), config(&desk.file()), "without the mark");
        }
    });
}

#[test]
fn a_window_in_which_the_wan_would_overlap_the_former_lan_is_refused() {
    run(async {
        for (wan, gateway) in [("192.168.0.10/16", "192.168.0.1"), ("203.0.113.7/32", "192.168.1.254")] {
            let desk = Desk::new(Some(LAN)).await;
            desk.set("lan.address", "10.0.0.1/24").await;
            desk.set("wan.address", wan).await;
            desk.set("wan.gateway", gateway).await;
            let refused = desk.apply(Some(30)).await.expect_err("both networks are there").to_string();
            assert!(refused.contains("the LAN's former network 192.168.1.0/24"), "{refused}");
            assert_eq!((desk.in_force(), desk.keeper.window()), (config(LAN), None));
            desk.apply(None).await.expect("it is valid without a window");
        }
    });
}

#[test]
fn within_a_window_nothing_else_is_done() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(30)).await.expect("it is valid");
        let anna = anna();
        let refused = [
            desk.keeper.reload(&anna).await.map(drop),
            desk.keeper.set(&anna, "lan.inspect_arp", "true").await.map(drop),
            desk.keeper.unset(&anna, "firewall.stealth").await.map(drop),
            desk.keeper.discard(&anna).await.map(drop),
            desk.apply(None).await.map(drop),
            desk.keeper.rollback(&anna, Some(1), request(None)).await.map(drop),
        ];
        for refused in refused {
            let error = refused.expect_err("a window is open").to_string();
            assert!(
                error.contains("waits for its confirmation") && error.contains("gatepost confirm"),
                "{error}"
            );
        }
        let diff = desk.keeper.diff(&anna).await.expect("it is told").to_string();
        assert!(
            diff.contains("rolled back in 30 s") && diff.contains("firewall.stealth: true -> false"),
            "{diff}"
        );
        desk.keeper.rollback(&anna, None, request(None)).await.expect("the window ends");
        assert_eq!((desk.in_force(), desk.keeper.window()), (config(FILE), None));
        desk.keeper.reload(&anna).await.expect("no window is open");
    });
}

#[test]
fn an_end_within_a_window_leaves_what_was_confirmed_last() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        pass(1).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(30)).await.expect("it is valid");
        let desk = Desk::start(desk.paper, desk.storage).await;
        assert_eq!((desk.in_force(), desk.file().as_str()), (config(FILE), FILE));
        assert_eq!((desk.keeper.window(), desk.kinds()), (None, vec![Kind::Found]));
    });
}

#[test]
fn a_roll_back_goes_to_any_version_and_is_one_itself() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        for (key, value) in [("firewall.stealth", "false"), ("dhcp.lease_secs", "600")] {
            desk.set(key, value).await;
            desk.apply(None).await.expect("it is valid");
        }
        let third = desk.file();
        let applied = desk.keeper.rollback(&anna(), None, request(None)).await.expect("there is one before");
        assert_eq!(
            (applied.version, desk.file()),
            (Some(4), FILE.replace("stealth = true", "stealth = false"))
        );
        desk.keeper.rollback(&anna(), Some(1), request(Some(10))).await.expect("the first");
        assert_eq!(desk.in_force(), Config { is_unconfirmed: true, ..config(FILE) });
        assert!(desk.file().contains("stealth = false"));
        desk.keeper.confirm(&anna()).await.expect("in time");
        assert_eq!((desk.in_force(), desk.file().as_str()), (config(FILE), FILE));
        desk.keeper.rollback(&anna(), Some(3), request(None)).await.expect("the third");
        assert_eq!(desk.file(), third);
        let error =
            desk.keeper.rollback(&anna(), Some(9), request(None)).await.expect_err("none").to_string();
        assert!(error.contains("no version 9"), "{error}");
        let why = desk.keeper.history().versions[0].why.clone();
        assert_eq!(why, "to version 3: a test");
    });
}

#[test]
fn an_edit_by_hand_is_merged_or_told_and_never_lost() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.edit_by_hand("# The end.", "# By hand.\n[dhcp]\nlease_secs = 600");
        desk.apply(None).await.expect("it is merged");
        assert!(desk.file().contains("# By hand.") && desk.file().contains("stealth = false"));
        assert_eq!(desk.in_force(), config(&desk.file()));
        assert_eq!(desk.kinds(), [Kind::Found, Kind::Edited, Kind::Applied]);
        desk.set("dhcp.lease_secs", "900").await;
        desk.edit_by_hand("lease_secs = 600", "lease_secs = 700");
        let error = desk.apply(None).await.expect_err("a conflict").to_string();
        assert!(error.contains("dhcp.lease_secs") && error.contains("700 in place of 600"), "{error}");
        assert!(
            desk.keeper
                .diff(&anna())
                .await
                .expect("it is told")
                .to_string()
                .contains("conflict: dhcp.lease_secs")
        );
        desk.keeper.discard(&anna()).await.expect("it is anna's");
        desk.keeper.reload(&anna()).await.expect("it is valid");
        assert_eq!(desk.in_force().services.dhcp.lease_secs, 700);
        assert_eq!(desk.kinds().last(), Some(&Kind::Edited));
    });
}

#[test]
fn an_edit_by_hand_within_a_window_stands_in_the_way_of_the_confirmation() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(30)).await.expect("it is valid");
        desk.edit_by_hand("# The end.", "# By hand.");
        let error = desk.keeper.confirm(&anna()).await.expect_err("it would be lost").to_string();
        assert!(error.contains("edited by hand"), "{error}");
        pass(31).await;
        assert_eq!((desk.in_force(), desk.file()), (config(FILE), FILE.replace("# The end.", "# By hand.")));
    });
}

#[test]
fn a_full_disk_changes_nothing() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        for full in [&desk.paper.is_full, &desk.paper.cannot_be_put] {
            full.set(true);
            let error = desk.apply(None).await.expect_err("no room").to_string();
            assert!(error.contains("is as it was") && error.contains("make room"), "{error}");
            assert_eq!((desk.in_force(), desk.file().as_str()), (config(FILE), FILE));
            assert_eq!(desk.kinds(), [Kind::Found]);
            desk.apply(Some(5)).await.expect("it needs no room yet");
            desk.keeper.confirm(&anna()).await.expect_err("no room");
            assert!(desk.keeper.window().is_some(), "there is time to make room");
            pass(6).await;
            assert_eq!((desk.in_force(), desk.file().as_str()), (config(FILE), FILE));
            full.set(false);
        }
        desk.apply(None).await.expect("there is room");
    });
}

#[test]
fn a_disk_that_does_not_answer_does_not_delay_the_deadline() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        pass(8).await;
        desk.paper.is_hung.set(true);
        let keeper = Rc::clone(&desk.keeper);
        let confirming = spawn_local(async move { keeper.confirm(&anna()).await });
        pass(3).await;
        assert_eq!((desk.in_force(), desk.keeper.window()), (config(FILE), None));
        let error = confirming.await.expect("no panic").expect_err("too late").to_string();
        assert!(error.contains("the time for it is over"), "{error}");
    });
}

#[test]
fn a_confirmation_that_hangs_before_the_rename_gives_way_to_the_deadline() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        desk.paper.compares_forever.set(true);
        let keeper = Rc::clone(&desk.keeper);
        let confirming = spawn_local(async move { keeper.confirm(&anna()).await });
        pass(11).await;
        assert_eq!((desk.in_force(), desk.keeper.window()), (config(FILE), None));
        let error = confirming.await.expect("no panic").expect_err("too late").to_string();
        assert!(error.contains("the time for it is over"), "{error}");
        assert_eq!(desk.file(), FILE);
    });
}

#[test]
fn a_confirmation_that_is_staged_only_at_the_deadline_is_too_late() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        pass(7).await;
        desk.paper.stage_takes.set(Duration::from_secs(3));
        let error = desk.keeper.confirm(&anna()).await.expect_err("too late").to_string();
        assert!(error.contains("the time for it is over"), "{error}");
        pass(1).await;
        assert_eq!((desk.in_force(), desk.file().as_str()), (config(FILE), FILE));
        assert_eq!((desk.keeper.window(), desk.paper.staged.take()), (None, None));
    });
}

#[test]
fn a_confirmation_whose_rename_has_begun_is_final() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        let goes_on = Rc::new(Notify::new());
        desk.paper.renames_slowly.replace(Some(Rc::clone(&goes_on)));
        let keeper = Rc::clone(&desk.keeper);
        let confirming = spawn_local(async move { keeper.confirm(&anna()).await });
        pass(11).await;
        goes_on.notify_one();
        confirming.await.expect("no panic").expect("it was in time");
        assert_eq!((desk.in_force(), desk.keeper.window()), (config(&desk.file()), None));
        assert!(desk.file().contains("stealth = false"));
    });
}

#[test]
fn a_roll_back_of_a_window_that_ends_meanwhile_goes_to_no_former_version() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        let goes_on = Rc::new(Notify::new());
        desk.paper.renames_slowly.replace(Some(Rc::clone(&goes_on)));
        let keeper = Rc::clone(&desk.keeper);
        let confirming = spawn_local(async move { keeper.confirm(&anna()).await });
        pass(1).await;
        let keeper = Rc::clone(&desk.keeper);
        let rolling_back = spawn_local(async move { keeper.rollback(&anna(), None, request(None)).await });
        pass(1).await;
        goes_on.notify_one();
        confirming.await.expect("no panic").expect("it was in time");
        let error = rolling_back.await.expect("no panic").expect_err("no window").to_string();
        assert!(error.contains("confirmed or rolled back meanwhile"), "{error}");
        assert_eq!(desk.in_force(), config(&desk.file()));
        assert!(desk.file().contains("stealth = false"));
    });
}

#[test]
fn a_file_that_may_be_lost_at_a_power_cut_is_new_and_told() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.paper.is_unsynced.set(true);
        for (confirm, value) in [(None, "false"), (Some(10), "true")] {
            desk.set("firewall.stealth", value).await;
            let mut applied = desk.apply(confirm).await.expect("it is valid");
            if confirm.is_some() {
                applied = desk.keeper.confirm(&anna()).await.expect("in time");
            }
            let warned =
                applied.warnings.iter().any(|warning| warning.contains("may be lost at a power cut"));
            assert!(warned, "{applied:?}");
            assert!(desk.file().contains(&format!("stealth = {value}")));
            assert_eq!((desk.in_force(), desk.keeper.window()), (config(&desk.file()), None));
        }
    });
}

#[test]
fn a_request_does_not_wait_forever_for_the_disk_or_for_its_turn() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.paper.is_hung.set(true);
        let error = desk.keeper.diff(&anna()).await.expect_err("the disk hangs").to_string();
        assert!(
            error.contains("does not answer within 4 s") && error.contains("look at the disk"),
            "{error}"
        );
        desk.paper.is_hung.set(false);
        desk.paper.compares_forever.set(true);
        let keeper = Rc::clone(&desk.keeper);
        let applying = spawn_local(async move { keeper.apply(&anna(), request(None)).await });
        pass(1).await;
        let error = desk.keeper.diff(&anna()).await.expect_err("it is not its turn").to_string();
        assert!(error.contains("another request has not ended yet"), "{error}");
        applying.abort();
    });
}

#[test]
fn an_edit_by_hand_within_a_window_is_told_with_the_way_out() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        desk.edit_by_hand("# The end.", "# The very end.");
        let error = desk.keeper.confirm(&anna()).await.expect_err("it was edited").to_string();
        assert!(error.contains("edited by hand") && error.contains("`gatepost rollback`, see"), "{error}");
        desk.keeper.rollback(&anna(), None, request(None)).await.expect("the window ends");
        desk.apply(None).await.expect("it is merged");
        assert!(desk.file().contains("# The very end.") && desk.file().contains("stealth = false"));
    });
}

#[test]
fn a_roll_back_that_fails_is_tried_again_and_told() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        desk.gateway.refuses.set(true);
        pass(15).await;
        let window = desk.keeper.window().expect("it is still open");
        assert!(window.problem.as_deref().is_some_and(|problem| problem.contains("it rains")), "{window:?}");
        assert!(window.to_string().contains("cannot be rolled back yet"), "{window}");
        desk.keeper.confirm(&anna()).await.expect_err("too late");
        desk.gateway.refuses.set(false);
        pass(1).await;
        assert_eq!((desk.in_force(), desk.keeper.window()), (config(FILE), None));
    });
}

#[test]
fn the_second_of_two_editors_is_told_what_the_first_has_changed() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        let bert = Editor::new("bert");
        desk.set("firewall.stealth", "false").await;
        let edited = desk.keeper.set(&bert, "dhcp.lease_secs", "600").await.expect("it is valid");
        assert_eq!(edited.others, ["anna: firewall.stealth = false"]);
        let error = desk.apply(None).await.expect_err("bert came between").to_string();
        assert!(error.contains("bert: dhcp.lease_secs = 600"), "{error}");
        desk.apply(None).await.expect("anna knows now");
        let error = desk.keeper.apply(&bert, request(None)).await.expect_err("anna did").to_string();
        assert!(error.contains("anna: the candidate was applied"), "{error}");
        let carla = Editor::new("carla");
        desk.set("firewall.stealth", "true").await;
        let error = desk.keeper.discard(&carla).await.expect_err("it is anna's").to_string();
        assert!(error.contains("anna: firewall.stealth = true"), "{error}");
    });
}

#[test]
fn wrong_keys_and_values_are_refused_at_once_and_unfinished_ones_are_told() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        for (key, value, told) in [
            ("firewal.stealth", "true", "unknown key \"firewal\" in the file; write \"firewall\""),
            ("firewall.stelth", "true", "write \"stealth\""),
            ("firewall.stealth", "7", "true or false"),
            ("lan.address", "300.1.1.1/24", "lan.address: "),
            ("firewall.stealth.x", "1", "shorten the key"),
            ("a..b", "1", "is no key"),
        ] {
            let error = desk.keeper.set(&anna(), key, value).await.expect_err(key);
            assert!(error.is_usage() && error.to_string().contains(told), "{key}: {error}");
        }
        let error =
            desk.keeper.unset(&anna(), "lan.address").await.expect_err("it is not written").to_string();
        assert!(error.contains("nothing to remove"), "{error}");
        let edited = desk.set("firewall.forwards.door.wan_port", "7000").await;
        assert_eq!(
            edited.done, "firewall.forwards.door.wan_port = \"7000\"",
            "a port may be a range, which is text"
        );
        assert!(edited.mistakes[0].contains("the forward has no to"), "{edited:?}");
        let error = desk.apply(None).await.expect_err("it is not complete").to_string();
        assert!(error.contains("the forward has no to"), "{error}");
        let edited = desk.set("firewall.forwards.door.to", "192.168.1.30:7000").await;
        assert_eq!((edited.pending, edited.mistakes.len()), (2, 0));
        assert_eq!(desk.set("firewall.stealth", "true").await.pending, 2, "the file says so already");
        desk.keeper.unset(&anna(), "firewall.forwards.door").await.expect("it is in the candidate");
        assert!(desk.keeper.diff(&anna()).await.expect("it can be read").pending.is_empty());
        desk.set("wan.mtu", "1400").await;
        let error = desk.apply(None).await.expect_err("it needs a restart").to_string();
        assert!(
            error.contains("wan.mtu cannot change") && error.contains("edit the file and restart"),
            "{error}"
        );
        let error = desk.keeper.apply(&anna(), request(Some(0))).await.expect_err("no time").to_string();
        assert!(error.contains("1 to 86400 s"), "{error}");
    });
}

#[test]
fn without_a_file_the_first_change_writes_it() {
    run(async {
        let desk = Desk::new(None).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(Some(10)).await.expect("it is valid");
        assert_eq!(*desk.paper.text.borrow(), None);
        desk.keeper.confirm(&anna()).await.expect("in time");
        assert_eq!(desk.file(), "[firewall]\nstealth = false\n");
    });
}

#[test]
fn the_history_keeps_the_last_fifty_and_skips_what_is_damaged() {
    run(async {
        let desk = Desk::new(Some(FILE)).await;
        pass(1).await;
        for secs in 0..HISTORY_MAX as u64 + 5 {
            desk.set("dhcp.lease_secs", &(600 + secs).to_string()).await;
            desk.apply(None).await.expect("it is valid");
        }
        assert_eq!(desk.keeper.history().versions.len(), HISTORY_MAX);
        let stored = desk.storage.list(DIRECTORY).expect("they are there");
        assert_eq!((stored.len(), stored[0].as_str()), (HISTORY_MAX, "00000007"));
        desk.storage.write(&format!("{DIRECTORY}/00000050"), b"2 00000000 {}\n").expect("there is room");
        let desk = Desk::start(desk.paper, desk.storage).await;
        let history = desk.keeper.history();
        assert_eq!(history.versions.len(), HISTORY_MAX - 1);
        assert!(history.problems[0].contains("00000050: its checksum is wrong"), "{history:?}");
        assert_eq!(history.versions[0].number, 56);
    });
}

#[test]
fn a_history_that_cannot_be_read_yet_is_not_overwritten() {
    run(async {
        let path = std::env::temp_dir().join(format!("gatepost-history-{}", std::process::id()));
        let (aside, place) = (path.join("aside"), path.join("state"));
        fs::create_dir_all(&path).expect("a free path");
        {
            let files = Arc::new(Files::open(&aside).expect("there is room"));
            let archive = Archive::new(Disk::new(Arc::clone(&files) as Arc<dyn Storage>, Rc::new(AtOnce)));
            let mut entry = Entry::new(Kind::Found, UnixTime(1_700_000_000), LAN, Vec::new());
            entry.version.number = 7;
            archive.store(&entry).await.expect("there is room");
            files.write(&format!("{DIRECTORY}/00000009"), b"damaged").expect("there is room");
        }
        fs::write(&place, "no directory").expect("there is room");
        let paper = Paper { text: RefCell::new(Some(FILE.to_owned())), ..Paper::default() };
        let desk = Desk::start(Rc::new(paper), Arc::new(DeferredFiles::new(&place))).await;
        desk.set("firewall.stealth", "false").await;
        desk.apply(None).await.expect("it is valid");
        let problems = desk.keeper.history().problems;
        assert!(
            problems[0].contains("cannot be read") && problems[0].contains("tried again"),
            "{problems:?}"
        );
        fs::remove_file(&place).expect("it is there");
        fs::rename(&aside, &place).expect("it is there");
        pass(11).await;
        let history = desk.keeper.history();
        let numbers: Vec<_> = history.versions.iter().map(|version| version.number).collect();
        assert_eq!(numbers, [10, 7], "{history:?}");
        assert!(history.problems.iter().all(|problem| problem.contains("00000009")), "{history:?}");
        let stored = desk.storage.list(DIRECTORY).expect("they are there");
        assert!(stored.iter().any(|name| name == "00000007") && stored.iter().any(|name| name == "00000010"));
        fs::remove_dir_all(&path).expect("it is there");
    });
}

#[test]
fn a_text_that_is_too_long_to_be_kept_is_one_version_whatever_starts() {
    run(async {
        let long = format!("{FILE}#{}\n", "-".repeat(TEXT_OCTETS_MAX));
        let mut desk = Desk::new(Some(&long)).await;
        for _ in 0..3 {
            desk = Desk::start(desk.paper, desk.storage).await;
            assert_eq!(desk.kinds(), [Kind::Found]);
        }
        desk.edit_by_hand("8443", "8444");
        desk = Desk::start(desk.paper, desk.storage).await;
        assert_eq!(desk.kinds(), [Kind::Found, Kind::Edited]);
    });
}

#[test]
fn a_conflict_is_resolved_by_setting_or_unsetting_its_key() {
    run(async {
        for value in [Some("900"), None] {
            let desk = Desk::new(Some("[dhcp]\nlease_secs = 600\n")).await;
            desk.set("dhcp.lease_secs", "700").await;
            desk.edit_by_hand("600", "800");
            let error = desk.apply(None).await.expect_err("a conflict").to_string();
            assert!(error.contains("set or unset it again"), "{error}");
            match value {
                Some(value) => desk.set("dhcp.lease_secs", value).await,
                None => desk.keeper.unset(&anna(), "dhcp.lease_secs").await.expect("it is there"),
            };
            desk.apply(None).await.expect("the conflict is resolved");
            assert_eq!(desk.file().contains("lease_secs = 900"), value.is_some());
            assert!(!desk.file().contains("800"));
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Set(&'static str, &'static str),
    Unset(&'static str),
    Discard,
    Apply(Option<u64>),
    Confirm,
    Rollback(Option<u64>),
    Pass(u64),
    Hand(&'static str, &'static str),
    Reload,
    Crash,
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let setting = prop_oneof![
        Just(("firewall.stealth", "false")),
        Just(("firewall.stealth", "true")),
        Just(("dhcp.lease_secs", "600")),
        Just(("firewall.forwards.camera.wan_port", "9000")),
        Just(("firewall.forwards.door", "{ wan_port = '7000', to = '192.168.1.30:7000' }")),
        Just(("lan.address", "10.0.0.1/24")),
    ];
    let confirm = prop_oneof![Just(None), Just(Some(10))];
    prop_oneof![
        4 => setting.prop_map(|(key, value)| Step::Set(key, value)),
        1 => prop_oneof![Just("firewall.forwards.camera"), Just("dhcp"), Just("lan.address")].prop_map(Step::Unset),
        1 => Just(Step::Discard),
        4 => confirm.prop_map(Step::Apply),
        2 => Just(Step::Confirm),
        2 => proptest::option::of(1..6_u64).prop_map(Step::Rollback),
        2 => prop_oneof![Just(4), Just(20)].prop_map(Step::Pass),
        1 => prop_oneof![Just(("# The end.", "# The very end.")), Just(("8443", "8444"))]
            .prop_map(|(from, to)| Step::Hand(from, to)),
        1 => Just(Step::Reload),
        1 => Just(Step::Crash),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens: the file is what was confirmed last or what was written by hand, with its comments, and without
    /// a window it is in force.
    #[test]
    fn the_file_is_what_was_confirmed_last(steps in proptest::collection::vec(step(), 1..40)) {
        run(async {
            let mut desk = Desk::new(Some(FILE)).await;
            // What was made final, and what is in force outside of windows.
            let (mut written, mut in_force) = (FILE.to_owned(), config(FILE));
            for step in steps {
                let is_open = desk.keeper.window().is_some();
                match step {
                    Step::Set(key, value) => _ = desk.keeper.set(&anna(), key, value).await,
                    Step::Unset(key) => _ = desk.keeper.unset(&anna(), key).await,
                    Step::Discard => _ = desk.keeper.discard(&anna()).await,
                    Step::Apply(confirm) => {
                        if desk.apply(confirm).await.is_ok() && confirm.is_none() {
                            (written, in_force) = (desk.file(), config(&desk.file()));
                        }
                    }
                    Step::Confirm => {
                        if desk.keeper.confirm(&anna()).await.is_ok() {
                            assert!(is_open);
                            (written, in_force) = (desk.file(), config(&desk.file()));
                        }
                    }
                    Step::Rollback(number) => {
                        if desk.keeper.rollback(&anna(), number, request(None)).await.is_ok() && !is_open {
                            (written, in_force) = (desk.file(), config(&desk.file()));
                        }
                    }
                    Step::Pass(secs) => pass(secs).await,
                    Step::Hand(from, to) => {
                        desk.edit_by_hand(from, to);
                        written = desk.file();
                    }
                    Step::Reload => {
                        if desk.keeper.reload(&anna()).await.is_ok() {
                            in_force = config(&written);
                        }
                    }
                    Step::Crash => {
                        desk = Desk::start(desk.paper, desk.storage).await;
                        in_force = config(&written);
                    }
                    Step::Full(is_full) => desk.paper.is_full.set(is_full),
                }
                assert_eq!(desk.file(), written);
                if desk.keeper.window().is_none() {
                    assert_eq!(desk.in_force(), in_force);
                }
                for comment in ["# The office.\n", "# what comes in\n", "end.\n"] {
                    assert!(desk.file().contains(comment), "{comment}: {}", desk.file());
                }
            }
        });
    }
}

#[test]
fn after_a_confirmation_by_page_the_gateway_stays_at_the_former_address_for_a_moment() {
    run(async {
        let desk = Desk::new(Some(LAN)).await;
        let confirm = async |address: &str| {
            desk.set("lan.address", address).await;
            desk.apply(Some(60)).await.expect("it is valid");
            let applied = desk.keeper.confirm_and_stay(&anna(), STAYS_FOR).await.expect("it is in time");
            assert!(applied.version.is_some() && applied.warnings.is_empty(), "{applied:?}");
        };
        confirm("10.0.0.1/24").await;
        assert!(desk.file().contains("10.0.0.1/24") && desk.keeper.window().is_none());
        assert_eq!(desk.in_force().lan.former_address, Some("192.168.1.1/24".parse().expect("a network")));
        pass(STAYS_FOR.as_secs() + 1).await;
        assert_eq!(desk.in_force(), config(&desk.file()));
        // A window that opens meanwhile is not ended by it.
        confirm("10.0.1.1/24").await;
        desk.set("lan.address", "10.0.2.1/24").await;
        desk.apply(Some(60)).await.expect("it is valid");
        pass(STAYS_FOR.as_secs() + 1).await;
        assert_eq!(desk.in_force().lan.address, "10.0.2.1/24".parse().expect("a network"));
        pass(60).await;
        assert_eq!(desk.in_force(), config(&desk.file()), "nobody has confirmed it");
    });
}
