//! The walk over pods that all who hold them against something take.

use model::{Container, Pod};

use super::Admitted;
use crate::cursor::At;
use crate::error::ManifestError;
use crate::findings::Findings;

/// Holds the spec of every pod against something. What is found is told at its place.
pub(super) fn specs(
    pods: &[Admitted],
    check: impl Fn(&Pod, &At<'_, '_>, &mut Findings),
) -> Vec<ManifestError> {
    let of_one = |Admitted { object, pod }: &Admitted| {
        let mut found = Findings::default();
        let top = object.top();
        check(pod, &top.field("spec"), &mut found);
        object.errors(&found.into_errors())
    };
    pods.iter().flat_map(of_one).collect()
}

/// Every container of a pod with its place in the spec, in the order in which they start.
pub(super) fn containers(
    pod: &Pod,
    spec: &At<'_, '_>,
    mut visit: impl FnMut(&Container, &At<'_, '_>),
) {
    for (list, containers) in [
        ("initContainers", &pod.init_containers),
        ("containers", &pod.containers),
    ] {
        for (at, container) in spec.field(list).items().zip(containers) {
            visit(container, &at);
        }
    }
}
