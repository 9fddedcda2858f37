//! Users that a run is not, and that containers want to be.

use model::security::{User, stranger};

use super::Admitted;
use super::walk::{containers, specs};
use crate::error::ManifestError;

/// Every container that mounts files of the machine and wants to be somebody else.
pub(super) fn strangers(pods: &[Admitted], own: &User) -> Vec<ManifestError> {
    specs(pods, |pod, spec, found| {
        containers(pod, spec, |container, at| {
            let Some(stranger) = stranger(pod, container, None, own) else {
                return;
            };
            // Its own word, else the pod's.
            let contexts = [at.field("securityContext"), spec.field("securityContext")];
            let fields = contexts
                .each_ref()
                .map(|context| context.field(stranger.field));
            if let Some(field) = fields.iter().find(|field| field.is_set()) {
                found.refused(field, &stranger.message());
            }
        });
    })
}
