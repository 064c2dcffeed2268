//! What the mail store takes on this machine's disk, to be run by hand:
//!
//! ```sh
//! cargo run --release -p gatepost-services --example mail_store -- DIRECTORY [MESSAGES]
//! ```
//!
//! The directory is made, and has to be removed afterwards. Figures are printed and never compared with anything.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant as Wall;

use gatepost_ground::Instant;
use gatepost_services::mail::store::{
    Accept, Change, Delivery, Lane, MailboxId, Settings, Store, StoreError, Task, recover, recover_all,
};
use gatepost_services::store::Files;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Octets of a message.
const MESSAGE_OCTETS: usize = 4096;
/// Senders that each wait for their message before they send the next.
const SENDERS: usize = 20;
const NOW: Instant = Instant::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (directory, messages) = match &arguments[..] {
        [directory] => (directory, 100_000),
        [directory, messages] => (directory, messages.parse()?),
        _ => return Err("usage: mail_store DIRECTORY [MESSAGES]".into()),
    };
    let disk = Arc::new(Files::open(Path::new(directory))?);
    let mut store = Store::new(Settings::default(), recover(&*disk)?, StdRng::from_seed([7; 32]));
    store.submit(Change::MakeMailbox { name: "anna".to_owned(), quota: 0, time: 1 })?;
    settle(&disk, &mut store);
    let anna = store.state().mailbox_named("anna").ok_or("it is made")?.state().id;
    for senders in [1, SENDERS, 256] {
        let count = if senders == 1 { messages.min(2000) } else { messages };
        let start = now();
        let syncs = deliver(&disk, &mut store, anna, senders, count)?;
        let took = start.elapsed_secs();
        println!(
            "{senders:>4} senders: {:>9.0} messages a second, {syncs} syncs for {count}",
            count as f64 / took
        );
    }
    // The checkpoint is made when the log has nothing to do.
    settle(&disk, &mut store);
    let entries = store.state().mailbox(anna).ok_or("it is there")?.entries().len();
    drop(store);
    let start = now();
    let recovered = recover(&*disk)?;
    println!("start with a checkpoint: {:.3} s for {entries} messages", start.elapsed_secs());
    let start = now();
    let mailbox = recovered.state().mailbox(anna).ok_or("it is there")?;
    let octets: u64 = mailbox.entries().iter().map(|entry| entry.size).sum();
    println!("a walk over the mailbox: {:.2} ms, {octets} octets", start.elapsed_secs() * 1000.0);
    let start = now();
    let records = recover_all(&*disk)?.report().records;
    println!("start without: {:.3} s for {records} records", start.elapsed_secs());
    Ok(())
}

/// Has `count` messages delivered, `senders` at a time; returns the syncs.
fn deliver(
    disk: &Files,
    store: &mut Store,
    mailbox: MailboxId,
    senders: usize,
    count: usize,
) -> Result<usize, StoreError> {
    let (mut sent, mut stored, mut syncs) = (0, 0, 0);
    while stored < count {
        while sent < count && sent - stored < senders {
            let deliveries = vec![Delivery { mailbox, ..Delivery::default() }];
            let accept = Accept { deliveries, ..Accept::default() };
            store.submit(Change::Accept(accept, vec![b'x'; MESSAGE_OCTETS]))?;
            sent += 1;
        }
        if let Some(request) = store.poll_request(NOW) {
            syncs += usize::from(request.lane == Lane::Log && matches!(request.task, Task::Sync { .. }));
            let done = request.task.perform(disk);
            store.handle_done(NOW, request.lane, done);
        }
        while let Some((_, outcome)) = store.poll_outcome() {
            outcome?;
            stored += 1;
        }
    }
    Ok(syncs)
}

fn settle(disk: &Files, store: &mut Store) {
    while let Some(request) = store.poll_request(NOW) {
        let done = request.task.perform(disk);
        store.handle_done(NOW, request.lane, done);
    }
    while store.poll_outcome().is_some() {}
}

struct Began(Wall);

#[expect(clippy::disallowed_methods, reason = "it measures the machine")]
fn now() -> Began {
    Began(Wall::now())
}

impl Began {
    #[expect(clippy::disallowed_methods, reason = "it measures the machine")]
    fn elapsed_secs(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
