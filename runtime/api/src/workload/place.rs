//! What pods ask of the place where they run, held against the one node that a run is.
//!
//! In a cluster a pod that names another node is that node's, and one that names a RuntimeClass
//! which does not exist is refused by admission. A scheduler of its own name would never come: the
//! pod would wait for ever, so here it is run, and told.

use super::Admitted;
use super::walk::specs;
use crate::error::ManifestError;

/// The RuntimeClasses that mean wasmpod.
const CLASSES: [&str; 2] = ["wasmpod", super::PROCESS];

/// The scheduler that pods have who ask for none.
const SCHEDULER: &str = "default-scheduler";

/// Every pod that could not run on the node of this name.
pub(super) fn misplaced(pods: &[Admitted], node: &str) -> Vec<ManifestError> {
    specs(pods, |_, spec, found| {
        let (named, class) = (spec.field("nodeName"), spec.field("runtimeClassName"));
        if named.some_text().is_some_and(|name| name != node) {
            let detail = format!(
                "this node is {node:?}, and a node runs the pods that name it and no others; remove nodeName, or name this one"
            );
            found.refused(&named, &detail);
        }
        if class
            .some_text()
            .is_some_and(|name| !CLASSES.contains(&name))
        {
            let detail = format!(
                "no such RuntimeClass; remove it, or name one that is here: {}",
                CLASSES.join(", ")
            );
            found.not_found_because(&class, &detail);
        }
    })
}

/// Every pod that asks for a scheduler of its own.
pub(super) fn unscheduled(pods: &[Admitted]) -> Vec<ManifestError> {
    let asking = specs(pods, |_, spec, found| {
        let scheduler = spec.field("schedulerName");
        if scheduler.some_text().is_some_and(|name| name != SCHEDULER) {
            found.refused(
                &scheduler,
                "wasmpod run has no scheduler; the pod runs here at once",
            );
        }
    });
    asking
        .into_iter()
        .map(ManifestError::into_warning)
        .collect()
}
