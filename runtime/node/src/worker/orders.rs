//! The orders of one worker that have not been answered yet.
//!
//! They are futures that the worker polls itself: no task is spawned for an order, what is answered
//! at once costs no switch, and what hangs holds nothing else up. All end with their worker.
//!
//! Orders begin in the order in which they were given, since each poll goes through all of them
//! from the oldest.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use model::runtime::InstanceId;

use super::Message;

/// An order under way, and what it brings.
type Answer = Pin<Box<dyn Future<Output = Message> + Send>>;

/// Orders under way, the oldest first.
#[derive(Default)]
pub(super) struct Orders {
    under_way: Vec<(Bond, Answer)>,
}

/// What an order lives no longer than.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bond {
    /// Nothing: it is carried through, and the worker waits for it.
    None,
    /// Its attempt or instance.
    Instance(InstanceId),
    /// The pod.
    Pod,
}

// === impl Orders ===

impl Orders {
    /// Begins an order.
    pub(super) fn give(
        &mut self,
        bond: Bond,
        order: impl Future<Output = Message> + Send + 'static,
    ) {
        self.under_way.push((bond, Box::pin(order)));
    }

    /// Gives up what goes on for an attempt or instance.
    pub(super) fn forget(&mut self, instance: InstanceId) {
        self.under_way
            .retain(|(bond, _)| *bond != Bond::Instance(instance));
    }

    /// Gives up what goes on for anything in the pod.
    pub(super) fn forget_pod(&mut self) {
        self.under_way.retain(|(bond, _)| *bond == Bond::None);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// What an order brings that is answered already, if there is one. Does not wait.
    pub(super) fn ready(&mut self) -> impl Future<Output = Option<Message>> + Send {
        poll_fn(|context| match self.poll(context) {
            Poll::Ready(message) => Poll::Ready(Some(message)),
            Poll::Pending => Poll::Ready(None),
        })
    }

    /// What the next answered order brings; never, while there are none.
    pub(super) fn next(&mut self) -> impl Future<Output = Message> + Send {
        poll_fn(|context| self.poll(context))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Message> {
        for index in 0..self.under_way.len() {
            let Some((_, order)) = self.under_way.get_mut(index) else {
                break;
            };
            if let Poll::Ready(message) = order.as_mut().poll(context) {
                // Dropped as one that has ended, in its place: the others keep their order.
                drop(self.under_way.remove(index));
                return Poll::Ready(message);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn instance(message: Message) -> u64 {
        match message {
            Message::Done(Some(instance)) => instance.0,
            _ => panic!("not what was ordered"),
        }
    }

    fn done(number: u64) -> Message {
        Message::Done(Some(InstanceId(number)))
    }

    #[tokio::test]
    async fn what_is_ready_comes_in_the_order_given() {
        let mut orders = Orders::default();
        let (answer, late) = oneshot::channel::<()>();
        orders.give(Bond::None, async move {
            let _ = late.await;
            done(1)
        });
        orders.give(Bond::None, async { done(2) });
        orders.give(Bond::None, async { done(3) });
        assert_eq!(instance(orders.next().await), 2);
        assert_eq!(instance(orders.ready().await.unwrap()), 3);
        assert!(orders.ready().await.is_none());
        answer.send(()).unwrap();
        assert_eq!(instance(orders.next().await), 1);
        assert!(orders.is_empty());
    }

    #[tokio::test]
    async fn what_is_forgotten_is_dropped() {
        let mut orders = Orders::default();
        let (kept, gone) = oneshot::channel::<()>();
        orders.give(Bond::Instance(InstanceId(1)), async move {
            drop(kept);
            std::future::pending().await
        });
        orders.give(Bond::Instance(InstanceId(2)), async { done(2) });
        orders.forget(InstanceId(1));
        assert!(gone.await.is_err());
        assert_eq!(instance(orders.next().await), 2);
        orders.give(Bond::Pod, std::future::pending());
        assert!(!orders.is_empty());
        orders.forget_pod();
        assert!(orders.is_empty());
    }
}
