//! Several futures at once, always looking at the first one first: unlike `tokio::select!`, which rolls
//! a die.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::task::LocalFuture;

/// Waits for either; the other is dropped. If both are ready, it is the first.
pub async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Pending => second.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// What all of them come to, in their order.
pub async fn all<T>(mut futures: Vec<LocalFuture<'_, T>>) -> Vec<T> {
    let mut outcomes: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, outcome) in futures.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(came) = future.as_mut().poll(context)
            {
                *outcome = Some(came);
            }
        }
        if outcomes.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    use super::*;

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_first_goes_before() {
        assert_eq!(poll(race(ready(1), ready(2))), Poll::Ready(1));
        assert_eq!(poll(race(pending(), ready(2))), Poll::Ready(2));
        assert_eq!(poll(race(pending::<u8>(), pending())), Poll::Pending);
    }

    #[test]
    fn all_are_waited_for() {
        assert_eq!(poll(all(vec![Box::pin(ready(1)), Box::pin(ready(2))])), Poll::Ready(vec![1, 2]));
        assert_eq!(poll(all(vec![Box::pin(pending()), Box::pin(ready(2))])), Poll::Pending);
        assert_eq!(poll(all::<u8>(Vec::new())), Poll::Ready(vec![]));
    }
}
