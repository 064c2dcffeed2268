//! Ctrl-C: the first one ends the run, so that captures and summaries are complete; the second one ends the process.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::line::INTERRUPTED;

/// Becomes true with the first Ctrl-C from now on.
pub fn listen() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let (ready, listening) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_io().build().expect("the system has a pipe");
        runtime.block_on(async {
            let mut interrupts = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
            // The receiver exists: this thread's caller waits.
            _ = ready.send(());
            interrupts.recv().await;
            told.store(true, Ordering::Relaxed);
            interrupts.recv().await;
            process::exit(INTERRUPTED.into());
        });
    });
    // Without that thread, Ctrl-C ends the process at once.
    _ = listening.recv();
    stop
}
