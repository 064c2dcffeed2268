//! The log of a test.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::Field;
use tracing::span::{self, Attributes, Id};
use tracing::subscriber::with_default;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// What is logged for the administrator.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Runs `test`, and returns what was logged, and what came of it.
    pub fn of<T>(test: impl FnOnce() -> T) -> (Vec<String>, T) {
        // Where no subscriber exists at the first event of a place in the code, tracing may cache for that place that
        // nobody ever wants its events. Another test, which has none, can cause that meanwhile.
        static LISTENER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Log::default()));
        LazyLock::force(&LISTENER);
        let log = Self::default();
        let outcome = with_default(log.clone(), test);
        let lines = std::mem::take(&mut *log.0.lock().unwrap());
        (lines, outcome)
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{} {value:?}", event.metadata().level()));
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
