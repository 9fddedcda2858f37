//! Counts bytes, one meter per instance.
//!
//! A meter is a pair of counters that every socket made through one [`crate::PodNet`] adds to.
//! It limits nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that went through the sockets of one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of payload received.
    pub received: u64,
    /// Bytes of payload sent.
    pub sent: u64,
}

/// The counters that sockets add to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    received: AtomicU64,
    sent: AtomicU64,
}

// === impl Meter ===

impl Meter {
    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        Counters {
            received: self.0.received.load(Ordering::Relaxed),
            sent: self.0.sent.load(Ordering::Relaxed),
        }
    }
}
