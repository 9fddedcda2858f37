//! Images that whoever runs the pods cannot use.

use model::Container;

use super::Admitted;
use super::walk::{containers, specs};
use crate::error::ManifestError;

/// Every container whose image `fault` finds fault with, at the place of its image.
pub(super) fn unusable(
    pods: &[Admitted],
    fault: impl Fn(&Container) -> Option<String>,
) -> Vec<ManifestError> {
    specs(pods, |pod, spec, found| {
        containers(pod, spec, |container, at| {
            if let Some(fault) = fault(container) {
                found.invalid(&at.field("image"), &fault);
            }
        });
    })
}
