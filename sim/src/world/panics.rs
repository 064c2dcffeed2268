//! Detects panics: one anywhere in a run fails the run, also one in a task without a waiter, which tokio would swallow.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic;
use std::sync::Once;

thread_local! {
    /// The first panic; `None` outside of a run.
    static FIRST: RefCell<Option<First>> = const { RefCell::new(None) };
}

/// The first panic of a run, if there has been one.
type First = Option<String>;

/// Watches this thread, on which a run happens, for as long as it lives.
#[derive(Debug)]
pub struct PanicWatch {
    /// It belongs to the thread that it watches.
    stays_here: PhantomData<*const ()>,
}

impl PanicWatch {
    /// Begins to watch. Panics are printed on stderr as usual.
    pub fn begin() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                note(&info.to_string());
                before(info);
            }));
        });
        FIRST.set(Some(None));
        Self { stays_here: PhantomData }
    }

    /// The first panic, and its place.
    pub fn first(&self) -> Option<String> {
        FIRST.with_borrow(|first| first.clone().flatten())
    }
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        FIRST.set(None);
    }
}

fn note(what: &str) {
    // A thread that ends has nothing to note it in.
    _ = FIRST.try_with(|first| {
        if let Ok(mut first) = first.try_borrow_mut()
            && let Some(first) = first.as_mut()
        {
            first.get_or_insert_with(|| what.to_owned());
        }
    });
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    #[test]
    fn a_panic_in_a_task_that_nobody_waits_for_is_noticed_and_the_first_one_kept() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let run = || {
            LocalSet::new().block_on(&runtime, async {
                drop(spawn_local(async { panic!("the first") }));
                drop(spawn_local(async { panic!("the second") }));
                yield_now().await;
            });
        };
        run();
        let watch = PanicWatch::begin();
        assert_eq!(watch.first(), None);
        run();
        assert!(watch.first().is_some_and(|what| what.contains("panics.rs") && what.contains("the first")));
        drop(watch);
        assert_eq!(PanicWatch::begin().first(), None);
    }
}
