//! Waiting for several futures, polled in the given order. `tokio::select!` picks a branch at random.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::task::LocalFuture;

/// Waits for either future and drops the other. If both are ready, the first one wins.
pub async fn first_of<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Pending => second.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// Waits for all futures; returns their outputs in the order of the futures.
pub async fn all_of<T>(mut futures: Vec<LocalFuture<'_, T>>) -> Vec<T> {
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
        assert_eq!(poll(first_of(ready(1), ready(2))), Poll::Ready(1));
        assert_eq!(poll(first_of(pending(), ready(2))), Poll::Ready(2));
        assert_eq!(poll(first_of(pending::<u8>(), pending())), Poll::Pending);
    }

    #[test]
    fn all_are_waited_for() {
        assert_eq!(poll(all_of(vec![Box::pin(ready(1)), Box::pin(ready(2))])), Poll::Ready(vec![1, 2]));
        assert_eq!(poll(all_of(vec![Box::pin(pending()), Box::pin(ready(2))])), Poll::Pending);
        assert_eq!(poll(all_of::<u8>(Vec::new())), Poll::Ready(vec![]));
    }
}
