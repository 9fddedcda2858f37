//! How a stream ended: a future's value, told once.

use tokio::sync::oneshot;

/// Nothing, or what went wrong.
pub(super) type Outcome<E> = Result<(), E>;

/// Tells it; success where it is dropped before.
#[derive(Debug)]
pub(super) struct Teller<E>(Option<oneshot::Sender<Outcome<E>>>);

// === impl Teller ===

impl<E> Teller<E> {
    /// One, and where it is heard.
    pub(super) fn new() -> (Self, oneshot::Receiver<Outcome<E>>) {
        let (sender, told) = oneshot::channel();
        (Self(Some(sender)), told)
    }

    /// Tells it, unless it was told before.
    pub(super) fn tell(&mut self, outcome: Outcome<E>) {
        if let Some(sender) = self.0.take() {
            // A guest need not ask.
            let _ = sender.send(outcome);
        }
    }
}

impl<E> Drop for Teller<E> {
    fn drop(&mut self) {
        self.tell(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_told_once_and_is_success_where_nobody_tells_it() {
        for (told, expected) in [(None, Ok(())), (Some(Err("lost")), Err("lost"))] {
            let (mut teller, mut heard) = Teller::new();
            if let Some(outcome) = told {
                teller.tell(outcome);
                teller.tell(Err("again"));
            }
            drop(teller);
            assert_eq!(heard.try_recv(), Ok(expected));
        }
    }
}
