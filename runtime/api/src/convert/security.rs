//! Security contexts: what of them holds for a container.

use model::container::SecurityContext;

use super::{number, refusals};
use crate::cursor::At;
use crate::findings::Findings;

/// A pod's security context, from which its containers inherit.
pub(crate) fn of_pod(context: &At<'_, '_>, found: &mut Findings) -> SecurityContext {
    refusals::pod_security(context, found);
    SecurityContext {
        fs_group: number(&context.field("fsGroup")),
        ..user(context)
    }
}

/// A container's own, over the pod's.
pub(crate) fn of_container(
    context: &At<'_, '_>,
    pod: &SecurityContext,
    found: &mut Findings,
) -> SecurityContext {
    refusals::security(context, found);
    let own = user(context);
    SecurityContext {
        run_as_user: own.run_as_user.or(pod.run_as_user),
        run_as_group: own.run_as_group.or(pod.run_as_group),
        run_as_non_root: own.run_as_non_root.or(pod.run_as_non_root),
        read_only_root: context.field("readOnlyRootFilesystem").is_true(),
        fs_group: pod.fs_group,
    }
}

fn user(context: &At<'_, '_>) -> SecurityContext {
    SecurityContext {
        run_as_user: number(&context.field("runAsUser")),
        run_as_group: number(&context.field("runAsGroup")),
        run_as_non_root: context.field("runAsNonRoot").value().as_bool(),
        ..SecurityContext::default()
    }
}
