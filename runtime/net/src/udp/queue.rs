//! Datagrams that wait to be read.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::budget::Budget;
use crate::limits::{DATAGRAM_BUDGET_PER_POD, MAX_QUEUED_DATAGRAM_BYTES, MAX_QUEUED_DATAGRAMS};

/// One datagram and where it came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) bytes: Bytes,
    pub(crate) from: SocketAddr,
}

/// The datagrams of one socket, within its limits and its pod's.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<Datagram>,
    bytes: usize,
    budget: Budget,
}

/// What a datagram costs beside its payload, so that empty ones are not free.
const OVERHEAD: usize = 128;

// === impl Queue ===

impl Queue {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            budget,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends a datagram; false if it is lost.
    pub(crate) fn push(&mut self, payload: &[u8], from: SocketAddr) -> bool {
        let cost = payload.len() + OVERHEAD;
        let fits = self.waiting.len() < MAX_QUEUED_DATAGRAMS
            && self.bytes + cost <= MAX_QUEUED_DATAGRAM_BYTES
            && self.budget.take(cost, DATAGRAM_BUDGET_PER_POD);
        if fits {
            self.bytes += cost;
            self.waiting.push_back(Datagram {
                bytes: Bytes::copy_from_slice(payload),
                from,
            });
        }
        fits
    }

    pub(crate) fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.waiting.pop_front()?;
        let cost = datagram.bytes.len() + OVERHEAD;
        self.bytes -= cost;
        self.budget.give(cost);
        Some(datagram)
    }

    /// Drops what does not come from `peer`.
    pub(crate) fn keep_only(&mut self, peer: SocketAddr) {
        for _ in 0..self.waiting.len() {
            if let Some(datagram) = self.pop()
                && datagram.from == peer
            {
                self.push(&datagram.bytes, peer);
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn limits_hold_and_everything_is_given_back() {
        let cases = [
            ("count", 0, MAX_QUEUED_DATAGRAMS),
            ("bytes", 1024 - OVERHEAD, MAX_QUEUED_DATAGRAM_BYTES / 1024),
        ];
        for (name, size, expected) in cases {
            let budget = Budget::default();
            let mut queue = Queue::new(budget.clone());
            let payload = vec![7; size];
            let taken = (0..1000).filter(|_| queue.push(&payload, from(1))).count();
            assert_eq!(taken, expected, "{name}");
            queue.pop().unwrap();
            assert!(queue.push(&payload, from(1)), "{name}: room again");
            drop(queue);
            assert_eq!(budget.left(10), 10, "{name}");
        }
    }

    #[test]
    fn the_pod_has_one_budget() {
        let budget = Budget::default();
        let mut queues: Vec<_> = (0..64).map(|_| Queue::new(budget.clone())).collect();
        let payload = vec![0; 60_000];
        let taken: usize = queues
            .iter_mut()
            .map(|queue| (0..4).filter(|_| queue.push(&payload, from(1))).count())
            .sum();
        assert_eq!(taken, DATAGRAM_BUDGET_PER_POD / (60_000 + OVERHEAD));
    }

    #[test]
    fn a_new_peer_keeps_only_its_own() {
        let mut queue = Queue::new(Budget::default());
        for (payload, port) in [(b"a", 1), (b"b", 2), (b"c", 1)] {
            assert!(queue.push(payload, from(port)));
        }
        queue.keep_only(from(1));
        let left: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|d| d.bytes)
            .collect();
        assert_eq!(left, [&b"a"[..], b"c"]);
    }
}
