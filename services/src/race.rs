//! The earlier of two futures, always looking at the first one first: unlike `tokio::select!`, which rolls
//! a die.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Waits for either; the other is dropped. If both are ready, it is the first.
pub async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Pending => second.as_mut().poll(context),
        ready => ready,
    })
    .await
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
}
