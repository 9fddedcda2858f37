//! How a run begins: its pods one after the other, between which it can be called off.

use std::sync::Arc;
use std::time::Duration;

use api::workload::Admitted;
use node::{Node, PodHandle};
use tokio::task::JoinSet;

use super::printer::{self, Printer};

/// The pods of a run, in the order of the manifests.
pub(super) struct Pods<'a> {
    node: &'a Node,
    printer: &'a Arc<Printer>,
    waiting: std::vec::IntoIter<Admitted>,
    begun: Vec<PodHandle>,
    /// Prints what becomes of each, and ends with it.
    printing: JoinSet<()>,
    longest_grace: Duration,
}

// === impl Pods ===

impl<'a> Pods<'a> {
    /// Begins none yet.
    pub(super) fn new(node: &'a Node, printer: &'a Arc<Printer>, pods: Vec<Admitted>) -> Self {
        let graces = pods.iter().map(|it| it.pod.grace_period);
        Self {
            longest_grace: graces.max().unwrap_or_default(),
            node,
            printer,
            begun: Vec::with_capacity(pods.len()),
            waiting: pods.into_iter(),
            printing: JoinSet::new(),
        }
    }

    /// Whether there are pods that have not been begun.
    pub(super) fn are_waiting(&self) -> bool {
        self.waiting.len() > 0
    }

    /// Begins the next one. Of its manifest nothing is kept.
    pub(super) fn begin_next(&mut self) {
        let Some(Admitted { pod, .. }) = self.waiting.next() else {
            return;
        };
        let handle = self.node.run_pod(pod);
        let statuses = printer::statuses(Arc::clone(self.printer), handle.clone());
        self.printing.spawn(statuses);
        self.begun.push(handle);
    }

    /// Begins no more.
    pub(super) fn call_off(&mut self) {
        self.waiting = Vec::new().into_iter();
    }

    /// How long the most patient of them is given to end.
    pub(super) fn longest_grace(&self) -> Duration {
        self.longest_grace
    }

    /// Those that have been begun.
    pub(super) fn begun(&self) -> &[PodHandle] {
        &self.begun
    }

    /// Waits until one of them has ended; false when all have.
    pub(super) async fn one_has_ended(&mut self) -> bool {
        self.printing.join_next().await.is_some()
    }
}
