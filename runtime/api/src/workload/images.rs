//! Images that whoever runs the pods cannot use.

use model::Container;

use super::Admitted;
use crate::error::ManifestError;
use crate::findings::Findings;

/// Every container whose image `fault` finds fault with, at the place of its image.
pub(super) fn unusable(
    pods: &[Admitted],
    fault: impl Fn(&Container) -> Option<String>,
) -> Vec<ManifestError> {
    let mut errors = Vec::new();
    for Admitted { object, pod } in pods {
        let mut found = Findings::default();
        let top = object.top();
        let spec = top.field("spec");
        for (list, containers) in [
            ("initContainers", &pod.init_containers),
            ("containers", &pod.containers),
        ] {
            for (at, container) in spec.field(list).items().zip(containers) {
                if let Some(fault) = fault(container) {
                    found.invalid(&at.field("image"), &fault);
                }
            }
        }
        errors.extend(object.errors(&found.into_errors()));
    }
    errors
}
