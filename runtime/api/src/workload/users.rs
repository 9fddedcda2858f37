//! Users that a run is not, and that containers want to be.

use model::security::{User, stranger};

use super::Admitted;
use crate::error::ManifestError;
use crate::findings::Findings;

/// Every container that mounts files of the machine and wants to be somebody else.
pub(super) fn strangers(pods: &[Admitted], own: &User) -> Vec<ManifestError> {
    let mut errors = Vec::new();
    for Admitted { object, pod } in pods {
        let mut found = Findings::default();
        let top = object.top();
        let spec = top.field("spec");
        for (list, containers) in [
            ("initContainers", &pod.init_containers),
            ("containers", &pod.containers),
        ] {
            let list = spec.field(list);
            for (at, container) in list.items().zip(containers) {
                let Some(stranger) = stranger(pod, container, own) else {
                    continue;
                };
                // Its own word, else the pod's.
                let (contexts, detail) = (
                    [at.field("securityContext"), spec.field("securityContext")],
                    stranger.message(),
                );
                let fields = contexts
                    .each_ref()
                    .map(|context| context.field(stranger.field));
                if let Some(field) = fields.iter().find(|field| field.is_set()) {
                    found.refused(field, &detail);
                }
            }
        }
        errors.extend(object.errors(&found.into_errors()));
    }
    errors
}
